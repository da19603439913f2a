# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What is drawn on the front of a garment: words, logos, pictures, and details like plackets, buttons and pockets.

They are drawn on a panel: a picture of the front in cloth coordinates (see `cloth_coordinates`), upright as one sees
it, the wearer's right on the left.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .pictures import Pyramid, draw_landscape, make_pyramid


_TEXEL = 0.002
_COLUMNS, _ROWS = 256, 384
_LEVELS = 5
# Cloth coordinates of the panel's upper left corner.
_LEFT, _TOP = -0.256, 0.64
_SYLLABLES = "LA MO RI TE NO VA KI SU DEL OR AN ZE FI BRO CAL US WIN EX UR GO HAL PE STY TRA".split()
_WORDS = (
    "CITY CLUB 1985 SURF WILD STAR TEAM NORTH SUN PARIS TOKYO RIO LOVE DREAM RUN ROCK JAZZ BEACH YALE HIKE".split()
)

Colour = tuple[int, int, int, int]


@dataclass(frozen=True)
class Panel:
    """The part of the front on which something is drawn: its upper left corner (u, v), and a picture in premultiplied
    RGBA at several resolutions, `_TEXEL` metres per pixel."""

    left: float
    top: float
    pyramid: Pyramid

    def over(self, colour: np.ndarray, u: np.ndarray, v: np.ndarray, width: np.ndarray, shown: np.ndarray) -> None:
        """Paint over `colour` (N, 3), in place, at cloth coordinates u and v (N,) where `shown` (N,)."""
        column, row = (u - self.left) * (1 / _TEXEL), (self.top - v) * (1 / _TEXEL)
        in_columns, in_rows = (column > 0) & (column < self.pyramid.columns), (row > 0) & (row < self.pyramid.rows)
        inside = np.nonzero(shown & in_columns & in_rows)[0]
        pixels = self.pyramid.at(row[inside], column[inside], width[inside] * (1 / _TEXEL))
        colour[inside] += pixels[:, :3] - pixels[:, 3:] * colour[inside]


class PanelDrawing:
    """A panel while it is drawn; positions and sizes are in metres of cloth."""

    def __init__(self):
        self._picture = Image.new("RGBA", (_COLUMNS, _ROWS), (0, 0, 0, 0))
        self._draw = ImageDraw.Draw(self._picture)

    @staticmethod
    def _pixels(points: np.ndarray | list[tuple[float, float]]) -> list[tuple[float, float]]:
        return [((u - _LEFT) / _TEXEL, (_TOP - v) / _TEXEL) for u, v in points]

    def line(self, points: list[tuple[float, float]], colour: Colour, width: float = 0.003) -> None:
        self._draw.line(self._pixels(points), fill=colour, width=max(1, round(width / _TEXEL)))

    def polygon(self, points: np.ndarray | list[tuple[float, float]], colour: Colour) -> None:
        self._draw.polygon(self._pixels(points), fill=colour)

    def disc(self, centre: tuple[float, float], radius: float, colour: Colour) -> None:
        (x, y), size = self._pixels([centre])[0], radius / _TEXEL
        self._draw.ellipse((x - size, y - size, x + size, y + size), fill=colour)

    def text(self, words: str, centre: tuple[float, float], width: float, colour: Colour) -> None:
        """Write one line, `width` metres wide."""
        font = _font(int(np.clip(width / _TEXEL / (0.62 * len(words)), 6, 90)))
        self._draw.text(self._pixels([centre])[0], words, fill=colour, font=font, anchor="mm")

    def picture(self, picture: np.ndarray, centre: tuple[float, float], width: float) -> None:
        """Place a picture (S, S, 3) in [0, 1]."""
        size = max(2, round(width / _TEXEL))
        image = Image.fromarray((np.clip(picture, 0, 1) * 255).astype(np.uint8)).resize((size, size), Image.BILINEAR)
        x, y = self._pixels([centre])[0]
        self._picture.paste(image, (round(x - size / 2), round(y - size / 2)))

    def finish(self) -> Panel | None:
        """The panel, None if nothing is drawn."""
        box = self._picture.getbbox()
        if box is None:
            return None
        # Whole blocks, so that every level has whole pixels.
        block = 2 ** (_LEVELS - 1)
        left, top, right, bottom = (
            block * (edge // block) for edge in (*box[:2], box[2] + block - 1, box[3] + block - 1)
        )
        values = np.asarray(self._picture.crop((left, top, right, bottom)), dtype=np.float32) / 255
        values[..., :3] *= values[..., 3:]
        return Panel(_LEFT + left * _TEXEL, _TOP - top * _TEXEL, make_pyramid(values, _LEVELS))


@lru_cache(maxsize=128)
def _font(size: int) -> ImageFont.ImageFont:
    return ImageFont.load_default(size)


def to_rgba(colour: np.ndarray, opacity: float = 1.0) -> Colour:
    """A colour (3,) in [0, 1] as PIL wants it."""
    return (*(int(value * 255) for value in colour), int(opacity * 255))


def _draw_word(rng: np.random.Generator) -> str:
    if rng.random() < 0.5:
        return str(rng.choice(_WORDS))
    return "".join(rng.choice(_SYLLABLES, int(rng.integers(2, 4))))


def _star(centre: tuple[float, float], radius: float, tips: int, inner: float) -> np.ndarray:
    angles = np.arange(2 * tips) * math.pi / tips
    radii = np.where(np.arange(2 * tips) % 2 == 0, radius, radius * inner)
    return np.stack([centre[0] + radii * np.sin(angles), centre[1] + radii * np.cos(angles)], axis=1)


def _heart(centre: tuple[float, float], radius: float) -> np.ndarray:
    turn = np.linspace(0, 2 * math.pi, 48)
    up = 13 * np.cos(turn) - 5 * np.cos(2 * turn) - 2 * np.cos(3 * turn) - np.cos(4 * turn)
    return np.stack([centre[0] + radius / 17 * 16 * np.sin(turn) ** 3, centre[1] + radius / 17 * up], axis=1)


def _draw_shape(
    rng: np.random.Generator, panel: PanelDrawing, centre: tuple[float, float], radius: float, colour: Colour
) -> None:
    """A disc, star, heart, polygon, bolt, wave of bars or a mountain."""
    kind = int(rng.integers(7))
    if kind == 0:
        panel.disc(centre, radius, colour)
    elif kind == 1:
        panel.polygon(_star(centre, radius, int(rng.integers(4, 9)), rng.uniform(0.35, 0.6)), colour)
    elif kind == 2:
        panel.polygon(_heart(centre, radius), colour)
    elif kind == 3:
        angles = np.sort(rng.uniform(0, 2 * math.pi, int(rng.integers(3, 8))))
        reach = radius * rng.uniform(0.6, 1.0, len(angles))
        panel.polygon(np.stack([centre[0] + reach * np.cos(angles), centre[1] + reach * np.sin(angles)], 1), colour)
    elif kind == 4:
        bolt = np.array([(0.2, 1), (-0.5, -0.1), (0, -0.1), (-0.2, -1), (0.5, 0.2), (0.05, 0.2)])
        panel.polygon(np.array(centre) + radius * bolt, colour)
    elif kind == 5:
        for step in np.linspace(-0.8, 0.8, int(rng.integers(3, 6))):
            half = radius * math.sqrt(1 - step**2)
            panel.line(
                [(centre[0] - half, centre[1] + step * radius), (centre[0] + half, centre[1] + step * radius)],
                colour,
                radius * 0.2,
            )
    else:
        ridge = np.array([(-1, -0.6), (-0.4, 0.5), (-0.1, 0.0), (0.3, 0.8), (1, -0.6)])
        panel.polygon(np.array(centre) + radius * ridge, colour)


def draw_emblem(rng: np.random.Generator, panel: PanelDrawing, colours: np.ndarray, ground: np.ndarray) -> None:
    """Draw what is printed on a chest: words, a logo, a small badge, or a picture.

    Args:
        rng (`np.random.Generator`): the only source of randomness.
        panel (`PanelDrawing`): where to draw.
        colours (`np.ndarray`): (K, 3) that stand out on the cloth, at least two.
        ground (`np.ndarray`): (3,) colour of the cloth.
    """
    first, second, cloth = to_rgba(colours[0]), to_rgba(colours[1]), to_rgba(ground)
    centre = (rng.uniform(-0.02, 0.02), rng.uniform(0.34, 0.42))
    radius = rng.uniform(0.05, 0.12)
    kind = str(
        rng.choice(["words", "logo", "ring", "badge", "picture", "shapes"], p=[0.3, 0.2, 0.12, 0.14, 0.12, 0.12])
    )
    if kind == "words":
        lines = [_draw_word(rng) for _ in range(int(rng.choice([1, 2, 3], p=[0.5, 0.3, 0.2])))]
        height = radius * 1.1
        for number, words in enumerate(lines):
            colour = first if number % 2 == 0 else second
            panel.text(words, (centre[0], centre[1] - (number - len(lines) / 2) * height), 2.4 * radius, colour)
    elif kind == "logo":
        _draw_shape(rng, panel, centre, radius, first)
        _draw_shape(rng, panel, centre, radius * 0.5, second)
        if rng.random() < 0.6:
            panel.text(_draw_word(rng), (centre[0], centre[1] - radius * 1.35), 2 * radius, first)
    elif kind == "ring":
        panel.disc(centre, radius, first)
        panel.disc(centre, radius * 0.8, cloth)
        _draw_shape(rng, panel, centre, radius * 0.6, second)
    elif kind == "badge":
        at = (rng.choice([-0.08, 0.08]), 0.43)
        _draw_shape(rng, panel, at, rng.uniform(0.014, 0.026), first)
    elif kind == "picture":
        width = rng.uniform(0.14, 0.24)
        panel.picture(draw_landscape(rng, 64, np.concatenate([colours, ground[None]])), (centre[0], 0.36), width)
    else:
        for _ in range(int(rng.integers(3, 9))):
            at = (rng.uniform(-0.14, 0.14), rng.uniform(0.12, 0.48))
            _draw_shape(rng, panel, at, rng.uniform(0.015, 0.05), (first, second)[int(rng.integers(2))])


def draw_placket(panel: PanelDrawing, line: Colour, button: Colour, top: float, bottom: float) -> None:
    """The buttoned front of a shirt between two heights."""
    for side in (-0.014, 0.014):
        panel.line([(side, top), (side, bottom)], line)
    for height in np.arange(top - 0.03, bottom, -0.08):
        panel.disc((0.0, height), 0.006, button)


def draw_chest_pocket(panel: PanelDrawing, line: Colour) -> None:
    """A patch pocket on the wearer's left chest."""
    corners = [(0.05, 0.44), (0.13, 0.44), (0.13, 0.36), (0.09, 0.345), (0.05, 0.36), (0.05, 0.44)]
    panel.line(corners, line)
    panel.line([(0.05, 0.43), (0.13, 0.43)], line)


def draw_kangaroo_pocket(panel: PanelDrawing, line: Colour, cord: Colour) -> None:
    """The pocket and the cords of a hooded pullover."""
    panel.line([(-0.12, 0.1), (-0.12, 0.15), (-0.07, 0.24), (0.07, 0.24), (0.12, 0.15), (0.12, 0.1)], line, 0.004)
    for side in (-0.025, 0.025):
        panel.line([(side, 0.5), (side * 1.2, 0.38)], cord, 0.004)


def draw_jacket_front(panel: PanelDrawing, line: Colour, button: Colour, opening: float) -> None:
    """Hip pockets and, along one front edge, buttons."""
    for side in (-1, 1):
        panel.line([(side * 0.08, 0.17), (side * 0.15, 0.18)], line, 0.004)
    for height in np.arange(0.12, 0.44, 0.1):
        panel.disc((opening + 0.02, height), 0.008, button)


def draw_trouser_front(panel: PanelDrawing, line: Colour, waist: float) -> None:
    """Waistband, fly and slanted pockets below a height."""
    panel.line([(-0.25, waist - 0.028), (0.25, waist - 0.028)], line)
    panel.line([(0.0, waist), (0.0, waist - 0.17)], line)
    panel.line([(0.022, waist - 0.03), (0.022, waist - 0.11), (0.0, waist - 0.14)], line)
    for side in (-1, 1):
        panel.line([(side * 0.13, waist - 0.03), (side * 0.2, waist - 0.15)], line)
