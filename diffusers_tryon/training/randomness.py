# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Randomness of training as a function of (seed, step, index of the sample in the global batch).

A resumed run then repeats what an uninterrupted one would have done, without any generator state to save.
"""

from dataclasses import dataclass, fields

import numpy as np
import torch

from diffusers_tryon.training.configuration import TrainingConfig
from diffusers_tryon.training.order import Sample


# Ends the seed of a sample's augmentation, which then shares no random numbers with the rest of the sample.
_AUGMENTATION = 1


def augmentation_generator(config: TrainingConfig, sample: Sample) -> np.random.Generator:
    """The random numbers of a sample's augmentation; they depend on (seed, step, index) alone."""
    return np.random.default_rng([config.seed, sample.step, sample.index, _AUGMENTATION])


@dataclass(frozen=True)
class TrainingDraw:
    """What is random about a batch of B samples of 3 x H x W.

    Attributes:
        timesteps: (B,) int64, 0 to 999.
        noise, agnostic_noise, garment_noise, low_res_noise: (B, 3, H, W) standard normal.
        agnostic_levels, garment_levels, low_res_levels: (B,) int64 noise augmentation levels.
        conditioning_mask: (B,) bool, False where all conditions are dropped.
    """

    timesteps: torch.Tensor
    noise: torch.Tensor
    agnostic_noise: torch.Tensor
    garment_noise: torch.Tensor
    low_res_noise: torch.Tensor
    agnostic_levels: torch.Tensor
    garment_levels: torch.Tensor
    low_res_levels: torch.Tensor
    conditioning_mask: torch.Tensor

    def to(self, device: torch.device) -> "TrainingDraw":
        return TrainingDraw(*(getattr(self, field.name).to(device) for field in fields(self)))


def draw_batch(config: TrainingConfig, step: int, indices: list[int], size: tuple[int, int]) -> TrainingDraw:
    """The draw of the samples `indices` of step `step`; each depends on (seed, step, index) alone.

    Timesteps are stratified over the global batch: sample i lies in the i-th of its equal intervals.
    """
    samples = [_draw_sample(config, step, index, size) for index in indices]
    return TrainingDraw(*(torch.stack(values) for values in zip(*samples)))


def _draw_sample(config: TrainingConfig, step: int, index: int, size: tuple[int, int]) -> tuple[torch.Tensor, ...]:
    seed = int(np.random.SeedSequence([config.seed, step, index]).generate_state(1, np.uint64)[0] >> np.uint64(1))
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(5, generator=generator, dtype=torch.float64)
    timestep = ((index + uniform[0]) / config.global_batch_size * 1000).long()
    highest_levels = torch.tensor(
        [config.max_agnostic_noise_level, config.max_garment_noise_level, config.max_low_res_noise_level]
    )
    levels = (uniform[1:4] * (highest_levels + 1)).long()
    noises = torch.randn(4, 3, *size, generator=generator)
    return timestep, *noises, *levels, uniform[4] >= config.condition_dropout
