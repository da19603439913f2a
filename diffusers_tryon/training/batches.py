# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""From dataset rows to the network's inputs: decoding, sizes, noise augmentation, the low-resolution condition."""

from typing import Any

import datasets
import numpy as np
import torch
from diffusers import DDPMScheduler
from torch.utils.data import Dataset

from diffusers_tryon.image_processor import TryOnImageProcessor
from diffusers_tryon.poses import check_pose
from diffusers_tryon.training.randomness import TrainingDraw


IMAGE_COLUMNS = ("person_image", "agnostic_image", "garment_image")
POSE_COLUMNS = ("person_pose", "garment_pose")


class TryOnRows(Dataset):
    """Rows of a dataset in the package's schema: images as PIL, poses as (18, 3) float32 arrays.

    Args:
        source: folder of Parquet shards, or the id of a dataset on the Hub.
        split: which of its splits.

    Raises:
        ValueError: the dataset is empty or lacks a column; on access, the row cannot be read or its pose is not one.
    """

    def __init__(self, source: str, split: str = "train"):
        rows = datasets.load_dataset(source, split=split)
        missing = [name for name in IMAGE_COLUMNS + POSE_COLUMNS if name not in rows.column_names]
        if missing:
            raise ValueError(
                f"The dataset {source} lacks the columns {', '.join(missing)}; it has {', '.join(rows.column_names)}."
            )
        if len(rows) == 0:
            raise ValueError(f"The dataset {source} has no rows.")
        self.source = source
        self.rows = rows.select_columns([*IMAGE_COLUMNS, *POSE_COLUMNS])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        try:
            row = self.rows[index]
        except Exception as error:  # a broken image raises whatever its decoder stumbled on
            raise ValueError(f"Row {index} of the dataset {self.source} cannot be read: {error}") from error
        poses = {name: np.asarray(row[name], dtype=np.float32) for name in POSE_COLUMNS}
        for name, pose in poses.items():
            check_pose(pose, f"{name} of row {index} of {self.source}")
        return row | poses


def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Stack rows: images (B, 3, H, W) uint8, poses (B, 18, 3) float32."""
    batch = {}
    for name in IMAGE_COLUMNS:
        images = np.stack([np.asarray(row[name].convert("RGB")) for row in rows])
        batch[name] = torch.from_numpy(images).permute(0, 3, 1, 2)
    for name in POSE_COLUMNS:
        batch[name] = torch.from_numpy(np.stack([row[name] for row in rows]))
    return batch


def prepare_images(
    batch: dict[str, torch.Tensor], processor: TryOnImageProcessor, size: tuple[int, int]
) -> dict[str, torch.Tensor]:
    """Images to (B, 3, *size) in [-1, 1]; poses are passed on."""
    prepared = {name: processor.preprocess(batch[name], *size, name=name) for name in IMAGE_COLUMNS}
    return prepared | {name: batch[name] for name in POSE_COLUMNS}


def low_res_condition(
    image: torch.Tensor, processor: TryOnImageProcessor, low_res_size: int, mode: str
) -> torch.Tensor:
    """What a super-resolution network is given for `image`: downsampled, then upsampled as in the pipeline.

    Args:
        image (`torch.Tensor`): (B, 3, H, W) in [-1, 1].
        low_res_size (`int`): the longer side of the small picture.
        mode (`str`): the network's `low_res_interpolation`.
    """
    height, width = image.shape[-2:]
    longer = max(height, width)
    small = processor.downsample(image, height * low_res_size // longer, width * low_res_size // longer)
    return processor.upsample_low_res(small.clamp(-1, 1), height, width, mode)


def network_inputs(
    images: dict[str, torch.Tensor],
    low_res_image: torch.Tensor | None,
    draw: TrainingDraw,
    noising_scheduler: DDPMScheduler,
) -> dict[str, torch.Tensor]:
    """The conditions of `forward` with noise augmentation at the levels of `draw`."""
    inputs = {
        "agnostic_image": noising_scheduler.add_noise(
            images["agnostic_image"], draw.agnostic_noise, draw.agnostic_levels
        ),
        "agnostic_noise_level": draw.agnostic_levels,
        "garment_image": noising_scheduler.add_noise(images["garment_image"], draw.garment_noise, draw.garment_levels),
        "garment_noise_level": draw.garment_levels,
        "person_pose": images["person_pose"],
        "garment_pose": images["garment_pose"],
        "conditioning_mask": draw.conditioning_mask,
    }
    if low_res_image is not None:
        inputs["low_res_image"] = noising_scheduler.add_noise(low_res_image, draw.low_res_noise, draw.low_res_levels)
        inputs["low_res_noise_level"] = draw.low_res_levels
    return inputs
