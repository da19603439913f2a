# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Rows by number without a table of all rows: shards are read whole when a row of them is asked for."""

import numpy as np
from torch.utils.data import Dataset

from diffusers_tryon.data.layouts import SplitFiles, count_rows, stored_features
from diffusers_tryon.data.loading import open_split, read_split, without_decoding
from diffusers_tryon.data.rows import RowError, decode_row
from diffusers_tryon.training.columns import training_columns


# Rows that `datasets` hands over together; the shard's rows are kept as they are stored, their images compressed.
_ROWS_AT_ONCE = 100


class StreamedRows(Dataset):
    """Rows of a dataset in the package's schema, decoded as those of `dataset.TryOnRows`, read shard by shard.

    A shard is read whole, from disk or straight from the Hub, and kept until its lane asks for a row of another one: a
    process holds as many shards, with their images compressed, as it reads lanes. `order.ShardOrder` keeps a lane in
    its shard until all its rows were seen. An imagefolder is one shard.

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
        self._open_shards: dict[int, tuple[int, list[dict]]] = {}

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> dict:
        return self.read(index, lane=0)

    def read(self, index: int, lane: int) -> dict:
        """Row `index`; its shard takes the place of the one that the lane had."""
        if not 0 <= index < len(self):
            raise IndexError(f"The dataset {self.source} has rows 0 to {len(self) - 1}, got {index}.")
        shard = int(np.searchsorted(self._ends, index, side="right"))
        if lane not in self._open_shards or self._open_shards[lane][0] != shard:
            self._open_shards.pop(lane, None)  # never two shards of a lane in memory
            self._open_shards[lane] = shard, self._read_shard(shard)
        place = index - (int(self._ends[shard]) - self.shard_sizes[shard])
        try:
            return decode_row(self._open_shards[lane][1][place])
        except RowError as error:
            raise RowError(
                f"Row {place} of {self._name(shard)} (row {index} of the dataset) cannot be read: {error}"
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
        return f"the shard {_file_names(self.shards[number])}"

    def __getstate__(self) -> dict:
        # Workers that are started anew read their own shards.
        return self.__dict__ | {"_open_shards": {}}


def _file_names(shard: SplitFiles) -> str:
    return ", ".join(shard.files)
