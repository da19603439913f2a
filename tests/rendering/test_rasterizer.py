# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The rasteriser against a loop over every pixel and every triangle."""

import numpy as np
import pytest
import torch

from diffusers_tryon.rendering.rasterizer import rasterize


def brute_force(vertices: np.ndarray, faces: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """For every pixel: solve for the barycentric coordinates in each triangle and keep the nearest one."""
    index, weights = np.full((height, width), -1), np.zeros((height, width, 3))
    for row in range(height):
        for column in range(width):
            nearest = np.inf
            for number, face in enumerate(faces):
                corners = vertices[face].astype(np.float64)
                system = np.stack([corners[:, 0], corners[:, 1], np.ones(3)])
                if abs(np.linalg.det(system)) < 1e-8:
                    continue
                barycentric = np.linalg.solve(system, (column + 0.5, row + 0.5, 1.0))
                depth = barycentric @ corners[:, 2]
                if (barycentric >= 0).all() and depth < nearest:
                    nearest, index[row, column], weights[row, column] = depth, number, barycentric
    return index, weights


@pytest.mark.parametrize("spread", [4.0, 40.0])
def test_agrees_with_brute_force_on_random_triangles(spread):
    rng = np.random.default_rng(int(spread))
    height, width, count = 13, 17, 25
    centres = rng.uniform((-5, -5), (width + 5, height + 5), (count, 1, 2))
    plane = centres + rng.normal(0, spread, (count, 3, 2))
    depth = rng.uniform(1, 9, (count, 3, 1))
    vertices = np.concatenate([plane, depth], axis=2).reshape(-1, 3).astype(np.float32)
    faces = np.arange(3 * count).reshape(-1, 3)
    expected_index, expected_weights = brute_force(vertices, faces, height, width)

    index, weights = rasterize(torch.from_numpy(vertices), torch.from_numpy(faces), height, width)
    assert index.dtype == torch.int64 and index.shape == (height, width)
    assert weights.dtype == torch.float32 and weights.shape == (height, width, 3)
    assert np.array_equal(index.numpy(), expected_index)
    assert np.abs(weights.numpy() - expected_weights).max() < 1e-5
    assert (expected_index >= 0).any() and (expected_index < 0).any() or spread == 40.0


def test_the_nearer_triangle_wins_whatever_the_order():
    vertices = torch.tensor([[0, 0, z] for z in (1.0, 2.0)] + [[8, 0, z] for z in (1.0, 2.0)] + [[0, 8, 1], [0, 8, 2]])
    near, far = [0, 2, 4], [1, 3, 5]
    for order, expected in (([near, far], 0), ([far, near], 1)):
        index, _ = rasterize(vertices.float(), torch.tensor(order), 8, 8)
        assert set(index.unique().tolist()) == {-1, expected}


def test_both_orientations_are_drawn_and_triangles_without_area_are_not():
    vertices = torch.tensor([[0.0, 0, 1], [6, 0, 1], [0, 6, 1], [3, 3, 1]])
    one_way, _ = rasterize(vertices, torch.tensor([[0, 1, 2]]), 6, 6)
    other_way, _ = rasterize(vertices, torch.tensor([[0, 2, 1]]), 6, 6)
    assert torch.equal(one_way, other_way) and (one_way == 0).sum() > 10
    flat, _ = rasterize(vertices, torch.tensor([[1, 2, 3], [0, 0, 1]]), 6, 6)
    assert (flat == -1).all()


def test_two_triangles_of_a_square_leave_no_gap_and_do_not_overlap():
    vertices = torch.tensor([[0.0, 0, 1], [9, 0, 1], [9, 7, 1], [0, 7, 1]])
    index, weights = rasterize(vertices, torch.tensor([[0, 1, 2], [0, 2, 3]]), 7, 9)
    assert (index >= 0).all()
    assert torch.allclose(weights.sum(-1), torch.ones(7, 9), atol=1e-6)


def test_nothing_to_draw():
    index, weights = rasterize(torch.zeros(3, 3), torch.zeros(0, 3, dtype=torch.long), 2, 3)
    assert (index == -1).all() and (weights == 0).all()


def test_too_many_faces_are_refused():
    faces = torch.zeros(1, 3, dtype=torch.long).expand(2**22, 3)
    with pytest.raises(ValueError, match="`faces` must hold fewer than 4194304 triangles, got 4194304"):
        rasterize(torch.zeros(3, 3), faces, 2, 2)
