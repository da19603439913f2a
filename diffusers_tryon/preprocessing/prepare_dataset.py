# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""From pairs of photographs to rows of the data schema: batches through the networks, shards on many processes."""

import os
from collections.abc import Iterable, Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch

from ..data.importers.base import IMPORTED_COLUMNS, UnusableEntry
from ..data.schema import SCHEMA_VERSION
from ..data.shards import BuiltRow, ShardReport, write_shards
from ..inference import resolve_device
from .analysis import AnalysedPhoto
from .errors import PreprocessingError, PreprocessingWarning
from .loading import COMPONENT_NAMES
from .photo_pairs import AUTO, FilePhoto, PhotoPair, StoredPhoto, list_photo_pairs
from .photos import Photo, read_photo
from .prepare_photos import check_size_and_batch
from .prepared import PreparedGarment, PreparedPerson
from .preprocessor import DEFAULT_SIZE, TryOnPreprocessor, check_pair


SOURCE = "prepared"
# What launchers tell a process of its place among those of its machine.
_LOCAL_RANK_VARIABLES = ("LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID")


def prepare_dataset(
    source: str | Path,
    out_dir: str | Path,
    preprocessor: TryOnPreprocessor,
    split: str = "train",
    category: str = AUTO,
    garment_type: str = AUTO,
    size: tuple[int, int] = DEFAULT_SIZE,
    limit: int | None = None,
    rows_per_shard: int = 500,
    batch_size: int = 8,
    process_index: int = 0,
    num_processes: int = 1,
    preprocessor_name: str = "",
) -> ShardReport:
    """Prepare pairs of photographs and write them to `out_dir/<split>-<number>.parquet`, see `shards.write_shards`.

    A pair is rejected, with the reason, if either photograph cannot be used; what may only spoil it is listed in
    `out_dir/__warnings__`. The bytes of a shard do not depend on the number of processes nor on interruptions. Nor
    does what a row is depend on `batch_size`, but a network may compute its last bits otherwise in another batch.

    Args:
        source (`str` or `Path`): see `photo_pairs.list_photo_pairs`.
        out_dir (`str` or `Path`): created if missing.
        preprocessor (`TryOnPreprocessor`): looks at the photographs.
        split (`str`): name of the rows' split and, for a data set, of the one to read.
        category (`str`): of pairs for which the source says nothing: "upper", "lower", "dress", or "auto" for what the
            photograph of the garment shows most of.
        garment_type (`str`): of these pairs: "worn", "flat", or "auto" to look whether somebody wears the garment.
        size (`tuple[int, int]`): height and width of all pictures.
        limit (`int`, *optional*): the first pairs only. More can be added by a later call.
        rows_per_shard, process_index, num_processes (`int`): as in `shards.write_shards`.
        batch_size (`int`): pairs that go through the networks together. Their photographs are in memory at once, at
            most twice as many of up to `photos.MAX_PIXELS` each.
        preprocessor_name (`str`): tells this preprocessor from others of the same classes. Rows of another name are
            not continued.

    Returns:
        `ShardReport`: what this process wrote.

    Raises:
        ValueError: a bad argument, nothing is listed, or `out_dir` holds other rows.
    """
    check_size_and_batch(size, batch_size)
    pairs = list_photo_pairs(source, split, category, garment_type)[:limit]
    return write_shards(
        out_dir,
        split,
        pairs,
        build_row=None,
        extra_columns=IMPORTED_COLUMNS,
        task_id=attrgetter("id"),
        source=_settings(preprocessor, preprocessor_name, category, garment_type, size),
        rows_per_shard=rows_per_shard,
        process_index=process_index,
        num_processes=num_processes,
        build_rows=partial(prepare_rows, preprocessor=preprocessor, size=tuple(size)),
        tasks_together=batch_size,
    )


def prepare_rows(
    pairs: Sequence[PhotoPair | UnusableEntry], preprocessor: TryOnPreprocessor, size: tuple[int, int]
) -> list[BuiltRow]:
    """Prepare pairs together; a photograph that several of them show is looked at once.

    Args:
        pairs (`Sequence`): from `list_photo_pairs`.
        preprocessor (`TryOnPreprocessor`): looks at the photographs.
        size (`tuple[int, int]`): height and width of all pictures.

    Returns:
        `list[BuiltRow]`: for each pair a row of `data.schema.dataset_features(IMPORTED_COLUMNS)`, or why there is
            none.
    """
    analyses = _analyse_each(
        {photo for pair in pairs if isinstance(pair, PhotoPair) for photo in (pair.person, pair.garment)}, preprocessor
    )
    return [_build(pair, analyses, preprocessor, size) for pair in pairs]


def device_of_process(device: str) -> torch.device:
    """The device of a name as in `inference.resolve_device`; "auto" deals a machine's GPUs to its processes."""
    resolved = resolve_device(device)
    if device != AUTO or resolved.type == "cpu":
        return resolved
    local_rank = next((int(os.environ[name]) for name in _LOCAL_RANK_VARIABLES if name in os.environ), 0)
    return torch.device(resolved.type, local_rank % torch.accelerator.device_count())


def _settings(
    preprocessor: TryOnPreprocessor, preprocessor_name: str, category: str, garment_type: str, size: tuple[int, int]
) -> dict[str, Any]:
    return {
        "name": SOURCE,
        "preprocessor": preprocessor_name,
        "components": {name: type(getattr(preprocessor, name)).__name__ for name in COMPONENT_NAMES},
        "category": category,
        "garment_type": garment_type,
        "size": size,
    }


def _analyse_each(
    references: Iterable[FilePhoto | StoredPhoto], preprocessor: TryOnPreprocessor
) -> dict[FilePhoto | StoredPhoto, AnalysedPhoto | Exception]:
    """What was seen in each photograph, or why it cannot be used."""
    # In one order, whatever the order of the set: networks see the same batch each time.
    found: dict[FilePhoto | StoredPhoto, Photo | AnalysedPhoto | Exception] = {}
    for reference in sorted(references, key=attrgetter("name")):
        try:
            found[reference] = read_photo(reference.open(), reference.name)
        except PreprocessingError as error:
            found[reference] = error
    read = {reference: photo for reference, photo in found.items() if isinstance(photo, Photo)}
    if read:
        found.update(zip(read, preprocessor.analyse_read(list(read.values()), [None] * len(read))))
    return found


def _build(
    pair: PhotoPair | UnusableEntry,
    analyses: dict[FilePhoto | StoredPhoto, AnalysedPhoto | Exception],
    preprocessor: TryOnPreprocessor,
    size: tuple[int, int],
) -> BuiltRow:
    if isinstance(pair, UnusableEntry):
        return BuiltRow(None, pair.reason)
    seen = analyses[pair.person], analyses[pair.garment]
    for analysis in seen:
        if isinstance(analysis, Exception):
            return BuiltRow(None, str(analysis))
    try:
        garment = preprocessor.prepare_garment(seen[1], pair.category, pair.garment_type, size)
        person = preprocessor.prepare_person(seen[0], garment.category, size)
    except PreprocessingError as error:
        return BuiltRow(None, str(error))
    except ValueError as error:  # what no check foresaw must not end the work on all others
        return BuiltRow(None, f"{pair.person.name} with {pair.garment.name}: {error}")
    warnings = (*person.warnings, *garment.warnings, *check_pair(person, garment))
    return BuiltRow(_row(pair, person, garment), warnings=_texts(warnings))


def _row(pair: PhotoPair, person: PreparedPerson, garment: PreparedGarment) -> dict[str, Any]:
    return {
        "id": pair.id,
        "person_image": person.image,
        "agnostic_image": person.agnostic_image,
        "agnostic_mask": person.agnostic_mask,
        "garment_image": garment.image,
        "person_pose": person.pose,
        "garment_pose": garment.pose,
        "garment_type": garment.garment_type,
        "category": garment.category,
        "source": SOURCE,
        "schema_version": SCHEMA_VERSION,
        "person_id": pair.person_id,
        "garment_id": pair.garment_id,
        "person_parse": person.parse,
        "garment_parse": garment.parse,
    }


def _texts(warnings: Iterable[PreprocessingWarning]) -> tuple[str, ...]:
    """Kind and text of each warning, none twice: both photographs of a pair may be one."""
    return tuple(dict.fromkeys(f"{type(warning).__name__}: {warning}" for warning in warnings))
