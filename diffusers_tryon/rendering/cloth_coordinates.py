# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Where a point of a garment lies on its cloth, so that prints run on from the torso over the shoulder to the sleeve.

Cloth coordinates are (u, v, limb): metres around the body (0 in front, positive to the person's left), metres upwards
from the hips (0.6 at the neck), and by how much the place belongs to a sleeve or a trouser leg (0 to 1). The scale is
that of one body, so a print grows with the wearer. Seams, where u jumps, run down the back of the torso, along the
underside of sleeves and the inside of legs.
"""

import numpy as np

from .levels import Landmarks, on_the_left, smoothstep


_TORSO_LENGTH = 0.6
_TORSO_RADIUS = 0.15
_ARM_RADIUS = 0.055
_LEG_RADIUS = 0.085
_ELBOW_REACH = 0.12
# Around the torso, the outside of arms and legs is a quarter turn from the front.
TORSO_SIDE = _TORSO_RADIUS * np.pi / 2


def torso_u(angle: np.ndarray) -> np.ndarray:
    """Metres around the torso of an angle, 0 in front."""
    return _TORSO_RADIUS * angle


def torso_v(height: np.ndarray, marks: Landmarks) -> np.ndarray:
    """Metres above the hips of a height."""
    return _TORSO_LENGTH * (height - marks.hip[2]) / (marks.neck[2] - marks.hip[2])


def _on_one_side(angles: np.ndarray) -> np.ndarray:
    """Angles (F, 3) of the corners of faces; where a face straddles the half turn, the negative ones go one turn
    on."""
    first, second, third = angles.T
    widest = np.maximum(np.maximum(first, second), third) - np.minimum(np.minimum(first, second), third)
    return np.where((widest > np.pi)[:, None] & (angles < 0), angles + 2 * np.pi, angles)


def from_arm_axis(points: np.ndarray, marks: Landmarks) -> tuple[np.ndarray, np.ndarray]:
    """Metres (N,) along the left arm from the shoulder, and the offset (N, 3) from the bones, with a soft change from
    one bone to the other around the elbow; points on the left."""
    upper, lower = marks.elbow - marks.shoulder, marks.wrist - marks.elbow
    upper_length = np.linalg.norm(upper)
    upper, lower = upper / upper_length, lower / np.linalg.norm(lower)
    from_elbow = points - marks.elbow
    on_upper, on_lower = from_elbow @ upper, from_elbow @ lower
    bent = smoothstep(on_upper + on_lower, -_ELBOW_REACH, _ELBOW_REACH)[:, None]
    along = upper_length + (1 - bent[:, 0]) * on_upper + bent[:, 0] * on_lower
    return along, from_elbow - (1 - bent) * on_upper[:, None] * upper - bent * on_lower[:, None] * lower


def from_leg_axis(points: np.ndarray, marks: Landmarks) -> np.ndarray:
    """The horizontal offset (N, 2) from the bones of the left leg; points on the left."""
    heights = (marks.ankle[2], marks.knee[2], marks.hip[2])
    axis = [np.interp(points[:, 2], heights, (marks.ankle[i], marks.knee[i], marks.hip[i])) for i in (0, 1)]
    return points[:, :2] - np.stack(axis, axis=1)


def cloth_coordinates(
    points: np.ndarray, faces: np.ndarray, share: np.ndarray, limb: str, marks: Landmarks
) -> np.ndarray:
    """Cloth coordinates of a garment in the rest pose.

    Args:
        points (`np.ndarray`): (V, 3) vertices.
        faces (`np.ndarray`): (F, 3) int.
        share (`np.ndarray`): (V,) by how much each vertex belongs to the limb.
        limb (`str`): "arm" or "leg", which the garment encloses.
        marks (`Landmarks`): the body.

    Returns:
        `np.ndarray`: (F, 3, 3) float32, one place for every corner of every face.
    """
    left = on_the_left(points)
    v = torso_v(points[:, 2], marks)
    angle = np.arctan2(points[:, 0], marks.spine[1] - points[:, 1])
    if limb == "arm":
        along, offset = from_arm_axis(left, marks)
        direction = marks.arm_plane(0)[1]
        radius = _ARM_RADIUS
        limb_angle = np.arctan2(offset[:, 1], offset @ np.array([-direction[2], 0, direction[0]]))
        limb_v = torso_v(marks.shoulder[2], marks) - along
        limb_share = smoothstep(share, 0.35, 0.9)
    else:
        offset = from_leg_axis(left, marks)
        radius = _LEG_RADIUS
        limb_angle = np.arctan2(offset[:, 1], offset[:, 0])
        limb_v = v
        limb_share = smoothstep(share, 0.5, 0.95)
    side = np.where(points[:, 0] < 0, -1.0, 1.0)
    # Seen from above, angles grow from the front to the left; on the right the limb's outside mirrors that.
    corner_angle = _on_one_side(angle[faces])
    first, second, third = faces.T
    corner_side = np.where(side[first] + side[second] + side[third] < 0, -1.0, 1.0)[:, None]
    around_limb = corner_side * (TORSO_SIDE + radius * _on_one_side(limb_angle[faces]))
    limb_share_at = limb_share[faces]
    u = (1 - limb_share_at) * torso_u(corner_angle) + limb_share_at * around_limb
    v = v + limb_share * (limb_v - v)
    return np.stack([u, v[faces], limb_share_at], axis=2).astype(np.float32)
