# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The commands `diffusers-tryon evaluate` and `compare`: how good a model's pictures are, and which of several's."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .cli_data import parse_size
from .cli_options import (
    MODEL_PANEL,
    SAMPLING_PANEL,
    Dtype,
    Guidance,
    LastStage,
    Model,
    Optimize,
    Scheduler,
    SrGuidance,
    SrSteps,
    Steps,
    resolve_dtype,
)


if TYPE_CHECKING:
    from .evaluation.cases import Cases
    from .evaluation.protocols import Protocol
    from .pipelines.pipeline_tryon_cascade import TryOnCascadePipeline

_CASES = "Cases that the model is tried on"
_FOLDERS = "Pictures that exist already, in place of a model"

# The keys of `evaluation.protocols.PROTOCOLS`, written out because help must not import them; a test compares.
_PROTOCOL_NAMES = "catvton, ladi, hr-viton, torch-fidelity, tryondiffusion, rendered"
_RENDERED = "rendered"
_DEFAULT_COUNT = 64

commands = typer.Typer()


@commands.command(no_args_is_help=True)
def evaluate(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder for pictures, figures and tables; a call goes on with it.")],
    protocol: Annotated[str, typer.Option(help=f"What is measured and how: {_PROTOCOL_NAMES}.")] = "rendered",
    model: Model = None,
    dtype: Dtype = None,
    device: Annotated[
        str,
        typer.Option(
            help="cpu, cuda, cuda:1, mps ...; auto takes a GPU if there is one, for each process its own.",
            rich_help_panel=MODEL_PANEL,
        ),
    ] = "auto",
    optimize: Optimize = False,
    batch_size: Annotated[
        int, typer.Option(help="Cases that the model is given together.", min=1, rich_help_panel=MODEL_PANEL)
    ] = 8,
    dataset: Annotated[
        str,
        typer.Option(
            help="rendered: people that the renderer draws, whom training never sees; or a data set, folder or Hub id.",
            rich_help_panel=_CASES,
        ),
    ] = "rendered",
    split: Annotated[
        str, typer.Option(help="Which split of the data set; rendered has test.", rich_help_panel=_CASES)
    ] = "test",
    pairing: Annotated[
        str | None,
        typer.Option(
            help="unpaired: somebody else's garment, of which rendered people have a true picture too; or paired: "
            "their own.",
            show_default="unpaired, of pictures that exist paired",
            rich_help_panel=_CASES,
        ),
    ] = None,
    category: Annotated[
        str | None,
        typer.Option(
            help="Of rendered people: upper, lower or dress.", show_default="all three", rich_help_panel=_CASES
        ),
    ] = None,
    garment_type: Annotated[
        str | None,
        typer.Option(
            help="Of rendered people: worn or flat garments alone.", show_default="both", rich_help_panel=_CASES
        ),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            help="How many cases.", min=1, show_default="64 of rendered, all of a data set", rich_help_panel=_CASES
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Which cases, and their noise.", min=0, rich_help_panel=_CASES)] = 0,
    size: Annotated[
        str | None,
        typer.Option(
            help="HEIGHTxWIDTH of the pictures in pixels.", show_default="the model's", rich_help_panel=_CASES
        ),
    ] = None,
    steps: Steps = None,
    sr_steps: SrSteps = None,
    guidance: Guidance = None,
    sr_guidance: SrGuidance = None,
    scheduler: Scheduler = None,
    last_stage: LastStage = None,
    baselines_only: Annotated[
        bool,
        typer.Option(
            "--baselines-only",
            help="Judge the baselines and the true pictures, of --size, without a model: what one has to beat.",
            rich_help_panel=_CASES,
        ),
    ] = False,
    generated: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the pictures to judge, of whatever model.", show_default=False, rich_help_panel=_FOLDERS
        ),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the true pictures, or of the real ones for unpaired metrics.",
            show_default=False,
            rich_help_panel=_FOLDERS,
        ),
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(
            help="Folder of masks, white where a picture may differ from the photograph: for figures of that region.",
            show_default="none: whole pictures alone",
            rich_help_panel=_FOLDERS,
        ),
    ] = None,
    agnostic: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the people without their garments: the baseline to beat.",
            show_default="none: no baseline",
            rich_help_panel=_FOLDERS,
        ),
    ] = None,
) -> None:
    """Measure how good a model's pictures are, beside two baselines, with confidence intervals.

    Without options: the model that comes with the package, on 64 rendered people whose true pictures are known.
    Written are the pictures, evaluation.json, evaluation.md and a sheet of the best, the middle and the worst cases.
    An interrupted call goes on where it stopped, and `accelerate launch -m diffusers_tryon evaluate ...` spreads the
    work over processes and GPUs; the figures stay the same.

    **Examples**

    ```
    diffusers-tryon evaluate --out out/evaluation

    diffusers-tryon evaluate --out out/mine --model my-cascade --dataset data/viton-hd \\
        --protocol ladi --pairing paired

    diffusers-tryon evaluate --out out/theirs --protocol catvton \\
        --generated theirs/paired --reference viton-hd/test/image --masks viton-hd/test/agnostic-mask

    accelerate launch --multi_gpu --num_processes 2 -m diffusers_tryon evaluate --out out/evaluation

    diffusers-tryon evaluate --out out/baselines --baselines-only --size 256x256
    ```
    """
    from .evaluation.protocols import get_protocol

    chosen = get_protocol(protocol)
    folders = {"reference": reference, "masks": masks, "agnostic": agnostic}
    _check_options(context, generated, reference, baselines_only)
    pairing = pairing or ("unpaired" if generated is None else "paired")
    call = {
        "num_inference_steps": steps,
        "sr_num_inference_steps": sr_steps,
        "guidance_scale": guidance,
        "sr_guidance_scale": sr_guidance,
        "last_stage": last_stage,
    }
    of_cases = {
        "dataset": dataset,
        "split": split,
        "category": category,
        "garment_type": garment_type,
        "count": count,
        "seed": seed,
    }

    from diffusers.utils import logging
    from transformers.utils import logging as transformers_logging

    from .evaluation.cases import check_pairing
    from .evaluation.conclusion import conclude
    from .evaluation.folders import import_folders
    from .evaluation.generation import picture_size, produce, produce_baselines
    from .evaluation.judging import Judge, judge_pictures
    from .evaluation.processes import joined_processes
    from .evaluation.report import as_markdown
    from .training.parallel import on_main_process

    for library in (logging, transformers_logging):
        library.disable_progress_bar()  # of loading, which takes no time worth showing
    with joined_processes() as processes:
        position = processes.process_index, processes.num_processes
        if baselines_only:
            cases = _make_cases(parse_size(size), pairing, **of_cases)
            _check_protocol(chosen, cases.has_reference)
            produce_baselines(out, cases, *position, processes.is_main_process)
            is_paired = cases.has_reference
        elif generated is None:
            pipeline = _load(model, resolve_dtype(dtype, optimize), device, scheduler)
            call = _whole_call(pipeline, call, size)
            cases = _make_cases(picture_size(pipeline, call), pairing, **of_cases)
            _check_protocol(chosen, cases.has_reference)
            show_progress = processes.is_main_process
            produce(out, cases, pipeline, call, batch_size, *position, show_progress, optimize=optimize)
            is_paired = cases.has_reference
        else:
            check_pairing(pairing)
            is_paired = pairing == "paired"
            _check_protocol(chosen, is_paired)
            on_main_process(lambda: import_folders(chosen, out, generated, **folders))
        processes.wait_for_everyone()
        judge = Judge(out, chosen, is_paired)
        judge_pictures(judge, *position, show_progress=processes.is_main_process)
        processes.wait_for_everyone()
        if processes.is_main_process:
            result, written = conclude(judge)
            typer.echo(as_markdown(result))
            typer.echo("wrote " + ", ".join(map(str, written)))
            if not result["metrics"]:
                raise ValueError("Nothing could be measured, for the reasons above.")


def _check_options(
    context: typer.Context, generated: Path | None, reference: Path | None, baselines_only: bool
) -> None:
    """Refuse options that do not go together."""
    parameters = {parameter.name: parameter for parameter in context.command.params}
    given = [name for name in parameters if context.get_parameter_source(name).name == "COMMANDLINE"]
    panels = {name: getattr(parameters[name], "rich_help_panel", None) for name in given}
    if generated is None:
        wrong, rule = [name for name in given if panels[name] == _FOLDERS], "goes with --generated"
        if baselines_only and not wrong:
            wrong = [name for name in given if panels[name] in (MODEL_PANEL, SAMPLING_PANEL)]
            rule = "is for a model, --baselines-only needs none"
    else:
        of_model = [name for name in given if panels[name] in (MODEL_PANEL, _CASES, SAMPLING_PANEL)]
        wrong = [name for name in of_model if name != "pairing"]
        rule = "is for a model, --generated judges pictures that exist"
    if wrong:
        raise ValueError(f"--{wrong[0].replace('_', '-')} {rule}.")
    if baselines_only and "size" not in given:
        raise ValueError("--size is missing: without a model, --baselines-only cannot know it.")
    if generated is not None and reference is None:
        raise ValueError("--reference is missing: the folder of the pictures that those of --generated are judged by.")


def _check_protocol(protocol: "Protocol", is_paired: bool) -> None:
    if not is_paired and not protocol.unpaired_metrics:
        raise ValueError(
            f"--protocol {protocol.name} compares with true pictures, which these cases have not: choose --pairing "
            "paired, or a protocol with unpaired metrics."
        )


def _load(model: str | None, dtype: str, device: str, scheduler: str | None) -> "TryOnCascadePipeline":
    from .inference import load_pipeline
    from .preprocessing.prepare_dataset import device_of_process

    pipeline = load_pipeline(model, dtype, str(device_of_process(device)), scheduler)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _whole_call(pipeline: "TryOnCascadePipeline", call: dict[str, Any], size: str | None) -> dict[str, Any]:
    """All arguments of the model's call but those of a case."""
    from .inference import spelt_out

    call = spelt_out(call, pipeline)
    if size is not None:
        call["height"], call["width"] = parse_size(size)
    return call


def _make_cases(
    size: tuple[int, int],
    pairing: str,
    dataset: str,
    split: str,
    category: str | None,
    garment_type: str | None,
    count: int | None,
    seed: int,
) -> "Cases":
    """The cases to judge on, with pictures of a size."""
    from .evaluation.cases import RENDERED_SPLIT, dataset_cases, rendered_cases

    height, width = size
    if dataset == _RENDERED:
        if split != RENDERED_SPLIT:
            raise ValueError(f"--split must be {RENDERED_SPLIT} for rendered people, whom training does not see.")
        if height != width:
            raise ValueError(
                f"--dataset {_RENDERED} has square pictures, not {height} x {width}: choose a square --size, or a data "
                "set."
            )
        return rendered_cases(count or _DEFAULT_COUNT, seed, height, category, pairing, garment_type)
    for name, value in (("category", category), ("garment-type", garment_type)):
        if value is not None:
            raise ValueError(f"--{name} is for --dataset {_RENDERED}; a data set has the garments of its rows.")
    return dataset_cases(dataset, size, split, pairing, count, seed)


@commands.command(no_args_is_help=True)
def compare(
    results: Annotated[
        list[Path],
        typer.Argument(
            metavar="RESULT...", help="Folders of evaluations, or their files evaluation.json.", show_default=False
        ),
    ],
) -> None:
    """Print the results of several models on the same cases as one Markdown table.

    Results of other protocols or data are refused: their figures do not compare.

    **Examples**

    ```
    diffusers-tryon compare out/evaluation out/mine

    diffusers-tryon compare out/*/evaluation.json > comparison.md
    ```
    """
    from .evaluation.comparison import compare as compare_results

    typer.echo(compare_results(results), nl=False)
