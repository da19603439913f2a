# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""A picture of what the network does so far: fixed rows, fixed noise, few steps, no guidance."""

import torch
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils.torch_utils import randn_tensor
from PIL import Image

from diffusers_tryon.image_processor import TryOnImageProcessor
from diffusers_tryon.schedules import DEFAULT_SCHEDULER, create_scheduler


NUM_INFERENCE_STEPS = 20


@torch.no_grad()
def sample_images(
    unet: ModelMixin,
    images: dict[str, torch.Tensor],
    low_res_image: torch.Tensor | None,
    prediction_type: str,
    betas: list[float] | None,
    seed: int,
) -> torch.Tensor:
    """Denoise from noise that depends on `seed` alone.

    Args:
        images: prepared rows, as `diffusers_tryon.training.batches.prepare_images` returns them.
        low_res_image (`torch.Tensor`, *optional*): the upsampled condition of a super-resolution network.

    Returns:
        `torch.Tensor`: (B, 3, H, W) in [-1, 1].
    """
    scheduler = create_scheduler(DEFAULT_SCHEDULER, trained_betas=betas, prediction_type=prediction_type)
    agnostic_image = images["agnostic_image"]
    scheduler.set_timesteps(NUM_INFERENCE_STEPS, device=agnostic_image.device)
    generator = torch.Generator().manual_seed(seed)
    latents = randn_tensor(agnostic_image.shape, generator=generator, device=agnostic_image.device)
    for timestep in scheduler.timesteps:
        prediction = unet(
            latents,
            timestep,
            agnostic_image,
            images["garment_image"],
            images["person_pose"],
            images["garment_pose"],
            low_res_image,
        ).sample
        latents = scheduler.step(prediction.float(), timestep, latents).prev_sample
    return latents.clamp(-1, 1)


def sample_grid(columns: list[torch.Tensor]) -> Image.Image:
    """A picture with one row per sample and one column per entry of `columns`, each (B, 3, H, W) in [-1, 1]."""
    pictures = torch.cat(columns, dim=3)  # (B, 3, H, columns * W)
    sheet = torch.cat(list(pictures), dim=1)[None]  # (1, 3, B * H, columns * W)
    return TryOnImageProcessor().postprocess(sheet, "pil")[0]
