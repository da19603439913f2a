# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""VITON-HD's recipe on a figure drawn by hand: which of its points must be grey and which must stay."""

import numpy as np
import pytest

from diffusers_tryon.composition import PARSE_IDS, compose_agnostic
from diffusers_tryon.poses import KEYPOINT_NAMES


# A quarter of the size the recipe was published for: its unit of 20 pixels is 5 here.
HEIGHT, WIDTH = 256, 192
# x and y in pixels. The shoulders are 40 apart, the hips 24.
FIGURE = {
    "neck": (96, 60),
    "right_shoulder": (76, 60),
    "left_shoulder": (116, 60),
    "right_elbow": (40, 90),
    "right_wrist": (30, 140),
    "left_elbow": (152, 90),
    "left_wrist": (162, 140),
    "right_hip": (84, 130),
    "left_hip": (108, 130),
}
HIDDEN = {
    "between the shoulders": (96, 60),
    "beside the right shoulder, 4 of 5 units": (76, 40),
    "the middle of the right upper arm": (58, 75),
    "the left elbow": (152, 90),
    "the middle of the left forearm, 4 of 5 units off the bone": (176, 112),
    "below the right wrist, 4 of 5 units": (30, 160),
    "the belly": (96, 100),
    "below the middle of the hips, 5 of 6 units": (96, 155),
    "a corner of the neck's square, 6.8 of 7 units": (62, 27),
    "right of the hip as it is after it moved out by 8 pixels": (67, 148),
}
KEPT = {
    "below the right wrist, 6 of 5 units": (30, 170),
    "below the middle of the hips, 7 of 6 units": (96, 165),
    "outside the neck's square, 7.4 of 7 units": (59, 22),
    "the knees": (96, 220),
    "the picture's corner": (3, 3),
    "between the right arm and the legs": (50, 200),
}


def pose_of(points: dict[str, tuple[int, int]]) -> np.ndarray:
    pose = np.zeros((18, 3), np.float32)
    for name, (x, y) in points.items():
        pose[KEYPOINT_NAMES.index(name)] = (x / WIDTH, y / HEIGHT, 1)
    return pose


def image_and_parse() -> tuple[np.ndarray, np.ndarray]:
    # 128, the fill colour, does not occur.
    image = np.random.default_rng(0).integers(0, 120, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return image, np.full((HEIGHT, WIDTH), PARSE_IDS["top"], np.uint8)


def is_grey(agnostic: np.ndarray, point: tuple[int, int]) -> bool:
    x, y = point
    return bool((agnostic[y, x] == 128).all())


def test_named_points_of_the_figure_are_hidden_and_others_stay():
    image, parse = image_and_parse()
    agnostic, mask = compose_agnostic(image, parse, pose_of(FIGURE), recipe="viton-hd")
    assert {name: is_grey(agnostic, point) for name, point in HIDDEN.items()} == dict.fromkeys(HIDDEN, True)
    assert {name: is_grey(agnostic, point) for name, point in KEPT.items()} == dict.fromkeys(KEPT, False)
    assert np.array_equal(mask, np.where((agnostic == 128).all(axis=-1), 255, 0))
    assert np.array_equal(agnostic[mask == 0], image[mask == 0])


def test_the_torso_alone_is_as_wide_as_its_strokes():
    torso = {name: point for name, point in FIGURE.items() if "elbow" not in name and "wrist" not in name}
    agnostic, _ = compose_agnostic(*image_and_parse(), pose_of(torso), recipe="viton-hd")
    # The shoulder's ellipse reaches 25 pixels, the stroke along the side 15.
    assert is_grey(agnostic, (54, 60)) and not is_grey(agnostic, (48, 60))
    assert is_grey(agnostic, (64, 98)) and not is_grey(agnostic, (58, 98))


def test_wide_shoulders_are_joined_by_a_stroke():
    wide = FIGURE | {"neck": (96, 10), "right_shoulder": (40, 60), "left_shoulder": (152, 60)}
    agnostic, _ = compose_agnostic(*image_and_parse(), pose_of(wide), recipe="viton-hd")
    # 25 pixels to either side of the line between the shoulders; the neck's square ends above.
    assert is_grey(agnostic, (96, 56)) and is_grey(agnostic, (96, 48))


def test_face_and_lower_body_come_back_but_hair_and_hands_do_not():
    image, parse = image_and_parse()
    spots = {"face": (96, 40), "glasses": (96, 45), "hair": (70, 40), "hands": (30, 150), "pants": (96, 150)}
    for name, (x, y) in spots.items():
        parse[y - 1 : y + 2, x - 1 : x + 2] = PARSE_IDS[name]
    agnostic, _ = compose_agnostic(image, parse, pose_of(FIGURE), recipe="viton-hd")
    grey = {name: is_grey(agnostic, point) for name, point in spots.items()}
    assert grey == {"face": False, "glasses": False, "pants": False, "hair": True, "hands": True}


def test_an_arm_that_was_not_found_is_left_out():
    without_arm = {name: point for name, point in FIGURE.items() if name not in ("right_elbow", "left_wrist")}
    image, parse = image_and_parse()
    agnostic, _ = compose_agnostic(image, parse, pose_of(without_arm), recipe="viton-hd")
    assert not is_grey(agnostic, FIGURE["right_wrist"])
    assert not is_grey(agnostic, FIGURE["left_wrist"])
    assert is_grey(agnostic, FIGURE["left_elbow"])


@pytest.mark.parametrize("point", ["neck", "left_shoulder", "right_hip"])
def test_a_missing_point_of_the_torso_is_named(point):
    pose = pose_of({name: place for name, place in FIGURE.items() if name != point})
    with pytest.raises(ValueError, match=f"needs neck, shoulders and hips, missing: {point}"):
        compose_agnostic(*image_and_parse(), pose, recipe="viton-hd")


def test_hips_in_one_place_are_refused():
    pose = pose_of(FIGURE | {"right_hip": FIGURE["left_hip"]})
    with pytest.raises(ValueError, match="both lie in one place"):
        compose_agnostic(*image_and_parse(), pose, recipe="viton-hd")


def test_widths_grow_with_the_picture():
    image, parse = image_and_parse()
    _, mask = compose_agnostic(image, parse, pose_of(FIGURE), recipe="viton-hd")
    twice = [np.repeat(np.repeat(array, 2, axis=0), 2, axis=1) for array in (image, parse)]
    _, large_mask = compose_agnostic(*twice, pose_of(FIGURE), recipe="viton-hd")
    assert (large_mask[::2, ::2] != mask).mean() < 0.02


def test_other_categories_and_recipes_are_refused():
    image, parse = image_and_parse()
    with pytest.raises(ValueError, match="`recipe` viton-hd exists for the category upper only, got 'dress'"):
        compose_agnostic(image, parse, pose_of(FIGURE), "dress", recipe="viton-hd")
    with pytest.raises(ValueError, match="`recipe` must be one of paper, viton-hd, got 'hr-viton'"):
        compose_agnostic(image, parse, pose_of(FIGURE), recipe="hr-viton")
