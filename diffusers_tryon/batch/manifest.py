# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The list of who tries on what: lines of a CSV or JSONL file to rows, each of a person and a garment."""

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..data.importers.base import UnusableEntry
from ..data.importers.manifest_files import MANIFEST_SUFFIXES, find_file, read_manifest
from ..preprocessing.photo_pairs import AUTO, check_choices


PERSON_COLUMNS = ("person_photo", "person_index", "agnostic_image", "agnostic_mask", "person_pose")
GARMENT_COLUMNS = ("garment_photo", "garment_image", "garment_pose")
COLUMNS = ("id", "person_id", "garment_id", *PERSON_COLUMNS, *GARMENT_COLUMNS, "category", "garment_type")
# Of file names that every system takes, with room for what is written beside them.
_BAD_NAME = re.compile(r'^\.|[/\\:*?"<>|\x00-\x1f]|[ .]$')
_MAX_NAME_BYTES = 200


@dataclass(frozen=True, slots=True)
class PersonInput:
    """A person, as a photograph or as prepared conditions; either is None. Paths are as in the manifest."""

    photo: str | None = None
    index: int | None = None
    agnostic_image: str | None = None
    agnostic_mask: str | None = None
    pose: str | None = None

    def files(self) -> list[str]:
        return [name for name in (self.photo, self.agnostic_image, self.agnostic_mask, self.pose) if name is not None]


@dataclass(frozen=True, slots=True)
class GarmentInput:
    """A garment, as a photograph or as prepared conditions; either is None. `category` and `garment_type` may be
    "auto" for photographs; of prepared conditions the category is that of people's photographs."""

    photo: str | None = None
    image: str | None = None
    pose: str | None = None
    category: str = AUTO
    garment_type: str = AUTO

    def files(self) -> list[str]:
        return [name for name in (self.photo, self.image, self.pose) if name is not None]


@dataclass(frozen=True, slots=True)
class BatchRow:
    """A picture to make.

    Attributes:
        id: names the picture; unique in a manifest.
        person_id, garment_id: what the manifest calls them.
        person, garment: where they are to be found.
    """

    id: str
    person_id: str
    garment_id: str
    person: PersonInput
    garment: GarmentInput

    def inputs(self) -> dict[str, Any]:
        """All that the picture follows from beside the settings, as JSON."""
        return {"person": asdict(self.person), "garment": asdict(self.garment)}


@dataclass(frozen=True)
class Manifest:
    """
    Attributes:
        folder: what paths are relative to.
        rows: in the order in which they are worked on: all of a garment one after the other.
        unusable: lines that name no picture, and why.
    """

    folder: Path
    rows: list[BatchRow]
    unusable: list[UnusableEntry]

    def path(self, name: str) -> Path:
        """The file of a name in the manifest."""
        return find_file(name, self.folder, self.folder)


def list_rows(
    path: str | Path,
    all_pairs: bool = False,
    category: str = AUTO,
    garment_type: str = AUTO,
    limit: int | None = None,
) -> Manifest:
    """Read a manifest. No picture is opened.

    A line names a person by `person_photo` (and `person_index`) or by `agnostic_image`, `person_pose` and, if wanted,
    `agnostic_mask`; a garment by `garment_photo` or by `garment_image` and, if somebody wears it, `garment_pose`.
    `person_id` and `garment_id` name the two, by default `id`, and `id` the picture, by default both joined by "__".

    Args:
        path (`str` or `Path`): the CSV file with a header, or the JSONL file.
        all_pairs (`bool`, defaults to `False`): every person tries on every garment: lines may name either or both.
            Otherwise a line names one of each.
        category (`str`): of lines that say nothing: "upper", "lower", "dress", or "auto": what the photograph of the
            garment shows.
        garment_type (`str`): of these lines: "worn", "flat" or "auto".
        limit (`int`, *optional*): the first rows only, in the order of the manifest.

    Raises:
        ValueError: there is no such manifest, it cannot be read, or it lists nothing.
    """
    path = Path(path)
    if not path.is_file() or path.suffix.lower() not in MANIFEST_SUFFIXES:
        raise ValueError(f"The manifest must be a file that ends in {' or '.join(MANIFEST_SUFFIXES)}, got {path}.")
    check_choices(category, garment_type)
    defaults = {"category": category, "garment_type": garment_type}
    unusable: list[UnusableEntry] = []
    read = _read_all_pairs if all_pairs else _read_pairs
    rows = _without_repeated(read(path, defaults, unusable), unusable)[:limit]
    if not rows and not unusable:
        raise ValueError(f"The manifest {path} lists no {'pairs' if not all_pairs else 'people or no garments'}.")
    garments = {garment: number for number, garment in enumerate(dict.fromkeys(row.garment for row in rows))}
    return Manifest(path.parent, sorted(rows, key=lambda row: garments[row.garment]), unusable)


def _read_pairs(path: Path, defaults: dict[str, str], unusable: list[UnusableEntry]) -> list[BatchRow]:
    rows = []
    for number, line in read_manifest(path, (), COLUMNS):
        try:
            person, garment = _person(line), _garment(defaults | line)
            for lacking, found in (("person", person), ("garment", garment)):
                if found is None:
                    raise ValueError(f"no {lacking} is named; with --all-pairs a line may name either")
            rows.append(_row(_name(line, "person_id"), _name(line, "garment_id"), person, garment, line.get("id")))
        except ValueError as error:
            unusable.append(UnusableEntry(line.get("id", f"line-{number}"), f"{path}, line {number}: {error}"))
    return rows


def _read_all_pairs(path: Path, defaults: dict[str, str], unusable: list[UnusableEntry]) -> list[BatchRow]:
    people: dict[str, PersonInput] = {}
    garments: dict[str, GarmentInput] = {}
    for number, line in read_manifest(path, (), COLUMNS):
        try:
            found = [_person(line), _garment(defaults | line)]
            if found == [None, None]:
                raise ValueError("neither a person nor a garment is named")
            for known, source, column in ((people, found[0], "person_id"), (garments, found[1], "garment_id")):
                if source is None:
                    continue
                name = _name(line, column)
                if known.setdefault(name, source) != source:
                    raise ValueError(f"{column} {name!r} was another one before")
        except ValueError as error:
            unusable.append(UnusableEntry(line.get("id", f"line-{number}"), f"{path}, line {number}: {error}"))
    rows = []
    for garment_id, garment in garments.items():
        for person_id, person in people.items():
            try:
                rows.append(_row(person_id, garment_id, person, garment))
            except ValueError as error:
                unusable.append(UnusableEntry(f"{person_id}__{garment_id}", f"{path}: {error}"))
    return rows


def _name(line: dict[str, str], column: str) -> str:
    name = line.get(column, line.get("id"))
    if name is None:
        raise ValueError(f"id or {column} is missing")
    return name


def _row(
    person_id: str, garment_id: str, person: PersonInput, garment: GarmentInput, row_id: str | None = None
) -> BatchRow:
    row_id = row_id or f"{person_id}__{garment_id}"
    if _BAD_NAME.search(row_id) or len(row_id.encode()) > _MAX_NAME_BYTES:
        raise ValueError(
            f"the id must be able to name a file (no slash, colon or the like, at most {_MAX_NAME_BYTES} bytes), got "
            f"{row_id[:80]!r}"
        )
    if person.photo is not None and garment.photo is None and garment.category == AUTO:
        raise ValueError("category is missing: a prepared garment does not tell what a photograph is prepared for")
    return BatchRow(row_id, person_id, garment_id, person, garment)


def _person(line: dict[str, str]) -> PersonInput | None:
    if not any(column in line for column in PERSON_COLUMNS):
        return None
    prepared = {name: line.get(name) for name in ("agnostic_image", "agnostic_mask", "person_pose")}
    _check_kind(line, "person_photo", prepared, ("agnostic_image", "person_pose"))
    index = line.get("person_index")
    if index is not None and (not index.isdecimal() or "person_photo" not in line):
        raise ValueError(f"person_index must be a number from 0 on, of a person_photo, got {index!r}")
    return PersonInput(
        photo=line.get("person_photo"),
        index=None if index is None else int(index),
        agnostic_image=prepared["agnostic_image"],
        agnostic_mask=prepared["agnostic_mask"],
        pose=prepared["person_pose"],
    )


def _garment(line: dict[str, str]) -> GarmentInput | None:
    if not any(column in line for column in GARMENT_COLUMNS):
        return None
    prepared = {name: line.get(name) for name in ("garment_image", "garment_pose")}
    _check_kind(line, "garment_photo", prepared, ("garment_image",))
    check_choices(line["category"], line["garment_type"])
    return GarmentInput(
        photo=line.get("garment_photo"),
        image=prepared["garment_image"],
        pose=prepared["garment_pose"],
        category=line["category"],
        garment_type=line["garment_type"],
    )


def _check_kind(line: dict[str, str], photo: str, prepared: dict[str, str | None], required: tuple[str, ...]) -> None:
    """Raise a `ValueError` unless there is either a photograph or all required conditions."""
    given = [name for name, value in prepared.items() if value is not None]
    if photo in line and given:
        raise ValueError(f"{given[0]} does not go with {photo}: it is made from it")
    missing = [name for name in required if name not in given]
    if photo not in line and missing:
        raise ValueError(f"{missing[0]} is missing, or {photo} in its place")


def _without_repeated(rows: list[BatchRow], unusable: list[UnusableEntry]) -> list[BatchRow]:
    """The rows whose id no earlier one has; some systems do not tell capitals."""
    seen: dict[str, BatchRow] = {}
    for row in rows:
        if seen.setdefault(row.id.casefold(), row) is not row:
            unusable.append(UnusableEntry(row.id, "listed before: an id names one picture"))
    return list(seen.values())
