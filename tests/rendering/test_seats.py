# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Seats under people who sit."""

import numpy as np
import pytest
from bodies import blend_shapes

from diffusers_tryon.composition import PARSE_IDS
from diffusers_tryon.rendering.body import forward_kinematics, load_body_asset, rotation, skin
from diffusers_tryon.rendering.seats import Seat, draw_seat, points_inside, seat_surface, sits


def posed_body(hip_degrees: float) -> np.ndarray:
    asset, shape = load_body_asset(), blend_shapes(2, 3, 0.5)
    bent = {f"upperleg01.{side}": rotation((1, 0, 0), -hip_degrees) for side in "LR"}
    bent |= {f"lowerleg01.{side}": rotation((1, 0, 0), hip_degrees) for side in "LR"}
    transforms = forward_kinematics(shape.joints, asset.parents, asset.joint_names, bent)
    return skin(shape.vertices, asset.skin_weights, transforms)


@pytest.mark.parametrize(("hip_degrees", "expected"), [(0, False), (30, False), (75, True), (95, True)])
def test_who_sits(hip_degrees, expected):
    assert sits(load_body_asset().keypoint_regressor @ posed_body(hip_degrees)) is expected


@pytest.mark.parametrize("solid", [True, False])
def test_a_seat_stands_on_the_floor_under_the_thighs(solid):
    posed = posed_body(85)
    surface = seat_surface(Seat(0.2, np.array([0.2, 0.4, 0.6]), solid), posed)
    feet = posed[load_body_asset().groups["body"][0], 2].min()
    hips = (load_body_asset().keypoint_regressor @ posed)[[11, 12]].mean(axis=0)
    low, high = surface.vertices.min(axis=0), surface.vertices.max(axis=0)
    assert low[2] == pytest.approx(feet, abs=1e-5) and 0.03 < hips[2] - high[2] < 0.2
    assert (low[:2] < hips[:2]).all() and (hips[:2] < high[:2]).all()
    assert (surface.labels == PARSE_IDS["background"]).all() and np.allclose(surface.colours, (0.2, 0.4, 0.6))
    # A cube is one box of 12 triangles; a stool is a plate on four legs.
    assert len(surface.faces) == (12 if solid else 60) and surface.faces.max() < len(surface.vertices)
    # Normals are those of the triangles, but for the sense of rotation.
    first, second, third = (surface.vertices[surface.faces[:, corner]] for corner in range(3))
    normals = np.cross(second - first, third - first)
    normals /= np.linalg.norm(normals, axis=1)[:, None]
    assert np.allclose(np.abs((normals * surface.normals[surface.faces[:, 0]]).sum(axis=1)), 1, atol=1e-4)
    inside = points_inside(surface)
    assert np.allclose(inside.min(axis=0), low) and np.allclose(inside.max(axis=0), high)


def test_seats_follow_from_the_seed():
    first, second, other = (draw_seat(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.half_width == second.half_width and np.array_equal(first.colour, second.colour)
    assert first.half_width != other.half_width
    assert {draw_seat(np.random.default_rng(seed)).solid for seed in range(8)} == {True, False}
