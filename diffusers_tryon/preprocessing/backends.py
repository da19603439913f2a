# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What a preprocessor needs from networks that look at photographs: three small protocols.

Anything with these methods can take the place of the networks that come with the package. All images are uint8 RGB
arrays (H, W, 3) of any sizes; every method takes a batch and returns a list with an entry for each image.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np


class PoseEstimate(NamedTuple):
    """One person's pose.

    Attributes:
        keypoints (`np.ndarray`):
            (18, 3) float32 in the package's format (`poses.KEYPOINT_NAMES`): x and y in [0, 1] of the image, and a
            confidence in [0, 1] as visibility. Points that were not found or lie outside the image are zeros; all are
            if there is nobody.
        person_mask (`np.ndarray`, *optional*):
            (H, W) float32 in [0, 1], how surely a pixel shows this person; None if the estimator makes none.
    """

    keypoints: np.ndarray
    person_mask: np.ndarray | None = None


class PersonDetector(Protocol):
    """Finds people."""

    def detect(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """For each image the boxes of all people in it: (N, 5) float32 of left, top, right and bottom in pixels and a
        score in [0, 1]; (0, 5) if there is nobody. Boxes lie within the image."""
        ...


class PoseEstimator(Protocol):
    """Finds the joints of one person."""

    def estimate(self, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray]) -> list[PoseEstimate]:
        """For each image the pose of the person in its box, (4,) of left, top, right and bottom in pixels."""
        ...


class HumanParser(Protocol):
    """Labels the pixels of people.

    Attributes:
        label_map (`str`): the meaning of its labels, a key of `label_maps.LABEL_MAPS`.
    """

    label_map: str

    def parse(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """For each image, which shows one person with some room around, a label map (H, W) uint8."""
        ...
