# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Outfits are drawn from one stream, exchanged piece by piece, worn and shown alone."""

from dataclasses import replace

import numpy as np
import pytest
from bodies import blend_shapes

from diffusers_tryon.composition import CATEGORIES, GARMENT_LABELS, PARSE_LABELS
from diffusers_tryon.rendering.designs import PantsDesign, SkirtDesign
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


def test_a_product_view_shows_all_of_a_lower_garment_whatever_is_worn_over_it():
    outfit = outfit_of(5, "lower")
    over = Piece(replace(outfit.top.design, hem=0.0, tucked=None), outfit.top.cloth)
    tucked = Piece(replace(outfit.top.design, hem=0.0, tucked=0.3), outfit.top.cloth)
    shown = [
        product_surfaces(replace(outfit, top=top), "lower", blend_shapes(0, 1, 0.5), "mannequin")
        for top in (over, tucked)
    ]
    assert len(shown[0]) == len(shown[1])
    assert all(np.array_equal(first.vertices, second.vertices) for first, second in zip(*shown))


def test_no_top_hides_a_lower_garment_that_is_tried_on_and_hidden_garments_are_left_out():
    short = PantsDesign(waist=0.28, length=0.3, ease=0.01, flare=0.0)
    for seed in range(8):
        outfit = outfit_of(seed, "lower")
        outfit = replace(outfit, bottom=Piece(short, outfit.bottom.cloth))
        assert "pants" in worn_labels(outfit)
    # Torso coordinate 0 are the hip joints; other outfits have longer tops.
    hems = {name: [outfit_of(seed, name).top.design.hem for seed in range(12)] for name in ("lower", "upper")}
    assert min(hems["lower"]) >= 0 > min(hems["upper"])
    long_top = replace(outfit.top.design, hem=-0.4, tucked=None)
    garments = fit_outfit(replace(outfit, top=Piece(long_top, outfit.top.cloth)), blend_shapes(0, 1, 0.5))
    assert all(len(garment.faces) for garment in garments)
    assert {PARSE_LABELS[garment.label] for garment in garments} == {"top"}


def looks(garments) -> list[np.ndarray]:
    """Everything that is seen of garments: vertices, faces, and colours at some places of the cloth."""
    places = np.random.default_rng(0).uniform((-0.4, -0.5, 0), (0.4, 0.6, 1), (200, 3)).astype(np.float32)
    seen = []
    for garment in garments:
        colours = garment.cloth.colour_at(places, np.full(200, 0.1), np.full(200, 0.004))
        seen += [garment.vertices, garment.faces, garment.texture_coordinates, garment.hides_skin, colours]
    return seen


def test_the_same_stream_gives_the_same_outfit():
    shape = blend_shapes(2, 9, 0.3)
    for category in CATEGORIES:
        first, second = (looks(fit_outfit(outfit_of(7, category), shape)) for _ in range(2))
        assert len(first) == len(second) and all(map(np.array_equal, first, second))


def test_pieces_have_streams_of_their_own():
    # What is tried on does not change what else hangs in the wardrobe.
    upper, dress = outfit_of(3, "upper"), outfit_of(3, "dress")
    assert upper.bottom.design == dress.bottom.design
    shape = blend_shapes(0, 1, 0.5)
    undressed = replace(dress, dress=None, top=upper.top, jacket=upper.jacket)
    assert all(map(np.array_equal, looks(fit_outfit(undressed, shape)), looks(fit_outfit(upper, shape))))


@pytest.mark.parametrize("category", ["upper", "lower"])
def test_an_exchange_leaves_everything_else_as_it_is(category):
    shape = blend_shapes(5, 11, 0.5)
    for seed in range(6):
        outfit, other = outfit_of(seed, category), outfit_of(seed + 20, category)
        changed = exchange_garment(outfit, other, category)
        if category == "upper":
            assert (changed.top, changed.jacket) == (other.top, other.jacket) and changed.bottom is outfit.bottom
            continue
        assert changed.bottom is other.bottom and (changed.top, changed.jacket) == (outfit.top, outfit.jacket)
        # The top does not move by a hair.
        tops = [
            [garment for garment in fit_outfit(worn, shape) if PARSE_LABELS[garment.label] == "top"]
            for worn in (outfit, changed)
        ]
        assert all(map(np.array_equal, *map(looks, tops)))


def test_a_dress_replaces_trousers_and_jacket():
    dressed = outfit_of(4, "dress")
    for seed in range(12):
        outfit = outfit_of(seed, "upper")
        assert worn_labels(exchange_garment(outfit, dressed, "dress")) - {"belt"} == {"dress"}
    jackets = sum(outfit_of(seed, "upper").jacket is not None for seed in range(60))
    assert 4 < jackets < 25


def test_a_tucked_top_holds_the_lower_garment_at_its_waistband():
    shape = blend_shapes(0, 1, 0.5)
    for seed in range(60):
        outfit = outfit_of(seed, "upper")
        if outfit.top.design.tucked is not None and outfit.jacket is None:
            break
    lower = fit_outfit(outfit, shape)[0]
    hip, neck = shape.joint("upperleg01.L")[2], shape.joint("neck01")[2]
    assert lower.vertices[:, 2].max() == pytest.approx(hip + outfit.top.design.tucked * (neck - hip), abs=0.002)


def test_one_sits_only_in_clothes_that_thighs_do_not_come_out_of():
    outfit = replace(outfit_of(3, "upper"), jacket=None)

    def with_designs(bottom, hem: float = 0.1):
        top = replace(outfit.top, design=replace(outfit.top.design, hem=hem))
        return replace(outfit, top=top, bottom=Piece(bottom, outfit.bottom.cloth))

    bermudas, shorts = PantsDesign(waist=0.3, length=0.8), PantsDesign(waist=0.3, length=0.45)
    assert with_designs(bermudas).can_sit
    assert not with_designs(shorts).can_sit
    assert not with_designs(bermudas, hem=-0.3).can_sit
    assert not with_designs(SkirtDesign(waist=0.3, length=1.8)).can_sit
    assert not replace(with_designs(bermudas), dress=outfit_of(1, "dress").dress).can_sit
