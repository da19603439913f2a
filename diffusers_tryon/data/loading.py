# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads datasets of the schema in any layout, from disk or from the Hub, whole or as a stream."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
from datasets import Dataset, Features, Image, IterableDataset, NamedSplit, load_dataset
from datasets.exceptions import DatasetGenerationError

from .layouts import (
    IMAGEFOLDER,
    METADATA_FILE,
    PARQUET,
    WEBDATASET,
    SplitFiles,
    find_splits,
    find_splits_on_disk,
    iterate_webdataset,
    stored_features,
)
from .rows import IMAGE_COLUMNS, RowError


_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def load_tryon_dataset(
    path: str | Path,
    split: str = "train",
    streaming: bool = False,
    revision: str | None = None,
    token: str | bool | None = None,
) -> Dataset | IterableDataset:
    """Open a dataset of the package's schema, in Parquet shards, as an imagefolder or as WebDataset tars.

    Args:
        path (`str` or `Path`): a folder in one of the layouts of `data.layouts`, or the id of a dataset on the Hub.
        split (`str`): which of its splits.
        streaming (`bool`): read rows while they are asked for instead of making a table of all rows first.
        revision (`str`, *optional*): branch, tag or commit on the Hub.
        token (`str` or `bool`, *optional*): for the Hub; the one you are logged in with if not given.

    Returns:
        `datasets.Dataset` or, when streaming, `datasets.IterableDataset`: its features are those of
        `schema.dataset_features` with the extra columns that the dataset has; other columns are left out.

    Raises:
        ValueError: there is no such folder or dataset, it has no such split, lacks columns, has no rows, is of a newer
            version of the schema, or cannot be read.
    """
    return read_split(open_split(str(path), split, streaming, revision, token), split, str(path), streaming)


def read_split(files: SplitFiles, split: str, name: str, streaming: bool) -> Dataset | IterableDataset:
    """The dataset of files that `open_split` found; `name` is what errors call it."""
    features = stored_features(files, name)
    try:
        return _READERS[files.layout](files, split, features, streaming)
    except DatasetGenerationError as error:
        raise ValueError(f"The dataset {name} cannot be read: {error.__cause__ or error}") from error


def without_decoding(dataset: Dataset | IterableDataset) -> Dataset | IterableDataset:
    """The same dataset with images as `{"bytes", "path"}`, which `rows.decode_row` decodes, naming a broken one."""
    for name in IMAGE_COLUMNS:
        if name in dataset.features:
            dataset = dataset.cast_column(name, Image(mode=dataset.features[name].mode, decode=False))
    return dataset


def list_splits(path: str, revision: str | None = None, token: str | bool | None = None) -> list[str]:
    """The splits of a dataset on disk or on the Hub; raises a `ValueError` if there are none."""
    return list(_find_splits(path, revision, token)[0])


def dataset_commit(path: str, revision: str | None = None, token: str | bool | None = None) -> str | None:
    """The commit that a dataset on the Hub would be read at; `None` for one on disk."""
    return _find_splits(path, revision, token)[1]


def open_split(
    path: str, split: str, streaming: bool, revision: str | None = None, token: str | bool | None = None
) -> SplitFiles:
    """Where the files of a split can be opened: on disk, after a download if need be, or on the Hub when streaming."""
    splits, commit = _find_splits(path, revision, token)
    if split not in splits:
        raise ValueError(f"`split` must be one of those that {path} has ({', '.join(splits)}), got {split!r}.")
    files = splits[split]
    if commit is None:
        return files.below(f"{path.rstrip(os.sep)}{os.sep}")
    if streaming:
        return files.below(f"hf://datasets/{path}@{commit}/", {} if token is None else {"token": token})
    wanted = files.files
    if files.layout == IMAGEFOLDER:
        wanted = [f"{name.removesuffix(METADATA_FILE)}*" for name in wanted]
    folder = huggingface_hub.snapshot_download(
        path, repo_type="dataset", revision=commit, allow_patterns=wanted, token=token
    )
    return files.below(f"{folder}{os.sep}")


def _find_splits(
    path: str, revision: str | None, token: str | bool | None
) -> tuple[dict[str, SplitFiles], str | None]:
    """The splits with names of files in the dataset, and the commit if it is on the Hub."""
    folder = Path(path)
    if folder.is_dir():
        splits, commit = find_splits_on_disk(folder), None
    elif folder.exists() or not _HUB_ID.fullmatch(path):
        raise ValueError(f'`path` must be a folder or the id of a dataset on the Hub, "user/name", got {path!r}.')
    else:
        names, commit = _hub_listing(path, revision, token)
        splits = find_splits(names)
    if not splits:
        raise ValueError(
            f"`path` must hold Parquet shards (SPLIT-*.parquet), SPLIT/{METADATA_FILE} or tar files (SPLIT-*.tar), "
            f"{path} does not."
        )
    return splits, commit


def _hub_listing(repo_id: str, revision: str | None, token: str | bool | None) -> tuple[set[str], str]:
    """Names of all files of a repository and the commit; without a connection those of the cached commit."""
    options = {"repo_type": "dataset", "token": token}
    try:
        folder = huggingface_hub.snapshot_download(repo_id, revision=revision, allow_patterns=["README.md"], **options)
    except OSError as error:
        raise ValueError(
            f"`path` must be a folder or the id of a dataset on the Hub; there is no folder {repo_id}, and the Hub "
            f"says: {error}"
        ) from error
    commit = Path(folder).name
    # The listing that the call above left in the cache.
    tree = huggingface_hub.get_cached_repo_tree(repo_id, repo_type="dataset", revision=commit)
    return {file.path for file in tree}, commit


def _read_with_datasets(
    builder: str, files: SplitFiles, split: str, features: Features, streaming: bool, **options: Any
) -> Dataset | IterableDataset:
    return load_dataset(
        builder,
        data_files={split: files.files},
        split=split,
        streaming=streaming,
        features=features,
        token=files.storage_options.get("token"),
        **options,
    )


def _read_parquet(files: SplitFiles, split: str, features: Features, streaming: bool) -> Dataset | IterableDataset:
    return _read_with_datasets("parquet", files, split, features, streaming, columns=list(features))


def _read_imagefolder(files: SplitFiles, split: str, features: Features, streaming: bool) -> Dataset | IterableDataset:
    # The pictures need not be listed: their names are in the metadata.
    return _read_with_datasets("imagefolder", files, split, features, streaming)


def _read_webdataset(files: SplitFiles, split: str, features: Features, streaming: bool) -> Dataset | IterableDataset:
    arguments = {"files": files.files, "storage_options": files.storage_options, "columns": tuple(features)}
    if streaming:
        return IterableDataset.from_generator(
            _webdataset_rows, features=features, gen_kwargs=arguments, split=NamedSplit(split)
        )
    states = [f"{os.stat(path).st_size} {os.stat(path).st_mtime_ns}" for path in files.files]
    return Dataset.from_generator(
        _webdataset_rows, features=features, gen_kwargs={**arguments, "states": states}, split=NamedSplit(split)
    )


def _webdataset_rows(
    files: list[str], storage_options: dict[str, Any], columns: tuple[str, ...], states: list[str] = ()
) -> Iterator[dict[str, Any]]:
    """`states` is not read: `datasets` finds the table it made of the files by these arguments, so they must change
    when a file does."""
    for row in iterate_webdataset(files, storage_options):
        missing = [name for name in columns if name not in row]
        if missing:
            raise RowError(f"The row {row.get('id')!r} lacks the columns {', '.join(missing)}.")
        yield {name: row[name] for name in columns}


_READERS = {PARQUET: _read_parquet, IMAGEFOLDER: _read_imagefolder, WEBDATASET: _read_webdataset}
