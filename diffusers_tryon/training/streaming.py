# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Rows by number without a table of all rows: shards are read whole when a row of them is asked for."""

from collections.abc import Callable
from threading import Thread

import numpy as np
from torch.utils.data import Dataset

from diffusers_tryon.data.layouts import count_rows, stored_features
from diffusers_tryon.data.loading import open_split, read_split, without_decoding
from diffusers_tryon.data.rows import RowError, decode_row
from diffusers_tryon.training.columns import training_columns


# Rows that `datasets` hands over together; the shard's rows are kept as they are stored, their images compressed.
_ROWS_AT_ONCE = 100


class StreamedRows(Dataset):
    """Rows of a dataset in the package's schema, decoded as those of `dataset.TryOnRows`, read shard by shard.

    A shard is read whole, from disk or straight from the Hub, and kept until its lane asks for a row of another one;
    `order.ShardOrder` keeps a lane in its shard until all its rows were seen. Meanwhile the lane's next shard is read
    in the background. So a process holds two shards, with their images compressed, for each lane that it reads. An
    imagefolder is one shard.

    Args:
        source: a dataset's folder in one of the layouts of `data.layouts`, or its id on the Hub.
        split: which of its splits.
        with_masks: read also the columns that augmentation needs.

    Attributes:
        shard_sizes: rows of each shard that has any; rows are numbered through the shards in this order.

    Raises:
        ValueError: see `load_tryon_dataset`; on access a `RowError` that names shard and row, or an `OSError` that
            names the shard.
    """

    def __init__(self, source: str, split: str = "train", with_masks: bool = False):
        files = open_split(source, split, streaming=True)
        self.columns = training_columns(stored_features(files, source), with_masks)
        self.source, self.split = source, split
        sizes = count_rows(files, source)
        self.shards = [shard for shard, size in zip(files.shards(), sizes, strict=True) if size]
        self.shard_sizes = [size for size in sizes if size]
        self._ends = np.cumsum(self.shard_sizes)
        self._open_shards: dict[int, _OpenShard] = {}
        self._next_shards: dict[int, _OpenShard] = {}

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> dict:
        return self.read(index, lane=0)

    def read(self, index: int, lane: int, next_shard: Callable[[], int] | None = None) -> dict:
        """Row `index`.

        Args:
            index: of the row.
            lane: its shard takes the place of the one that the lane had.
            next_shard: which shard the lane will need then, asked for when it takes a shard and read ahead if given.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"The dataset {self.source} has rows 0 to {len(self) - 1}, got {index}.")
        number = int(np.searchsorted(self._ends, index, side="right"))
        if lane not in self._open_shards or self._open_shards[lane].number != number:
            self._open_shards.pop(lane, None)
            shard = self._next_shards.pop(lane, None)
            if shard is None or shard.number != number:
                shard = _OpenShard(number, self._read_shard)
            self._open_shards[lane] = shard
            if next_shard is not None and next_shard() != number:
                self._next_shards[lane] = _OpenShard(next_shard(), self._read_shard)
        place = index - (int(self._ends[number]) - self.shard_sizes[number])
        row = self._open_shards[lane].rows()[place]
        try:
            return decode_row(row)
        except RowError as error:
            raise RowError(
                f"Row {place} of {self._name(number)} (row {index} of the dataset) cannot be read: {error}"
            ) from error

    def _read_shard(self, number: int) -> list[dict]:
        shard, rows = self.shards[number], []
        try:
            dataset = without_decoding(read_split(shard, self.split, self._name(number), streaming=True))
            # Not `iter(dataset)`: in a worker of a DataLoader that leaves out what it takes for others' shards.
            for batch in dataset.select_columns(self.columns).iter(_ROWS_AT_ONCE):
                rows += [dict(zip(batch, values)) for values in zip(*batch.values())]
        except (ValueError, OSError) as error:
            kind = OSError if isinstance(error, OSError) else RowError
            raise kind(f"{self._name(number)} cannot be read: {error}") from error
        if len(rows) != self.shard_sizes[number]:
            raise OSError(
                f"{self._name(number)} has {len(rows)} rows, and had {self.shard_sizes[number]} when the run started. "
                "A dataset must not change while it is trained on."
            )
        return rows

    def _name(self, number: int) -> str:
        return f"the shard {', '.join(self.shards[number].files)}"

    def __getstate__(self) -> dict:
        # Workers that are started anew read their own shards.
        return self.__dict__ | {"_open_shards": {}, "_next_shards": {}}


class _OpenShard:
    """A shard that is read in a thread of its own, which holds up nobody's end."""

    def __init__(self, number: int, read: Callable[[int], list[dict]]):
        self.number = number
        self._thread = Thread(target=self._keep, args=(read,), daemon=True)
        self._thread.start()

    def _keep(self, read: Callable[[int], list[dict]]) -> None:
        try:
            self._rows, self._error = read(self.number), None
        except Exception as error:
            self._rows, self._error = [], error

    def rows(self) -> list[dict]:
        """Its rows, once they are there; raises what reading raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._rows
