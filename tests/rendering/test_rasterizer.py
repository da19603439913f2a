# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The rasteriser against a loop over every pixel and every triangle."""

import numpy as np
import pytest
import torch

from diffusers_tryon.rendering.rasterizer import Fragments, rasterize, rasterize_depth


def brute_force(vertices: np.ndarray, faces: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """For every pixel: solve for the barycentric coordinates in each triangle and keep the nearest one. Face numbers
    (height, width), -1 for none, and barycentric coordinates and depth (height, width, 4)."""
    index, weights = np.full((height, width), -1), np.zeros((height, width, 4))
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
                    nearest, index[row, column] = depth, number
                    weights[row, column] = *barycentric, depth
    return index, weights


def draw(vertices, faces, height: int, width: int, one_sided: bool = False) -> Fragments:
    """Rasterise one picture."""
    faces = torch.as_tensor(np.asarray(faces)).reshape(-1, 3)
    picture = torch.zeros(len(faces), dtype=torch.long)
    sides = torch.full((len(faces),), one_sided)
    return rasterize(torch.as_tensor(vertices, dtype=torch.float32), faces, sides, picture, (1, height, width))


def face_map(fragments: Fragments, height: int, width: int) -> np.ndarray:
    """The face in every pixel, -1 for none."""
    faces = np.full(height * width, -1)
    faces[fragments.pixel.numpy()] = fragments.face.numpy()
    return faces.reshape(height, width)


def random_triangles(seed: int, spread: float, height: int, width: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    centres = rng.uniform((-5, -5), (width + 5, height + 5), (count, 1, 2))
    plane = centres + rng.normal(0, spread, (count, 3, 2))
    depth = rng.uniform(1, 9, (count, 3, 1))
    vertices = np.concatenate([plane, depth], axis=2).reshape(-1, 3).astype(np.float32)
    return vertices, np.arange(3 * count).reshape(-1, 3)


@pytest.mark.parametrize("spread", [0.7, 4.0, 40.0])
def test_agrees_with_brute_force_on_random_triangles(spread):
    height, width = 13, 17
    vertices, faces = random_triangles(int(spread), spread, height, width, count=25)
    expected_index, expected_weights = brute_force(vertices, faces, height, width)

    fragments = draw(vertices, faces, height, width)
    assert fragments.face.dtype == torch.int64 and fragments.barycentric.dtype == torch.float32
    assert fragments.depth.dtype == torch.float32
    assert np.array_equal(face_map(fragments, height, width), expected_index)
    hit = expected_index >= 0
    assert np.array_equal(fragments.pixel.numpy(), np.nonzero(hit.ravel())[0])
    assert np.abs(fragments.barycentric.numpy() - expected_weights[hit][:, :3]).max() < 1e-5
    assert np.abs(fragments.depth.numpy() - expected_weights[hit][:, 3]).max() < 1e-5
    assert hit.any() and (not hit.all() or spread == 40.0)

    depth = rasterize_depth(
        torch.from_numpy(vertices),
        torch.from_numpy(faces),
        torch.zeros(len(faces), dtype=torch.bool),
        torch.zeros(len(faces), dtype=torch.long),
        (1, height, width),
    )
    assert depth.shape == (1, height, width) and torch.isinf(depth[0][torch.from_numpy(~hit)]).all()
    assert torch.equal(depth[0][torch.from_numpy(hit)], fragments.depth)


def test_the_nearer_triangle_wins_whatever_the_order():
    vertices = [[0, 0, 1], [0, 0, 2], [8, 0, 1], [8, 0, 2], [0, 8, 1], [0, 8, 2]]
    near, far = [0, 2, 4], [1, 3, 5]
    for order, expected in (([near, far], 0), ([far, near], 1)):
        assert set(draw(vertices, order, 8, 8).face.tolist()) == {expected}


def test_of_triangles_at_the_same_depth_the_first_is_seen():
    vertices = [[0, 0, 1], [8, 0, 1], [0, 8, 1]]
    assert set(draw(vertices, [[0, 1, 2], [1, 2, 0], [2, 0, 1]], 8, 8).face.tolist()) == {0}


def test_both_orientations_are_drawn_unless_one_sided_and_triangles_without_area_are_not():
    vertices = [[0, 0, 1], [6, 0, 1], [0, 6, 1], [3, 3, 1]]
    # The picture's y points down.
    clockwise, counter_clockwise = [[0, 1, 2]], [[0, 2, 1]]
    one_way, other_way = draw(vertices, clockwise, 6, 6), draw(vertices, counter_clockwise, 6, 6)
    assert torch.equal(one_way.pixel, other_way.pixel) and len(one_way.pixel) > 10
    assert len(draw(vertices, clockwise, 6, 6, one_sided=True).pixel) == 0
    assert torch.equal(draw(vertices, counter_clockwise, 6, 6, one_sided=True).pixel, one_way.pixel)
    assert len(draw(vertices, [[1, 2, 3], [0, 0, 1]], 6, 6).pixel) == 0


@pytest.mark.parametrize("seed", range(4))
def test_triangles_that_share_edges_cover_every_pixel_exactly_once(seed):
    """A sheet of triangles, many of them smaller than a pixel. Seeds 0 and 1 put corners and edges on the very centres
    of pixels, where a rasteriser has to decide for one of the neighbours."""
    rng = np.random.default_rng(seed)
    columns, rows, size = 9, 11, 12
    x, y = np.meshgrid(np.linspace(-2, size + 2, columns), np.linspace(-2, size + 2, rows))
    x[:, 1:-1] += rng.uniform(-0.7, 0.7, (rows, columns - 2))
    y[1:-1] += rng.uniform(-0.6, 0.6, (rows - 2, columns))
    if seed < 2:
        x, y = np.round(2 * x) / 2, np.round(2 * y) / 2
    vertices = np.stack([x.ravel(), y.ravel(), np.ones(x.size)], axis=1)
    corner = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    lower = np.stack([corner, corner + 1, corner + columns + 1], axis=1)
    upper = np.stack([corner, corner + columns + 1, corner + columns], axis=1)
    hits = np.zeros(size * size, int)
    for face in np.concatenate([lower, upper]):
        hits[draw(vertices, [face], size, size).pixel.numpy()] += 1
    assert (hits == 1).all()


def test_a_batch_equals_single_pictures_bit_for_bit():
    shapes = [random_triangles(seed, spread, 24, 16, count=40) for seed, spread in ((5, 1.0), (6, 6.0), (7, 3.0))]
    first = np.cumsum([0] + [len(vertices) for vertices, _ in shapes])
    faces = np.concatenate([faces + start for (_, faces), start in zip(shapes, first)])
    # Pictures are told by number, not by order: mix the faces.
    order = np.random.default_rng(0).permutation(len(faces))
    picture = np.repeat(np.arange(3), 40)[order]
    batch = rasterize(
        torch.from_numpy(np.concatenate([vertices for vertices, _ in shapes])),
        torch.from_numpy(faces[order]),
        torch.zeros(len(faces), dtype=torch.bool),
        torch.from_numpy(picture),
        (3, 24, 16),
    )
    for number, (vertices, single_faces) in enumerate(shapes):
        single = draw(vertices, single_faces, 24, 16)
        own = batch.pixel // (24 * 16) == number
        assert torch.equal(batch.pixel[own] % (24 * 16), single.pixel)
        assert np.array_equal(order[batch.face[own].numpy()] - 40 * number, single.face.numpy())
        assert torch.equal(batch.barycentric[own], single.barycentric)
        assert torch.equal(batch.depth[own], single.depth)


def test_nothing_to_draw():
    fragments = draw(np.zeros((3, 3)), np.zeros((0, 3), int), 2, 3)
    assert all(len(values) == 0 for values in fragments)
