# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Keypoints are read from heat maps to a fraction of a pixel."""

import numpy as np
import pytest
import torch

from diffusers_tryon.poses import coco17_to_openpose18
from diffusers_tryon.preprocessing.heatmaps import (
    COCO17_NAMES,
    SIGMA,
    decode_heat_maps,
    draw_heat_maps,
    openpose18_to_coco17,
)


def gaussian(x: float, y: float, height: float, rows: int, columns: int, sigma_pixels: float = 2.0) -> np.ndarray:
    """A Gaussian in pixels, written out; pixel (0, 0) has its middle at (0.5, 0.5)."""
    picture = np.zeros((rows, columns))
    for row in range(rows):
        for column in range(columns):
            distance = (column + 0.5 - x) ** 2 + (row + 0.5 - y) ** 2
            picture[row, column] = height * np.exp(-distance / (2 * sigma_pixels**2))
    return picture


def test_gaussians_are_found_between_pixels_with_their_height():
    places = [(20.5, 11.5, 1.0), (20.7, 11.2, 0.9), (7.01, 30.99, 0.5), (40.26, 3.4, 0.07)]
    maps = np.stack([gaussian(*place, rows=36, columns=48) for place in places])
    found = decode_heat_maps(maps)
    assert found.dtype == np.float32 and found.shape == (4, 3)
    for (x, y, height), point in zip(places, found):
        np.testing.assert_allclose(point, (x / 48, y / 36, height), atol=1e-4)


def test_what_is_drawn_is_read_again():
    keypoints = torch.rand(3, 17, 3, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1
    maps = draw_heat_maps(keypoints, 64)
    assert maps.shape == (3, 17, 64, 64)
    np.testing.assert_allclose(decode_heat_maps(maps.numpy()), keypoints, atol=1e-3)


def test_a_drawn_map_is_a_gaussian_of_two_pixels_in_64_whatever_its_size():
    assert SIGMA * 64 == 2
    for size in (32, 64):
        drawn = draw_heat_maps(torch.tensor([[[0.3, 0.6, 0.5]]]), size)[0, 0]
        expected = gaussian(0.3 * size, 0.6 * size, 0.5, size, size, sigma_pixels=size / 32)
        np.testing.assert_allclose(drawn, expected, atol=1e-6)


def test_an_empty_map_has_no_confidence_and_a_joint_at_the_edge_stays_in_the_picture():
    maps = np.zeros((2, 8, 8))
    maps[1, 0, 7] = 0.6
    found = decode_heat_maps(maps)
    assert found[0, 2] == 0
    np.testing.assert_allclose(found[1], (7.5 / 8, 0.5 / 8, 0.6), atol=1e-6)


def test_two_peaks_give_the_higher_one():
    maps = np.maximum(gaussian(10, 10, 0.4, 40, 40), gaussian(30, 25, 0.6, 40, 40))[None]
    np.testing.assert_allclose(decode_heat_maps(maps)[0], (0.75, 0.625, 0.6), atol=1e-3)


def test_the_orders_of_keypoints_are_inverse():
    coco = np.random.default_rng(0).random((2, 17, 3))
    np.testing.assert_array_equal(openpose18_to_coco17(coco17_to_openpose18(coco)), coco)
    assert COCO17_NAMES[9] == "left_wrist" and COCO17_NAMES[16] == "right_ankle"


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (np.zeros((8, 8)), "must have shape"),
        (np.full((1, 8, 8), 3.0), "Apply a sigmoid"),
        (np.full((1, 8, 8), np.nan), "must lie in"),
    ],
)
def test_what_is_no_heat_map_is_refused(maps, message):
    with pytest.raises(ValueError, match=message):
        decode_heat_maps(maps)


def test_keypoints_of_another_count_are_refused():
    with pytest.raises(ValueError, match=r"\(\.\.\., 18, 3\)"):
        openpose18_to_coco17(np.zeros((17, 3)))
