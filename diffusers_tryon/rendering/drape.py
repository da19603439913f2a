# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""How cloth hangs: the outline of a body at every height, and the outline of cloth that falls over it."""

from dataclasses import dataclass, replace

import numpy as np

from .body import BodyShape
from .levels import Landmarks, landmarks
from .shells import load_shell


# The outline is sampled in so many directions, and at so many heights between the ankles and the armpits.
_DIRECTIONS = 32
_HEIGHTS = 52
# Directions around one that can bound the convex outline there.
_NEARBY = 6


@dataclass(frozen=True)
class Profile:
    """Distance from a vertical axis by height and direction.

    Attributes:
        top: height of the first row, in metres.
        step: metres from a row down to the next.
        axis: y of the axis, which passes through x = 0.
        radii: (K, A) metres; direction 0 is the front, directions turn to the left.
    """

    top: float
    step: float
    axis: float
    radii: np.ndarray

    @property
    def heights(self) -> np.ndarray:
        """Height (K,) of every row."""
        return self.top - self.step * np.arange(len(self.radii))

    def radius_at(self, angle: np.ndarray, height: np.ndarray) -> np.ndarray:
        """Distance from the axis (N,) at angles (0 front, positive to the left) and heights (N,)."""
        rows, columns = self.radii.shape
        down = np.clip((self.top - height) / self.step, 0, rows - 1.001)
        turn = angle * (columns / (2 * np.pi))
        row, column = down.astype(int), np.floor(turn).astype(int)
        down, turn = down - row, turn - column
        column, following = column % columns, (column + 1) % columns
        upper = self.radii[row, column] * (1 - turn) + self.radii[row, following] * turn
        lower = self.radii[row + 1, column] * (1 - turn) + self.radii[row + 1, following] * turn
        return upper * (1 - down) + lower * down

    def polar(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Angle and distance (N,) of points (N, 3) around the axis."""
        forward = self.axis - points[:, 1]
        return np.arctan2(points[:, 0], forward), np.hypot(points[:, 0], forward)

    def hang(
        self, ease: float, fall: np.ndarray | float, below: float = np.inf, over: "Profile | None" = None
    ) -> "Profile":
        """The outline of cloth over this body.

        Args:
            ease (`float`): metres between body and cloth.
            fall: metres outwards per metre downwards, a number or one for every row (K,).
            below (`float`): above this height the cloth follows the body.
            over (`Profile`, *optional*): clothes under this cloth.
        """
        body = self.radii + ease
        if over is not None:
            body = np.maximum(body, over.radii + 0.006)
        step = np.broadcast_to(np.asarray(fall, dtype=np.float64) * self.step, len(body))
        # Rows are interpolated: the first one that hangs lies a step lower.
        hanging = self.heights < below - self.step
        radii = [body[0]]
        for row in range(1, len(body)):
            radii.append(np.maximum(body[row], radii[-1] + step[row]) if hanging[row] else body[row])
        return replace(self, radii=np.stack(radii))


@dataclass(frozen=True)
class Dummy:
    """The tailor's dummy of one body, and what is measured on it once for all garments.

    Attributes:
        shape: the body.
        points, normals: (V, 3) of the vertices of `load_shell()`.
        marks: where the body's parts are.
        profile: its convex outline without the arms, legs together.
    """

    shape: BodyShape
    points: np.ndarray
    normals: np.ndarray
    marks: Landmarks
    profile: Profile


def _convex_outline(points: np.ndarray, marks: Landmarks) -> Profile:
    """Radii of the convex hull of thin slices of `points` (N, 3)."""
    top = marks.armpit[2] + 0.02
    step = (top - marks.ankle[2]) / (_HEIGHTS - 1)
    axis = float(marks.spine[1])
    angles = np.arange(_DIRECTIONS) * (2 * np.pi / _DIRECTIONS)
    points = points[np.argsort(-points[:, 2], kind="stable")]
    offset = np.stack([points[:, 0], axis - points[:, 1]], axis=1)
    reach = offset @ np.stack([np.sin(angles), np.cos(angles)])
    # Vertices are hardly denser than slices: a slice counts all between its neighbours.
    heights = top - step * np.arange(_HEIGHTS)
    ends = np.searchsorted(-points[:, 2], np.stack([-heights - step, -heights + step], axis=1).reshape(-1))
    support = np.maximum.reduceat(reach, np.minimum(ends, len(points) - 1), axis=0)[::2]
    nearby = np.arange(-_NEARBY, _NEARBY + 1)
    tangents = support[:, (np.arange(_DIRECTIONS)[:, None] + nearby) % _DIRECTIONS]
    radii = (tangents / np.cos(nearby * (2 * np.pi / _DIRECTIONS))).min(axis=2)
    padded = np.concatenate([radii[:1], radii, radii[-1:]])
    return Profile(top, step, axis, (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4)


def measure(shape: BodyShape) -> Dummy:
    """Make the dummy of a body."""
    shell = load_shell()
    points = shell.points(shape)
    marks = landmarks(shape, points)
    profile = _convex_outline(points[shell.trunk], marks)
    return Dummy(shape, points, shell.normals(points), marks, profile)
