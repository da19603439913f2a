# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Where the trunk and the thighs of a posed body are, so that arms and hands can stay outside.

The trunk is a table of radii by height and direction, measured on the rest pose and bent with the spine. Thighs are
tapered capsules. Both answer how deep a ball is inside and which way leads out.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .body import BodyShape, limb_weight, load_body_asset
from .mesh import normalize


_SPINE = ("root", "spine05", "spine04", "spine03", "spine02", "spine01")
_ROWS = 30
_SECTORS = 24
# The table begins this far (metres) below the hip joints.
_BELOW_HIPS = 0.12
_THIGH_RADII_AT = (0.25, 0.95)


@lru_cache(maxsize=1)
def _trunk_members() -> np.ndarray:
    """The body's vertices (indices) that do not belong to arms or head."""
    body, _ = load_body_asset().groups["body"]
    on_arm = limb_weight("upperarm", "lowerarm", "wrist", "finger", "metacarpal")[body]
    on_head = limb_weight("head", "neck02", "neck03", "eye", "foot", "toe", "lowerleg")[body]
    return body[(on_arm < 0.35) & (on_head < 0.5)]


@lru_cache(maxsize=1)
def _thigh_members() -> dict[str, np.ndarray]:
    """The body's vertices (indices) of either thigh."""
    body, _ = load_body_asset().groups["body"]
    return {side: body[limb_weight(f"upperleg01.{side}", f"upperleg02.{side}")[body] > 0.8] for side in "LR"}


@dataclass(frozen=True)
class Trunk:
    """A trunk in the rest pose: radii (rows, sectors) around the axis x = 0, y = `axis_y`, from `low` to `high`.

    Sector 0 looks to the front, sectors follow towards the person's left.
    """

    radii: np.ndarray
    axis_y: float
    low: float
    high: float
    hip: float
    neck: float

    def radius(self, angle: np.ndarray, height: np.ndarray) -> np.ndarray:
        """Metres from the axis to the skin, interpolated; `angle` in radians, 0 front, positive to the left."""
        row = np.clip((height - self.low) / (self.high - self.low) * _ROWS - 0.5, 0, _ROWS - 1.001)
        sector = angle / (2 * np.pi) * _SECTORS
        row_0, sector_0 = np.floor(row).astype(int), np.floor(sector).astype(int)
        row_part, sector_part = row - row_0, sector - sector_0
        first, second = sector_0 % _SECTORS, (sector_0 + 1) % _SECTORS
        lower = self.radii[row_0, first] * (1 - sector_part) + self.radii[row_0, second] * sector_part
        upper = self.radii[row_0 + 1, first] * (1 - sector_part) + self.radii[row_0 + 1, second] * sector_part
        return lower * (1 - row_part) + upper * row_part

    def surface(self, degrees: float, level: float) -> tuple[np.ndarray, np.ndarray]:
        """The point (3,) of the skin in the rest pose at an angle (0 front, 90 left) and a level (0 hip joints, 1
        neck), and the direction (3,) outwards."""
        angle = np.radians(degrees)
        height = self.hip + level * (self.neck - self.hip)
        outwards = np.array([np.sin(angle), -np.cos(angle), 0.0])
        return outwards * self.radius(angle, np.float64(height)) + (0, self.axis_y, height), outwards


def measure_trunk(shape: BodyShape) -> Trunk:
    """Measure the trunk of a body in its rest pose."""
    points = shape.vertices[_trunk_members()].astype(np.float64)
    hip, neck = float(shape.joint("upperleg01.L")[2]), float(shape.joint("neck01")[2])
    low, high, axis_y = hip - _BELOW_HIPS, neck, float(shape.joint("spine03")[1])
    from_axis = points - (0, axis_y, 0)
    row = np.floor((points[:, 2] - low) / (high - low) * _ROWS).astype(int)
    inside = (row >= 0) & (row < _ROWS)
    sector = np.rint(np.arctan2(from_axis[:, 0], -from_axis[:, 1]) / (2 * np.pi) * _SECTORS).astype(int) % _SECTORS
    radii = np.zeros((_ROWS, _SECTORS))
    np.maximum.at(radii, (row[inside], sector[inside]), np.hypot(from_axis[inside, 0], from_axis[inside, 1]))
    # A cell without a vertex takes the larger of its neighbours in height.
    for _ in range(3):
        above, below = np.roll(radii, 1, axis=0), np.roll(radii, -1, axis=0)
        radii = np.where(radii > 0, radii, np.maximum(above, below))
    return Trunk(radii, axis_y, low, high, hip, neck)


@dataclass(frozen=True)
class PosedTrunk:
    """The trunk and the thighs in a pose.

    Attributes:
        trunk: the trunk at rest.
        spine: (6, 3, 4) transforms of the pelvis and the five joints of the spine, upwards.
        rest_heights, posed_heights: (5,) where each of these five begins.
        thigh_ends: (2, 2, 3) hip and knee of the left and the right leg.
        thigh_radii: (2, 2) radii near hip and knee.
    """

    trunk: Trunk
    spine: np.ndarray
    rest_heights: np.ndarray
    posed_heights: np.ndarray
    thigh_ends: np.ndarray
    thigh_radii: np.ndarray

    def to_world(self, point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where a point (3,) of the trunk in the rest pose is now, and the rotation (3, 3) there."""
        bone = int(np.searchsorted(self.rest_heights, point[2]))
        return self.spine[bone, :, :3] @ point + self.spine[bone, :, 3], self.spine[bone, :, :3]

    def _depth_in_trunk(self, points: np.ndarray, radii: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        bone = np.searchsorted(self.posed_heights, points[:, 2])
        turn = self.spine[bone, :, :3]
        rest = np.einsum("nji,nj->ni", turn, points - self.spine[bone, :, 3])
        from_axis = rest[:, :2] - (0, self.trunk.axis_y)
        distance = np.hypot(from_axis[:, 0], from_axis[:, 1])
        angle = np.arctan2(from_axis[:, 0], -from_axis[:, 1])
        depth = self.trunk.radius(angle, rest[:, 2]) + radii - distance
        beyond = np.maximum(self.trunk.low - rest[:, 2], rest[:, 2] - self.trunk.high)
        depth = np.where(beyond > 0, -1.0, depth)
        outwards = np.zeros_like(rest)
        outwards[:, :2] = normalize(from_axis)
        return depth, np.einsum("nij,nj->ni", turn, outwards)

    def _depth_in_thigh(self, side: int, points: np.ndarray, radii: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        hip, knee = self.thigh_ends[side]
        axis = knee - hip
        along = np.clip((points - hip) @ axis / (axis @ axis), 0.05, 1)
        offset = points - hip - along[:, None] * axis
        distance = np.sqrt(np.einsum("ni,ni->n", offset, offset))
        thickness = np.interp(along, _THIGH_RADII_AT, self.thigh_radii[side])
        return thickness + radii - distance, normalize(offset)

    def depth(self, points: np.ndarray, radii: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How deep (N,) balls at `points` (N, 3) with `radii` (N,) are inside, negative outside, and the way out (N,
        3)."""
        depth, outwards = self._depth_in_trunk(points, radii)
        for side in (0, 1):
            other_depth, other_outwards = self._depth_in_thigh(side, points, radii)
            outwards = np.where((other_depth > depth)[:, None], other_outwards, outwards)
            depth = np.maximum(depth, other_depth)
        return depth, outwards


def pose_trunk(trunk: Trunk, shape: BodyShape, transforms: np.ndarray) -> PosedTrunk:
    """The trunk of `shape` moved by joint transforms (J, 3, 4)."""
    asset = load_body_asset()
    spine = [asset.joint(name) for name in _SPINE]
    joints_at_rest = shape.joints[spine[1:]].astype(np.float64)
    # The lowest joint of the spine coincides with the root, whose transform moves the pelvis.
    posed = np.einsum("jik,jk->ji", transforms[spine[1:], :, :3], joints_at_rest) + transforms[spine[1:], :, 3]
    ends, radii = [], []
    for side in "LR":
        names = (f"upperleg01.{side}", f"lowerleg01.{side}")
        rest = np.stack([shape.joint(name) for name in names]).astype(np.float64)
        joints = [asset.joint(name) for name in names]
        ends.append([transforms[j, :, :3] @ point + transforms[j, :, 3] for j, point in zip(joints, rest)])
        axis = rest[1] - rest[0]
        from_hip = shape.vertices[_thigh_members()[side]] - rest[0]
        along = from_hip @ axis / (axis @ axis)
        distance = np.linalg.norm(from_hip - along[:, None] * axis, axis=1)
        radii.append([distance[np.abs(along - place) < 0.12].max() for place in _THIGH_RADII_AT])
    return PosedTrunk(
        trunk,
        transforms[spine].astype(np.float64),
        np.maximum.accumulate(joints_at_rest[:, 2]),
        np.maximum.accumulate(posed[:, 2]),
        np.array(ends),
        np.array(radii),
    )
