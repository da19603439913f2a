# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Telling a garment that lies flat from the white background it was photographed on."""

import numpy as np
from scipy import ndimage


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
    garment = _largest(ndimage.label(different)[0])
    return ndimage.binary_fill_holes(garment)


def _largest(components: np.ndarray) -> np.ndarray:
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    return components == sizes.argmax()
