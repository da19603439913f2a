# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Shadow maps and crevices of scenes simple enough to know the answer."""

import numpy as np
import pytest

from diffusers_tryon.rendering.shadows import blocked_share, crevices, light_view, shadow_map_size


SIZE = 128


@pytest.mark.parametrize("direction", [(0.0, -1.0, 0.0), (0.6, -0.64, 0.48), (-0.6, 0.0, 0.8), (0.0, 0.0, 1.0)])
def test_the_light_sees_all_receivers_and_measures_away_from_itself(direction):
    direction = np.array(direction)
    rng = np.random.default_rng(0)
    receivers, casters = rng.normal(0, 0.4, (200, 3)), rng.normal(0, 0.6, (200, 3))
    view = light_view(direction, receivers, casters, SIZE)
    assert np.allclose(view.axes @ view.axes.T, np.eye(3), atol=1e-6)
    # Mirrored, so that the far sides of closed surfaces are kept.
    assert np.linalg.det(view.axes) == pytest.approx(-1, abs=1e-5)
    seen = view.project(receivers)
    assert seen[:, :2].min() > 1 and seen[:, :2].max() < SIZE - 1
    assert view.project(casters)[:, 2].min() > 0
    towards_light = view.project(receivers + 0.3 * direction)
    assert np.allclose(towards_light[:, :2], seen[:, :2], atol=1e-3)
    assert np.allclose(towards_light[:, 2], seen[:, 2] - 0.3, atol=1e-5)


def test_points_behind_the_map_are_blocked_and_the_edge_is_soft():
    light = np.array([0.0, -1.0, 0.0])
    x = np.linspace(-1, 1, 401)
    points = np.stack([x, np.zeros(401), np.zeros(401)], axis=1).astype(np.float32)
    normals = np.tile(np.float32((0, -1, 0)), (401, 1))
    view = light_view(light, points, points - (0, 0.5, 0), SIZE)
    # Something half a metre in front covers the left half of the map.
    depth = np.full((SIZE, SIZE), np.inf, np.float32)
    depth[:, : SIZE // 2] = 1.0
    blocked = blocked_share(view, depth, points, normals)
    assert blocked.dtype == np.float32
    column = view.project(points)[:, 0]
    assert np.allclose(blocked[column < SIZE / 2 - 1.01], 1)
    assert (blocked[column > SIZE / 2 + 1.01] == 0).all()
    between = np.abs(column - SIZE / 2) < 1
    # A box of two texels loses one half per texel.
    assert np.allclose(blocked[between], (SIZE / 2 + 1 - column[between]) / 2, atol=1e-3)


def test_a_surface_does_not_shadow_itself():
    light = np.array([0.6, -0.8, 0.0])
    rng = np.random.default_rng(1)
    points = rng.uniform(-0.5, 0.5, (500, 3)).astype(np.float32) * np.float32((1, 0, 1))
    normals = np.tile(np.float32((0, -1, 0)), (500, 1))
    view = light_view(light, points, points, SIZE)
    # The plane y = 0 itself, at the middle of every texel: along a column x is constant.
    columns = np.arange(SIZE) + 0.5
    first, second = view.project(points[:2])
    slope = (second[2] - first[2]) / (second[0] - first[0])
    depth = np.tile((first[2] + slope * (columns - first[0])).astype(np.float32), (SIZE, 1))
    assert (blocked_share(view, depth, points, normals) == 0).all()


def test_crevices_are_dark_and_planes_and_ridges_are_not():
    size, pixels_per_metre = 64, 100.0
    x, y = np.meshgrid(np.arange(size) - size / 2, np.arange(size) - size / 2)
    plane = (4 + (0.8 * x - 0.3 * y) / pixels_per_metre).astype(np.float32)
    valley = (4 - np.abs(x) / pixels_per_metre).astype(np.float32)
    ridge = (4 + np.abs(x) / pixels_per_metre).astype(np.float32)
    middle = slice(20, 44)
    assert np.abs(crevices(plane, pixels_per_metre)[middle, middle]).max() < 1e-4
    assert np.abs(crevices(ridge, pixels_per_metre)[middle, middle]).max() < 1e-4
    dark = crevices(valley, pixels_per_metre)
    assert dark.dtype == np.float32 and dark[32, 32] > 0.3 and dark[32, 32] > 2 * dark[32, 45]
    assert dark.min() >= -1e-6 and dark.max() <= 1


def test_the_background_and_a_limb_far_in_front_make_no_crevice():
    depth = np.full((48, 48), np.inf, np.float32)
    depth[10:40, 10:40] = 4.0
    assert np.abs(crevices(depth, 100.0)).max() < 1e-4
    depth[10:40, 24:28] = 3.0
    assert np.abs(crevices(depth, 100.0)).max() < 1e-4


def test_the_size_of_the_map_follows_the_picture():
    assert [shadow_map_size(size) for size in (16, 128, 1024)] == [96, 128, 256]
