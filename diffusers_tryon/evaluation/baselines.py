# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What needs no network: the garment pasted onto the person where shoulders and hips are.

It is made as good as simple means make it, so that a model that beats it has learnt something: where the garment does
not reach, the region shows the colours around it instead of grey.
"""

import math
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

from ..poses import KEYPOINT_NAMES
from .cases import Case


class _Hang(NamedTuple):
    """How garments of a category hang.

    Attributes:
        upper, lower: the pairs of joints that place them; a length is the distance of their middles.
        rise: lengths from the middle of the upper joints up to the garment's upper edge.
        width: how wide the garment is in lengths, see `_width`.
    """

    upper: tuple[int, int]
    lower: tuple[int, int]
    rise: float
    width: float


def _pair(joint: str) -> tuple[int, int]:
    return KEYPOINT_NAMES.index(f"right_{joint}"), KEYPOINT_NAMES.index(f"left_{joint}")


# `rise` and `width` are medians over 40 rendered products of each category, seen beside the same garment on somebody.
_HANGS = {
    "upper": _Hang(_pair("shoulder"), _pair("hip"), rise=0.17, width=0.94),
    "dress": _Hang(_pair("shoulder"), _pair("hip"), rise=0.16, width=1.31),
    "lower": _Hang(_pair("hip"), _pair("knee"), rise=0.25, width=0.78),
}
_SUPERSAMPLING = 4
# Standard deviation of the smoothing of the background, in parts of the longer side.
_SMOOTHING = 1 / 16


def pasted_garment(case: Case) -> np.ndarray:
    """The person with the garment pasted into the hidden region.

    The garment is moved by the similarity that brings its joints closest to the person's: shoulders and hips, for
    lower-body garments hips and knees, as many of the four as both pictures show. If these are fewer than two, as with
    every flat garment, it hangs along the person's trunk (thighs) in the size that such garments usually have; if the
    person shows no shoulder or no hip (no hip or no knee), it is fitted into the box around the hidden region. What it
    leaves of the region shows the nearest colours from outside the region's box, smoothed. Outside the region nothing
    changes.

    Returns:
        `np.ndarray`: (H, W, 3) uint8.
    """
    size = case.agnostic_mask.shape
    layer = warp(np.dstack([case.garment_image, case.garment_mask]), _placement(case), size)
    opacity = layer[..., 3:] / 255
    pasted = continued_background(case.agnostic_image, case.agnostic_mask) * (1 - opacity) + layer[..., :3] * opacity
    hidden = case.agnostic_mask[..., None] > 0
    return np.where(hidden, np.round(pasted).astype(np.uint8), case.agnostic_image)


def _placement(case: Case) -> np.ndarray:
    """The matrix (2, 3) from pixels of the garment image to pixels of the person's picture."""
    hang = _HANGS[case.record.category]
    before, after = (
        pose * [picture.shape[1], picture.shape[0], 1]
        for pose, picture in (
            (case.record.garment_pose, case.garment_mask),
            (case.record.person_pose, case.agnostic_mask),
        )
    )
    numbers = [number for number in hang.upper + hang.lower if before[number, 2] > 0 and after[number, 2] > 0]
    if len(np.unique(before[numbers, :2], axis=0)) >= 2:
        return fit_similarity(before[numbers, :2], after[numbers, :2])
    left, top, right, bottom = _box(case.garment_mask)
    middle_of_top = np.array([(left + right) / 2, top])
    upper, lower = (_middle(after, pair) for pair in (hang.upper, hang.lower))
    if upper is not None and lower is not None:
        up = upper - lower
        scale = hang.width * np.linalg.norm(up) / _width(case.garment_mask, case.record.category)
        edge = upper + hang.rise * up
        down = -up / np.linalg.norm(up)
    else:
        hidden_left, hidden_top, hidden_right, hidden_bottom = _box(case.agnostic_mask)
        scale = min((hidden_right - hidden_left) / (right - left), (hidden_bottom - hidden_top) / (bottom - top))
        edge, down = np.array([(hidden_left + hidden_right) / 2, hidden_top]), np.array([0.0, 1.0])
    garment_points = np.stack([middle_of_top, middle_of_top + [0, 1]])
    return fit_similarity(garment_points, np.stack([edge, edge + scale * down]))


def _middle(points: np.ndarray, pair: tuple[int, int]) -> np.ndarray | None:
    """The middle (2,) of those of a pair of joints that are known."""
    known = points[[number for number in pair if points[number, 2] > 0], :2]
    return known.mean(axis=0) if len(known) else None


def _width(mask: np.ndarray, category: str) -> float:
    """Of a lower-body garment the mean width of the upper tenth, the waist; of others the root of the area, on which
    spread sleeves and short hems tell least."""
    if category != "lower":
        return math.sqrt((mask > 0).sum())
    _, top, _, bottom = _box(mask)
    return (mask[top : top + math.ceil((bottom - top) / 10)] > 0).sum(axis=1).mean()


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what a mask marks."""
    rows, columns = np.nonzero(mask)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def fit_similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The rotation, uniform scale and shift, without reflection, that best bring points onto others.

    Least squares in closed form: in the plane the rotation and scale of centred points is one complex number, their
    correlation by the variance of the source. This is Umeyama's solution (IEEE TPAMI 13(4), 1991) in two dimensions.

    Args:
        source, target (`np.ndarray`): (N, 2), at least two different source points.

    Returns:
        `np.ndarray`: (2, 3) matrix that takes (x, y, 1) to (x, y).
    """
    middles = source.mean(axis=0), target.mean(axis=0)
    before, after = (
        (points - middle) @ np.array([1, 1j]) for points, middle in zip((source, target), middles, strict=True)
    )
    turn = (before.conj() * after).sum() / (np.abs(before) ** 2).sum()
    matrix = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    return np.column_stack([matrix, middles[1] - matrix @ middles[0]])


def warp(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Move an RGBA picture (H, W, 4) uint8 by a matrix of `fit_similarity`, antialiased: (height, width, 4) uint8."""
    fine = np.diag([1 / _SUPERSAMPLING, 1 / _SUPERSAMPLING, 1])
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]])) @ fine
    height, width = (side * _SUPERSAMPLING for side in size)
    picture = Image.fromarray(image)
    moved = picture.transform(
        (width, height), Image.Transform.AFFINE, tuple(inverse[:2].ravel()), Image.Resampling.BILINEAR
    )
    return np.asarray(moved.reduce(_SUPERSAMPLING))


def continued_background(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Every pixel in the colour of the nearest one outside the box of the mask, smoothed: (H, W, 3) float64.

    Inside that box are the person's own head, hands and clothes, whose colours the background has not. If the box is
    the whole picture, they are all there is.
    """
    left, top, right, bottom = _box(mask)
    hidden = np.zeros(mask.shape, dtype=bool)
    hidden[top:bottom, left:right] = True
    if hidden.all():
        hidden = mask > 0
    if hidden.all():
        return image.astype(np.float64)
    nearest = ndimage.distance_transform_edt(hidden, return_distances=False, return_indices=True)
    sigma = _SMOOTHING * max(mask.shape)
    return ndimage.gaussian_filter(image[tuple(nearest)].astype(np.float64), (sigma, sigma, 0))
