# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The keypoint files of OpenPose and of the data sets, read into the pose format of the package.

The package's own pose files are read and written in `poses.py`.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from .poses import (
    NUM_KEYPOINTS,
    OCCLUDED_VISIBILITY,
    body25_to_openpose18,
    deepfashion_multimodal21_to_openpose18,
    normalize_keypoints,
)


# The space of DressCode's keypoints, whatever the size of its images.
DRESSCODE_SIZE = (512, 384)
# The space of the pose-transfer annotations of DeepFashion: (height, width) of the images cropped by 40 columns at
# either side (`fasion-resize-annotation-*.csv`).
DEEPFASHION_CROPPED_SIZE = (256, 176)
# DeepFashion-MultiModal's images, all of one size.
DEEPFASHION_MULTIMODAL_SIZE = (1101, 750)


def _read_json(path: str | Path) -> Any:
    try:
        return json.loads(Path(path).read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"The keypoint file {path} is not valid JSON: {error}") from error


def _as_points(values: Any, columns: int, path: str | Path) -> np.ndarray:
    """`values` as (N, columns) finite float64, or a `ValueError` naming the file."""
    try:
        points = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"The keypoints of {path} are not numbers in rows of equal length.") from error
    if points.size % columns or not np.isfinite(points).all():
        raise ValueError(f"The keypoints of {path} must be finite numbers in groups of {columns}, got {points.size}.")
    return points.reshape(-1, columns)


def read_openpose_json(path: str | Path, height: int, width: int) -> np.ndarray:
    """Read OpenPose's JSON output (as VITON-HD ships it): BODY_25 with 75 numbers or COCO-18 with 54 for a person.

    Of several people the first counts, as in every loader of the field; nobody found is a pose of missing points.

    Args:
        path (`str` or `Path`): the `*_keypoints.json` file.
        height (`int`), width (`int`): size of the image the keypoints are pixels of.

    Returns:
        `np.ndarray`: (18, 3) float32 in the package's format.

    Raises:
        ValueError: no JSON, no OpenPose output, another number of keypoints, or keypoints that are no pixels.
    """
    content = _read_json(path)
    people = content.get("people") if isinstance(content, dict) else None
    if not isinstance(people, list):
        raise ValueError(f'The keypoint file {path} is no OpenPose output: it has no list "people".')
    if not people:
        return np.zeros((NUM_KEYPOINTS, 3), dtype=np.float32)
    values = people[0].get("pose_keypoints_2d") if isinstance(people[0], dict) else None
    if values is None:
        raise ValueError(f'The first of "people" in the keypoint file {path} has no "pose_keypoints_2d".')
    points = _as_points(values, 3, path)
    if len(points) == 25:
        points = body25_to_openpose18(points)
    if len(points) != NUM_KEYPOINTS:
        raise ValueError(
            f"The keypoint file {path} must hold 25 keypoints (BODY_25, 75 numbers) or 18 (COCO-18, 54 numbers), got "
            f"{len(points)}."
        )
    present = points[points[:, 2] > 0]
    if len(present) > 1 and np.abs(present[:, :2]).max() <= 1:
        raise ValueError(
            f"The keypoints of {path} all lie within one pixel: they were written in units of the image (OpenPose's "
            "--keypoint_scale), pixels are expected."
        )
    return normalize_keypoints(points, height, width)


def read_dresscode_keypoints(path: str | Path) -> np.ndarray:
    """Read a keypoint file of DressCode: `{"keypoints": [[x, y, score, id] * 18]}` in a space of 384x512 pixels.

    A point counts as present when x > 1 and y > 1, the rule of the data set's loaders; its score is the visibility.

    Returns:
        `np.ndarray`: (18, 3) float32 in the package's format.

    Raises:
        ValueError: no JSON, or no 18 keypoints of four numbers.
    """
    content = _read_json(path)
    points = _as_points(content.get("keypoints") if isinstance(content, dict) else None, 4, path)
    if points.shape != (NUM_KEYPOINTS, 4):
        raise ValueError(f"The keypoint file {path} must hold 18 keypoints of [x, y, score, id], got {len(points)}.")
    present = (points[:, 0] > 1) & (points[:, 1] > 1)
    return normalize_keypoints(np.where(present[:, None], points[:, :3], 0.0), *DRESSCODE_SIZE)


def read_deepfashion_annotations(
    path: str | Path, height: int = DEEPFASHION_CROPPED_SIZE[0], width: int = DEEPFASHION_CROPPED_SIZE[1]
) -> dict[str, np.ndarray]:
    """Read the keypoints which pose-transfer code has for DeepFashion In-shop (`fasion-resize-annotation-*.csv`).

    Lines of `name: [18 y]: [18 x]` in pixels under the header `name:keypoints_y:keypoints_x`, missing points -1. The
    points are in OpenPose-18 order. The label list in that code names left eye and ear before right ones; it was
    copied from an estimator whose author corrected it (keras_Realtime_Multi-Person_Pose_Estimation, issue 30), and in
    all 1,691 frontal views of a published test file which show both eyes, point 14 lies on the right shoulder's side.

    Args:
        path (`str` or `Path`): the CSV file.
        height (`int`), width (`int`):
            The image the keypoints are pixels of: 256 x 176 for the "resize" files (40 columns cut off at either
            side), 256 x 256 for those without.

    Returns:
        `dict[str, np.ndarray]`: file name -> (18, 3) float32 in the package's format, present points with visibility
        1. Images in which nobody was found have missing points only.

    Raises:
        ValueError: another header, or a line (named) that does not hold 18 y and 18 x.
    """
    lines = Path(path).read_text().splitlines()
    if not lines or lines[0].strip() != "name:keypoints_y:keypoints_x":
        raise ValueError(f"The keypoint file {path} must begin with the line name:keypoints_y:keypoints_x.")
    poses = {}
    for number, line in enumerate(lines[1:], start=2):
        fields = line.split(":")
        try:
            name, (y, x) = fields[0].strip(), (json.loads(field) for field in fields[1:])
            points = np.stack([np.asarray(x, np.float64), np.asarray(y, np.float64)], axis=-1)
        except (TypeError, ValueError) as error:
            raise ValueError(f"Line {number} of {path} must be name:[18 y]:[18 x], got {line[:80]!r}.") from error
        if points.shape != (NUM_KEYPOINTS, 2):
            raise ValueError(f"Line {number} of {path} must hold 18 y and 18 x, got {len(points)}.")
        present = (points >= 0).all(axis=-1, keepdims=True)
        poses[name] = normalize_keypoints(np.concatenate([points, present], axis=-1), height, width)
    return poses


def _read_named_numbers(path: str | Path, count: int) -> dict[str, np.ndarray]:
    """Lines of a name and `count` whole numbers."""
    numbers = {}
    for number, line in enumerate(Path(path).read_text().splitlines(), start=1):
        name, *fields = line.split() or [""]
        try:
            values = np.array([int(field) for field in fields])
        except ValueError as error:
            raise ValueError(
                f"Line {number} of {path} must be a name and whole numbers, got {line[:80]!r}."
            ) from error
        if len(values) != count:
            raise ValueError(f"Line {number} of {path} must hold a name and {count} numbers, got {len(values)}.")
        numbers[name] = values
    return numbers


def read_deepfashion_multimodal_keypoints(
    locations: str | Path,
    visibilities: str | Path,
    height: int = DEEPFASHION_MULTIMODAL_SIZE[0],
    width: int = DEEPFASHION_MULTIMODAL_SIZE[1],
) -> dict[str, np.ndarray]:
    """Read DeepFashion-MultiModal's `keypoints_loc.txt` and `keypoints_vis.txt`.

    Args:
        locations (`str` or `Path`): lines of a file name and x and y of 21 points in pixels, -1 for absent ones.
        visibilities (`str` or `Path`): lines of a file name and 21 of 0 visible, 1 hidden by something, 2 absent.
        height (`int`), width (`int`): the image the keypoints are pixels of.

    Returns:
        `dict[str, np.ndarray]`: file name -> (18, 3) float32 in the package's format; hidden points have visibility
        `OCCLUDED_VISIBILITY`. Names that only one of the files knows are left out.

    Raises:
        ValueError: a line (named) of another form, or another visibility.
    """
    all_points, all_states = _read_named_numbers(locations, 42), _read_named_numbers(visibilities, 21)
    visibility = np.array([1.0, OCCLUDED_VISIBILITY, 0.0])
    poses = {}
    for name in [name for name in all_points if name in all_states]:
        states = all_states[name]
        if states.min() < 0 or states.max() > 2:
            raise ValueError(f"The visibilities of {name} in {visibilities} must be 0, 1 or 2, got {states.tolist()}.")
        points = all_points[name].reshape(21, 2)
        # An absent point that is not marked so would be a place outside the image.
        present = visibility[states] * (points >= 0).all(axis=-1)
        converted = deepfashion_multimodal21_to_openpose18(np.concatenate([points, present[:, None]], axis=-1))
        poses[name] = normalize_keypoints(converted, height, width)
    return poses
