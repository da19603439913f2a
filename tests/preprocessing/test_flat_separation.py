# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Garments told from backgrounds of many kinds, against the renderer's truth and hand-made pictures."""

from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from diffusers_tryon.composition import PARSE_IDS
from diffusers_tryon.preprocessing.errors import NoGarmentError
from diffusers_tryon.preprocessing.flat_separation import separate_flat_garment
from diffusers_tryon.rendering.samples import render_pair


SIZE = 160


@cache
def product(category: str) -> tuple[np.ndarray, np.ndarray]:
    """A garment on white and where it is; do not change the arrays."""
    for seed in range(20):
        row = render_pair(seed, SIZE, "test", category)
        if row["garment_type"] == "flat":
            return row["garment_image"], row["garment_parse"] > 0
    raise AssertionError("no flat garment among these seeds")


def shade() -> np.ndarray:
    rows, columns = np.mgrid[:SIZE, :SIZE] / SIZE
    return (0.7 + 0.25 * rows + 0.15 * columns - 0.15 * rows**2)[..., None]


def grain() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 10, (SIZE, SIZE, 3))


def boards() -> np.ndarray:
    columns = np.arange(SIZE)
    tone = 1 + 0.06 * np.sin(columns // 20 * 2.4) + 0.04 * np.sin(columns * 1.3)
    return np.broadcast_to(tone[None, :, None] * np.float64([150, 105, 60]), (SIZE, SIZE, 3))


BACKGROUNDS = {
    "white": lambda: np.full((SIZE, SIZE, 3), 250.0),
    "grey": lambda: np.full((SIZE, SIZE, 3), 150.0),
    "green": lambda: np.full((SIZE, SIZE, 3), (90.0, 170.0, 80.0)),
    "gradient": lambda: shade() * (200, 170, 190),
    "grain": lambda: np.float64([90, 120, 90]) + grain(),
    "boards": boards,
}


def overlap(mask: np.ndarray, truth: np.ndarray) -> float:
    return (mask & truth).sum() / (mask | truth).sum()


def shirt_on(background: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A dark red shirt of two sleeves and a body with a gap between them, and where it is."""
    where = np.zeros((SIZE, SIZE), bool)
    where[30:50, 20:140] = True
    where[30:130, 55:105] = True
    where[30:110, 20:38] = True
    where[30:110, 122:140] = True
    picture = background.copy()
    picture[where] = (120, 30, 40)
    return np.clip(picture, 0, 255).astype(np.uint8), where


@pytest.mark.parametrize("category", ["upper", "lower", "dress"])
@pytest.mark.parametrize("kind", BACKGROUNDS)
def test_rendered_garments_on_backgrounds_of_many_kinds(kind, category):
    image, where = product(category)
    picture = np.where(where[..., None], image, np.clip(BACKGROUNDS[kind](), 0, 255)).astype(np.uint8)
    assert overlap(separate_flat_garment(picture, None, None), where) > 0.92


@pytest.mark.parametrize("background", [(240, 240, 240), (120, 160, 200)])
def test_a_soft_shadow_is_left_out(background):
    _, where = shirt_on(np.zeros((SIZE, SIZE, 3)))
    shadow = ndimage.gaussian_filter(ndimage.shift(where.astype(float), (6, 5)), 3)
    picture, where = shirt_on(np.float64(background) * (1 - 0.35 * shadow[..., None]))
    assert overlap(separate_flat_garment(picture, None, None), where) > 0.97
    assert (shadow[~where] > 0.5).sum() > 0.1 * where.sum()


def test_a_grey_garment_on_white_is_no_shadow():
    picture, where = shirt_on(np.full((SIZE, SIZE, 3), 245.0))
    picture[where] = 205
    assert overlap(separate_flat_garment(picture, None, None), where) > 0.98


def test_a_white_garment_on_white_is_found_by_its_outline():
    picture, where = shirt_on(np.full((SIZE, SIZE, 3), 250.0))
    picture[ndimage.binary_erosion(where, iterations=2)] = 250
    assert overlap(separate_flat_garment(picture, None, None), where) > 0.95


def test_the_background_is_seen_through_a_ring_but_a_print_is_no_hole():
    picture, where = shirt_on(np.full((SIZE, SIZE, 3), (90.0, 170.0, 80.0)))
    # The cuffs meet below: each gap becomes a hole.
    where = where.copy()
    where[105:112, 20:140] = True
    picture[where] = (120, 30, 40)
    picture[60:90, 65:95] = 250
    assert overlap(separate_flat_garment(picture, None, None), where) > 0.98
    # A print of the background's colour is cloth to a parser.
    picture[60:90, 65:95] = (90, 170, 80)
    parse = where.astype(np.uint8) * np.uint8(PARSE_IDS["top"])
    assert overlap(separate_flat_garment(picture, None, parse), where) > 0.98


def test_transparency_decides_alone():
    picture, where = shirt_on(255 * np.random.default_rng(1).random((SIZE, SIZE, 3)))
    opacity = where.astype(np.uint8) * 255
    opacity[5:10, 5:10] = 255
    assert np.array_equal(separate_flat_garment(picture, opacity, None), where)


def test_of_several_things_the_garment_is_taken():
    picture, where = shirt_on(np.full((SIZE, SIZE, 3), 200.0))
    picture[4:20, 4:30] = (20, 20, 120)
    picture[140:156, 110:156] = (20, 120, 20)
    assert overlap(separate_flat_garment(picture, None, None), where) > 0.98


def test_a_parser_helps_where_the_background_is_not_plain():
    patches = 255 * np.random.default_rng(2).random((8, 8, 3))
    picture, where = shirt_on(patches.repeat(SIZE // 8, axis=0).repeat(SIZE // 8, axis=1))
    with pytest.raises(NoGarmentError, match="`my photo`"):
        separate_flat_garment(picture, None, None, "my photo")
    parse = where.astype(np.uint8) * np.uint8(PARSE_IDS["top"])
    assert overlap(separate_flat_garment(picture, None, parse), where) > 0.9


@pytest.mark.parametrize("colour", [0, 128, 255])
def test_an_empty_picture_is_refused(colour):
    with pytest.raises(NoGarmentError, match="Nothing can be told apart in `photo`"):
        separate_flat_garment(np.full((SIZE, SIZE, 3), colour, np.uint8), None, None)


def test_stripes_of_the_background_s_colour_do_not_part_a_garment():
    picture = np.full((SIZE, SIZE, 3), 250, np.uint8)
    where = np.zeros((SIZE, SIZE), bool)
    where[20:140, 50:110] = True
    for top in range(20, 140, 24):
        picture[top : top + 16, 50:110] = (150, 40, 60)
    # Its lowest stripe is white, and cannot be seen.
    where[132:] = False
    assert overlap(separate_flat_garment(picture, None, None), where) > 0.97


def test_shaded_cloth_a_little_darker_than_the_background_is_no_shadow():
    picture, where = shirt_on(np.full((SIZE, SIZE, 3), 250.0))
    folds = 218 + 24 * np.sin(np.arange(SIZE) / 7)[None, :, None]
    picture[where] = np.broadcast_to(folds, picture.shape)[where].astype(np.uint8)
    assert overlap(separate_flat_garment(picture, None, None), where) > 0.93


def test_a_grey_garment_without_sharp_edges_is_more_than_a_shadow():
    picture, where = shirt_on(np.full((SIZE, SIZE, 3), 245.0))
    blurred = ndimage.gaussian_filter(where.astype(float), 3)
    picture = (245 - 50 * blurred[..., None] * np.ones(3)).astype(np.uint8)
    assert overlap(separate_flat_garment(picture, None, None), where) > 0.85
