# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Which row is which sample: the order of the data as a function of (seed, epoch), and its division among processes.

No state has to be saved: the rows of a step follow from its number.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler

from diffusers_tryon.training.configuration import RENDERED, TrainingConfig


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
        num_micro_batches = len(local_indices(self.config, self.rank, self.world_size))
        return (self.config.max_steps - self.start_step) * num_micro_batches

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
    """Indices in the global batch that this process sees, one list per micro-batch (accumulation step).

    Raises:
        ValueError: the global batch does not divide.
    """
    size = config.global_batch_size
    if size % world_size:
        raise ValueError(
            f"`global_batch_size` must be a multiple of the number of processes, {world_size}, got {size}."
        )
    per_pass = size if config.micro_batch_size is None else config.micro_batch_size * world_size
    if size % per_pass:
        raise ValueError(
            f"`global_batch_size` must be a multiple of `micro_batch_size` x processes ({config.micro_batch_size} x "
            f"{world_size}), got {size}."
        )
    return [list(range(first + rank, first + per_pass, world_size)) for first in range(0, size, per_pass)]
