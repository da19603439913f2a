# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Cutting meshes along lines whose answer is known."""

import numpy as np

from diffusers_tryon.rendering.cutting import cut_mesh
from diffusers_tryon.rendering.mesh import vertex_normals


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


def test_new_vertices_lie_on_a_curved_line_when_the_level_is_known():
    vertices, faces = grid(4, 4)

    def circle(points: np.ndarray) -> np.ndarray:
        return np.linalg.norm(points - (0.5, 0.5, 0), axis=1) - 0.4

    _, (exact,) = cut_mesh(faces, circle(vertices), [vertices], lambda between: circle(between(vertices)))
    _, (chords,) = cut_mesh(faces, circle(vertices), [vertices])
    # What is not a vertex of the grid is new.
    new = [points[np.abs(points * 3 - np.round(points * 3)).max(axis=1) > 1e-6] for points in (exact, chords)]
    assert len(new[0]) == len(new[1]) > 8
    assert np.abs(circle(new[0])).max() < 1e-3 < 0.01 < np.abs(circle(new[1])).max()


def test_a_line_through_vertices_is_found():
    """Where the level of a vertex is exactly 0 the search begins at its end, from either side."""
    vertices, faces = grid(5, 5)
    for sign in (-1, 1):
        level = sign * (vertices[:, 0] - 0.5)
        cut_faces, (points,) = cut_mesh(faces, level, [vertices], lambda between: between(level) ** 3)
        assert np.isfinite(points).all() and np.isclose(area(points, cut_faces), 0.5)
