# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Backgrounds: walls, floors, shadows and things, where the camera sees them."""

from dataclasses import replace

import numpy as np
import pytest

from diffusers_tryon.rendering.backgrounds import Background, Shadow, cast_shadow, draw_background
from diffusers_tryon.rendering.body import load_body_asset, rotation
from diffusers_tryon.rendering.cameras import Camera
from diffusers_tryon.rendering.lighting import Light
from diffusers_tryon.rendering.scenery import (
    FLOOR_TEXTURES,
    WALL_TEXTURES,
    Panel,
    Texture,
    draw_clutter,
    draw_foliage,
    draw_houses,
    draw_lights,
    plain,
)


RED, GREEN, BLUE = np.eye(3) * 0.6
# Even light from all around, of strength 1.
EVEN = Light(np.array([0.0, -1, 0]), np.zeros(3), np.array([0.0, -1, 0]), np.zeros(3), np.ones(3), np.ones(3))
NO_SHADOW = Shadow(0.0, np.zeros(2), np.zeros((72, 72), np.uint8))
# One metre above the floor, it sees 2 m at a distance of 4 m.
CAMERA = Camera(np.array([0.0, 0.0, 1.0]), extent=2.0, distance=4.0)
SIZE = 40


def paint(background: Background, camera: Camera = CAMERA, shadow: Shadow = NO_SHADOW, size: int = SIZE) -> np.ndarray:
    return background.paint(camera, EVEN, shadow, size)


def test_wall_and_floor_meet_where_the_camera_sees_their_edge():
    # The edge, 4 m behind the person, is 8 m away and 1 m below the camera: a quarter below the middle.
    picture = paint(Background(plain(RED), plain(BLUE), distance=4.0))
    assert np.allclose(picture[:30], RED, atol=1 / 255) and np.allclose(picture[30:], BLUE, atol=1 / 255)


def test_a_tilted_camera_tilts_the_background():
    background = Background(plain(RED), plain(BLUE), distance=4.0)
    tilted = replace(CAMERA, axes=rotation((0, 1, 0), 10).T)
    picture = paint(background, tilted)
    edge = [np.nonzero(picture[:, column, 2] > 0.3)[0][0] for column in (0, SIZE - 1)]
    # The camera's right goes down by 10 degrees, so the edge rises on the right by tan(10) of the width.
    assert edge[0] - edge[1] == pytest.approx(SIZE * np.tan(np.radians(10)), abs=1.5)


def test_things_lie_on_the_wall_in_metres():
    # 8 m away the picture spans 4 m: a metre is a quarter of it. The middle of the picture is 1 m high.
    square = Panel((1.0, 1.0), (0.5, 0.5), plain(GREEN))
    picture = paint(Background(plain(RED), plain(BLUE), distance=4.0, panels=(square,)))
    green = np.abs(picture - GREEN).max(axis=-1) < 0.01
    expected = np.zeros((SIZE, SIZE), bool)
    expected[15:25, 25:35] = True
    assert np.array_equal(green, expected)


def test_panels_are_turned_round_and_translucent():
    u, v = (axis.ravel() for axis in np.meshgrid(np.linspace(-1, 1, 200), np.linspace(-1, 1, 200)))

    def share(panel: Panel) -> float:
        colours = np.zeros((len(u), 3))
        panel.paint(colours, u, v)
        return colours[:, 0].mean() / 0.6

    assert share(Panel((0, 0), (0.5, 0.25), plain(RED))) == pytest.approx(0.125, abs=0.02)
    assert share(Panel((0, 0), (0.5, 0.25), plain(RED), round=True)) == pytest.approx(np.pi / 32, abs=0.02)
    assert share(Panel((0, 0), (0.5, 0.25), plain(RED), opacity=0.5)) == pytest.approx(0.0625, abs=0.01)
    colours = np.zeros((len(u), 3))
    Panel((0, 0), (0.9, 0.05), plain(RED), turn=90).paint(colours, u, v)
    assert np.ptp(v[colours[:, 0] > 0]) > 1.7 and np.ptp(u[colours[:, 0] > 0]) < 0.2


def test_the_light_colours_the_background():
    warm = replace(EVEN, sky=np.array([1.0, 0.8, 0.5]), ground=np.array([1.0, 0.8, 0.5]))
    grey = Background(plain(np.full(3, 0.5)), plain(np.full(3, 0.5)), distance=4.0)
    assert np.allclose(grey.paint(CAMERA, warm, NO_SHADOW, 8), (0.5, 0.4, 0.25), atol=1 / 255)


def test_a_person_throws_a_shadow_on_the_floor_away_from_the_light():
    body = load_body_asset().shapes[0][load_body_asset().groups["body"][0]]
    from_the_left = replace(EVEN, key_direction=np.array([0.7, 0.0, 0.714]), key_colour=np.ones(3))
    shadow = cast_shadow(body, from_the_left)
    assert shadow.height == body[:, 2].min()
    left, right = (shadow.at(shadow.middle + np.array([[side * 0.6, 0.0]])) for side in (1, -1))
    assert right > left
    feet = body[body[:, 2] < body[:, 2].min() + 0.05, :2]
    assert shadow.at(feet).mean() > 0.5
    assert shadow.at(np.array([[30.0, 0.0], [0.0, -30.0]])).max() == 0
    # Shadow takes light from the floor, nothing from the wall.
    background = Background(plain(RED), plain(BLUE), distance=1.0)
    lit, shaded = paint(background), paint(background, shadow=replace(shadow, height=0.0))
    assert (shaded <= lit).all() and (shaded < lit - 0.05).any() and np.array_equal(lit[:10], shaded[:10])


def test_blur_softens_edges_at_any_size():
    sharp = Background(plain(np.zeros(3)), plain(np.ones(3) * 0.7), distance=4.0)
    blurred = replace(sharp, blur=0.05)
    for size in (16, 64):
        steps = [np.abs(np.diff(paint(one, size=size)[:, 3, 0])).max() for one in (sharp, blurred)]
        assert paint(blurred, size=size).shape == (size, size, 3)
        assert steps[1] < 0.75 * steps[0]


@pytest.mark.parametrize("name", sorted(WALL_TEXTURES | FLOOR_TEXTURES))
def test_textures_have_two_colours_and_follow_from_the_seed(name):
    make = (WALL_TEXTURES | FLOOR_TEXTURES)[name]
    u, v = np.random.default_rng(0).uniform(-5, 5, (2, 3000))
    share, again = (make(np.random.default_rng(1))(u, v) for _ in range(2))
    assert share.shape == u.shape and np.array_equal(share, again) and share.std() > 0.02
    assert share.min() > -1.2 and share.max() < 2.2
    texture = Texture(RED, BLUE, make(np.random.default_rng(1)))
    assert np.allclose(texture.colour_at(u, v), RED + share[:, None] * (BLUE - RED))


def test_scenery_is_drawn_from_the_seed():
    for draw in (lambda rng: draw_clutter(rng, 6), draw_houses, draw_lights):
        first, second, other = (draw(np.random.default_rng(seed)) for seed in (2, 2, 3))
        assert [panel.centre for panel in first] == [panel.centre for panel in second]
        assert [panel.centre for panel in first] != [panel.centre for panel in other]
    assert draw_foliage(np.random.default_rng(0)).first[1] > draw_foliage(np.random.default_rng(0)).first[0]


def test_drawn_backgrounds_go_from_plain_to_cluttered():
    pictures = [paint(draw_background(np.random.default_rng(seed)), size=32) for seed in range(60)]
    again = paint(draw_background(np.random.default_rng(7)), size=32)
    assert np.array_equal(pictures[7], again)
    assert all(picture.shape == (32, 32, 3) and 0 <= picture.min() and picture.max() <= 1 for picture in pictures)
    spread = np.array([picture.std(axis=(0, 1)).mean() for picture in pictures])
    assert np.mean(spread < 0.03) > 0.15 and np.mean(spread > 0.08) > 0.15
    brightness = [picture.mean() for picture in pictures]
    assert min(brightness) < 0.35 and max(brightness) > 0.75
