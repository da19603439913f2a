# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The batches of a run from a given step on, loaded ahead by processes that outlive signals, but not the run."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from itertools import chain, cycle
from multiprocessing.util import Finalize
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from diffusers_tryon.data.processes import end_with_parent
from diffusers_tryon.training.configuration import RENDERED, TrainingConfig
from diffusers_tryon.training.dataset import Rows, SampleRows, collate
from diffusers_tryon.training.order import (
    RenderedOrder,
    RowOrder,
    Sample,
    ShardOrder,
    ShuffledOrder,
    StepSampler,
    local_indices,
)
from diffusers_tryon.training.streaming import StreamedRows


_BATCHES_AHEAD = 4


def row_order(rows: Rows, config: TrainingConfig) -> RowOrder:
    """The order in which a run sees its training rows.

    Raises:
        ValueError: the rows are streamed in more lanes than there are shards.
    """
    if config.dataset == RENDERED:
        return RenderedOrder(config)
    if isinstance(rows, StreamedRows):
        return ShardOrder(rows.shard_sizes, config)
    return ShuffledOrder(len(rows), config)


class TrainingBatches(Iterator[dict[str, torch.Tensor]]):
    """What a process trains on, batch by batch as `dataset.collate` stacks them, one for each forward pass.

    Which samples come when follows from the settings and the step alone, so there is no state to save: to go on, begin
    at another step. `config.num_workers` processes load ahead; with 0 this process loads. They ignore SIGTERM, SIGUSR1
    and SIGINT, which schedulers and terminals send to all processes of a job: this process decides when to stop. They
    end with it in whatever way it ends.

    A worker loads whole batches, but of a stream only the samples of its own lanes, so that no two workers of a
    process read the same shard; there are no more workers than lanes.

    Args:
        rows: of `open_training_rows`.
        config: the run's settings.
        start_step: the first step.
        rank, world_size: this process, of how many.

    Raises:
        ValueError: the global batch does not divide, or streaming has too many lanes; while iterating, a row that
            cannot be read, named, or rows of several sizes.
        OSError: while iterating, a file that cannot be read.
        RuntimeError: while iterating, a worker was killed.
    """

    def __init__(self, rows: Rows, config: TrainingConfig, start_step: int, rank: int, world_size: int):
        order = row_order(rows, config)
        sampler = StepSampler(order, config, start_step, rank, world_size)
        indices_of_micro_batches = local_indices(config, rank, world_size)
        num_workers = config.num_workers
        if isinstance(rows, StreamedRows):
            places = places_by_lane(indices_of_micro_batches, config.stream_lanes, max(num_workers, 1))
            num_workers = min(num_workers, len(places[0]))
            samples = SampleRows(rows, config, order)
        else:
            samples = SampleRows(rows, config)
            places = [[list(range(len(indices)))] for indices in indices_of_micro_batches]
        is_over = multiprocessing.RawValue("b", 0)
        loader = DataLoader(
            _PartsOfBatches(samples),
            sampler=_PartSampler(sampler, places),
            batch_size=None,
            collate_fn=_unchanged,
            num_workers=num_workers,
            prefetch_factor=_BATCHES_AHEAD if num_workers else None,
            worker_init_fn=partial(_start_worker, is_over=is_over),
        )
        self._places = cycle(places)
        self._parts = iter(loader)
        self._wait_seconds = 0.0
        self._pin = torch.cuda.is_available()
        # When Python exits without `close`, before it sends SIGTERM to the workers and waits for them.
        self._tell_workers = Finalize(self, setattr, (is_over, "value", 1), exitpriority=1)

    def __next__(self) -> dict[str, torch.Tensor]:
        start = time.perf_counter()
        places = next(self._places)
        parts = [next(self._parts) for _ in places]
        for part in parts:
            if isinstance(part, Exception):
                raise part
        batch = _joined(parts, places)
        if self._pin:
            batch = {name: value.pin_memory() for name, value in batch.items()}
        self._wait_seconds += time.perf_counter() - start
        return batch

    def take_wait_seconds(self) -> float:
        """Seconds that were spent waiting for batches since the last call."""
        seconds, self._wait_seconds = self._wait_seconds, 0.0
        return seconds

    def close(self) -> None:
        """End the workers."""
        self._tell_workers()
        self._parts = iter(())


def places_by_lane(
    indices_of_micro_batches: list[list[int]], num_lanes: int, num_workers: int
) -> list[list[list[int]]]:
    """For each micro-batch of a step and each worker: the places in the micro-batch of the samples that it loads.

    All samples of a lane go to one worker. There are as many workers as there can be with a lane of their own.
    """
    lanes = sorted({index % num_lanes for indices in indices_of_micro_batches for index in indices})
    num_workers = min(num_workers, len(lanes))
    worker_of_lane = {lane: number % num_workers for number, lane in enumerate(lanes)}
    return [
        [
            [place for place, index in enumerate(indices) if worker_of_lane[index % num_lanes] == worker]
            for worker in range(num_workers)
        ]
        for indices in indices_of_micro_batches
    ]


class _PartSampler:
    """The samples of each part of each batch. A `DataLoader` hands them to its workers in turn, so that the parts of a
    lane go to one worker; nothing but speed depends on that."""

    def __init__(self, sampler: StepSampler, places: list[list[list[int]]]):
        self.sampler, self.places = sampler, places

    def __iter__(self) -> Iterator[list[Sample]]:
        for samples, places in zip(self.sampler, cycle(self.places)):
            for of_part in places:
                yield [samples[place] for place in of_part]


class _PartsOfBatches(Dataset):
    """Stacked samples. What is wrong with the data is returned, not raised: a `DataLoader` would put its traceback
    into the message."""

    def __init__(self, samples: SampleRows):
        self.samples = samples

    def __getitem__(self, samples: list[Sample]) -> dict[str, torch.Tensor] | Exception:
        try:
            return collate([self.samples[sample] for sample in samples]) if samples else {}
        except (ValueError, OSError) as error:
            return error


def _joined(parts: list[dict[str, torch.Tensor]], places: list[list[int]]) -> dict[str, torch.Tensor]:
    if len(parts) == 1:
        return parts[0]
    order = torch.tensor(list(chain.from_iterable(places))).argsort()
    parts = [part for part in parts if part]
    return {name: torch.cat([part[name] for part in parts])[order] for name in parts[0]}


def _unchanged(part: Any) -> Any:
    return part


def _start_worker(_worker_id: int, is_over: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    # A worker that has not ended by itself gets SIGTERM too, from torch or from Python at its exit.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0) if is_over.value else None)
    end_with_parent()
