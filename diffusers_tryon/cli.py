# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The command `diffusers-tryon`: words to arguments, arguments to library functions, errors to one line.

The library is imported inside the commands, so that `--help` does not wait for torch.
"""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from . import __version__, cli_app, cli_batch, cli_data, cli_evaluate, cli_hub, cli_prepare
from .cli_options import (
    SAMPLING_PANEL,
    Device,
    Dtype,
    Guidance,
    LastStage,
    LowMemory,
    Model,
    Optimize,
    Scheduler,
    SrGuidance,
    SrSteps,
    Steps,
    resolve_dtype,
)


_PHOTOS = "Photographs"
_CONDITIONS = "Prepared conditions, in place of photographs"
_OUTPUT = "Output"

app = typer.Typer(
    name="diffusers-tryon",
    help="Virtual try-on: show a person in a garment from another picture, with a cascade of TryOnDiffusion networks.",
    epilog="`diffusers-tryon COMMAND --help` shows a command's options and examples.",
    rich_markup_mode="markdown",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


app.add_typer(cli_data.commands)
app.add_typer(cli_prepare.commands)
app.add_typer(cli_app.commands)
app.add_typer(cli_batch.commands)
app.add_typer(cli_evaluate.commands)
app.add_typer(cli_hub.commands)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"diffusers-tryon {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


@app.command(no_args_is_help=True)
def run(
    out: Annotated[Path, typer.Option(help="Picture to write; the suffix sets its format.", rich_help_panel=_OUTPUT)],
    person_photo: Annotated[
        Path | None, typer.Option(help="Photograph of the person.", show_default=False, rich_help_panel=_PHOTOS)
    ] = None,
    garment_photo: Annotated[
        Path | None,
        typer.Option(
            help="Photograph of the garment, worn by somebody or alone.", show_default=False, rich_help_panel=_PHOTOS
        ),
    ] = None,
    category: Annotated[
        str, typer.Option(help="What to exchange: upper, lower, dress, or auto.", rich_help_panel=_PHOTOS)
    ] = "auto",
    garment_type: Annotated[
        str, typer.Option(help="Whether somebody wears the garment: worn, flat, or auto.", rich_help_panel=_PHOTOS)
    ] = "auto",
    person_index: Annotated[
        int | None,
        typer.Option(
            help="Whom to dress if there are several people, from the largest (0) on.",
            min=0,
            show_default="the largest, with a warning",
            rich_help_panel=_PHOTOS,
        ),
    ] = None,
    preprocessor: Annotated[
        str,
        typer.Option(
            help="What looks at the photographs: offline, hub (large networks, downloaded), or a folder or Hub id.",
            rich_help_panel=_PHOTOS,
        ),
    ] = "offline",
    agnostic_image: Annotated[
        Path | None,
        typer.Option(
            help="The person without the garment: what it covers painted grey (128), head, hands and the rest left.",
            show_default=False,
            rich_help_panel=_CONDITIONS,
        ),
    ] = None,
    garment_image: Annotated[
        Path | None,
        typer.Option(
            help="The garment, worn or laid flat, cut out on white.", show_default=False, rich_help_panel=_CONDITIONS
        ),
    ] = None,
    person_pose: Annotated[
        Path | None,
        typer.Option(
            help="JSON file of the person's 18 OpenPose keypoints, x and y as fractions of the image.",
            show_default=False,
            rich_help_panel=_CONDITIONS,
        ),
    ] = None,
    garment_pose: Annotated[
        Path | None,
        typer.Option(
            help="Pose file of whoever wears the garment in its picture.",
            show_default="none: the garment lies flat",
            rich_help_panel=_CONDITIONS,
        ),
    ] = None,
    agnostic_mask: Annotated[
        Path | None,
        typer.Option(
            help="Picture that is white where the person may change; the rest of the agnostic image is kept exactly.",
            show_default="none: all is painted anew",
            rich_help_panel=_CONDITIONS,
        ),
    ] = None,
    all_stages: Annotated[
        bool,
        typer.Option(
            "--all-stages",
            help="Also write OUT_stages.png: inputs, poses and the result of every stage side by side; of photographs "
            "also OUT_prepared.png: what was seen in them.",
            rich_help_panel=_OUTPUT,
        ),
    ] = False,
    model: Model = None,
    height: Annotated[
        int | None,
        typer.Option(
            help="Height of the result in pixels, for pictures that are not of the model's ratio.",
            show_default="the model's",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    width: Annotated[
        int | None,
        typer.Option(
            help="Width of the result in pixels.",
            show_default="the model's",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    last_stage: LastStage = None,
    dtype: Dtype = None,
    device: Device = "auto",
    optimize: Optimize = False,
    low_memory: LowMemory = False,
    steps: Steps = None,
    sr_steps: SrSteps = None,
    guidance: Guidance = None,
    sr_guidance: SrGuidance = None,
    scheduler: Scheduler = None,
    seed: Annotated[
        int,
        typer.Option(
            help="The same seed gives the same picture on the same machine.",
            min=0,
            max=2**63 - 1,
            rich_help_panel=SAMPLING_PANEL,
        ),
    ] = 0,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print nothing but warnings and errors.", rich_help_panel=_OUTPUT)
    ] = False,
) -> None:
    """Show a person in a garment, from two photographs or from prepared conditions.

    From photographs the result has the size of the person's, and is the same to the bit where nothing had to change.
    Seconds for each stage are printed. The folder `samples` of the project has pictures to start with.

    **Examples**

    ```
    diffusers-tryon run --person-photo me.jpg --garment-photo shirt.jpg --out tryon.png

    diffusers-tryon run --person-photo me.jpg --garment-photo shirt.jpg --out tryon.png \\
        --category upper --garment-type flat --preprocessor hub --all-stages

    diffusers-tryon run --agnostic-image person.png --person-pose person.json \\
        --garment-image shirt.png --garment-pose shirt.json --out tryon.png --scheduler unipc --steps 12
    ```
    """
    from .image_files import check_image_path

    check_image_path(out, "--out")
    photos = {"person_photo": person_photo, "garment_photo": garment_photo}
    files = {
        "agnostic_image": agnostic_image,
        "garment_image": garment_image,
        "person_pose": person_pose,
        "garment_pose": garment_pose,
        "agnostic_mask": agnostic_mask,
    }
    conditions = _read_inputs(photos, files)
    chosen = {
        "num_inference_steps": steps,
        "sr_num_inference_steps": sr_steps,
        "guidance_scale": guidance,
        "sr_guidance_scale": sr_guidance,
        "last_stage": last_stage,
        "height": height,
        "width": width,
    }

    # Torch comes in here: whatever is wrong with the names of files is known by now.
    import torch
    from diffusers.utils import logging

    from .image_files import write_image
    from .inference import load_pipeline, load_preprocessor, resolve_model
    from .visualization import stages_picture

    logging.disable_progress_bar()  # of loading, which takes no time worth showing
    pipe = load_pipeline(model, resolve_dtype(dtype, optimize), device, scheduler, low_memory)
    how = str(pipe.dtype).removeprefix("torch.")
    if optimize:
        # One call is over before compiled networks have made up for the time that compiling takes.
        how = pipe.optimize(pipe.dtype, compiled=False)
    if not quiet:
        typer.echo(f"{resolve_model(model)}: {how} on {pipe.device}, seed {seed}")
    pipe.set_progress_bar_config(disable=quiet)
    arguments = {name: value for name, value in chosen.items() if value is not None}
    arguments["generator"] = torch.Generator().manual_seed(seed)
    if conditions:
        output = pipe(**conditions, **arguments)
    else:
        with _warnings_as_lines():
            output = pipe.try_on(
                **photos,
                preprocessor=load_preprocessor(preprocessor, pipe.device),
                category=category,
                garment_type=garment_type,
                person_index=person_index,
                **arguments,
            )
        conditions = {name: value[0] for name, value in output.prepared.conditions.items() if value is not None}
    write_image(output.images[0], out)
    written = [out]
    if all_stages:
        stages = {name: stage[0] for name, stage in output.stages.items()}
        inputs = {name: value for name, value in conditions.items() if name != "agnostic_mask"}
        written.append(out.with_name(f"{out.stem}_stages.png"))
        write_image(stages_picture(**inputs, stages=stages), written[-1])
        if person_photo is not None:
            written.append(out.with_name(f"{out.stem}_prepared.png"))
            write_image(output.prepared.picture(), written[-1])
    if not quiet:
        for name, seconds in output.seconds.items():
            width, height = output.stages[name][0].size
            typer.echo(f"{name:5} {width} x {height} px  {seconds:6.1f} s")
        typer.echo("wrote " + ", ".join(str(path) for path in written))


def _read_inputs(photos: dict[str, Path | None], files: dict[str, Path | None]) -> dict[str, Any]:
    """The prepared conditions, read; none if there are photographs."""
    from .image_files import read_image
    from .poses import load_pose

    given = {name: path for name, path in files.items() if path is not None}
    if any(photos.values()):
        if given:
            raise typer.BadParameter(
                f"{_option(next(iter(given)))} does not go with photographs: it is made from them."
            )
        required = photos
    else:
        required = {name: files[name] for name in ("agnostic_image", "garment_image", "person_pose")}
    for name, path in required.items():
        if path is None:
            raise typer.BadParameter(
                f"{_option(name)} is missing. Give --person-photo and --garment-photo, or --agnostic-image, "
                "--garment-image and --person-pose."
            )
    for name, path in photos.items():
        if path is not None and not path.is_file():
            raise ValueError(f"{_option(name)} must be a picture file, there is none at {path}.")
    return {
        name: load_pose(path) if name.endswith("_pose") else read_image(path, _option(name))
        for name, path in given.items()
    }


def _option(argument: str) -> str:
    return f"--{argument.replace('_', '-')}"


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Print what may spoil the result as lines of stderr, without the place in the source."""
    from .preprocessing.errors import PreprocessingWarning

    def show(message: Warning, category: type[Warning], *place: Any, **others: Any) -> None:
        if issubclass(category, PreprocessingWarning):
            typer.echo(f"diffusers-tryon: warning: {message}", err=True)
        else:
            show_others(message, category, *place, **others)

    with warnings.catch_warnings():
        warnings.simplefilter("always", PreprocessingWarning)
        show_others, warnings.showwarning = warnings.showwarning, show
        yield


@app.command(no_args_is_help=True)
def convert(
    checkpoint: Annotated[
        list[Path],
        typer.Argument(
            help="A checkpoint of the reference's trainer, or one persisted file for each UNet, base stage first.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder to write; it must be new or empty.")],
    config: Annotated[
        list[str] | None,
        typer.Option(
            help="For a trainer's file, which holds no configuration: a preset (reference-128, reference-256) or a "
            "JSON file of the reference's arguments, once for each UNet.",
            show_default="the file's own",
        ),
    ] = None,
    prediction: Annotated[
        str, typer.Option(help="What the UNets were trained to predict: noise, x_start or v.")
    ] = "noise",
    ema: Annotated[
        bool, typer.Option("--ema/--no-ema", help="Take the averaged weights where the file has them.")
    ] = True,
) -> None:
    """Turn weights of the reference implementation (fashn-AI/tryondiffusion) into a pipeline folder.

    **Examples**

    ```
    diffusers-tryon convert checkpoint.pt --out my-cascade \\
        --config reference-128 --config reference-256

    diffusers-tryon convert base.pt super_resolution.pt --out my-cascade
    ```
    """
    from .conversion import convert_checkpoint

    folder = convert_checkpoint(checkpoint, out, configs=config or None, ema=ema, prediction_type=prediction)
    typer.echo(
        f"wrote {folder}; `diffusers-tryon run --model {folder} ...` takes it, with pictures of its ratio or --height "
        "and --width"
    )


@app.command(no_args_is_help=True)
def render(
    out: Annotated[Path, typer.Option(help="Folder to write Parquet shards to; what is there already is kept.")],
    count: Annotated[int, typer.Option(help="Rows to render.", min=1)],
    size: Annotated[int, typer.Option(help="Height and width of the pictures in pixels.")] = 128,
    seed: Annotated[int, typer.Option(help="Pools with different seeds share no rows.")] = 0,
    workers: Annotated[int, typer.Option(help="Processes, each with one thread.", min=1)] = 1,
    split: Annotated[str, typer.Option(help="train or test; they share no bodies and no prints.")] = "train",
    unpaired: Annotated[
        bool, typer.Option("--unpaired", help="Rows of another garment with the true picture, for evaluation.")
    ] = False,
    category: Annotated[
        str | None,
        typer.Option(help="Garments of one category alone: upper, lower or dress.", show_default="all three"),
    ] = None,
    rows_per_shard: Annotated[
        int, typer.Option(help="Rows in a file; a process keeps those of one file in memory.", min=1)
    ] = 1000,
) -> None:
    """Render synthetic people in two poses of one outfit: a data set for training, without photographs.

    Run it again to go on after an interruption. Under `accelerate launch` each process writes shards of its own.

    **Examples**

    ```
    diffusers-tryon render --out data/train --count 10000 --size 128 --workers 8

    diffusers-tryon render --out data/test --count 64 --split test --unpaired

    accelerate launch --multi_gpu --num_processes 2 -m diffusers_tryon render --out data/train --count 10000
    ```
    """
    from .data.shards import process_position
    from .rendering.writer import write_pairs

    process_index, num_processes = process_position()
    report = write_pairs(
        *(out, count, size, seed, workers, split, unpaired, category, rows_per_shard),
        process_index=process_index,
        num_processes=num_processes,
    )
    whose = f"process {process_index} of {num_processes}: " if num_processes > 1 else ""
    typer.echo(f"{out}: {whose}{report}")


def main() -> None:
    """Run the command; what a user got wrong becomes one line on stderr and exit status 1."""
    try:
        app()
    except (ValueError, OSError, ImportError) as error:
        message = " ".join(str(error).split()) or type(error).__name__
        typer.echo(f"diffusers-tryon: error: {message}", err=True)
        sys.exit(1)
