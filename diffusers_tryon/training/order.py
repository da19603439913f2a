# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Which row is which sample: the order of the data as a function of (seed, epoch), and its division among processes.

No state has to be saved: the row of a sample follows from its step and its index in the global batch, and any step is
as quickly found as the first.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np
from torch.utils.data import Sampler

from diffusers_tryon.training.configuration import TrainingConfig


# The last of four words of a seed says what is drawn, see `randomness`, which has those up to 6. Numpy takes words
# that are missing for zeros.
_DEALING, _SHARDS_OF_LANE, _ROWS_OF_SHARD, _ROWS = 7, 8, 9, 10


class Sample(NamedTuple):
    """Which row a sample of training is made of: sample `index` of the global batch of step `step`."""

    row: int
    step: int
    index: int


class RowOrder(Protocol):
    """Which row of the dataset is sample `index` of the global batch of step `step`."""

    def row(self, step: int, index: int) -> int: ...


class ShuffledOrder:
    """All rows once in each epoch, in a permutation of (seed, epoch). A global batch may lie in several epochs.

    Args:
        num_rows: rows of the dataset.
        config: seed and global batch size.
    """

    def __init__(self, num_rows: int, config: TrainingConfig):
        self.num_rows, self.batch_size, self.seed = num_rows, config.global_batch_size, config.seed
        self._permutation = lru_cache(maxsize=2)(self._permute)

    def row(self, step: int, index: int) -> int:
        epoch, position = divmod(step * self.batch_size + index, self.num_rows)
        return int(self._permutation(epoch)[position])

    def _permute(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, epoch, 0, _ROWS]).permutation(self.num_rows)


class RenderedOrder:
    """Row after row without end: rendered rows have no order that shuffling could spoil, and none comes twice."""

    def __init__(self, config: TrainingConfig):
        self.batch_size = config.global_batch_size

    def row(self, step: int, index: int) -> int:
        return step * self.batch_size + index


class ShardOrder:
    """An order in which few shards are open at a time.

    The shards are dealt to `config.stream_lanes` lanes by the seed. Sample `index` of every global batch comes from
    lane `index % stream_lanes`, which reads its shards one after another: their order is a permutation of (seed,
    lane, epoch of the lane), and so is that of the rows within a shard. A lane sees each of its rows once in its
    epoch; lanes with fewer rows than others begin their next epoch earlier.

    Args:
        shard_sizes: number of rows of each shard, at least one; rows are numbered through the shards in this order.
        config: seed, global batch size and lanes.

    Raises:
        ValueError: the lanes do not divide the global batch, or are more than the shards.
    """

    def __init__(self, shard_sizes: Sequence[int], config: TrainingConfig):
        lanes, batch_size = config.stream_lanes, config.global_batch_size
        if batch_size % lanes:
            raise ValueError(f"`stream_lanes` must divide `global_batch_size`, {batch_size}, got {lanes}.")
        if lanes > len(shard_sizes):
            raise ValueError(
                f"`stream_lanes` must be at most the number of shards of the dataset, {len(shard_sizes)}, got {lanes}."
            )
        self.config, self.sizes = config, np.asarray(shard_sizes)
        self.lanes, self.rows_per_step, self.seed = lanes, batch_size // lanes, config.seed
        self.first_rows = np.cumsum(self.sizes) - self.sizes
        dealt = np.random.default_rng([self.seed, 0, 0, _DEALING]).permutation(len(self.sizes))
        self.shards_of_lanes = [dealt[lane::lanes] for lane in range(lanes)]
        self.rows_of_lanes = [int(self.sizes[shards].sum()) for shards in self.shards_of_lanes]
        # A global batch may begin in one epoch or shard of a lane and end in the next.
        self._shards_of_epoch = lru_cache(maxsize=2 * lanes)(self._permute_shards)
        self._rows_of_shard = lru_cache(maxsize=2 * lanes)(self._permute_rows)

    def row(self, step: int, index: int) -> int:
        lane, epoch, turn, position = self._place(step, index)
        shards, ends = self._shards_of_epoch(lane, epoch)
        rows = self._rows_of_shard(int(shards[turn]), epoch)
        return int(self.first_rows[shards[turn]] + rows[position - ends[turn] + len(rows)])

    def next_shard(self, step: int, index: int) -> int:
        """The shard that the lane of the sample reads after that of the sample; the same one if it has no other."""
        lane, epoch, turn, _ = self._place(step, index)
        shards, _ = self._shards_of_epoch(lane, epoch)
        return int(shards[turn + 1] if turn + 1 < len(shards) else self._shards_of_epoch(lane, epoch + 1)[0][0])

    def _place(self, step: int, index: int) -> tuple[int, int, int, int]:
        """The sample's lane, the lane's epoch, which of its shards it is in, and its position in the epoch."""
        place, lane = divmod(index, self.lanes)
        epoch, position = divmod(step * self.rows_per_step + place, self.rows_of_lanes[lane])
        _, ends = self._shards_of_epoch(lane, epoch)
        return lane, epoch, int(np.searchsorted(ends, position, side="right")), position

    def _permute_shards(self, lane: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The shards of a lane in the order of an epoch, and the lane's positions at which each ends."""
        generator = np.random.default_rng([self.seed, epoch, lane, _SHARDS_OF_LANE])
        shards = generator.permutation(self.shards_of_lanes[lane])
        return shards, np.cumsum(self.sizes[shards])

    def _permute_rows(self, shard: int, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, epoch, shard, _ROWS_OF_SHARD]).permutation(self.sizes[shard])

    def __reduce__(self) -> tuple:
        # Loading processes that are started anew fill caches of their own.
        return ShardOrder, (self.sizes, self.config)


class StepSampler(Sampler[list[Sample]]):
    """Batches of samples for the steps `start_step` to `max_steps`, one for each forward pass of a process.

    Args:
        order: which row is which sample.
        config: global and micro-batch size, number of steps.
        start_step: the first step to yield.
        rank, world_size: this process takes every `world_size`-th sample of each micro-batch.
    """

    def __init__(self, order: RowOrder, config: TrainingConfig, start_step: int, rank: int, world_size: int):
        self.order, self.start_step, self.max_steps = order, start_step, config.max_steps
        self.indices_of_micro_batches = local_indices(config, rank, world_size)

    def __len__(self) -> int:
        return (self.max_steps - self.start_step) * len(self.indices_of_micro_batches)

    def __iter__(self) -> Iterator[list[Sample]]:
        for step in range(self.start_step, self.max_steps):
            for indices in self.indices_of_micro_batches:
                yield [Sample(self.order.row(step, index), step, index) for index in indices]


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
