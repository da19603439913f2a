# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The human body: its asset, its shapes, skinning and forward kinematics.

Units are metres; x points to the person's left, y to the back, z up. The camera looks along +y.
"""

import math
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from .mesh import extract_submesh


# `body.npz` keeps body, eyes and garment shells in one list of vertices; these are the groups that are drawn.
_GROUPS = {
    "body": "body",
    "left_eye": "helper-l-eye",
    "right_eye": "helper-r-eye",
    "tights": "helper-tights",
    "skirt": "helper-skirt",
}
NUM_COCO_KEYPOINTS = 17
# Of the 32 shapes, these four are kept for the test split: a lighter and a heavier one of either sex.
TEST_SHAPES = (5, 11, 17, 24)


@dataclass(frozen=True)
class BodyAsset:
    """The constant part of every body.

    Attributes:
        shapes: (S, V, 3) float32 rest vertices of S bodies.
        joints: (S, J, 3) float32 joint positions in the rest pose.
        femininity: (S,) in [0, 1].
        joint_names: names of the J joints, parents before children.
        parents: (J,) index of the parent joint, -1 for the root.
        skin_weights: (V, J) float32, rows sum to 1.
        groups: for each part ("body", "left_eye", "tights", ...) its vertices (indices into V) and its faces, numbered
            by position in that list.
        keypoint_regressor: (17, V) float32, COCO-17 keypoints as averages of vertices.
    """

    shapes: np.ndarray
    joints: np.ndarray
    femininity: np.ndarray
    joint_names: tuple[str, ...]
    parents: np.ndarray
    skin_weights: np.ndarray
    groups: dict[str, tuple[np.ndarray, np.ndarray]]
    keypoint_regressor: np.ndarray

    def joint(self, name: str) -> int:
        return self.joint_names.index(name)


@lru_cache(maxsize=1)
def load_body_asset() -> BodyAsset:
    """Read `body.npz`, which lies beside this file."""
    with np.load(Path(__file__).with_name("body.npz")) as archive:
        content = {name: archive[name] for name in archive.files}
    num_vertices, num_joints = len(content["w"]), len(content["bones"])
    skin_weights = np.zeros((num_vertices, num_joints), np.float32)
    np.add.at(skin_weights, (np.arange(num_vertices)[:, None], content["wi"].astype(int)), content["w"])
    return BodyAsset(
        shapes=content["rest"].astype(np.float32),
        joints=content["heads"].astype(np.float32),
        femininity=content["pheno"][:, 0],
        joint_names=tuple(str(name) for name in content["bones"]),
        parents=content["parents"].astype(int),
        skin_weights=skin_weights,
        groups={name: extract_submesh(content[f"f_{group}"].astype(int)) for name, group in _GROUPS.items()},
        keypoint_regressor=content["kp_reg"][:NUM_COCO_KEYPOINTS],
    )


@lru_cache
def limb_weight(*prefixes: str) -> np.ndarray:
    """How much (0 to 1) each vertex (V,) of the asset follows the joints whose names start with `prefixes`."""
    asset = load_body_asset()
    members = [number for number, name in enumerate(asset.joint_names) if name.startswith(prefixes)]
    return asset.skin_weights[:, members].sum(axis=1)


@dataclass(frozen=True)
class BodyShape:
    """One body in its rest pose: vertices (V, 3), joints (J, 3), femininity in [0, 1]."""

    vertices: np.ndarray
    joints: np.ndarray
    femininity: float

    def joint(self, name: str) -> np.ndarray:
        """Position (3,) of a joint, e.g. "wrist.L"."""
        return self.joints[load_body_asset().joint(name)]


def shapes_of_split(split: str) -> tuple[int, ...]:
    """The shapes a split blends: the test split's four, or the other 28. No body is shared between splits."""
    others = tuple(number for number in range(len(load_body_asset().shapes)) if number not in TEST_SHAPES)
    return TEST_SHAPES if split == "test" else others


def rotation(axis: np.ndarray | tuple[float, float, float], degrees: float) -> np.ndarray:
    """The matrix (3, 3) that turns by `degrees` around `axis`, counter-clockwise seen from the axis' tip."""
    # Plain numbers: hundreds of these are made for every picture, and small arrays are slow.
    x, y, z = (float(component) for component in axis)
    length = math.sqrt(x * x + y * y + z * z)
    x, y, z = x / length, y / length, z / length
    angle = math.radians(degrees)
    c, s = math.cos(angle), math.sin(angle)
    d = 1 - c
    return np.array(
        [
            (c + d * x * x, d * x * y - s * z, d * x * z + s * y),
            (d * x * y + s * z, c + d * y * y, d * y * z - s * x),
            (d * x * z - s * y, d * y * z + s * x, c + d * z * z),
        ]
    )


def cross(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The cross product of two single vectors (3,); much faster for them than `np.cross`."""
    (a, b, c), (x, y, z) = first.tolist(), second.tolist()
    return np.array([b * z - c * y, c * x - a * z, a * y - b * x])


def unit(vector: np.ndarray) -> np.ndarray:
    """A single vector (3,) scaled to length 1."""
    x, y, z = vector.tolist()
    return vector / math.sqrt(x * x + y * y + z * z)


def forward_kinematics(
    joints: np.ndarray, parents: np.ndarray, joint_names: tuple[str, ...], rotations: dict[str, np.ndarray]
) -> np.ndarray:
    """The motion of every joint when some joints are turned.

    Args:
        joints (`np.ndarray`): (J, 3) positions in the rest pose.
        parents (`np.ndarray`): (J,) parent of each joint, -1 for the root; parents come first.
        joint_names (`tuple[str, ...]`): J names.
        rotations (`dict[str, np.ndarray]`): matrices (3, 3) by joint name, in the axes of the rest pose.

    Returns:
        `np.ndarray`: (J, 3, 4) float32, maps a rest position in homogeneous coordinates to the posed position.
    """
    transforms = np.zeros((len(joints), 4, 4))
    for number, name in enumerate(joint_names):
        local = np.eye(4)
        if name in rotations:
            # Turn around the joint itself, not around the origin.
            local[:3, :3] = rotations[name]
            local[:3, 3] = joints[number] - rotations[name] @ joints[number]
        parent = parents[number]
        transforms[number] = local if parent < 0 else transforms[parent] @ local
    return transforms[:, :3].astype(np.float32)


def skin(vertices: np.ndarray, skin_weights: np.ndarray, transforms: np.ndarray) -> np.ndarray:
    """Linear blend skinning.

    Args:
        vertices (`np.ndarray`): (V, 3) float32 in the rest pose.
        skin_weights (`np.ndarray`): (V, J) float32.
        transforms (`np.ndarray`): (J, 3, 4) from `forward_kinematics`.

    Returns:
        `np.ndarray`: (V, 3) float32 posed vertices.
    """
    return _move(vertices, torch.from_numpy(skin_weights), transforms)


def _move(vertices: np.ndarray, skin_weights: torch.Tensor, transforms: np.ndarray) -> np.ndarray:
    # By column, so that the sum below runs over whole rows of memory.
    columns = torch.from_numpy(np.ascontiguousarray(transforms.transpose(0, 2, 1)).reshape(-1, 12))
    blended = (skin_weights @ columns).numpy().reshape(-1, 4, 3)
    homogeneous = np.ones((len(vertices), 4), np.float32)
    homogeneous[:, :3] = vertices
    return np.einsum("vkc,vk->vc", blended, homogeneous)


@lru_cache(maxsize=1)
def _sparse_skin_weights() -> torch.Tensor:
    with warnings.catch_warnings():
        # Torch warns once that sparse tensors are in beta.
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(load_body_asset().skin_weights).to_sparse_csr()


def pose_body(shape: BodyShape, transforms: np.ndarray) -> np.ndarray:
    """All vertices (V, 3) float32 of a body, posed with `transforms` (J, 3, 4): `skin` with the asset's weights."""
    return _move(shape.vertices, _sparse_skin_weights(), transforms)
