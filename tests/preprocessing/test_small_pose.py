# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The package's small pose network as a back end, with networks that see joints by their colours."""

import numpy as np
import pytest
import torch
from colour_networks import BLUE, COLOUR_OF_COCO, GREEN, RED, colour_segformer, picture
from transformers import SegformerImageProcessorPil

from diffusers_tryon.poses import KEYPOINT_NAMES
from diffusers_tryon.preprocessing.small_pose import SmallPoseEstimator
from diffusers_tryon.preprocessing.transformers_backends import SegformerParser


# x and y in pixels of what has each colour, and a person's box around it.
PLACES = {GREEN: (150.0, 60.0), RED: (110.0, 120.0), BLUE: (185.0, 175.0)}
BOX = np.array([80.0, 30.0, 220.0, 230.0])


def estimator(size: int = 128, **settings) -> SmallPoseEstimator:
    """The sigmoid of 4 x (colour - 1): from 0.02 for black to 0.99 for the brightest."""
    model = colour_segformer(COLOUR_OF_COCO, bias=-4.0, gain=4.0)
    return SmallPoseEstimator(model, SegformerImageProcessorPil(size={"height": size, "width": size}), **settings)


def person(red: float = 1.0) -> np.ndarray:
    spots = [(colour, *PLACES[colour], red if colour == RED else 1.0) for colour in PLACES]
    return picture(260, 300, spots, radius=14)


def expected_place(name: str) -> np.ndarray:
    if name == "neck":
        return (np.array(PLACES[RED]) + PLACES[BLUE]) / 2
    return np.array(PLACES[RED if "right" in name else BLUE if "left" in name else GREEN])


def test_joints_are_found_where_the_heat_maps_have_them():
    (estimate,) = estimator().estimate([person()], [BOX])
    assert estimate.person_mask is None
    assert estimate.keypoints.shape == (18, 3) and estimate.keypoints.dtype == np.float32
    for name, (x, y, confidence) in zip(KEYPOINT_NAMES, estimate.keypoints.tolist()):
        # The network's cells are 7 pixels wide; the answer lies between them.
        np.testing.assert_allclose([x * 300, y * 260], expected_place(name), atol=1.5, err_msg=name)
        assert 0.9 < confidence <= 1, name


def test_a_person_at_the_edge_is_found_in_a_square_that_reaches_beyond():
    whole, (estimate,) = person(), estimator().estimate([person()], [BOX])
    cut = whole[30:, 80:]
    (edge,) = estimator().estimate([cut], [BOX - [80, 30, 80, 30]])
    places = edge.keypoints[:, :2] * cut.shape[1::-1] + (80, 30)
    np.testing.assert_allclose(places, estimate.keypoints[:, :2] * (300, 260), atol=1.0)


def test_uncertain_joints_are_zeros():
    # Half as bright a red is 1.0 when it is normalised, less at the place of the brightest cell.
    dim = person(red=0.62)
    (sure,) = estimator(threshold=0.0).estimate([dim], [BOX])
    assert 0.03 < sure.keypoints[KEYPOINT_NAMES.index("right_hip"), 2] < 0.5
    (estimate,) = estimator(threshold=0.5).estimate([dim], [BOX])
    for name, keypoint in zip(KEYPOINT_NAMES, estimate.keypoints):
        assert (keypoint == 0).all() == (name == "neck" or "right" in name), name


def test_joints_outside_the_image_are_zeros():
    """Heat maps that are bright everywhere have their peak in the first cell, which lies beyond the image."""
    everywhere = estimator()
    with torch.no_grad():
        everywhere.model.decode_head.classifier.weight.zero_()
        everywhere.model.decode_head.classifier.bias.fill_(3.0)
    inner, edge = everywhere.estimate([person()] * 2, [BOX, np.array([0.0, 0.0, 140.0, 200.0])])
    # The square around the box is 1.15 times as large as its longer side.
    cell = 1.15 * 200 / 32
    corner = np.array([150 - 115 + cell / 2, 130 - 115 + cell / 2])
    np.testing.assert_allclose(inner.keypoints[0, :2] * (300, 260), corner, atol=1.0)
    assert inner.keypoints[:, 2].min() > 0.9
    assert not edge.keypoints.any()


def test_a_batch_equals_single_images():
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (70, 90, 3), dtype=np.uint8)
    images, boxes = [small, person()], [np.array([10.0, 5.5, 60.25, 70]), BOX]
    together = estimator(threshold=0.0).estimate(images, boxes)
    for image, box, estimate in zip(images, boxes, together):
        (alone,) = estimator(threshold=0.0).estimate([image], [box])
        np.testing.assert_allclose(estimate.keypoints, alone.keypoints, atol=1e-5)
    assert estimator().estimate([], []) == []


def test_saved_and_loaded_answers_are_the_same(tmp_path):
    saved = estimator(threshold=0.35)
    saved.save_pretrained(tmp_path)
    loaded = SmallPoseEstimator.from_pretrained(tmp_path)
    assert loaded.threshold == 0.35
    (answer,), (expected,) = loaded.estimate([person()], [BOX]), saved.estimate([person()], [BOX])
    np.testing.assert_array_equal(answer.keypoints, expected.keypoints)
    half = SmallPoseEstimator.from_pretrained(tmp_path, dtype=torch.bfloat16)
    np.testing.assert_allclose(half.estimate([person()], [BOX])[0].keypoints, expected.keypoints, atol=0.02)


def test_a_parser_cannot_be_loaded_from_it(tmp_path):
    estimator().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="SegformerParser has no settings threshold, .* another back end saved it"):
        SegformerParser.from_pretrained(tmp_path, label_map="fashn")


def test_networks_that_are_none_are_refused():
    squares = SegformerImageProcessorPil(size={"height": 64, "width": 64})
    with pytest.raises(ValueError, match="17 heat maps, those of COCO's keypoints, got 18"):
        SmallPoseEstimator(colour_segformer([RED] * 18), squares)
    with pytest.raises(ValueError, match="`image_processor` must make squares"):
        SmallPoseEstimator(
            colour_segformer(COLOUR_OF_COCO), SegformerImageProcessorPil(size={"height": 64, "width": 48})
        )
    with pytest.raises(ValueError, match="`threshold` must be from 0 to 1, got -1"):
        estimator(threshold=-1)
    with pytest.raises(ValueError, match="one box for each of the 1 images, got 2"):
        estimator().estimate([person()], [BOX, BOX])
    with pytest.raises(ValueError, match=r"`images\[0\]` must be a uint8 RGB array"):
        estimator().estimate([person() / 255], [BOX])
