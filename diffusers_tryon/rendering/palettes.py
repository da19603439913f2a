# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Colours of clothes, drawn continuously: much black, white, grey, navy and beige, some muted and some vivid ones."""

import numpy as np


# Ranges of lightness (0 to 1), chroma (0 grey, 0.2 vivid) and hue (degrees) in OKLCH, and how often.
_FAMILIES = {
    "dark_neutral": ((0.16, 0.34), (0.0, 0.012), (0, 360), 0.2),
    "navy": ((0.22, 0.38), (0.03, 0.08), (245, 275), 0.08),
    "light_neutral": ((0.88, 0.98), (0.0, 0.02), (60, 110), 0.17),
    "grey": ((0.42, 0.8), (0.0, 0.012), (0, 360), 0.09),
    "earth": ((0.4, 0.82), (0.03, 0.08), (55, 120), 0.1),
    "muted": ((0.45, 0.85), (0.04, 0.09), (0, 360), 0.18),
    "vivid": ((0.45, 0.8), (0.12, 0.21), (0, 360), 0.18),
}
_LEATHER = {"black": ((0.14, 0.26), (0.0, 0.01), (0, 360), 0.45), "brown": ((0.3, 0.6), (0.04, 0.09), (45, 75), 0.55)}
_DENIM = {"blue": ((0.28, 0.68), (0.04, 0.09), (245, 262), 0.8), "black": ((0.16, 0.3), (0.0, 0.01), (0, 360), 0.2)}
# Colours that lie over each other differ by at least so much, in units in which black and white differ by 1.
_MIN_DIFFERENCE = 0.18


def oklch_to_rgb(lightness: float, chroma: float, hue: float) -> np.ndarray:
    """sRGB (3,) in [0, 1] of a colour in OKLCH (hue in degrees), clipped to what a screen can show.

    Source: Björn Ottosson, "A perceptual color space for image processing", 2020.
    """
    a, b = chroma * np.cos(np.radians(hue)), chroma * np.sin(np.radians(hue))
    cones = np.array(
        [
            lightness + 0.3963377774 * a + 0.2158037573 * b,
            lightness - 0.1055613458 * a - 0.0638541728 * b,
            lightness - 0.0894841775 * a - 1.2914855480 * b,
        ]
    )
    matrix = np.array(
        [
            (4.0767416621, -3.3077115913, 0.2309699292),
            (-1.2684380046, 2.6097574011, -0.3413193965),
            (-0.0041960863, -0.7034186147, 1.7076147010),
        ]
    )
    linear = np.clip(matrix @ cones**3, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _draw_from(rng: np.random.Generator, families: dict[str, tuple]) -> np.ndarray:
    kinds = list(families.values())
    lightness, chroma, hue, _ = kinds[int(rng.choice(len(kinds), p=[kind[-1] for kind in kinds]))]
    return oklch_to_rgb(rng.uniform(*lightness), rng.uniform(*chroma), rng.uniform(*hue))


def draw_palette(rng: np.random.Generator, number: int) -> np.ndarray:
    """Draw colours (number, 3) in [0, 1] that can be told from each other."""
    colours = [_draw_from(rng, _FAMILIES)]
    while len(colours) < number:
        colour = _draw_from(rng, _FAMILIES)
        if min(np.linalg.norm(colour - other) for other in colours) > _MIN_DIFFERENCE * np.sqrt(3):
            colours.append(colour)
    return np.stack(colours).astype(np.float32)


def draw_leather_colour(rng: np.random.Generator) -> np.ndarray:
    """Draw the colour (3,) of a belt or a leather jacket."""
    return _draw_from(rng, _LEATHER).astype(np.float32)


def draw_denim_colour(rng: np.random.Generator) -> np.ndarray:
    """Draw the colour (3,) of jeans."""
    return _draw_from(rng, _DENIM).astype(np.float32)
