# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""A source tree as the rows that importing it would give, for checking it before anything is written."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .importers.base import UNUSABLE_ENTRY, SourceError, TryOnPair, UnusableEntry, build_row
from .importers.pair_lists import SPLITS
from .importing import list_entries
from .parts import StoredRow
from .row_checks import Problem
from .rows import encode_row


_ENTRIES_PER_PART = 64


@dataclass(frozen=True)
class SourcePart:
    """Some entries of a source's list, numbered from `first`."""

    split: str
    name: str
    entries: tuple[TryOnPair | UnusableEntry, ...]
    first: int

    def rows(self) -> Iterator[StoredRow]:
        for number, entry in enumerate(self.entries, self.first):
            try:
                yield StoredRow(number, encode_row(build_row(entry)))
            except (ValueError, OSError) as error:  # what an import would list as rejected
                known = {name: getattr(entry, name, None) for name in ("id", "person_id", "garment_id")}
                kind = error.kind if isinstance(error, SourceError) else UNUSABLE_ENTRY
                yield StoredRow(number, known, Problem(kind, str(error)))


def source_parts(
    source: str, root: str | Path, options: dict[str, Any] | None = None
) -> tuple[list[SourcePart], dict[str, str]]:
    """The entries of every split that a source lists, and for the other splits why it lists none.

    Args:
        source (`str`): a key of `importers.IMPORTERS`.
        root (`str` or `Path`): its folder.
        options (`dict`, *optional*): the source's own, see `importing.list_entries`.

    Raises:
        ValueError: unknown source or option, or neither training nor test rows are listed.
    """
    parts, errors = [], {}
    # A manifest that is named is one list, whatever the split.
    for split in SPLITS[:1] if "manifest" in (options or {}) else SPLITS:
        try:
            entries = list_entries(source, root, split, options)
        except ValueError as error:
            errors[split] = error
            continue
        for first in range(0, len(entries), _ENTRIES_PER_PART):
            of_part = tuple(entries[first : first + _ENTRIES_PER_PART])
            parts.append(SourcePart(split, f"{source} {split} {first // _ENTRIES_PER_PART:05d}", of_part, first))
    if not parts:
        raise errors[SPLITS[0]]
    return parts, {split: str(error) for split, error in errors.items()}
