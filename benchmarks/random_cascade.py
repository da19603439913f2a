# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Cascades of full size with random weights, for measuring: nobody has published trained ones."""

from collections.abc import Mapping
from pathlib import Path

import torch
from accelerate import init_empty_weights
from diffusers.models.modeling_utils import ModelMixin

from diffusers_tryon import TryOnCascadePipeline, create_unet
from diffusers_tryon.checkpoints import shipped_checkpoint


def random_unet(preset: str, dtype: torch.dtype = torch.bfloat16, seed: int = 0) -> ModelMixin:
    """A preset's network, made in its dtype, without the zeros that fresh ones start with: they hide mistakes."""
    torch.manual_seed(seed)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        unet = create_unet(preset).eval()
    finally:
        torch.set_default_dtype(before)
    with torch.no_grad():
        for parameter in unet.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.02)
    return unet


def write_random_cascade(folder: Path, presets: Mapping[str, str], dtype: torch.dtype = torch.bfloat16) -> None:
    """Write a pipeline of random networks, one at a time in memory, with the schedulers of the shipped checkpoint.

    Args:
        folder: to write to; `model_index.json` comes last.
        presets: of "base_unet" and "sr_unet".
        dtype: of the weights.
    """
    shells = {}
    for seed, (name, preset) in enumerate(presets.items()):
        random_unet(preset, dtype, seed).save_pretrained(folder / name)
        with init_empty_weights():
            shells[name] = create_unet(preset)
    pipe = TryOnCascadePipeline.from_pretrained(shipped_checkpoint(), **shells)
    for name in ("base_scheduler", "sr_scheduler", "image_noising_scheduler"):
        getattr(pipe, name).save_pretrained(folder / name)
    pipe.save_config(folder)
