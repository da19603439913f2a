# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""VITON-HD's way to hide an upper-body garment: thick strokes along the bones, whatever the label map says."""

import numpy as np
from PIL import Image, ImageDraw

from .poses import KEYPOINT_NAMES


# The unit of all widths, in heights of the picture: 20 pixels of 1024.
_UNIT = 20 / 1024
_NECK, _SHOULDERS, _HIPS = 1, (2, 5), (8, 11)
# Elbow and wrist of either arm after the joint that they hang on.
_ARM_BONES = ((2, 3), (3, 4), (5, 6), (6, 7))


def upper_body_strokes(pose: np.ndarray, height: int, width: int) -> np.ndarray:
    """Where VITON-HD (arXiv 2103.16874, its code's `get_img_agnostic`) hides the upper body.

    Shoulders, arms, torso and a square around the neck; the hips are first moved apart to the width of the shoulders.
    The published widths are pixels of pictures of 768 x 1024; here they grow with the picture's height.

    Args:
        pose (`np.ndarray`): (18, 3) OpenPose keypoints, x and y in [0, 1], missing points with visibility 0.
        height (`int`), width (`int`): of the picture in pixels.

    Returns:
        `np.ndarray`: (height, width) bool.

    Raises:
        ValueError: neck, a shoulder or a hip is missing, or both hips lie in one place. An arm's bones are left out
            where a point is missing.
    """
    missing = [KEYPOINT_NAMES[point] for point in (_NECK, *_SHOULDERS, *_HIPS) if pose[point, 2] == 0]
    if missing:
        raise ValueError(f"the recipe viton-hd needs neck, shoulders and hips, missing: {', '.join(missing)}")
    points = pose[:, :2].astype(np.float64) * (width, height)
    points[list(_HIPS)] = _widened_hips(points)

    unit = _UNIT * height
    picture = Image.new("1", (width, height))
    drawing = ImageDraw.Draw(picture)

    def line(start: int, end: int, units: int) -> None:
        drawing.line([tuple(points[start]), tuple(points[end])], fill=1, width=round(units * unit))

    def ellipse(centre: int, units_across: int, units_down: int) -> None:
        reach = np.array([units_across, units_down]) * unit
        drawing.ellipse([tuple(points[centre] - reach), tuple(points[centre] + reach)], fill=1)

    line(*_SHOULDERS, 10)
    for shoulder in _SHOULDERS:
        ellipse(shoulder, 5, 5)
    for start, end in _ARM_BONES:
        if pose[start, 2] > 0 and pose[end, 2] > 0:
            line(start, end, 10)
            ellipse(end, 5, 5)
    for shoulder, hip in zip(_SHOULDERS, _HIPS):
        ellipse(hip, 3, 6)
        line(shoulder, hip, 6)
    line(*_HIPS, 12)
    drawing.polygon([tuple(points[point]) for point in (*_SHOULDERS, *reversed(_HIPS))], fill=1)
    reach = 7 * unit
    drawing.rectangle([tuple(points[_NECK] - reach), tuple(points[_NECK] + reach)], fill=1)
    return np.asarray(picture)


def _widened_hips(points: np.ndarray) -> np.ndarray:
    """(2, 2): the hips, as far apart as the shoulders, their middle in its place."""
    right_shoulder, left_shoulder = points[list(_SHOULDERS)]
    hips = points[list(_HIPS)]
    hip_width = np.linalg.norm(hips[1] - hips[0])
    if hip_width == 0:
        raise ValueError("the recipe viton-hd needs two hips, both lie in one place")
    middle = hips.mean(axis=0)
    return middle + (hips - middle) * np.linalg.norm(left_shoulder - right_shoulder) / hip_width
