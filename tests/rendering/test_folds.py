# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Folds of cloth on squares whose stretch is known."""

import numpy as np
import pytest

from diffusers_tryon.rendering.folds import cloth_directions, draw_wrinkles, fold_cloth, pushed_share
from diffusers_tryon.rendering.surfaces import Surface


def piece(along_u: tuple[float, float, float], along_v: tuple[float, float, float]) -> Surface:
    """A square metre of cloth whose metre along u and along v goes these ways."""
    cloth = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    vertices = (cloth @ np.array([along_u, along_v])).astype(np.float32)
    return Surface(
        vertices=vertices,
        normals=np.tile(np.float32((0, -1, 0)), (4, 1)),
        faces=faces,
        labels=np.full(4, 3, np.uint8),
        texture_coordinates=cloth[faces],
    )


@pytest.mark.parametrize(("along_u", "along_v"), [((1, 0, 0), (0, 0, 1)), ((0, 2, 0.5), (0.3, 0, 0.4))])
def test_the_directions_of_the_cloth(along_u, along_v):
    found_u, found_v = cloth_directions(piece(along_u, along_v))
    assert found_u.dtype == np.float32 and np.allclose(found_u, [along_u, along_u], atol=1e-6)
    assert np.allclose(found_v, [along_v, along_v], atol=1e-6)


def test_cloth_is_pushed_where_it_is_shorter_than_it_should_be():
    shares = [pushed_share(surface, cloth_directions(surface)[1]) for surface in
              (piece((1, 0, 0), (0, 0, length)) for length in (1.2, 1.0, 0.76, 0.5))]  # fmt: skip
    assert (shares[0] == 0).all() and (shares[1] == 0).all() and (shares[3] == 1).all()
    assert np.allclose(shares[2], 0.5, atol=0.01)


def test_a_face_without_cloth_has_no_direction():
    surface = piece((1, 0, 0), (0, 0, 1))
    surface.texture_coordinates[0] = 0
    assert (cloth_directions(surface)[0][0] == 0).all() and np.isfinite(cloth_directions(surface)[1]).all()


def test_folds_tilt_along_the_cloth_and_repeat_around_the_torso_and_after_a_metre():
    rng = np.random.default_rng(0)
    points = (rng.random((50, 2)) * 3).astype(np.float32)
    along_u, along_v = np.tile(np.float32((0, 1, 0)), (50, 1)), np.tile(np.float32((0, 0, 1)), (50, 1))
    start = draw_wrinkles(rng)
    flat, full = np.zeros(50, np.float32), np.ones(50, np.float32)
    tilt, brightness = fold_cloth(points, flat, along_u, along_v, start)
    assert tilt.dtype == np.float32 and (tilt[:, 0] == 0).all() and (tilt[:, 1] != 0).any()
    # Hanging folds run along v: what they tilt, they tilt mostly along u.
    assert np.abs(tilt[:, 1]).mean() > 2 * np.abs(tilt[:, 2]).mean()
    assert ((brightness > 0.6) & (brightness < 1.2)).all()
    pushed, _ = fold_cloth(points, full, along_u, along_v, start)
    assert np.abs(pushed - tilt)[:, 2].mean() > 2 * np.abs(pushed - tilt)[:, 1].mean()
    # Off the borders of the pattern's texels, where rounding decides.
    inside = np.abs((points / (2 * np.pi * 0.15, 1) + start) * 512 % 1 - 0.5).max(axis=1) < 0.45
    again, _ = fold_cloth(points + np.float32((2 * np.pi * 0.15, 2)), flat, along_u, along_v, start)
    assert np.array_equal(again[inside], tilt[inside])


def test_the_slopes_are_those_of_a_height():
    """What goes up along a closed way comes down again: the slopes along any line of the pattern sum to zero."""
    steps = ((np.arange(512) + 0.5) / 512).astype(np.float32)
    zeros, frame = np.zeros(512, np.float32), np.eye(3, dtype=np.float32)
    along_u, along_v = np.tile(frame[0], (512, 1)), np.tile(frame[2], (512, 1))
    across, _ = fold_cloth(
        np.stack([steps * np.float32(2 * np.pi * 0.15), zeros + 0.3], 1), zeros, along_u, along_v, np.zeros(2)
    )
    down, _ = fold_cloth(np.stack([zeros + 0.3, steps], 1), zeros, along_u, along_v, np.zeros(2))
    assert abs(across[:, 0].mean()) < 1e-5 and abs(down[:, 2].mean()) < 1e-5
    assert across[:, 0].std() > 0.05
