# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Imports a source into shards of the schema."""

import inspect
import json
import re
from collections import Counter
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

from ..composition import RECIPES
from .importers import IMPORTERS
from .importers.base import IMPORTED_COLUMNS, TryOnPair, UnusableEntry, build_row
from .shards import REJECTED_FOLDER, WARNINGS_FOLDER, ShardReport, write_shards


def list_entries(
    source: str, root: str | Path, split: str, options: dict[str, Any] | None = None
) -> list[TryOnPair | UnusableEntry]:
    """List what a source holds, see `Importer.list_pairs`.

    Raises:
        ValueError: unknown source or option, `root` is no folder of the source, or it lists nothing.
    """
    if source not in IMPORTERS:
        raise ValueError(f"`source` must be one of {', '.join(IMPORTERS)}, got {source!r}.")
    root, options = Path(root), options or {}
    if not root.is_dir():
        raise ValueError(f"`root` must be the folder of {IMPORTERS[source].title}, there is none at {root}.")
    list_pairs = IMPORTERS[source].list_pairs
    known = list(inspect.signature(list_pairs).parameters)[2:]
    for name in options:
        if name not in known:
            raise ValueError(f"`{name}` is no option of {source}, which has {', '.join(known) or 'none'}.")
    entries = list_pairs(root, split, **options)
    if not entries:
        raise ValueError(f"`root` {root} lists nothing for the split {split} with these options.")
    return entries


def import_source(
    source: str,
    root: str | Path,
    out_dir: str | Path,
    split: str = "train",
    options: dict[str, Any] | None = None,
    recipe: str = "paper",
    size: tuple[int, int] | None = None,
    limit: int | None = None,
    rows_per_shard: int = 500,
    workers: int = 1,
    process_index: int = 0,
    num_processes: int = 1,
) -> ShardReport:
    """Write the rows of a source to `out_dir/<split>-<number>.parquet`, see `shards.write_shards`.

    Args:
        source (`str`): a key of `IMPORTERS`.
        root (`str` or `Path`): where the source lies.
        options (`dict`, *optional*): the source's own, see its `list_pairs`.
        recipe (`str`): of the agnostic image, see `composition.compose_agnostic`.
        size (`tuple[int, int]`, *optional*): height and width of all pictures; each keeps its own if not given.
        limit (`int`, *optional*): the first entries of the source only. More can be added by a later call.
        rows_per_shard, workers, process_index, num_processes (`int`): as in `shards.write_shards`.

    Returns:
        `ShardReport`: what was written. Entries that no row could be made of are counted and listed with the reason in
        `out_dir/__rejected__`.

    Raises:
        ValueError: a bad argument, nothing is listed, or `out_dir` holds other rows.
    """
    if recipe not in RECIPES:
        raise ValueError(f"`recipe` must be one of {', '.join(RECIPES)}, got {recipe!r}.")
    if size is not None and min(size) < 1:
        raise ValueError(f"`size` must be a height and a width of at least 1, got {size}.")
    entries = list_entries(source, root, split, options)[:limit]
    settings = {
        "importer": source,
        # Where files lie is not what they hold: a source may move between two calls.
        "options": {name: value for name, value in (options or {}).items() if not isinstance(value, Path)},
        "recipe": recipe,
        "size": size,
    }
    return write_shards(
        out_dir,
        split,
        entries,
        partial(build_row, recipe=recipe, size=size),
        IMPORTED_COLUMNS,
        attrgetter("id"),
        settings,
        rows_per_shard,
        workers,
        process_index,
        num_processes,
    )


def warning_kinds(out_dir: str | Path, split: str) -> Counter[str]:
    """How many rows that were written have warnings of which kind: what comes before the colon in them."""
    kinds: Counter[str] = Counter()
    for path in sorted((Path(out_dir) / WARNINGS_FOLDER).glob(f"{split}-*.jsonl")):
        for line in path.read_text().splitlines():
            kinds.update({warning.partition(":")[0] for warning in json.loads(line)["warnings"]})
    return kinds


def rejection_reasons(out_dir: str | Path, split: str, root: str | Path) -> Counter[str]:
    """How often entries were rejected for what, the file names and numbers in the reasons left out.

    Args:
        out_dir (`str` or `Path`): as in `import_source`.
        split (`str`), root (`str` or `Path`): the same.
    """
    # A file's name stands in backquotes; or it ends at a blank, or at the colon or comma before one, and only that of
    # the root may hold blanks.
    file_name = re.compile(rf"`[^`]*[/\\.][^`]*`|(?:{re.escape(str(root))}[/\\]|\S*[/\\])\S*?(?=[:,]?(?:\s|$))")
    reasons: Counter[str] = Counter()
    for path in sorted((Path(out_dir) / REJECTED_FOLDER).glob(f"{split}-*.jsonl")):
        for line in path.read_text().splitlines():
            reason = file_name.sub("FILE", json.loads(line)["error"])
            reasons[re.sub(r"\d+", "#", reason)] += 1
    return reasons
