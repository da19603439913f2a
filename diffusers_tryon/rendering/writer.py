# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Writes rendered rows as Parquet shards with the images inside, on several processes."""

import io
import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import torch
from datasets import Dataset
from PIL import Image, UnidentifiedImageError
from pyarrow import ArrowException
from tqdm.auto import tqdm

from ..data.schema import dataset_features
from .samples import PAIR_COLUMNS, UNPAIRED_COLUMNS, check_render_arguments, render_pair, render_unpaired, row_id


# Rows of pools with different seeds never meet as long as a pool has fewer rows than this.
ROWS_PER_SEED = 2**32
_ROWS_PER_TASK = 4
# Streaming reads whole row groups.
_ROWS_PER_GROUP = 100


def row_seed(seed: int, index: int) -> int:
    """The seed of row `index` in a pool with `seed`."""
    return seed * ROWS_PER_SEED + index


def _encode_png(image: np.ndarray) -> dict[str, bytes | None]:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def _render_row(seed: int, size: int, split: str, unpaired: bool) -> dict:
    """Render one row with its images as PNG bytes."""
    row = (render_unpaired if unpaired else render_pair)(seed, size, split)
    is_image = {name: isinstance(value, np.ndarray) and value.dtype == np.uint8 for name, value in row.items()}
    return {name: _encode_png(value) if is_image[name] else value for name, value in row.items()}


def _start_worker() -> None:
    torch.set_num_threads(1)


@contextmanager
def _row_renderer(workers: int) -> Iterator:
    """A function like `map`, in this process or over several."""
    if workers == 1:
        yield map
        return
    with multiprocessing.get_context("spawn").Pool(workers, initializer=_start_worker) as pool:
        yield partial(pool.imap, chunksize=_ROWS_PER_TASK)


def _holds_rows(path: Path, ids: list[str], size: int) -> bool:
    """Whether a finished shard holds at least the rows `ids`; raises if it is no shard or belongs to another pool."""
    if not path.exists():
        return False
    try:
        shard = parquet.ParquetFile(path)
        found = shard.read(["id"])["id"].to_pylist()
        first_image = next(shard.iter_batches(1, columns=["person_image"]))["person_image"][0]
        width = Image.open(io.BytesIO(first_image.as_py()["bytes"])).width
    except (ArrowException, KeyError, StopIteration, UnidentifiedImageError) as error:
        raise ValueError(
            f"`out_dir` holds {path}, which is no complete shard of rendered rows ({error}). Remove it or choose "
            "another folder."
        ) from error
    if found[0] != ids[0] or width != size:
        raise ValueError(
            f"`out_dir` already holds other rows: {path} starts with {found[0]} at {width} px, expected {ids[0]} at "
            f"{size} px. Choose another folder or remove the file."
        )
    return found[: len(ids)] == ids


def _write_shard(rows: list[dict], path: Path, unpaired: bool) -> None:
    """Write a shard beside its place and rename it, so that a shard with its final name is always complete."""
    features = dataset_features(UNPAIRED_COLUMNS if unpaired else PAIR_COLUMNS)
    dataset = Dataset.from_dict({name: [row[name] for row in rows] for name in features}, features=features)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    parquet.write_table(dataset.with_format("arrow")[:], temporary, row_group_size=_ROWS_PER_GROUP)
    os.replace(temporary, path)


def _check_arguments(
    count: int, size: int, seed: int, workers: int, split: str, start: int, rows_per_shard: int
) -> None:
    check_render_arguments(seed, size, split)
    for name, value, least in (
        ("count", count, 1),
        ("workers", workers, 1),
        ("start", start, 0),
        ("rows_per_shard", rows_per_shard, 1),
    ):
        if not isinstance(value, int) or value < least:
            raise ValueError(f"`{name}` must be an integer of at least {least}, got {value!r}.")
    if start % rows_per_shard:
        raise ValueError(f"`start` must be a multiple of `rows_per_shard` ({rows_per_shard}), got {start}.")


def write_pairs(
    out_dir: str | Path,
    count: int,
    size: int,
    seed: int = 0,
    workers: int = 1,
    split: str = "train",
    start: int = 0,
    unpaired: bool = False,
    rows_per_shard: int = 1000,
) -> Path:
    """Render rows and write them to `out_dir/<split>-<shard>.parquet`, loadable with `datasets.load_dataset(out_dir)`.

    A row depends on the seed, its index, the size and the split alone: neither the number of workers nor the number
    of rows changes it. Shards that are already there are not rendered again (nor shortened), so an interrupted call
    can be repeated and a pool extended. With more than one worker the caller's script needs the usual `if __name__ == "__main__"`.

    Args:
        out_dir (`str` or `Path`): created if missing.
        count (`int`): number of rows.
        size (`int`): height and width in pixels.
        seed (`int`): of the pool; pools with different seeds share no rows.
        workers (`int`): processes, one thread each.
        split (`str`): "train" or "test"; they share no bodies and no prints.
        start (`int`): index of the first row, a multiple of `rows_per_shard`; lets several machines write one pool.
        unpaired (`bool`): write evaluation rows (`render_unpaired`) instead of training pairs.
        rows_per_shard (`int`): rows in a file; the last one may hold fewer.

    Returns:
        `Path`: `out_dir`.

    Raises:
        ValueError: a bad argument, or `out_dir` holds shards of another pool.
    """
    _check_arguments(count, size, seed, workers, split, start, rows_per_shard)
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)

    missing = []
    for first in range(start, start + count, rows_per_shard):
        seeds = [row_seed(seed, index) for index in range(first, min(first + rows_per_shard, start + count))]
        path = out_dir / f"{split}-{first // rows_per_shard:05d}.parquet"
        if not _holds_rows(path, [row_id(value, split, unpaired) for value in seeds], size):
            missing.append((path, seeds))

    render_row = partial(_render_row, size=size, split=split, unpaired=unpaired)
    rows_to_render = sum(len(seeds) for _, seeds in missing)
    began = time.perf_counter()
    with _row_renderer(workers) as map_rows, tqdm(total=rows_to_render, unit="row", desc=f"Rendering {split}") as bar:
        rendered = map_rows(render_row, [value for _, seeds in missing for value in seeds])
        for path, seeds in missing:
            rows = []
            for row in islice(rendered, len(seeds)):
                rows.append(row)
                bar.update()
            _write_shard(rows, path, unpaired)
    if rows_to_render:
        rate = rows_to_render / (time.perf_counter() - began)
        print(f"{rows_to_render} rows at {size} px in {out_dir}, {rate:.1f} rows per second.")
    return out_dir
