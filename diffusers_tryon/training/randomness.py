# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Randomness of training as a function of (seed, step, index of the sample in the global batch).

A resumed run then repeats what an uninterrupted one would have done, without any generator state to save.
"""

from dataclasses import dataclass

import numpy as np
import torch

from diffusers_tryon.schedules import NUM_TRAIN_TIMESTEPS
from diffusers_tryon.training.configuration import TrainingConfig
from diffusers_tryon.training.order import Sample


# The last word of a seed says what is drawn, so that no two uses share random numbers; `validation` has 2 and 3,
# `order` those from 7 on.
_DECISIONS, _AUGMENTATION, _STRATA, _BASE_OUTPUT, _NOISE = 0, 1, 4, 5, 6


def augmentation_generator(config: TrainingConfig, sample: Sample) -> np.random.Generator:
    """The random numbers of a sample's augmentation; they depend on (seed, step, index) alone."""
    return np.random.default_rng([config.seed, sample.step, sample.index, _AUGMENTATION])


@dataclass(frozen=True)
class TrainingDraw:
    """What is random about a batch of B samples of 3 x H x W.

    Attributes:
        indices: (B,) int64 on the CPU, the samples' places in the global batch.
        timesteps: (B,) int64, 0 to 999.
        noise, agnostic_noise, garment_noise: (B, 3, H, W) float32, standard normal.
        low_res_noise: the same for stage "sr", else `None`.
        agnostic_levels, garment_levels, low_res_levels: (B,) int64 noise augmentation levels.
        conditioning_mask: bool, False where a condition is dropped: (B,) for all conditions of a sample together, or
            (B, 4) for each by itself, in the order of the networks' `conditioning_mask`.
        takes_base_output: (B,) bool on the CPU, whether the low-resolution picture is an output of the base stage.
        base_output_seeds: (B,) int64 on the CPU, seeds of the generators with which the base stage makes it.
    """

    indices: torch.Tensor
    timesteps: torch.Tensor
    noise: torch.Tensor
    agnostic_noise: torch.Tensor
    garment_noise: torch.Tensor
    low_res_noise: torch.Tensor | None
    agnostic_levels: torch.Tensor
    garment_levels: torch.Tensor
    low_res_levels: torch.Tensor
    conditioning_mask: torch.Tensor
    takes_base_output: torch.Tensor
    base_output_seeds: torch.Tensor


def draw_batch(
    config: TrainingConfig,
    step: int,
    indices: list[int],
    size: tuple[int, int],
    device: torch.device = torch.device("cpu"),
) -> TrainingDraw:
    """The draw of the samples `indices` of step `step`; that of each depends on (seed, step, index) alone.

    Timesteps are stratified over the global batch: each of its G samples lies in another of G equal intervals of
    time. Which sample lies in which is shuffled anew at every step, for an index may always see the same rows.

    Args:
        size: height and width of the noise.
        device: where the noise is drawn, which is other noise on other kinds of devices; the rest does not differ.
    """

    def to_device(values: torch.Tensor) -> torch.Tensor:
        # No waiting for what the device still has to do.
        return values.to(device, non_blocking=True)

    uniform = torch.from_numpy(
        np.stack([np.random.default_rng([config.seed, step, index, _DECISIONS]).random(9) for index in indices])
    )
    strata = np.random.default_rng([config.seed, step, 0, _STRATA]).permutation(config.global_batch_size)
    time = (torch.from_numpy(strata[indices]) + uniform[:, 0]) / config.global_batch_size
    highest_levels = torch.tensor(
        [config.max_agnostic_noise_level, config.max_garment_noise_level, config.max_low_res_noise_level]
    )
    levels = (uniform[:, 1:4] * (highest_levels + 1)).long()
    dropout = uniform[:, 4] if config.condition_dropout_mode == "joint" else uniform[:, 4:8]
    noises = _noises(config, step, indices, 4 if config.stage == "sr" else 3, size, device)
    return TrainingDraw(
        indices=torch.tensor(indices),
        # Rounding can take the last interval's end to 1000.
        timesteps=to_device((time * NUM_TRAIN_TIMESTEPS).long().clamp(max=NUM_TRAIN_TIMESTEPS - 1)),
        noise=noises[0],
        agnostic_noise=noises[1],
        garment_noise=noises[2],
        low_res_noise=noises[3] if config.stage == "sr" else None,
        agnostic_levels=to_device(levels[:, 0]),
        garment_levels=to_device(levels[:, 1]),
        low_res_levels=to_device(levels[:, 2]),
        conditioning_mask=to_device(dropout >= config.condition_dropout),
        takes_base_output=uniform[:, 8] < config.base_output_probability,
        base_output_seeds=torch.tensor([torch_seed(config.seed, step, index, _BASE_OUTPUT) for index in indices]),
    )


def _noises(
    config: TrainingConfig, step: int, indices: list[int], count: int, size: tuple[int, int], device: torch.device
) -> torch.Tensor:
    """(count, B, 3, H, W) standard normal float32."""
    noises = torch.empty(count, len(indices), 3, *size, device=device)
    generator = torch.Generator(device)
    for place, index in enumerate(indices):
        generator.manual_seed(torch_seed(config.seed, step, index, _NOISE))
        noises[:, place] = torch.randn(count, 3, *size, generator=generator, device=device)
    return noises


def torch_seed(*words: int) -> int:
    """A seed for a `torch.Generator`, at least 0, that other words give another of."""
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> np.uint64(1))
