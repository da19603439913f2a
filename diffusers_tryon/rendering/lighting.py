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


# Brighter than this, colours are compressed as film does, so that folds of white cloth in full light stay visible...
_SHOULDER = 0.8
# ...and darker than this they are lifted, so that those of black cloth do.
_TOE = 0.2
_TOE_EXPONENT = 0.75


def develop(colours: np.ndarray) -> np.ndarray:
    """Lit colours of any brightness to [0, 1]."""
    over = np.maximum(colours - _SHOULDER, 0)
    bright = np.minimum(colours, _SHOULDER) + (1 - _SHOULDER) * (1 - np.exp(-over / (1 - _SHOULDER)))
    dark = _TOE * (np.clip(colours, 0, _TOE) / _TOE) ** _TOE_EXPONENT
    return np.where(colours < _TOE, dark, bright)


@dataclass(frozen=True)
class _LightMode:
    """A kind of light: its share of all pictures, and ranges.

    `key` and `fill` are strengths beside an ambient light of 1. `azimuth` (degrees to either side of the camera) and
    `elevation` (degrees) say where the key light stands. `warmth` is -1 for a blue key light, 1 for an orange one;
    the ambient light has the opposite part of `contrast` of it.
    """

    share: float
    key: tuple[float, float]
    fill: tuple[float, float]
    azimuth: tuple[float, float]
    elevation: tuple[float, float]
    softness: tuple[float, float]
    shadow: tuple[float, float]
    warmth: tuple[float, float]
    contrast: float = 0.0


_LIGHT_MODES = {
    "studio": _LightMode(0.34, (0.5, 1.1), (0.2, 0.5), (0, 45), (15, 45), (0.2, 0.5), (0.3, 0.6), (-0.2, 0.3)),
    "window": _LightMode(0.18, (0.9, 1.7), (0.05, 0.3), (35, 80), (5, 30), (0.25, 0.5), (0.4, 0.7), (-0.6, 0.3), 0.5),
    "overcast": _LightMode(0.14, (0.1, 0.4), (0.0, 0.2), (0, 60), (50, 80), (0.4, 0.5), (0.1, 0.4), (-0.6, 0.1)),
    "sun": _LightMode(0.16, (1.3, 2.2), (0.05, 0.25), (10, 75), (25, 60), (0.0, 0.05), (0.75, 0.95), (0.1, 0.7), 0.6),
    "lamp": _LightMode(0.12, (0.5, 1.3), (0.1, 0.4), (0, 70), (35, 70), (0.1, 0.3), (0.5, 0.8), (0.3, 1.0), 0.2),
    "flash": _LightMode(0.06, (1.2, 2.0), (0.0, 0.1), (0, 12), (0, 12), (0.0, 0.1), (0.7, 0.9), (-0.3, 0.2)),
}
# How much an all orange light adds to red, green and blue.
_WARM = np.array([0.13, 0.0, -0.2])
# Light on what faces the camera: the camera's automatic exposure is not perfect.
_EXPOSURE = (0.9, 1.22)
# Directions by which a camera measures the light: from the front, from both sides and a little from above.
_METERED = normalize(np.array([(0.0, -1.0, 0.2), (0.6, -1.0, 0.1), (-0.6, -1.0, 0.1)]))


def _tint(warmth: float) -> np.ndarray:
    return 1 + warmth * _WARM


def draw_light(rng: np.random.Generator) -> Light:
    """Draw a light, from a soft studio to hard sun, exposed so that what faces the camera is neither dark nor burnt.

    Directions are as seen from the camera: x to the right of the picture, y into it.
    """
    shares = [mode.share for mode in _LIGHT_MODES.values()]
    mode = _LIGHT_MODES[str(rng.choice(list(_LIGHT_MODES), p=shares))]
    key, fill, azimuth, elevation, softness, shadow, warmth = (
        rng.uniform(*limits)
        for limits in (
            mode.key, mode.fill, mode.azimuth, mode.elevation, mode.softness, mode.shadow, mode.warmth
        )
    )  # fmt: skip
    side = rng.choice([-1, 1])
    around, up = np.radians(side * azimuth), np.radians(elevation)
    key_direction = np.array([np.sin(around) * np.cos(up), -np.cos(around) * np.cos(up), np.sin(up)])
    ambient = _tint(-mode.contrast * warmth)
    light = Light(
        key_direction=key_direction,
        key_colour=key * _tint(warmth),
        fill_direction=normalize(np.array([-side * rng.uniform(0.4, 1.0), -0.7, 0.1])),
        fill_colour=fill * ambient,
        sky=rng.uniform(1.05, 1.3) * ambient,
        ground=rng.uniform(0.6, 0.85) * ambient,
        shadow=float(shadow),
        softness=float(softness),
    )
    exposure = rng.uniform(*_EXPOSURE) / light.at(_METERED, np.zeros(len(_METERED))).mean()
    scaled = {name: exposure * getattr(light, name) for name in ("key_colour", "fill_colour", "sky", "ground")}
    return replace(light, **scaled)
