# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The cases of an evaluation: a person, a garment, and the true picture where there is one.

| pairing | rendered people | a dataset | a dataset with `target_image` |
|---|---|---|---|
| "paired" | the garment that the person wears | the row's garment; truth: `person_image` | - |
| "unpaired" | somebody else's garment; truth: the renderer draws it | another row's garment; no truth | the row's \
garment; truth: `target_image` |
"""

import re
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from datasets import Dataset
from PIL import Image
from scipy import ndimage

from ..composition import AGNOSTIC_FILL, GARMENT_BACKGROUND, GARMENT_LABELS, label_mask
from ..data.loading import dataset_commit, load_tryon_dataset, without_decoding
from ..data.rows import RowError, decode_row
from ..data.shards import hash_ids
from ..image_processor import TryOnImageProcessor
from ..rendering.samples import RENDERER_VERSION, check_render_arguments, render_pair, render_unpaired, row_id
from .layout import CaseRecord


PAIRINGS = ("paired", "unpaired")
# Of rendered people: bodies and prints that training never sees.
RENDERED_SPLIT = "test"

_NOT_IN_FILE_NAMES = re.compile(r"[^\w.-]+")
# A garment image from a lossy file is not quite white where it is background.
_WHITEST_GARMENT = 245


@dataclass(frozen=True)
class Case:
    """One case, all pictures of one size (H, W).

    Attributes:
        record: what is known beside the pictures.
        agnostic_image: (H, W, 3) uint8, as the network gets it.
        agnostic_mask: (H, W) uint8, 255 where the picture may change.
        garment_image: (H, W, 3) uint8, the garment on white.
        garment_mask: (H, W) uint8, 255 where `garment_image` shows the garment.
        reference: (H, W, 3) uint8, the true picture; None if nobody knows it.
        real: (H, W, 3) uint8, in its place a photograph of the same person in their own clothes; else None.
        parse: (H, W) uint8, label map of the true picture, ids of `composition.PARSE_LABELS`; None if not known.
    """

    record: CaseRecord
    agnostic_image: np.ndarray
    agnostic_mask: np.ndarray
    garment_image: np.ndarray
    garment_mask: np.ndarray
    reference: np.ndarray | None
    real: np.ndarray | None
    parse: np.ndarray | None


class Cases(Protocol):
    """A sequence of cases, each built when it is asked for.

    Attributes:
        ids: names of the cases, which are names of files too.
        size: (height, width) of the pictures.
        has_reference, has_parse: whether each case has a true picture, and its label map.
        description: what the cases are, as JSON stores it; two sequences with one description hold the same.
    """

    ids: list[str]
    size: tuple[int, int]
    has_reference: bool
    has_parse: bool
    description: dict[str, Any]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Case: ...


class RenderedCases:
    """Rendered people of the split "test", see [`rendered_cases`]."""

    has_reference = has_parse = True

    def __init__(self, count: int, seed: int, size: int, category: str | None, pairing: str, garment_type: str | None):
        self.size = (size, size)
        self.seeds = range(seed, seed + count)
        unpaired = pairing == "unpaired"
        self._render = partial(
            render_unpaired if unpaired else render_pair,
            size=size,
            split=RENDERED_SPLIT,
            category=category,
            garment_type=garment_type,
        )
        self._truth = ("target_image", "target_parse") if unpaired else ("person_image", "person_parse")
        self.ids = [row_id(row_seed, RENDERED_SPLIT, unpaired, category) for row_seed in self.seeds]
        self.description = {
            "name": "rendered",
            "split": RENDERED_SPLIT,
            "pairing": pairing,
            "category": category,
            "count": count,
            "seed": seed,
            "size": list(self.size),
            "renderer_version": RENDERER_VERSION,
        } | ({"garment_type": garment_type} if garment_type else {})

    def __len__(self) -> int:
        return len(self.seeds)

    def __getitem__(self, index: int) -> Case:
        row = self._render(self.seeds[index])
        return _make_case(row, row, self.ids[index], self.seeds[index], self.size, *self._truth)


def rendered_cases(
    count: int,
    seed: int = 0,
    size: int = 128,
    category: str | None = None,
    pairing: str = "unpaired",
    garment_type: str | None = None,
) -> RenderedCases:
    """People that the renderer draws, whose bodies and prints training never sees.

    Case number i is the row of seed `seed` + i of [`render_unpaired`] or [`render_pair`]; its noise has that seed too.

    Args:
        count (`int`): Number of cases, at least 1.
        seed (`int`, defaults to 0): Of the first case. Cases of seeds that are further apart than `count` differ.
        size (`int`, defaults to 128): Height and width of the pictures, 16 to 1024.
        category (`str`, *optional*): "upper", "lower" or "dress"; a mixture if not given.
        pairing (`str`, defaults to `"unpaired"`): "unpaired" for somebody else's garment, with the true picture of
            this person in it; "paired" for the person's own, in another pose or alone.
        garment_type (`str`, *optional*): "worn" or "flat" for garments of one kind; a mixture if not given.

    Raises:
        ValueError: naming the argument.
    """
    check_render_arguments(seed, size, RENDERED_SPLIT, category, garment_type)
    check_pairing(pairing)
    _check_count(count)
    return RenderedCases(count, seed, size, category, pairing, garment_type)


class DatasetCases:
    """Cases of a dataset in the package's schema, see [`dataset_cases`]."""

    def __init__(self, rows: Dataset, source: str, split: str, pairing: str, seed: int, size: tuple[int, int]):
        self.size, self.seed, self._source, self._rows = size, seed, source, rows
        is_columns = set(rows.column_names)
        if "target_image" in is_columns:
            if pairing == "paired":
                raise ValueError(
                    f"`pairing` must be unpaired for {source}, whose rows have `target_image`: their garments are not "
                    "those that the people wear."
                )
            self._garment_rows, self._truth = np.arange(len(rows)), ("target_image", "target_parse")
        elif pairing == "paired":
            self._garment_rows, self._truth = np.arange(len(rows)), ("person_image", "person_parse")
        else:
            self._garment_rows, self._truth = exchanged_garments(rows, seed), (None, None)
        self.has_reference = self._truth[0] in is_columns
        self.has_parse = self._truth[1] in is_columns
        self.ids = _file_names(rows["id"][:], source)
        self.description = {
            "name": Path(source).name if Path(source).is_dir() else source,
            "split": split,
            "pairing": pairing,
            "count": len(rows),
            "seed": seed,
            "size": list(size),
            "photographs": "brought to the size bilinearly as the model's inputs are, before the protocol sees them",
            "commit": dataset_commit(source),
            "ids": hash_ids(self.ids),
        }

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Case:
        garment_index = int(self._garment_rows[index])
        person = self._decoded(index)
        garment = person if garment_index == index else self._decoded(garment_index)
        try:
            return _make_case(person, garment, self.ids[index], self.seed + index, self.size, *self._truth)
        except ValueError as error:
            raise ValueError(f"Row {index} of {self._source} cannot be a case: {error}") from error

    def _decoded(self, index: int) -> dict[str, Any]:
        try:
            return decode_row(self._rows[index])
        except RowError as error:
            raise RowError(f"Row {index} of {self._source} cannot be read: {error}") from error


def dataset_cases(
    source: str,
    size: tuple[int, int],
    split: str = "test",
    pairing: str = "unpaired",
    count: int | None = None,
    seed: int = 0,
) -> DatasetCases:
    """The first rows of a dataset.

    Unless the rows bring their truth (`target_image`), an unpaired case takes the garment of another row of the same
    category, each garment once, none on the person who wears it, drawn with `seed`. Case number i has noise of the
    seed `seed` + i. Pictures are brought to `size` as the networks' inputs are, label maps by their nearest labels.

    Args:
        source (`str`): A folder or the id of a dataset on the Hub, see [`load_tryon_dataset`].
        size (`tuple[int, int]`): Height and width of the pictures to make.
        split (`str`, defaults to `"test"`): Which of its splits.
        pairing (`str`, defaults to `"unpaired"`): "paired" or "unpaired".
        count (`int`, *optional*): Number of rows, all if not given.
        seed (`int`, defaults to 0): Of the exchange of garments, and of the noise.

    Raises:
        ValueError: naming the argument, the dataset that cannot be read, or the category in which garments cannot be
            exchanged; on access the row.
    """
    check_pairing(pairing)
    if not isinstance(seed, int) or seed < 0:
        raise ValueError(f"`seed` must be an integer of at least 0, got {seed!r}.")
    rows = without_decoding(load_tryon_dataset(source, split))
    if count is not None:
        _check_count(count)
        if count > len(rows):
            raise ValueError(f"`count` must be at most the {len(rows)} rows that {source} has, got {count}.")
        rows = rows.select(range(count))
    return DatasetCases(rows, source, split, pairing, seed, size)


def exchanged_garments(rows: Dataset, seed: int) -> np.ndarray:
    """For each row the row whose garment it gets: (N,) int, a permutation within each category.

    Nobody gets the garment of their own row, nor one with the same `garment_id`, where rows have it.

    Raises:
        ValueError: in a category more than half of the rows show one garment.
    """
    names = rows.features["category"].names
    categories = np.array(rows["category"][:])
    garments = np.array(rows["garment_id" if "garment_id" in rows.column_names else "id"][:])
    exchanged = np.empty(len(rows), dtype=int)
    random = np.random.default_rng(seed)
    for category in np.unique(categories):
        members = random.permutation(np.flatnonzero(categories == category))
        # The rows of a garment stand together, and everybody takes what stands so many places on as the largest group
        # has rows: beyond their own.
        order = {garment: place for place, garment in reversed(list(enumerate(garments[members])))}
        members = np.array(sorted(members, key=lambda member: order[garments[member]]))
        largest = max(Counter(garments[members]).values())
        if 2 * largest > len(members):
            raise ValueError(
                f"`pairing` unpaired needs other garments for everybody, but of the {len(members)} rows of the "
                f"category {names[category]}, {largest} show the same."
            )
        exchanged[members] = np.roll(members, -largest)
    return exchanged


def check_pairing(pairing: str) -> None:
    """Raise a `ValueError` unless it is one of `PAIRINGS`."""
    if pairing not in PAIRINGS:
        raise ValueError(f"`pairing` must be one of {', '.join(PAIRINGS)}, got {pairing!r}.")


def _check_count(count: int) -> None:
    if not isinstance(count, int) or count < 1:
        raise ValueError(f"`count` must be an integer of at least 1, got {count!r}.")


def _file_names(ids: list[str], source: str) -> list[str]:
    """Names of files for the rows of a dataset: their ids without what file names cannot hold."""
    names = [_NOT_IN_FILE_NAMES.sub("_", row_name).lstrip(".") for row_name in ids]
    repeated = [name for name, times in Counter(names).items() if times > 1 or not name]
    if repeated:
        raise ValueError(f"The ids of the rows of {source} must differ, {repeated[0]!r} names several.")
    return names


def _make_case(
    person: dict[str, Any],
    garment: dict[str, Any],
    case_id: str,
    noise_seed: int,
    size: tuple[int, int],
    reference_column: str | None,
    parse_column: str | None,
) -> Case:
    record = CaseRecord(
        id=case_id,
        category=person["category"],
        garment_type=garment["garment_type"],
        person_pose=person["person_pose"],
        garment_pose=garment["garment_pose"],
        noise_seed=noise_seed,
    )
    reference, parse = person.get(reference_column), person.get(parse_column)
    mask = TryOnImageProcessor().preprocess_mask(person["agnostic_mask"], *size)[0, 0].numpy()
    return Case(
        record=record,
        agnostic_image=_resized_image(person["agnostic_image"], size, "agnostic_image", AGNOSTIC_FILL),
        agnostic_mask=mask.astype(np.uint8) * 255,
        garment_image=_resized_image(garment["garment_image"], size, "garment_image", GARMENT_BACKGROUND),
        garment_mask=_resized_labels(_garment_mask(garment), size),
        reference=None if reference is None else _resized_image(reference, size, reference_column),
        real=_resized_image(person["person_image"], size, "person_image") if reference is None else None,
        parse=None if parse is None else _resized_labels(parse, size),
    )


def _garment_mask(row: dict[str, Any]) -> np.ndarray:
    """Where the garment image shows the garment, (H, W) uint8: by its label map, else whatever is not background.

    Without a label map, white enclosed by the garment counts as garment.
    """
    if row.get("garment_parse") is not None:
        garment = label_mask(row["garment_parse"], GARMENT_LABELS[row["category"]])
    else:
        garment = ndimage.binary_fill_holes((row["garment_image"] < _WHITEST_GARMENT).any(axis=-1))
    return garment.astype(np.uint8) * 255


def _resized_image(image: np.ndarray, size: tuple[int, int], name: str, background: int = 255) -> np.ndarray:
    """(H, W, 3) uint8 as the networks' inputs are resized."""
    processor = TryOnImageProcessor()
    return np.asarray(processor.postprocess(processor.preprocess(image, *size, name, background))[0])


def _resized_labels(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    height, width = size
    return np.asarray(Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST))
