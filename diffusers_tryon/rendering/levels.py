# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Where garments end: level functions, roughly the signed distance in metres to an edge, negative where the cloth is.

They are closed forms of the position in the rest pose; how far a point belongs to an arm only says which edge counts,
far from that edge, so edges are smooth. Bodies are symmetric: levels look at the left side.
"""

from dataclasses import dataclass, replace

import numpy as np

from .body import BodyShape
from .designs import Neckline, TopDesign
from .mesh import normalize
from .shells import load_shell


# Metres of level per unit of an arm's share, where that share decides between edges.
_SHARE_SLOPE = 0.3
# A point above this share belongs to the arm.
_ARM_SHARE = 0.4
# The armhole of a garment without sleeves ends this far below the armpit.
_ARMHOLE_DROP = 0.02


@dataclass(frozen=True)
class Landmarks:
    """Points (3,) of one body from which garments are measured, those of limbs on the left.

    Attributes:
        neck: base of the neck.
        neck_half_width: metres.
        neck_axis: (3,) unit vector up along the neck.
        shoulder, elbow, wrist, armpit, hip, knee, ankle: as named.
        spine: in the small of the back.
    """

    neck: np.ndarray
    neck_half_width: float
    neck_axis: np.ndarray
    shoulder: np.ndarray
    elbow: np.ndarray
    wrist: np.ndarray
    armpit: np.ndarray
    hip: np.ndarray
    knee: np.ndarray
    ankle: np.ndarray
    spine: np.ndarray

    def height(self, torso: float) -> float:
        """The height of a torso coordinate, 0 hips, 1 neck."""
        return float(self.hip[2] + torso * (self.neck[2] - self.hip[2]))

    def leg_height(self, leg: float) -> float:
        """The height of a leg coordinate, 0 hips, 1 knee, 2 ankle."""
        return float(np.interp(leg, (0, 1, 2), (self.hip[2], self.knee[2], self.ankle[2])))

    def arm_plane(self, arm: float) -> tuple[np.ndarray, np.ndarray]:
        """A point on the arm at an arm coordinate, 0 shoulder, 1 elbow, 2 wrist, and the arm's direction there."""
        upper, lower = self.elbow - self.shoulder, self.wrist - self.elbow
        point = self.shoulder + min(arm, 1) * upper + max(arm - 1, 0) * lower
        bend = np.clip((arm - 0.85) / 0.3, 0, 1)
        return point, normalize((1 - bend) * normalize(upper) + bend * normalize(lower))


def landmarks(shape: BodyShape, points: np.ndarray) -> Landmarks:
    """Measure a body; `points` are those of the tailor's dummy."""
    shell = load_shell()
    joints = ("neck01", "upperarm01.L", "lowerarm01.L", "wrist.L", "upperleg01.L", "lowerleg01.L", "foot.L", "spine05")
    neck, shoulder, elbow, wrist, hip, knee, ankle, spine = (shape.joint(name).astype(np.float64) for name in joints)
    return Landmarks(
        neck=neck,
        neck_half_width=float(points[shell.neck_ring, 0].max()),
        neck_axis=normalize(shape.joint("neck03").astype(np.float64) - neck),
        shoulder=shoulder,
        elbow=elbow,
        wrist=wrist,
        armpit=points[shell.armpits[0]],
        hip=hip,
        knee=knee,
        ankle=ankle,
        spine=spine,
    )


def smoothstep(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below `low`, 1 above `high`, smooth between."""
    fraction = np.clip((values - low) / (high - low), 0, 1)
    return fraction * fraction * (3 - 2 * fraction)


def on_the_left(points: np.ndarray) -> np.ndarray:
    """Points (N, 3) of the right side mirrored to the left."""
    return np.stack([np.abs(points[:, 0]), points[:, 1], points[:, 2]], axis=1)


def _in_ellipse(across: np.ndarray, down: np.ndarray, width: float, depth: np.ndarray, power: float) -> np.ndarray:
    """Positive inside a superellipse around the origin, in metres along its shorter axis."""
    across, down = np.maximum(across, 0) / width, np.maximum(down, 0) / depth
    return (1 - (across**power + down**power) ** (1 / power)) * np.minimum(width, depth)


def neckline_level(design: Neckline, marks: Landmarks, points: np.ndarray) -> np.ndarray:
    """The level (N,) of the opening for the head at `points` (N, 3)."""
    if design.stand is not None:
        return (points - marks.neck) @ marks.neck_axis - design.stand
    behind = smoothstep(points[:, 1] - marks.neck[1], -0.01, 0.04)
    depth = design.depth + behind * (design.back_depth - design.depth)
    down = marks.neck[2] - 0.005 - points[:, 2]
    # Where the shoulder rises to the neck nothing is left.
    across = np.abs(points[:, 0]) - 1.5 * np.maximum(-down, 0)
    return _in_ellipse(across, down, marks.neck_half_width + design.width, depth, design.power)


def _armhole_level(design: TopDesign, marks: Landmarks, points: np.ndarray, arm: np.ndarray) -> np.ndarray:
    """The level of the armhole of a garment without sleeves."""
    strap_end = min(marks.neck_half_width + design.neckline.width + design.strap, marks.shoulder[0] - 0.01)
    middle = marks.armpit[0] + 0.01
    top = marks.neck[2] - 0.03
    hole = _in_ellipse(
        middle - np.abs(points[:, 0]),
        top - points[:, 2],
        middle - strap_end,
        top - marks.armpit[2] + _ARMHOLE_DROP,
        2.0,
    )
    beyond_armpit = (on_the_left(points) - marks.armpit) @ marks.arm_plane(0)[1]
    return np.maximum(hole, np.minimum(beyond_armpit, _SHARE_SLOPE * (arm - _ARM_SHARE)))


def _cuff_level(sleeve: float, marks: Landmarks, points: np.ndarray, arm: np.ndarray) -> np.ndarray:
    point, along = marks.arm_plane(sleeve)
    return np.minimum((on_the_left(points) - point) @ along, _SHARE_SLOPE * (arm - _ARM_SHARE))


def hem_level(design: TopDesign, marks: Landmarks, points: np.ndarray, arm: np.ndarray) -> np.ndarray:
    """The level of the lower edge."""
    sideways = np.clip(np.abs(points[:, 0]) / marks.armpit[0], 0, 1)
    hem = marks.height(design.hem) + design.hem_curve * sideways**2
    return np.minimum(hem - points[:, 2], _SHARE_SLOPE * (_ARM_SHARE - arm))


def _front_level(design: TopDesign, marks: Landmarks, points: np.ndarray) -> np.ndarray:
    """The level of the front edges of an open jacket, which part towards the hem."""
    gap = design.opening * (1 + 0.6 * smoothstep(marks.neck[2] - points[:, 2], 0.1, 0.6))
    return np.minimum(gap - np.abs(points[:, 0]), marks.neck[1] - 0.01 - points[:, 1])


def top_level(design: TopDesign, marks: Landmarks, points: np.ndarray, arm: np.ndarray) -> np.ndarray:
    """The level (N,) of an upper-body garment at `points` (N, 3), which belong to an arm by the share `arm` (N,)."""
    level = np.maximum(hem_level(design, marks, points, arm), neckline_level(design.neckline, marks, points))
    if design.sleeve > 0:
        level = np.maximum(level, _cuff_level(design.sleeve, marks, points, arm))
    else:
        level = np.maximum(level, _armhole_level(design, marks, points, arm))
    if design.opening is not None:
        level = np.maximum(level, _front_level(design, marks, points))
    return level


def collar_reach(design: TopDesign, marks: Landmarks, points: np.ndarray) -> np.ndarray:
    """Metres (N,) from `points` (N, 3) out to the outer edge of a collar, negative beyond it."""
    inner = design.neckline
    wide = replace(
        inner,
        width=inner.width + design.collar,
        depth=inner.depth + 0.8 * design.collar,
        back_depth=inner.back_depth + 1.2 * design.collar,
        stand=None,
    )
    return neckline_level(wide, marks, points)


def collar_level(design: TopDesign, marks: Landmarks, points: np.ndarray) -> np.ndarray:
    """The level (N,) of the collar that lies on the garment around its neckline, open and pointed in front."""
    below_neckline = np.maximum(marks.neck[2] - points[:, 2] - design.neckline.depth + 0.01, 0)
    gap = 0.012 + 0.35 * below_neckline - np.abs(points[:, 0])
    front = np.minimum(gap, marks.neck[1] - 0.01 - points[:, 1])
    ring = np.maximum(neckline_level(design.neckline, marks, points), -collar_reach(design, marks, points))
    return np.maximum(ring, front)


def pants_level(waist: float, cuff: float, points: np.ndarray, arm: np.ndarray) -> np.ndarray:
    """The level (N,) of trousers between two heights."""
    height = points[:, 2]
    return np.maximum(np.maximum(height - waist, cuff - height), _SHARE_SLOPE * (arm - _ARM_SHARE))
