# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Randomness of training as a function of (seed, step, index of the sample in the global batch), and the data order.

A resumed run then repeats what an uninterrupted one would have done, without any generator state to save.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Sampler

from diffusers_tryon.training.configuration import RENDERED, TrainingConfig


# Ends the seed of a sample's augmentation, which then shares no random numbers with the rest of the sample.
_AUGMENTATION = 1


class Sample(NamedTuple):
    """Which row a sample of training is made of: sample `index` of the global batch of step `step`."""

    row: int
    step: int
    index: int


class StepSampler(Sampler[list[Sample]]):
    """Batches of samples for the steps `start_step` to `max_steps`, the rows shuffled anew in every epoch.

    Args:
        num_rows: rows of the dataset.
        config: seed, global batch size and number of steps.
        start_step: the first step to yield.
        rank, world_size: this process takes every `world_size`-th sample of each micro-batch.
    """

    def __init__(self, num_rows: int, config: TrainingConfig, start_step: int, rank: int, world_size: int):
        self.num_rows, self.config = num_rows, config
        self.start_step, self.rank, self.world_size = start_step, rank, world_size

    def __len__(self) -> int:
        return (self.config.max_steps - self.start_step) * self.config.gradient_accumulation_steps

    def __iter__(self) -> Iterator[list[Sample]]:
        order, epoch = None, -1
        for step in range(self.start_step, self.config.max_steps):
            rows = []
            first = step * self.config.global_batch_size
            for position in range(first, first + self.config.global_batch_size):
                if position // self.num_rows != epoch:
                    epoch = position // self.num_rows
                    order = _row_order(self.config, epoch, self.num_rows)
                rows.append(int(order[position % self.num_rows]))
            for indices in local_indices(self.config, self.rank, self.world_size):
                yield [Sample(rows[index], step, index) for index in indices]


def _row_order(config: TrainingConfig, epoch: int, num_rows: int) -> Sequence[int]:
    # Rendered rows have no order that shuffling could spoil, and are too many for a permutation.
    if config.dataset == RENDERED:
        return range(num_rows)
    return np.random.default_rng([config.seed, epoch]).permutation(num_rows)


def local_indices(config: TrainingConfig, rank: int, world_size: int) -> list[list[int]]:
    """Indices in the global batch that this process sees, one list per micro-batch.

    Raises:
        ValueError: the global batch does not divide.
    """
    if config.global_batch_size % (config.gradient_accumulation_steps * world_size):
        raise ValueError(
            f"`global_batch_size` must be a multiple of gradient accumulation steps x processes "
            f"({config.gradient_accumulation_steps} x {world_size}), got {config.global_batch_size}."
        )
    micro_batch = config.global_batch_size // config.gradient_accumulation_steps
    return [
        list(range(first + rank, first + micro_batch, world_size))
        for first in range(0, config.global_batch_size, micro_batch)
    ]


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
