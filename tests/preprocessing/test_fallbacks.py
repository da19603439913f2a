# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""A second back end is asked where the first finds nobody, and only there."""

import numpy as np
from rendered_backends import RenderedTruth, rendered_photo

from diffusers_tryon.preprocessing.fallbacks import FallbackPersonDetector, FallbackPoseEstimator


class Asked(RenderedTruth):
    """Counts the images it is asked about."""

    def __init__(self, photos):
        super().__init__(photos)
        self.count = 0

    def detect(self, images):
        self.count += len(images)
        return super().detect(images)

    def estimate(self, images, boxes):
        self.count += len(images)
        return super().estimate(images, boxes)


def test_the_second_is_asked_where_the_first_finds_nobody():
    photos = [rendered_photo(seed, "upper") for seed in (1, 6, 4)]
    images = [photo["image"] for photo in photos]
    for order in ([0, 1, 2], [2, 0, 1]):
        first, second = Asked([photos[0]]), Asked(photos[:2])
        found = FallbackPersonDetector(first, second).detect([images[number] for number in order])
        by_photo = dict(zip(order, found))
        np.testing.assert_array_equal(by_photo[0], first.photos[images[0].tobytes()])
        np.testing.assert_array_equal(by_photo[1], second.photos[images[1].tobytes()])
        assert by_photo[2].shape == (0, 5)
        assert (first.count, second.count) == (3, 2)


def test_joints_of_the_second_where_the_first_finds_none():
    photos = [rendered_photo(seed, "upper") for seed in (1, 6)]
    first, second = Asked([photos[0]]), Asked(photos)
    regions = [np.frombuffer(key, np.uint8) for key in second.regions]
    shaped = [region.reshape(*truth[0].shape, 3) for region, truth in zip(regions, second.regions.values())]
    boxes = [np.array([0, 0, *image.shape[1::-1]], np.float32) for image in shaped]
    found = FallbackPoseEstimator(first, second).estimate(shaped, boxes)
    for estimate, (parse, pose) in zip(found, second.regions.values()):
        np.testing.assert_array_equal(estimate.keypoints, pose)


def test_the_second_is_believed_where_it_sees_legs_alone():
    photos = [rendered_photo(3, "dress"), rendered_photo(6, "upper")]
    second = Asked(photos)
    images = [np.frombuffer(key, np.uint8) for key in second.regions]
    images = [image.reshape(*truth[0].shape, 3) for image, truth in zip(images, second.regions.values())]
    boxes = [np.array([0, 0, *image.shape[1::-1]], np.float32) for image in images]

    class Headless(RenderedTruth):
        def estimate(self, images, boxes):
            estimates = super().estimate(images, boxes)
            for estimate in estimates:
                estimate.keypoints[[0, 1, 2, 5, 14, 15, 16, 17]] = 0
            return estimates

    first, truth = Asked(photos), [pose.copy() for _, pose in second.regions.values()]
    dress, top = FallbackPoseEstimator(first, Headless(photos)).estimate(images, boxes)
    # Of the dress both hips and the legs are in view, of the top hips at most.
    assert not dress.keypoints[0].any() and dress.keypoints[9, 2]
    np.testing.assert_array_equal(top.keypoints, truth[1])


class Boxes:
    """Finds the same boxes in every image."""

    def __init__(self, *boxes):
        self.boxes = np.array(boxes, np.float32).reshape(-1, 5)

    def detect(self, images):
        return [self.boxes for _ in images]


def test_an_unsure_box_gives_way_to_one_elsewhere():
    image, whole = np.zeros((100, 100, 3), np.uint8), (20, 0, 80, 100, 1.0)

    def found(*boxes):
        return FallbackPersonDetector(Boxes(*boxes), Boxes(whole)).detect([image])[0]

    hand, trunk = (20, 40, 35, 60, 0.7), (25, 5, 75, 90, 0.6)
    np.testing.assert_array_equal(found(hand), np.float32([whole]))
    # A sure one stays, and so does an unsure one that the second sees as well.
    for kept in ([(20, 40, 35, 60, 0.9)], [trunk], [hand, trunk]):
        np.testing.assert_array_equal(found(*kept), np.float32(kept))


def test_a_small_unsure_box_that_nobody_else_sees_is_left_out():
    image = np.zeros((100, 100, 3), np.uint8)
    sleeve, sure, trunk = (20, 40, 35, 60, 0.7), (20, 40, 35, 60, 0.9), (25, 5, 75, 90, 0.6)
    for boxes, kept in (([sleeve], []), ([sleeve, trunk], [trunk]), ([sure], [sure])):
        (found,) = FallbackPersonDetector(Boxes(*boxes), Boxes()).detect([image])
        np.testing.assert_array_equal(found, Boxes(*kept).boxes)
