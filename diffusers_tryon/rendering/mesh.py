# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Operations on triangle meshes: normals, neighbours, parts."""

import numpy as np


def normalize(vectors: np.ndarray) -> np.ndarray:
    """Scale the vectors in the last axis to length 1; zero vectors stay zero."""
    length = np.sqrt(np.einsum("...i,...i->...", vectors, vectors))
    return vectors / np.maximum(length, 1e-12)[..., None]


def sum_by_index(index: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    """Sum the rows of `values` (N, C) that share an `index` (N,): (size, C), always in the same order."""
    columns = [np.bincount(index, weights=values[:, column], minlength=size) for column in range(values.shape[1])]
    return np.stack(columns, axis=1)


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Unit normals (V, 3) of a mesh, the mean of the adjoining faces weighted by their area."""
    # One contiguous array per corner and coordinate: several times as fast as arrays of short rows.
    corners = np.ascontiguousarray(faces.T)
    (x0, x1, x2), (y0, y1, y2), (z0, z1, z2) = (
        [coordinate.take(corner) for corner in corners] for coordinate in np.ascontiguousarray(vertices.T)
    )
    ax, ay, az, bx, by, bz = x1 - x0, y1 - y0, z1 - z0, x2 - x0, y2 - y0, z2 - z0
    face_normals = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    sums = [
        sum(np.bincount(corner, weights=component, minlength=len(vertices)) for corner in corners)
        for component in face_normals
    ]
    return normalize(np.stack(sums, axis=1)).astype(vertices.dtype)


def vertex_neighbours(faces: np.ndarray) -> np.ndarray:
    """Pairs (E, 2) of vertices joined by an edge, each edge once in either direction."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    return np.unique(np.concatenate([edges, edges[:, ::-1]]), axis=0)


def extract_submesh(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The vertices (indices) that `faces` use and the faces numbered by position in that list."""
    used, renumbered = np.unique(faces, return_inverse=True)
    return used, renumbered.reshape(-1, 3)
