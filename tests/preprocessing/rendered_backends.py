# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Back ends that know the truth about rendered photographs, so that everything else can be tested without networks."""

from collections.abc import Sequence
from functools import cache

import numpy as np

from diffusers_tryon.preprocessing.analysis import ANALYSIS_SIDE, region_around
from diffusers_tryon.preprocessing.backends import PoseEstimate
from diffusers_tryon.preprocessing.preprocessor import TryOnPreprocessor
from diffusers_tryon.rendering.samples import render_pair


@cache
def rendered_photo(seed: int, category: str = "upper", size: int = 192) -> dict:
    """A rendered photograph with `image`, `parse` and `pose`; do not change its arrays."""
    row = render_pair(seed, size, "test", category)
    return {"image": row["person_image"], "parse": row["person_parse"], "pose": row["person_pose"]}


class RenderedTruth:
    """Detector, pose estimator and parser in one. It recognises photographs, and the regions around the people in
    them, by their bytes; in others there is nobody."""

    label_map = "fashn"

    def __init__(self, photos: Sequence[dict]):
        self.photos = {}
        self.regions = {}
        for photo in photos:
            image, parse, pose = photo["image"], photo["parse"], photo["pose"]
            assert max(image.shape) <= ANALYSIS_SIDE
            rows, columns = np.nonzero(parse)
            box = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1, 1.0], np.float32)
            region = region_around(box, *parse.shape)
            self.photos[image.tobytes()] = box[None]
            truth = region.cut(parse, 0), region.pose_from_photo(pose)
            self.regions[region.cut(image).tobytes()] = truth

    def detect(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        nobody = np.zeros((0, 5), np.float32)
        return [self.photos.get(image.tobytes(), nobody) for image in images]

    def estimate(self, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray]) -> list[PoseEstimate]:
        estimates = []
        for image in images:
            parse, pose = self._truth(image)
            estimates.append(PoseEstimate(pose, (parse > 0).astype(np.float32)))
        return estimates

    def parse(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [self._truth(image)[0] for image in images]

    def _truth(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        nobody = np.zeros(image.shape[:2], np.uint8), np.zeros((18, 3), np.float32)
        return self.regions.get(image.tobytes(), nobody)


def truth_preprocessor(photos: Sequence[dict]) -> TryOnPreprocessor:
    """A preprocessor that makes no mistakes on these photographs."""
    truth = RenderedTruth(photos)
    return TryOnPreprocessor(truth, truth, truth)
