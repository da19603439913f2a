# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Garments told from white backgrounds."""

import numpy as np
import pytest

from diffusers_tryon.data.importers.flat_garments import separate_from_background


def shirt() -> tuple[np.ndarray, np.ndarray]:
    """A blue shirt with a white print on a noisy white background, a speck beside it; and where the shirt is."""
    noise = np.random.default_rng(0).integers(-3, 4, (60, 48, 3))
    image = 250 + noise
    where = np.zeros((60, 48), bool)
    where[10:50, 8:40] = True
    image[where] = (40, 60, 160)
    image[20:30, 15:30] = 252
    image[3:5, 3:5] = 90
    return image.astype(np.uint8), where


def test_a_garment_is_cut_out_with_its_white_print_and_without_specks():
    image, where = shirt()
    assert np.array_equal(separate_from_background(image), where)


def test_a_garment_that_reaches_the_border_is_whole():
    image, where = shirt()
    where[50:] = where[49]
    image[where] = (40, 60, 160)
    assert np.array_equal(separate_from_background(image), where)


def test_a_white_garment_is_found_by_its_outline():
    image, where = shirt()
    image[11:49, 9:39] = 250
    assert np.array_equal(separate_from_background(image), where)


def test_a_coloured_background_and_an_empty_picture_are_refused():
    image, _ = shirt()
    with pytest.raises(ValueError, match=r"the background is not white \(its colour is \[200, 190, 180\]\)"):
        separate_from_background(np.where(image > 240, np.uint8([200, 190, 180]), image))
    with pytest.raises(ValueError, match="nothing lies on the white background"):
        separate_from_background(np.full((20, 20, 3), 254, np.uint8))
