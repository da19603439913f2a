# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Heat maps of keypoints: how they are drawn for training, and how keypoints are read from them.

A heat map is a Gaussian around the keypoint. Its height is the keypoint's visibility: 1 in sight, 0.5 hidden by
something, 0 (an empty map) outside the picture. So the height of a predicted peak is the visibility to expect.
"""

import numpy as np
import torch


# Standard deviation in units of the picture's side: two pixels of a map of 64.
SIGMA = 1 / 32
COCO17_NAMES = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)
# OpenPose-18 without the neck, in the order of COCO-17.
_COCO17_OF_OPENPOSE18 = (0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10)
# Logarithms are taken of values not below this.
_SMALLEST = 1e-6


def openpose18_to_coco17(keypoints: np.ndarray | torch.Tensor) -> np.ndarray | torch.Tensor:
    """Bring OpenPose-18 keypoints (..., 18, 3) into the order of COCO-17 (..., 17, 3), which has no neck."""
    if keypoints.shape[-2:] != (18, 3):
        raise ValueError(f"`keypoints` must have shape (..., 18, 3), got {tuple(keypoints.shape)}.")
    return keypoints[..., _COCO17_OF_OPENPOSE18, :]


def draw_heat_maps(keypoints: torch.Tensor, size: int) -> torch.Tensor:
    """Draw the heat maps of keypoints.

    Args:
        keypoints (`torch.Tensor`): (B, K, 3) x and y in [0, 1] of a square picture, visibility in [0, 1].
        size (`int`): height and width of the maps.

    Returns:
        `torch.Tensor`: (B, K, size, size) in [0, 1]. Pixel (r, c) stands for the place ((c + 0.5) / size,
        (r + 0.5) / size).
    """
    middles = (torch.arange(size, dtype=keypoints.dtype, device=keypoints.device) + 0.5) / size
    across, down = (torch.exp(-((middles - keypoints[..., axis, None]) ** 2) / (2 * SIGMA**2)) for axis in (0, 1))
    return keypoints[..., 2, None, None] * down[..., :, None] * across[..., None, :]


def decode_heat_maps(heat_maps: np.ndarray) -> np.ndarray:
    """Find the keypoint of every heat map between its pixels.

    Around the highest pixel a parabola is laid through the logarithms of three values in each direction, as in DARK
    (arXiv 1910.06278, section 3.2, with one dimension after the other): it is exact for Gaussians of any height whose
    middle is not at the edge.

    Args:
        heat_maps (`np.ndarray`): (..., K, H, W) in [0, 1].

    Returns:
        `np.ndarray`: (..., K, 3) float32 of x and y in [0, 1] of the picture and the height of the peak in [0, 1].

    Raises:
        ValueError: fewer than three dimensions, or values outside [0, 1].
    """
    if heat_maps.ndim < 3:
        raise ValueError(f"`heat_maps` must have shape (..., keypoints, height, width), got {heat_maps.shape}.")
    # Not a number fails the comparison as well.
    if not (heat_maps.min() >= 0 and heat_maps.max() <= 1):
        raise ValueError(
            f"`heat_maps` must lie in [0, 1], got {heat_maps.min():.4g} to {heat_maps.max():.4g}. Apply a sigmoid to "
            "the network's output first."
        )
    height, width = heat_maps.shape[-2:]
    maps = np.log(np.maximum(heat_maps.reshape(-1, height, width).astype(np.float64), _SMALLEST))
    numbers = np.arange(len(maps))
    rows, columns = np.unravel_index(maps.reshape(len(maps), -1).argmax(axis=1), (height, width))
    x, rise_across = _between_pixels(maps[numbers, rows], columns)
    y, rise_down = _between_pixels(maps[numbers, :, columns], rows)
    peaks = maps[numbers, rows, columns]
    confidence = np.where(peaks > np.log(_SMALLEST), np.minimum(np.exp(peaks + rise_across + rise_down), 1), 0.0)
    keypoints = np.stack([x, y, confidence], axis=-1).astype(np.float32)
    return keypoints.reshape(*heat_maps.shape[:-2], 3)


def _between_pixels(lines: np.ndarray, highest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the parabola through the highest value of each line and its neighbours is highest, and how much higher.

    Args:
        lines (`np.ndarray`): (N, W) logarithms.
        highest (`np.ndarray`): (N,) index of the highest of each line; at an end of the line it stays.

    Returns:
        `tuple[np.ndarray, np.ndarray]`: (N,) places in [0, 1] of the line, and (N,) what the logarithm gains.
    """
    width, numbers = lines.shape[1], np.arange(len(lines))
    before, peak, after = (lines[numbers, np.clip(highest + step, 0, width - 1)] for step in (-1, 0, 1))
    curvature = 2 * peak - before - after
    inner = (highest > 0) & (highest < width - 1) & (curvature > 0)
    slope = np.where(inner, after - before, 0.0)
    offset = slope / (2 * np.where(inner, curvature, 1.0))
    return (highest + 0.5 + offset) / width, offset * slope / 4
