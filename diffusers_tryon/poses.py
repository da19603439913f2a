# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The pose format of the package (OpenPose-18), its JSON files and the conversion from other keypoint sets.

The files of data sets and estimators are read in `pose_files.py`.
"""

import json
from pathlib import Path
from typing import Any

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

# For every OpenPose-18 point its index in another set. COCO-17, MediaPipe and DeepFashion-MultiModal have no neck: a
# shoulder stands at its place (1) until the middle of the shoulders overwrites it.
_BODY25_INDEX = (0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18)
_COCO17_INDEX = (0, 5, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
_MEDIAPIPE33_INDEX = (0, 11, 12, 14, 16, 11, 13, 15, 24, 26, 28, 23, 25, 27, 5, 2, 8, 7)
_DEEPFASHION_MULTIMODAL21_INDEX = (5, 7, 7, 11, 13, 8, 12, 16, 14, 17, 19, 15, 18, 20, 2, 3, 1, 4)
_NECK, _RIGHT_SHOULDER, _LEFT_SHOULDER = 1, 2, 5


def _check_points(keypoints: np.ndarray, count: int, layout: str) -> None:
    if keypoints.shape[-2:] != (count, 3):
        raise ValueError(f"`keypoints` must have shape (..., {count}, 3) for {layout}, got {tuple(keypoints.shape)}.")


def _put_neck_between_shoulders(keypoints: np.ndarray) -> np.ndarray:
    """Overwrite the neck with the middle of the shoulders, as visible as the less visible one."""
    right, left = keypoints[..., _RIGHT_SHOULDER, :], keypoints[..., _LEFT_SHOULDER, :]
    keypoints[..., _NECK, :2] = (right[..., :2] + left[..., :2]) / 2
    keypoints[..., _NECK, 2] = np.minimum(right[..., 2], left[..., 2])
    return keypoints


def coco17_to_openpose18(keypoints: np.ndarray) -> np.ndarray:
    """Convert COCO-17 keypoints (ViTPose, RTMPose, torchvision) to OpenPose-18.

    Args:
        keypoints (`np.ndarray`): (..., 17, 3) of x, y and visibility, in any unit.

    Returns:
        `np.ndarray`: (..., 18, 3) in the same unit. The neck is the middle of the shoulders, as visible as the less
        visible one.
    """
    _check_points(keypoints, 17, "COCO-17")
    return _put_neck_between_shoulders(keypoints[..., _COCO17_INDEX, :])


def body25_to_openpose18(keypoints: np.ndarray) -> np.ndarray:
    """Convert OpenPose BODY_25 keypoints to OpenPose-18: the middle of the hips and the feet are left out.

    Args:
        keypoints (`np.ndarray`): (..., 25, 3) of x, y and confidence, in any unit.

    Returns:
        `np.ndarray`: (..., 18, 3) in the same unit.
    """
    _check_points(keypoints, 25, "BODY_25")
    return keypoints[..., _BODY25_INDEX, :]


def mediapipe33_to_openpose18(keypoints: np.ndarray) -> np.ndarray:
    """Convert MediaPipe Pose (BlazePose) landmarks to OpenPose-18.

    Args:
        keypoints (`np.ndarray`):
            (..., 33, 3) of x, y and visibility. MediaPipe's `pose_landmarks` are in units of the image's width and
            height already; its z is not wanted here. It extrapolates joints beyond the picture: pass the result
            through `hide_points_outside_image`.

    Returns:
        `np.ndarray`: (..., 18, 3) in the same unit. The neck is the middle of the shoulders, as visible as the less
        visible one.
    """
    _check_points(keypoints, 33, "MediaPipe Pose")
    return _put_neck_between_shoulders(keypoints[..., _MEDIAPIPE33_INDEX, :])


def deepfashion_multimodal21_to_openpose18(keypoints: np.ndarray) -> np.ndarray:
    """Convert the 21 keypoints of DeepFashion-MultiModal to OpenPose-18.

    The order is read off the data set's picture `assets/keypoints_definition.png`
    (https://github.com/yumingj/DeepFashion-MultiModal), a man seen from the front, counted from 0: top of the head,
    right ear, right eye, left eye, left ear, nose, chin, right shoulder, left shoulder, right armpit, left armpit,
    right elbow, left elbow, right wrist, right hip, left hip, left wrist, right knee, left knee, right ankle, left
    ankle. Left and right are the person's: in 464 of the data set's 488 back views the right shoulder lies at the
    right. The hips lie on the outline of the body rather than in the joint; they are taken as they are.

    Args:
        keypoints (`np.ndarray`): (..., 21, 3) of x, y and visibility in [0, 1], in any unit.

    Returns:
        `np.ndarray`: (..., 18, 3) in the same unit. The neck is the middle of the shoulders, as visible as the less
        visible one.
    """
    _check_points(keypoints, 21, "DeepFashion-MultiModal")
    return _put_neck_between_shoulders(keypoints[..., _DEEPFASHION_MULTIMODAL21_INDEX, :])


def dwpose_to_openpose18(keypoints: np.ndarray, scores: np.ndarray | None = None) -> np.ndarray:
    """Convert DWPose's body keypoints, which are in OpenPose-18 order already, to the package's format.

    Args:
        keypoints (`np.ndarray`):
            (..., 18, 2) of x and y in units of the image's width and height, missing points -1: the `candidate` of
            DWPose's `bodies`, one person in each row of 18.
        scores (`np.ndarray`, *optional*):
            (..., 18) confidences. They become the visibilities; SimCC scores slightly above 1 count as 1. Not the
            `subset` of DWPose's `bodies`, which holds indices. Without scores every present point has visibility 1.

    Returns:
        `np.ndarray`: (..., 18, 3) float32; missing points and points outside the image are 0.
    """
    if keypoints.shape[-2:] != (NUM_KEYPOINTS, 2):
        raise ValueError(f"`keypoints` must have shape (..., 18, 2) for DWPose, got {tuple(keypoints.shape)}.")
    if scores is None:
        visibility = np.ones(keypoints.shape[:-1])
    else:
        if scores.shape != keypoints.shape[:-1]:
            raise ValueError(
                f"`scores` must have shape {keypoints.shape[:-1]} like the keypoints, got {scores.shape}."
            )
        if not (np.isfinite(scores).all() and scores.min() >= 0 and scores.max() < 2):
            raise ValueError(
                f"`scores` must be confidences from 0 to about 1, got {scores.min():.4g} to {scores.max():.4g}; "
                "DWPose's `subset` holds indices, not scores."
            )
        visibility = np.minimum(scores, 1)
    return hide_points_outside_image(np.concatenate([keypoints, visibility[..., None]], axis=-1))


def normalize_keypoints(keypoints: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bring pixels to [0, 1] and mark what lies outside the image as missing.

    Args:
        keypoints (`np.ndarray`): (..., 18, 3) of x and y in pixels and a confidence; above 1 it counts as 1.
        height (`int`), width (`int`): size of the image whose pixels these are.

    Returns:
        `np.ndarray`: (..., 18, 3) float32 in the package's format.
    """
    normalized = keypoints / np.array([width, height, 1.0])
    normalized[..., 2] = np.minimum(normalized[..., 2], 1)
    return hide_points_outside_image(normalized)


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
    except (ValueError, RecursionError) as error:
        raise ValueError(f"The pose file {path} is not valid JSON: {error}") from error
    return _pose_of(content, f"The pose file {path}", str(path))


def parse_pose(content: Any, name: str) -> np.ndarray:
    """The pose of what a pose file holds (see `load_pose`), as it comes with a request.

    Raises:
        ValueError: naming the argument `name`, as `load_pose` does.
    """
    return _pose_of(content, f"`{name}`", name)


def _pose_of(content: Any, subject: str, name: str) -> np.ndarray:
    if (
        not isinstance(content, dict)
        or content.get("format") != "openpose_18"
        or content.get("normalized") is not True
    ):
        raise ValueError(f'{subject} must hold {{"format": "openpose_18", "normalized": true, "keypoints": [...]}}.')
    try:
        keypoints = np.asarray(content.get("keypoints"), dtype=np.float32)
    except (OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"{subject} has keypoints that are not numbers in rows of three.") from error
    if keypoints.shape != (NUM_KEYPOINTS, 3):
        raise ValueError(
            f"{subject} must hold {NUM_KEYPOINTS} keypoints of (x, y, visibility), got shape {keypoints.shape}."
        )
    if not np.isfinite(keypoints).all():
        raise ValueError(f"{subject} holds NaN or infinite values; missing points have visibility 0.")
    in_image = hide_points_outside_image(keypoints)
    if (keypoints[:, 2] > 0).any() and not in_image[:, 2].any():
        raise ValueError(
            f"{subject} has visible points, none of them with x and y in [0, 1] of the image. Divide pixels by the "
            "image's width and height."
        )
    check_pose(in_image, name)
    return in_image


def save_pose(keypoints: np.ndarray, path: str | Path) -> None:
    """Write (18, 3) keypoints as a pose file that `load_pose` reads."""
    check_pose(np.asarray(keypoints), "keypoints")
    rows = [[round(float(value), 5) for value in row] for row in keypoints]
    Path(path).write_text(json.dumps({"format": "openpose_18", "normalized": True, "keypoints": rows}) + "\n")
