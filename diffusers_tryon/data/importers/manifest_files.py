# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The lines of a manifest: a CSV file with a header, or a JSONL file with an object in each line."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path


MANIFEST_SUFFIXES = (".csv", ".jsonl")


def read_manifest(
    path: Path, required: tuple[str, ...], optional: tuple[str, ...]
) -> Iterator[tuple[int, dict[str, str]]]:
    """The number of each line of a manifest, and what its columns hold.

    An empty cell, null and a missing column are the same: the column is not in the line.

    Args:
        path (`Path`): a file with one of `MANIFEST_SUFFIXES`.
        required (`tuple[str, ...]`): columns that a header must name; a line of a JSONL file may lack them.
        optional (`tuple[str, ...]`): the columns that there may be beside them.

    Raises:
        ValueError: an unknown column, a header that lacks one, or no text in the format that the suffix says.
    """
    read = _read_csv if path.suffix.lower() == ".csv" else _read_jsonl
    for number, row in read(path, required, optional):
        yield number, {column: str(value) for column, value in row.items() if value not in (None, "")}


def find_file(name: str, folder: Path, root: Path) -> Path:
    """The file of a manifest in `folder`: an absolute name, one in this folder, or else one in `root`."""
    path = folder / name
    return path if folder == root or path.exists() else root / name


def _check_columns(columns: list[str], required: tuple[str, ...], optional: tuple[str, ...], place: str) -> None:
    unknown = [column for column in columns if column not in required + optional]
    if unknown:
        raise ValueError(
            f"{place}: unknown column {', '.join(map(repr, unknown))}; a manifest may have "
            f"{', '.join(required + optional)}."
        )


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"The manifest {path} is no text file in UTF-8.") from error


def _read_csv(path: Path, required: tuple[str, ...], optional: tuple[str, ...]) -> Iterator[tuple[int, dict]]:
    reader = csv.DictReader(io.StringIO(_read_text(path), newline=""), restkey="beyond the last column", restval="")
    header = list(reader.fieldnames or ())
    _check_columns(header, required, optional, f"{path}, line 1")
    missing = [column for column in required if column not in header]
    if missing:
        raise ValueError(f"{path}, line 1: the column {missing[0]} is missing.")
    for row in reader:
        _check_columns(list(row), required, optional, f"{path}, line {reader.line_num}")
        yield reader.line_num, row


def _read_jsonl(path: Path, required: tuple[str, ...], optional: tuple[str, ...]) -> Iterator[tuple[int, dict]]:
    # Text has more ends of lines than JSON lines have.
    for number, line in enumerate(_read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number}: is not valid JSON: {error}") from error
        if not isinstance(row, dict):
            raise ValueError(f"{path}, line {number}: must be an object, got {line[:80]!r}.")
        _check_columns(list(row), required, optional, f"{path}, line {number}")
        yield number, row
