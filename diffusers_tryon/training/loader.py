# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The batches of a run from a given step on, loaded ahead by worker processes that outlive signals, but not the run."""

import atexit
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from diffusers_tryon.data.processes import end_with_parent
from diffusers_tryon.training.configuration import RENDERED, TrainingConfig
from diffusers_tryon.training.dataset import Rows, SampleRows, collate
from diffusers_tryon.training.order import RenderedOrder, RowOrder, Sample, ShardOrder, ShuffledOrder, StepSampler


_BATCHES_AHEAD_PER_WORKER = 4


def row_order(rows: Rows, config: TrainingConfig) -> RowOrder:
    """The order in which a run sees its training rows.

    Raises:
        ValueError: the rows are streamed in more lanes than there are shards.
    """
    if config.dataset == RENDERED:
        return RenderedOrder(config)
    if config.streaming:
        return ShardOrder(rows.shard_sizes, config)
    return ShuffledOrder(len(rows), config)


class TrainingBatches(Iterator[dict[str, torch.Tensor]]):
    """What a process trains on, batch by batch as `dataset.collate` stacks them, one for each forward pass.

    Which samples come when follows from the settings and the step alone, so there is no state to save: to go on, begin
    at another step. `config.num_workers` processes load ahead; with 0 this process loads. They ignore SIGTERM, SIGUSR1
    and SIGINT, which schedulers and terminals send to all processes of a job: this process decides when to stop. They
    end with it in whatever way it ends.

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
        sampler = StepSampler(row_order(rows, config), config, start_step, rank, world_size)
        self._wait_seconds = 0.0
        self._is_over = multiprocessing.RawValue("b", 0)
        with_workers = {"prefetch_factor": _BATCHES_AHEAD_PER_WORKER} if config.num_workers else {}
        loader = DataLoader(
            _BatchesOfSamples(SampleRows(rows, config)),
            sampler=sampler,
            batch_size=None,
            collate_fn=_unchanged,
            num_workers=config.num_workers,
            worker_init_fn=partial(_start_worker, is_over=self._is_over),
            pin_memory=torch.cuda.is_available(),
            **with_workers,
        )
        self._batches = iter(loader)
        atexit.register(self.close)

    def __next__(self) -> dict[str, torch.Tensor]:
        start = time.perf_counter()
        batch = next(self._batches)
        self._wait_seconds += time.perf_counter() - start
        if isinstance(batch, Exception):
            raise batch
        return batch

    def take_wait_seconds(self) -> float:
        """Seconds that were spent waiting for batches since the last call."""
        seconds, self._wait_seconds = self._wait_seconds, 0.0
        return seconds

    def close(self) -> None:
        """End the workers."""
        self._is_over.value = 1
        self._batches = iter(())
        atexit.unregister(self.close)


class _BatchesOfSamples(Dataset):
    """Whole batches by their samples. What is wrong with the data is returned, not raised: a `DataLoader` would put its
    traceback into the message."""

    def __init__(self, samples: SampleRows):
        self.samples = samples

    def __getitem__(self, samples: list[Sample]) -> dict[str, torch.Tensor] | Exception:
        try:
            return collate([self.samples[sample] for sample in samples])
        except (ValueError, OSError) as error:
            return error


def _unchanged(batch: Any) -> Any:
    return batch


def _start_worker(_worker_id: int, is_over: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    # A worker that has not ended by itself gets SIGTERM too, from torch or from Python at its exit.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0) if is_over.value else None)
    end_with_parent()
