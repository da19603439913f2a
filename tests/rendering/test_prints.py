# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Patterns and emblems."""

import numpy as np
import pytest

from diffusers_tryon.rendering.prints import PATTERNS, Emblem, Print, draw_print, smooth_noise


NO_WIDTH = np.zeros(400)


def cloth_points(count: int = 400) -> np.ndarray:
    return np.random.default_rng(0).uniform((-0.5, -0.5), (0.5, 0.7), (count, 2))


@pytest.mark.parametrize("name", list(PATTERNS))
def test_shares_are_between_zero_and_one_and_a_pattern_is_more_than_one_colour(name):
    points = cloth_points()
    second, third = PATTERNS[name](np.random.default_rng(1))(points[:, 0], points[:, 1], NO_WIDTH)
    for share in (second, third):
        assert share.shape == (len(points),) and share.min() >= 0 and share.max() <= 1
    assert (np.ptp(second) == 0) == (name == "plain")


def test_horizontal_stripes_do_not_depend_on_u_nor_vertical_ones_on_v():
    points = cloth_points()
    for name, axis in (("horizontal_stripes", 0), ("vertical_stripes", 1)):
        mix = PATTERNS[name](np.random.default_rng(2))
        moved = points.copy()
        moved[:, axis] += 0.123
        assert np.mean(mix(*points.T, NO_WIDTH)[0] == mix(*moved.T, NO_WIDTH)[0]) > 0.99


def test_stripes_have_the_share_they_draw():
    mix = PATTERNS["breton_stripes"](np.random.default_rng(3))
    share = mix(np.zeros(20000), np.linspace(0, 5, 20000), np.zeros(20000))[0].mean()
    assert 0.18 < share < 0.37


def test_an_emblem_covers_its_square_on_the_chest_only():
    picture = np.zeros((256, 256, 4))
    picture[..., 0], picture[..., 3] = 1, 1
    plain = PATTERNS["plain"](np.random.default_rng(0))
    cloth = Print(np.zeros((3, 3)), plain, Emblem(picture, width=0.2, offset=0.05))
    points = np.array([(0.05, 0.4), (0.14, 0.31), (-0.04, 0.49), (0.16, 0.4), (0.05, 0.51), (2.05, 0.4)])
    assert np.array_equal(
        cloth.colour_at(points, np.ones(len(points)), np.zeros(len(points)))[:, 0], [1, 1, 1, 0, 0, 0]
    )


def test_an_emblem_is_upright_and_not_mirrored():
    picture = np.zeros((256, 256, 4))
    picture[:128, :128] = 1
    cloth = Print(np.zeros((3, 3)), PATTERNS["plain"](None), Emblem(picture, width=0.2, offset=0.0))
    # Upper left of the picture: the wearer's right, which has negative u.
    corners = np.array([(-0.05, 0.45), (0.05, 0.45), (-0.05, 0.35), (0.05, 0.35)])
    assert np.array_equal(cloth.colour_at(corners, np.ones(len(corners)), np.zeros(len(corners)))[:, 0], [1, 0, 0, 0])


def test_random_prints_are_colours_and_depend_on_the_seed_alone():
    points = cloth_points()
    looks = [
        draw_print(np.random.default_rng(seed)).colour_at(points, np.ones(len(points)), np.zeros(len(points)))
        for seed in (*range(30), 0)
    ]
    assert all(look.min() >= 0 and look.max() <= 1 for look in looks)
    assert np.array_equal(looks[0], looks[-1])
    assert not any(np.array_equal(looks[0], look) for look in looks[1:-1])


def test_noise_meets_its_grid_and_repeats():
    grid = np.random.default_rng(0).standard_normal((4, 4))
    columns, rows = np.meshgrid(np.arange(4.0), np.arange(4.0))
    assert np.allclose(smooth_noise(grid, columns, rows), grid)
    assert np.allclose(smooth_noise(grid, columns + 0.3 + 4, rows - 8), smooth_noise(grid, columns + 0.3, rows))
    assert np.allclose(smooth_noise(grid, np.array([0.5]), np.array([0.0])), grid[0, :2].mean())


def test_fine_stripes_fade_to_their_mean_where_a_sample_spans_many():
    mix = PATTERNS["breton_stripes"](np.random.default_rng(3))
    v = np.linspace(0, 1, 4000)
    sharp, half, blurred = (mix(np.zeros(4000), v, np.full(4000, width))[0] for width in (0, 0.01, 5.0))
    assert np.mean(np.isclose(sharp, 0) | np.isclose(sharp, 1)) > 0.95
    assert np.abs(blurred - sharp.mean()).max() < 0.03
    # A box of 1 cm around each point, summed by hand.
    assert np.isclose(half[2000], sharp[np.abs(v - v[2000]) <= 0.005].mean(), atol=0.03)
