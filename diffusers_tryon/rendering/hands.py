# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""How fingers are held, as joint rotations."""

import math
from dataclasses import dataclass

import numpy as np

from .body import BodyShape, cross, rotation, unit


@dataclass(frozen=True)
class _FingerRanges:
    """Degrees by which the three joints of a finger bend, the share of the spread that is taken back, the bend of the
    thumb, and where fingertips end up: share of the hand's length, and metres on the side of the palm."""

    knuckle: tuple[float, float]
    middle: tuple[float, float]
    tip: tuple[float, float]
    closed: tuple[float, float]
    thumb: tuple[float, float]
    tips: tuple[float, float]


_STYLES = {
    "relaxed": _FingerRanges((8, 28), (18, 38), (8, 20), (0.5, 0.9), (8, 22), (0.9, 0.042)),
    "half_closed": _FingerRanges((30, 50), (45, 65), (20, 35), (0.7, 1.0), (15, 30), (0.66, 0.06)),
    "fist": _FingerRanges((62, 78), (82, 96), (40, 60), (0.8, 1.0), (25, 40), (0.5, 0.05)),
    "flat": _FingerRanges((0, 8), (3, 12), (0, 6), (0.5, 1.0), (0, 10), (1.0, 0.014)),
}
HAND_STYLES = tuple(_STYLES)
FINGERTIPS = {name: ranges.tips for name, ranges in _STYLES.items()}


def palm_normal(shape: BodyShape, side: str) -> np.ndarray:
    """The direction (3,) that the palm faces in the rest pose."""
    index, little, middle = (shape.joint(f"finger{number}-1.{side}") for number in (2, 5, 3))
    normal = unit(cross(index - little, middle - shape.joint(f"wrist.{side}")))
    return -normal if side == "L" else normal


def hand_direction(shape: BodyShape, side: str) -> np.ndarray:
    """The direction (3,) from the wrist to the middle knuckle in the rest pose."""
    return unit(shape.joint(f"finger3-1.{side}") - shape.joint(f"wrist.{side}"))


def _between(start: np.ndarray, stop: np.ndarray, share: float) -> np.ndarray:
    """The matrix that turns direction `start` by a share of its way to `stop`."""
    angle = math.degrees(math.acos(min(1.0, max(-1.0, float(start @ stop)))))
    return rotation(cross(start, stop), share * angle)


def pose_hand(rng: np.random.Generator, shape: BodyShape, side: str, style: str) -> dict[str, np.ndarray]:
    """Draw rotations of all fingers of the hand on a side ("L", "R") in one of `HAND_STYLES`."""
    ranges = _STYLES[style]
    palm = palm_normal(shape, side)
    knuckle, middle, tip, closed, thumb = (
        rng.uniform(*limits) for limits in (ranges.knuckle, ranges.middle, ranges.tip, ranges.closed, ranges.thumb)
    )
    rotations = {}
    along_middle = unit(shape.joint(f"finger3-2.{side}") - shape.joint(f"finger3-1.{side}"))
    for finger in (2, 3, 4, 5):
        along = unit(shape.joint(f"finger{finger}-2.{side}") - shape.joint(f"finger{finger}-1.{side}"))
        bend_axis = cross(along, palm)
        # Fingers of a relaxed hand bend more towards the little one.
        more = 1 + 0.1 * (finger - 3) + rng.uniform(-0.08, 0.08)
        side_by_side = np.eye(3) if finger == 3 else _between(along, along_middle, closed)
        rotations[f"finger{finger}-1.{side}"] = side_by_side @ rotation(bend_axis, knuckle * more)
        rotations[f"finger{finger}-2.{side}"] = rotation(bend_axis, middle * more)
        rotations[f"finger{finger}-3.{side}"] = rotation(bend_axis, tip * more)
    along = unit(shape.joint(f"finger1-2.{side}") - shape.joint(f"finger1-1.{side}"))
    rotations[f"finger1-1.{side}"] = _between(along, hand_direction(shape, side), 0.2 + 0.3 * closed)
    # The thumb bends across the palm.
    bend_axis = cross(along, unit(shape.joint(f"finger5-1.{side}") - shape.joint(f"finger2-1.{side}")) + palm)
    rotations[f"finger1-2.{side}"] = rotation(bend_axis, thumb)
    rotations[f"finger1-3.{side}"] = rotation(bend_axis, thumb)
    return rotations
