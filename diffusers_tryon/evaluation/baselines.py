# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What needs no network: the garment pasted onto the person by a similarity of joints."""

import numpy as np
from PIL import Image

from ..poses import KEYPOINT_NAMES
from .cases import Case


# The joints that a garment of each category hangs on.
_JOINTS = {
    "upper": ("right_shoulder", "left_shoulder", "right_hip", "left_hip"),
    "dress": ("right_shoulder", "left_shoulder", "right_hip", "left_hip"),
    "lower": ("right_hip", "left_hip", "right_knee", "left_knee"),
}
_SUPERSAMPLING = 4


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


def pasted_garment(case: Case) -> np.ndarray:
    """The garment pasted over the agnostic image, inside the mask only: (H, W, 3) uint8."""
    height, width = case.agnostic_mask.shape
    scale = np.array([width, height])
    numbers = [KEYPOINT_NAMES.index(name) for name in _JOINTS[case.record.category]]
    before, after = case.record.garment_pose[numbers], case.record.person_pose[numbers]
    shared = (before[:, 2] > 0) & (after[:, 2] > 0)
    if shared.sum() >= 2:
        matrix = fit_similarity(before[shared, :2] * scale, after[shared, :2] * scale)
    else:
        matrix = fit_similarity(_box(case.garment_mask), _box(case.agnostic_mask))
    layer = warp(np.dstack([case.garment_image, case.garment_mask]), matrix, (height, width))
    opacity = layer[..., 3:] / 255 * (case.agnostic_mask > 0)[..., None]
    return np.round(case.agnostic_image * (1 - opacity) + layer[..., :3] * opacity).astype(np.uint8)


def _box(mask: np.ndarray) -> np.ndarray:
    """The middles of the upper and of the lower edge of what a mask marks: (2, 2)."""
    rows, columns = np.nonzero(mask)
    middle = (columns.min() + columns.max() + 1) / 2
    return np.array([[middle, rows.min()], [middle, rows.max() + 1]], dtype=float)


def warp(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Move an RGBA picture (H, W, 4) uint8 by a matrix of `fit_similarity`, antialiased: (height, width, 4) uint8."""
    fine = np.diag([1 / _SUPERSAMPLING, 1 / _SUPERSAMPLING, 1])
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]])) @ fine
    height, width = (side * _SUPERSAMPLING for side in size)
    picture = Image.fromarray(image)
    moved = picture.transform((width, height), Image.Transform.AFFINE, tuple(inverse[:2].ravel()), Image.BILINEAR)
    return np.asarray(moved.reduce(_SUPERSAMPLING))
