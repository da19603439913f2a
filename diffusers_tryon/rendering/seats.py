# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What people sit on: a cube or a stool, as high as the pose needs it."""

from dataclasses import dataclass

import numpy as np

from ..composition import PARSE_IDS
from .body import limb_weight, load_body_asset
from .scenery import draw_muted_colour, draw_wood_colour
from .surfaces import Surface


# Thighs that rise or fall by less than this share of their length are those of somebody who sits.
_SITTING_SLOPE = 0.6
# The seat yields by this many metres.
_GIVE = 0.012
# Shift of the seat, as a share of the way from the knees to the middle of the thighs.
_BACKWARDS = 0.3
_PLATE = 0.05
_LEG = 0.022
_CORNERS = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
# The corners of each side of a cube, and the direction it faces.
_SIDES = tuple(
    (np.nonzero(_CORNERS[:, axis] == sign)[0][[0, 1, 3, 2]], sign * np.eye(3)[axis])
    for axis in range(3)
    for sign in (-1, 1)
)


@dataclass(frozen=True)
class Seat:
    """A seat: half of its width in metres, its colour (3,) in [0, 1], and whether it is a cube or stands on legs."""

    half_width: float
    colour: np.ndarray
    solid: bool


def draw_seat(rng: np.random.Generator) -> Seat:
    """Draw a seat."""
    colour = draw_wood_colour(rng) if rng.random() < 0.5 else draw_muted_colour(rng)
    return Seat(rng.uniform(0.15, 0.2), colour, solid=bool(rng.random() < 0.5))


def sits(keypoints: np.ndarray) -> bool:
    """Whether a person with COCO-17 keypoints (17, 3) in metres sits: both thighs are about level."""
    thighs = keypoints[[13, 14]] - keypoints[[11, 12]]
    return bool((np.abs(thighs[:, 2]) < _SITTING_SLOPE * np.linalg.norm(thighs, axis=1)).all())


def _box(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (24, 3), normals (24, 3) and faces (12, 3) of an upright box."""
    corners = (low + high) / 2 + _CORNERS * (high - low) / 2
    vertices = np.concatenate([corners[numbers] for numbers, _ in _SIDES])
    normals = np.concatenate([np.tile(direction, (4, 1)) for _, direction in _SIDES])
    first = 4 * np.arange(6)[:, None, None]
    faces = (first + np.array([[0, 1, 2], [0, 2, 3]])).reshape(-1, 3)
    return vertices, normals, faces


def seat_surface(seat: Seat, posed: np.ndarray) -> Surface:
    """The seat under a sitting person with posed vertices (V, 3) of the body asset, down to the feet."""
    members = load_body_asset().groups["body"][0]
    body = posed[members]
    seated = body[limb_weight("pelvis", "upperleg01")[members] > 0.6]
    knees = body[limb_weight("lowerleg01")[members] > 0.6].mean(axis=0)
    # Most of the seat is behind the thighs, or it would stick out of a skirt.
    middle = seated.mean(axis=0) - _BACKWARDS * (knees - seated.mean(axis=0))
    floor, top = body[:, 2].min(), seated[:, 2].min() + _GIVE
    low = np.array([*(middle[:2] - seat.half_width), floor])
    high = np.array([*(middle[:2] + seat.half_width), top])
    boxes = [_box(low, high)]
    if not seat.solid:
        boxes = [_box(np.array([*low[:2], top - _PLATE]), high)]
        for corner in _CORNERS[::2, :2]:
            foot = middle[:2] + corner * (seat.half_width - _LEG)
            boxes.append(_box(np.array([*(foot - _LEG), floor]), np.array([*(foot + _LEG), top - _PLATE])))
    vertices, normals, faces = zip(*boxes)
    first = np.cumsum([0] + [len(some) for some in vertices])
    count = first[-1]
    return Surface(
        vertices=np.concatenate(vertices).astype(np.float32),
        normals=np.concatenate(normals).astype(np.float32),
        faces=np.concatenate([some + start for some, start in zip(faces, first)]),
        labels=np.full(count, PARSE_IDS["background"], np.uint8),
        colours=np.tile(seat.colour, (count, 1)).astype(np.float32),
    )


def points_inside(seat: Surface) -> np.ndarray:
    """Points (N, 3) spread over the space that a seat takes, for its shadow."""
    low, high = seat.vertices.min(axis=0), seat.vertices.max(axis=0)
    steps = np.stack(np.meshgrid(*[np.linspace(0, 1, 12)] * 3), axis=-1).reshape(-1, 3)
    return low + steps * (high - low)
