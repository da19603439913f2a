# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""A second back end for photographs in which the first one finds nobody, or somebody with a head that is not there.

MediaPipe needs a head. Photographs of trousers often end above the hips; there the package's own networks, which
learned from such pictures too, still find the legs.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from ..files import written_beside
from ..poses import KEYPOINT_NAMES
from .backends import PersonDetector, PoseEstimate, PoseEstimator
from .boxes import areas, overlap
from .sources import read_json_object


_INDEX_FILE = "fallback.json"
_PARTS = ("first", "second")
_HEAD_AND_SHOULDERS = [
    number for number, name in enumerate(KEYPOINT_NAMES) if name.endswith(("nose", "eye", "ear", "shoulder"))
]
_LEGS = [number for number, name in enumerate(KEYPOINT_NAMES) if name.endswith(("hip", "knee", "ankle"))]
_LEAST_LEG_POINTS = 3
# A score of a box that is not questioned, and the overlap with the largest other box below which it is another place.
# MediaPipe's false boxes in 24 rendered people, most without a head, score up to 0.76 and overlap up to 0.27; right ones
# below 0.8 overlap by 0.65 and more, on photographs too.
_SURE, _ELSEWHERE = 0.8, 0.3
# Share of the image below which an unsure person is small.
_SMALL = 0.1


class _Fallback:
    """Two back ends of a kind, saved together.

    Args:
        first: asked about every image.
        second: takes its place where the first is likely to be wrong.
    """

    def __init__(self, first: Any, second: Any) -> None:
        self.first = first
        self.second = second

    def save_pretrained(self, folder: str | Path) -> None:
        """Write both back ends, which must come with the package, to a folder for `from_pretrained`."""
        parts = {"first": self.first, "second": self.second}
        for name, part in parts.items():
            part.save_pretrained(Path(folder) / name)
        with written_beside(Path(folder) / _INDEX_FILE) as file:
            file.write_text(json.dumps({name: type(part).__name__ for name, part in parts.items()}, indent=2) + "\n")

    @classmethod
    def from_pretrained(cls, source: str | Path, subfolder: str = "", **options: Any) -> Self:
        """Load both back ends from a folder; `options` are those of their `from_pretrained`."""
        from .loading import component_class

        folder = Path(source) / subfolder
        index = read_json_object(folder, _INDEX_FILE, source)
        return cls(
            *(component_class(index[name]).from_pretrained(folder, subfolder=name, **options) for name in _PARTS)
        )


class FallbackPersonDetector(_Fallback):
    """Finds people by a second [`PersonDetector`] where the first finds nobody, or hardly and in another place.

    In people without a head, and in garments that nobody wears, MediaPipe finds small ones: in a hand, in a sleeve. Where
    the second sees nobody at all, small people of whom the first is unsure are left out.
    """

    first: PersonDetector
    second: PersonDetector

    def detect(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """For each image boxes of people (N, 5), see [`PersonDetector`]."""
        found = self.first.detect(images)
        doubtful = [number for number, boxes in enumerate(found) if not (boxes[:, 4] >= _SURE).any()]
        if doubtful:
            for number, boxes in zip(doubtful, self.second.detect([images[number] for number in doubtful])):
                if len(boxes) == 0:
                    found[number] = _without_small(found[number], images[number])
                elif all(overlap(boxes[0, :4], box[:4]) < _ELSEWHERE for box in found[number]):
                    found[number] = boxes
        return found


def _without_small(boxes: np.ndarray, image: np.ndarray) -> np.ndarray:
    """The boxes (N, 5) that cover enough of an image."""
    return boxes[areas(boxes) >= _SMALL * image.shape[0] * image.shape[1]]


class FallbackPoseEstimator(_Fallback):
    """Finds joints by a second [`PoseEstimator`] where the first finds none, or a head that is not there.

    Of people from the hips to the feet MediaPipe makes whole people, surely, with a mask to match. So the second is asked
    about every image, and believed where it sees legs alone.
    """

    first: PoseEstimator
    second: PoseEstimator

    def estimate(self, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray]) -> list[PoseEstimate]:
        """For each image the pose of the person in its box, see [`PoseEstimator`]."""
        pairs = zip(self.first.estimate(images, boxes), self.second.estimate(images, boxes))
        return [
            second if not first.keypoints[:, 2].any() or _shows_legs_alone(second.keypoints) else first
            for first, second in pairs
        ]


def _shows_legs_alone(pose: np.ndarray) -> bool:
    return not pose[_HEAD_AND_SHOULDERS, 2].any() and (pose[_LEGS, 2] > 0).sum() >= _LEAST_LEG_POINTS
