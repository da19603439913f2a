# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Keypoint files of OpenPose and of the data sets, each against an example written by hand."""

import json

import numpy as np
import pytest

from diffusers_tryon.pose_files import (
    read_deepfashion_annotations,
    read_deepfashion_multimodal_keypoints,
    read_dresscode_keypoints,
    read_openpose_json,
)
from diffusers_tryon.poses import KEYPOINT_NAMES, OCCLUDED_VISIBILITY


# One person of 768x1024 as OpenPose writes it (BODY_25, the left leg and the left ear not found).
BODY25 = [
    [384.0, 150.5, 0.91], [380.0, 260.0, 0.85], [300.0, 262.0, 0.80], [280.0, 400.0, 0.78], [270.0, 520.0, 0.75],
    [460.0, 258.0, 0.82], [480.0, 396.0, 0.79], [490.0, 516.0, 0.71], [382.0, 540.0, 0.70], [330.0, 542.0, 0.69],
    [320.0, 760.0, 0.66], [316.0, 980.0, 0.60], [432.0, 538.0, 0.68], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0],
    [366.0, 132.0, 0.93], [402.0, 130.0, 0.94], [342.0, 145.0, 0.81], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0],
    [0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [300.0, 1000.0, 0.5], [290.0, 998.0, 0.5], [322.0, 1000.0, 0.5],
]  # fmt: skip


def write_openpose(path, *people):
    entries = [{"person_id": [-1], "pose_keypoints_2d": list(np.ravel(person))} for person in people]
    path.write_text(json.dumps({"version": 1.3, "people": entries}))
    return path


def by_name(pose):
    return dict(zip(KEYPOINT_NAMES, np.asarray(pose, np.float64).tolist(), strict=True))


def test_openpose_body25_file(tmp_path):
    # A second person stands behind the first; the loaders of the field take the first.
    path = write_openpose(tmp_path / "00006_00_keypoints.json", BODY25, np.ones((25, 3)) * 0.5)
    pose = read_openpose_json(path, height=1024, width=768)
    assert pose.shape == (18, 3) and pose.dtype == np.float32
    points = by_name(pose)
    assert points["nose"] == pytest.approx([384 / 768, 150.5 / 1024, 0.91])
    assert points["right_hip"] == pytest.approx([330 / 768, 542 / 1024, 0.69])
    assert points["left_hip"] == pytest.approx([432 / 768, 538 / 1024, 0.68])
    assert points["right_ankle"] == pytest.approx([316 / 768, 980 / 1024, 0.60])
    assert points["right_eye"] == pytest.approx([366 / 768, 132 / 1024, 0.93])
    assert points["right_ear"] == pytest.approx([342 / 768, 145 / 1024, 0.81])
    assert points["left_knee"] == points["left_ankle"] == points["left_ear"] == [0, 0, 0]


def test_openpose_coco18_file_and_nobody_found(tmp_path):
    points = np.stack([[20 * number + 5, 10 * number + 5, 0.5] for number in range(18)])
    points[17] = (500, 20, 0.9)
    path = write_openpose(tmp_path / "pose.json", points)
    pose = read_openpose_json(path, height=200, width=400)
    np.testing.assert_allclose(pose[8], ((20 * 8 + 5) / 400, (10 * 8 + 5) / 200, 0.5))
    np.testing.assert_array_equal(pose[17], 0)
    nobody = read_openpose_json(write_openpose(tmp_path / "nobody.json"), height=200, width=400)
    assert nobody.shape == (18, 3) and not nobody.any()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ('{"keypoints": []}', 'has no list "people"'),
        ('{"people": [{"face_keypoints_2d": []}]}', 'no "pose_keypoints_2d"'),
        (json.dumps({"people": [{"pose_keypoints_2d": [1.0] * 51}]}), "25 keypoints .* or 18 .*, got 17"),
        (json.dumps({"people": [{"pose_keypoints_2d": [1.0] * 55}]}), "groups of 3, got 55"),
        (json.dumps({"people": [{"pose_keypoints_2d": ["x"] * 54}]}), "not numbers"),
        (json.dumps({"people": [{"pose_keypoints_2d": [0.4, 0.5, 0.9] * 18}]}), "units of the image"),
    ],
)
def test_what_is_no_openpose_output_is_refused(tmp_path, content, message):
    path = tmp_path / "pose.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        read_openpose_json(path, height=64, width=48)
    assert str(path) in str(error.value)


def test_dresscode_file(tmp_path):
    rows = [[-1, -1, 0, -1]] * 18
    rows[0] = [192.0, 64.0, 0.95, 0.0]
    rows[4] = [96.0, 256.0, 0.5, 4.0]
    rows[7] = [1.0, 300.0, 0.9, 7.0]
    rows[15] = [200.0, 60.0, 0.8, 15.0]
    path = tmp_path / "013563_2.json"
    path.write_text(json.dumps({"keypoints": rows}))
    pose = read_dresscode_keypoints(path)
    points = by_name(pose)
    assert points.pop("nose") == pytest.approx([0.5, 0.125, 0.95])
    assert points.pop("right_wrist") == pytest.approx([0.25, 0.5, 0.5])
    assert points.pop("left_eye") == pytest.approx([200 / 384, 60 / 512, 0.8])
    assert all(point == [0, 0, 0] for point in points.values())
    for content in ({"keypoints": rows[:17]}, {"keypoints": [row[:3] for row in rows[:17]]}, {"people": []}, []):
        path.write_text(json.dumps(content))
        with pytest.raises(ValueError, match="013563_2.json"):
            read_dresscode_keypoints(path)


# A line of a published annotation file of pose-transfer code: a woman seen from the front, 256x256.
FULL_VIEW = (
    "fasionWOMENDressesid0000553705_4full.jpg: [24, 49, 49, 86, 116, 49, 85, 117, 114, 167, 216, 114, 168, 214, 19, "
    "19, 20, 21]: [129, 122, 103, 95, 83, 141, 144, 155, 112, 118, 125, 134, 126, 122, 124, 132, 115, 137]"
)


def test_deepfashion_annotations(tmp_path):
    nothing = str([-1] * 18)
    path = tmp_path / "fasion-annotation-test.csv"
    path.write_text(f"name:keypoints_y:keypoints_x\n{FULL_VIEW}\nnobody.jpg:{nothing}:{nothing}\n")
    poses = read_deepfashion_annotations(path, height=256, width=256)
    assert list(poses) == ["fasionWOMENDressesid0000553705_4full.jpg", "nobody.jpg"]
    assert not poses["nobody.jpg"].any()
    points = by_name(poses["fasionWOMENDressesid0000553705_4full.jpg"])
    assert points["nose"] == pytest.approx([129 / 256, 24 / 256, 1])
    assert points["left_wrist"] == pytest.approx([155 / 256, 117 / 256, 1])
    # She faces the camera, so all that is right lies left in the picture: shoulders as well as eyes and ears.
    for name in ("shoulder", "elbow", "wrist", "hip", "eye", "ear"):
        assert points[f"right_{name}"][0] < points[f"left_{name}"][0], name
    assert points["right_eye"] == pytest.approx([124 / 256, 19 / 256, 1])
    assert points["left_ear"] == pytest.approx([137 / 256, 21 / 256, 1])


def test_deepfashion_annotations_of_cropped_images_are_the_default(tmp_path):
    path = tmp_path / "fasion-resize-annotation-test.csv"
    y, x = [128] * 18, [88] * 18
    x[3] = 177
    path.write_text(f"name:keypoints_y:keypoints_x\nfashionMENPantsid0000014302_3back.jpg: {y}: {x}\n")
    pose = read_deepfashion_annotations(path)["fashionMENPantsid0000014302_3back.jpg"]
    np.testing.assert_allclose(pose[0], (0.5, 0.5, 1))
    np.testing.assert_array_equal(pose[3], 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must begin with the line"),
        ("name,keypoints_y,keypoints_x\n", "must begin with the line"),
        (f"name:keypoints_y:keypoints_x\n{FULL_VIEW}\na.jpg:[1, 2]\n", "Line 3"),
        ("name:keypoints_y:keypoints_x\na.jpg:[1, 2]:[1, 2]\n", "Line 2 .* 18 y and 18 x, got 2"),
        ("name:keypoints_y:keypoints_x\na.jpg:[1, 2:[1, 2]\n", "Line 2"),
        ("name:keypoints_y:keypoints_x\na.jpg:[1, 2]:[1]\n", "Line 2"),
    ],
)
def test_what_is_no_deepfashion_annotation_is_refused(tmp_path, text, message):
    path = tmp_path / "annotations.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_deepfashion_annotations(path)


# The man of the data set's own picture of its keypoints, in the order of the numbers printed there (1 to 21), in its
# 313x462 pixels: he stands facing the camera, arms down.
MULTIMODAL_MAN = [
    (160, 13), (139, 48), (151, 43), (168, 43), (179, 47), (160, 52), (160, 76), (108, 97), (213, 98), (123, 146),
    (199, 146), (109, 176), (212, 174), (107, 229), (116, 229), (203, 229), (214, 229), (133, 320), (185, 321),
    (143, 432), (175, 432),
]  # fmt: skip


def write_multimodal(folder, name, points, states):
    (folder / "keypoints_loc.txt").write_text(
        f"{name} {' '.join(str(value) for point in points for value in point)}\n"
    )
    (folder / "keypoints_vis.txt").write_text(f"{name} {' '.join(str(state) for state in states)}\n")
    return folder / "keypoints_loc.txt", folder / "keypoints_vis.txt"


def test_deepfashion_multimodal_keypoints(tmp_path):
    points, states = list(MULTIMODAL_MAN), [0] * 21
    states[13] = 1  # right wrist behind something
    points[20], states[20] = (-1, -1), 2  # left ankle outside
    files = write_multimodal(tmp_path, "MEN-Denim-id_00000089-03_7_additional.jpg", points, states)
    poses = read_deepfashion_multimodal_keypoints(*files, height=462, width=313)
    assert list(poses) == ["MEN-Denim-id_00000089-03_7_additional.jpg"]
    found = by_name(poses["MEN-Denim-id_00000089-03_7_additional.jpg"])
    assert found["nose"] == pytest.approx([160 / 313, 52 / 462, 1])
    assert found["neck"] == pytest.approx([160.5 / 313, 97.5 / 462, 1])
    assert found["right_wrist"] == pytest.approx([107 / 313, 229 / 462, OCCLUDED_VISIBILITY])
    assert found["left_ankle"] == [0, 0, 0]
    for name in ("shoulder", "elbow", "wrist", "hip", "knee", "eye", "ear"):
        assert found[f"right_{name}"][0] < found["nose"][0] < found[f"left_{name}"][0], name
    heights = [found[name][1] for name in ("right_eye", "nose", "neck", "left_elbow", "left_hip", "left_knee")]
    assert heights == sorted(heights)


def test_a_hidden_shoulder_hides_the_neck_and_an_absent_one_takes_it_away(tmp_path):
    for state, visibility in ((1, OCCLUDED_VISIBILITY), (2, 0)):
        states = [0] * 21
        states[8] = state
        files = write_multimodal(tmp_path, "a.jpg", MULTIMODAL_MAN, states)
        pose = read_deepfashion_multimodal_keypoints(*files)["a.jpg"]
        assert pose[1, 2] == pose[5, 2] == visibility
        assert pose[2, 2] == 1


def test_what_is_no_deepfashion_multimodal_file_is_refused(tmp_path):
    files = write_multimodal(tmp_path, "a.jpg", MULTIMODAL_MAN, [0] * 20 + [3])
    with pytest.raises(ValueError, match="a.jpg .* must be 0, 1 or 2"):
        read_deepfashion_multimodal_keypoints(*files)
    files = write_multimodal(tmp_path, "a.jpg", MULTIMODAL_MAN[:20], [0] * 21)
    with pytest.raises(ValueError, match="Line 1 .*keypoints_loc.txt must hold a name and 42 numbers, got 40"):
        read_deepfashion_multimodal_keypoints(*files)
    files = write_multimodal(tmp_path, "a.jpg", MULTIMODAL_MAN, ["x"] * 21)
    with pytest.raises(ValueError, match="Line 1 .*keypoints_vis.txt must be a name and whole numbers"):
        read_deepfashion_multimodal_keypoints(*files)
