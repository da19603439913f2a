# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""How well pixels are labelled and joints are found."""

import numpy as np

from diffusers_tryon.composition import PARSE_LABELS
from diffusers_tryon.preprocessing.heatmaps import COCO17_NAMES


JOINT_GROUPS = {
    "head": ("nose", "left_eye", "right_eye", "left_ear", "right_ear"),
    "shoulders": ("left_shoulder", "right_shoulder"),
    "elbows": ("left_elbow", "right_elbow"),
    "wrists": ("left_wrist", "right_wrist"),
    "hips": ("left_hip", "right_hip"),
    "knees": ("left_knee", "right_knee"),
    "ankles": ("left_ankle", "right_ankle"),
}
_SHOULDERS, _HIPS = [5, 6], [11, 12]


def confusion_matrix(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Numbers of pixels (L, L), rows are true and columns found labels, of label maps of one shape."""
    count = len(PARSE_LABELS)
    pairs = count * truth.astype(np.int64).ravel() + found.astype(np.int64).ravel()
    return np.bincount(pairs, minlength=count * count).reshape(count, count)


def intersections_over_unions(confusion: np.ndarray) -> np.ndarray:
    """IoU (L,) of every label of a confusion matrix (L, L); not a number where the truth has none."""
    hits = np.diag(confusion).astype(np.float64)
    unions = confusion.sum(axis=0) + confusion.sum(axis=1) - hits
    return np.where(confusion.sum(axis=1) > 0, hits / np.maximum(unions, 1), np.nan)


def mean_iou(confusion: np.ndarray) -> float:
    """The mean over the labels that the truth has, background included."""
    return float(np.nanmean(intersections_over_unions(confusion)))


def pixel_accuracy(confusion: np.ndarray) -> float:
    """The share of pixels with the right label."""
    return float(np.trace(confusion) / confusion.sum())


def joint_errors(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Distances of found from true joints in lengths of the torso, middle of the shoulders to middle of the hips.

    Args:
        found (`np.ndarray`): (N, 17, 3) COCO keypoints in units of a square picture.
        truth (`np.ndarray`): (N, 17, 3).

    Returns:
        `np.ndarray`: (N, 17), not a number where the truth has no joint or not the whole torso.
    """
    torso = np.linalg.norm(truth[:, _SHOULDERS, :2].mean(axis=1) - truth[:, _HIPS, :2].mean(axis=1), axis=-1)
    has_torso = (truth[:, _SHOULDERS + _HIPS, 2] > 0).all(axis=1) & (torso > 0)
    errors = np.linalg.norm(found[..., :2] - truth[..., :2], axis=-1) / np.where(has_torso, torso, 1)[:, None]
    return np.where(has_torso[:, None] & (truth[..., 2] > 0), errors, np.nan)


def correct_share(errors: np.ndarray, limit: float) -> float:
    """PCK: the share of the joints that are there with an error below `limit`."""
    counted = errors[~np.isnan(errors)]
    return float((counted < limit).mean())


def correct_share_by_group(errors: np.ndarray, limit: float) -> dict[str, float]:
    """PCK of each of `JOINT_GROUPS`, of errors (N, 17)."""
    return {
        group: correct_share(errors[:, [COCO17_NAMES.index(name) for name in names]], limit)
        for group, names in JOINT_GROUPS.items()
    }
