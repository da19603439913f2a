# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Garments have the lengths their designs say, on any body, and hide what is under them."""

from dataclasses import replace

import numpy as np
import pytest

from diffusers_tryon.composition import PARSE_IDS
from diffusers_tryon.rendering.body import blend_shapes, body_coordinates, limb_weight, load_body_asset
from diffusers_tryon.rendering.garments import (
    PantsDesign,
    SkirtDesign,
    TopDesign,
    arm_weight,
    draw_bottom_design,
    draw_top_design,
    fit_bottom,
    fit_top,
    head_weight,
)
from diffusers_tryon.rendering.prints import draw_print


CLOTH = draw_print(np.random.default_rng(0))
TOP = TopDesign(hem=0.05, neck_radius=0.1, neck_depth=1.0, sleeve=0.6, looseness=0.8)


def on_arm(garment) -> np.ndarray:
    asset = load_body_asset()
    arms = [number for number, name in enumerate(asset.joint_names) if name.startswith(("upperarm", "lowerarm"))]
    return garment.skin_weights[:, arms].sum(axis=1) > 0.8


@pytest.mark.parametrize("body", [(0, 1), (5, 11), (20, 30)])
@pytest.mark.parametrize("sleeve", [0.45, 1.5, 1.95])
def test_sleeves_and_hem_end_where_the_design_says(body, sleeve):
    shape = blend_shapes(*body, 0.4)
    garment = fit_top(replace(TOP, sleeve=sleeve), shape, CLOTH)
    coordinates = body_coordinates(garment.vertices, shape)
    assert coordinates.arm[on_arm(garment)].max() == pytest.approx(sleeve, abs=0.08)
    assert coordinates.torso[~on_arm(garment)].min() == pytest.approx(TOP.hem, abs=0.03)
    assert garment.label == PARSE_IDS["top"]


def test_a_tank_top_has_no_sleeves():
    shape = blend_shapes(0, 1, 0.5)
    garment = fit_top(replace(TOP, sleeve=0.08), shape, CLOTH)
    assert body_coordinates(garment.vertices, shape).arm[on_arm(garment)].max(initial=0) < 0.35


def test_the_neckline_is_open_and_deeper_in_front_when_asked():
    shape = blend_shapes(0, 1, 0.5)
    neck = shape.joint("neck01")

    def front_edge(design: TopDesign) -> float:
        points = fit_top(design, shape, CLOTH).vertices
        return points[(np.abs(points[:, 0]) < 0.01) & (points[:, 1] < neck[1]), 2].max()

    assert front_edge(replace(TOP, neck_depth=1.7)) < front_edge(TOP) - 0.02
    assert front_edge(TOP) < neck[2]


def test_looseness_widens():
    shape = blend_shapes(0, 1, 0.5)
    widths = [np.ptp(fit_top(replace(TOP, looseness=value), shape, CLOTH).vertices[:, 1]) for value in (0.2, 1.6)]
    assert widths[1] > widths[0] + 0.01


def test_a_top_hides_the_chest_and_neither_head_nor_hands():
    shape = blend_shapes(0, 1, 0.5)
    hidden = fit_top(TOP, shape, CLOTH).hides_skin
    hands = limb_weight("wrist", "finger") > 0.5
    assert not hidden[head_weight() > 0.5].any() and not hidden[hands].any()
    chest = (np.abs(body_coordinates(shape.vertices, shape).torso - 0.5) < 0.1) & (arm_weight() == 0)
    assert hidden[chest].all()


@pytest.mark.parametrize(
    "design",
    [
        PantsDesign(waist=0.2, length=1.9, looseness=0.5),
        PantsDesign(0.2, 0.6, 0.5),
        SkirtDesign(length=0.8, flare=0.1),
    ],
)
def test_lower_garments_end_at_their_length_and_under_the_top(design):
    shape = blend_shapes(7, 8, 0.5)
    garment = fit_bottom(design, shape, replace(TOP, hem=-0.05), CLOTH)
    coordinates = body_coordinates(garment.vertices, shape)
    assert coordinates.leg.max() == pytest.approx(design.length, abs=0.08)
    assert coordinates.torso.max() < 0.02
    assert garment.label == PARSE_IDS["pants" if isinstance(design, PantsDesign) else "skirt"]


def test_random_designs_fit_every_body():
    rng = np.random.default_rng(0)
    for number in range(0, 32, 3):
        shape = blend_shapes(number, (number + 5) % 32, 0.5)
        top = draw_top_design(rng)
        for garment in (fit_top(top, shape, CLOTH), fit_bottom(draw_bottom_design(rng), shape, top, CLOTH)):
            assert len(garment.faces) > 100
            assert np.isfinite(garment.vertices).all() and np.isfinite(garment.texture_coordinates).all()
            assert np.allclose(garment.skin_weights.sum(axis=1), 1, atol=1e-4)
            assert garment.edge_distance.min() >= 0
        # Faces of the top do not stretch over the jump of the texture at the back.
        stretch = np.ptp(fit_top(top, shape, CLOTH).texture_coordinates[..., 0], axis=1)
        assert np.mean(stretch > 0.2) < 0.005


def test_the_print_is_nearly_metric_on_the_chest():
    shape = blend_shapes(0, 1, 0.5)
    garment = fit_top(TOP, shape, CLOTH)
    corners = garment.vertices[garment.faces]
    centre = corners.mean(axis=1)
    chest = (np.abs(centre[:, 0]) < 0.06) & (centre[:, 1] < -0.08) & (np.abs(centre[:, 2] - 0.55) < 0.1)
    cloth = garment.texture_coordinates[chest]
    stretch = np.linalg.norm(cloth[:, 1] - cloth[:, 0], axis=1) / np.linalg.norm(
        corners[chest][:, 1] - corners[chest][:, 0], axis=1
    )
    assert chest.sum() > 20 and 0.6 < np.median(stretch) < 1.6
