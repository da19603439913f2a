# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Light on surfaces of known direction."""

import numpy as np
import pytest

from diffusers_tryon.rendering.body import rotation
from diffusers_tryon.rendering.lighting import Light, develop, draw_light


FRONT, UP, BACK = np.array([(0.0, -1.0, 0.0), (0.0, 0.0, 1.0), (0.0, 1.0, 0.0)])
LIGHT = Light(
    key_direction=FRONT,
    key_colour=np.array([0.6, 0.5, 0.4]),
    fill_direction=UP,
    fill_colour=np.array([0.0, 0.1, 0.2]),
    sky=np.full(3, 0.3),
    ground=np.full(3, 0.1),
    shadow=0.75,
)


def test_key_fill_and_ambient_light_add_up():
    expected = {
        "front": (FRONT, 0.0, (0.8, 0.7, 0.6)),
        "front in shadow": (FRONT, 1.0, (0.35, 0.325, 0.3)),
        "above": (UP, 0.0, (0.3, 0.4, 0.5)),
        "behind": (BACK, 0.0, (0.2, 0.2, 0.2)),
        "below": (-UP, 0.0, (0.1, 0.1, 0.1)),
    }
    for name, (normal, blocked, colour) in expected.items():
        assert np.allclose(LIGHT.at(normal[None], np.array([blocked])), colour), name


def test_a_soft_light_reaches_around_the_edge():
    soft = Light(**{**vars(LIGHT), "softness": 0.5})
    sideways = np.array([[1.0, 0.0, 0.0]])
    assert np.allclose(LIGHT.at(sideways, np.zeros(1)), 0.2)
    assert np.allclose(soft.at(sideways, np.zeros(1)), 0.2 + LIGHT.key_colour / 3)
    assert np.allclose(soft.at(FRONT[None], np.zeros(1)), LIGHT.at(FRONT[None], np.zeros(1)))


def test_light_turns_with_the_camera_and_the_sky_stays_above():
    # From the front of the camera, after it walked around by 90 degrees to the person's left.
    camera = (rotation((0, 0, 1), 90) @ rotation((1, 0, 0), -12)).T
    turned = LIGHT.turned(camera)
    assert np.allclose(turned.key_direction, (1, 0, 0)) and np.allclose(turned.fill_direction, UP)


def test_developing_keeps_middle_tones_lifts_dark_ones_and_never_burns_out():
    colours = np.array([0.0, 0.02, 0.1, 0.2, 0.3, 0.8, 1.0, 1.5, 4.0])
    developed = develop(colours)
    assert developed[0] == 0 and np.allclose(developed[3:6], colours[3:6])
    assert 1.5 < developed[1] / colours[1] < 2 and 1.1 < developed[2] / colours[2] < 1.3
    assert (np.diff(developed) > 0).all() and 0.8 < developed[6] < 0.95 and developed[-1] <= 1


def test_drawn_lights_differ_and_leave_nothing_in_the_dark():
    lights = [draw_light(np.random.default_rng(seed)) for seed in range(200)]
    normals = np.array([(0.0, -1.0, 0.0), (0.8, -0.6, 0.0), (-0.8, -0.6, 0.0)])
    lit = np.array([light.at(normals, np.zeros(3)) for light in lights])
    shadowed = np.array([light.at(normals, np.ones(3)) for light in lights])
    assert 0.6 < lit[:, 0].mean(axis=1).min() and lit[:, 0].mean(axis=1).max() < 1.4
    # Nothing that faces the camera is darker than a quarter of full light, even in the shadow.
    assert shadowed[:, 0].min() > 0.25
    # From one side or the other, warm or cold, soft or hard.
    sides = lit[:, 1].mean(axis=1) / lit[:, 2].mean(axis=1)
    assert sides.max() > 1.6 and sides.min() < 0.6
    warmth = lit[:, 0, 0] / lit[:, 0, 2]
    assert warmth.max() > 1.1 and warmth.min() < 0.97
    strength = (shadowed / lit)[:, 0].mean(axis=1)
    assert strength.max() > 0.9 and strength.min() < 0.6
    for light in lights:
        assert np.linalg.norm(light.key_direction) == pytest.approx(1)
        assert light.key_direction[1] < 0 and light.key_direction[2] >= 0


def test_lights_follow_from_the_seed():
    first, second, other = (draw_light(np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert all(np.array_equal(vars(first)[name], vars(second)[name]) for name in vars(first))
    assert not np.array_equal(first.key_direction, other.key_direction)
