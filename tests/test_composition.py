# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Agnostic image, agnostic mask and garment cut-out on label maps small enough to write down."""

import numpy as np
import pytest

from diffusers_tryon.composition import PARSE_IDS, PARSE_LABELS, compose_agnostic, cut_out_garment


# One letter per pixel: . background, f face, n neck (torso), t top, a arm, h hand, p pants, o hair.
PERSON = """
........
...oo...
..offo..
...nn...
.atttta.
.atttta.
.h.tt.h.
...pp...
........
"""
# 1 where the picture must be hidden: the bounding box (rows 1 to 7, columns 1 to 6) without head, hands and pants.
HIDDEN = """
00000000
01100110
01000010
01111110
01111110
01111110
00111100
01100110
00000000
"""
LETTERS = {
    ".": "background",
    "f": "face",
    "o": "hair",
    "n": "torso",
    "t": "top",
    "a": "arms",
    "h": "hands",
    "p": "pants",
}


def parse_of(drawing: str) -> np.ndarray:
    return np.array([[PARSE_IDS[LETTERS[letter]] for letter in line] for line in drawing.split()], dtype=np.uint8)


def random_image(shape: tuple[int, int]) -> np.ndarray:
    # 128 and 255, the fill colours, never occur.
    return np.random.default_rng(0).integers(0, 120, (*shape, 3), dtype=np.uint8)


@pytest.fixture
def person():
    parse = parse_of(PERSON)
    return random_image(parse.shape), parse, np.zeros((18, 3), np.float32)


def test_labels_are_the_fashn_ids():
    assert len(PARSE_LABELS) == 18
    expected = {"background": 0, "face": 1, "hair": 2, "top": 3, "dress": 4, "pants": 6, "arms": 12, "hands": 13}
    assert {name: PARSE_IDS[name] for name in expected} == expected
    assert PARSE_IDS["torso"] == 16 and PARSE_IDS["jewelry"] == 17


def test_agnostic_hides_the_bounding_box_and_pastes_head_hands_and_lower_body_back(person):
    image, parse, pose = person
    agnostic_image, agnostic_mask = compose_agnostic(image, parse, pose)
    hidden = np.array([[int(letter) for letter in line] for line in HIDDEN.split()], dtype=bool)
    assert agnostic_mask.dtype == np.uint8 and np.array_equal(agnostic_mask, np.where(hidden, 255, 0))
    assert agnostic_image.dtype == np.uint8
    assert (agnostic_image[hidden] == 128).all()
    assert np.array_equal(agnostic_image[~hidden], image[~hidden])


def test_agnostic_does_not_change_its_input(person):
    image, parse, pose = person
    copies = image.copy(), parse.copy(), pose.copy()
    compose_agnostic(image, parse, pose)
    assert all(np.array_equal(before, after) for before, after in zip(copies, person))


def test_a_visible_keypoint_widens_the_bounding_box_and_a_missing_one_does_not(person):
    image, parse, pose = person
    pose[7] = (1.0, 0.95, 1.0)
    pose[4] = (0.0, 0.0, 0.0)
    _, agnostic_mask = compose_agnostic(image, parse, pose)
    rows, columns = np.nonzero(agnostic_mask)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (1, 8, 1, 7)


def test_skirt_and_legs_stay_but_a_dress_is_hidden(person):
    image, parse, pose = person
    parse[7, 3], parse[7, 4] = PARSE_IDS["skirt"], PARSE_IDS["dress"]
    _, agnostic_mask = compose_agnostic(image, parse, pose)
    assert agnostic_mask[7, 3] == 0 and agnostic_mask[7, 4] == 255


def test_garment_is_cut_out_on_white(person):
    image, parse, _ = person
    garment = cut_out_garment(image, parse)
    assert garment.dtype == np.uint8
    assert np.array_equal(garment[parse == 3], image[parse == 3])
    assert (garment[parse != 3] == 255).all()


def test_a_dress_is_a_garment(person):
    image, parse, _ = person
    as_dress = np.where(parse == PARSE_IDS["top"], PARSE_IDS["dress"], parse)
    assert np.array_equal(cut_out_garment(image, as_dress), cut_out_garment(image, parse))


def test_no_person_and_no_garment_are_named(person):
    image, parse, pose = person
    with pytest.raises(ValueError, match="`parse` shows no person"):
        compose_agnostic(image, np.zeros_like(parse), pose)
    with pytest.raises(ValueError, match="`parse` shows no garment"):
        cut_out_garment(image, np.where(parse == PARSE_IDS["top"], 0, parse))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda image, parse: (image[:-1], parse), r"`parse` must have the image's height and width \(8, 8\)"),
        (lambda image, parse: (image[..., 0], parse), r"`image` must be uint8 of shape \(height, width, 3\)"),
        (lambda image, parse: (image / np.float32(255), parse), "`image` must be uint8 .* got float32"),
        (lambda image, parse: (image, parse.astype(np.float32)), "`parse` must hold integer label ids, got float32"),
        (lambda image, parse: (image, parse + np.uint8(20)), "`parse` must hold label ids from 0 to 17"),
    ],
)
def test_bad_images_and_label_maps_are_named(person, change, message):
    image, parse, pose = person
    image, parse = change(image, parse)
    with pytest.raises(ValueError, match=message):
        compose_agnostic(image, parse, pose)
    with pytest.raises(ValueError, match=message):
        cut_out_garment(image, parse)


def test_bad_poses_are_named(person):
    image, parse, pose = person
    with pytest.raises(ValueError, match="`pose` must hold 18 OpenPose keypoints"):
        compose_agnostic(image, parse, pose[:17])
    with pytest.raises(ValueError, match="`pose` must be the keypoints of one person"):
        compose_agnostic(image, parse, pose[None])
    with pytest.raises(ValueError, match="`pose` must have x and y in"):
        compose_agnostic(image, parse, np.full((18, 3), (64.0, 64.0, 1.0)))


def test_a_lower_garment_keeps_the_upper_body_and_a_dress_keeps_neither(person):
    image, parse, pose = person
    kept = {"upper": "fohp", "lower": "fohtan", "dress": "foh"}
    letters = np.array([list(line) for line in PERSON.split()])
    box = np.zeros(parse.shape, bool)
    box[1:8, 1:7] = True
    for category, unchanged in kept.items():
        _, agnostic_mask = compose_agnostic(image, parse, pose, category)
        hidden = box & ~np.isin(letters, list(unchanged))
        assert np.array_equal(agnostic_mask > 0, hidden), category


def test_a_lower_garment_is_cut_out_by_its_own_labels(person):
    image, parse, _ = person
    garment = cut_out_garment(image, parse, "lower")
    assert np.array_equal((garment != 255).any(axis=-1), parse == PARSE_IDS["pants"])


def test_an_unknown_category_is_refused(person):
    image, parse, pose = person
    for call in (lambda: compose_agnostic(image, parse, pose, "hat"), lambda: cut_out_garment(image, parse, "hat")):
        with pytest.raises(ValueError, match="`category` must be one of upper, lower, dress, got 'hat'"):
            call()
