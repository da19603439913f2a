# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Label maps of parsers and data sets: every id, and what keypoints divide, on figures and on rendered people."""

import functools

import numpy as np
import pytest

from diffusers_tryon.composition import PARSE_IDS, PARSE_LABELS
from diffusers_tryon.label_maps import LABEL_MAPS, convert_parse
from diffusers_tryon.poses import KEYPOINT_NAMES, OCCLUDED_VISIBILITY
from diffusers_tryon.rendering.samples import render_pair


# What every id becomes where no keypoint divides it, in the order of the ids.
_HEAD_TO_PANTS = "background hat hair hands glasses top dress top legs pants"
_LIMBS = "scarf skirt face arms arms legs legs feet feet"
WITHOUT_KEYPOINTS = {
    "cihp": f"{_HEAD_TO_PANTS} torso {_LIMBS}",
    "lip": f"{_HEAD_TO_PANTS} dress {_LIMBS}",
    "atr": "background hat hair glasses top skirt pants dress belt feet feet face legs legs arms arms bag scarf",
    "fashn": "background face hair top dress skirt pants belt bag hat scarf glasses "
    "arms hands legs feet torso jewelry",
}
# ... of DeepFashion-MultiModal without 15, skin.
MULTIMODAL = {
    0: "background", 1: "top", 2: "top", 3: "skirt", 4: "dress", 5: "pants", 6: "pants", 7: "hat", 8: "glasses",
    9: "scarf", 10: "belt", 11: "feet", 12: "bag", 13: "hair", 14: "face", 16: "hands", 17: "jewelry", 18: "legs",
    19: "hands", 20: "jewelry", 21: "dress", 22: "jewelry", 23: "top",
}  # fmt: skip

# Somebody facing the camera in a picture of 200 x 100 pixels (height, width); one metre is 100 pixels. The right arm
# (left in the picture) hangs down, the left one is stretched out sideways.
FIGURE = {
    "nose": (50, 18), "neck": (50, 40), "right_shoulder": (33, 40), "right_elbow": (30, 69), "right_wrist": (28, 94),
    "left_shoulder": (67, 40), "left_elbow": (67, 69), "left_wrist": (70, 94), "right_hip": (42, 90),
    "right_knee": (42, 132), "right_ankle": (42, 173), "left_hip": (58, 90), "left_knee": (58, 132),
    "left_ankle": (58, 173),
}  # fmt: skip


def pose_of(points, height=200, width=100):
    pose = np.zeros((18, 3), dtype=np.float32)
    for name, (x, y) in points.items():
        pose[KEYPOINT_NAMES.index(name)] = x / width, y / height, 1
    return pose


def name_at(labels, x, y):
    return PARSE_LABELS[labels[y, x]]


@pytest.mark.parametrize("label_map", WITHOUT_KEYPOINTS)
def test_every_id_becomes_the_label_of_the_table(label_map):
    expected = WITHOUT_KEYPOINTS[label_map].split()
    assert len(expected) == len(LABEL_MAPS[label_map])
    parse = np.arange(len(expected), dtype=np.uint8)[None]
    before = parse.copy()
    converted = convert_parse(parse, label_map)
    assert converted.dtype == np.uint8
    assert [PARSE_LABELS[label] for label in converted[0]] == expected
    np.testing.assert_array_equal(parse, before)


def test_every_id_of_deepfashion_multimodal_becomes_the_label_of_the_table():
    assert sorted([*MULTIMODAL, 15]) == list(range(len(LABEL_MAPS["deepfashion-multimodal"])))
    converted = convert_parse(np.array([list(MULTIMODAL)]), "deepfashion-multimodal")
    assert [PARSE_LABELS[label] for label in converted[0]] == list(MULTIMODAL.values())


@pytest.mark.parametrize(("label_map", "right_arm", "left_arm"), [("cihp", 15, 14), ("lip", 15, 14), ("atr", 15, 14)])
def test_hands_are_the_arm_beyond_the_wrist(label_map, right_arm, left_arm):
    parse = np.zeros((200, 100), dtype=np.uint8)
    parse[42:112, 24:38] = right_arm
    parse[42:112, 62:76] = left_arm
    parse[180:190, 24:38] = right_arm  # too far from the wrist to be a hand
    converted = convert_parse(parse, label_map, pose_of(FIGURE))
    for x in (28, 70):
        assert name_at(converted, x, 60) == name_at(converted, x, 91) == "arms"
        assert name_at(converted, x, 97) == name_at(converted, x, 110) == "hands"
    assert name_at(converted, 30, 185) == "arms"

    without_left_wrist = {name: point for name, point in FIGURE.items() if name != "left_wrist"}
    converted = convert_parse(parse, label_map, pose_of(without_left_wrist))
    assert name_at(converted, 28, 97) == "hands"
    assert name_at(converted, 70, 97) == name_at(converted, 70, 110) == "arms"

    # The shoulder stands in for an elbow out of the picture.
    without_elbow = {name: point for name, point in FIGURE.items() if name != "right_elbow"}
    converted = convert_parse(parse, label_map, pose_of(without_elbow))
    assert (name_at(converted, 28, 90), name_at(converted, 28, 97)) == ("arms", "hands")
    only_wrist = convert_parse(parse, label_map, pose_of({"right_wrist": FIGURE["right_wrist"]}))
    assert not (only_wrist == PARSE_IDS["hands"]).any()


def test_a_hand_on_the_other_arm_leaves_that_arm_alone():
    points = FIGURE | {"right_elbow": (40, 69), "right_wrist": (62, 72)}
    parse = np.zeros((200, 100), dtype=np.uint8)
    parse[42:112, 62:76] = 14  # left arm, CIHP
    parse[68:76, 34:72] = 15  # the right forearm and hand in front of it
    converted = convert_parse(parse, "cihp", pose_of(points))
    assert (name_at(converted, 50, 72), name_at(converted, 68, 72)) == ("arms", "hands")
    assert name_at(converted, 74, 72) == name_at(converted, 68, 62) == name_at(converted, 68, 85) == "arms"
    # The hand is kept when the parser takes right for left.
    mistaken = np.where(parse == 15, 14, parse)
    assert name_at(convert_parse(mistaken, "cihp", pose_of(points)), 68, 72) == "hands"


def test_a_hand_that_points_at_the_camera_lies_around_the_wrist():
    points = FIGURE | {"right_shoulder": (50, 60), "right_elbow": (30, 78), "right_wrist": (30, 74)}
    parse = np.zeros((200, 100), dtype=np.uint8)
    parse[66:90, 22:38] = 15  # right hand, CIHP; the forearm is behind it
    parse[60:74, 38:52] = 15  # upper arm
    converted = convert_parse(parse, "cihp", pose_of(points))
    assert name_at(converted, 24, 70) == name_at(converted, 24, 80) == "hands"
    assert name_at(converted, 44, 66) == "arms"


def test_a_forearm_that_comes_from_outside_the_picture_leads_to_a_hand():
    points = {"right_hip": (42, 20), "right_knee": (42, 62), "right_ankle": (42, 103), "right_wrist": (20, 14)}
    parse = np.zeros((130, 100), dtype=np.uint8)
    parse[:30, 15:26] = 15  # right arm, CIHP
    converted = convert_parse(parse, "cihp", pose_of(points, height=130))
    assert (name_at(converted, 20, 8), name_at(converted, 20, 20)) == ("arms", "hands")
    in_the_middle = points | {"right_wrist": (50, 60)}
    assert not (convert_parse(parse, "cihp", pose_of(in_the_middle, height=130)) == PARSE_IDS["hands"]).any()


def test_a_hidden_wrist_takes_no_pixel_of_the_other_arm():
    points = FIGURE | {"right_elbow": (62, 60), "right_wrist": (67, 66)}
    pose = pose_of(points)
    pose[KEYPOINT_NAMES.index("right_wrist"), 2] = OCCLUDED_VISIBILITY
    parse = np.zeros((200, 100), dtype=np.uint8)
    parse[42:90, 62:76] = 14  # the left arm, CIHP, in front of the right hand
    parse[70:74, 76:80] = 15  # the tip of a finger
    converted = convert_parse(parse, "cihp", pose)
    assert (converted[42:90, 62:76] == PARSE_IDS["arms"]).all()
    assert name_at(converted, 78, 72) == "hands"


def test_gloves_are_hands_wherever_they_are():
    parse = np.full((200, 100), 3, dtype=np.uint8)
    assert (convert_parse(parse, "cihp", pose_of(FIGURE)) == PARSE_IDS["hands"]).all()


def test_socks_and_bare_feet_end_at_the_ankle():
    parse = np.zeros((200, 100), dtype=np.uint8)
    parse[95:185, 36:48] = 17  # right leg, CIHP
    parse[150:185, 52:64] = 8  # socks
    converted = convert_parse(parse, "cihp", pose_of(FIGURE))
    assert (name_at(converted, 42, 170), name_at(converted, 42, 178)) == ("legs", "feet")
    assert (name_at(converted, 58, 155), name_at(converted, 58, 178)) == ("legs", "feet")


def test_the_neck_that_atr_counts_as_face_is_torso():
    parse = np.zeros((200, 100), dtype=np.uint8)
    parse[8:50, 44:56] = 11
    converted = convert_parse(parse, "atr", pose_of(FIGURE))
    assert [name_at(converted, 50, y) for y in (10, 25, 33, 48)] == ["face", "face", "torso", "torso"]
    bent = convert_parse(parse, "atr", pose_of(FIGURE | {"nose": (50, 28)}))
    assert [name_at(bent, 50, y) for y in (25, 31, 36, 48)] == ["face", "face", "torso", "torso"]
    headless = {name: point for name, point in FIGURE.items() if name != "nose"}
    converted = convert_parse(parse, "atr", pose_of(headless))
    assert [name_at(converted, 50, y) for y in (25, 33, 48)] == ["face", "torso", "torso"]
    converted = convert_parse(parse, "atr", pose_of({"right_hip": (42, 90)}))
    assert [name_at(converted, 50, y) for y in (25, 48)] == ["face", "face"]


def test_skin_belongs_to_the_nearest_part_of_the_body():
    parse = np.full((200, 100), 15, dtype=np.uint8)
    converted = convert_parse(parse, "deepfashion-multimodal", pose_of(FIGURE))
    expected = {
        (50, 18): "face", (58, 178): "feet", (50, 34): "torso", (50, 60): "torso", (42, 80): "torso", (33, 50): "arms", (68, 70): "arms",
        (28, 85): "arms", (28, 98): "hands", (70, 105): "hands", (42, 120): "legs", (58, 160): "legs",
    }  # fmt: skip
    assert {place: name_at(converted, *place) for place in expected} == expected


def test_thighs_are_legs_although_the_knees_are_out_of_the_picture():
    cropped = {name: point for name, point in FIGURE.items() if "knee" not in name and "ankle" not in name}
    parse = np.zeros((130, 100), dtype=np.uint8)
    parse[112:, 35:65] = 15
    converted = convert_parse(parse, "deepfashion-multimodal", pose_of(cropped, height=130))
    assert (converted[112:, 35:65] == PARSE_IDS["legs"]).all()


def test_skin_without_keypoints_is_refused():
    parse = np.full((20, 10), 15, dtype=np.uint8)
    for pose in (None, np.zeros((18, 3), np.float32), pose_of({"nose": (5, 5)}, 20, 10)):
        with pytest.raises(ValueError, match="`pose` does not tell whose skin"):
            convert_parse(parse, "deepfashion-multimodal", pose)


@pytest.mark.parametrize(
    ("parse", "label_map", "message"),
    [
        (np.zeros((4, 4), np.uint8), "schp", "`label_map` must be one of cihp, lip, atr, fashn, .*, got 'schp'"),
        (np.array([[0, 19, 18, 200]]), "fashn", r"fashn does not have \(0 to 17\): \[18, 19, 200\]"),
        (np.array([[0, 18]], np.uint8), "atr", r"atr does not have \(0 to 17\): \[18\]"),
        (np.array([[0, -1]]), "cihp", r"cihp does not have \(0 to 19\): \[-1\]"),
        (np.zeros((4, 4, 3), np.uint8), "cihp", r"`parse` must hold integer .*, got uint8 \(4, 4, 3\)"),
        (np.zeros((4, 4)), "cihp", "`parse` must hold integer .*, got float64"),
    ],
)
def test_what_is_no_such_label_map_is_refused(parse, label_map, message):
    with pytest.raises(ValueError, match=message):
        convert_parse(parse, label_map)
    with pytest.raises(ValueError, match="`pose` must hold 18"):
        convert_parse(np.zeros((4, 4), np.uint8), "cihp", np.zeros((17, 3)))


@functools.lru_cache
def rendered_people():
    rows = [render_pair(seed, 96) for seed in range(12)]
    return [(row["person_parse"], row["person_pose"]) for row in rows]


@pytest.mark.parametrize(
    ("label_map", "merged", "least"),
    [
        ("cihp", {"arms": 14, "hands": 14}, {"hands": 0.65, "arms": 0.75}),
        ("atr", {"arms": 15, "hands": 15, "face": 11, "torso": 11}, {"hands": 0.65, "face": 0.85, "torso": 0.75}),
        (
            "deepfashion-multimodal",
            {"arms": 15, "hands": 15, "legs": 15, "torso": 15, "face": 14},
            {"hands": 0.65, "arms": 0.75, "legs": 0.85, "torso": 0.6},
        ),
    ],
)
def test_what_is_merged_is_found_again_on_rendered_people(label_map, merged, least):
    """Intersection over union with the exact label maps of the renderer, over all people together."""
    same, either = dict.fromkeys(least, 0), dict.fromkeys(least, 0)
    for parse, pose in rendered_people():
        theirs = np.zeros_like(parse)
        for name, label in merged.items():
            theirs[parse == PARSE_IDS[name]] = label
        converted = convert_parse(theirs, label_map, pose)
        for name in least:
            truth, found = parse == PARSE_IDS[name], converted == PARSE_IDS[name]
            same[name] += (truth & found).sum()
            either[name] += (truth | found).sum()
    found = {name: same[name] / either[name] for name in least}
    assert all(found[name] >= least[name] for name in least), found
