# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Pools of labelled photographs on disk: shards that are mapped into memory, so that any photograph is read at once.

A folder holds `<split>-00000.npy` and so on, arrays of `labelled.record_dtype`, and `<split>.json`, which says what
they are made of.
"""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from ..data.processes import worker_processes
from ..data.shards import replacing
from .labelled import render_labelled
from .samples import RENDERER_VERSION, check_render_arguments


PEOPLE_PER_SHARD = 25


def _shard_path(folder: Path, split: str, number: int) -> Path:
    return folder / f"{split}-{number:05d}.npy"


def _write_shard(number: int, folder: Path, people: int, size: int, split: str) -> None:
    seeds = range(number * PEOPLE_PER_SHARD, min(people, (number + 1) * PEOPLE_PER_SHARD))
    records = np.concatenate([render_labelled(seed, size, split) for seed in seeds])
    with replacing(_shard_path(folder, split, number)) as file:
        np.save(file, records)


def write_labelled_pool(folder: str | Path, people: int, size: int, split: str = "train", workers: int = 1) -> int:
    """Photograph people and write `folder/<split>-<shard>.npy`; shards that are there are not rendered again.

    Args:
        folder (`str` or `Path`): created if missing.
        people (`int`): how many; every one is photographed `labelled.PHOTOGRAPHS_PER_PERSON` times.
        size (`int`): height and width in pixels.
        split (`str`): "train" or "test".
        workers (`int`): processes, one thread each; with more than one the caller's script needs the usual
            `if __name__ == "__main__"`.

    Returns:
        `int`: how many shards were written.

    Raises:
        ValueError: a bad argument, or `folder` holds photographs of another size, number of people or renderer.
    """
    check_render_arguments(0, size, split)
    if not isinstance(people, int) or people < 1:
        raise ValueError(f"`people` must be an integer of at least 1, got {people!r}.")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"renderer_version": RENDERER_VERSION, "people": people, "size": size}
    description = folder / f"{split}.json"
    if not description.exists():
        with replacing(description) as file:
            file.write(json.dumps(settings).encode())
    found = json.loads(description.read_text())
    if found != settings:
        raise ValueError(f"`folder` already holds other photographs: {description} says {found}, expected {settings}.")
    missing = [
        number for number in range(-(-people // PEOPLE_PER_SHARD)) if not _shard_path(folder, split, number).exists()
    ]
    write = partial(_write_shard, folder=folder, people=people, size=size, split=split)
    if workers == 1:
        list(map(write, missing))
    else:
        with worker_processes(workers, "Finished shards stay: repeat the call") as executor:
            list(executor.map(write, missing))
    return len(missing)


class LabelledPool(Sequence):
    """The photographs of a split of a folder, mapped into memory.

    Args:
        folder (`str` or `Path`): what `write_labelled_pool` wrote, also while it is still writing.
        split (`str`): "train" or "test".

    Raises:
        ValueError: `folder` holds no photographs of the split.
    """

    def __init__(self, folder: str | Path, split: str):
        paths = sorted(Path(folder).glob(f"{split}-*.npy"))
        if not paths:
            raise ValueError(f"`folder` {folder} holds no shards {split}-*.npy. Write them with write_labelled_pool.")
        self._shards = [np.load(path, mmap_mode="r") for path in paths]
        self._ends = np.cumsum([len(shard) for shard in self._shards])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> np.void:
        """Record `index`, see `labelled.record_dtype`."""
        if not 0 <= index < len(self):
            raise IndexError(f"`index` must be from 0 to {len(self) - 1}, got {index}.")
        shard = int(np.searchsorted(self._ends, index, side="right"))
        return self._shards[shard][index - self._ends[shard]]
