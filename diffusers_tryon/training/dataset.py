# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The rows of a run: opened, decoded, augmented, and stacked to batches; what identifies and licenses them."""

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from huggingface_hub import DatasetCard
from huggingface_hub.errors import EntryNotFoundError
from torch.utils.data import Dataset

from diffusers_tryon.data.augmentation import augment_row, draw_augmentation
from diffusers_tryon.data.layouts import count_rows
from diffusers_tryon.data.loading import dataset_commit, load_tryon_dataset, open_split, without_decoding
from diffusers_tryon.data.rows import RowError, decode_row
from diffusers_tryon.data.shards import hash_ids
from diffusers_tryon.rendering.samples import RENDERER_VERSION
from diffusers_tryon.rendering.stream import RenderedRows
from diffusers_tryon.training.columns import IMAGE_COLUMNS, POSE_COLUMNS, training_columns
from diffusers_tryon.training.configuration import RENDERED, TrainingConfig
from diffusers_tryon.training.order import Sample, ShardOrder
from diffusers_tryon.training.randomness import augmentation_generator
from diffusers_tryon.training.streaming import StreamedRows


# Of rendered people: the renderer and all that it draws are this package's.
RENDERED_LICENSE = "apache-2.0"


class TryOnRows(Dataset):
    """Rows of a dataset in the package's schema, decoded: images as uint8 arrays, poses as (18, 3) float32.

    Args:
        source: a dataset's folder in one of the layouts of `data.layouts`, or its id on the Hub.
        split: which of its splits.
        with_masks: read also the columns that augmentation needs.

    Raises:
        ValueError: see `load_tryon_dataset`; on access a `RowError` that names row and column.
    """

    def __init__(self, source: str, split: str = "train", with_masks: bool = False):
        rows = without_decoding(load_tryon_dataset(source, split))
        self.source = source
        self.rows = rows.select_columns(training_columns(rows.column_names, with_masks))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self.rows[index]
        try:
            return decode_row(row)
        except RowError as error:
            raise RowError(f"Row {index} of the dataset {self.source} cannot be read: {error}") from error


Rows = TryOnRows | StreamedRows | RenderedRows


def open_training_rows(config: TrainingConfig) -> Rows:
    """The decoded rows of `config.dataset`, with what their augmentation needs.

    Raises:
        ValueError: the dataset cannot be found or read, lacks columns or has no rows.
    """
    return _open_rows(config, "dataset", "train", with_masks=config.augmentation is not None)


def open_validation_rows(config: TrainingConfig) -> Rows:
    """The decoded rows of `config.validation_dataset`, those of its split "test"; without it the training rows.

    Raises:
        ValueError: as `open_training_rows`.
    """
    if config.validation_dataset is None:
        return _open_rows(config, "dataset", "train", with_masks=False)
    return _open_rows(config, "validation_dataset", "test", with_masks=False)


def _open_rows(config: TrainingConfig, setting: str, split: str, with_masks: bool) -> Rows:
    source = getattr(config, setting)
    if source == RENDERED:
        return RenderedRows(config.rendered_size, config.seed, split)
    try:
        return (StreamedRows if config.streaming else TryOnRows)(source, split, with_masks)
    except ValueError as error:
        # The Hub's answers have several lines.
        reason = " ".join(str(error).split())
        raise ValueError(f"`{setting}: {source}` cannot be opened: {reason}") from error


def dataset_fingerprint(config: TrainingConfig) -> str:
    """Words that change when the training rows of `config.dataset` do, the same on every machine.

    A dataset on the Hub is identified by its commit, rendered rows by version, size and seed of the renderer, and a
    folder by names, sizes and numbers of rows of its files: of an imagefolder the metadata, not the pictures.

    Raises:
        ValueError: the dataset cannot be found or read.
    """
    if config.dataset == RENDERED:
        return f"rendered, version {RENDERER_VERSION}, {config.rendered_size} px, seed {config.seed}"
    commit = dataset_commit(config.dataset)
    if commit is not None:
        return f"{config.dataset}@{commit}"
    files = open_split(config.dataset, "train", streaming=True)
    sizes = count_rows(files, config.dataset)
    names = [f"{os.path.relpath(path, config.dataset)} {os.path.getsize(path)}" for path in files.files]
    return f"{sum(sizes)} rows, {hash_ids([*names, *map(str, sizes)])}"


def dataset_license(config: TrainingConfig) -> str | None:
    """The licence of the training data: `config.dataset_license`, else `license` of the dataset's own card.

    Returns:
        `str` or `None`: as the card has it, several separated by commas; `None` if nothing is known.

    Raises:
        ValueError: the card cannot be read.
    """
    if config.dataset_license is not None:
        return config.dataset_license
    if config.dataset == RENDERED:
        return RENDERED_LICENSE
    folder = Path(config.dataset)
    if folder.is_dir() and not (folder / "README.md").is_file():
        return None
    try:
        found = DatasetCard.load(folder / "README.md" if folder.is_dir() else config.dataset).data.license
    except EntryNotFoundError:
        return None
    except (yaml.YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"The card of the dataset {config.dataset}, README.md, has no front matter that can be read: {reason}. "
            "Mend it or give `dataset_license`."
        ) from error
    return ", ".join(found) if isinstance(found, list) else found


class SampleRows(Dataset):
    """The rows of a run's samples, augmented as its settings say.

    A sample carries its place in the run, so that any worker of any process augments it in the same way.

    Args:
        rows: of `open_training_rows`.
        config: the run's settings.
        order: of `StreamedRows`, which are read ahead by it.
    """

    def __init__(self, rows: Rows, config: TrainingConfig, order: ShardOrder | None = None):
        self.rows, self.config, self.order = rows, config, order

    def __getitem__(self, sample: Sample) -> dict[str, Any]:
        if self.order is None:
            row = self.rows[sample.row]
        else:
            next_shard = partial(self.order.next_shard, sample.step, sample.index)
            row = self.rows.read(sample.row, sample.index % self.order.lanes, next_shard)
        if self.config.augmentation is not None:
            generator = augmentation_generator(self.config, sample)
            row = augment_row(row, draw_augmentation(self.config.augmentation, generator))
        return row | {"row": sample.row}


def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Stack decoded rows: images (B, 3, H, W) uint8, poses (B, 18, 3) float32, and where rows know it their number in
    the dataset, `row` (B,) int64.

    Raises:
        ValueError: the pictures of a column are of several sizes.
    """
    for name in IMAGE_COLUMNS:
        sizes = sorted({row[name].shape[:2] for row in rows})
        if len(sizes) > 1:
            (height, width), (other_height, other_width) = sizes[0], sizes[-1]
            raise ValueError(
                f"`{name}` must have one size in all rows of a dataset that is trained on, got {width} x {height} and "
                f"{other_width} x {other_height} pixels. `diffusers-tryon import --size` makes one of them."
            )
    images = {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in IMAGE_COLUMNS}
    poses = {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in POSE_COLUMNS}
    numbers = {"row": torch.tensor([row["row"] for row in rows])} if "row" in rows[0] else {}
    return {name: image.permute(0, 3, 1, 2) for name, image in images.items()} | poses | numbers
