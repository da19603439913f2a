# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Rendered rows without a disk: by index, or as a stream shared between processes.

Row k of a seed is the same wherever and whenever it is rendered, and the same as row k of `write_pairs`.
"""

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from .samples import Row, check_render_arguments, render_pair, render_rows
from .writer import ROWS_PER_SEED, row_seed


class RenderedRows(Dataset):
    """Training rows that are rendered when they are asked for: `rows[index]`.

    What trains in an order of its own (by step, say) takes rows from here; nothing is kept between two calls, so any
    number of workers and processes may ask for any rows.

    Args:
        size (`int`): height and width in pixels.
        seed (`int`): of the pool; the rows of different seeds never meet.
        split (`str`): "train" or "test".

    Raises:
        ValueError: a bad argument.
    """

    def __init__(self, size: int, seed: int = 0, split: str = "train"):
        check_render_arguments(seed, size, split)
        self.size, self.seed, self.split = size, seed, split

    def __len__(self) -> int:
        return ROWS_PER_SEED

    def __getitem__(self, index: int) -> Row:
        """Row `index` as `render_pair` returns it: images as uint8 arrays, poses as (18, 3) float32."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Row]:
        """Several rows, as a `DataLoader` asks for them. Where there is a GPU it rasterises their pictures together,
        but not in workers of a `DataLoader`, which may be forks and then cannot use it."""
        for index in indices:
            if not 0 <= index < len(self):
                raise IndexError(f"The index of a rendered row must be in 0 to {len(self) - 1}, got {index}.")
        seeds = [row_seed(self.seed, index) for index in indices]
        if get_worker_info() is None and torch.cuda.is_available():
            return render_rows(seeds, self.size, self.split, device="cuda")
        return [render_pair(seed, self.size, self.split) for seed in seeds]


class RenderedStream(IterableDataset):
    """Rendered training rows in the order of their index, for any number of processes and `DataLoader` workers.

    Process r of R gets the rows start + r, start + r + R, ... Within a process the workers take turns by batches, as
    the `DataLoader` collects them: give the stream the loader's batch size, and the same rows come in the same batches
    and the same order whatever the number of workers. To go on where a stream stopped, start at the number of rows
    that all processes have taken together.

    This is a plain torch dataset: a `datasets.IterableDataset` is divided between workers by files, so that its order
    would depend on their number, and it would reach a later start by rendering all rows before it.

    Args:
        size, seed, split: as in `RenderedRows`.
        start (`int`): index of the first row.
        batch_size (`int`): of the `DataLoader`; 1 too for a loader that does not batch.
        rank (`int`), world_size (`int`): which process this is, of how many.

    Raises:
        ValueError: a bad argument.
    """

    def __init__(
        self,
        size: int,
        seed: int = 0,
        split: str = "train",
        start: int = 0,
        batch_size: int = 1,
        rank: int = 0,
        world_size: int = 1,
    ):
        for name, value, least in (("start", start, 0), ("batch_size", batch_size, 1), ("world_size", world_size, 1)):
            if value < least:
                raise ValueError(f"`{name}` must be at least {least}, got {value}.")
        if not 0 <= rank < world_size:
            raise ValueError(f"`rank` must be in 0 to {world_size - 1} (`world_size` - 1), got {rank}.")
        self.rows = RenderedRows(size, seed, split)
        self.start, self.batch_size, self.rank, self.world_size = start, batch_size, rank, world_size

    def __iter__(self) -> Iterator[Row]:
        worker = get_worker_info()
        first_batch, batch_step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        own_indices = range(self.start + self.rank, len(self.rows), self.world_size)
        for first in range(first_batch * self.batch_size, len(own_indices), batch_step * self.batch_size):
            yield from self.rows.__getitems__(own_indices[first : first + self.batch_size])
