# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Patterns of cloth, at cloth coordinates in metres.

A pattern is made by `make(rng, colours)`, which draws its parameters and returns `pattern(u, v, width)`: the colour
(N, 3) at every point, averaged over about `width` (N,) metres, so that fine patterns fade to their mean instead of
flickering. Stripes and checks are closed forms; everything else is a tile that repeats. To add a pattern, write it and
name it in `PATTERNS`.
"""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .cloth_coordinates import TORSO_SIDE
from .pictures import draw_landscape, draw_noise, make_pyramid


Pattern = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
Maker = Callable[[np.random.Generator, np.ndarray], Pattern]

_TILE = 128
_TILE_LEVELS = 8


def draw_scale(rng: np.random.Generator, smallest: float, largest: float) -> float:
    """A length between two, small ones as likely as large ones."""
    return float(np.exp(rng.uniform(math.log(smallest), math.log(largest))))


def fit_around(period: float) -> float:
    """The period nearest to this one of which a whole number goes around the torso, so that no seam is seen."""
    around = 4 * TORSO_SIDE
    return around / max(1, round(around / period))


def band(position: np.ndarray, share: float, width: np.ndarray) -> np.ndarray:
    """1 in the first `share` of every period of 1, else 0, averaged over `width` periods."""

    def integral(end: np.ndarray) -> np.ndarray:
        whole = np.floor(end)
        return whole * share + np.minimum(end - whole, share)

    width = np.maximum(width, 1e-3)
    return np.clip((integral(position + width / 2) - integral(position - width / 2)) / width, 0, 1)


def _over(colour: np.ndarray, other: np.ndarray, share: np.ndarray) -> np.ndarray:
    """`colour` (N, 3) or (3,), with `other` (3,) over it by `share` (N,)."""
    return colour + share[:, None] * (other - colour)


def make_plain(rng: np.random.Generator, colours: np.ndarray) -> Pattern:
    """One colour."""
    return lambda u, v, width: np.repeat(colours[:1], len(u), axis=0)


def _stripes(degrees: float, share: tuple[float, float]) -> Maker:
    """Stripes that run at `degrees` to the horizontal; the share of the second colour lies in the range `share`."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))

    def make(rng: np.random.Generator, colours: np.ndarray) -> Pattern:
        period, part = draw_scale(rng, 0.014, 0.2), rng.uniform(*share)
        if sine:
            period = sine * fit_around(period / sine)

        def pattern(u: np.ndarray, v: np.ndarray, width: np.ndarray) -> np.ndarray:
            return _over(colours[0], colours[1], band((v * cosine - u * sine) / period, part, width / period))

        return pattern

    return make


def _double_stripes(rng: np.random.Generator, colours: np.ndarray) -> Pattern:
    """Broad stripes with thin ones between them, across or along."""
    period, part, line = draw_scale(rng, 0.04, 0.2), rng.uniform(0.2, 0.45), rng.uniform(0.05, 0.12)
    along = rng.random() < 0.4
    if along:
        period = fit_around(period)

    def pattern(u: np.ndarray, v: np.ndarray, width: np.ndarray) -> np.ndarray:
        position = (u if along else v) / period
        colour = _over(colours[0], colours[1], band(position, part, width / period))
        return _over(colour, colours[2], band(position - part - 0.5 * (1 - part - line), line, width / period))

    return pattern


def _gingham(rng: np.random.Generator, colours: np.ndarray) -> Pattern:
    period = fit_around(draw_scale(rng, 0.014, 0.16))

    def pattern(u: np.ndarray, v: np.ndarray, width: np.ndarray) -> np.ndarray:
        threads = band(u / period, 0.5, width / period) + band(v / period, 0.5, width / period)
        return _over(colours[0], colours[1], 0.5 * threads)

    return pattern


def _tartan(rng: np.random.Generator, colours: np.ndarray) -> Pattern:
    period, part, line = fit_around(draw_scale(rng, 0.05, 0.2)), rng.uniform(0.3, 0.5), rng.uniform(0.03, 0.1)

    def pattern(u: np.ndarray, v: np.ndarray, width: np.ndarray) -> np.ndarray:
        across, up, width = u / period, v / period, width / period
        colour = _over(colours[0], colours[1], 0.5 * band(across, part, width) + 0.5 * band(up, part, width))
        lines = np.maximum(band(across + 0.3, line, width), band(up + 0.3, line, width))
        return _over(colour, colours[2], 0.8 * lines)

    return pattern


def _windowpane(rng: np.random.Generator, colours: np.ndarray) -> Pattern:
    period, line = fit_around(draw_scale(rng, 0.03, 0.15)), rng.uniform(0.04, 0.12)

    def pattern(u: np.ndarray, v: np.ndarray, width: np.ndarray) -> np.ndarray:
        lines = np.maximum(band(u / period, line, width / period), band(v / period, line, width / period))
        return _over(colours[0], colours[1], lines)

    return pattern


def _zigzag(rng: np.random.Generator, colours: np.ndarray) -> Pattern:
    period = draw_scale(rng, 0.02, 0.14)
    side, slope = fit_around(2 * period * rng.uniform(0.6, 1.2)) / 2, rng.uniform(0.4, 1.0)

    def pattern(u: np.ndarray, v: np.ndarray, width: np.ndarray) -> np.ndarray:
        return _over(
            colours[0],
            colours[1],
            band((v + slope * np.abs((u / side) % 2 - 1) * side) / period, 0.5, width / period),
        )

    return pattern


def _colour_block(rng: np.random.Generator, colours: np.ndarray) -> Pattern:
    """Two or three blocks above each other, or side by side."""
    upright = rng.random() < 0.2
    edge, height = rng.uniform(0.15, 0.45), rng.choice([0.0, rng.uniform(0.03, 0.2)])

    def pattern(u: np.ndarray, v: np.ndarray, width: np.ndarray) -> np.ndarray:
        position = u if upright else v - edge
        width = np.maximum(width, 1e-3)
        colour = _over(colours[0], colours[1], np.clip(position / width + 0.5, 0, 1))
        middle = np.clip(position / width + 0.5, 0, 1) - np.clip((position - height) / width + 0.5, 0, 1)
        return _over(colour, colours[2], middle)

    return pattern


def _gradient(rng: np.random.Generator, colours: np.ndarray) -> Pattern:
    low, high = rng.uniform(-0.3, 0.15), rng.uniform(0.35, 0.6)
    return lambda u, v, width: _over(colours[0], colours[1], np.clip((v - low) / (high - low), 0, 1))


def repeat_tile(picture: np.ndarray, size: float, offset: tuple[float, float] = (0.0, 0.0)) -> Pattern:
    """A picture (128, 128, 3) that repeats every `size` metres."""
    pyramid = make_pyramid(picture, _TILE_LEVELS)
    texels = _TILE / size

    def pattern(u: np.ndarray, v: np.ndarray, width: np.ndarray) -> np.ndarray:
        # The first row of a picture is its upper edge.
        return pyramid.at((offset[1] - v) * texels, (u - offset[0]) * texels, width * texels)

    return pattern


def _mix(colours: np.ndarray, second: np.ndarray, third: np.ndarray | None = None) -> np.ndarray:
    """A tile (S, S, 3) with the second colour over the first, and the third over both, by shares (S, S)."""
    tile = colours[0] + second[..., None].astype(np.float32) * (colours[1] - colours[0])
    return tile if third is None else tile + third[..., None].astype(np.float32) * (colours[2] - tile)


def _tile(smallest: float, largest: float, make_picture: Callable[[np.random.Generator, np.ndarray], np.ndarray]):
    """A maker of tiles between two sizes in metres."""

    def make(rng: np.random.Generator, colours: np.ndarray) -> Pattern:
        size = fit_around(draw_scale(rng, smallest, largest))
        return repeat_tile(np.clip(make_picture(rng, colours), 0, 1), size, tuple(rng.uniform(0, size, 2)))

    return make


def _grid() -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (128, 128) in [0, 1) across and down a tile."""
    position = (np.arange(_TILE, dtype=np.float32) + 0.5) / _TILE
    return np.meshgrid(position, position)


def _scattered(draw_motif: Callable[..., None], fewest: int, most: int):
    """Motifs at places that keep away from each other, also across the tile's edges."""

    def make_picture(rng: np.random.Generator, colours: np.ndarray) -> np.ndarray:
        number = int(rng.integers(fewest, most + 1))
        image = Image.fromarray(np.full((_TILE, _TILE, 3), np.round(colours[0] * 255), np.uint8))
        draw = ImageDraw.Draw(image)
        paints = [tuple(int(value * 255) for value in colour) for colour in colours]
        columns = math.ceil(math.sqrt(number))
        room = _TILE / columns
        for place in range(columns * columns):
            across, down = place % columns, place // columns
            x, y = (across + 0.5 * (down % 2) + rng.uniform(0.3, 0.7)) * room, (down + rng.uniform(0.3, 0.7)) * room
            radius, turn = room * rng.uniform(0.28, 0.44), rng.uniform(0, 2 * math.pi)
            for right in (-_TILE, 0, _TILE):
                for below in (-_TILE, 0, _TILE):
                    if -radius < x + right < _TILE + radius and -radius < y + below < _TILE + radius:
                        draw_motif(draw, (x + right, y + below), radius, turn, paints)
        return np.asarray(image, np.float32) / 255

    return make_picture


def _around(centre: tuple[float, float], radii: np.ndarray, angles: np.ndarray) -> list[tuple[float, float]]:
    return list(zip(centre[0] + radii * np.cos(angles), centre[1] + radii * np.sin(angles)))


_FULL_TURN = np.linspace(0, 2 * math.pi, 30)


def _flower(draw: ImageDraw.ImageDraw, centre: tuple[float, float], radius: float, turn: float, paints: list) -> None:
    petals = 4 + int(turn * 10) % 4
    draw.polygon(_around(centre, radius * (0.7 + 0.3 * np.cos(petals * _FULL_TURN)), _FULL_TURN + turn), paints[1])
    draw.polygon(_around(centre, np.full(30, radius * 0.25), _FULL_TURN), paints[2])


def _leaf(draw: ImageDraw.ImageDraw, centre: tuple[float, float], radius: float, turn: float, paints: list) -> None:
    leaf = radius * (0.35 + 0.65 * np.abs(np.cos(_FULL_TURN)) ** 2)
    draw.polygon(_around(centre, leaf, _FULL_TURN + turn), paints[1])
    draw.line(_around(centre, radius * np.array([-0.9, 0.9]), np.array([turn, turn])), paints[2], 2)


def _paisley(draw: ImageDraw.ImageDraw, centre: tuple[float, float], radius: float, turn: float, paints: list) -> None:
    drop = 0.35 + 0.65 * (np.clip(_FULL_TURN / (2 * math.pi), 0, 1)) ** 2
    for paint, size in ((paints[1], 1.0), (paints[2], 0.7), (paints[1], 0.4)):
        draw.polygon(_around(centre, radius * size * drop, _FULL_TURN + turn), paint)


def _spot(draw: ImageDraw.ImageDraw, centre: tuple[float, float], radius: float, turn: float, paints: list) -> None:
    """A rosette of a leopard."""
    wobble = 1 + 0.25 * np.cos(3 * _FULL_TURN + turn)
    draw.polygon(_around(centre, radius * wobble, _FULL_TURN), paints[2])
    draw.polygon(_around(centre, radius * 0.62 * wobble, _FULL_TURN), paints[1])
    draw.polygon(_around(centre, radius * np.linspace(0.3, 1.3, 30), np.linspace(turn, turn + 0.8, 30)), paints[0])


def _star(draw: ImageDraw.ImageDraw, centre: tuple[float, float], radius: float, turn: float, paints: list) -> None:
    angles = np.arange(10) * math.pi / 5 + turn
    draw.polygon(_around(centre, radius * np.where(np.arange(10) % 2 == 0, 1, 0.45), angles), paints[1])


def _letter(draw: ImageDraw.ImageDraw, centre: tuple[float, float], radius: float, turn: float, paints: list) -> None:
    text = "ABDEGKMNORSTWXYZ"[int(turn * 100) % 16]
    draw.text(
        centre, text, fill=paints[1 + int(turn * 10) % 2], font=ImageFont.load_default(int(2 * radius)), anchor="mm"
    )


def _dots(rng: np.random.Generator, colours: np.ndarray) -> np.ndarray:
    across, down = _grid()
    radius = rng.uniform(0.12, 0.3)
    # Two dots per tile, the second in the middle.
    first = np.hypot((across + 0.5) % 1 - 0.5, (down + 0.5) % 1 - 0.5)
    second = np.hypot(across - 0.5, down - 0.5)
    soft = 1.5 / _TILE
    return _mix(colours, np.clip((radius - np.minimum(first, second)) / soft + 0.5, 0, 1))


def _diamonds(rng: np.random.Generator, colours: np.ndarray) -> np.ndarray:
    across, down = _grid()
    inside = np.abs(across - 0.5) + np.abs(down - 0.5)
    lines = np.abs((across + down) % 1 - 0.5) < 0.02
    lines |= np.abs((across - down) % 1 - 0.5) < 0.02
    return _mix(colours, np.clip((0.5 - inside) * _TILE / 2 + 0.5, 0, 1), lines * float(rng.random() < 0.5))


def _houndstooth(rng: np.random.Generator, colours: np.ndarray) -> np.ndarray:
    across, down = _grid()
    column, row = np.floor(across * 4), np.floor(down * 4)
    twill = np.floor((across + down) * 8) % 2
    check = np.where((column + row) % 2 == 0, column % 2, twill)
    return _mix(colours, check)


def _camouflage(rng: np.random.Generator, colours: np.ndarray) -> np.ndarray:
    return _mix(colours, draw_noise(rng, _TILE, 4) > 0.15, draw_noise(rng, _TILE, 5) > 0.5)


def _zebra(rng: np.random.Generator, colours: np.ndarray) -> np.ndarray:
    across, down = _grid()
    phase = down * int(rng.integers(4, 9)) + 0.5 * draw_noise(rng, _TILE, 3)
    return _mix(colours, np.clip(2.5 * np.sin(2 * math.pi * phase) + 0.5, 0, 1))


def _tie_dye(rng: np.random.Generator, colours: np.ndarray) -> np.ndarray:
    """Rings that turn around the middle and fade towards the edge."""
    across, down = _grid()
    radius, angle = np.hypot(across - 0.5, down - 0.5), np.arctan2(down - 0.5, across - 0.5)
    turns, arms = rng.uniform(2, 5), int(rng.integers(0, 4))
    swirl = np.sin(2 * math.pi * radius * turns + arms * angle + draw_noise(rng, _TILE, 5))
    within = np.clip((0.5 - radius) * 6, 0, 1)
    return _mix(colours, np.clip(swirl + 0.5, 0, 1) * within, np.clip(draw_noise(rng, _TILE, 3) - 0.3, 0, 0.8))


def _photograph(rng: np.random.Generator, colours: np.ndarray) -> np.ndarray:
    """Colour noise of many octaves, like a blurred and sharp photograph at once."""
    cells = int(rng.integers(2, 7))
    noise = np.stack([draw_noise(rng, _TILE, cells) for _ in range(3)], axis=-1)
    shade = draw_noise(rng, _TILE, cells)[..., None]
    return _mix(colours, np.clip(0.5 + 0.6 * noise[..., 0], 0, 1)) + 0.12 * noise + 0.1 * shade


def _landscapes(rng: np.random.Generator, colours: np.ndarray) -> np.ndarray:
    return draw_landscape(rng, _TILE, colours)


def _brush(rng: np.random.Generator, colours: np.ndarray) -> np.ndarray:
    """Abstract brush strokes."""
    across = draw_noise(rng, _TILE, 3)
    strokes = draw_noise(rng, _TILE, 12).mean(axis=1, keepdims=True) + 0.5 * across
    return _mix(colours, strokes > 0.1, draw_noise(rng, _TILE, 4) + strokes > 1.0)


def _shaded(colours: np.ndarray, brightness: np.ndarray) -> np.ndarray:
    return colours[0] * brightness[..., None]


def _melange(rng: np.random.Generator, colours: np.ndarray) -> np.ndarray:
    return _shaded(colours, 1 + rng.uniform(0.05, 0.15) * draw_noise(rng, _TILE, 40))


def _knit(rng: np.random.Generator, colours: np.ndarray) -> np.ndarray:
    """Rows of V-shaped stitches."""
    across, down = _grid()
    stitches = int(rng.integers(8, 17))
    side = np.abs((across * stitches) % 1 - 0.5)
    return _shaded(colours, 1 - 0.3 * (2 * side) ** 4 - 0.2 * np.abs(((down * stitches - side) % 1) - 0.5))


def _ribs(rng: np.random.Generator, colours: np.ndarray) -> np.ndarray:
    across, _ = _grid()
    return _shaded(colours, 1 - 0.28 * (0.5 + 0.5 * np.cos(2 * math.pi * 12 * across)) ** 3)


def _denim(rng: np.random.Generator, colours: np.ndarray) -> np.ndarray:
    """A twill, faded unevenly."""
    across, down = _grid()
    twill = 0.06 * np.sin(2 * math.pi * 32 * (across + down))
    threads = 0.05 * draw_noise(rng, _TILE, 64).mean(axis=0) + 0.04 * draw_noise(rng, _TILE, 50)
    return _shaded(colours, 1 + twill + threads + 0.05 * draw_noise(rng, _TILE, 2))


PATTERNS: dict[str, Maker] = {
    "plain": make_plain,
    "horizontal_stripes": _stripes(0, (0.4, 0.6)),
    "breton_stripes": _stripes(0, (0.2, 0.35)),
    "vertical_stripes": _stripes(90, (0.3, 0.6)),
    "pinstripes": _stripes(90, (0.06, 0.12)),
    "diagonal_stripes": _stripes(35, (0.3, 0.6)),
    "double_stripes": _double_stripes,
    "gingham": _gingham,
    "tartan": _tartan,
    "windowpane": _windowpane,
    "zigzag": _zigzag,
    "colour_block": _colour_block,
    "gradient": _gradient,
    "dots": _tile(0.02, 0.2, _dots),
    "diamonds": _tile(0.04, 0.2, _diamonds),
    "houndstooth": _tile(0.05, 0.2, _houndstooth),
    "flowers": _tile(0.15, 0.7, _scattered(_flower, 4, 16)),
    "leaves": _tile(0.2, 0.7, _scattered(_leaf, 4, 12)),
    "paisley": _tile(0.2, 0.6, _scattered(_paisley, 4, 12)),
    "leopard": _tile(0.2, 0.5, _scattered(_spot, 16, 36)),
    "stars": _tile(0.15, 0.6, _scattered(_star, 4, 25)),
    "letters": _tile(0.2, 0.6, _scattered(_letter, 9, 25)),
    "camouflage": _tile(0.2, 0.5, _camouflage),
    "zebra": _tile(0.15, 0.4, _zebra),
    "tie_dye": _tile(0.4, 0.7, _tie_dye),
    "brush": _tile(0.3, 0.6, _brush),
    "photograph": _tile(0.3, 0.8, _photograph),
    "landscapes": _tile(0.25, 0.7, _landscapes),
    "melange": _tile(0.1, 0.2, _melange),
    "knit": _tile(0.08, 0.25, _knit),
    "ribs": _tile(0.08, 0.2, _ribs),
    "denim": _tile(0.15, 0.25, _denim),
}
