# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Tiny pipelines with weights that are random everywhere, and inputs for them."""

import numpy as np
import torch

from diffusers_tryon import TryOnCascadePipeline, create_unet
from diffusers_tryon.schedules import create_scheduler


BASE_SIZE, SR_SIZE = 16, 32
# A small network of the reference implementation's kind, by overrides of "reference-128".
TINY_REFERENCE = {
    "block_out_channels": (8, 16),
    "layers_per_block": (1, 2),
    "attention_levels": (False, True),
    "num_attention_heads": (None, 2),
    "attention_head_dim": (None, 8),
    "context_dim": 16,
    "conditioning_dim": 16,
    "pose_num_layers": 1,
    "pose_num_attention_heads": 2,
    "pose_attention_head_dim": 8,
    "pose_num_latents": 4,
    "pose_num_pooled_latents": 2,
}


def random_unet(name: str, seed: int, **overrides) -> torch.nn.Module:
    """A preset's network without the zeros that fresh ones start with, which would hide mistakes."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        unet = create_unet(name, **overrides).eval()
        with torch.no_grad():
            for parameter in unet.parameters():
                noise = torch.randn(parameter.shape)
                if parameter.ndim > 1:
                    parameter.copy_(noise / parameter[0].numel() ** 0.5)
                else:
                    parameter.add_(0.2 * noise)
    return unet


def tiny_cascade(with_sr: bool = True, scheduler: str = "dpmsolver++", **overrides) -> TryOnCascadePipeline:
    """A pipeline of 16 and 32 pixels; `overrides` are configuration fields of both networks."""
    sr = {
        "sr_unet": random_unet("tiny-sr", 1, **{"sample_size": SR_SIZE, **overrides}),
        "sr_scheduler": create_scheduler(scheduler),
    }
    pipe = TryOnCascadePipeline(
        base_unet=random_unet("tiny-base", 0, **{"sample_size": BASE_SIZE, **overrides}),
        base_scheduler=create_scheduler(scheduler),
        image_noising_scheduler=create_scheduler("ddpm"),
        **(sr if with_sr else {}),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def cascade_inputs(batch: int = 1, seed: int = 0, height: int = SR_SIZE, width: int = SR_SIZE) -> dict:
    """Arguments of a call: random images and poses, few steps, a generator for each image, tensors as output."""
    random = np.random.default_rng(seed)
    poses = random.uniform(0.1, 0.9, (2, batch, 18, 3)).astype(np.float32)
    poses[..., 2] = poses[..., 2] > 0.2
    return {
        "agnostic_image": random.integers(0, 256, (batch, height, width, 3), dtype=np.uint8),
        "garment_image": random.integers(0, 256, (batch, height, width, 3), dtype=np.uint8),
        "person_pose": poses[0],
        "garment_pose": poses[1],
        "num_inference_steps": 3,
        "sr_num_inference_steps": 2,
        "generator": generators(batch),
        "output_type": "latent",
    }


def generators(batch: int, seed: int = 100) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed + number) for number in range(batch)]
