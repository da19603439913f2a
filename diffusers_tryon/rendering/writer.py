# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Pools of rendered rows on disk: what the renderer hands to the writer of shards."""

from functools import partial
from pathlib import Path

import torch

from ..data.shards import BuiltRow, ShardReport, write_shards
from .samples import (
    PAIR_COLUMNS,
    RENDERER_VERSION,
    UNPAIRED_COLUMNS,
    Row,
    check_render_arguments,
    render_pair,
    render_rows,
    render_unpaired,
    row_id,
)


# Rows of pools with different seeds never meet as long as a pool has fewer rows than this.
ROWS_PER_SEED = 2**32


def row_seed(seed: int, index: int) -> int:
    """The seed of row `index` in a pool with `seed`."""
    return seed * ROWS_PER_SEED + index


def _render_row(index: int, seed: int, size: int, split: str, unpaired: bool, category: str | None) -> Row:
    return (render_unpaired if unpaired else render_pair)(row_seed(seed, index), size, split, category)


def _render_together(
    indices: list[int], seed: int, size: int, split: str, unpaired: bool, category: str | None, device: str
) -> list[BuiltRow]:
    rows = render_rows([row_seed(seed, index) for index in indices], size, split, category, unpaired, device)
    return [BuiltRow(row) for row in rows]


def _row_id(index: int, seed: int, split: str, unpaired: bool, category: str | None) -> str:
    return row_id(row_seed(seed, index), split, unpaired, category)


def write_pairs(
    out_dir: str | Path,
    count: int,
    size: int,
    seed: int = 0,
    workers: int = 1,
    split: str = "train",
    unpaired: bool = False,
    category: str | None = None,
    rows_per_shard: int = 1000,
    process_index: int = 0,
    num_processes: int = 1,
) -> ShardReport:
    """Render rows and write them to `out_dir/<split>-<shard>.parquet`, see `data.shards.write_shards`.

    A row depends on the seed, its index, the size and the split alone: neither the number of workers nor the number
    of rows changes it. Shards that are already there are not rendered again (nor shortened), so an interrupted call
    can be repeated and a pool extended. Where there is a GPU it rasterises the pictures of several rows at once.

    Args:
        out_dir (`str` or `Path`): created if missing.
        count (`int`): number of rows.
        size (`int`): height and width in pixels.
        seed (`int`): of the pool; pools with different seeds share no rows.
        workers (`int`): processes, one thread each; with more than one the caller's script needs the usual
            `if __name__ == "__main__"`.
        split (`str`): "train" or "test"; they share no bodies and no prints.
        unpaired (`bool`): write evaluation rows (`render_unpaired`) instead of training pairs.
        category (`str`, *optional*): "upper", "lower" or "dress" to have rows of one category alone.
        rows_per_shard (`int`): rows in a file; the last one may hold fewer.
        process_index, num_processes (`int`): this process renders every `num_processes`-th shard, see
            `data.shards.process_position`.

    Raises:
        ValueError: a bad argument, or `out_dir` holds shards of another pool or of another version of the renderer.
    """
    check_render_arguments(seed, size, split, category)
    if not isinstance(count, int) or count < 1:
        raise ValueError(f"`count` must be an integer of at least 1, got {count!r}.")
    arguments = {"seed": seed, "size": size, "split": split, "unpaired": unpaired, "category": category}
    return write_shards(
        out_dir,
        split,
        range(count),
        partial(_render_row, **arguments),
        UNPAIRED_COLUMNS if unpaired else PAIR_COLUMNS,
        partial(_row_id, seed=seed, split=split, unpaired=unpaired, category=category),
        {
            "name": "rendered",
            "renderer_version": RENDERER_VERSION,
            "seed": seed,
            "size": size,
            "unpaired": unpaired,
            "category": category,
        },
        rows_per_shard,
        workers,
        process_index,
        num_processes,
        partial(_render_together, device="cuda", **arguments) if torch.cuda.is_available() else None,
    )
