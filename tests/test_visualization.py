# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Side-by-side pictures and drawn poses."""

import numpy as np
import pytest
from PIL import Image

from diffusers_tryon.visualization import Panel, draw_pose, side_by_side


def pose_with(points: dict[int, tuple[float, float]]) -> np.ndarray:
    pose = np.zeros((18, 3), dtype=np.float32)
    for index, (x, y) in points.items():
        pose[index] = (x, y, 1.0)
    return pose


def drawn(pose: np.ndarray, size=(96, 192)) -> np.ndarray:
    """Where `draw_pose` changed a black image, (height, width) bool."""
    return np.asarray(draw_pose(Image.new("RGB", size), pose)).any(axis=-1)


def test_a_visible_point_is_drawn_at_its_place_and_a_missing_one_is_not():
    marks = drawn(pose_with({4: (0.25, 0.75)}))
    rows, columns = np.nonzero(marks)
    assert abs(rows.mean() - 0.75 * 192) < 1.5 and abs(columns.mean() - 0.25 * 96) < 1.5
    assert not drawn(np.zeros((18, 3))).any()


def test_a_bone_needs_both_its_ends():
    between = (np.s_[90:102], np.s_[40:56])
    assert drawn(pose_with({2: (0.5, 0.25), 3: (0.5, 0.75)}))[between].any()
    assert not drawn(pose_with({2: (0.5, 0.25), 4: (0.5, 0.75)}))[between].any()


def test_drawing_leaves_the_image_alone():
    image = Image.new("RGB", (32, 32))
    draw_pose(image, pose_with({0: (0.5, 0.5)}))
    assert not np.asarray(image).any()


def test_a_pose_in_pixels_is_refused():
    with pytest.raises(ValueError, match=r"`pose` must have x and y in \[0, 1\]"):
        draw_pose(Image.new("RGB", (32, 32)), pose_with({0: (16.0, 16.0)}))


def test_panels_stand_in_order_at_one_height_under_captions():
    red = Panel(Image.new("RGB", (64, 64), (255, 0, 0)), "red")
    green = Panel(Image.new("L", (20, 40), 90), "grey")
    picture = np.asarray(side_by_side([red, green], height=128))
    body = picture[-72]  # a row in the middle of the panels
    is_red = (body == (255, 0, 0)).all(axis=-1)
    is_grey = (body == (90, 90, 90)).all(axis=-1)
    assert is_red.sum() == 128 and is_grey.sum() == 64
    assert np.flatnonzero(is_red).max() < np.flatnonzero(is_grey).min()
    captions = picture[:20]
    left, right = np.flatnonzero(is_red), np.flatnonzero(is_grey)
    assert (captions[:, left] < 128).any() and (captions[:, right] < 128).any()


def test_a_taller_image_sets_the_height():
    picture = side_by_side([Panel(Image.new("RGB", (300, 300)), "tall"), Panel(Image.new("RGB", (10, 10)), "small")])
    black = (np.asarray(picture) == 0).all(axis=-1)
    assert black.sum() >= 2 * 300 * 300


def test_show_pixels_keeps_the_edges_of_pixels():
    checker = Image.fromarray((np.indices((4, 4)).sum(axis=0) % 2 * 255).astype(np.uint8))
    panel = np.asarray(side_by_side([Panel(checker, "", show_pixels=True)], height=64))[24:88, 8:72]
    assert set(np.unique(panel)) == {0, 255}
    smooth = np.asarray(side_by_side([Panel(checker, "")], height=64))[24:88, 8:72]
    assert len(np.unique(smooth)) > 2


def test_transparent_pixels_show_white():
    panels = [Panel(Image.new("RGBA", (64, 64), (200, 0, 0, 0)), "")]
    assert (np.asarray(side_by_side(panels)) == 255).all()


def test_a_long_caption_stays_over_its_panel():
    panels = [Panel(Image.new("RGB", (16, 64), (0, 0, 255)), "a caption much longer than its panel" * 3)]
    picture = np.asarray(side_by_side([*panels, Panel(Image.new("RGB", (256, 64)), "")], height=64))
    assert (picture[:24, 8 + 16 :] == 255).all()


def test_no_panels_are_refused():
    with pytest.raises(ValueError, match="`panels` must hold one image at least"):
        side_by_side([])
