# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Tiny networks with weights that are random everywhere, and inputs for them, shared by the tests of the networks."""

import math

import torch
from tiny_cascade import TINY_REFERENCE

from diffusers_tryon import ParallelUNetModel, ReferenceParallelUNetModel


TINY = {
    ParallelUNetModel: {
        "sample_size": 16,
        "block_out_channels": (8, 16),
        "layers_per_block": (1, 2),
        "garment_layers_per_block": (1, 2),
        "attention_levels": (False, True),
        "attention_head_dim": 8,
        "pose_embed_dim": 16,
        "conditioning_dim": 16,
    },
    # A sample size of 64 makes this network's attention patches 2 x 2 at the coarse level; the inputs are smaller.
    ReferenceParallelUNetModel: {"sample_size": 64, **TINY_REFERENCE},
}

# Figure 2 and supplementary section 1.1: (channels, person blocks, garment blocks, attention), finest level first;
# going up, the garment stream has the same number and stops behind the finest attention level.
PAPER_LEVELS = {
    "paper-128": [(128, 3, 3, False), (256, 4, 4, False), (512, 6, 6, True), (1024, 7, 7, True)],
    "paper-256": [(128, 2, 2, False), (128, 3, 3, False), (256, 4, 4, False), (512, 7, 6, False), (1024, 7, 7, True)],
}


def tiny_network(model_class: type = ParallelUNetModel, seed: int = 0, **overrides) -> torch.nn.Module:
    """A network whose every parameter is random: fresh ones start with zeroed branches, which would hide mistakes."""
    torch.manual_seed(seed)
    model = model_class(**{**TINY[model_class], **overrides}).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1:
                parameter.copy_(noise / parameter[0].numel() ** 0.5)
            else:
                parameter.add_(0.2 * noise)
    return model


def random_pose(batch_size: int, generator: torch.Generator) -> torch.Tensor:
    """(B, 18, 3) with about a quarter of the points missing; the nose and the neck never are."""
    pose = torch.rand(batch_size, 18, 3, generator=generator)
    pose[..., 2] = (pose[..., 2] > 0.25).float()
    pose[:, :2, 2] = 1.0
    return pose


def network_inputs(
    model: torch.nn.Module, batch_size: int = 2, size: tuple[int, int] = (16, 16), seed: int = 1
) -> dict:
    """Every input of `forward` but the mask and the garment's features, as keyword arguments."""
    generator = torch.Generator().manual_seed(seed)

    def image() -> torch.Tensor:
        return torch.rand(batch_size, 3, *size, generator=generator) * 2 - 1

    def level() -> torch.Tensor:
        return torch.rand(batch_size, generator=generator) * 999

    inputs = {
        "sample": torch.randn(batch_size, 3, *size, generator=generator),
        "timestep": level(),
        "agnostic_image": image(),
        "garment_image": image(),
        "person_pose": random_pose(batch_size, generator),
        "garment_pose": random_pose(batch_size, generator),
        "agnostic_noise_level": level(),
        "garment_noise_level": level(),
    }
    if model.config.low_res_conditioning:
        inputs["low_res_image"] = image()
        inputs["low_res_noise_level"] = level()
    return inputs


def split_garment(model: torch.nn.Module, inputs: dict, conditioning_mask: torch.Tensor | None = None) -> dict:
    """The same inputs with the garment's image encoded beforehand."""
    encoded = {name: inputs[name] for name in ("garment_image", "garment_pose", "garment_noise_level")}
    if model.config.garment_time_conditioning:
        shared = ("timestep", "person_pose", "agnostic_noise_level", "low_res_noise_level")
        encoded |= {name: inputs[name] for name in shared if name in inputs}
    features = model.encode_garment(**encoded, conditioning_mask=conditioning_mask)
    rest = {name: value for name, value in inputs.items() if name != "garment_image"}
    return {**rest, "garment_features": features, "conditioning_mask": conditioning_mask}


def plain_pose_maps(pose: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """A Gaussian per keypoint, (B, 18, height, width), pixel by pixel in float64: a sixteenth of the picture wide."""
    maps = torch.empty(*pose.shape[:2], height, width, dtype=torch.float64)
    for row, point in ((row, point) for row in range(pose.shape[0]) for point in range(pose.shape[1])):
        x, y, visibility = pose[row, point].tolist()
        for i in range(height):
            for j in range(width):
                squared = ((j + 0.5) / width - x) ** 2 + ((i + 0.5) / height - y) ** 2
                maps[row, point, i, j] = visibility * math.exp(-squared / (2 * (1 / 16) ** 2))
    return maps
