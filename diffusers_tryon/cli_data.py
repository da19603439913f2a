# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The commands of `diffusers-tryon` that make and check data sets."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer


# The keys of `data.importers.IMPORTERS`, written out because help must not import them; a test compares.
_IMPORTERS = "viton-hd, dress-code, deepfashion, deepfashion-multimodal, manifest"
# Of the reasons why rows were rejected, how many are shown; the lists have them all.
_MOST_REASONS = 12

# What a source of photographs may be asked for; `import` and `validate` share these.
_Pairs = Annotated[
    str | None,
    typer.Option(
        help="Of viton-hd and dress-code: paired (everybody with their own garment), or of the test also unpaired "
        "(somebody else's, photographed alone) and model-to-model (somebody else's, worn). Of deepfashion: views (all "
        "of an article) or listed (those of fasion-resize-pairs-*.csv).",
        show_default="paired, or views",
    ),
]
_Category = Annotated[str | None, typer.Option(help="Of dress-code: upper, lower or dress.", show_default="all three")]
_ParseDir = Annotated[
    Path | None,
    typer.Option(help="Of deepfashion: folder of label maps (PNG) that a parser made.", show_default=False),
]
_LabelMap = Annotated[
    str | None,
    typer.Option(
        help="Of deepfashion: what their values mean: cihp, lip, atr, fashn or deepfashion-multimodal.",
        show_default=False,
    ),
]
_Manifest = Annotated[
    Path | None,
    typer.Option(help="Of manifest: the CSV or JSONL file.", show_default="SPLIT.csv or SPLIT.jsonl in --root"),
]

commands = typer.Typer()


@commands.command(no_args_is_help=True)
def validate(
    folder: Annotated[
        Path, typer.Argument(help="Data set: Parquet shards, imagefolder or WebDataset; with --source, its folder.")
    ],
    source: Annotated[
        str | None,
        typer.Option(
            help=f"Check what importing from FOLDER would give, without writing: {_IMPORTERS}.", show_default="none"
        ),
    ] = None,
    pairs: _Pairs = None,
    category: _Category = None,
    parse_dir: _ParseDir = None,
    label_map: _LabelMap = None,
    manifest: _Manifest = None,
    workers: Annotated[int, typer.Option(help="Processes.", min=1)] = 1,
    fix: Annotated[
        bool,
        typer.Option("--fix", help="Move bad rows to FOLDER/__quarantine__, with a list of what is wrong with each."),
    ] = False,
    report: Annotated[
        Path | None, typer.Option(help="Also write every problem to this JSONL file.", show_default="none")
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option(help="Picture to write: 16 random good rows with their poses drawn.", show_default="none"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Which rows the sheet shows.", min=0)] = 0,
) -> None:
    """Check every row of a data set and report all that is wrong; exit status 1 if anything is.

    **Examples**

    ```
    diffusers-tryon validate data/viton-hd --workers 8 --sheet sheet.png

    diffusers-tryon validate data/viton-hd --fix --report problems.jsonl

    diffusers-tryon validate zalando-hd-resized --source viton-hd --workers 8
    ```
    """
    from .data.parts import list_parts
    from .data.quarantine import QUARANTINE_FOLDER, quarantine
    from .data.row_panels import rows_sheet
    from .data.source_parts import source_parts
    from .data.validation import validate_parts
    from .image_files import check_image_path, write_image

    if sheet is not None:
        check_image_path(sheet, "--sheet")
    if report is not None and report.is_dir():
        raise ValueError(f"--report must be a file, {report} is a folder.")
    options = _given(pairs=pairs, category=category, parse_dir=parse_dir, label_map=label_map, manifest=manifest)
    if source is not None:
        if fix:
            raise ValueError("--fix is for data sets: importing a source leaves its bad rows out by itself.")
        parts, unlisted = source_parts(source, folder, options)
        for split, reason in unlisted.items():
            typer.echo(f"not checked: the split {split}, which cannot be imported like this: {reason}")
    elif options:
        raise ValueError(f"--{next(iter(options)).replace('_', '-')} belongs to a source: name it with --source.")
    else:
        parts = list_parts(folder)
    result = validate_parts(parts, workers)
    for finding in result.findings:
        typer.echo(finding)
    _print_summary(result)
    if report is not None:
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text("".join(json.dumps(asdict(finding)) + "\n" for finding in result.findings))
    if sheet is not None:
        chosen = result.draw_good_rows(16, seed)
        if not chosen:
            raise ValueError(f"--sheet has nothing to show: {folder} has no row without a problem.")
        write_image(rows_sheet(parts, chosen), sheet)
        typer.echo(f"wrote {sheet}")
    if fix and result.findings:
        typer.echo(f"moved {quarantine(folder, parts, result)} rows to {folder / QUARANTINE_FOLDER}")
    if result.findings:
        raise typer.Exit(1)


@commands.command("import", no_args_is_help=True)
def import_(
    source: Annotated[str, typer.Argument(help=f"What to import: {_IMPORTERS}.", show_default=False)],
    root: Annotated[Path, typer.Option(help="Folder of the source, as its publishers lay it out.")],
    out: Annotated[Path, typer.Option(help="Folder to write Parquet shards to; what is there already is kept.")],
    split: Annotated[str, typer.Option(help="train or test.")] = "train",
    pairs: _Pairs = None,
    category: _Category = None,
    parse_dir: _ParseDir = None,
    label_map: _LabelMap = None,
    manifest: _Manifest = None,
    recipe: Annotated[
        str, typer.Option(help="How the agnostic image is made: paper, or viton-hd for networks trained on that.")
    ] = "paper",
    size: Annotated[
        str | None,
        typer.Option(
            help="HEIGHTxWIDTH to pad and resize all pictures to, such as 256x256.", show_default="the source's own"
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Import the first rows only; more can follow later.", min=1, show_default="all")
    ] = None,
    rows_per_shard: Annotated[
        int, typer.Option(help="Rows in a file, which a process writes as a whole.", min=1)
    ] = 500,
    workers: Annotated[int, typer.Option(help="Processes, each with one thread.", min=1)] = 1,
) -> None:
    """Turn a public data set, or your own photographs, into rows for training and evaluation.

    Builds agnostic images and cuts out garments. Rows that cannot be made are left out and listed with the reason.
    Interrupted imports go on where they stopped. `accelerate launch -m diffusers_tryon import ...` spreads the shards
    over processes and machines.

    **Examples**

    ```
    diffusers-tryon import viton-hd --root zalando-hd-resized \\
        --out data/viton-hd --size 256x192 --workers 8

    diffusers-tryon import dress-code --root DressCode --category dress \\
        --split test --pairs unpaired --out data/dress-code-unpaired

    diffusers-tryon import deepfashion --root In-shop --parse-dir parses \\
        --label-map fashn --out data/deepfashion --size 256x256

    diffusers-tryon import manifest --root photos --manifest mine.csv --out data/mine
    ```
    """
    from .data.importers import IMPORTERS
    from .data.importing import import_source
    from .data.shards import process_position

    index, count = process_position()
    options = _given(pairs=pairs, category=category, parse_dir=parse_dir, label_map=label_map, manifest=manifest)
    if source in IMPORTERS and index == 0:
        typer.echo(f"{IMPORTERS[source].title}: {IMPORTERS[source].licence} ({IMPORTERS[source].home_page})")
    report = import_source(
        source,
        root,
        out,
        split,
        options=options,
        recipe=recipe,
        size=parse_size(size),
        limit=limit,
        rows_per_shard=rows_per_shard,
        workers=workers,
        process_index=index,
        num_processes=count,
    )
    typer.echo(f"process {index} of {count}: {report}" if count > 1 else report)
    if index == 0:
        print_rejected(out, split, root)
    if report.rows_rejected and not report.rows_written and not report.shards_skipped:
        raise typer.Exit(1)


@commands.command(no_args_is_help=True)
def repack(
    source: Annotated[
        str,
        typer.Argument(
            help="Data set in any layout: its folder, or its id on the Hub (user/name).", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder to write; it must be new or empty.")],
    layout: Annotated[str, typer.Option("--format", help="parquet, imagefolder or webdataset.")],
    rows_per_shard: Annotated[int, typer.Option(help="Rows in a Parquet or tar file.", min=1)] = 1000,
) -> None:
    """Copy a data set into another layout; all rows and all splits, image files to the byte.

    **Examples**

    ```
    diffusers-tryon repack data/viton-hd --out data/viton-hd-tars --format webdataset

    diffusers-tryon repack my-name/my-rows --out data/my-rows --format imagefolder
    ```
    """
    from .data.repack import repack as repack_dataset

    for split, count in repack_dataset(source, out, layout, rows_per_shard).items():
        typer.echo(f"{out}: {count:,} rows of the split {split}")


def print_rejected(out: Path, split: str, root: Path) -> None:
    """Why rows were rejected, the most frequent reasons first, and how to have them tried again."""
    from .data.importing import rejection_reasons
    from .data.shards import REJECTED_FOLDER

    reasons = rejection_reasons(out, split, root)
    if not reasons:
        return
    typer.echo(f"rejected so far, see {out / REJECTED_FOLDER}:")
    for reason, number in reasons.most_common(_MOST_REASONS):
        typer.echo(f"{number:8,}  {reason}")
    typer.echo(f"to try them again, remove from {out} the files of the names that the lists have there")


def _given(**options: Any) -> dict[str, Any]:
    """The options that the user named."""
    return {name: value for name, value in options.items() if value is not None}


def parse_size(size: str | None) -> tuple[int, int] | None:
    """The height and width of a text such as 256x192."""
    if size is None:
        return None
    height, _, width = size.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise ValueError(f"`size` must be HEIGHTxWIDTH in pixels, such as 256x192, got {size!r}.")
    return int(height), int(width)


def _print_summary(result) -> None:
    """A table of problems by kind and split, and the number of rows."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    splits = sorted(set(result.splits.values()))
    table = Table(box=box.SIMPLE)
    for heading in ("problem", *splits):
        table.add_column(heading, justify="left" if heading == "problem" else "right")
    for kind in result.kinds():
        table.add_row(kind, *(f"{result.count(kind, split):,}" for split in splits))
    table.add_row("rows", *(f"{result.rows_of(split):,}" for split in splits))
    table.add_row("rows with a problem", *(f"{result.bad_rows(split):,}" for split in splits))
    Console(width=100).print(table)
