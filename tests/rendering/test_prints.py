# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Cloth: patterns, panels, sleeves, trims, at points whose colour is known."""

from dataclasses import replace

import numpy as np
import pytest

from diffusers_tryon.rendering.emblems import PanelDrawing, draw_emblem, draw_placket
from diffusers_tryon.rendering.palettes import draw_denim_colour, draw_leather_colour, draw_palette, oklch_to_rgb
from diffusers_tryon.rendering.patterns import PATTERNS, band, draw_scale, make_plain, repeat_tile
from diffusers_tryon.rendering.pictures import draw_noise, make_pyramid, smooth_noise
from diffusers_tryon.rendering.prints import Print, draw_leather, draw_print


COLOURS = np.array([(0.1, 0.2, 0.3), (0.9, 0.8, 0.1), (0.5, 0.1, 0.6)], np.float32)
BLACK, RED, WHITE = (np.float32(colour)[None] for colour in ((0, 0, 0), (1, 0, 0), (1, 1, 1)))


def cloth_points(count: int = 400) -> np.ndarray:
    points = np.random.default_rng(0).uniform((-0.5, -0.5, 0), (0.5, 0.7, 1), (count, 3))
    return points.astype(np.float32)


def colour_at(cloth: Print, points: list[tuple[float, float, float]], edge: float = 1.0, width: float = 1e-4):
    points = np.array(points, np.float32)
    return cloth.colour_at(points, np.full(len(points), edge), np.full(len(points), width))


@pytest.mark.parametrize("name", list(PATTERNS))
def test_patterns_are_colours_and_follow_from_the_seed(name):
    u, v, _ = cloth_points().T
    width = np.full(len(u), 0.003, np.float32)
    first, second, other = (PATTERNS[name](np.random.default_rng(seed), COLOURS)(u, v, width) for seed in (1, 1, 2))
    assert first.shape == (len(u), 3) and first.min() >= 0 and first.max() <= 1
    assert np.array_equal(first, second)
    assert np.array_equal(first, other) == (name == "plain")
    assert (np.ptp(first, axis=0).max() < 0.01) == (name == "plain")


@pytest.mark.parametrize("name", list(PATTERNS))
def test_every_pattern_fades_to_one_colour_where_a_sample_spans_much(name):
    u, v, _ = cloth_points(4000).T
    pattern = PATTERNS[name](np.random.default_rng(3), COLOURS)
    near = pattern(u, v, np.full(len(u), 0.001, np.float32))
    far = pattern(u, v, np.full(len(u), 3.0, np.float32))
    # Blocks and gradients are as large as the garment.
    if name not in ("colour_block", "gradient"):
        assert np.abs(far.mean(axis=0) - near.mean(axis=0)).max() < 0.08
        assert far.std(axis=0).max() < 0.35 * near.std(axis=0).max() + 0.03


def test_a_band_averaged_over_a_width_is_the_mean_of_the_sharp_one():
    position = np.linspace(0, 3, 3001)
    sharp = band(position, 0.3, np.full(3001, 1e-3))
    assert np.allclose(sharp[[100, 200, 400, 900, 1100]], [1, 1, 0, 0, 1])
    soft = band(position, 0.3, np.full(3001, 0.25))
    for number in range(200, 2800, 130):
        box = sharp[np.abs(position - position[number]) <= 0.125]
        assert soft[number] == pytest.approx(box.mean(), abs=0.01)


def test_horizontal_stripes_do_not_depend_on_u_nor_vertical_ones_on_v():
    u, v, _ = cloth_points().T
    width = np.full(len(u), 1e-4)
    for name, across, up in (("horizontal_stripes", 0.123, 0.0), ("vertical_stripes", 0.0, 0.123)):
        pattern = PATTERNS[name](np.random.default_rng(2), COLOURS)
        assert np.mean(np.isclose(pattern(u, v, width), pattern(u + across, v + up, width)).all(axis=1)) > 0.98


@pytest.mark.parametrize("name", [name for name in PATTERNS if name not in ("colour_block", "gradient")])
def test_no_seam_is_seen_at_the_back_because_patterns_go_around_a_whole_number_of_times(name):
    v = np.linspace(-0.3, 0.6, 200)
    width, around = np.full(200, 0.002), 2 * np.pi * 0.15
    for seed in range(4):
        pattern = PATTERNS[name](np.random.default_rng(seed), COLOURS)
        left, right = (pattern(np.full(200, u), v, width) for u in (0.4 + 1e-4, 0.4 + 1e-4 - around))
        assert np.mean(np.abs(left - right).max(axis=1) < 0.02) > 0.95


def test_a_tile_repeats_upright():
    picture = np.zeros((128, 128, 3), np.float32)
    picture[:32, :64] = 1
    pattern = repeat_tile(picture, 0.4)
    # White in the upper left: u from 0 to 0.2 and the highest quarter of every 0.4 m.
    u = np.array([0.05, 0.25, 0.05, 0.45, -0.35])
    v = np.array([-0.05, -0.05, -0.15, 0.35, 0.75])
    assert np.array_equal(pattern(u, v, np.full(5, 1e-3))[:, 0], [1, 0, 0, 1, 1])
    assert np.allclose(pattern(u, v, np.full(5, 10.0)), 1 / 8)


def test_a_pyramid_holds_means():
    picture = np.arange(16, dtype=np.float32).reshape(4, 4, 1)
    pyramid = make_pyramid(picture, 3)
    row, column = np.full(3, 3.2), np.full(3, 2.9)
    assert pyramid.at(row, column, np.array([1.0, 2.0, 50.0]))[:, 0].tolist() == [14, (10 + 11 + 14 + 15) / 4, 7.5]
    # Where a sample spans less than a pixel: halfway between 5, 6, 9 and 10, and across the edge, where it repeats.
    near = pyramid.at(np.array([2.0, 0.5]), np.array([2.0, 0.0]), np.zeros(2))
    assert near[:, 0].tolist() == [7.5, 1.5]


def test_a_panel_covers_the_front_of_the_torso_upright_and_not_mirrored():
    drawing = PanelDrawing()
    drawing.polygon([(-0.1, 0.5), (0.0, 0.5), (0.0, 0.4), (-0.1, 0.4)], (255, 0, 0, 255))
    cloth = Print(make_plain(None, BLACK), drawing.finish())
    # The square lies on the wearer's right, which has negative u, and above.
    points = [(-0.05, 0.45, 0), (0.05, 0.45, 0), (-0.05, 0.35, 0), (-0.05, 0.45, 1), (-0.6, 0.45, 0), (-0.05, 0.7, 0)]
    assert np.array_equal(colour_at(cloth, points)[:, 0], [1, 0, 0, 0, 0, 0])


def test_half_opaque_lines_shade_the_cloth():
    drawing = PanelDrawing()
    drawing.line([(-0.1, 0.3), (0.1, 0.3)], (0, 0, 0, 128), width=0.02)
    cloth = Print(make_plain(None, WHITE), drawing.finish())
    assert colour_at(cloth, [(0, 0.3, 0), (0, 0.33, 0)])[:, 0] == pytest.approx([1 - 128 / 255, 1], abs=1e-3)


def test_a_placket_has_a_button_every_eight_centimetres():
    drawing = PanelDrawing()
    draw_placket(drawing, (0, 0, 0, 255), (255, 0, 0, 255), top=0.5, bottom=0.1)
    cloth = Print(make_plain(None, WHITE), drawing.finish())
    assert np.allclose(colour_at(cloth, [(0, 0.47, 0), (0, 0.39, 0), (0, 0.31, 0)]), RED)
    assert np.allclose(colour_at(cloth, [(0, 0.43, 0), (0, 0.05, 0)]), WHITE)
    assert (colour_at(cloth, [(0.014, 0.43, 0), (-0.014, 0.43, 0)]) < 0.7).all()


def test_other_sleeves_trim_and_seam():
    cloth = Print(make_plain(None, BLACK), sleeves=make_plain(None, RED))
    points = [(0.0, 0.3, 0.0), (0.3, 0.3, 1.0), (0.15, 0.55, 0.0), (0.02, 0.55, 0.0)]
    assert np.array_equal(colour_at(cloth, points)[:, 0], [0, 1, 0, 0])
    # Raglan sleeves reach over the shoulder to the neck.
    assert np.array_equal(colour_at(replace(cloth, raglan=True), points)[:, 0], [0, 1, 1, 0])
    trimmed = replace(cloth, trim=np.float32((1, 1, 1)), trim_width=0.02)
    assert np.allclose(colour_at(trimmed, points[:1], edge=0.015), 1)
    assert np.allclose(colour_at(trimmed, points[:1], edge=0.025), 0)
    # The seam is darker.
    assert 0.5 < colour_at(trimmed, points[:1], edge=0.003)[0, 0] < 0.95


def test_random_cloth_is_colour_and_depends_on_the_seed_alone():
    points = cloth_points()
    edge, width = np.ones(len(points)), np.full(len(points), 0.003)
    for use in ("top", "bottom", "jacket"):
        looks = [
            draw_print(np.random.default_rng(seed), use).colour_at(points, edge, width) for seed in (*range(30), 0)
        ]
        assert all(look.min() >= 0 and look.max() <= 1 for look in looks)
        assert np.array_equal(looks[0], looks[-1])
        assert not any(np.array_equal(looks[0], look) for look in looks[1:-1])
    assert draw_leather(np.random.default_rng(0)).gloss > 0


def test_emblems_differ_and_lie_on_the_chest():
    sizes = []
    for seed in range(40):
        drawing = PanelDrawing()
        draw_emblem(np.random.default_rng(seed), drawing, COLOURS, BLACK[0])
        panel = drawing.finish()
        sizes.append(panel.pyramid.texels[: panel.pyramid.starts[1], 3].sum() * 0.002**2)
        assert 0.35 < panel.top < 0.65 and panel.top - 0.002 * panel.pyramid.rows > 0.0
    # From a badge of a few square centimetres to a picture of two decimetres.
    assert min(sizes) < 0.002 and 0.01 < max(sizes) < 0.07
    assert PanelDrawing().finish() is None


def test_oklch():
    # Black, white, and pure red (from the table of the source).
    assert np.allclose(oklch_to_rgb(0, 0, 0), 0) and np.allclose(oklch_to_rgb(1, 0, 123), 1, atol=1e-3)
    assert np.allclose(oklch_to_rgb(0.62796, 0.25768, 29.234), (1, 0, 0), atol=5e-3)


def test_palettes_are_continuous_often_neutral_and_can_be_told_apart():
    palettes = np.stack([draw_palette(np.random.default_rng(seed), 3) for seed in range(300)])
    assert palettes.min() >= 0 and palettes.max() <= 1
    assert len(np.unique(palettes[:, 0].round(3), axis=0)) > 290
    grey = np.ptp(palettes[:, 0], axis=1) < 0.06
    assert 0.3 < grey.mean() < 0.7
    assert np.linalg.norm(palettes[:, 0] - palettes[:, 1], axis=1).min() > 0.3
    denim = np.stack([draw_denim_colour(np.random.default_rng(seed)) for seed in range(50)])
    leather = np.stack([draw_leather_colour(np.random.default_rng(seed)) for seed in range(50)])
    assert (denim[:, 2] >= denim[:, 0] - 0.06).all() and leather.mean() < 0.4


def test_scales_are_drawn_by_their_logarithm():
    scales = [draw_scale(np.random.default_rng(seed), 0.01, 0.16) for seed in range(400)]
    assert 0.01 <= min(scales) and max(scales) <= 0.16
    assert np.median(scales) == pytest.approx(0.04, rel=0.25)


def test_tile_noise_repeats_and_has_unit_variance():
    noise = draw_noise(np.random.default_rng(0), 128, 4)
    assert noise.std() == pytest.approx(1, abs=1e-3)
    steps = np.abs(np.diff(noise, axis=1))
    assert np.abs(noise[:, 0] - noise[:, -1]).max() <= steps.max() * 1.5


def test_noise_meets_its_grid_and_repeats():
    grid = np.random.default_rng(0).standard_normal((4, 4))
    columns, rows = np.meshgrid(np.arange(4.0), np.arange(4.0))
    assert np.allclose(smooth_noise(grid, columns, rows), grid)
    assert np.allclose(smooth_noise(grid, columns + 0.3 + 4, rows - 8), smooth_noise(grid, columns + 0.3, rows))
    assert np.allclose(smooth_noise(grid, np.array([0.5]), np.array([0.0])), grid[0, :2].mean())
