# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The light that falls on a person: a key light with a shadow, a fill light, and light from all around."""

from dataclasses import dataclass, replace

import numpy as np

from .mesh import normalize


@dataclass(frozen=True)
class Light:
    """Light of a scene.

    Attributes:
        key_direction: (3,) unit vector towards the key light.
        key_colour: (3,) strength of the key light in red, green and blue.
        fill_direction: (3,) unit vector towards the fill light, which throws no shadow.
        fill_colour: (3,) its strength.
        sky: (3,) light that reaches what is turned up.
        ground: (3,) light that reaches what is turned down.
        shadow: share of the key light that a shadow takes, 0 to 1.
        softness: how far the key light reaches around the edge of what it lights, 0 (sun) to 0.5 (large window).
    """

    key_direction: np.ndarray
    key_colour: np.ndarray
    fill_direction: np.ndarray
    fill_colour: np.ndarray
    sky: np.ndarray
    ground: np.ndarray
    shadow: float = 0.75
    softness: float = 0.0

    def turned(self, axes: np.ndarray) -> "Light":
        """The light when its directions were seen from a camera with `axes` (3, 3), see `Camera`."""
        # The sky stays above: only the camera's turn around the vertical counts.
        rightwards = normalize(axes[0] * (1, 1, 0))
        level = np.stack([rightwards, np.cross((0, 0, 1), rightwards), (0, 0, 1)])
        return replace(self, key_direction=self.key_direction @ level, fill_direction=self.fill_direction @ level)

    def at(self, normals: np.ndarray, blocked: np.ndarray) -> np.ndarray:
        """Light (N, 3) on surfaces with unit normals (N, 3) of which `blocked` (N,) in [0, 1] lies in the shadow."""
        facing = (normals @ self.key_direction + self.softness) / (1 + self.softness)
        key = np.maximum(facing, 0) * (1 - self.shadow * blocked)
        fill = np.maximum(normals @ self.fill_direction, 0)
        upwards = 0.5 + 0.5 * normals[:, 2]
        weights = np.stack([key, fill, upwards, np.ones_like(key)], axis=1)
        return weights @ np.stack([self.key_colour, self.fill_colour, self.sky - self.ground, self.ground])


def draw_light(rng: np.random.Generator) -> Light:
    """Draw a light."""
    key_direction = normalize(np.array([rng.uniform(-0.7, 0.7), -1.0, rng.uniform(0.3, 0.9)]))
    return Light(
        key_direction=key_direction,
        key_colour=np.full(3, 0.62),
        fill_direction=normalize(np.array([-key_direction[0], -0.6, 0.1])),
        fill_colour=np.full(3, 0.2),
        sky=np.full(3, 0.52),
        ground=np.full(3, 0.24),
    )
