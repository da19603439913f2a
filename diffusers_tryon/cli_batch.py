# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The command `diffusers-tryon batch`: many people in many garments."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    from .batch.manifest import Manifest

_ROWS = "Rows"
_PHOTOS = "Photographs"

commands = typer.Typer()


@commands.command(no_args_is_help=True)
def batch(
    manifest: Annotated[
        Path,
        typer.Argument(
            help="CSV file with a header, or JSONL file, that lists people and garments.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for pictures and tables; a call goes on with it.")],
    all_pairs: Annotated[
        bool,
        typer.Option(
            "--all-pairs",
            help="Every person in every garment: lines may name either. Otherwise each line is a pair.",
            rich_help_panel=_ROWS,
        ),
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(
            help="The first rows only; the others can follow later.", min=1, show_default="all", rich_help_panel=_ROWS
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what there is to do and what is wrong, and stop.", rich_help_panel=_ROWS),
    ] = False,
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
        int, typer.Option(help="Pictures that are made together.", min=1, rich_help_panel=MODEL_PANEL)
    ] = 8,
    size: Annotated[
        str | None,
        typer.Option(
            help="HEIGHTxWIDTH of the networks' pictures in pixels.",
            show_default="the model's",
            rich_help_panel=MODEL_PANEL,
        ),
    ] = None,
    last_stage: LastStage = None,
    steps: Steps = None,
    sr_steps: SrSteps = None,
    guidance: Guidance = None,
    sr_guidance: SrGuidance = None,
    scheduler: Scheduler = None,
    seed: Annotated[
        int,
        typer.Option(
            help="Of the noise, which also follows from a row's id.",
            min=0,
            max=2**63 - 1,
            rich_help_panel=SAMPLING_PANEL,
        ),
    ] = 0,
    category: Annotated[
        str,
        typer.Option(
            help="What is tried on, where the manifest does not say: upper, lower, dress, or auto: what the "
            "garment's photograph shows.",
            rich_help_panel=_PHOTOS,
        ),
    ] = "auto",
    garment_type: Annotated[
        str,
        typer.Option(
            help="Whether somebody wears the garment in its photograph, where the manifest does not say: worn, flat, "
            "or auto.",
            rich_help_panel=_PHOTOS,
        ),
    ] = "auto",
    preprocessor: Annotated[
        str,
        typer.Option(
            help="What looks at photographs: offline, hub (large networks, downloaded), or a folder or Hub id.",
            rich_help_panel=_PHOTOS,
        ),
    ] = "offline",
    crops: Annotated[
        bool,
        typer.Option(
            "--crops",
            help="Write the networks' own pictures in place of whole photographs.",
            rich_help_panel=_PHOTOS,
        ),
    ] = False,
) -> None:
    """Try many garments on many people, as a manifest lists them.

    A line of the manifest has the columns person_photo and garment_photo, or those of prepared conditions:
    agnostic_image, agnostic_mask (optional), person_pose, garment_image, garment_pose (of a garment that is worn).
    id names the picture; person_id, garment_id, person_index, category and garment_type are optional.
    Written are pictures/ID.png, results.csv and failures.csv. Each garment is encoded once and each photograph looked
    at once. A row that fails does not stop the others, an interrupted call goes on where it stopped and tries failed
    rows again, and `accelerate launch -m diffusers_tryon batch ...` spreads the work over processes and GPUs; the
    pictures stay the same.

    **Examples**

    ```
    diffusers-tryon batch pairs.csv --out out/catalogue

    diffusers-tryon batch models_and_garments.jsonl --all-pairs --out out/catalogue --batch-size 16 --optimize

    accelerate launch --multi_gpu --num_processes 8 -m diffusers_tryon batch pairs.csv --out out/catalogue
    ```
    """
    from .batch.manifest import list_rows

    call = {
        "num_inference_steps": steps,
        "sr_num_inference_steps": sr_steps,
        "guidance_scale": guidance,
        "sr_guidance_scale": sr_guidance,
        "last_stage": last_stage,
    }
    if size is not None:
        call["height"], call["width"] = parse_size(size)
    listed = list_rows(manifest, all_pairs, category, garment_type, limit)
    if dry_run:
        _print_plan(listed, out)
        return

    from diffusers.utils import logging
    from transformers.utils import logging as transformers_logging

    from .batch.run import run_batch
    from .evaluation.processes import joined_processes
    from .inference import load_pipeline, load_preprocessor, spelt_out
    from .preprocessing.prepare_dataset import device_of_process

    for library in (logging, transformers_logging):
        library.disable_progress_bar()  # of loading, which takes no time worth showing
    with joined_processes() as processes:
        of_process = device_of_process(device)
        pipeline = load_pipeline(model, resolve_dtype(dtype, optimize), str(of_process), scheduler)
        pipeline.set_progress_bar_config(disable=True)
        report = run_batch(
            out,
            listed,
            pipeline,
            spelt_out(call, pipeline),
            processes,
            seed=seed,
            batch_size=batch_size,
            crops=crops,
            load_preprocessor=lambda: load_preprocessor(preprocessor, of_process),
            optimize=optimize,
            # Where a folder lies is not what it holds.
            preprocessor_name=Path(preprocessor).resolve().name if Path(preprocessor).is_dir() else preprocessor,
        )
        is_main = processes.is_main_process
    if is_main:
        typer.echo(f"{report.made} pictures made, {report.results} in {out / 'pictures'}, see {out / 'results.csv'}")
        if report.failures:
            typer.echo(f"{report.failures} rows failed, see {out / 'failures.csv'}; a call again tries them again")
            raise typer.Exit(1)


def _print_plan(listed: "Manifest", out: Path) -> None:
    """What a call would do, and whatever is wrong with the manifest and can be seen without opening pictures."""
    from .batch.folder import BatchFolder

    folder = BatchFolder(out)
    done = sum(map(folder.is_done, listed.rows))
    people, garments = ({getattr(row, kind) for row in listed.rows} for kind in ("person", "garment"))
    typer.echo(f"{len(listed.rows)} pictures of {len(people)} people in {len(garments)} garments, {done} of them done")
    sources = [*people, *garments]
    names = {name for source in sources for name in source.files()}
    problems = [f"{entry.id}: {entry.reason}" for entry in listed.unusable]
    problems += [f"there is no file {listed.path(name)}" for name in sorted(names) if not listed.path(name).is_file()]
    for problem in problems:
        typer.echo(problem, err=True)
    if problems:
        raise typer.Exit(1)
