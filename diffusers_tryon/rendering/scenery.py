# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What walls and floors look like, and the things before walls: doors, windows, posters, shelves, plants, houses.

All of it is flat: colours at coordinates in metres, u to the right and v upwards (on a floor away from the camera).
A texture is a function `make(rng)` that draws its parameters and returns how much of the second colour lies over the
first at every point. To add one, write it and name it in `WALL_TEXTURES`, `FLOOR_TEXTURES` or both.
"""

import colorsys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .pictures import smooth_noise


Mix = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Texture:
    """Two colours (3,) in [0, 1] and the share of the second one at points of a plane."""

    first: np.ndarray
    second: np.ndarray
    mix: Mix

    def colour_at(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Colours (N, 3) at coordinates (N,) in metres."""
        return self.first + self.mix(u, v)[:, None] * (self.second - self.first)


@dataclass(frozen=True)
class Panel:
    """A rectangle or an ellipse before a wall.

    Attributes:
        centre: (2,) u and v in metres.
        half: (2,) half of its width and height in metres.
        texture: its colours, by coordinates from its centre.
        round: an ellipse.
        turn: degrees by which it is turned counter-clockwise.
        opacity: share by which it covers what is behind it.
    """

    centre: tuple[float, float]
    half: tuple[float, float]
    texture: Texture
    round: bool = False
    turn: float = 0.0
    opacity: float = 1.0

    def paint(self, colours: np.ndarray, u: np.ndarray, v: np.ndarray) -> None:
        """Draw over the colours (N, 3) of points with coordinates (N,)."""
        across, up = u - self.centre[0], v - self.centre[1]
        if self.turn:
            cosine, sine = np.cos(np.radians(self.turn)), np.sin(np.radians(self.turn))
            across, up = across * cosine + up * sine, up * cosine - across * sine
        if self.round:
            inside = (across / self.half[0]) ** 2 + (up / self.half[1]) ** 2 < 1
        else:
            inside = (np.abs(across) < self.half[0]) & (np.abs(up) < self.half[1])
        inside = np.nonzero(inside)[0]
        own = self.texture.colour_at(across[inside], up[inside])
        colours[inside] += self.opacity * (own - colours[inside])


def plain(colour: np.ndarray) -> Texture:
    """A texture of one colour."""
    return Texture(colour, colour, lambda u, v: np.zeros_like(u))


def hsv(hue: float, saturation: float, value: float) -> np.ndarray:
    return np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value))


def draw_muted_colour(rng: np.random.Generator, value: tuple[float, float] = (0.3, 0.92)) -> np.ndarray:
    """A colour as walls and furniture have it: mostly white, grey, beige; now and then a strong one."""
    kind = rng.random()
    if kind < 0.4:
        return hsv(rng.uniform(0.05, 0.16), rng.uniform(0.02, 0.3), rng.uniform(*value))
    saturation = rng.uniform(0.0, 0.25) if kind < 0.87 else rng.uniform(0.25, 0.65)
    return hsv(rng.random(), saturation, rng.uniform(*value))


def draw_wood_colour(rng: np.random.Generator) -> np.ndarray:
    return hsv(rng.uniform(0.05, 0.11), rng.uniform(0.25, 0.65), rng.uniform(0.25, 0.8))


def _near(position: np.ndarray, period: float, width: float) -> np.ndarray:
    """1 within `width` of every multiple of `period`, else 0."""
    return (np.abs((position / period + 0.5) % 1 - 0.5) * period < width / 2).astype(np.float64)


def _smooth(rng: np.random.Generator) -> Mix:
    grid, scale = rng.standard_normal((8, 8)), rng.uniform(0.5, 1.5)
    return lambda u, v: 0.25 * smooth_noise(grid, u / scale, v / scale)


def _rough(rng: np.random.Generator) -> Mix:
    grid, scale = np.clip(rng.standard_normal((16, 16)), -2, 2), rng.uniform(0.1, 0.4)
    return lambda u, v: (
        0.3 * smooth_noise(grid, u / scale, v / scale) + 0.2 * smooth_noise(grid, 3.7 * u / scale, 3.7 * v / scale)
    )


def _wallpaper(rng: np.random.Generator) -> Mix:
    period, share = rng.uniform(0.08, 0.3), rng.uniform(0.2, 0.5)
    return lambda u, v: 0.6 * ((u / period) % 1 < share)


def _wainscot(rng: np.random.Generator) -> Mix:
    height = rng.uniform(0.8, 1.2)
    return lambda u, v: np.where(v < height, 1.0 - 0.4 * _near(u, 0.4, 0.02), 0.0)


def _tones(rng: np.random.Generator) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """A random tone in [0, 1] for every column and row of a grid."""
    table = rng.random((16, 16))
    return lambda column, row: table[np.floor(column).astype(int) % 16, np.floor(row).astype(int) % 16]


def _tiles(rng: np.random.Generator) -> Mix:
    size, tones = rng.uniform(0.15, 0.6), _tones(rng)
    joint = 0.05 * size + 0.012
    return lambda u, v: np.maximum(
        np.maximum(_near(u, size, joint), _near(v, size, joint)), 0.25 * tones(u / size, v / size)
    )


def _bricks(rng: np.random.Generator) -> Mix:
    width, tones = rng.uniform(0.2, 0.3), _tones(rng)
    height = 0.34 * width

    def mix(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        row = np.floor(v / height)
        shifted = u + 0.5 * width * (row % 2)
        joints = np.maximum(_near(shifted, width, 0.022), _near(v, height, 0.02))
        return np.maximum(joints, 0.5 * tones(shifted / width, row))

    return mix


def _planks(rng: np.random.Generator) -> Mix:
    width, length, tones, offsets = rng.uniform(0.08, 0.2), rng.uniform(0.8, 2.0), _tones(rng), rng.random(16)

    def mix(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        row = np.floor(u / width)
        along = v / length + offsets[row.astype(int) % 16]
        joints = np.maximum(_near(u, width, 0.014), _near(along * length, length, 0.014))
        return np.maximum(0.8 * joints, 0.6 * tones(row, along))

    return mix


def _checkers(rng: np.random.Generator) -> Mix:
    size = rng.uniform(0.25, 0.6)
    return lambda u, v: (np.floor(u / size) + np.floor(v / size)) % 2


def _facade(rng: np.random.Generator) -> Mix:
    across, up = rng.uniform(1.2, 3.0), rng.uniform(2.5, 3.5)
    wide, high = rng.uniform(0.3, 0.7), rng.uniform(0.4, 0.7)
    return lambda u, v: (np.abs((u / across) % 1 - 0.5) < wide / 2) * 1.0 * (np.abs((v / up) % 1 - 0.5) < high / 2)


def _leaves(rng: np.random.Generator) -> Mix:
    grid, scale = rng.standard_normal((16, 16)), rng.uniform(0.2, 0.5)
    return lambda u, v: np.clip(
        0.5 + 0.5 * smooth_noise(grid, u / scale, v / scale) + 0.4 * smooth_noise(grid, 3 * u / scale, 3 * v / scale),
        0,
        1,
    )


WALL_TEXTURES = {
    "smooth": _smooth,
    "rough": _rough,
    "wallpaper": _wallpaper,
    "wainscot": _wainscot,
    "tiles": _tiles,
    "bricks": _bricks,
    "planks": _planks,
}
_WALL_SHARES = (0.4, 0.15, 0.1, 0.07, 0.08, 0.12, 0.08)
FLOOR_TEXTURES = {
    "smooth": _smooth,
    "rough": _rough,
    "planks": _planks,
    "tiles": _tiles,
    "checkers": _checkers,
}
_FLOOR_SHARES = (0.2, 0.2, 0.32, 0.22, 0.06)


def _darker(colour: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return colour * rng.uniform(0.6, 0.9)


def draw_wall(rng: np.random.Generator) -> Texture:
    """Draw a wall."""
    name = str(rng.choice(list(WALL_TEXTURES), p=_WALL_SHARES))
    colour = draw_muted_colour(rng, (0.35, 0.95))
    if name == "bricks":
        colour = hsv(rng.uniform(0.0, 0.08), rng.uniform(0.1, 0.6), rng.uniform(0.4, 0.85))
    if name == "planks":
        colour = draw_wood_colour(rng)
    return Texture(colour, _darker(colour, rng), WALL_TEXTURES[name](rng))


def draw_floor(rng: np.random.Generator) -> Texture:
    """Draw the floor of a room."""
    name = str(rng.choice(list(FLOOR_TEXTURES), p=_FLOOR_SHARES))
    colour = draw_wood_colour(rng) if name == "planks" else draw_muted_colour(rng, (0.25, 0.8))
    return Texture(colour, _darker(colour, rng), FLOOR_TEXTURES[name](rng))


def _box(left: float, bottom: float, width: float, height: float, texture: Texture) -> Panel:
    return Panel((left + width / 2, bottom + height / 2), (width / 2, height / 2), texture)


def _door(rng: np.random.Generator, left: float) -> list[Panel]:
    width, height, colour = rng.uniform(0.75, 1.0), rng.uniform(2.0, 2.2), draw_muted_colour(rng)
    frame, inset = plain(colour * 0.7), plain(colour * 0.85)
    panels = [_box(left - 0.07, 0, width + 0.14, height + 0.07, frame), _box(left, 0, width, height, plain(colour))]
    for bottom, top in ((0.12, 0.45), (0.52, 0.94)):
        panels.append(_box(left + 0.15, bottom * height, width - 0.3, (top - bottom) * height, inset))
    panels.append(Panel((left + width - 0.08, 1.02), (0.03, 0.03), plain(np.full(3, 0.35)), round=True))
    return panels


def _window(rng: np.random.Generator, left: float) -> list[Panel]:
    width, bottom, height = rng.uniform(0.7, 1.8), rng.uniform(0.6, 1.0), rng.uniform(0.9, 1.5)
    frame = plain(draw_muted_colour(rng, (0.7, 0.95)))
    outside = Texture(hsv(0.58, 0.15, 1.0), hsv(rng.uniform(0.2, 0.6), 0.3, 0.6), lambda u, v: np.clip(0.4 - v, 0, 1))
    panels = [_box(left, bottom, width, height, frame)]
    columns = int(rng.integers(1, 4))
    for column in range(columns):
        pane = width / columns
        panels.append(_box(left + column * pane + 0.04, bottom + 0.05, pane - 0.08, height - 0.1, outside))
    return panels


def _poster(rng: np.random.Generator, left: float) -> list[Panel]:
    width, bottom = rng.uniform(0.3, 0.9), rng.uniform(0.9, 1.5)
    height = width * rng.uniform(0.7, 1.5)
    paper = draw_muted_colour(rng, (0.5, 0.98))
    panels = [
        _box(left - 0.03, bottom - 0.03, width + 0.06, height + 0.06, plain(np.full(3, rng.uniform(0.1, 0.9)))),
        _box(left, bottom, width, height, plain(paper)),
    ]
    for _ in range(int(rng.integers(1, 4))):
        place = left + width * rng.uniform(0.3, 0.7), bottom + height * rng.uniform(0.45, 0.8)
        half = width * rng.uniform(0.1, 0.28), height * rng.uniform(0.06, 0.18)
        panels.append(Panel(place, half, plain(hsv(rng.random(), 0.6, 0.8)), round=bool(rng.random() < 0.5)))
    for line in range(int(rng.integers(0, 4))):
        length = width * rng.uniform(0.4, 0.8)
        panels.append(
            _box(left + 0.1 * width, bottom + (0.08 + 0.07 * line) * height, length, 0.03 * height, plain(paper * 0.3))
        )
    return panels


def _shelf(rng: np.random.Generator, left: float) -> list[Panel]:
    width, wood = rng.uniform(0.6, 1.4), plain(draw_wood_colour(rng))
    panels = []
    for board in range(int(rng.integers(1, 3))):
        bottom, end = 0.7 + rng.uniform(0, 0.3) + 0.5 * board, left + 0.03
        panels.append(_box(left, bottom, width, 0.035, wood))
        while end < left + width - 0.1:
            thick = rng.uniform(0.04, 0.12)
            if rng.random() < 0.8:
                colour = plain(draw_muted_colour(rng, (0.2, 0.9)))
                panels.append(_box(end, bottom + 0.035, thick, rng.uniform(0.12, 0.34), colour))
            end += thick
    return panels


def _cabinet(rng: np.random.Generator, left: float) -> list[Panel]:
    width, height = rng.uniform(0.5, 1.4), rng.uniform(0.4, 1.1)
    colour = draw_wood_colour(rng) if rng.random() < 0.5 else draw_muted_colour(rng)
    panels = [
        _box(left, 0, width, height, plain(colour)),
        _box(left - 0.02, height, width + 0.04, 0.03, plain(colour * 0.7)),
    ]
    rows = int(rng.integers(1, 4))
    for row in range(rows):
        drawer = height / rows
        panels.append(_box(left + 0.03, row * drawer + 0.03, width - 0.06, drawer - 0.05, plain(colour * 0.88)))
    return panels


def _plant(rng: np.random.Generator, left: float) -> list[Panel]:
    pot, height = rng.uniform(0.12, 0.2), rng.uniform(0.4, 1.2)
    middle, top = left + 0.3, 2 * pot
    panels = []
    for _ in range(int(rng.integers(7, 13))):
        tilt = rng.normal(0, 35)
        long = height * rng.uniform(0.3, 0.55)
        place = middle - np.sin(np.radians(tilt)) * long, top + np.cos(np.radians(tilt)) * long
        leaf = plain(hsv(rng.uniform(0.22, 0.4), rng.uniform(0.4, 0.8), rng.uniform(0.2, 0.6)))
        panels.append(Panel(place, (0.14 * long + 0.02, long), leaf, round=True, turn=tilt))
    panels.append(_box(middle - pot, 0, 2 * pot, top, plain(draw_muted_colour(rng))))
    return panels


def _boxes(rng: np.random.Generator, left: float) -> list[Panel]:
    panels, bottom, width = [], 0.0, rng.uniform(0.4, 0.8)
    for _ in range(int(rng.integers(1, 4))):
        height = rng.uniform(0.2, 0.5)
        colour = hsv(0.09, 0.4, rng.uniform(0.5, 0.8)) if rng.random() < 0.6 else draw_muted_colour(rng)
        panels.append(_box(left + rng.uniform(-0.08, 0.08), bottom, width, height, plain(colour)))
        bottom += height
        width *= rng.uniform(0.7, 1.0)
    return panels


_THINGS = (_door, _window, _poster, _poster, _shelf, _cabinet, _plant, _boxes)


def draw_clutter(rng: np.random.Generator, count: int) -> tuple[Panel, ...]:
    """Draw `count` things along a wall, from left to right around the origin."""
    panels: list[Panel] = []
    for left in np.sort(rng.uniform(-2.2, 1.6, count)):
        thing = _THINGS[rng.integers(len(_THINGS))]
        panels += thing(rng, float(left))
    return tuple(panels)


def draw_houses(rng: np.random.Generator) -> tuple[Panel, ...]:
    """Draw the fronts of a street."""
    panels, left = [], -14.0
    while left < 14:
        width, height = rng.uniform(4, 9), rng.uniform(4, 14)
        colour = draw_muted_colour(rng, (0.35, 0.85))
        front = Texture(colour, colour * rng.uniform(0.3, 0.6), _facade(rng))
        panels.append(_box(left, 0, width, height, front))
        panels.append(_box(left, 0, width, 0.9, plain(colour * 0.6)))
        left += width + rng.choice([0, rng.uniform(0.5, 3)])
    return tuple(panels) + draw_trees(rng, int(rng.integers(0, 4)))


def draw_trees(rng: np.random.Generator, count: int) -> tuple[Panel, ...]:
    """Draw trees and bushes."""
    panels = []
    for _ in range(count):
        place, radius = rng.uniform(-8, 8), rng.uniform(0.8, 2.5)
        height = rng.uniform(0.3, 3.0)
        colour = hsv(rng.uniform(0.2, 0.38), rng.uniform(0.3, 0.7), rng.uniform(0.25, 0.6))
        panels.append(_box(place - 0.15, 0, 0.3, height, plain(hsv(0.08, 0.4, 0.3))))
        crown = Texture(colour, colour * 0.5, _leaves(rng))
        panels.append(
            Panel((place, height + 0.6 * radius), (radius, radius * rng.uniform(0.7, 1.2)), crown, round=True)
        )
    return tuple(panels)


def draw_lights(rng: np.random.Generator) -> tuple[Panel, ...]:
    """Draw points of light out of focus: discs."""
    hue, radius = rng.random(), rng.uniform(0.15, 0.5)
    panels = []
    for _ in range(int(rng.integers(10, 26))):
        size = radius * rng.uniform(0.6, 1.1)
        colour = plain(hsv(hue + rng.normal(0, 0.08), rng.uniform(0.1, 0.6), 1.0))
        place = rng.uniform(-4, 4), rng.uniform(0, 4)
        panels.append(Panel(place, (size, size), colour, round=True, opacity=rng.uniform(0.15, 0.6)))
    return tuple(panels)


def draw_foliage(rng: np.random.Generator) -> Texture:
    """Draw a hedge."""
    colour = hsv(rng.uniform(0.2, 0.38), rng.uniform(0.3, 0.65), rng.uniform(0.35, 0.7))
    return Texture(colour, colour * rng.uniform(0.3, 0.6), _leaves(rng))


def draw_open_ground(rng: np.random.Generator) -> Texture:
    """Draw a street, a pavement or grass."""
    kind = rng.random()
    if kind < 0.35:
        colour = hsv(rng.uniform(0.2, 0.3), rng.uniform(0.3, 0.6), rng.uniform(0.3, 0.6))
        return Texture(colour, colour * 0.7, _rough(rng))
    colour = draw_muted_colour(rng, (0.3, 0.7))
    return Texture(colour, colour * 0.85, (_tiles if kind < 0.6 else _rough)(rng))


def draw_sky(rng: np.random.Generator) -> Texture:
    """Draw a sky: paler towards the horizon, or grey."""
    blue = hsv(0.58, rng.uniform(0.0, 0.5), rng.uniform(0.8, 1.0))
    return Texture(np.full(3, 0.95), blue, lambda u, v: np.clip(v / 12, 0, 1))
