# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Data sets file by file and row by row as they are stored: nothing is decoded, so that one bad row hides no other.

`datasets` stops at the first row that it cannot read; whoever looks for bad rows needs all of them.
"""

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as parquet
from datasets import ClassLabel, Features

from .layouts import FILE_NAME_SUFFIX, IMAGEFOLDER, PARQUET, WEBDATASET, find_splits_on_disk, split_member_name
from .row_checks import Problem
from .schema import dataset_features


UNREADABLE_ROW = "unreadable row"
_ROWS_PER_READ = 32
_NAMES_OF_CLASSES = {
    name: feature.names for name, feature in dataset_features().items() if isinstance(feature, ClassLabel)
}


@dataclass(frozen=True)
class StoredRow:
    """A row as it is stored.

    Attributes:
        number: its place in the file, from 0.
        columns: images as a dict of `bytes` and `path`, classes by name.
        problem: why it is no row at all; `columns` then holds what is known of it.
    """

    number: int
    columns: dict[str, Any]
    problem: Problem | None = None


class Part(Protocol):
    """A piece of a data set that one process reads: the split it belongs to, and its name for reports."""

    split: str
    name: str

    def rows(self) -> Iterator[StoredRow]:
        """The rows in order. Raises an `OSError` or a `ValueError` if the piece as a whole cannot be read."""


@dataclass(frozen=True)
class ParquetPart:
    """A Parquet shard."""

    split: str
    name: str
    path: Path

    def rows(self) -> Iterator[StoredRow]:
        try:
            shard = parquet.ParquetFile(self.path)
            classes = _class_names(shard.schema_arrow)
            number = 0
            for batch in shard.iter_batches(_ROWS_PER_READ):
                for columns in _plain_rows(batch):
                    yield StoredRow(number, _with_class_names(columns, classes))
                    number += 1
        except pa.ArrowException as error:
            raise ValueError(f"{self.path} cannot be read: {error}") from error


@dataclass(frozen=True)
class ImageFolderPart:
    """The `metadata.jsonl` of a split in the imagefolder layout, with the pictures beside it."""

    split: str
    name: str
    path: Path

    def rows(self) -> Iterator[StoredRow]:
        # Bytes, because text has more ends of lines than JSON lines have.
        with open(self.path, "rb") as file:
            for number, line in enumerate(file):
                try:
                    columns = _parse_object(line)
                except ValueError as error:
                    yield StoredRow(number, {}, Problem(UNREADABLE_ROW, f"The line is no JSON object: {error}"))
                    continue
                names = [name for name in columns if name.endswith(FILE_NAME_SUFFIX)]
                for name in names:
                    columns[name.removesuffix(FILE_NAME_SUFFIX)] = self._stored_image(columns.pop(name))
                yield StoredRow(number, _with_class_names(columns, _NAMES_OF_CLASSES))

    def _stored_image(self, file_name: Any) -> dict[str, Any] | None:
        if not isinstance(file_name, str) or not (self.path.parent / file_name).is_file():
            return None
        return {"bytes": (self.path.parent / file_name).read_bytes(), "path": file_name}


@dataclass(frozen=True)
class WebDatasetPart:
    """A tar file of the WebDataset layout: members KEY.COLUMN.png and KEY.json."""

    split: str
    name: str
    path: Path

    def rows(self) -> Iterator[StoredRow]:
        try:
            with tarfile.open(self.path) as archive:
                for number, members in enumerate(members_by_key(archive)):
                    yield _row_of_members(number, archive, members)
        except tarfile.TarError as error:
            raise ValueError(f"{self.path} cannot be read: {error}") from error


def members_by_key(archive: tarfile.TarFile) -> Iterator[list[tarfile.TarInfo]]:
    """The files of an archive, row by row."""
    members: list[tarfile.TarInfo] = []
    for member in archive:
        if not member.isfile():
            continue
        if members and split_member_name(member.name)[0] != split_member_name(members[0].name)[0]:
            yield members
            members = []
        members.append(member)
    if members:
        yield members


def _parse_object(text: bytes) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(f"it is {text.decode().strip()[:80]}")
    return value


def _row_of_members(number: int, archive: tarfile.TarFile, members: list[tarfile.TarInfo]) -> StoredRow:
    columns: dict[str, Any] = {}
    problem = None
    for member in members:
        content = archive.extractfile(member).read()
        extension = split_member_name(member.name)[1]
        if extension == "json":
            try:
                columns |= _parse_object(content)
            except ValueError as error:
                problem = Problem(UNREADABLE_ROW, f"{member.name} is no JSON object: {error}")
        else:
            columns[extension.rpartition(".")[0]] = {"bytes": content, "path": member.name}
    return StoredRow(number, _with_class_names(columns, _NAMES_OF_CLASSES), problem)


def _class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Names of the classes by column, as the file itself states them."""
    features = Features.from_arrow_schema(schema)
    return {name: feature.names for name, feature in features.items() if isinstance(feature, ClassLabel)}


def _with_class_names(columns: dict[str, Any], classes: dict[str, list[str]]) -> dict[str, Any]:
    """Numbers of classes replaced by their names where they have one."""
    for name, names in classes.items():
        value = columns.get(name)
        if isinstance(value, int) and 0 <= value < len(names):
            columns[name] = names[value]
    return columns


def _plain_rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Rows as Python values. Extension types are unpacked here: reading a column of poses through `datasets` fails as
    a whole if a single row has a wrong number of points."""
    columns = [column.storage if isinstance(column, pa.ExtensionArray) else column for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names).to_pylist()


def list_parts(folder: str | Path) -> list[Part]:
    """The files of a data set on disk in one of the layouts of `data.layouts`, split by split.

    Args:
        folder (`str` or `Path`): the data set's folder.

    Raises:
        ValueError: there is no such folder, or it holds none of these.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"`folder` must be a data set's folder, there is none at {folder}.")
    parts = [
        _PARTS[files.layout](split, name, folder / name)
        for split, files in find_splits_on_disk(folder).items()
        for name in files.files
    ]
    if not parts:
        raise ValueError(f"`folder` must hold Parquet shards, metadata.jsonl files or tar files, {folder} does not.")
    return parts


_PARTS: dict[str, type[Part]] = {PARQUET: ParquetPart, IMAGEFOLDER: ImageFolderPart, WEBDATASET: WebDatasetPart}
