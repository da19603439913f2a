# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Random poses of standing people, as joint rotations."""

from dataclasses import dataclass

import numpy as np

from .body import BodyShape, rotation


Rotations = dict[str, np.ndarray]


@dataclass(frozen=True)
class _ArmMode:
    """A way to hold an arm: its share of all arms and ranges in degrees.

    `lower` turns the arm down towards the body (negative: up), `forward` swings it to the front, `bend` is the elbow.
    """

    share: float
    lower: tuple[float, float]
    forward: tuple[float, float]
    bend: tuple[float, float]


_ARM_MODES = {
    "hanging": _ArmMode(0.42, (18, 32), (-15, 20), (-10, 25)),
    "out": _ArmMode(0.20, (-35, 15), (-10, 30), (-10, 60)),
    "up": _ArmMode(0.10, (-85, -45), (-5, 25), (0, 70)),
    "in_front": _ArmMode(0.18, (10, 28), (15, 55), (20, 80)),
    "on_hip": _ArmMode(0.10, (-2, 10), (-20, -5), (65, 90)),
}


def _pose_arm(rng: np.random.Generator, shape: BodyShape, side: str, sign: int) -> Rotations:
    name = str(rng.choice(list(_ARM_MODES), p=[mode.share for mode in _ARM_MODES.values()]))
    mode = _ARM_MODES[name]
    lower, forward, bend = (rng.uniform(*limits) for limits in (mode.lower, mode.forward, mode.bend))
    forearm = shape.joint(f"wrist.{side}") - shape.joint(f"lowerarm01.{side}")
    # The forearm turns towards this direction: inwards to the hip, else to the front.
    target = (-sign, -0.25, 0.2) if name == "on_hip" else (0, -1, 0)
    return {
        f"clavicle.{side}": rotation((0, 1, 0), sign * min(0, lower) * 0.2),
        f"upperarm01.{side}": rotation((1, 0, 0), -forward) @ rotation((0, 1, 0), sign * lower * 0.9),
        f"lowerarm01.{side}": rotation(np.cross(forearm, target), bend),
    }


def _pose_leg(rng: np.random.Generator, side: str, sign: int) -> Rotations:
    stride = rng.uniform(-18, 24)
    spread = rng.uniform(-3, 9)
    return {
        f"upperleg01.{side}": rotation((0, 1, 0), -sign * spread) @ rotation((1, 0, 0), -stride),
        f"lowerleg01.{side}": rotation((1, 0, 0), max(0, rng.uniform(-5, 30) + 0.5 * max(stride, 0))),
    }


def _small_turn(rng: np.random.Generator, twist: float, lean: float, bow: tuple[float, float]) -> np.ndarray:
    """A turn around the vertical by up to `twist`, sideways by up to `lean`, and forwards within `bow` degrees."""
    around, sideways, forwards = rng.uniform(-twist, twist), rng.uniform(-lean, lean), rng.uniform(*bow)
    return rotation((0, 0, 1), around) @ rotation((0, 1, 0), sideways) @ rotation((1, 0, 0), forwards)


def sample_pose(rng: np.random.Generator, shape: BodyShape) -> Rotations:
    """Draw a pose: arms in one of five ways, a stride, a slightly bent spine, the head and the whole person turned.

    Args:
        rng (`np.random.Generator`): the only source of randomness.
        shape (`BodyShape`): the body; its forearms give the axis in which the elbow bends.

    Returns:
        `dict[str, np.ndarray]`: rotation matrices by joint name, for `forward_kinematics`.
    """
    rotations: Rotations = {}
    for side, sign in (("L", 1), ("R", -1)):
        rotations |= _pose_arm(rng, shape, side, sign) | _pose_leg(rng, side, sign)
    for number in range(1, 6):
        rotations[f"spine0{number}"] = _small_turn(rng, twist=4, lean=2.5, bow=(-2, 3))
    for name in ("neck01", "neck02", "head"):
        rotations[name] = _small_turn(rng, twist=9, lean=2, bow=(-4, 5))
    rotations["root"] = rotation((0, 0, 1), rng.uniform(-40, 40))
    return rotations
