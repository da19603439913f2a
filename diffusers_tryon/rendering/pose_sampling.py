# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Random poses of standing, walking and sitting people, as joint rotations.

Spine, head and legs are drawn as angles. Arms are drawn as what the hand does (it hangs, rests on the hip, touches the
chin, ...) and solved for it, then pushed outwards where they would enter the body. Directions are those of the body at
rest: x to the person's left, y to the back, z up.
"""

from dataclasses import dataclass

import numpy as np

from .arms import Arm, Reach, arm_at, arm_rotations, checked_balls, keep_outside
from .body import BodyShape, cross, forward_kinematics, load_body_asset, rotation, unit
from .contact import PosedTrunk, measure_trunk, pose_trunk
from .hands import pose_hand


Rotations = dict[str, np.ndarray]

_SIDES = (("L", 1), ("R", -1))
_NECK = ("neck01", "neck02", "head")
_SITTING_SHARE = 0.07
_WALKING_SHARE = 0.18
_CONTRAPPOSTO_SHARE = 0.25
# An arm that cannot be freed to within this (metres) hangs instead.
_ACCEPTED_DEPTH = 0.012
# Metres from the skin to the middle of a wrist that rests on clothes.
_RESTING = 0.045


@dataclass(frozen=True)
class _HandMode:
    """A way to hold a hand near the trunk.

    Ranges of: `around` degrees on the trunk (0 front, 90 the arm's own side, 180 back), `level` (0 hip joints, 1
    neck), `away` metres from the skin. Directions point to the body's left for a left arm and are mirrored for a right
    one.
    """

    around: tuple[float, float]
    level: tuple[float, float]
    away: tuple[float, float]
    elbow: tuple[float, float, float]
    hand: tuple[float, float, float]
    palm: tuple[float, float, float]
    fingers: tuple[str, ...]


_HAND_MODES = {
    "on_hip": _HandMode((62, 100), (0.26, 0.42), (0, 0.01), (1, 0.45, 0), (-0.35, -0.75, -0.55), (-1, 0.3, 0.2),
                        ("flat", "relaxed", "fist")),
    "in_pocket": _HandMode((58, 85), (0.06, 0.16), (0, 0.01), (0.75, 0.8, 0), (-0.15, -0.35, -1), (-1, 0.3, 0),
                           ("relaxed", "half_closed")),
    "in_front": _HandMode((-15, 45), (0.22, 0.72), (0.02, 0.16), (0.7, 0.1, -0.6), (-0.8, -0.3, 0.3), (-0.2, 1, 0),
                          ("relaxed", "half_closed", "flat")),
    "on_chest": _HandMode((0, 25), (0.55, 0.75), (0, 0.01), (0.8, 0, -0.6), (-1, 0, 0.25), (0, 1, 0),
                          ("flat", "relaxed")),
    "behind_back": _HandMode((135, 168), (0.12, 0.34), (0, 0.02), (1, 0.5, 0), (-1, 0.1, -0.3), (0, 1, 0),
                             ("relaxed", "half_closed")),
}  # fmt: skip
# The wrist relative to the point between the eyes, metres; elbow, hand, palm and fingers as above.
_HEAD_MODES = {
    "at_chin": ((0.04, -0.06, -0.225), (0.6, -0.4, -1), (-0.25, 0, 1), (-0.2, 1, 0.1), ("half_closed", "relaxed")),
    "in_hair": ((0.125, 0.03, -0.01), (1, -0.35, 0.1), (-0.6, 0.35, 0.8), (-0.9, 0.2, 0), ("relaxed", "flat")),
    "behind_head": ((0.10, 0.16, -0.02), (1, 0.1, 0.5), (-1, 0.1, 0.2), (0, -1, 0.1), ("relaxed", "flat")),
}
# Free arms: degrees away from the body, to the front, and bend of the elbow.
_FREE_MODES = {
    "hanging": ((5, 14), (-12, 10), (8, 32)),
    "held_out": ((28, 75), (-5, 30), (15, 75)),
    "raised": ((105, 160), (0, 25), (10, 80)),
    "reaching": ((10, 40), (35, 75), (20, 80)),
}
_FREE_FINGERS = ("relaxed", "relaxed", "half_closed")
# Shares of arms; crossed arms and hands that do the same on both sides are drawn for the pair.
_MODE_SHARES = {
    "hanging": 0.36, "on_hip": 0.14, "in_pocket": 0.10, "in_front": 0.12, "on_chest": 0.03, "behind_back": 0.04,
    "at_chin": 0.04, "in_hair": 0.04, "behind_head": 0.01, "held_out": 0.05, "raised": 0.04, "reaching": 0.03,
}  # fmt: skip
_CROSSED_SHARE = 0.06
_SAME_ON_BOTH_SIDES_SHARE = 0.45


def _one_of(rng: np.random.Generator, names: tuple[str, ...]) -> str:
    return names[rng.integers(len(names))]


def _mirrored(direction: tuple[float, float, float] | np.ndarray, sign: int) -> np.ndarray:
    return np.asarray(direction, dtype=np.float64) * (sign, 1, 1)


def _small_turn(rng: np.random.Generator, twist: float, lean: float, bow: tuple[float, float]) -> np.ndarray:
    """A turn around the vertical by up to `twist`, sideways by up to `lean`, and forwards within `bow` degrees."""
    around, sideways, forwards = rng.uniform(-twist, twist), rng.uniform(-lean, lean), rng.uniform(*bow)
    return rotation((0, 0, 1), around) @ rotation((0, 1, 0), sideways) @ rotation((1, 0, 0), forwards)


def _leg(
    side: str, sign: int, flexed: float, spread: float, turned_out: float, knee: float, level: float
) -> Rotations:
    """A leg from its angles in degrees; `level` is the share by which the foot is turned back to stand on the
    floor."""
    hip = rotation((1, 0, 0), -flexed) @ rotation((0, 1, 0), -sign * spread) @ rotation((0, 0, 1), sign * turned_out)
    bent = rotation((1, 0, 0), knee)
    upright = rotation((1, 0, 0), level * (flexed - knee)) @ rotation((0, 1, 0), sign * spread * level)
    return {f"upperleg01.{side}": hip, f"lowerleg01.{side}": bent, f"foot.{side}": upright}


def _stand(rng: np.random.Generator) -> Rotations:
    """Both feet on the floor, a little apart or with one leg in front."""
    rotations: Rotations = {}
    step = rng.uniform(-9, 9)
    spread = rng.uniform(-6, 3)
    for side, sign in _SIDES:
        knee = max(0.0, rng.uniform(-6, 14))
        flexed = sign * step + 0.5 * knee
        rotations |= _leg(side, sign, flexed, spread + rng.uniform(-1, 1), rng.uniform(-4, 12), knee, 1.0)
    return rotations


def _contrapposto(rng: np.random.Generator) -> Rotations:
    """The weight on one leg: its hip is higher, the other knee is bent, the spine leans back over the standing leg."""
    standing = 1 if rng.random() < 0.5 else -1
    tilt = standing * rng.uniform(3, 8)
    rotations: Rotations = {"root": rotation((0, 1, 0), -tilt)}
    for side, sign in _SIDES:
        free = sign != standing
        knee = rng.uniform(15, 42) if free else rng.uniform(0, 4)
        # Legs stay upright although the pelvis is tilted.
        spread = -sign * tilt + (rng.uniform(-4, 8) if free else rng.uniform(-6, 0))
        flexed = 0.6 * knee + rng.uniform(-4, 6)
        rotations |= _leg(side, sign, flexed, spread, rng.uniform(0, 22 if free else 8), knee, 1.0)
    for number in range(3, 6):
        rotations[f"spine0{number}"] = rotation((0, 1, 0), tilt * rng.uniform(0.28, 0.42))
    return rotations


def _walk(rng: np.random.Generator) -> tuple[Rotations, float]:
    """A stride, and how far (-1 to 1) the left leg is in front."""
    phase = rng.uniform(-1, 1)
    stride = rng.uniform(14, 27)
    rotations: Rotations = {}
    for side, sign in _SIDES:
        flexed = sign * phase * stride
        knee = rng.uniform(2, 10) + (rng.uniform(10, 45) if sign * phase < 0 else 0)
        rotations |= _leg(side, sign, flexed, rng.uniform(-7, -1), rng.uniform(-2, 10), knee, rng.uniform(0.3, 0.9))
    return rotations, phase


def _sit(rng: np.random.Generator) -> Rotations:
    """Thighs level, shins down."""
    rotations: Rotations = {}
    thighs, apart = rng.uniform(76, 88), rng.uniform(-5, 12)
    for side, sign in _SIDES:
        knee = thighs + rng.uniform(-22, 18)
        rotations |= _leg(side, sign, thighs + rng.uniform(-2, 2), apart, 0.0, knee, 1.0)
    rotations["root"] = rotation((1, 0, 0), rng.uniform(-6, 10))
    return rotations


def _free_reach(rng: np.random.Generator, arm: Arm, chest: np.ndarray, mode: str, sign: int, swing: float) -> Reach:
    """An arm that is held into the air: hanging, swinging, held out or raised."""
    away, forwards, bend = (rng.uniform(*limits) for limits in _FREE_MODES[mode])
    forwards += swing
    down = rotation((1, 0, 0), -forwards) @ rotation((0, 1, 0), -sign * away) @ (0, 0, -1)
    inwards = np.array([-sign, 0.0, 0.0])
    # Hanging forearms bend to the front; raised ones bend up and inwards.
    fold = (0, -1, 0.15) if mode in ("hanging", "reaching") else (-0.4 * sign, -0.5, 0.8)
    hinge = cross(down, unit(np.asarray(fold, dtype=np.float64)))
    forearm = rotation(hinge, bend) @ down
    upper, lower = np.linalg.norm(arm.upper), np.linalg.norm(arm.lower)
    wrist = upper * down + lower * forearm
    palm = inwards + (0, 0.4, 0) if mode == "hanging" else np.array([-0.3 * sign, -0.6, -0.6])
    fingers = _one_of(rng, _FREE_FINGERS)
    return Reach(arm.shoulder + chest @ wrist, chest @ (upper * down - 0.5 * wrist), None, chest @ palm, fingers)


def _hand_reach(rng: np.random.Generator, trunk: PosedTrunk, mode: _HandMode, sign: int) -> Reach:
    """An arm whose hand rests on the trunk or is held near it."""
    around, level, away = (rng.uniform(*limits) for limits in (mode.around, mode.level, mode.away))
    point, outwards = trunk.trunk.surface(sign * around, level)
    wrist, turn = trunk.to_world(point + (_RESTING + away) * outwards)
    elbow, hand, palm = (turn @ _mirrored(direction, sign) for direction in (mode.elbow, mode.hand, mode.palm))
    fingers = _one_of(rng, mode.fingers)
    return Reach(wrist, elbow + rng.normal(0, 0.12, 3), hand + rng.normal(0, 0.15, 3), palm, fingers)


def _head_reach(
    rng: np.random.Generator, shape: BodyShape, head: np.ndarray, chest: np.ndarray, mode: str, sign: int
) -> Reach:
    """An arm whose hand is at the head, which has moved by `head` (3, 4)."""
    offset, elbow, hand, palm, fingers = _HEAD_MODES[mode]
    between_eyes = (shape.joint("eye.L") + shape.joint("eye.R")) / 2
    place = between_eyes + _mirrored(offset, sign) + rng.normal(0, 0.01, 3)
    wrist = head[:, :3] @ place + head[:, 3]
    hand, palm = (head[:, :3] @ _mirrored(direction, sign) for direction in (hand, palm))
    return Reach(wrist, chest @ _mirrored(elbow, sign), hand, palm, _one_of(rng, fingers))


def _crossed_reach(rng: np.random.Generator, trunk: PosedTrunk, sign: int, outer: int) -> Reach:
    """One of two arms crossed before the chest; the arm whose sign is `outer` lies over the other."""
    is_outer = sign == outer
    point, outwards = trunk.trunk.surface(-sign * rng.uniform(26, 36), rng.uniform(0.5, 0.54) + 0.06 * is_outer)
    wrist, turn = trunk.to_world(point + (0.045 + 0.05 * is_outer) * outwards)
    hand = turn @ _mirrored((-1, 0.25, 0.35 if is_outer else 0.1), sign)
    palm = turn @ np.array([0.0, 1.0, -0.2])
    return Reach(wrist, turn @ _mirrored((0.7, -0.1, -0.8), sign), hand, palm, _one_of(rng, ("relaxed", "flat")))


def _draw_modes(rng: np.random.Generator, sitting: bool) -> tuple[str, str]:
    """What the left and the right hand do."""
    if rng.random() < _CROSSED_SHARE:
        return "crossed", "crossed"
    names, shares = list(_MODE_SHARES), np.array(list(_MODE_SHARES.values()))
    left, right = (str(name) for name in rng.choice(names, 2, p=shares / shares.sum()))
    both = left if rng.random() < _SAME_ON_BOTH_SIDES_SHARE else right
    if sitting:
        left, both = (mode if mode not in ("hanging", "in_pocket") else "on_thigh" for mode in (left, both))
    return left, both


def _thigh_reach(rng: np.random.Generator, trunk: PosedTrunk, number: int, sign: int) -> Reach:
    """A hand on the thigh of somebody who sits."""
    hip, knee = trunk.thigh_ends[number]
    above = unit(cross(knee - hip, trunk.spine[0, :, 0]))
    above = above if above[2] > 0 else -above
    wrist = hip + rng.uniform(0.5, 0.75) * (knee - hip) + (trunk.thigh_radii[number].mean() + _RESTING) * above
    along = unit(knee - hip)
    fingers = _one_of(rng, ("relaxed", "flat"))
    return Reach(wrist, np.array([sign, 0.5, 0.0]), along - 0.35 * above, -above, fingers)


def _pose_arms(rng: np.random.Generator, shape: BodyShape, body: Rotations, sitting: bool, swing: float) -> Rotations:
    """Rotations of arms and hands for a body whose other joints are turned by `body`."""
    asset = load_body_asset()
    modes = _draw_modes(rng, sitting)
    outer = 1 if rng.random() < 0.5 else -1
    rotations: Rotations = {}
    for (side, sign), mode in zip(_SIDES, modes):
        lift = {"raised": 16.0, "behind_head": 14.0, "in_hair": 8.0}.get(mode, 0.0) + rng.uniform(-2, 3)
        rotations[f"clavicle.{side}"] = rotation((0, 1, 0), -sign * lift)
    transforms = forward_kinematics(shape.joints, asset.parents, asset.joint_names, body | rotations)
    trunk = pose_trunk(measure_trunk(shape), shape, transforms)
    chest = transforms[asset.joint("spine01"), :, :3].astype(np.float64)
    head = transforms[asset.joint("head")].astype(np.float64)
    head_ball = head[:, :3] @ (shape.joint("head") + (0, 0.01, 0.07)) + head[:, 3]
    obstacles = [(head_ball[None], np.array([0.085]))]
    # The arm below comes first, the other one stays outside it.
    order = _SIDES if outer < 0 else _SIDES[::-1]
    for side, sign in order:
        number = 0 if side == "L" else 1
        mode = modes[number]
        arm = arm_at(shape, side, transforms)
        if mode == "crossed":
            reach = _crossed_reach(rng, trunk, sign, outer)
        elif mode == "on_thigh":
            reach = _thigh_reach(rng, trunk, number, sign)
        elif mode in _HAND_MODES:
            reach = _hand_reach(rng, trunk, _HAND_MODES[mode], sign)
        elif mode in _HEAD_MODES:
            reach = _head_reach(rng, shape, head, chest, mode, sign)
        else:
            reach = _free_reach(rng, arm, chest, mode, sign, -sign * swing if mode == "hanging" else 0.0)
        reach, depth = keep_outside(arm, reach, trunk, obstacles)
        if depth > _ACCEPTED_DEPTH:
            hanging = _free_reach(rng, arm, chest, "hanging", sign, 0.0)
            reach, _ = keep_outside(arm, hanging, trunk, obstacles)
        obstacles.append(checked_balls(arm, reach))
        rotations |= arm_rotations(arm, reach)
        rotations |= pose_hand(rng, shape, side, reach.fingers)
    return rotations


def sample_pose(rng: np.random.Generator, shape: BodyShape, facing: float = 0.0, may_sit: bool = True) -> Rotations:
    """Draw a pose: legs, spine, head, both arms and all fingers.

    Args:
        rng (`np.random.Generator`): the only source of randomness.
        shape (`BodyShape`): the body, whose measures decide where hands rest and what stays outside of what.
        facing (`float`): degrees by which the camera stands around the person, as in `cameras.View`; the head turns
            some of the way to it.
        may_sit (`bool`): whether the person may sit, see `Outfit.can_sit`.

    Returns:
        `dict[str, np.ndarray]`: rotation matrices by joint name, for `forward_kinematics`.
    """
    kind = rng.random()
    sitting, swing = may_sit and kind < _SITTING_SHARE, 0.0
    if sitting:
        rotations = _sit(rng)
    elif kind < _SITTING_SHARE + _WALKING_SHARE:
        rotations, phase = _walk(rng)
        swing = 22 * phase
    elif kind < _SITTING_SHARE + _WALKING_SHARE + _CONTRAPPOSTO_SHARE:
        rotations = _contrapposto(rng)
    else:
        rotations = _stand(rng)
    for number in range(1, 6):
        name = f"spine0{number}"
        rotations[name] = rotations.get(name, np.eye(3)) @ _small_turn(rng, twist=3, lean=1.2, bow=(-1.5, 2))
    in_view = facing if abs(facing) < 90 else 0.0
    to_camera = rng.uniform(0, 0.8) * np.clip(in_view, -55, 55) / len(_NECK)
    for name in _NECK:
        rotations[name] = rotation((0, 0, 1), to_camera) @ _small_turn(rng, twist=5, lean=2, bow=(-3, 4))
    return rotations | _pose_arms(rng, shape, rotations, sitting, swing)
