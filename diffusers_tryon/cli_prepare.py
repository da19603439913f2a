# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The command `diffusers-tryon prepare`: photographs, one by one or as a data set, to the conditions of a try-on."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .cli_data import parse_size, print_rejected


if TYPE_CHECKING:
    from .preprocessing.prepare_photos import PhotoResult

_PHOTOS = "Photographs, each to a folder of files"
_DATASET = "A data set, to rows for training and evaluation"

commands = typer.Typer()


@commands.command(no_args_is_help=True)
def prepare(
    out: Annotated[Path, typer.Option(help="Folder to write to; what else is there is kept.")],
    photos: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="PHOTO",
            help="Photographs of people and garments. Of somebody the person is prepared and the garment they wear, "
            "of a garment alone the garment.",
            show_default=False,
        ),
    ] = None,
    person_photo: Annotated[
        list[Path] | None,
        typer.Option(
            help="Photograph of which only the person is wanted; may be given several times.",
            show_default=False,
            rich_help_panel=_PHOTOS,
        ),
    ] = None,
    garment_photo: Annotated[
        list[Path] | None,
        typer.Option(
            help="Photograph of which only the garment is wanted; may be given several times.",
            show_default=False,
            rich_help_panel=_PHOTOS,
        ),
    ] = None,
    person_index: Annotated[
        int | None,
        typer.Option(
            help="Whom to take of several people, from the largest (0) on.",
            min=0,
            show_default="the largest, with a warning",
            rich_help_panel=_PHOTOS,
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Folder with the subfolders person and garment of equally named photographs; CSV or JSONL file with "
            "the columns id, person_photo, garment_photo; or a data set (folder or Hub id) with such image columns.",
            show_default=False,
            rich_help_panel=_DATASET,
        ),
    ] = None,
    split: Annotated[
        str, typer.Option(help="What the rows are for: train or test.", rich_help_panel=_DATASET)
    ] = "train",
    limit: Annotated[
        int | None,
        typer.Option(
            help="Prepare the first pairs only; more can follow later.",
            min=1,
            show_default="all",
            rich_help_panel=_DATASET,
        ),
    ] = None,
    rows_per_shard: Annotated[
        int,
        typer.Option(help="Rows in a file, which a process writes as a whole.", min=1, rich_help_panel=_DATASET),
    ] = 500,
    category: Annotated[
        str,
        typer.Option(help="What is tried on: upper, lower, dress, or auto: what the garment's photograph shows."),
    ] = "auto",
    garment_type: Annotated[
        str, typer.Option(help="Whether somebody wears the garment in its photograph: worn, flat, or auto.")
    ] = "auto",
    size: Annotated[
        str, typer.Option(help="HEIGHTxWIDTH of the conditions: the size of the model's result.")
    ] = "256x256",
    preprocessor: Annotated[
        str,
        typer.Option(
            help="What looks at photographs: offline, hub (large networks, downloaded), or a folder or Hub id."
        ),
    ] = "offline",
    device: Annotated[
        str,
        typer.Option(help="cpu, cuda, cuda:1, mps ...; auto takes a GPU if there is one, for each process its own."),
    ] = "auto",
    batch_size: Annotated[
        int, typer.Option(help="Photographs, or pairs of them, that are looked at together.", min=1)
    ] = 8,
) -> None:
    """Prepare photographs: poses, label maps, the person without the garment, the garment cut out.

    Each photograph's files go to a folder of its name: the conditions that `diffusers-tryon run` takes, and a picture
    of all intermediates to look at. With --dataset pairs of photographs become rows, each in its crop: what cannot be
    used is left out and listed with the reason, an interrupted call goes on where it stopped, and
    `accelerate launch -m diffusers_tryon prepare ...` spreads the work over processes, GPUs and machines.

    **Examples**

    ```
    diffusers-tryon prepare me.jpg shirt.jpg --out prepared

    diffusers-tryon prepare --person-photo me.jpg --garment-photo shirt.jpg \\
        --category upper --garment-type flat --out prepared

    diffusers-tryon prepare --dataset photos --out data/mine --size 256x192

    accelerate launch --multi_gpu --num_processes 8 -m diffusers_tryon prepare \\
        --dataset photos/train.csv --preprocessor hub --out data/mine
    ```
    """
    named = [*(photos or ()), *(person_photo or ()), *(garment_photo or ())]
    if dataset is None and not named:
        raise ValueError("Name photographs, or a data set of them with --dataset.")
    if dataset is not None and (named or person_index is not None):
        raise ValueError("--dataset takes the place of photographs and of --person-index: give either.")
    if dataset is None:
        if limit is not None:
            raise ValueError("--limit is for --dataset: name fewer photographs instead.")
        _prepare_photos(
            out,
            preprocessor,
            device,
            photos=photos or (),
            person_photos=person_photo or (),
            garment_photos=garment_photo or (),
            category=category,
            garment_type=garment_type,
            size=parse_size(size),
            person_index=person_index,
            batch_size=batch_size,
        )
    else:
        _prepare_dataset(
            dataset,
            out,
            preprocessor,
            device,
            split=split,
            category=category,
            garment_type=garment_type,
            size=parse_size(size),
            limit=limit,
            rows_per_shard=rows_per_shard,
            batch_size=batch_size,
        )


def _prepare_photos(out: Path, source: str, device: str, **arguments: Any) -> None:
    from .inference import load_preprocessor
    from .preprocessing.prepare_dataset import device_of_process
    from .preprocessing.prepare_photos import prepare_photos

    preprocessor = load_preprocessor(source, device_of_process(device))
    results = []
    for result in prepare_photos(out, preprocessor, **arguments):
        results.append(result)
        typer.echo(f"{result.photo}: {', '.join(result.summary) or 'nothing made'}")
        for warning in result.warnings:
            typer.echo(f"  warning: {warning}", err=True)
        for error in result.errors:
            typer.echo(f"  {'error' if result.failed else 'not made'}: {error}", err=True)
    written = sorted({path.parent for result in results for path in (result.person | result.garment).values()})
    if written:
        typer.echo("wrote " + ", ".join(map(str, written)))
    _show_next_command(results)
    if any(result.failed for result in results):
        raise typer.Exit(1)


def _show_next_command(results: list["PhotoResult"]) -> None:
    """How to go on with the first person and garment of two photographs that are of one category."""
    pairs = [
        (person, garment)
        for person in results
        for garment in results
        if person.person and garment.garment and person.photo != garment.photo
    ]
    fitting = [pair for pair in pairs if pair[0].person_category == pair[1].garment_category]
    if fitting:
        person, garment = fitting[0]
        conditions = person.person | garment.garment
        options = " ".join(f"--{name.replace('_', '-')} {shlex.quote(str(path))}" for name, path in conditions.items())
        typer.echo(f"to try it on: diffusers-tryon run {options} --out tryon.png")
    elif pairs:
        typer.echo(
            "no garment is of the category that a person was prepared for: say which with --category, or who is who "
            "with --person-photo and --garment-photo"
        )


def _prepare_dataset(source: str, out: Path, preprocessor: str, device: str, split: str, **arguments: Any) -> None:
    from .data.importing import warning_kinds
    from .data.shards import WARNINGS_FOLDER, process_position
    from .inference import load_preprocessor
    from .preprocessing.prepare_dataset import device_of_process, prepare_dataset

    index, count = process_position()
    resolved = device_of_process(device)
    report = prepare_dataset(
        source,
        out,
        load_preprocessor(preprocessor, resolved),
        split,
        process_index=index,
        num_processes=count,
        # Where a folder lies is not what it holds.
        preprocessor_name=Path(preprocessor).resolve().name if Path(preprocessor).is_dir() else preprocessor,
        **arguments,
    )
    typer.echo(f"process {index} of {count} on {resolved}: {report}" if count > 1 else report)
    if index == 0:
        for kind, number in warning_kinds(out, split).most_common():
            typer.echo(f"{number:8,}  rows with {kind}, see {out / WARNINGS_FOLDER}")
        print_rejected(out, split, Path(source).parent if Path(source).is_file() else Path(source))
    if report.rows_rejected and not report.rows_written and not report.shards_skipped:
        raise typer.Exit(1)
