# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Whether a picture shows the right garment: its colour and its pattern, where the true picture shows it."""

from itertools import product

import numpy as np
from scipy import ndimage

from .colours import ciede2000, cielab


# In parts of the picture's longer side: the standard deviations between which a band of the pattern lies, how far the
# garment's border is left alone, how far a pattern may be moved.
_SIGMAS = (1 / 128, 2 / 128, 4 / 128, 8 / 128)
_BORDER = 1 / 64
_TOLERANCE = 1 / 64
# A garment whose bands vary by less, in CIELAB, is plain: what is left are folds and noise.
_LEAST_PATTERN = 5.0
# A smaller part of the picture tells nothing about a pattern.
_LEAST_AREA = 0.01


def garment_colour(image: np.ndarray, reference: np.ndarray, region: np.ndarray) -> float:
    """The difference of the mean colours, in CIELAB under D65, of two pictures within a region, by CIEDE2000.

    Args:
        image, reference (`np.ndarray`): (H, W, 3) uint8, the picture to judge and the true one.
        region (`np.ndarray`): (H, W) bool, the garment in the true picture.

    Returns:
        `float`: 0 for the same mean colour, about 1 for one that can just be told from it; NaN if the region is empty.
    """
    if not region.any():
        return float("nan")
    return float(ciede2000(*(cielab(picture[region]).mean(axis=0) for picture in (image, reference))))


def pattern_bands(image: np.ndarray, region: np.ndarray) -> np.ndarray:
    """What a picture holds between four degrees of smoothness: (3, H, W, 3) float64 in CIELAB.

    Smoothing stays within the region. What is smoother than the last degree, mean colour and most shading, is gone, and
    so is what is finer than the first, noise.
    """
    weight = region.astype(np.float64)
    colours = cielab(image) * weight[..., None]
    levels = []
    for part in _SIGMAS:
        sigma = part * max(region.shape)
        blurred = ndimage.gaussian_filter(colours, (sigma, sigma, 0), mode="constant")
        total = ndimage.gaussian_filter(weight, sigma, mode="constant")
        levels.append(blurred / np.maximum(total, 1e-6)[..., None])
    return -np.diff(np.stack(levels), axis=0)


def garment_pattern(image: np.ndarray, reference: np.ndarray, region: np.ndarray) -> float:
    """How far two pictures show the same pattern within a region, whatever their mean colours and their shading.

    Both pictures are split into three bands (`pattern_bands`); in each the agreement of a picture x with the true one y
    is 2 sum(x y) / (sum(x x) + sum(y y)) over the pixels of the region that are not at its border and over L*, a* and
    b*. That is 1 for the same pattern in the same place and contrast, 0 for none and on average for any other, -1 for
    the negative. Bands weigh as much as the true pattern has of them. Of all shifts by up to 1/64 of the picture's side
    in both directions the best counts, so that a print that is a little off is not taken for another; this lets another
    pattern come out slightly above 0.

    Args:
        image, reference, region: as in [`garment_colour`].

    Returns:
        `float`: in [-1, 1]; NaN if the true garment is plain, or too little of it is seen.
    """
    side = max(region.shape)
    inner = ndimage.binary_erosion(region, iterations=max(1, round(_BORDER * side)))
    if inner.mean() < _LEAST_AREA:
        return float("nan")
    truth, found = (pattern_bands(picture, region) for picture in (reference, image))
    energies = (truth[:, inner] ** 2).sum(axis=(1, 2))
    if np.sqrt(energies.sum() / inner.sum()) < _LEAST_PATTERN:
        return float("nan")
    weights = energies / energies.sum()
    rows, columns = np.nonzero(inner)
    # As dense as the finest band is smooth, whatever the size.
    steps = np.round(np.linspace(-1, 1, 5) * _TOLERANCE * side).astype(int)
    best = -1.0
    for down, right in product(steps, steps):
        stays = inner[rows + down, columns + right]
        there = truth[:, rows[stays], columns[stays]]
        here = found[:, rows[stays] + down, columns[stays] + right]
        energy = (there**2 + here**2).sum(axis=(1, 2))
        agreement = 2 * (there * here).sum(axis=(1, 2)) / np.maximum(energy, 1e-9)
        best = max(best, float(weights @ agreement))
    return min(best, 1.0)
