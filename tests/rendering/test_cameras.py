# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Projection and framing."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from bodies import blend_shapes

from diffusers_tryon.rendering.body import forward_kinematics, load_body_asset, rotation, skin
from diffusers_tryon.rendering.cameras import FRAMINGS, Camera, View, aim, body_heading, draw_view, framed_points
from diffusers_tryon.rendering.lighting import draw_light
from diffusers_tryon.rendering.scene import Setting, render
from diffusers_tryon.rendering.surfaces import Surface


VIEW = View("full", facing=0, pitch=0, roll=0, distance=4, margin=1, cut=0, shift=(0, 0))
VIEWS = [
    VIEW,
    replace(VIEW, facing=40, pitch=12),
    replace(VIEW, facing=-65, roll=4, distance=1.8),
    replace(VIEW, facing=180, pitch=-8, margin=1.3, shift=(0.05, -0.02)),
]


def test_projection():
    camera = Camera(np.array([0.1, 0.0, 0.3]), extent=2.0, distance=4.0)
    points = np.array([(0.1, 0, 0.3), (0.6, 0, 0.3), (0.1, 0, 1.3), (0.6, 4, 0.3)])
    projected = camera.project(points)
    # The person's left (+x) is on the right of the picture, up is at smaller y, twice as far is half as large.
    assert np.allclose(projected, [(0.5, 0.5, 4), (0.75, 0.5, 4), (0.5, 0.0, 4), (0.625, 0.5, 8)])
    # A shift moves the whole picture to the right and down.
    shifted = replace(camera, shift=(0.05, 0.2)).project(points)
    assert np.allclose(shifted - projected, np.tile((0.05, 0.2, 0), (4, 1)))


@pytest.mark.parametrize("view", VIEWS)
def test_what_is_drawn_lies_where_its_points_are_projected(view):
    """Small tetrahedra rendered at random points are found around their projections."""
    points = np.random.default_rng(0).uniform((-0.7, -0.3, -0.7), (0.7, 0.3, 0.7), (8, 3))
    camera = aim(view, points, heading=0)
    corners = np.array([(1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)]) * 0.012
    size = 128
    for point, expected in zip(points, camera.project(points)):
        marker = Surface(
            vertices=(point + corners).astype(np.float32),
            normals=(corners / 0.021).astype(np.float32),
            faces=np.array([[0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 3]]),
            labels=np.full(4, 9, np.uint8),
            colours=np.ones((4, 3), np.float32),
        )
        setting = Setting(draw_light(np.random.default_rng(0)), np.zeros(3), np.zeros((3, 16, 16)))
        parse = render([marker], camera, setting, size).parse
        rows, columns = np.nonzero(parse)
        if (np.abs(expected[:2] - 0.5) < 0.48).all():
            found = np.array([columns.mean(), rows.mean()]) + 0.5
            assert np.abs(found - expected[:2] * size).max() < 0.75


@pytest.mark.parametrize("view", VIEWS)
def test_the_framed_points_fill_the_picture(view):
    points = np.random.default_rng(1).uniform((-0.5, -0.3, -0.9), (0.5, 0.3, 0.9), (50, 3))
    on_screen = aim(replace(view, shift=(0, 0)), points, heading=25).project(points)[:, :2]
    low, high = on_screen.min(axis=0), on_screen.max(axis=0)
    assert np.allclose((low + high) / 2, 0.5, atol=2e-3)
    assert (high - low).max() == pytest.approx(1 / view.margin, rel=1e-2)


def test_the_camera_walks_around_the_person_looks_down_and_tilts():
    points = np.array(list(product((-0.1, 0.1), repeat=3)))
    front = np.array([0.0, -1.0, 0.0])
    for view, heading, expected in (
        (VIEW, 0, 4 * front),
        # A person who turned to the left by 30 degrees is still seen from the front.
        (VIEW, 30, rotation((0, 0, 1), 30) @ (4 * front)),
        (replace(VIEW, facing=180), 0, -4 * front),
        (replace(VIEW, pitch=10), 0, rotation((1, 0, 0), -10) @ (4 * front)),
    ):
        assert np.allclose(aim(view, points, heading).position, expected, atol=0.01)
    assert aim(replace(VIEW, pitch=10), points, heading=0).position[2] > 0.6
    axes = aim(replace(VIEW, facing=50, pitch=10, roll=3), points, heading=20).axes
    assert np.allclose(axes @ axes.T, np.eye(3)) and np.linalg.det(axes) > 0
    assert axes[0, 2] == pytest.approx(-np.sin(np.radians(3)) * np.cos(np.radians(10)), abs=1e-6)


def standing_person(turned: float) -> tuple[np.ndarray, np.ndarray]:
    asset, shape = load_body_asset(), blend_shapes(3, 4, 0.5)
    turn = {"root": rotation((0, 0, 1), turned)}
    transforms = forward_kinematics(shape.joints, asset.parents, asset.joint_names, turn)
    posed = skin(shape.vertices, asset.skin_weights, transforms)
    return posed, asset.keypoint_regressor @ posed


@pytest.mark.parametrize("turned", [-120, 0, 35])
def test_heading(turned):
    assert body_heading(standing_person(turned)[1]) == pytest.approx(turned, abs=1)


@pytest.mark.parametrize(
    ("framing", "inside", "outside"),
    [
        ("upper_body", (0, 5, 6, 11, 12), (13, 14, 15, 16)),
        ("three_quarter", (0, 5, 6, 11, 12), (15, 16)),
        ("full", range(17), ()),
        ("hips_to_feet", (11, 12, 13, 14, 15, 16), (0, 1, 2, 5, 6)),
    ],
)
def test_framings_show_their_part_of_the_person(framing, inside, outside):
    posed, keypoints = standing_person(20)
    for cut in (0.0, 1.0):
        view = replace(VIEW, framing=framing, cut=cut, pitch=5, margin=1.02)
        camera = aim(view, framed_points(view, posed, keypoints), body_heading(keypoints))
        on_screen = camera.project(keypoints)[:, :2]
        seen = ((on_screen > 0) & (on_screen < 1)).all(axis=1)
        assert seen[list(inside)].all() and not seen[list(outside)].any()
        # There is room for hair and a hat.
        if 0 in inside:
            above_head = posed[posed[:, 2].argmax()] + (0, 0, 0.05)
            assert camera.project(above_head[None])[0, 1] > 0


def test_drawn_views_are_plausible_and_follow_from_the_seed():
    for framing in FRAMINGS:
        views = [draw_view(np.random.default_rng(seed), framing, False, (1.0, 1.2)) for seed in range(200)]
        assert all(abs(view.facing) < 75 and abs(view.roll) <= 4 and 1.0 <= view.margin <= 1.2 for view in views)
        assert np.mean([abs(view.facing) < 30 for view in views]) > 0.6
        assert np.ptp([view.distance for view in views]) > 2 and np.std([view.pitch for view in views]) > 2
        assert views[3] == draw_view(np.random.default_rng(3), framing, False, (1.0, 1.2))
    assert abs(draw_view(np.random.default_rng(0), "full", True, (1.0, 1.2)).facing - 180) < 75
