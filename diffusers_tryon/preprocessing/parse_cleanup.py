# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Putting right what a parser got wrong, by the person's mask and keypoints; and what the keypoints say by themselves."""

import numpy as np

from ..poses import KEYPOINT_NAMES
from .errors import NoShouldersError, PreprocessingWarning


_LEAST_SURE = 0.3
_NEEDED = {"upper": "shoulder", "dress": "shoulder", "lower": "hip"}


def clean_parse(parse: np.ndarray, pose: np.ndarray, person_mask: np.ndarray | None) -> np.ndarray:
    """Labels (H, W) of the person alone."""
    return parse if person_mask is None else np.where(person_mask > _LEAST_SURE, parse, 0).astype(np.uint8)


def facing(pose: np.ndarray) -> str:
    """ "front", "back" or "side", by the shoulders of a pose (18, 3)."""
    right, left = (pose[KEYPOINT_NAMES.index(f"{side}_shoulder")] for side in ("right", "left"))
    if not (right[2] and left[2]):
        return "side"
    return "front" if right[0] < left[0] else "back"


def check_in_view(pose: np.ndarray, parse: np.ndarray, category: str, name: str) -> list[PreprocessingWarning]:
    """Raise a `NoShouldersError` unless the part of the person is in view that a garment of a category goes on."""
    needed = _NEEDED[category]
    if not any(pose[number, 2] > 0 for number, point in enumerate(KEYPOINT_NAMES) if point.endswith(needed)):
        raise NoShouldersError(
            f"No {needed}s were found in `{name}`, which a garment of the category {category!r} goes on. Take a "
            "photograph that shows them."
        )
    return []
