# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Normals, smoothing and cutting on meshes whose answer is known."""

import numpy as np

from diffusers_tryon.rendering.mesh import cut_mesh, smooth, vertex_neighbours, vertex_normals


def grid(columns: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """The unit square in the plane z = 0 as triangles that face +z."""
    x, y = np.meshgrid(np.linspace(0, 1, columns), np.linspace(0, 1, rows))
    vertices = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=1)
    corner = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    lower = np.stack([corner, corner + 1, corner + columns + 1], axis=1)
    upper = np.stack([corner, corner + columns + 1, corner + columns], axis=1)
    return vertices, np.concatenate([lower, upper])


def area(vertices: np.ndarray, faces: np.ndarray) -> float:
    first, second, third = (vertices[faces[:, corner]] for corner in range(3))
    return np.linalg.norm(np.cross(second - first, third - first), axis=1).sum() / 2


def test_normals_of_a_plane_and_of_an_octahedron():
    assert np.allclose(vertex_normals(*grid(4, 3)), (0, 0, 1))
    corners = np.concatenate([np.eye(3), -np.eye(3)])
    faces = [[0, 1, 2], [1, 3, 2], [3, 4, 2], [4, 0, 2], [1, 0, 5], [3, 1, 5], [4, 3, 5], [0, 4, 5]]
    assert np.allclose(vertex_normals(corners, np.array(faces)), corners)


def test_cutting_keeps_exactly_the_area_on_one_side():
    vertices, faces = grid(6, 5)
    for level, expected in (
        (vertices[:, 0] - 0.33, 0.33),
        (0.33 - vertices[:, 0], 0.67),
        (vertices.sum(axis=1) - 0.97, 0.97**2 / 2),
        (vertices[:, 0] - 2, 1.0),
    ):
        cut_faces, (points,) = cut_mesh(faces, level, [vertices])
        assert np.isclose(area(points, cut_faces), expected)
        # The orientation stays, every vertex is used, and neighbours share the vertices on the line.
        assert np.allclose(vertex_normals(points, cut_faces), (0, 0, 1))
        assert set(cut_faces.ravel()) == set(range(len(points)))
        assert len(np.unique(points.round(9), axis=0)) == len(points)


def test_cutting_away_everything_leaves_an_empty_mesh():
    vertices, faces = grid(3, 3)
    cut_faces, (points,) = cut_mesh(faces, np.ones(len(vertices)), [vertices])
    assert cut_faces.shape == (0, 3) and points.shape == (0, 3)


def test_attributes_are_interpolated_on_the_line_and_keep_their_type():
    vertices, faces = grid(3, 3)
    attribute = (2 * vertices[:, :1] + 3).astype(np.float32)
    _, (points, values) = cut_mesh(faces, vertices[:, 0] - 0.2, [vertices, attribute])
    assert values.dtype == np.float32
    assert np.allclose(values[:, 0], 2 * points[:, 0] + 3)
    assert np.isclose(points[:, 0].max(), 0.2)


def test_smoothing_moves_a_vertex_towards_the_mean_of_its_neighbours():
    faces = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 1]])
    values = np.array([[8.0], [0.0], [3.0], [0.0]])
    smoothed = smooth(values, vertex_neighbours(faces), iterations=1, strength=0.5)
    # Vertex 0 has neighbours 1, 2, 3 with mean 1; vertex 1 has 0, 2, 3 with mean 11 / 3.
    assert np.allclose(smoothed[:2, 0], [8 - 0.5 * 7, 0.5 * 11 / 3])
