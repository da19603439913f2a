# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Colours as people see them: CIELAB and the difference of two colours by CIEDE2000."""

import numpy as np


# IEC 61966-2-1: linear sRGB to XYZ, and the white of D65 as its sum, so that grey has no chroma.
_XYZ_OF_RGB = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_WHITE = _XYZ_OF_RGB.sum(axis=1)
_DELTA = 6 / 29


def cielab(image: np.ndarray) -> np.ndarray:
    """L*, a* and b* (..., 3) float64 of sRGB colours (..., 3) uint8 under D65 (CIE 15, 2 degree observer)."""
    coded = image / 255.0
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    ratios = linear @ _XYZ_OF_RGB.T / _WHITE
    x, y, z = np.moveaxis(
        np.where(ratios > _DELTA**3, np.cbrt(ratios), ratios / (3 * _DELTA**2) + 4 / 29),
        -1,
        0,
    )
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def ciede2000(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The difference of colours in CIELAB, (..., 3) each: (...), 1 is about what can just be seen.

    CIEDE2000 with all weights 1, in the notation of Sharma, Wu and Dalal, "The CIEDE2000 Color-Difference Formula"
    (Color Research and Application 30(1), 2005).
    """
    lightness = first[..., 0], second[..., 0]
    mean_chroma = (np.hypot(first[..., 1], first[..., 2]) + np.hypot(second[..., 1], second[..., 2])) / 2
    stretch = 1 + 0.5 * (1 - _saturation(mean_chroma))
    chroma, hue = zip(*(_chroma_and_hue(colour, stretch) for colour in (first, second)))
    # Without chroma there is no hue.
    has_hue = chroma[0] * chroma[1] > 0
    turn = hue[1] - hue[0]
    turn = np.where(has_hue, turn - 360 * (turn > 180) + 360 * (turn < -180), 0.0)
    mean_hue = np.where(has_hue, hue[0] + turn / 2, hue[0] + hue[1])
    mean_lightness, mean_chroma = sum(lightness) / 2, sum(chroma) / 2
    weight = (
        1
        - 0.17 * _cosine(mean_hue - 30)
        + 0.24 * _cosine(2 * mean_hue)
        + 0.32 * _cosine(3 * mean_hue + 6)
        - 0.20 * _cosine(4 * mean_hue - 63)
    )
    off_middle = (mean_lightness - 50) ** 2
    by_lightness = (lightness[1] - lightness[0]) / (1 + 0.015 * off_middle / np.sqrt(20 + off_middle))
    by_chroma = (chroma[1] - chroma[0]) / (1 + 0.045 * mean_chroma)
    hue_distance = 2 * np.sqrt(chroma[0] * chroma[1]) * np.sin(np.radians(turn / 2))
    by_hue = hue_distance / (1 + 0.015 * mean_chroma * weight)
    blue = 60 * np.exp(-((((mean_hue % 360) - 275) / 25) ** 2))
    rotation = -2 * _saturation(mean_chroma) * np.sin(np.radians(blue))
    return np.sqrt(np.maximum(by_lightness**2 + by_chroma**2 + by_hue**2 + rotation * by_chroma * by_hue, 0))


def _saturation(chroma: np.ndarray) -> np.ndarray:
    return np.sqrt(chroma**7 / (chroma**7 + 25.0**7))


def _chroma_and_hue(colour: np.ndarray, stretch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Chroma and hue in degrees, with a* stretched."""
    a, b = stretch * colour[..., 1], colour[..., 2]
    return np.hypot(a, b), np.degrees(np.arctan2(b, a)) % 360


def _cosine(degrees: np.ndarray) -> np.ndarray:
    return np.cos(np.radians(degrees))
