# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The pose format: conversions point by point, files, and what is refused."""

import json

import numpy as np
import pytest

from diffusers_tryon.poses import (
    KEYPOINT_NAMES,
    body25_to_openpose18,
    check_pose,
    coco17_to_openpose18,
    deepfashion_multimodal21_to_openpose18,
    dwpose_to_openpose18,
    hide_points_outside_image,
    load_pose,
    mediapipe33_to_openpose18,
    normalize_keypoints,
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


BODY25_NAMES = (
    "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist middle_hip right_hip "
    "right_knee right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear left_ear left_big_toe "
    "left_small_toe left_heel right_big_toe right_small_toe right_heel"
).split()
MEDIAPIPE_NAMES = (
    "nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye right_eye_outer left_ear right_ear "
    "mouth_left mouth_right left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist left_pinky "
    "right_pinky left_index right_index left_thumb right_thumb left_hip right_hip left_knee right_knee left_ankle "
    "right_ankle left_heel right_heel left_foot_index right_foot_index"
).split()
MULTIMODAL_NAMES = (
    "top right_ear right_eye left_eye left_ear nose chin right_shoulder left_shoulder right_armpit left_armpit "
    "right_elbow left_elbow right_wrist right_hip left_hip left_wrist right_knee left_knee right_ankle left_ankle"
).split()


@pytest.mark.parametrize(
    ("convert", "names", "has_neck"),
    [
        (body25_to_openpose18, BODY25_NAMES, True),
        (mediapipe33_to_openpose18, MEDIAPIPE_NAMES, False),
        (deepfashion_multimodal21_to_openpose18, MULTIMODAL_NAMES, False),
    ],
)
def test_every_point_keeps_its_name(convert, names, has_neck):
    points = np.stack([[number, 100 + number, 0.5 + number / 100] for number in range(len(names))])
    before = points.copy()
    converted = dict(zip(KEYPOINT_NAMES, convert(np.stack([points, points + 1]))[0], strict=True))
    if not has_neck:
        right, left = points[names.index("right_shoulder")], points[names.index("left_shoulder")]
        middle = (right[0] + left[0]) / 2, (right[1] + left[1]) / 2, min(right[2], left[2])
        np.testing.assert_allclose(converted.pop("neck"), middle)
    for name, point in converted.items():
        np.testing.assert_array_equal(point, points[names.index(name)], err_msg=name)
    np.testing.assert_array_equal(points, before)
    with pytest.raises(ValueError, match=f"`keypoints` must have shape .*{len(names)}, 3.*, got .18, 3."):
        convert(np.zeros((18, 3)))


def test_dwpose_marks_missing_points_by_minus_one_and_takes_scores_as_visibility():
    keypoints = np.full((2, 18, 2), 0.25)
    keypoints[:, :, 1] = 0.75
    keypoints[0, 4] = -1
    keypoints[1, 10] = (0.5, 1.2)
    scores = np.full((2, 18), 0.9)
    scores[0, 0] = 1.04
    scores[1, 3] = 0
    with_scores = dwpose_to_openpose18(keypoints, scores)
    assert with_scores.shape == (2, 18, 3) and with_scores.dtype == np.float32
    np.testing.assert_array_equal(with_scores[0, 4], 0)
    np.testing.assert_array_equal(with_scores[1, 10], 0)
    np.testing.assert_array_equal(with_scores[1, 3], 0)
    np.testing.assert_allclose(with_scores[0, 0], (0.25, 0.75, 1))
    np.testing.assert_allclose(with_scores[1, 5], (0.25, 0.75, 0.9))
    without = dwpose_to_openpose18(keypoints[1])
    np.testing.assert_allclose(without[3], (0.25, 0.75, 1))
    np.testing.assert_array_equal(without[10], 0)
    check_pose(with_scores, "pose")


@pytest.mark.parametrize(
    ("keypoints", "scores", "message"),
    [
        (np.zeros((18, 3)), None, r"`keypoints` must have shape \(..., 18, 2\)"),
        (np.zeros((18, 2)), np.zeros(17), r"`scores` must have shape \(18,\)"),
        (np.zeros((18, 2)), np.arange(18) - 1, "`subset` holds indices"),
        (np.zeros((18, 2)), np.full(18, np.nan), "`scores` must be confidences"),
    ],
)
def test_what_is_no_dwpose_body_is_refused(keypoints, scores, message):
    with pytest.raises(ValueError, match=message):
        dwpose_to_openpose18(keypoints, scores)


def test_pixels_become_units_of_width_and_height():
    pixels = np.zeros((18, 3))
    pixels[0] = (96, 64, 0.7)
    pixels[1] = (384, 512, 1.03)
    pixels[2] = (385, 10, 0.9)
    pixels[3] = (10, 10, 0)
    normalized = normalize_keypoints(pixels, height=512, width=384)
    np.testing.assert_allclose(normalized[:4], [(0.25, 0.125, 0.7), (1, 1, 1), (0, 0, 0), (0, 0, 0)], rtol=1e-6)
    assert normalized.dtype == np.float32


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
        ("[" * 200_000, "not valid JSON"),
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


@pytest.mark.parametrize(
    "point, message", [((120.0, 300.0, 1.0), "Divide pixels"), ((float("nan"), 0.5, 1.0), "NaN or infinite")]
)
def test_pose_files_whose_points_lie_nowhere_in_the_image_are_refused(tmp_path, point, message):
    content = {"format": "openpose_18", "normalized": True, "keypoints": [point] * 18}
    (tmp_path / "pose.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        load_pose(tmp_path / "pose.json")
