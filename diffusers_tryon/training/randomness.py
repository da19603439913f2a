# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Randomness of training as a function of (seed, step, index of the sample in the global batch).

A resumed run then repeats what an uninterrupted one would have done, without any generator state to save.
"""

from dataclasses import dataclass, fields

import numpy as np
import torch

from diffusers_tryon.schedules import NUM_TRAIN_TIMESTEPS
from diffusers_tryon.training.configuration import TrainingConfig
from diffusers_tryon.training.order import Sample


# The last word of a seed says what is drawn, so that no two uses share random numbers; `validation` has 2 and 3.
_SAMPLE, _AUGMENTATION, _STRATA, _BASE_OUTPUT = 0, 1, 4, 5


def augmentation_generator(config: TrainingConfig, sample: Sample) -> np.random.Generator:
    """The random numbers of a sample's augmentation; they depend on (seed, step, index) alone."""
    return np.random.default_rng([config.seed, sample.step, sample.index, _AUGMENTATION])


@dataclass(frozen=True)
class TrainingDraw:
    """What is random about a batch of B samples of 3 x H x W.

    Attributes:
        indices: (B,) int64, the samples' places in the global batch.
        timesteps: (B,) int64, 0 to 999.
        noise, agnostic_noise, garment_noise, low_res_noise: (B, 3, H, W) float32, standard normal.
        agnostic_levels, garment_levels, low_res_levels: (B,) int64 noise augmentation levels.
        conditioning_mask: bool, False where a condition is dropped: (B,) for all conditions of a sample together, or
            (B, 4) for each by itself, in the order of the networks' `conditioning_mask`.
        takes_base_output: (B,) bool, whether the low-resolution picture is an output of the base stage.
        base_output_seeds: (B,) int64, seeds of the generators with which the base stage makes it.
    """

    indices: torch.Tensor
    timesteps: torch.Tensor
    noise: torch.Tensor
    agnostic_noise: torch.Tensor
    garment_noise: torch.Tensor
    low_res_noise: torch.Tensor
    agnostic_levels: torch.Tensor
    garment_levels: torch.Tensor
    low_res_levels: torch.Tensor
    conditioning_mask: torch.Tensor
    takes_base_output: torch.Tensor
    base_output_seeds: torch.Tensor

    def to(self, device: torch.device) -> "TrainingDraw":
        return TrainingDraw(*(getattr(self, field.name).to(device) for field in fields(self)))


def draw_batch(config: TrainingConfig, step: int, indices: list[int], size: tuple[int, int]) -> TrainingDraw:
    """The draw of the samples `indices` of step `step`; that of each depends on (seed, step, index) alone.

    Timesteps are stratified over the global batch: each of its G samples lies in another of G equal intervals of
    time. Which sample lies in which is shuffled anew at every step, for an index may always see the same rows.
    """
    strata = np.random.default_rng([config.seed, step, 0, _STRATA]).permutation(config.global_batch_size)
    samples = [_draw_sample(config, step, index, int(strata[index]), size) for index in indices]
    return TrainingDraw(*(torch.stack(values) for values in zip(*samples)))


def _draw_sample(
    config: TrainingConfig, step: int, index: int, stratum: int, size: tuple[int, int]
) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(_torch_seed(config.seed, step, index, _SAMPLE))
    uniform = torch.rand(9, generator=generator, dtype=torch.float64)
    time = (stratum + uniform[0]) / config.global_batch_size
    # Rounding can take the last stratum's time to 1.
    timestep = (time * NUM_TRAIN_TIMESTEPS).long().clamp(max=NUM_TRAIN_TIMESTEPS - 1)
    highest_levels = torch.tensor(
        [config.max_agnostic_noise_level, config.max_garment_noise_level, config.max_low_res_noise_level]
    )
    levels = (uniform[1:4] * (highest_levels + 1)).long()
    decisions = uniform[4:5].squeeze() if config.condition_dropout_mode == "joint" else uniform[4:8]
    noises = torch.randn(4, 3, *size, generator=generator)
    return (
        torch.tensor(index),
        timestep,
        *noises,
        *levels,
        decisions >= config.condition_dropout,
        uniform[8] < config.base_output_probability,
        torch.tensor(_torch_seed(config.seed, step, index, _BASE_OUTPUT)),
    )


def _torch_seed(*words: int) -> int:
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> np.uint64(1))
