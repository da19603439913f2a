# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Telling a garment that lies flat from the white background it was photographed on."""

import numpy as np


# The darkest a background may be.
_DARKEST_BACKGROUND = 230
# The largest step in a channel that still belongs to the background, in steps of half the border's pixels; and its
# bounds. A larger one loses the rim of white garments, a smaller one takes noise for the garment.
_STEPS_OF_NOISE = 4
_STEP_BOUNDS = (5, 20)


def separate_from_background(image: np.ndarray) -> np.ndarray:
    """The largest connected thing on a plain bright background, its holes filled.

    The background is the colour of most of the picture's border. White cloth inside the garment's outline is kept,
    because it does not reach the border.

    Args:
        image (`np.ndarray`): (H, W, 3) uint8.

    Returns:
        `np.ndarray`: (H, W) bool.

    Raises:
        ValueError: the border is not bright, or nothing lies on the background.
    """
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    background = np.median(border, axis=0)
    if background.min() < _DARKEST_BACKGROUND:
        raise ValueError(
            f"the background is not white (its colour is {background.astype(int).tolist()}), so that the garment "
            "cannot be told from it; a mask is needed"
        )
    noise = np.median(np.abs(border - background).max(axis=-1))
    different = np.abs(image - background).max(axis=-1) > np.clip(_STEPS_OF_NOISE * noise, *_STEP_BOUNDS)
    if not different.any():
        raise ValueError("nothing lies on the white background")
    garment = _largest(connected_components(different))
    # What does not touch the border's background is a hole. A frame lets the background reach around the garment.
    outside = connected_components(np.pad(~garment, 1, constant_values=True))
    return (outside != outside[0, 0])[1:-1, 1:-1]


def _largest(components: np.ndarray) -> np.ndarray:
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    return components == sizes.argmax()


def connected_components(mask: np.ndarray) -> np.ndarray:
    """Number the connected parts of a mask; pixels are connected by their sides.

    Args:
        mask (`np.ndarray`): (H, W) bool.

    Returns:
        `np.ndarray`: (H, W) int, 0 where the mask is False, the same positive number within a part.
    """
    # Runs of True along the rows are joined with the runs that they touch in the next row.
    height, width = mask.shape
    edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    starts, stops = np.nonzero(edges == 1)[1], np.nonzero(edges == -1)[1]
    run_of_pixel = np.cumsum(edges == 1).reshape(height, width + 1)[:, :width] - 1
    touching = mask[1:] & mask[:-1]
    pairs = np.stack([run_of_pixel[:-1][touching], run_of_pixel[1:][touching]])
    # Consecutive pixels of one contact say the same.
    pairs = pairs[:, np.append(True, (np.diff(pairs) != 0).any(axis=0))] if pairs.size else pairs
    upper, lower = pairs

    # Every run takes the lowest number it touches, and the number of that run, until nothing changes.
    numbers = np.arange(len(starts))
    while True:
        lowest = numbers.copy()
        np.minimum.at(lowest, upper, numbers[lower])
        np.minimum.at(lowest, lower, numbers[upper])
        lowest = lowest[lowest]
        if np.array_equal(lowest, numbers):
            break
        numbers = lowest
    components = np.zeros((height, width), dtype=np.int64)
    components[mask] = np.repeat(numbers, stops - starts) + 1
    return components
