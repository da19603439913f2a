# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Operations on triangle meshes: normals, smoothing, cutting along a level line."""

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


def smooth(values: np.ndarray, neighbours: np.ndarray, iterations: int, strength: float = 0.5) -> np.ndarray:
    """Laplacian smoothing of the values (V, C) of a mesh's vertices: each moves `strength` of the way to the mean of
    its neighbours, `iterations` times."""
    count = np.maximum(np.bincount(neighbours[:, 0], minlength=len(values)), 1)[:, None]
    for _ in range(iterations):
        mean = sum_by_index(neighbours[:, 0], values[neighbours[:, 1]], len(values)) / count
        values = values + strength * (mean - values)
    return values


def extract_submesh(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The vertices (indices) that `faces` use and the faces numbered by position in that list."""
    used, renumbered = np.unique(faces, return_inverse=True)
    return used, renumbered.reshape(-1, 3)


def cut_mesh(
    faces: np.ndarray, level: np.ndarray, attributes: list[np.ndarray]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Keep the part of a mesh where `level` <= 0, cutting triangles that cross the line.

    Args:
        faces (`np.ndarray`): (F, 3) int.
        level (`np.ndarray`): (V,) float, one value per vertex.
        attributes (`list[np.ndarray]`): arrays (V, C), interpolated on the line.

    Returns:
        `tuple`: the new faces and the new attributes. Triangles that share an edge share its new vertex.
    """
    inside = level <= 0
    inside_corners = inside[faces].sum(axis=1)
    kept = [faces[inside_corners == 3]]

    edges, builders = [], []
    for corners_inside in (1, 2):
        # Turn each triangle so that the corner which is alone on its side comes first.
        crossing = faces[inside_corners == corners_inside]
        alone = np.argmax(inside[crossing] == (corners_inside == 1), axis=1)
        turned = np.take_along_axis(crossing, (alone[:, None] + np.arange(3)) % 3, axis=1)
        edges += [turned[:, [0, 1]], turned[:, [0, 2]]]
        builders.append(turned)
    cut_edges, edge_number = np.unique(np.sort(np.concatenate(edges), axis=1), axis=0, return_inverse=True)
    edge_number = edge_number.reshape(-1) + len(level)

    one, two = len(builders[0]), len(builders[1])
    first_one, second_one, first_two, second_two = np.split(edge_number, np.cumsum([one, one, two]))
    kept.append(np.stack([builders[0][:, 0], first_one, second_one], axis=1))
    kept.append(np.stack([first_two, builders[1][:, 1], builders[1][:, 2]], axis=1))
    kept.append(np.stack([first_two, builders[1][:, 2], second_two], axis=1))

    start, stop = level[cut_edges[:, 0]], level[cut_edges[:, 1]]
    fraction = (start / (start - stop))[:, None]
    used, new_faces = extract_submesh(np.concatenate(kept))
    cut_attributes = []
    for values in attributes:
        on_line = values[cut_edges[:, 0]] * (1 - fraction) + values[cut_edges[:, 1]] * fraction
        cut_attributes.append(np.concatenate([values, on_line])[used].astype(values.dtype))
    return new_faces, cut_attributes
