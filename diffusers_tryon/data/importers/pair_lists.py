# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The pair lists of VITON-HD and DressCode: text files of a person's and a garment's file name in each line."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .base import TryOnPair, UnusableEntry


# Who wears what: everybody their own garment (the truth is known), somebody else's photographed alone, or somebody
# else's as that person wears it.
PAIRINGS = ("paired", "unpaired", "model-to-model")
SPLITS = ("train", "test")


@dataclass(frozen=True)
class ListedPair:
    """A line of a pair list.

    Attributes:
        place: "FILE, line NUMBER".
        columns: one or more words.
    """

    place: str
    columns: tuple[str, ...]


def check_choice(value: str, choices: tuple[str, ...], name: str) -> None:
    """Raise a `ValueError` naming the argument `name` unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {', '.join(choices)}, got {value!r}.")


def check_pairing(split: str, pairs: str) -> None:
    """Raise a `ValueError` unless the split and the pairing exist and fit each other."""
    check_choice(split, SPLITS, "split")
    check_choice(pairs, PAIRINGS, "pairs")
    if split == "train" and pairs != "paired":
        raise ValueError(
            f"`pairs` must be paired for the split train, got {pairs!r}: only the test lists name other people's "
            "garments."
        )


def read_pair_list(path: Path) -> Iterator[ListedPair]:
    """The lines of a pair list; columns are separated by blanks, tabs or commas, blank lines do not count.

    Raises:
        ValueError: there is no such file, or it is no text.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise ValueError(f"There is no pair list {path}.") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"The pair list {path} is no text file.") from error
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield ListedPair(f"{path}, line {number}", tuple(re.split(r"[\s,]+", line.strip(" \t\r,"))))


def refuse_repeated(entries: list[TryOnPair | UnusableEntry]) -> list[TryOnPair | UnusableEntry]:
    """The same list; what has the id of an earlier entry becomes an `UnusableEntry`."""
    seen: set[str] = set()
    checked = []
    for entry in entries:
        repeated = entry.id in seen
        seen.add(entry.id)
        checked.append(UnusableEntry(entry.id, "listed before: the same pair occurs twice") if repeated else entry)
    return checked
