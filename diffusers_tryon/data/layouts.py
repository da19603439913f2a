# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The three layouts of a dataset on disk or on the Hub: which files belong to a split, and what columns they have.

| layout | files |
|---|---|
| Parquet | `SPLIT-*.parquet`, the images inside; also in the folder `data` |
| imagefolder | `SPLIT/metadata.jsonl` with columns `X_file_name` for the images |
| WebDataset | `SPLIT-*.tar`, also in the folder `data`; members `KEY.COLUMN.png` for the images, the rest in `KEY.json` |
"""

import json
import os
import re
import tarfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

import fsspec
import pyarrow.parquet as parquet
from datasets import ClassLabel, Features
from pyarrow import ArrowException

from .rows import RowError
from .schema import EXTRA_COLUMNS, SCHEMA_VERSION, dataset_features


PARQUET = "parquet"
IMAGEFOLDER = "imagefolder"
WEBDATASET = "webdataset"
LAYOUTS = (PARQUET, IMAGEFOLDER, WEBDATASET)

FILE_NAME_SUFFIX = "_file_name"
METADATA_FILE = "metadata.jsonl"
_SHARD_NAME = re.compile(r"(?:data/)?(?P<split>[a-zA-Z]\w*)(?:-[^/]*)?\.(?P<suffix>parquet|tar)")
_METADATA_NAME = re.compile(r"(?:(?P<split>[a-zA-Z]\w*)/)?metadata\.jsonl")
_PARQUET_END = b"PAR1"
_FILES_COUNTED_AT_ONCE = 16
_LAYOUT_OF_SUFFIX = {"parquet": PARQUET, "tar": WEBDATASET}


@dataclass(frozen=True)
class SplitFiles:
    """The files of one split in their order.

    Attributes:
        layout: one of `LAYOUTS`.
        files: paths, or URLs that fsspec opens.
        storage_options: what fsspec needs to open them, such as a token.
    """

    layout: str
    files: list[str]
    storage_options: dict[str, Any] = field(default_factory=dict)

    def below(self, prefix: str, storage_options: dict[str, Any] | None = None) -> "SplitFiles":
        """The same files in a folder or at a URL."""
        return SplitFiles(self.layout, [prefix + name for name in self.files], storage_options or {})

    def shards(self) -> "list[SplitFiles]":
        """What can be read apart from the rest: each Parquet or tar file, or an imagefolder as a whole."""
        if self.layout == IMAGEFOLDER:
            return [self]
        return [SplitFiles(self.layout, [file], self.storage_options) for file in self.files]


def find_splits(names: Iterable[str]) -> dict[str, SplitFiles]:
    """Sort the files of a dataset into its splits.

    Args:
        names (`Iterable[str]`): paths relative to the dataset's folder, with forward slashes; others may be among
        them.

    Raises:
        ValueError: a split has files of two layouts.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for name in sorted(names):
        if match := _SHARD_NAME.fullmatch(name):
            found.setdefault(match["split"], {}).setdefault(_LAYOUT_OF_SUFFIX[match["suffix"]], []).append(name)
        elif match := _METADATA_NAME.fullmatch(name):
            found.setdefault(match["split"] or "train", {}).setdefault(IMAGEFOLDER, []).append(name)
    for split, layouts in found.items():
        if len(layouts) > 1:
            examples = ", ".join(min(files) for files in layouts.values())
            raise ValueError(
                f"A dataset must have one layout, the split {split} has {' and '.join(layouts)}: {examples}."
            )
    return {
        split: SplitFiles(layout, sorted(files, key=_in_counting_order))
        for split, layouts in sorted(found.items())
        for layout, files in layouts.items()
    }


def find_splits_on_disk(folder: Path) -> dict[str, SplitFiles]:
    """`find_splits` of a folder on disk, with names relative to it."""
    # Not every file: an imagefolder has millions.
    found = [*folder.glob("*"), *folder.glob("data/*"), *folder.glob(f"*/{METADATA_FILE}")]
    return find_splits({file.relative_to(folder).as_posix() for file in found if file.is_file()})


def _in_counting_order(name: str) -> list[str | int]:
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def stored_features(split_files: SplitFiles, name: str) -> Features:
    """The schema's features with those extra columns that the dataset has, after a look at its first row.

    Args:
        name (`str`): what errors call the dataset.

    Raises:
        ValueError: a column is missing, classes have other names, the dataset is of a newer version of the schema,
            has no row, or its first file cannot be read.
    """
    first_row = _FIRST_ROW[split_files.layout](split_files, name)
    if first_row is None:
        raise ValueError(f"The dataset {name} has no rows.")
    missing = [column for column in dataset_features() if column not in first_row]
    if missing:
        raise ValueError(
            f"The dataset {name} lacks the columns {', '.join(missing)}; it has {', '.join(first_row) or 'none'}."
        )
    version = first_row["schema_version"]
    if version > SCHEMA_VERSION:
        raise ValueError(
            f"The dataset {name} is of version {version} of the schema, this version of diffusers-tryon reads up to "
            f"{SCHEMA_VERSION}. Install a newer one."
        )
    return dataset_features(tuple(column for column in EXTRA_COLUMNS if column in first_row))


def count_rows(split_files: SplitFiles, name: str) -> list[int]:
    """The number of rows of each of `split_files.shards()`, without reading the rows.

    Of a Parquet file the footer is read, of an imagefolder the metadata. A tar file has no such list: on disk its
    members' headers are read one after another, which from the Hub takes most of the file.

    Args:
        name (`str`): what errors call the dataset.

    Raises:
        ValueError: a file cannot be read; the message names it.
    """

    def count(shard: SplitFiles) -> int:
        return sum(_count_rows_of_file(shard, path, name) for path in shard.files)

    with ThreadPoolExecutor(_FILES_COUNTED_AT_ONCE) as executor:
        return list(executor.map(count, split_files.shards()))


def _count_rows_of_file(split_files: SplitFiles, path: str, name: str) -> int:
    try:
        with fsspec.open(path, **split_files.storage_options) as file:
            if split_files.layout == PARQUET:
                return parquet.read_metadata(file).num_rows
            if split_files.layout == IMAGEFOLDER:
                return sum(1 for line in file if line.strip())
            return _count_rows_of_archive(file)
    except (ArrowException, tarfile.TarError, OSError) as error:
        raise ValueError(f"The dataset {name} cannot be read, {path} is broken or cut short: {error}") from error


def _count_rows_of_archive(file: BinaryIO) -> int:
    with tarfile.open(fileobj=file, mode="r:") as archive:
        members = list(archive)
    end = max(
        (member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE for member in members),
        default=0,
    )
    # tarfile takes a file that ends after a member, or within a header, for one that is complete.
    file.seek(end)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("there is no end of the archive after its last member")
    keys = [split_member_name(member.name)[0] for member in members if member.isfile()]
    return sum(1 for _ in groupby(keys))


def _first_row_of_parquet(split_files: SplitFiles, name: str) -> dict[str, Any] | None:
    """The names of the columns with nothing but the schema's version read."""
    for path in split_files.files:
        _check_is_whole(path, name)
    for path in split_files.files:
        try:
            with fsspec.open(path, **split_files.storage_options) as file:
                shard = parquet.ParquetFile(file)
                if shard.metadata.num_rows == 0:
                    continue
                stored = Features.from_arrow_schema(shard.schema_arrow)
                row = dict.fromkeys(stored)
                if "schema_version" in stored:
                    row |= next(shard.iter_batches(1, columns=["schema_version"])).to_pylist()[0]
        except (ArrowException, OSError) as error:
            raise ValueError(f"The dataset {name} cannot be read, {path} is broken or cut short: {error}") from error
        _check_classes(stored, path)
        return row
    return None


def _check_is_whole(path: str, name: str) -> None:
    """Raise for a shard on disk that was cut short: `datasets` would say so without its name, and only in the end."""
    if "://" in path:
        return
    with open(path, "rb") as file:
        file.seek(-min(len(_PARQUET_END), os.path.getsize(path)), os.SEEK_END)
        if file.read() != _PARQUET_END:
            raise ValueError(f"The dataset {name} cannot be read, {path} is broken or cut short.")


def _check_classes(stored: Features, path: str) -> None:
    """Classes are stored as numbers, which mean something else where their names are others."""
    for column, feature in dataset_features().items():
        if isinstance(feature, ClassLabel) and isinstance(stored.get(column), ClassLabel):
            if stored[column].names != feature.names:
                raise ValueError(
                    f"The classes of the column {column} must be {', '.join(feature.names)}, {path} has "
                    f"{', '.join(stored[column].names)}."
                )


def _first_row_of_imagefolder(split_files: SplitFiles, name: str) -> dict[str, Any] | None:
    for path in split_files.files:
        try:
            with fsspec.open(path, "r", encoding="utf-8", **split_files.storage_options) as file:
                line = file.readline()
            row = json.loads(line) if line.strip() else {}
        except (OSError, ValueError) as error:
            raise ValueError(f"The dataset {name} cannot be read, {path} is no JSON lines: {error}") from error
        if row:
            return {column.removesuffix(FILE_NAME_SUFFIX): value for column, value in row.items()}
    return None


def _first_row_of_webdataset(split_files: SplitFiles, name: str) -> dict[str, Any] | None:
    return next(iterate_webdataset(split_files.files, split_files.storage_options), None)


def iterate_webdataset(files: list[str], storage_options: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows of tar files in their order, images as `{"bytes", "path"}` and the rest as JSON has it.

    `datasets` has a reader of its own, which takes the type of a column from the first five rows (a pose of whole
    numbers, say) and wants the same image format in all rows; the schema knows better.

    Raises:
        RowError: a file cannot be read; the message names it.
    """
    for path in files:
        try:
            with (
                fsspec.open(path, **storage_options) as file,
                tarfile.open(fileobj=file, mode="r|") as archive,
            ):
                yield from _rows_of_archive(archive)
        except (tarfile.TarError, OSError, EOFError) as error:
            raise RowError(f"{path} is broken or cut short: {error}") from error
        except json.JSONDecodeError as error:
            raise RowError(f"{path} has a member that is no JSON: {error}") from error


def split_member_name(name: str) -> tuple[str, str]:
    """The key of a row and the rest of a member's name: what follows the first dot of the file's name."""
    folder, slash, file_name = name.rpartition("/")
    key, _, extension = file_name.partition(".")
    return folder + slash + key, extension


def _rows_of_archive(archive: tarfile.TarFile) -> Iterator[dict[str, Any]]:
    row: dict[str, Any] = {}
    key_of_row = None
    for member in archive:
        if not member.isfile():
            continue
        key, extension = split_member_name(member.name)
        if key != key_of_row and row:
            yield row
            row = {}
        key_of_row = key
        content = archive.extractfile(member).read()
        if extension == "json":
            row |= json.loads(content)
        else:
            row[extension.rpartition(".")[0]] = {"bytes": content, "path": None}
    if row:
        yield row


_FIRST_ROW = {
    PARQUET: _first_row_of_parquet,
    IMAGEFOLDER: _first_row_of_imagefolder,
    WEBDATASET: _first_row_of_webdataset,
}
