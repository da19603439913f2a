# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The rows of a run: opened, decoded, augmented, and stacked to batches."""

from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from diffusers_tryon.data.augmentation import augment_row, draw_augmentation
from diffusers_tryon.data.loading import load_tryon_dataset, without_decoding
from diffusers_tryon.data.rows import RowError, decode_row
from diffusers_tryon.rendering.stream import RenderedRows
from diffusers_tryon.training.configuration import RENDERED, TrainingConfig
from diffusers_tryon.training.order import Sample
from diffusers_tryon.training.randomness import augmentation_generator


IMAGE_COLUMNS = ("person_image", "agnostic_image", "garment_image")
POSE_COLUMNS = ("person_pose", "garment_pose")
# What augmentation needs beside these, and what it takes where a dataset has it.
MASK_COLUMNS = ("agnostic_mask",)
GARMENT_COLUMNS = ("garment_parse", "category")


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
        columns = IMAGE_COLUMNS + POSE_COLUMNS + (MASK_COLUMNS if with_masks else ())
        if with_masks and all(name in rows.column_names for name in GARMENT_COLUMNS):
            columns += GARMENT_COLUMNS
        self.source = source
        self.rows = rows.select_columns(list(columns))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self.rows[index]
        try:
            return decode_row(row)
        except RowError as error:
            raise RowError(f"Row {index} of the dataset {self.source} cannot be read: {error}") from error


def open_training_rows(config: TrainingConfig) -> TryOnRows | RenderedRows:
    """The decoded rows of `config.dataset`, with what their augmentation needs."""
    if config.dataset == RENDERED:
        return RenderedRows(config.rendered_size, config.seed)
    return TryOnRows(config.dataset, with_masks=config.augmentation is not None)


def open_validation_rows(config: TrainingConfig) -> TryOnRows | RenderedRows:
    """The decoded rows of `config.validation_dataset`, those of its split "test"."""
    if config.validation_dataset == RENDERED:
        return RenderedRows(config.rendered_size, config.seed, "test")
    return TryOnRows(config.validation_dataset, "test")


class SampleRows(Dataset):
    """The rows of a run's samples, augmented as its settings say.

    A sample carries its place in the run, so that any worker of any process augments it in the same way.
    """

    def __init__(self, rows: TryOnRows | RenderedRows, config: TrainingConfig):
        self.rows, self.config = rows, config

    def __getitem__(self, sample: Sample) -> dict[str, Any]:
        row = self.rows[sample.row]
        if self.config.augmentation is None:
            return row
        generator = augmentation_generator(self.config, sample)
        return augment_row(row, draw_augmentation(self.config.augmentation, generator))


def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Stack decoded rows: images (B, 3, H, W) uint8, poses (B, 18, 3) float32.

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
    return {name: image.permute(0, 3, 1, 2) for name, image in images.items()} | poses
