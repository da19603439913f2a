# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Arms that reach for a point and stay outside the body: two-bone inverse kinematics and a correction by contact."""

import math
from dataclasses import dataclass, replace

import numpy as np

from .body import BodyShape, cross, load_body_asset, rotation, unit
from .contact import PosedTrunk
from .hands import FINGERTIPS, hand_direction, palm_normal
from .mesh import normalize


# Metres that sleeves and clothes on the trunk add to the skin.
_CLOTH = 0.02
_ROUNDS = 14
_TOLERANCE = 0.003
_MAX_FOREARM_TWIST = 85.0
_MAX_WRIST_BEND = 50.0
# How an extended arm may be stretched and a bent one folded, as shares of its length.
_LONGEST, _SHORTEST = 0.995, 0.25
# Places along the arm that must stay outside: share of the way from elbow (0) to wrist (1) to the end of the hand (2),
# and the thickness there. The fingertips follow as the last place.
_CHECKED_PLACES = np.array([-0.35, 0.0, 0.3, 0.6, 1.0, 1.45])
_CHECKED_RADII = np.array([0.045, 0.042, 0.040, 0.036, 0.028, 0.028, 0.018])


@dataclass(frozen=True)
class Reach:
    """What an arm is asked to do, in the directions of the world.

    Attributes:
        wrist: (3,) where the wrist goes.
        elbow: (3,) direction from the line between shoulder and wrist to the elbow.
        hand: (3,) direction of the hand, None to continue the forearm.
        palm: (3,) direction that the palm faces.
        fingers: one of `hands.HAND_STYLES`.
    """

    wrist: np.ndarray
    elbow: np.ndarray
    hand: np.ndarray | None
    palm: np.ndarray
    fingers: str


@dataclass(frozen=True)
class Arm:
    """An arm at rest and where its shoulder is now.

    Attributes:
        side: "L" or "R".
        shoulder: (3,) position now.
        turn: (3, 3) rotation of the joint that carries the arm.
        upper, lower, hand: vectors (3,) of the bones at rest; the hand's reaches to the fingertips.
        palm: (3,) direction of the palm at rest.
    """

    side: str
    shoulder: np.ndarray
    turn: np.ndarray
    upper: np.ndarray
    lower: np.ndarray
    hand: np.ndarray
    palm: np.ndarray


@dataclass(frozen=True)
class _Bones:
    """Positions (3,) of a solved arm."""

    elbow: np.ndarray
    wrist: np.ndarray


def arm_at(shape: BodyShape, side: str, transforms: np.ndarray) -> Arm:
    """The arm on a side of a body whose joint transforms (J, 3, 4) are final down to the shoulder."""
    asset = load_body_asset()
    names = ("upperarm01", "lowerarm01", "wrist", "finger3-3")
    shoulder, elbow, wrist, finger = (shape.joint(f"{name}.{side}").astype(np.float64) for name in names)
    carrier = transforms[asset.joint(f"shoulder01.{side}")].astype(np.float64)
    hand = hand_direction(shape, side) * np.linalg.norm(finger - wrist)
    return Arm(
        side=side,
        shoulder=carrier[:, :3] @ shoulder + carrier[:, 3],
        turn=carrier[:, :3],
        upper=elbow - shoulder,
        lower=wrist - elbow,
        hand=hand,
        palm=palm_normal(shape, side).astype(np.float64),
    )


def _solve(arm: Arm, reach: Reach) -> _Bones:
    """Bend the elbow so that the wrist comes to its place, or as near as the arm is long."""
    upper, lower = np.linalg.norm(arm.upper), np.linalg.norm(arm.lower)
    to_wrist = reach.wrist - arm.shoulder
    distance = np.clip(np.linalg.norm(to_wrist), _SHORTEST * (upper + lower), _LONGEST * (upper + lower))
    along = unit(to_wrist)
    aside = unit(reach.elbow - (reach.elbow @ along) * along)
    foot = (upper**2 - lower**2 + distance**2) / (2 * distance)
    height = np.sqrt(max(upper**2 - foot**2, 0.0))
    return _Bones(arm.shoulder + foot * along + height * aside, arm.shoulder + distance * along)


def _frame(along: np.ndarray, hinge: np.ndarray) -> np.ndarray:
    return np.stack([along, hinge, cross(along, hinge)], axis=1)


def _angle_around(axis: np.ndarray, start: np.ndarray, stop: np.ndarray) -> float:
    """Degrees that turn `start` into `stop` around `axis`, seen along it."""
    return math.degrees(math.atan2(cross(start, stop) @ axis, start @ stop - (start @ axis) * (stop @ axis)))


def _shortest_turn(start: np.ndarray, stop: np.ndarray, limit: float = 180.0) -> np.ndarray:
    """The matrix that turns direction `start` towards `stop` by at most `limit` degrees."""
    axis = cross(start, stop)
    length = math.sqrt(axis @ axis)
    if length < 1e-9:
        return np.eye(3)
    return rotation(axis, min(limit, math.degrees(math.atan2(length, start @ stop))))


def _hand_after(arm: Arm, bones: _Bones, reach: Reach) -> np.ndarray:
    """The vector (3,) from the wrist to the fingertips."""
    forearm = unit(bones.wrist - bones.elbow)
    wanted = forearm if reach.hand is None else unit(reach.hand)
    return _shortest_turn(forearm, wanted, _MAX_WRIST_BEND) @ forearm * np.linalg.norm(arm.hand)


def checked_balls(arm: Arm, reach: Reach) -> tuple[np.ndarray, np.ndarray]:
    """Centres (7, 3) and radii (7,) of balls along the solved arm, from above the elbow to the fingertips."""
    bones = _solve(arm, reach)
    hand = _hand_after(arm, bones, reach)
    chain = np.stack([bones.elbow + 0.8 * (arm.shoulder - bones.elbow), bones.elbow, bones.wrist, bones.wrist + hand])
    places = np.where(_CHECKED_PLACES < 0, _CHECKED_PLACES / 0.8, _CHECKED_PLACES) + 1
    first = np.minimum(places.astype(int), 2)
    part = (places - first)[:, None]
    along, towards_palm = FINGERTIPS[reach.fingers]
    palm = unit(reach.palm - (reach.palm @ hand) / (hand @ hand) * hand)
    tips = bones.wrist + along * hand + towards_palm * palm
    return np.concatenate([chain[first] * (1 - part) + chain[first + 1] * part, [tips]]), _CHECKED_RADII


def keep_outside(
    arm: Arm, reach: Reach, trunk: PosedTrunk, obstacles: list[tuple[np.ndarray, np.ndarray]]
) -> tuple[Reach, float]:
    """Move wrist and elbow outwards until the arm touches the body at most.

    Args:
        arm (`Arm`): the arm.
        reach (`Reach`): what it should do.
        trunk (`PosedTrunk`): trunk and thighs.
        obstacles (`list`): further balls, centres (N, 3) and radii (N,), e.g. of the other arm.

    Returns:
        `tuple`: the corrected reach, and the metres by which a checked place is still inside.
    """
    best, best_depth = reach, np.inf
    for _ in range(_ROUNDS):
        points, radii = checked_balls(arm, reach)
        depth, outwards = trunk.depth(points, radii + _CLOTH)
        for centres, other_radii in obstacles:
            apart = points[:, None] - centres
            distance = np.sqrt(np.einsum("nmi,nmi->nm", apart, apart))
            overlap = radii[:, None] + other_radii - distance
            nearest = overlap.argmax(axis=1)
            overlap = overlap[np.arange(len(points)), nearest]
            away = normalize(apart[np.arange(len(points)), nearest])
            outwards = np.where((overlap > depth)[:, None], away, outwards)
            depth = np.maximum(depth, overlap)
        deepest = float(depth.max())
        if deepest < best_depth:
            best, best_depth = reach, deepest
        if deepest < _TOLERANCE:
            break
        push = np.clip(depth, 0, 0.08)[:, None] * outwards
        # Places beyond the middle of the forearm move with the wrist, the others with the elbow.
        number = int(depth[3:].argmax()) + 3
        elbow_number = int(depth[:4].argmax())
        elbow = unit(reach.elbow) + 6.0 * push[elbow_number]
        hand = reach.hand
        if hand is not None and number >= 5:
            hand = unit(hand) + 4.0 * push[number]
        reach = replace(reach, wrist=reach.wrist + push[number] + 0.5 * push[elbow_number], elbow=elbow, hand=hand)
    return best, best_depth


def arm_rotations(arm: Arm, reach: Reach) -> dict[str, np.ndarray]:
    """Rotations of upper arm, forearm and wrist that carry out `reach`; twists are spread over both halves of a
    bone."""
    bones = _solve(arm, reach)
    upper, lower = unit(bones.elbow - arm.shoulder), unit(bones.wrist - bones.elbow)
    rest_upper, rest_lower = unit(arm.upper), unit(arm.lower)
    rest_hinge, hinge = unit(cross(rest_upper, rest_lower)), unit(cross(upper, lower))
    upper_turn = _frame(upper, hinge) @ _frame(rest_upper, rest_hinge).T
    lower_turn = _frame(lower, hinge) @ _frame(rest_lower, rest_hinge).T

    swing = _shortest_turn(arm.turn @ rest_upper, upper)
    half_turned = swing @ arm.turn
    half_twist = _angle_around(upper, half_turned @ rest_hinge, hinge) / 2
    half_turned = rotation(upper, half_twist) @ half_turned

    twist = _angle_around(lower, lower_turn @ arm.palm, reach.palm)
    twist = float(np.clip(twist, -_MAX_FOREARM_TWIST, _MAX_FOREARM_TWIST))
    wrist_turn = rotation(lower, 0.35 * twist)
    forearm_turn = rotation(lower, 0.65 * twist) @ lower_turn
    hand_now = wrist_turn @ forearm_turn @ unit(arm.hand)
    wanted = unit(_hand_after(arm, bones, reach))
    hand_turn = _shortest_turn(hand_now, wanted, _MAX_WRIST_BEND) @ wrist_turn @ forearm_turn
    side = arm.side
    return {
        f"upperarm01.{side}": arm.turn.T @ half_turned,
        f"upperarm02.{side}": half_turned.T @ upper_turn,
        f"lowerarm01.{side}": upper_turn.T @ lower_turn,
        f"lowerarm02.{side}": lower_turn.T @ forearm_turn,
        f"wrist.{side}": forearm_turn.T @ hand_turn,
    }
