# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Whole data sets checked: every problem with its row, duplicated ids, test rows that leaked into training."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from tqdm.auto import tqdm

from .parts import Part, StoredRow
from .processes import worker_processes
from .row_checks import check_row


UNREADABLE_FILE = "unreadable file"
DUPLICATED_ID = "duplicated id"
LEAKED_TEST_ROW = "leaked test row"
TRAINING_SPLIT = "train"
# What no training row may share with a row of another split.
_LEAK_COLUMNS = ("id", "person_id", "garment_id")


@dataclass(frozen=True)
class Finding:
    """A problem and where it is.

    Attributes:
        split: of the row.
        part: the file, relative to the data set's folder.
        row: number of the row in the file, from 0; None where the file as a whole cannot be read.
        id: the row's `id`, None where it has none.
        kind: what is wrong, in two or three words; reports count by it.
        message: what is wrong, in a sentence.
    """

    split: str
    part: str
    row: int | None
    id: str | None
    kind: str
    message: str

    def __str__(self) -> str:
        row = "" if self.row is None else f" row {self.row}"
        name = "" if self.id is None else f" ({self.id})"
        return f"{self.part}{row}{name}: {self.kind}: {self.message}"


@dataclass(frozen=True)
class ValidationReport:
    """What `validate_parts` found.

    Attributes:
        rows: number of rows read from each file.
        splits: the split of each file.
        findings: every problem, in the order of files and rows.
    """

    rows: dict[str, int]
    splits: dict[str, str]
    findings: list[Finding]

    def rows_of(self, split: str) -> int:
        """How many rows a split has."""
        return sum(rows for part, rows in self.rows.items() if self.splits[part] == split)

    def draw_good_rows(self, count: int, seed: int) -> dict[str, list[int]]:
        """Up to `count` random rows without a problem: their numbers by file, ascending."""
        bad = {(finding.part, finding.row) for finding in self.findings}
        good = [(part, row) for part, rows in self.rows.items() for row in range(rows) if (part, row) not in bad]
        drawn = np.random.default_rng(seed).permutation(len(good))[:count]
        chosen: dict[str, list[int]] = {}
        for part, row in sorted(good[number] for number in drawn):
            chosen.setdefault(part, []).append(row)
        return chosen

    def bad_rows(self, split: str) -> int:
        """How many rows of a split have a problem."""
        bad = {(finding.part, finding.row) for finding in self.findings if finding.row is not None}
        return sum(self.splits[part] == split for part, _ in bad)

    def count(self, kind: str, split: str) -> int:
        """How many problems of a kind a split has."""
        return sum(finding.kind == kind and finding.split == split for finding in self.findings)

    def kinds(self) -> list[str]:
        """Kinds of problems that occur, the most frequent first."""
        return [kind for kind, _ in Counter(finding.kind for finding in self.findings).most_common()]


@dataclass(frozen=True)
class _RowKeys:
    """What tells rows apart, by row: the row's number and id, and a digest for each thing that must not leak."""

    number: int
    id: str | None
    digests: dict[str, bytes]


@dataclass(frozen=True)
class _PartResult:
    part: str
    split: str
    findings: list[Finding]
    keys: list[_RowKeys]


def _digest(value: bytes) -> bytes:
    return hashlib.blake2b(value, digest_size=12).digest()


def _keys_of(row: StoredRow) -> _RowKeys:
    columns = row.columns
    if row.problem is not None:  # what is no row repeats and leaks nothing
        return _RowKeys(row.number, columns.get("id"), {})
    digests = {name: _digest(str(columns[name]).encode()) for name in _LEAK_COLUMNS if columns.get(name)}
    person = columns.get("person_image")
    if isinstance(person, dict) and isinstance(person.get("bytes"), bytes):
        digests["person_image"] = _digest(person["bytes"])
    return _RowKeys(row.number, columns.get("id"), digests)


def _check_part(part: Part) -> _PartResult:
    findings, keys = [], []
    try:
        for row in part.rows():
            name = row.columns.get("id")
            for problem in check_row(row.columns) if row.problem is None else [row.problem]:
                findings.append(Finding(part.split, part.name, row.number, name, problem.kind, problem.message))
            keys.append(_keys_of(row))
    except (OSError, ValueError) as error:
        findings.append(Finding(part.split, part.name, None, None, UNREADABLE_FILE, str(error)))
    return _PartResult(part.name, part.split, findings, keys)


@contextmanager
def _mapping(workers: int) -> Iterator[Callable[..., Iterable[_PartResult]]]:
    if workers == 1:
        yield map
        return
    with worker_processes(workers, "Call again") as executor:
        yield executor.map


def _repeated(results: list[_PartResult], split: str) -> list[Finding]:
    """Rows of a split whose id an earlier row has."""
    first_places: dict[bytes, str] = {}
    findings = []
    for result in results:
        for key in result.keys if result.split == split else ():
            if "id" not in key.digests:
                continue
            place = f"{result.part} row {key.number}"
            first_place = first_places.setdefault(key.digests["id"], place)
            if first_place != place:
                message = f"`id` is also that of {first_place}."
                findings.append(Finding(split, result.part, key.number, key.id, DUPLICATED_ID, message))
    return findings


def _leaked(results: list[_PartResult]) -> list[Finding]:
    """Training rows that share something with a row of another split."""
    held_out: dict[tuple[str, bytes], str] = {}
    for result in results:
        for key in result.keys if result.split != TRAINING_SPLIT else ():
            for column, digest in key.digests.items():
                held_out.setdefault((column, digest), f"{result.part} row {key.number}")
    findings = []
    for result in results:
        for key in result.keys if result.split == TRAINING_SPLIT else ():
            for column, digest in key.digests.items():
                if (column, digest) in held_out:
                    message = f"`{column}` is also that of {held_out[column, digest]}, which is held out."
                    findings.append(Finding(TRAINING_SPLIT, result.part, key.number, key.id, LEAKED_TEST_ROW, message))
                    break
    return findings


def validate_parts(parts: list[Part], workers: int = 1) -> ValidationReport:
    """Check every row of a data set.

    Args:
        parts (`list[Part]`): from `parts.list_parts`, or `source_parts.source_parts` of a tree that is not imported yet.
        workers (`int`): processes.

    Returns:
        `ValidationReport`: problems of single rows (`row_checks`), ids that occur twice in a split, and training rows
        that share an id, a person, a garment or the person's very picture with another split.

    Raises:
        ChildProcessError: a worker was killed, for instance because memory ran out.
    """
    results = []
    with _mapping(workers) as map_parts, tqdm(total=len(parts), unit="file", desc="Validating") as bar:
        for result in map_parts(_check_part, parts):
            results.append(result)
            bar.update()
    splits = list(dict.fromkeys(result.split for result in results))
    findings = [finding for result in results for finding in result.findings]
    findings += [finding for split in splits for finding in _repeated(results, split)] + _leaked(results)
    order = {result.part: number for number, result in enumerate(results)}
    findings.sort(key=lambda finding: (order[finding.part], -1 if finding.row is None else finding.row))
    return ValidationReport(
        rows={result.part: len(result.keys) for result in results},
        splits={result.part: result.split for result in results},
        findings=findings,
    )
