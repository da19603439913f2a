# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Crops of labelled photographs as a detector, or somebody with a camera, would make them.

A view is the affine map (2, 3) from places in the crop to places in the photograph, both in [0, 1]; picture, labels
and keypoints follow the same map.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from diffusers_tryon.data.augmentation import MIRRORED_KEYPOINTS
from diffusers_tryon.poses import hide_points_outside_image


# How often a crop is: around the person with a margin, the whole photograph, around a part of the person, from afar.
_KIND_SHARES = {"box": 0.55, "whole": 0.12, "part": 0.23, "far": 0.1}
_BOX_MARGIN = (1.02, 1.6)
_BOX_SHIFT = 0.12
_PART_SIDE = (0.3, 0.9)
_FAR_MARGIN = (1.6, 3.0)
_TILTED_SHARE = 0.5
_TILT = np.radians(9)
_ASPECT = 0.12
# The margin around a person when a network is measured or used.
PLAIN_MARGIN = 1.15


def _box(parse: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The upper left and lower right corner (x, y) in [0, 1] of what is not background; the picture if all is."""
    columns, rows = np.flatnonzero(parse.any(axis=0)), np.flatnonzero(parse.any(axis=1))
    if not len(rows):
        return np.zeros(2), np.ones(2)
    return np.array([columns[0], rows[0]]) / len(parse), np.array([columns[-1] + 1, rows[-1] + 1]) / len(parse)


def _view(centre: np.ndarray, sides: np.ndarray, angle: float = 0.0) -> np.ndarray:
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn * sides
    return np.concatenate([linear, (centre - linear @ (0.5, 0.5))[:, None]], axis=1)


def plain_view(parse: np.ndarray) -> np.ndarray:
    """The square around what is labelled in `parse` (S, S), with a small margin: (2, 3)."""
    low, high = _box(parse)
    return _view((low + high) / 2, np.full(2, PLAIN_MARGIN * (high - low).max()))


def draw_view(rng: np.random.Generator, parse: np.ndarray) -> np.ndarray:
    """Draw a crop of a photograph with labels `parse` (S, S): (2, 3). Half of them are mirrored."""
    low, high = _box(parse)
    centre, side = (low + high) / 2, (high - low).max()
    kind = rng.choice(list(_KIND_SHARES), p=list(_KIND_SHARES.values()))
    if kind == "box":
        side = side * rng.uniform(*_BOX_MARGIN)
        centre = centre + side * rng.uniform(-_BOX_SHIFT, _BOX_SHIFT, 2)
    elif kind == "whole":
        centre, side = np.full(2, 0.5), 1.0
    elif kind == "part":
        centre = rng.uniform(low, high)
        side = side * rng.uniform(*_PART_SIDE)
    else:
        side = side * rng.uniform(*_FAR_MARGIN)
        centre = centre + side * rng.uniform(-0.25, 0.25, 2)
    stretch = np.exp(rng.normal(0, _ASPECT))
    angle = rng.normal(0, _TILT) if rng.random() < _TILTED_SHARE else 0.0
    mirror = -1 if rng.random() < 0.5 else 1
    return _view(centre, side * np.array([mirror * stretch, 1 / stretch]), angle)


def view_keypoints(pose: np.ndarray, view: np.ndarray) -> np.ndarray:
    """Keypoints (18, 3) of the photograph as the view shows them; mirrored people have their sides exchanged."""
    places = np.linalg.solve(view[:, :2], (pose[:, :2] - view[:, 2]).T).T
    keypoints = hide_points_outside_image(np.concatenate([places, pose[:, 2:]], axis=1))
    return keypoints[MIRRORED_KEYPOINTS] if np.linalg.det(view[:, :2]) < 0 else keypoints


@dataclass
class LabelledBatch:
    """Crops on their way to the network.

    Attributes:
        images: (B, 3, S, S) float32 in [0, 1].
        labels: (B, S, S) int64 ids of `composition.PARSE_LABELS`.
        coverage: (B, 1, S, S) float32, the share of a pixel that is not background, 0 to 1.
        inside: (B, 1, S, S) bool, whether the pixel lies in the photograph.
        keypoints: (B, 18, 3) float32 OpenPose keypoints.
    """

    images: torch.Tensor
    labels: torch.Tensor
    coverage: torch.Tensor
    inside: torch.Tensor
    keypoints: torch.Tensor


def take_views(records: np.ndarray, views: np.ndarray, size: int) -> LabelledBatch:
    """Crop photographs.

    Args:
        records (`np.ndarray`): (B,) photographs, see `rendering.labelled.record_dtype`.
        views (`np.ndarray`): (B, 2, 3) their views.
        size (`int`): height and width of the crops.

    Returns:
        `LabelledBatch`: bilinear and antialiased pictures, the nearest labels; outside of the photograph black
        background.
    """
    middles = (torch.arange(size) + 0.5) / size
    down, across = torch.meshgrid(middles, middles, indexing="ij")
    maps = torch.from_numpy(views.astype(np.float32)).view(-1, 2, 3, 1, 1)
    places = maps[:, :, 0] * across + maps[:, :, 1] * down + maps[:, :, 2]
    inside = ((places > 0) & (places < 1)).all(dim=1, keepdim=True)
    grid = (2 * places - 1).permute(0, 2, 3, 1)

    parse = torch.from_numpy(records["parse"])
    sources = torch.empty(len(records), 4, *parse.shape[1:], memory_format=torch.channels_last)
    sources[:, :3] = torch.from_numpy(records["image"]).permute(0, 3, 1, 2)
    sources[:, 3] = 255.0 * (parse > 0)
    pixels = torch.empty(len(records), 4, size, size)
    # Pixels of the photograph in one of the crop; every halving of the photograph halves them.
    reduction = np.sqrt(np.abs(np.linalg.det(views[:, :, :2]))) * parse.shape[-1] / size
    halvings = np.clip(np.floor(np.log2(np.maximum(reduction, 1)) + 0.5), 0, 3).astype(int)
    for halving in np.unique(halvings):
        chosen = torch.from_numpy(np.flatnonzero(halvings == halving))
        source = F.avg_pool2d(sources[chosen], 2**halving) if halving else sources[chosen]
        pixels[chosen] = F.grid_sample(source, grid[chosen], padding_mode="border", align_corners=False)
    pixels *= inside / 255.0
    labels = F.grid_sample(parse[:, None].float(), grid, mode="nearest", padding_mode="zeros", align_corners=False)
    labels = (labels * inside)[:, 0].round().long()
    keypoints = np.stack([view_keypoints(pose, view) for pose, view in zip(records["pose"], views)])
    return LabelledBatch(
        images=pixels[:, :3],
        labels=labels,
        coverage=pixels[:, 3:],
        inside=inside,
        keypoints=torch.from_numpy(keypoints.astype(np.float32)),
    )
