# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Copies a dataset into another layout; its rows stay the same, images to the byte."""

import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Array2D, ClassLabel, Features
from PIL import Image as PILImage
from PIL import UnidentifiedImageError
from tqdm.auto import tqdm

from .layouts import FILE_NAME_SUFFIX, IMAGEFOLDER, LAYOUTS, METADATA_FILE, PARQUET, WEBDATASET
from .loading import list_splits, open_split, read_split, without_decoding
from .rows import IMAGE_COLUMNS, RowError
from .shards import write_parquet


# File systems and the Hub are slow with more files in a folder.
_FILES_PER_FOLDER = 1000
_SUFFIXES = {"JPEG": "jpg", "MPO": "jpg"}


def repack(
    source: str | Path,
    out_dir: str | Path,
    layout: str,
    rows_per_shard: int = 1000,
    revision: str | None = None,
    token: str | bool | None = None,
) -> dict[str, int]:
    """Write all splits of a dataset in one of the layouts of `data.layouts`, without decoding an image.

    The same rows give the same bytes. All is written beside `out_dir` and takes its place at the end.

    Args:
        source (`str` or `Path`): a dataset's folder in any layout, or its id on the Hub.
        out_dir (`str` or `Path`): a new or empty folder.
        layout (`str`): "parquet", "imagefolder" or "webdataset".
        rows_per_shard (`int`): rows in a Parquet or tar file; those of one Parquet file are held in memory.
        revision, token: for the Hub.

    Returns:
        `dict[str, int]`: the number of rows of each split.

    Raises:
        ValueError: a bad argument, or the source cannot be read (`RowError` for a row of it).
    """
    if layout not in LAYOUTS:
        raise ValueError(f"`layout` must be one of {', '.join(LAYOUTS)}, got {layout!r}.")
    if not isinstance(rows_per_shard, int) or rows_per_shard < 1:
        raise ValueError(f"`rows_per_shard` must be an integer of at least 1, got {rows_per_shard!r}.")
    out_dir = Path(out_dir).absolute()
    if out_dir.exists() and (not out_dir.is_dir() or any(out_dir.iterdir())):
        raise ValueError(f"`out_dir` must be a new or empty folder, {out_dir} is not.")

    name = str(source)
    num_rows = {}
    partial = out_dir.with_name(f".{out_dir.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    try:
        for split in list_splits(name, revision, token):
            files = open_split(name, split, streaming=False, revision=revision, token=token)
            dataset = read_split(files, split, name, streaming=True)
            rows = tqdm(map(_with_image_bytes, without_decoding(dataset)), unit="row", desc=split)
            num_rows[split] = _WRITERS[layout](rows, partial, split, dataset.features, rows_per_shard)
        os.replace(partial, out_dir)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return num_rows


def _with_image_bytes(row: dict[str, Any]) -> dict[str, Any]:
    """The row with the contents of its image files, which `datasets` would store as paths."""
    images = {}
    for name in IMAGE_COLUMNS:
        if name in row:
            image = row[name] or {"bytes": None, "path": None}
            try:
                images[name] = image["bytes"] or Path(image["path"]).read_bytes()
            except (OSError, TypeError) as error:
                raise RowError(f"The row {row['id']!r} has no image in the column {name}: {error}") from error
    return row | {name: {"bytes": content, "path": None} for name, content in images.items()}


def _write_parquet_shards(
    rows: Iterator[dict[str, Any]], folder: Path, split: str, features: Features, rows_per_shard: int
) -> int:
    count = 0
    rows = iter(rows)
    while of_shard := list(islice(rows, rows_per_shard)):
        with open(folder / f"{split}-{count // rows_per_shard:05d}.parquet", "wb") as file:
            write_parquet(file, of_shard, features)
        count += len(of_shard)
    return count


def _write_imagefolder(
    rows: Iterator[dict[str, Any]], folder: Path, split: str, features: Features, rows_per_shard: int
) -> int:
    count = 0
    (folder / split).mkdir()
    with open(folder / split / METADATA_FILE, "w", encoding="utf-8") as metadata:
        for row in rows:
            columns = _plain_columns(row, features)
            for name, content in _images(row).items():
                file_name = f"{name}/{count // _FILES_PER_FOLDER:05d}/{count:08d}.{_suffix(content, name, row)}"
                path = folder / split / file_name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                columns[name + FILE_NAME_SUFFIX] = file_name
            metadata.write(json.dumps(columns) + "\n")
            count += 1
    return count


def _write_webdataset(
    rows: Iterator[dict[str, Any]], folder: Path, split: str, features: Features, rows_per_shard: int
) -> int:
    count = 0
    rows = iter(rows)
    while of_shard := list(islice(rows, rows_per_shard)):
        with tarfile.open(folder / f"{split}-{count // rows_per_shard:05d}.tar", "w") as archive:
            for row in of_shard:
                members = {f"{name}.{_suffix(content, name, row)}": content for name, content in _images(row).items()}
                members["json"] = json.dumps(_plain_columns(row, features)).encode()
                for name, content in members.items():
                    # Without a time and an owner, so that the same rows give the same bytes.
                    member = tarfile.TarInfo(f"{count:08d}.{name}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
                count += 1
    return count


def _images(row: dict[str, Any]) -> dict[str, bytes]:
    return {name: row[name]["bytes"] for name in IMAGE_COLUMNS if name in row}


def _plain_columns(row: dict[str, Any], features: Features) -> dict[str, Any]:
    """All but the images, as JSON has it: classes by name, poses with no more digits than float32 has."""
    columns = {name: value for name, value in row.items() if name not in IMAGE_COLUMNS}
    for name, value in columns.items():
        if isinstance(features[name], ClassLabel):
            columns[name] = features[name].int2str(value)
        elif isinstance(features[name], Array2D):
            columns[name] = [[float(str(number)) for number in point] for point in np.asarray(value, np.float32)]
    return columns


def _suffix(content: bytes, name: str, row: dict[str, Any]) -> str:
    """The suffix of an image file by what is in it."""
    try:
        image_format = PILImage.open(io.BytesIO(content)).format
    except UnidentifiedImageError as error:
        raise RowError(f"The row {row['id']!r} has no image in the column {name}: {error}") from error
    return _SUFFIXES.get(image_format, image_format.lower())


_WRITERS = {PARQUET: _write_parquet_shards, IMAGEFOLDER: _write_imagefolder, WEBDATASET: _write_webdataset}
