# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The pose format: conversion from COCO-17 point by point, files, and what is refused."""

import json

import numpy as np
import pytest

from diffusers_tryon.poses import (
    KEYPOINT_NAMES,
    check_pose,
    coco17_to_openpose18,
    hide_points_outside_image,
    load_pose,
    save_pose,
)


COCO_NAMES = (
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow left_wrist "
    "right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle"
).split()


def test_every_coco_point_keeps_its_name_and_the_neck_is_between_the_shoulders():
    coco = np.stack([[number, 100 + number, 0.9] for number in range(17)]).astype(np.float32)
    coco[COCO_NAMES.index("left_shoulder")] = (10, 40, 0.2)
    coco[COCO_NAMES.index("right_shoulder")] = (20, 60, 0.7)
    converted = dict(zip(KEYPOINT_NAMES, coco17_to_openpose18(coco), strict=True))
    for name, point in zip(COCO_NAMES, coco, strict=True):
        np.testing.assert_array_equal(converted.pop(name), point)
    assert list(converted) == ["neck"]
    np.testing.assert_allclose(converted["neck"], (15, 50, 0.2))
    with pytest.raises(ValueError, match="`keypoints` must have shape .* for COCO-17, got .18, 3."):
        coco17_to_openpose18(np.zeros((18, 3)))


def test_points_outside_the_image_are_missing():
    points = np.array([[0.0, 1.0, 0.5], [1.01, 0.5, 0.9], [0.5, -0.1, 0.9], [0.3, 0.3, 0.0]])
    hidden = hide_points_outside_image(points)
    np.testing.assert_array_equal(hidden, np.array([[0, 1, 0.5], [0, 0, 0], [0, 0, 0], [0, 0, 0]], np.float32))


def test_a_saved_pose_is_read_back(tmp_path):
    pose = np.random.default_rng(0).uniform(size=(18, 3)).astype(np.float32)
    pose[4] = 0
    save_pose(pose, tmp_path / "pose.json")
    np.testing.assert_allclose(load_pose(tmp_path / "pose.json"), pose, atol=1e-5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        (json.dumps([1]), "must hold"),
        (json.dumps({"format": "openpose_18", "normalized": False, "keypoints": []}), "must hold"),
        (json.dumps({"format": "openpose_18", "normalized": True, "keypoints": [[0, 0, 0]] * 17}), "18 keypoints"),
        (json.dumps({"format": "openpose_18", "normalized": True, "keypoints": [["a", 0, 0]] * 18}), "not numbers"),
        (json.dumps({"format": "openpose_18", "normalized": True, "keypoints": [[0, 0, 2]] * 18}), "visibilities"),
    ],
)
def test_a_file_that_is_no_pose_is_refused(tmp_path, content, message):
    (tmp_path / "pose.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        load_pose(tmp_path / "pose.json")


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [((3, 0), np.nan, "NaN"), ((3, 0), 64.0, r"x and y in \[0, 1\]"), ((3, 2), -0.5, r"visibilities in \[0, 1\]")],
)
def test_values_outside_the_format_are_refused(place, value, message):
    pose = np.full((18, 3), 0.5, dtype=np.float32)
    check_pose(pose, "person_pose")
    pose[place] = value
    with pytest.raises(ValueError, match=f"`person_pose` .*{message}"):
        check_pose(pose, "person_pose")
