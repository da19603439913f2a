# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The tailor's dummy: MakeHuman's tights helper, refined where garments are cut, with all that does not depend on the
body (neighbours, limbs, which skin lies under it) computed once."""

import warnings
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from .body import BodyShape, limb_weight, load_body_asset
from .mesh import normalize, vertex_neighbours


ARM_JOINTS = ("upperarm", "lowerarm", "wrist", "finger", "metacarpal")
LEG_JOINTS = ("upperleg", "lowerleg", "foot", "toe")
# Triangles above this share of the mean body's height between hips and neck, and not beyond the shoulders by more
# than the reach (metres), are refined: straps, armholes and necklines are cut there.
_REFINED_ABOVE = 0.62
_REFINED_REACH = 0.05
# Smoothing steps that make the share of a limb change softly over about a hand's breadth.
_LIMB_SOFTENING = 14
# Cloth bends less sharply than the skin, and edges cut across triangles stay smooth in a pose.
_WEIGHT_SOFTENING = 4


@dataclass(frozen=True)
class Shell:
    """The constant part of the dummy, V vertices.

    Attributes:
        sources: (V, 2) int, each vertex is the mean of these two vertices of the body asset.
        faces: (F, 3) int.
        skin_weights: (V, J) float32.
        arm, leg: (V,) float64, the share by which a vertex belongs to an arm or a leg, softened.
        armpits: (2,) int, the vertices in the left and the right armpit.
        neck_ring: (K,) int, vertices around the upper end.
        trunk: (T,) int, all vertices but those of arms and feet.
        smoothing: (V, V) sparse, moves each vertex half of the way to the mean of its neighbours.
        corner_sum: (V, F) sparse, sums values of faces at their vertices.
        skin: (S,) int, vertices of the body asset that the dummy covers, S of them.
        skin_sources, skin_shares: (S, 3), each of these lies under the mean of three vertices of the dummy.
    """

    sources: np.ndarray
    faces: np.ndarray
    skin_weights: np.ndarray
    arm: np.ndarray
    leg: np.ndarray
    armpits: np.ndarray
    neck_ring: np.ndarray
    trunk: np.ndarray
    smoothing: torch.Tensor
    corner_sum: torch.Tensor
    skin: np.ndarray
    skin_sources: np.ndarray
    skin_shares: np.ndarray

    def points(self, shape: BodyShape) -> np.ndarray:
        """The dummy (V, 3) float64 of one body."""
        return (shape.vertices[self.sources[:, 0]] + shape.vertices[self.sources[:, 1]]).astype(np.float64) / 2

    def smooth(self, values: np.ndarray, steps: int) -> np.ndarray:
        """Smooth values (V, C) of the vertices."""
        smoothed = torch.from_numpy(values)
        for _ in range(steps):
            smoothed = self.smoothing @ smoothed
        return smoothed.numpy()

    def normals(self, points: np.ndarray) -> np.ndarray:
        """Unit normals (V, 3), the mean of the adjoining faces weighted by their area."""
        first, second, third = (points[self.faces[:, corner]] for corner in range(3))
        across, up = second - first, third - first
        areas = np.stack(
            [
                across[:, 1] * up[:, 2] - across[:, 2] * up[:, 1],
                across[:, 2] * up[:, 0] - across[:, 0] * up[:, 2],
                across[:, 0] * up[:, 1] - across[:, 1] * up[:, 0],
            ],
            axis=1,
        )
        return normalize((self.corner_sum @ torch.from_numpy(areas)).numpy())

    def under(self, on_dummy: np.ndarray) -> np.ndarray:
        """Carry values (V,) of the dummy to the skin under it: (S,)."""
        (first, second, third), shares = self.skin_sources.T, self.skin_shares.T
        return on_dummy[first] * shares[0] + on_dummy[second] * shares[1] + on_dummy[third] * shares[2]


def _sparse(rows: np.ndarray, columns: np.ndarray, values: np.ndarray, shape: tuple[int, int]) -> torch.Tensor:
    index = torch.from_numpy(np.stack([rows, columns]))
    with warnings.catch_warnings():
        # PyTorch announces on first use that this layout is young.
        warnings.simplefilter("ignore", UserWarning)
        return torch.sparse_coo_tensor(index, torch.from_numpy(values), shape).coalesce().to_sparse_csr()


def split_faces(faces: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split each chosen face into four, and its neighbours so that no vertex lies on an edge.

    Args:
        faces (`np.ndarray`): (F, 3) int.
        chosen (`np.ndarray`): (F,) bool.

    Returns:
        `tuple`: the new faces (G, 3), in which the number V + k stands for the middle of edge k; and those edges
        (E, 2) int, V is the largest number in `faces` plus 1.
    """
    num_vertices = int(faces.max()) + 1
    corners = np.stack([faces, faces[:, [1, 2, 0]]], axis=2).reshape(-1, 2)
    low, high = corners.min(axis=1), corners.max(axis=1)
    _, edge = np.unique(low * num_vertices + high, return_inverse=True)
    edge = edge.reshape(-1, 3)
    is_split = np.zeros(edge.max() + 1, dtype=bool)
    is_split[edge[chosen]] = True
    ends = np.zeros((len(is_split), 2), dtype=int)
    ends[edge.reshape(-1)] = np.stack([low, high], axis=1)
    middle = np.cumsum(is_split) - 1 + num_vertices

    new_faces = []
    for face, face_edges in zip(faces, edge):
        turn = {0: 0, 1: np.argmax(is_split[face_edges]), 2: np.argmin(is_split[face_edges]) + 1, 3: 0}[
            int(is_split[face_edges].sum())
        ]
        a, b, c = np.roll(face, -turn)
        ab, bc, ca = np.roll(middle[face_edges], -turn)
        new_faces += {
            0: [(a, b, c)],
            1: [(a, ab, c), (ab, b, c)],
            2: [(a, ab, c), (ab, bc, c), (ab, b, bc)],
            3: [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)],
        }[int(is_split[face_edges].sum())]
    return np.array(new_faces), ends[is_split]


def _nearest_three(points: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each of `points` (S, 3) the nearest three `targets` (V, 3): indices and inverse-distance shares (S, 3)."""
    near, index = [], []
    for part in np.array_split(points, 40):
        # By plain sums: a matrix product may differ in the last bits with the number of threads.
        distance = torch.cdist(
            torch.from_numpy(part), torch.from_numpy(targets), compute_mode="donot_use_mm_for_euclid_dist"
        )
        values, numbers = distance.topk(3, largest=False)
        near.append(values.numpy())
        index.append(numbers.numpy())
    share = 1 / (np.concatenate(near) + 1e-3)
    return np.concatenate(index), share / share.sum(axis=1, keepdims=True)


@lru_cache(maxsize=1)
def load_shell() -> Shell:
    """Build the dummy."""
    asset = load_body_asset()
    members, coarse_faces = asset.groups["tights"]
    mean = asset.shapes.mean(axis=0).astype(np.float64)
    mean_joints = asset.joints.mean(axis=0)
    hip, neck, shoulder = (mean_joints[asset.joint(name)] for name in ("upperleg01.L", "neck01", "upperarm01.L"))
    centre = mean[members][coarse_faces].mean(axis=1)
    upper = (centre[:, 2] - hip[2]) / (neck[2] - hip[2]) > _REFINED_ABOVE
    faces, edges = split_faces(coarse_faces, upper & (np.abs(centre[:, 0]) < shoulder[0] + _REFINED_REACH))
    sources = np.concatenate([np.stack([members, members], axis=1), members[edges]])

    neighbours = vertex_neighbours(faces)
    count = np.bincount(neighbours[:, 0])
    own = np.arange(len(sources))
    smoothing = _sparse(
        np.concatenate([own, neighbours[:, 0]]),
        np.concatenate([own, neighbours[:, 1]]),
        np.concatenate([np.full(len(own), 0.5), 0.5 / count[neighbours[:, 0]]]),
        (len(own), len(own)),
    )
    corner_sum = _sparse(
        faces.T.reshape(-1), np.tile(np.arange(len(faces)), 3), np.ones(3 * len(faces)), (len(own), len(faces))
    )

    def softened(values: np.ndarray, steps: int) -> np.ndarray:
        soft = torch.from_numpy(values.astype(np.float64))
        for _ in range(steps):
            soft = smoothing @ soft
        return soft.numpy()

    arm, leg = (
        softened(limb_weight(*joints)[sources].mean(axis=1, keepdims=True), _LIMB_SOFTENING)[:, 0]
        for joints in (ARM_JOINTS, LEG_JOINTS)
    )
    mean_points = mean[sources].mean(axis=1)
    between = np.abs(arm - 0.5) < 0.25
    armpits = [
        np.argmin(np.where(between & (sign * mean_points[:, 0] > 0), mean_points[:, 2], np.inf)) for sign in (1, -1)
    ]
    body = asset.groups["body"][0]
    covered = (
        (limb_weight("head", "neck03", "eye")[body] < 0.3)
        & (limb_weight("wrist", "finger", "metacarpal")[body] < 0.5)
        & (limb_weight("foot", "toe")[body] < 0.5)
    )
    skin_sources, skin_shares = _nearest_three(mean[body[covered]], mean_points)
    return Shell(
        sources=sources,
        faces=faces,
        skin_weights=softened(asset.skin_weights[sources].mean(axis=1), _WEIGHT_SOFTENING).astype(np.float32),
        arm=arm,
        leg=leg,
        armpits=np.array(armpits),
        neck_ring=np.nonzero(mean_points[:, 2] > mean_points[:, 2].max() - 0.03)[0],
        trunk=np.nonzero((arm < 0.3) & (limb_weight("foot", "toe")[sources].mean(axis=1) < 0.5))[0],
        smoothing=smoothing,
        corner_sum=corner_sum,
        skin=body[covered],
        skin_sources=skin_sources,
        skin_shares=skin_shares,
    )
