# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Procedural cloth: patterns and emblems, evaluated at texture coordinates in metres.

The first coordinate runs around the body, 0 at the front; the second upwards from the hips, 0.6 at the neck.
A pattern is a function `make(rng)` that draws its parameters and returns `mix(u, v, width)`: for every point how much
of the second and of the third colour lies over the first, averaged over `width` metres where that is fine enough to
matter. To add one, write it and name it in `PATTERNS`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont


Mix = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

_CLOTH_COLOURS = np.array(
    [
        (235, 235, 230), (25, 27, 33), (180, 30, 40), (28, 60, 120), (30, 110, 80), (230, 180, 40), (120, 80, 150),
        (240, 140, 150), (90, 150, 200), (110, 75, 50), (90, 90, 95), (245, 225, 200), (235, 110, 40), (40, 150, 150),
        (150, 190, 90), (95, 20, 45),
    ]
) / 255  # fmt: skip
_EMBLEM_SIZE = 256
# Hem, cuffs and neckline end in a darker seam.
_SEAM_WIDTH = 0.006
_SEAM_SHADE = 0.82
# Where emblems sit, in metres above the hips of a torso of 0.6 m (see `garments`).
_EMBLEM_HEIGHT = 0.4


@dataclass(frozen=True)
class Emblem:
    """A picture on the chest: RGBA (256, 256, 4) float, its width in metres, its horizontal place in metres."""

    picture: np.ndarray
    width: float
    offset: float


@dataclass(frozen=True)
class Print:
    """How a cloth looks: three colours (3, 3) in [0, 1], a pattern, maybe an emblem."""

    colours: np.ndarray
    mix: Mix
    emblem: Emblem | None

    def colour_at(self, points: np.ndarray, edge_distance: np.ndarray, width: np.ndarray) -> np.ndarray:
        """Colour (N, 3) at texture coordinates `points` (N, 2 or more), `edge_distance` (N,) metres from the edge of
        the cloth, averaged over about `width` (N,) metres."""
        first, second, third = self.colours
        second_share, third_share = self.mix(points[:, 0], points[:, 1], width)
        colour = first + second_share[:, None] * (second - first)
        colour = colour + third_share[:, None] * (third - colour)
        colour *= np.where(edge_distance < _SEAM_WIDTH, _SEAM_SHADE, 1)[:, None]
        if self.emblem is None:
            return colour
        u = (points[:, 0] - self.emblem.offset) / self.emblem.width + 0.5
        v = 0.5 - (points[:, 1] - _EMBLEM_HEIGHT) / self.emblem.width
        inside = (u > 0) & (u < 1) & (v > 0) & (v < 1)
        columns, rows = (u[inside] * _EMBLEM_SIZE).astype(int), (v[inside] * _EMBLEM_SIZE).astype(int)
        pixels = self.emblem.picture[rows, columns]
        colour[inside] += pixels[:, 3:] * (pixels[:, :3] - colour[inside])
        return colour


def smooth_noise(grid: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Noise at (u, v), in units of grid cells, by smooth interpolation in a square `grid` that repeats."""
    size = len(grid)
    column, row = np.floor(u).astype(int), np.floor(v).astype(int)
    right, down = u - column, v - row
    right, down = right * right * (3 - 2 * right), down * down * (3 - 2 * down)
    column, row = column % size, row % size
    next_column, next_row = (column + 1) % size, (row + 1) % size
    upper = grid[row, column] * (1 - right) + grid[row, next_column] * right
    lower = grid[next_row, column] * (1 - right) + grid[next_row, next_column] * right
    return upper * (1 - down) + lower * down


def _band(position: np.ndarray, share: float, width: np.ndarray) -> np.ndarray:
    """1 in the first `share` of every period of 1, else 0, averaged over `width` periods."""

    def integral(end: np.ndarray) -> np.ndarray:
        whole = np.floor(end)
        return whole * share + np.minimum(end - whole, share)

    width = np.maximum(width, 1e-3)
    return np.clip((integral(position + width / 2) - integral(position - width / 2)) / width, 0, 1)


def _nothing(u: np.ndarray) -> np.ndarray:
    return np.zeros_like(u)


def _plain(rng: np.random.Generator) -> Mix:
    return lambda u, v, width: (_nothing(u), _nothing(u))


def _stripes(degrees: float, share: tuple[float, float]) -> Callable[[np.random.Generator], Mix]:
    """Stripes that run at `degrees` to the horizontal; the share of the second colour lies in the range `share`."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))

    def make(rng: np.random.Generator) -> Mix:
        period, part = rng.uniform(0.04, 0.14), rng.uniform(*share)
        return lambda u, v, width: (_band((v * cosine - u * sine) / period, part, width / period), _nothing(u))

    return make


def _check(rng: np.random.Generator) -> Mix:
    period = rng.uniform(0.04, 0.14)
    return lambda u, v, width: (
        0.5 * _band(u / period, 0.5, width / period) + 0.5 * _band(v / period, 0.5, width / period),
        _nothing(u),
    )


def _tartan(rng: np.random.Generator) -> Mix:
    period, share, line = rng.uniform(0.08, 0.18), rng.uniform(0.3, 0.5), rng.uniform(0.04, 0.1)

    def mix(u: np.ndarray, v: np.ndarray, width: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ground = 0.5 * _band(u / period, share, width / period) + 0.5 * _band(v / period, share, width / period)
        lines = np.maximum(
            _band(u / period + 0.3, line, width / period), _band(v / period + 0.3, line, width / period)
        )
        return ground, 0.8 * lines

    return mix


def _dots(rng: np.random.Generator) -> Mix:
    period, radius = rng.uniform(0.025, 0.07), rng.uniform(0.2, 0.38)

    def mix(u: np.ndarray, v: np.ndarray, width: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        row = np.floor(v / period)
        across, up = (u / period + 0.5 * (row % 2)) % 1 - 0.5, (v / period) % 1 - 0.5
        return (across**2 + up**2 < radius**2).astype(np.float64), _nothing(u)

    return mix


def _diamonds(rng: np.random.Generator) -> Mix:
    side = rng.uniform(0.06, 0.14)
    height = side * rng.uniform(1.0, 1.7)

    def mix(u: np.ndarray, v: np.ndarray, width: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        first, second = np.floor(u / side + v / height), np.floor(u / side - v / height)
        return ((first + second) % 2 == 0).astype(np.float64), _nothing(u)

    return mix


def _zigzag(rng: np.random.Generator) -> Mix:
    period, side, slope = rng.uniform(0.05, 0.11), rng.uniform(0.04, 0.09), rng.uniform(0.4, 1.0)

    def mix(u: np.ndarray, v: np.ndarray, width: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _band((v + slope * np.abs((u / side) % 2 - 1) * side) / period, 0.5, width / period), _nothing(u)

    return mix


def _colour_block(rng: np.random.Generator) -> Mix:
    edge, band = rng.uniform(0.2, 0.42), rng.uniform(0.04, 0.15)

    def mix(u: np.ndarray, v: np.ndarray, width: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (v > edge).astype(np.float64), ((v < edge) & (v > edge - band)).astype(np.float64) * (band > 0.09)

    return mix


def _gradient(rng: np.random.Generator) -> Mix:
    low, high = rng.uniform(0.0, 0.15), rng.uniform(0.35, 0.55)
    return lambda u, v, width: (np.clip((v - low) / (high - low), 0, 1), _nothing(u))


def _camouflage(rng: np.random.Generator) -> Mix:
    grids, scale = rng.standard_normal((2, 16, 16)), rng.uniform(0.03, 0.06)

    def mix(u: np.ndarray, v: np.ndarray, width: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        blobs = [smooth_noise(grid, u / scale + 0.3 * number, v / scale) for number, grid in enumerate(grids)]
        return (blobs[0] > 0.1).astype(np.float64), (blobs[1] > 0.35).astype(np.float64)

    return mix


def _flowers(rng: np.random.Generator) -> Mix:
    period, petals, offsets = rng.uniform(0.05, 0.1), int(rng.integers(4, 8)), rng.uniform(-0.15, 0.15, (8, 8, 2))

    def mix(u: np.ndarray, v: np.ndarray, width: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        column, row = np.floor(u / period).astype(int) % 8, np.floor(v / period).astype(int) % 8
        across = (u / period) % 1 - 0.5 + offsets[row, column, 0]
        up = (v / period) % 1 - 0.5 + offsets[row, column, 1]
        radius, angle = np.hypot(across, up), np.arctan2(up, across) + 2 * math.pi * offsets[row, column, 0]
        blossom = radius < 0.22 + 0.1 * np.cos(petals * angle)
        return blossom.astype(np.float64), (radius < 0.09).astype(np.float64)

    return mix


PATTERNS: dict[str, Callable[[np.random.Generator], Mix]] = {
    "plain": _plain,
    "horizontal_stripes": _stripes(0, (0.4, 0.6)),
    "breton_stripes": _stripes(0, (0.2, 0.35)),
    "vertical_stripes": _stripes(90, (0.3, 0.6)),
    "diagonal_stripes": _stripes(35, (0.3, 0.6)),
    "check": _check,
    "tartan": _tartan,
    "dots": _dots,
    "diamonds": _diamonds,
    "zigzag": _zigzag,
    "colour_block": _colour_block,
    "gradient": _gradient,
    "camouflage": _camouflage,
    "flowers": _flowers,
}
_PATTERN_WEIGHTS = {"plain": 5.0, "horizontal_stripes": 2.0, "colour_block": 2.0}
# An emblem is legible on these.
_CALM_PATTERNS = ("plain", "colour_block", "horizontal_stripes", "gradient")


def _draw_emblem(rng: np.random.Generator, colour: tuple[int, ...], ground: tuple[int, ...]) -> np.ndarray:
    """An RGBA picture (256, 256, 4) in [0, 1]: letters, a ring, a star, a polygon or a bar in `colour`."""
    picture = Image.new("RGBA", (_EMBLEM_SIZE, _EMBLEM_SIZE), (0, 0, 0, 0))
    draw = ImageDraw.Draw(picture)
    kind = rng.choice(["letters", "ring", "star", "polygon", "bar", "heart"])
    if kind == "letters":
        letters = "".join(rng.choice(list("ABCDEFGHKLMNPRSTUVXYZ0123456789"), rng.integers(1, 5)))
        font = ImageFont.load_default(220 / max(len(letters) * 0.62, 1))
        draw.text((128, 128), letters, fill=colour, font=font, anchor="mm")
    elif kind == "ring":
        draw.ellipse((30, 30, 226, 226), fill=colour)
        draw.ellipse((80, 80, 176, 176), fill=ground)
    elif kind == "star":
        tips = int(rng.integers(4, 9))
        radii = [110 if corner % 2 == 0 else 50 for corner in range(2 * tips)]
        angles = [corner * math.pi / tips for corner in range(2 * tips)]
        draw.polygon([(128 + r * math.sin(a), 128 - r * math.cos(a)) for r, a in zip(radii, angles)], fill=colour)
    elif kind == "polygon":
        angles = np.sort(rng.uniform(0, 2 * math.pi, 6))
        radii = rng.uniform(60, 120, 6)
        draw.polygon([(128 + r * math.cos(a), 128 + r * math.sin(a)) for r, a in zip(radii, angles)], fill=colour)
    elif kind == "bar":
        draw.rectangle((10, 100, 246, 156), fill=colour)
    else:
        turn = np.linspace(0, 2 * math.pi, 60)
        across = 16 * np.sin(turn) ** 3
        up = 13 * np.cos(turn) - 5 * np.cos(2 * turn) - 2 * np.cos(3 * turn) - np.cos(4 * turn)
        draw.polygon([(128 + 7 * x, 120 - 7 * y) for x, y in zip(across, up)], fill=colour)
    return np.asarray(picture, dtype=np.float64) / 255


def _to_rgba(colour: np.ndarray) -> tuple[int, ...]:
    return (*(int(value * 255) for value in colour), 255)


def draw_print(rng: np.random.Generator) -> Print:
    """Draw a random cloth: colours, pattern, and on calm patterns often an emblem."""
    chosen = rng.choice(len(_CLOTH_COLOURS), 3, replace=False)
    colours = np.clip(_CLOTH_COLOURS[chosen] + rng.normal(0, 0.05, (3, 3)), 0, 1)
    weights = np.array([_PATTERN_WEIGHTS.get(name, 1.0) for name in PATTERNS])
    name = str(rng.choice(list(PATTERNS), p=weights / weights.sum()))
    mix = PATTERNS[name](rng)
    emblem = None
    if name in _CALM_PATTERNS and rng.random() < 0.7:
        picture = _draw_emblem(rng, _to_rgba(colours[2]), _to_rgba(colours[0]))
        emblem = Emblem(picture, width=rng.uniform(0.12, 0.24), offset=rng.uniform(-0.04, 0.04))
    return Print(colours, mix, emblem)
