# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The commands of `diffusers-tryon` that make and check data sets."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer


commands = typer.Typer()


@commands.command(no_args_is_help=True)
def validate(
    folder: Annotated[Path, typer.Argument(help="Data set: Parquet shards, imagefolder or WebDataset.")],
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
    ```
    """
    from .data.parts import list_parts
    from .data.quarantine import QUARANTINE_FOLDER, quarantine
    from .data.row_panels import rows_sheet
    from .data.validation import validate_parts
    from .image_files import check_image_path, write_image

    if sheet is not None:
        check_image_path(sheet, "--sheet")
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
