# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Outfits are drawn from one stream, exchanged piece by piece, worn and shown alone."""

from dataclasses import replace

import numpy as np
import pytest

from diffusers_tryon.composition import CATEGORIES, GARMENT_LABELS, PARSE_LABELS
from diffusers_tryon.rendering.body import blend_shapes
from diffusers_tryon.rendering.designs import PantsDesign
from diffusers_tryon.rendering.outfits import (
    PRODUCT_STYLES,
    Piece,
    draw_outfit,
    exchange_garment,
    fit_outfit,
    product_surfaces,
)


def outfit_of(seed: int, category: str):
    return draw_outfit(np.random.default_rng(seed), category)


def worn_labels(outfit) -> set[str]:
    return {PARSE_LABELS[garment.label] for garment in fit_outfit(outfit, blend_shapes(0, 1, 0.5))}


@pytest.mark.parametrize("category", CATEGORIES)
def test_an_outfit_wears_its_category(category):
    for seed in range(4):
        assert worn_labels(outfit_of(seed, category)) & set(GARMENT_LABELS[category])
        assert ("dress" in worn_labels(outfit_of(seed, category))) == (category == "dress")


def test_a_dress_is_exchanged_for_a_top_or_a_lower_garment_and_back():
    dressed, other = outfit_of(1, "dress"), outfit_of(2, "upper")
    in_other_top = exchange_garment(dressed, other, "upper")
    assert in_other_top.dress is None and in_other_top.top is other.top and in_other_top.bottom is dressed.bottom
    in_other_bottom = exchange_garment(dressed, outfit_of(3, "lower"), "lower")
    assert in_other_bottom.dress is None and in_other_bottom.top is dressed.top
    assert worn_labels(exchange_garment(other, dressed, "dress")) - {"belt"} == {"dress"}


@pytest.mark.parametrize("category", CATEGORIES)
@pytest.mark.parametrize("style", PRODUCT_STYLES)
def test_a_product_view_shows_the_category_alone(category, style):
    surfaces = product_surfaces(outfit_of(5, category), category, blend_shapes(0, 1, 0.5), style)
    assert {PARSE_LABELS[label] for surface in surfaces for label in surface.labels} <= set(GARMENT_LABELS[category])
    depth = max(np.ptp(surface.vertices[:, 1]) for surface in surfaces)
    assert depth < 0.15 if style == "flat" else depth > 0.15


def test_no_top_hides_a_lower_garment_that_is_tried_on_and_hidden_garments_are_left_out():
    short = PantsDesign(waist=0.28, length=0.3, ease=0.01, flare=0.0)
    for seed in range(8):
        outfit = outfit_of(seed, "lower")
        outfit = replace(outfit, bottom=Piece(short, outfit.bottom.cloth))
        assert "pants" in worn_labels(outfit)
    long_top = replace(outfit.top.design, hem=-0.4, tucked=None)
    garments = fit_outfit(replace(outfit, top=Piece(long_top, outfit.top.cloth)), blend_shapes(0, 1, 0.5))
    assert all(len(garment.faces) for garment in garments)
    assert {PARSE_LABELS[garment.label] for garment in garments} == {"top"}
