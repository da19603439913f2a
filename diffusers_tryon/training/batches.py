# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""From a batch of rows to the network's inputs: sizes, noise augmentation, the low-resolution condition."""

import torch
from diffusers import DDPMScheduler

from diffusers_tryon.image_processor import TryOnImageProcessor
from diffusers_tryon.training.dataset import IMAGE_COLUMNS, POSE_COLUMNS
from diffusers_tryon.training.randomness import TrainingDraw


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
