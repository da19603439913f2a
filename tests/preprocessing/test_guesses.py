# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Guesses from the true label maps of renders, and from label maps with the mistakes that parsers make."""

import numpy as np
import pytest

from diffusers_tryon.composition import PARSE_IDS
from diffusers_tryon.poses import NUM_KEYPOINTS
from diffusers_tryon.preprocessing.guesses import guess_category, guess_garment_type
from diffusers_tryon.rendering.labelled import render_labelled


NOBODY = np.zeros((NUM_KEYPOINTS, 3), np.float32)
SOMEBODY = np.full((NUM_KEYPOINTS, 3), 0.5, np.float32)


@pytest.fixture(scope="module")
def photographs():
    return np.concatenate([render_labelled(seed, 64, "test") for seed in range(10)])


def laid_out(*parts: tuple[str, int, int, int, int]) -> np.ndarray:
    """A label map with rectangles: label, top, bottom, left, right."""
    parse = np.zeros((100, 100), np.uint8)
    for label, top, bottom, left, right in parts:
        parse[top:bottom, left:right] = PARSE_IDS[label]
    return parse


def test_people_are_told_from_garments_alone(photographs):
    assert 2 <= (~photographs["shows_person"]).sum() <= len(photographs) - 10
    worn = np.array([guess_garment_type(record["pose"], record["parse"]) == "worn" for record in photographs])
    assert not (worn & ~photographs["shows_person"]).any()
    # Somebody of whom nothing but hands and arms is in view may be missed.
    assert (worn != photographs["shows_person"]).sum() <= 1


def test_a_pose_found_in_a_shirt_and_hands_seen_at_its_sleeves_make_no_person():
    shirt = laid_out(("top", 20, 70, 20, 80), ("hands", 40, 50, 20, 35), ("torso", 20, 25, 45, 55))
    assert guess_garment_type(SOMEBODY, shirt) == "flat"


def test_legs_below_trousers_make_a_person_without_a_head_or_a_pose():
    trousers = laid_out(("pants", 0, 80, 30, 70), ("feet", 80, 92, 30, 70))
    assert guess_garment_type(NOBODY, trousers) == "worn"


def test_an_empty_label_map_shows_nothing():
    assert guess_garment_type(NOBODY, laid_out()) == "flat"
    assert guess_category(laid_out()) == ("upper", 0.0)


@pytest.mark.parametrize(
    "parts, category",
    [
        # A long top over trousers, on a person; a dress that was called top and skirt; tops and dresses by shape.
        ([("hair", 0, 10, 40, 60), ("dress", 10, 60, 30, 70), ("pants", 60, 95, 30, 70)], "upper"),
        ([("top", 10, 40, 30, 70), ("skirt", 40, 90, 30, 70)], "dress"),
        ([("dress", 30, 70, 10, 90)], "upper"),
        ([("top", 5, 95, 35, 65)], "dress"),
        ([("skirt", 5, 95, 35, 65)], "lower"),
        ([("hair", 0, 10, 40, 60), ("dress", 10, 90, 30, 70)], "dress"),
    ],
)
def test_long_tops_and_divided_dresses(parts, category):
    assert guess_category(laid_out(*parts))[0] == category


def test_certainty_is_the_share_of_what_was_chosen():
    both = laid_out(("hair", 0, 20, 30, 70), ("top", 20, 60, 30, 70), ("pants", 60, 90, 30, 70))
    assert guess_category(both) == ("upper", pytest.approx(4 / 7))
