# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Sleeves, hem and neckline of garments whose edges were moved by known lengths, and what is kept outside the region."""

import numpy as np
import pytest

from diffusers_tryon.evaluation.layout import CaseRecord
from diffusers_tryon.evaluation.outline_metrics import outline_errors as errors_in
from diffusers_tryon.evaluation.paired_metrics import largest_change
from diffusers_tryon.evaluation.rendered_metrics import _outline
from diffusers_tryon.poses import KEYPOINT_NAMES


HEIGHT, WIDTH = 200, 120
JOINTS = {
    "right_shoulder": (40, 40), "right_elbow": (20, 40), "right_wrist": (20, 70),
    "left_shoulder": (80, 40), "left_elbow": (100, 40), "left_wrist": (100, 70),
    "right_hip": (50, 120), "left_hip": (70, 120),
}  # fmt: skip

WHOLE = np.ones((HEIGHT, WIDTH), bool)


def outline_errors(found: np.ndarray, truth: np.ndarray, pose: np.ndarray) -> dict[str, float]:
    return errors_in(found, truth, pose, WHOLE)


def pose_of(**changes: float) -> np.ndarray:
    """Upper arms stretched out, forearms hanging; `changes` are visibilities."""
    pose = np.zeros((18, 3), np.float32)
    for name, (x, y) in JOINTS.items():
        pose[KEYPOINT_NAMES.index(name)] = (x + 0.5) / WIDTH, (y + 0.5) / HEIGHT, changes.get(name, 1)
    return pose


def garment(neck: int = 40, hem: int = 130, right: int = 15, left: int = 15) -> np.ndarray:
    """A trunk from row `neck` to row `hem`, and sleeves that reach so many pixels beyond the shoulders."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[neck:hem, 40:81] = True
    mask[34:47, 40 - right : 41] = mask[34:47, 80 : 81 + left] = True
    return mask


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, (0, 0, 0)),
        ({"hem": 120}, (0, 5, 0)),
        ({"hem": 144}, (0, 7, 0)),
        ({"neck": 30}, (0, 0, 5)),
        # 7 pixels of one arm, the mean with the other.
        ({"right": 8}, (1.75, 0, 0)),
        ({"right": 8, "left": 8}, (3.5, 0, 0)),
    ],
)
def test_an_edge_that_was_moved_is_off_by_so_much(changed, expected):
    found = outline_errors(garment(**changed), garment(), pose_of())
    assert list(found.values()) == pytest.approx(expected, abs=0.4)
    assert list(outline_errors(garment(), garment(**changed), pose_of()).values()) == list(found.values())


def test_a_sleeve_is_followed_around_the_elbow():
    longer = garment()
    longer[40:61, 14:27] = True
    errors = outline_errors(longer, garment(), pose_of())
    # From column 25 to the elbow at 20.5, and from there down, row 40.5, to row 61.
    assert errors["sleeve_error"] == pytest.approx(100 * (4.5 + 20.5) / HEIGHT / 2, abs=0.3)
    assert errors["hem_error"] == errors["neckline_error"] == 0


def test_stray_pixels_weigh_no_more_than_they_are():
    stray = garment()
    stray[190:192, 60] = True
    # 20 columns between the hips and 8 on either side.
    assert outline_errors(stray, garment(), pose_of())["hem_error"] == pytest.approx(100 * 2 / 36 / HEIGHT)


def test_what_is_not_seen_has_no_figure():
    short = garment(right=8)
    assert outline_errors(short, garment(), pose_of(right_wrist=0.5))["sleeve_error"] == 0
    hidden = outline_errors(short, garment(), pose_of(right_wrist=0.5, left_elbow=0))
    assert np.isnan(hidden["sleeve_error"]) and hidden["hem_error"] == 0
    no_hip = outline_errors(short, garment(), pose_of(left_hip=0))
    assert np.isnan([no_hip["hem_error"], no_hip["neckline_error"]]).all() and no_hip["sleeve_error"] > 0
    beyond = pose_of()
    beyond[:, 1] += 2  # the picture ends above the shoulders
    assert list(outline_errors(~garment(), garment(), beyond).values())[:2] == [0, 0]
    from_the_side = pose_of()
    from_the_side[KEYPOINT_NAMES.index("left_shoulder"), 0] = from_the_side[KEYPOINT_NAMES.index("right_shoulder"), 0]
    assert np.isnan(outline_errors(short, garment(), from_the_side)["neckline_error"])


def test_what_may_not_differ_does_not_count():
    region = WHOLE.copy()
    region[125:] = False
    errors = errors_in(garment(hem=116), garment(), pose_of(), region)
    assert errors["hem_error"] == pytest.approx(100 * (125 - 116) / HEIGHT, abs=0.4)
    assert errors_in(garment(right=8), garment(), pose_of(), ~WHOLE)["sleeve_error"] == 0


def test_lower_body_garments_have_no_outline_of_this_kind():
    record = CaseRecord("case", "lower", "worn", pose_of(), pose_of(), 0)
    assert np.isnan(_outline(garment(), garment(), record, WHOLE)).all()


def test_the_largest_change_outside_counts_in_both_directions_and_no_change_inside():
    kept = np.full((4, 5, 3), 100, np.uint8)
    region = np.zeros((4, 5), bool)
    region[1:3, 1:4] = True
    image = np.where(region[..., None], np.uint8(255), kept)
    assert largest_change(image, kept, region) == 0
    image[0, 0] = 100, 97, 101
    assert largest_change(image, kept, region) == 3
    assert largest_change(image, kept, np.ones((4, 5), bool)) == 0
    with pytest.raises(ValueError, match="`image` must have the shape of `reference`"):
        largest_change(image[:2], kept, region)
