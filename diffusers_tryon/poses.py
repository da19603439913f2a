# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The pose format of the package (OpenPose-18), its JSON files and the conversion from COCO-17."""

import json
from pathlib import Path

import numpy as np


KEYPOINT_NAMES = (
    "nose",
    "neck",
    "right_shoulder",
    "right_elbow",
    "right_wrist",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
    "right_hip",
    "right_knee",
    "right_ankle",
    "left_hip",
    "left_knee",
    "left_ankle",
    "right_eye",
    "left_eye",
    "right_ear",
    "left_ear",
)
NUM_KEYPOINTS = len(KEYPOINT_NAMES)
# A point whose place is known although something hides it; a point in sight has 1 or an estimator's confidence, a
# missing one 0.
OCCLUDED_VISIBILITY = 0.5

# Bones drawn between keypoints, as pairs of indices into KEYPOINT_NAMES.
SKELETON = (
    (0, 1), (1, 2), (2, 3), (3, 4), (1, 5), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10),
    (1, 11), (11, 12), (12, 13), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip

# OpenPose-18 index -> COCO-17 index; the neck (1) does not exist in COCO and is the middle of the shoulders.
_COCO17_INDEX = (0, 5, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
_COCO17_SHOULDERS = (5, 6)


def coco17_to_openpose18(keypoints: np.ndarray) -> np.ndarray:
    """Convert COCO-17 keypoints to OpenPose-18.

    Args:
        keypoints (`np.ndarray`): (..., 17, 3) of x, y and visibility, in any unit.

    Returns:
        `np.ndarray`: (..., 18, 3) in the same unit. The neck is the middle of the shoulders, as visible as the less
        visible one.
    """
    if keypoints.shape[-2:] != (17, 3):
        raise ValueError(f"`keypoints` must have shape (..., 17, 3) for COCO-17, got {tuple(keypoints.shape)}.")
    converted = keypoints[..., _COCO17_INDEX, :].copy()
    shoulders = keypoints[..., _COCO17_SHOULDERS, :]
    converted[..., 1, :2] = shoulders[..., :2].mean(axis=-2)
    converted[..., 1, 2] = shoulders[..., 2].min(axis=-1)
    return converted


def hide_points_outside_image(keypoints: np.ndarray) -> np.ndarray:
    """Mark points outside [0, 1] as missing (x, y and visibility 0).

    Estimators extrapolate joints beyond the picture; the network only ever saw such points as missing.

    Args:
        keypoints (`np.ndarray`): (..., 18, 3), x and y in units of the image's width and height.
    """
    inside = ((keypoints[..., :2] >= 0) & (keypoints[..., :2] <= 1)).all(axis=-1, keepdims=True)
    present = inside & (keypoints[..., 2:] > 0)
    return np.where(present, keypoints, 0.0).astype(np.float32)


def check_pose(pose: np.ndarray, name: str) -> None:
    """Raise a `ValueError` naming the argument `name` unless `pose` is (..., 18, 3) in the package's ranges."""
    if pose.shape[-2:] != (NUM_KEYPOINTS, 3):
        raise ValueError(
            f"`{name}` must hold {NUM_KEYPOINTS} OpenPose keypoints of (x, y, visibility), shape (..., 18, 3), "
            f"got {tuple(pose.shape)}."
        )
    if not np.isfinite(pose).all():
        raise ValueError(f"`{name}` holds NaN or infinite values; missing points have visibility 0.")
    if pose[..., 2].min() < 0 or pose[..., 2].max() > 1:
        raise ValueError(
            f"`{name}` must have visibilities in [0, 1], got {pose[..., 2].min():.4g} to {pose[..., 2].max():.4g}."
        )
    visible = pose[pose[..., 2] > 0][:, :2]
    if visible.size and (visible.min() < 0 or visible.max() > 1):
        raise ValueError(
            f"`{name}` must have x and y in [0, 1] of the image for visible points, got {visible.min():.4g} to "
            f"{visible.max():.4g}. Divide pixels by the image's width and height; points outside have visibility 0."
        )


def load_pose(path: str | Path) -> np.ndarray:
    """Read a pose file: `{"format": "openpose_18", "normalized": true, "keypoints": [[x, y, visibility] * 18]}`.

    Points outside the image come back as missing.

    Returns:
        `np.ndarray`: (18, 3) float32, x and y in [0, 1], visibility in [0, 1].

    Raises:
        ValueError: the file is no JSON, of another format, in pixels, or has a wrong number of keypoints.
    """
    try:
        content = json.loads(Path(path).read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"The pose file {path} is not valid JSON: {error}") from error
    if (
        not isinstance(content, dict)
        or content.get("format") != "openpose_18"
        or content.get("normalized") is not True
    ):
        raise ValueError(
            f'The pose file {path} must hold {{"format": "openpose_18", "normalized": true, "keypoints": [...]}}.'
        )
    try:
        keypoints = np.asarray(content.get("keypoints"), dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"The keypoints of the pose file {path} are not numbers in rows of three.") from error
    if keypoints.shape != (NUM_KEYPOINTS, 3):
        raise ValueError(
            f"The pose file {path} must hold {NUM_KEYPOINTS} keypoints of (x, y, visibility), got shape {keypoints.shape}."
        )
    keypoints = hide_points_outside_image(keypoints)
    check_pose(keypoints, str(path))
    return keypoints


def save_pose(keypoints: np.ndarray, path: str | Path) -> None:
    """Write (18, 3) keypoints as a pose file that `load_pose` reads."""
    check_pose(np.asarray(keypoints), "keypoints")
    rows = [[round(float(value), 5) for value in row] for row in keypoints]
    Path(path).write_text(json.dumps({"format": "openpose_18", "normalized": True, "keypoints": rows}) + "\n")
