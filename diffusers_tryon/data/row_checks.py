# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with one row of the schema, found without stopping at the first thing."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import datasets
import numpy as np
from PIL import Image, UnidentifiedImageError

from ..composition import AGNOSTIC_FILL, GARMENT_BACKGROUND, GARMENT_LABELS, PARSE_LABELS, label_mask
from ..poses import check_pose
from .schema import CATEGORIES, EXTRA_COLUMNS, GARMENT_TYPES, SCHEMA_VERSION, dataset_features


# The names of what can be wrong; a report counts by them.
MISSING_FILE = "missing file"
MISSING_IMAGE = "missing image"
UNREADABLE_IMAGE = "unreadable image"
WRONG_MODE = "wrong image mode"
SIZE_MISMATCH = "size mismatch"
UNKNOWN_LABEL = "label outside the map"
BAD_KEYPOINTS = "bad keypoints"
NO_KEYPOINTS = "no keypoints"
EMPTY_GARMENT = "empty garment"
NO_PERSON = "no person"
BAD_MASK = "bad agnostic mask"
GARMENT_SHOWS = "agnostic image shows the garment"
AGNOSTIC_DIFFERS = "agnostic image differs from the person"
BAD_VALUE = "bad value"

_IMAGE_MODES = {
    name: feature.mode
    for name, feature in dataset_features(EXTRA_COLUMNS).items()
    if isinstance(feature, datasets.Image)
}
_REQUIRED_IMAGES = [name for name in _IMAGE_MODES if name not in EXTRA_COLUMNS]
_PERSON_SIDE = ("agnostic_image", "agnostic_mask", "person_parse", "target_image", "target_parse")

_LOSSY_FORMATS = ("JPEG", "WEBP")
# A larger share of pixels than a label map's rim.
_SHOWN_SHARE = 0.02
_LEAST_GARMENT_SHARE = 0.001


class _Tolerance(NamedTuple):
    """What still counts as the same picture.

    Attributes:
        colour: difference of a channel.
        share: share of the pixels that may differ by more.
    """

    colour: int
    share: float


# Lossy files ring at the rim of the grey, and with colours of half the resolution more so next to a vivid one.
_EXACT, _LOSSY = _Tolerance(3, _SHOWN_SHARE), _Tolerance(40, 0.05)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a row: its `kind` (one of the names above) and a sentence for the user."""

    kind: str
    message: str


def check_row(row: dict[str, Any]) -> list[Problem]:
    """Find everything that is wrong with a row.

    Args:
        row (`dict[str, Any]`): the columns of `schema.dataset_features`, images as they are stored: a dict of `bytes`
            and `path`, or None; poses as nested lists or arrays; `category` and `garment_type` as names.

    Returns:
        `list[Problem]`: empty for a good row.
    """
    problems = list(_value_problems(row))
    images, is_lossy = {}, {}
    for name, mode in _IMAGE_MODES.items():
        if name in _REQUIRED_IMAGES or row.get(name) is not None:
            try:
                images[name], is_lossy[name] = _read_pixels(row.get(name), name, mode)
            except _ImageError as error:
                problems.append(error.problem)
    problems += _size_problems(images)
    problems += _label_problems(images)
    problems += _pose_problems(row, "person_pose", may_be_flat=False)
    problems += _pose_problems(row, "garment_pose", may_be_flat=row.get("garment_type") == "flat")
    if "garment_image" in images:
        problems += _garment_problems(images["garment_image"], _tolerance(is_lossy, "garment_image"))
    # These compare pixel with pixel.
    if not any(problem.kind in (SIZE_MISMATCH, UNKNOWN_LABEL) for problem in problems):
        problems += _mask_problems(images, _tolerance(is_lossy, "agnostic_mask"))
        problems += _agnostic_problems(images, _tolerance(is_lossy, "agnostic_image", "person_image"))
        problems += _parse_problems(images, row.get("category"))
    return problems


def _tolerance(is_lossy: dict[str, bool], *names: str) -> _Tolerance:
    return _LOSSY if any(is_lossy.get(name) for name in names) else _EXACT


class _ImageError(Exception):
    def __init__(self, kind: str, message: str):
        self.problem = Problem(kind, message)


def _read_pixels(stored: Any, name: str, mode: str) -> tuple[np.ndarray, bool]:
    """The pixels, and whether the file's format keeps them only nearly."""
    if stored is None or (isinstance(stored, dict) and not stored.get("bytes")):
        raise _ImageError(MISSING_IMAGE, f"`{name}` is missing.")
    if not isinstance(stored, dict):
        raise _ImageError(UNREADABLE_IMAGE, f"`{name}` is no picture stored in the row but {str(stored)[:80]!r}.")
    try:
        with Image.open(io.BytesIO(stored["bytes"])) as image:
            if image.mode != mode:
                raise _ImageError(WRONG_MODE, f"`{name}` must have the mode {mode}, got {image.mode}.")
            return np.asarray(image), image.format in _LOSSY_FORMATS
    except UnidentifiedImageError as error:
        raise _ImageError(UNREADABLE_IMAGE, f"`{name}` is no picture.") from error
    except _ImageError:
        raise
    except Exception as error:  # a broken file raises whatever its decoder stumbled on
        raise _ImageError(UNREADABLE_IMAGE, f"`{name}` is broken or cut short: {error}") from error


def _value_problems(row: dict[str, Any]) -> Iterator[Problem]:
    if not row.get("id"):
        yield Problem(BAD_VALUE, "`id` is missing.")
    for name, known in (("category", CATEGORIES), ("garment_type", GARMENT_TYPES)):
        if row.get(name) not in known:
            yield Problem(BAD_VALUE, f"`{name}` must be one of {', '.join(known)}, got {row.get(name)!r}.")
    version = row.get("schema_version")
    if not isinstance(version, int) or not 1 <= version <= SCHEMA_VERSION:
        yield Problem(BAD_VALUE, f"`schema_version` must be 1 to {SCHEMA_VERSION}, got {version!r}.")


def _size_problems(images: dict[str, np.ndarray]) -> Iterator[Problem]:
    for reference, others in (("person_image", _PERSON_SIDE), ("garment_image", ("garment_parse",))):
        for name in others:
            if reference in images and name in images and images[name].shape[:2] != images[reference].shape[:2]:
                (height, width), (expected_height, expected_width) = (
                    images[key].shape[:2] for key in (name, reference)
                )
                yield Problem(
                    SIZE_MISMATCH,
                    f"`{name}` has {width} x {height} pixels, `{reference}` {expected_width} x {expected_height}.",
                )


def _label_problems(images: dict[str, np.ndarray]) -> Iterator[Problem]:
    for name in ("person_parse", "garment_parse", "target_parse"):
        if name in images and images[name].max() >= len(PARSE_LABELS):
            unknown = np.unique(images[name][images[name] >= len(PARSE_LABELS)])
            yield Problem(
                UNKNOWN_LABEL,
                f"`{name}` holds {', '.join(str(label) for label in unknown[:5])}; label ids end at "
                f"{len(PARSE_LABELS) - 1}.",
            )


def _pose_problems(row: dict[str, Any], name: str, may_be_flat: bool) -> Iterator[Problem]:
    try:
        pose = np.asarray(row.get(name), dtype=np.float32)
        check_pose(pose, name)
    except (TypeError, ValueError) as error:
        yield Problem(BAD_KEYPOINTS, str(error))
        return
    has_points = bool((pose[:, 2] > 0).any())
    if not has_points and not may_be_flat:
        yield Problem(NO_KEYPOINTS, f"`{name}` has no visible keypoint.")
    if has_points and may_be_flat:
        yield Problem(BAD_KEYPOINTS, f"`{name}` must be all zeros, the garment is flat.")


def _garment_problems(garment: np.ndarray, tolerance: _Tolerance) -> Iterator[Problem]:
    share = (garment < GARMENT_BACKGROUND - tolerance.colour).any(axis=-1).mean()
    if share < _LEAST_GARMENT_SHARE:
        yield Problem(EMPTY_GARMENT, f"`garment_image` is white but for {share:.2%} of its pixels.")
    elif share == 1:
        yield Problem(EMPTY_GARMENT, "`garment_image` has no white background: the garment is not cut out.")


def _mask_problems(images: dict[str, np.ndarray], tolerance: _Tolerance) -> Iterator[Problem]:
    if "agnostic_mask" not in images:
        return
    mask = images["agnostic_mask"]
    between = (np.minimum(mask, 255 - mask) > tolerance.colour).mean()
    if between > 0:
        yield Problem(BAD_MASK, f"`agnostic_mask` must be 0 or 255, {between:.2%} of its pixels are not.")
    if mask.max() < 128:
        yield Problem(BAD_MASK, "`agnostic_mask` hides nothing.")


def _agnostic_problems(images: dict[str, np.ndarray], tolerance: _Tolerance) -> Iterator[Problem]:
    if "agnostic_mask" not in images or "agnostic_image" not in images:
        return
    hidden = images["agnostic_mask"] >= 128
    agnostic = images["agnostic_image"].astype(int)
    if hidden.any():
        shown = (np.abs(agnostic - AGNOSTIC_FILL) > tolerance.colour).any(axis=-1)[hidden].mean()
        if shown > tolerance.share:
            yield Problem(GARMENT_SHOWS, f"{shown:.1%} of what `agnostic_mask` hides is not grey in `agnostic_image`.")
    if "person_image" in images and not hidden.all():
        difference = np.abs(agnostic - images["person_image"]).max(axis=-1)[~hidden]
        changed = (difference > tolerance.colour).mean()
        if changed > tolerance.share:
            yield Problem(AGNOSTIC_DIFFERS, f"{changed:.1%} of the pixels outside `agnostic_mask` differ.")


def _parse_problems(images: dict[str, np.ndarray], category: str | None) -> Iterator[Problem]:
    if "agnostic_mask" not in images or "person_parse" not in images or category not in CATEGORIES:
        return
    garment = label_mask(images["person_parse"], GARMENT_LABELS[category])
    shown = (garment & (images["agnostic_mask"] < 128)).sum() / max(garment.sum(), 1)
    if shown > _SHOWN_SHARE:
        yield Problem(GARMENT_SHOWS, f"`agnostic_mask` leaves {shown:.1%} of the garment in `person_parse` in sight.")
