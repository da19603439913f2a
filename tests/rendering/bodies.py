# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Bodies to test with, and where points lie along them."""

from dataclasses import dataclass

import numpy as np

from diffusers_tryon.rendering.body import BodyShape, load_body_asset


def blend_shapes(first: int, second: int, fraction: float) -> BodyShape:
    """The body between two shapes of the asset: `fraction` 0 is the first, 1 the second."""
    asset = load_body_asset()
    weights = np.float32(1 - fraction), np.float32(fraction)
    blended = [
        weights[0] * values[first] + weights[1] * values[second]
        for values in (asset.shapes, asset.joints, asset.femininity)
    ]
    return BodyShape(blended[0], blended[1], float(blended[2]))


@dataclass(frozen=True)
class BodyCoordinates:
    """Where points lie along the body, in the rest pose.

    Attributes:
        arm: along the nearer arm, 0 shoulder, 1 elbow, 2 wrist.
        torso: 0 at the hip joints, 1 at the neck.
        leg: 0 at the hip joints, 1 knee, 2 ankle.
    """

    arm: np.ndarray
    torso: np.ndarray
    leg: np.ndarray


def body_coordinates(points: np.ndarray, shape: BodyShape) -> BodyCoordinates:
    """Coordinates of `points` (N, 3), which lie on or near the body in its rest pose."""
    along_arm = {}
    for side in "LR":
        shoulder, elbow, wrist = (shape.joint(f"{name}.{side}") for name in ("upperarm01", "lowerarm01", "wrist"))
        upper, lower = elbow - shoulder, wrist - elbow
        on_upper = (points - shoulder) @ upper / (upper @ upper)
        on_lower = (points - elbow) @ lower / (lower @ lower)
        along_arm[side] = np.where(on_lower > 0, 1 + np.clip(on_lower, 0, 2), on_upper)
    hip, knee, ankle, neck = (shape.joint(name)[2] for name in ("upperleg01.L", "lowerleg01.L", "foot.L", "neck01"))
    height = points[:, 2]
    return BodyCoordinates(
        arm=np.where(points[:, 0] > 0, along_arm["L"], along_arm["R"]),
        torso=(height - hip) / (neck - hip),
        leg=np.where(height > knee, (hip - height) / (hip - knee), 1 + (knee - height) / (knee - ankle)),
    )
