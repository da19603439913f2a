# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Joints and labels against constructed truth, by networks that are told what to find, and by those that come along."""

import numpy as np
import pytest

from diffusers_tryon.composition import GARMENT_LABELS, PARSE_IDS, label_mask
from diffusers_tryon.evaluation.baselines import pasted_garment
from diffusers_tryon.evaluation.cases import rendered_cases
from diffusers_tryon.evaluation.figures import METRICS
from diffusers_tryon.evaluation.layout import CaseRecord
from diffusers_tryon.evaluation.rendered_metrics import (
    RENDERED_METRICS,
    RenderedNetworks,
    intersection_over_union,
    rendered_figures,
    share_of_joints,
)
from diffusers_tryon.poses import KEYPOINT_NAMES
from diffusers_tryon.preprocessing.backends import PoseEstimate


HEIGHT, WIDTH = 80, 40
WHOLE = np.ones((HEIGHT, WIDTH), bool)


class Told:
    """A parser and a pose estimator that find what they are told, and remember the box they were shown."""

    label_map = "fashn"

    def __init__(self, parse: np.ndarray, pose: np.ndarray):
        self.found_parse, self.found_pose = parse, pose

    def parse(self, images):
        return [self.found_parse for _ in images]

    def estimate(self, images, boxes):
        self.box = boxes[0].tolist()
        return [PoseEstimate(self.found_pose) for _ in images]


def standing() -> np.ndarray:
    """Neck at (20, 20), hips at (16, 44) and (24, 44), in pixels: a trunk of 24."""
    pixels = {"nose": (20, 10), "neck": (20, 20), "right_hip": (16, 44), "left_hip": (24, 44), "left_knee": (24, 60)}
    pose = np.zeros((18, 3), np.float32)
    for name, (x, y) in pixels.items():
        pose[KEYPOINT_NAMES.index(name)] = x / WIDTH, y / HEIGHT, 1
    return pose


def moved(joint: str, right: float = 0.0, down: float = 0.0) -> np.ndarray:
    pose = standing()
    pose[KEYPOINT_NAMES.index(joint), :2] += right / WIDTH, down / HEIGHT
    return pose


def test_a_joint_counts_within_a_fifth_of_the_trunk_in_pixels():
    assert share_of_joints(standing(), standing(), WHOLE) == 1
    # 4.8 pixels in both directions, whatever the shape of the picture.
    for near, far in (({"right": 4.7}, {"right": 4.9}), ({"down": -4.7}, {"down": -4.9})):
        assert share_of_joints(moved("nose", **near), standing(), WHOLE) == 1
        assert share_of_joints(moved("nose", **far), standing(), WHOLE) == pytest.approx(4 / 5)


def test_missing_joints_are_not_found_and_hidden_ones_do_not_count():
    found, truth = standing(), standing()
    found[KEYPOINT_NAMES.index("left_knee"), 2] = 0
    assert share_of_joints(found, truth, WHOLE) == pytest.approx(4 / 5)
    truth[KEYPOINT_NAMES.index("left_knee"), 2] = 0.5
    assert share_of_joints(found, truth, WHOLE) == 1


def test_joints_outside_the_region_do_not_count():
    region = WHOLE.copy()
    region[:15] = False
    assert share_of_joints(moved("nose", down=20), standing(), region) == 1
    assert np.isnan(share_of_joints(standing(), standing(), ~WHOLE))
    assert np.isnan(share_of_joints(standing(), np.zeros((18, 3), np.float32), WHOLE))


def test_without_a_trunk_a_third_of_the_height_stands_for_it():
    truth = standing()
    truth[KEYPOINT_NAMES.index("neck")] = 0
    # 80 / 3 / 5 = 5.33 pixels.
    for down, expected in ((5.2, 1), (5.5, 3 / 4)):
        assert share_of_joints(moved("nose", down=down), truth, WHOLE) == pytest.approx(expected)


def test_overlap_of_masks():
    first, second = np.zeros((2, 4, 4), bool)
    assert np.isnan(intersection_over_union(first, second))
    first[:2], second[1:3] = True, True
    assert intersection_over_union(first, second) == pytest.approx(4 / 12)


def test_labels_are_compared_over_the_whole_picture_by_the_categorys_garment_and_on_average():
    truth = np.zeros((HEIGHT, WIDTH), np.uint8)
    truth[10:20, 10:30], truth[20:60, 10:30] = PARSE_IDS["face"], PARSE_IDS["top"]
    found = truth.copy()
    # A long top is called a dress, which is as well; half of the face is called hair, which the truth has not.
    found[40:60, 10:30], found[10:15, 10:30] = PARSE_IDS["dress"], PARSE_IDS["hair"]
    networks = Told(found, standing())
    record = CaseRecord("case", "upper", "worn", standing(), standing(), 0)
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    figures = rendered_figures(image, image, truth, WHOLE, record, RenderedNetworks(networks, networks))
    assert tuple(figures) == RENDERED_METRICS and networks.box == [10, 10, 30, 60]
    assert figures["parse_iou_garment"] == 1 and figures["pck"] == 1 and figures["garment_colour"] == 0
    assert figures["parse_iou"] == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert np.isnan(figures["garment_pattern"])


def test_colour_counts_where_the_picture_may_differ_alone():
    parse = np.zeros((HEIGHT, WIDTH), np.uint8)
    parse[10:60, 5:35] = PARSE_IDS["top"]
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[10:60, 5:20] = 255
    reference = np.full((HEIGHT, WIDTH, 3), (200, 40, 60), np.uint8)
    outside = np.where((mask > 0)[..., None], reference, 255 - reference).astype(np.uint8)
    record = CaseRecord("case", "upper", "worn", standing(), standing(), 0)
    networks = RenderedNetworks(Told(parse, standing()), Told(parse, standing()))
    assert rendered_figures(outside, reference, parse, mask, record, networks)["garment_colour"] == 0
    assert rendered_figures(255 - reference, reference, parse, mask, record, networks)["garment_colour"] > 10


@pytest.mark.slow
def test_the_true_picture_is_better_than_the_pasted_garment_and_that_than_grey():
    networks, cases = RenderedNetworks(), rendered_cases(12, seed=300, size=96)
    figures = {"reference": [], "pasted": [], "agnostic": []}
    for case in cases:
        pictures = {"reference": case.reference, "pasted": pasted_garment(case), "agnostic": case.agnostic_image}
        for method, image in pictures.items():
            arguments = (image, case.reference, case.parse, case.agnostic_mask, case.record, networks)
            figures[method].append(rendered_figures(*arguments))
        truth = figures["reference"][-1]
        assert truth["garment_colour"] == 0
        assert np.isnan(truth["garment_pattern"]) or truth["garment_pattern"] == pytest.approx(1)
        assert label_mask(case.parse, GARMENT_LABELS[case.record.category]).any()
    means = {
        method: {name: np.nanmean([row[name] for row in rows]) for name in RENDERED_METRICS}
        for method, rows in figures.items()
    }
    for name in RENDERED_METRICS:
        # In a dozen small pictures the parser's own errors hide how far a pasted neckline is off.
        methods = ("agnostic", "reference") if name == "neckline_error" else ("agnostic", "pasted", "reference")
        order = [means[method][name] for method in methods]
        assert order == sorted(order, reverse=not METRICS[name].higher_is_better), (name, means)
    assert means["reference"]["pck"] > 0.75 and means["reference"]["parse_iou_garment"] > 0.75
