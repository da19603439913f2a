# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Normals on meshes whose answer is known."""

import numpy as np

from diffusers_tryon.rendering.mesh import vertex_neighbours, vertex_normals


def grid(columns: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """The unit square in the plane z = 0 as triangles that face +z."""
    x, y = np.meshgrid(np.linspace(0, 1, columns), np.linspace(0, 1, rows))
    vertices = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=1)
    corner = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    lower = np.stack([corner, corner + 1, corner + columns + 1], axis=1)
    upper = np.stack([corner, corner + columns + 1, corner + columns], axis=1)
    return vertices, np.concatenate([lower, upper])


def test_normals_of_a_plane_and_of_an_octahedron():
    assert np.allclose(vertex_normals(*grid(4, 3)), (0, 0, 1))
    corners = np.concatenate([np.eye(3), -np.eye(3)])
    faces = [[0, 1, 2], [1, 3, 2], [3, 4, 2], [4, 0, 2], [1, 0, 5], [3, 1, 5], [4, 3, 5], [0, 4, 5]]
    assert np.allclose(vertex_normals(corners, np.array(faces)), corners)


def test_neighbours_of_two_triangles():
    pairs = vertex_neighbours(np.array([[0, 1, 2], [2, 1, 3]]))
    assert pairs.tolist() == [[0, 1], [0, 2], [1, 0], [1, 2], [1, 3], [2, 0], [2, 1], [2, 3], [3, 1], [3, 2]]
