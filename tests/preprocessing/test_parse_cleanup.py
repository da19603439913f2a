# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Cleaning label maps: true ones stay, and errors planted into them are put right."""

import numpy as np
import pytest
from rendered_backends import rendered_photo

from diffusers_tryon.composition import GARMENT_LABELS, PARSE_IDS, compose_agnostic, label_mask
from diffusers_tryon.poses import KEYPOINT_NAMES
from diffusers_tryon.preprocessing.errors import NoShouldersError, UncertainAnswerWarning
from diffusers_tryon.preprocessing.parse_cleanup import check_in_view, clean_parse, facing


PEOPLE = [("upper", 1), ("upper", 6), ("lower", 2), ("dress", 3), ("upper", 4)]
RIGHT_WRIST, LEFT_WRIST = KEYPOINT_NAMES.index("right_wrist"), KEYPOINT_NAMES.index("left_wrist")


def truth(category: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    photo = rendered_photo(seed, category)
    return photo["parse"].copy(), photo["pose"], (photo["parse"] > 0).astype(np.float32)


def disc(shape: tuple[int, int], x: float, y: float, radius: float) -> np.ndarray:
    """(H, W) bool; x, y and radius in parts of the picture."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.hypot(columns / shape[1] - x, rows / shape[0] - y) < radius


@pytest.mark.parametrize(("category", "seed"), PEOPLE)
@pytest.mark.parametrize("with_mask", [True, False])
def test_true_labels_stay(category, seed, with_mask):
    parse, pose, mask = truth(category, seed)
    cleaned = clean_parse(parse, pose, mask if with_mask else None)
    assert (cleaned != parse).sum() < 0.02 * (parse > 0).sum()


def test_what_the_mask_does_not_cover_is_background_and_gaps_in_it_are_filled():
    parse, pose, mask = truth("upper", 1)
    damaged = parse.copy()
    damaged[mask == 0] = PARSE_IDS["skirt"]
    garment = label_mask(parse, GARMENT_LABELS["upper"])
    rows, columns = np.nonzero(garment)
    gap = disc(parse.shape, columns.mean() / parse.shape[1], rows.mean() / parse.shape[0], 0.06) & garment
    assert gap.sum() > 50
    damaged[gap] = 0
    cleaned = clean_parse(damaged, pose, mask)
    assert not cleaned[mask == 0].any()
    assert (cleaned[gap] == parse[gap]).mean() > 0.9


def test_another_person_beside_is_left_out():
    parse, pose, _ = truth("upper", 1)
    wide = np.pad(parse, ((0, 0), (0, parse.shape[1])))
    wide[40:120, -50:-20] = PARSE_IDS["top"]
    wide_pose = pose * np.array([0.5, 1, 1], np.float32)
    cleaned = clean_parse(wide, wide_pose, None)
    assert not cleaned[:, parse.shape[1] :].any()
    assert (cleaned[:, : parse.shape[1]] > 0).sum() > 0.97 * (parse > 0).sum()


def test_hands_that_are_not_at_wrists_are_arms_and_their_colour_does_not_leak():
    parse, pose, mask = truth("upper", 4)
    photo = rendered_photo(4, "upper")
    garment = label_mask(parse, GARMENT_LABELS["upper"])
    height, width = parse.shape
    middle = pose[[2, 5, 8, 11], :2].mean(axis=0)
    planted = garment & disc(parse.shape, *middle, 0.07)
    # Far from both wrists, or nothing would be wrong with it.
    for wrist in (RIGHT_WRIST, LEFT_WRIST):
        if pose[wrist, 2]:
            planted &= ~disc(parse.shape, *pose[wrist, :2], 0.16)
    assert planted.sum() > 50
    damaged = np.where(planted, PARSE_IDS["hands"], parse).astype(np.uint8)
    cleaned = clean_parse(damaged, pose, mask)
    assert not (cleaned[planted] == PARSE_IDS["hands"]).any()

    def leak(labels: np.ndarray) -> int:
        _, hidden = compose_agnostic(photo["image"], labels, pose, "upper")
        return (garment & (hidden == 0)).sum()

    assert leak(damaged) >= planted.sum()
    assert leak(cleaned) <= leak(parse) + 5


def test_hands_at_wrists_stay():
    parse, pose, mask = truth("upper", 6)
    hands = parse == PARSE_IDS["hands"]
    assert hands.sum() > 20
    assert (clean_parse(parse, pose, mask)[hands] == PARSE_IDS["hands"]).mean() > 0.85


def test_trousers_on_the_chest_and_a_face_on_the_belly_become_clothes_and_skin():
    parse, pose, mask = truth("upper", 6)
    garment = label_mask(parse, GARMENT_LABELS["upper"])
    chest = garment & disc(parse.shape, *(0.8 * pose[1, :2] + 0.2 * pose[[8, 11], :2].mean(axis=0)), 0.06)
    belly = garment & disc(parse.shape, *(0.2 * pose[1, :2] + 0.8 * pose[[8, 11], :2].mean(axis=0)), 0.05)
    assert min(chest.sum(), belly.sum()) > 30
    damaged = parse.copy()
    damaged[chest] = PARSE_IDS["pants"]
    damaged[belly] = PARSE_IDS["face"]
    cleaned = clean_parse(damaged, pose, mask)
    assert not (cleaned[chest] == PARSE_IDS["pants"]).any()
    assert not (cleaned[belly] == PARSE_IDS["face"]).any()


def test_a_head_that_is_called_a_top_is_a_head():
    parse, pose, mask = truth("upper", 6)
    head = label_mask(parse, ("face", "hair"))
    damaged = np.where(head, PARSE_IDS["top"], parse).astype(np.uint8)
    cleaned = clean_parse(damaged, pose, mask)
    assert label_mask(cleaned[head], ("face", "hair")).mean() > 0.6


def test_specks_take_the_label_around_them():
    parse, pose, mask = truth("upper", 6)
    garment = np.nonzero(label_mask(parse, GARMENT_LABELS["upper"]))
    random = np.random.default_rng(0)
    chosen = random.choice(len(garment[0]), 40, replace=False)
    damaged = parse.copy()
    damaged[garment[0][chosen], garment[1][chosen]] = PARSE_IDS["pants"]
    assert (clean_parse(damaged, pose, mask) != parse).sum() < 0.02 * (parse > 0).sum()


def drawn_person() -> tuple[np.ndarray, np.ndarray]:
    """Somebody with a long-sleeved top who holds the arms out to the sides, drawn with rectangles; and the pose."""
    parse = np.zeros((200, 200), np.uint8)
    parse[25:50, 90:110] = PARSE_IDS["face"]
    parse[55:125, 75:125] = PARSE_IDS["top"]
    parse[60:72, 20:180] = PARSE_IDS["top"]
    parse[60:72, 8:20] = parse[60:72, 180:192] = PARSE_IDS["hands"]
    parse[125:195, 78:122] = PARSE_IDS["pants"]
    points = {
        "nose": (100, 38),
        "neck": (100, 62),
        "right_shoulder": (80, 66),
        "right_elbow": (50, 66),
        "right_wrist": (21, 66),
        "left_shoulder": (120, 66),
        "left_elbow": (150, 66),
        "left_wrist": (179, 66),
        "right_hip": (88, 122),
        "left_hip": (112, 122),
    }
    pose = np.zeros((len(KEYPOINT_NAMES), 3), np.float32)
    for name, (x, y) in points.items():
        pose[KEYPOINT_NAMES.index(name)] = (x / 200, y / 200, 1)
    return parse, pose


def test_a_drawn_person_stays():
    parse, pose = drawn_person()
    assert np.array_equal(clean_parse(parse, pose, None), parse)


def test_a_sleeve_that_was_called_an_arm_above_its_cuff_is_a_sleeve():
    parse, pose = drawn_person()
    damaged = parse.copy()
    damaged[60:72, 40:60] = PARSE_IDS["arms"]
    assert np.array_equal(clean_parse(damaged, pose, None), parse)


def test_a_bare_forearm_stays_an_arm():
    parse, pose = drawn_person()
    parse[60:72, 20:52] = PARSE_IDS["arms"]
    assert np.array_equal(clean_parse(parse, pose, None), parse)


def test_an_arm_a_hand_and_hair_on_the_belly_are_the_top():
    parse, pose = drawn_person()
    damaged = parse.copy()
    damaged[90:98, 80:90] = PARSE_IDS["arms"]
    damaged[90:98, 95:105] = PARSE_IDS["hands"]
    damaged[105:113, 95:105] = PARSE_IDS["hair"]
    assert np.array_equal(clean_parse(damaged, pose, None), parse)


def test_hair_beside_the_person_is_background_and_hair_at_the_head_stays():
    parse, pose = drawn_person()
    parse[15:58, 82:90] = PARSE_IDS["hair"]
    damaged = parse.copy()
    damaged[90:98, 125:135] = PARSE_IDS["hair"]
    assert np.array_equal(clean_parse(damaged, pose, None), parse)


@pytest.mark.parametrize("times", [3, 5])
def test_large_label_maps_are_cleaned_like_small_ones_and_keep_their_outlines(times):
    parse, pose = drawn_person()
    large = parse.repeat(times, axis=0).repeat(times, axis=1)
    shift = times // 2  # cells of the working grid and those of the small map do not coincide
    large = np.roll(large, (shift, shift), (0, 1))
    pose[:, :2] += np.where(pose[:, 2:] > 0, shift / len(large), 0)
    damaged = large.copy()
    sleeve = damaged[60 * times : 72 * times, 40 * times : 60 * times]
    sleeve[sleeve == PARSE_IDS["top"]] = PARSE_IDS["arms"]
    damaged[90 * times : 98 * times, 95 * times : 105 * times] = PARSE_IDS["hands"]
    assert np.array_equal(clean_parse(damaged, pose, None), large)


def test_the_side_from_which_somebody_is_seen():
    pose = rendered_photo(6, "upper")["pose"]
    assert facing(pose) == "front"
    mirrored = pose * np.array([-1, 1, 1], np.float32) + np.array([1, 0, 0], np.float32)
    assert facing(mirrored) == "back"
    narrow = pose * np.array([0.1, 1, 1], np.float32)
    assert facing(narrow) == "side"
    no_shoulders = pose.copy()
    no_shoulders[2] = 0
    assert facing(no_shoulders) == "side"


def test_what_a_garment_goes_on_must_be_in_view():
    pose = rendered_photo(3, "dress")["pose"].copy()
    for category in ("upper", "lower", "dress"):
        assert check_in_view(pose, category, "photo") == []
    legs = [number for number, name in enumerate(KEYPOINT_NAMES) if "knee" in name or "ankle" in name]
    pose[legs] = 0
    (warning,) = check_in_view(pose, "dress", "photo")
    assert isinstance(warning, UncertainAnswerWarning) and "No knees were found in `photo`" in str(warning)
    pose[[8, 11]] = 0
    with pytest.raises(NoShouldersError, match="No hips were found in `photo`"):
        check_in_view(pose, "lower", "photo")
    pose[[2, 5]] = 0
    with pytest.raises(NoShouldersError, match="No shoulders were found in `photo`"):
        check_in_view(pose, "upper", "photo")
