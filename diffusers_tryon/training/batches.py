# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""From a batch of rows to the network's inputs: sizes, noise augmentation, the low-resolution condition."""

import torch
from diffusers import DDPMScheduler
from diffusers.models.modeling_utils import ModelMixin

from diffusers_tryon.image_processor import TryOnImageProcessor
from diffusers_tryon.models.inputs import trained_size
from diffusers_tryon.poses import NUM_KEYPOINTS
from diffusers_tryon.training.columns import IMAGE_COLUMNS, POSE_COLUMNS
from diffusers_tryon.training.randomness import TrainingDraw


def prepare_images(
    batch: dict[str, torch.Tensor], processor: TryOnImageProcessor, size: tuple[int, int]
) -> dict[str, torch.Tensor]:
    """Images to (B, 3, *size) in [-1, 1]; poses are passed on."""
    prepared = {name: processor.preprocess(batch[name], *size, name=name) for name in IMAGE_COLUMNS}
    return prepared | {name: batch[name] for name in POSE_COLUMNS}


def low_res_shape(size: tuple[int, int], low_res_size: int) -> tuple[int, int]:
    """Height and width of the small pictures of which images of `size` are made; the longer is `low_res_size`."""
    height, width = size
    longer = max(height, width)
    return height * low_res_size // longer, width * low_res_size // longer


def downsampled_image(image: torch.Tensor, processor: TryOnImageProcessor, low_res_size: int) -> torch.Tensor:
    """The small picture of `image`, (B, 3, H, W) in [-1, 1], in the place of a base stage's output; same range.

    Args:
        low_res_size (`int`): the longer side of the small picture.
    """
    return processor.downsample(image, *low_res_shape(image.shape[-2:], low_res_size)).clamp(-1, 1)


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


def clean_inputs(images: dict[str, torch.Tensor], low_res_image: torch.Tensor | None) -> dict[str, torch.Tensor]:
    """The conditions of `forward` without noise augmentation and with none dropped, in the form of training's."""
    device, num_rows = images["agnostic_image"].device, len(images["agnostic_image"])
    no_noise = torch.zeros(num_rows, dtype=torch.int64, device=device)
    inputs = {name: image for name, image in images.items() if name != "person_image"}
    inputs |= {"agnostic_noise_level": no_noise, "garment_noise_level": no_noise}
    inputs["conditioning_mask"] = torch.ones(num_rows, dtype=torch.bool, device=device)
    if low_res_image is not None:
        inputs |= {"low_res_image": low_res_image, "low_res_noise_level": no_noise}
    return inputs


def blank_inputs(
    unet: ModelMixin,
    batch_size: int,
    device: torch.device,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> dict[str, torch.Tensor]:
    """All arguments of `forward` in the shapes and types of training, without contents."""
    image = torch.zeros(batch_size, 3, *trained_size(unet), device=device).contiguous(memory_format=memory_format)
    pose = torch.zeros(batch_size, NUM_KEYPOINTS, 3, device=device)
    level = torch.zeros(batch_size, dtype=torch.int64, device=device)
    inputs = {
        "sample": image,
        "timestep": level,
        "agnostic_image": image,
        "agnostic_noise_level": level,
        "garment_image": image,
        "garment_noise_level": level,
        "person_pose": pose,
        "garment_pose": pose,
        "conditioning_mask": torch.ones(batch_size, dtype=torch.bool, device=device),
    }
    if unet.config.low_res_conditioning:
        inputs |= {"low_res_image": image, "low_res_noise_level": level}
    return inputs
