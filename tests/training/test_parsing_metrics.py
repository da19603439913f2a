# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Figures of parsers and pose networks, against small examples counted by hand."""

import numpy as np
import pytest

from diffusers_tryon.composition import PARSE_IDS, PARSE_LABELS
from diffusers_tryon.training.parsing_metrics import (
    confusion_matrix,
    correct_share,
    correct_share_by_group,
    intersections_over_unions,
    joint_errors,
    mean_iou,
    pixel_accuracy,
)


TOP, PANTS = PARSE_IDS["top"], PARSE_IDS["pants"]


def test_intersections_over_unions_counted_by_hand():
    truth = np.array([[0, 0, TOP, TOP], [0, 0, TOP, TOP]], np.uint8)
    found = np.array([[0, TOP, TOP, TOP], [0, 0, PANTS, TOP]], np.uint8)
    confusion = confusion_matrix(found, truth)
    assert confusion.shape == (18, 18) and confusion.sum() == 8
    assert confusion[0, TOP] == 1 and confusion[TOP, PANTS] == 1
    ious = intersections_over_unions(confusion)
    assert ious[0] == 3 / 4 and ious[TOP] == 3 / 5
    assert np.isnan(ious[PANTS]) and np.isnan(ious).sum() == len(PARSE_LABELS) - 2
    assert mean_iou(confusion) == pytest.approx((3 / 4 + 3 / 5) / 2)
    assert pixel_accuracy(confusion) == 6 / 8


def person() -> np.ndarray:
    """Shoulders at 0.2, hips at 0.7: a torso of 0.5."""
    keypoints = np.zeros((1, 17, 3))
    keypoints[0, [5, 6], :] = (0.4, 0.2, 1), (0.6, 0.2, 1)
    keypoints[0, [11, 12], :] = (0.45, 0.7, 1), (0.55, 0.7, 0.5)
    return keypoints


def test_errors_are_measured_in_torso_lengths():
    truth = person()
    found = truth.copy()
    found[0, 5, 0] += 0.03
    found[0, 12, 1] += 0.4
    errors = joint_errors(found, truth)
    np.testing.assert_allclose(errors[0, [5, 6, 11, 12]], (0.06, 0, 0, 0.8), atol=1e-12)
    assert np.isnan(errors).sum() == 13
    assert correct_share(errors, 0.1) == 3 / 4 and correct_share(errors, 0.05) == 2 / 4


def test_groups_hold_their_joints():
    errors = np.ones((2, 17))
    errors[0, [9, 10]] = 0.05
    shares = correct_share_by_group(errors, 0.1)
    assert shares.pop("wrists") == 0.5 and set(shares.values()) == {0.0}


def test_without_a_whole_torso_nothing_is_measured():
    truth = person()
    truth[0, 11] = 0
    assert np.isnan(joint_errors(truth, truth)).all()
