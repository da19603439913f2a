# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Cutting a triangle mesh along the zero line of a level function."""

from collections.abc import Callable

import numpy as np


Interpolate = Callable[[np.ndarray], np.ndarray]

# Steps of the search for the line on each edge that it crosses.
_SEARCH_STEPS = 4


def _find_zero(
    level_at: Callable[[np.ndarray], np.ndarray], start_level: np.ndarray, stop_level: np.ndarray
) -> np.ndarray:
    """Where between 0 and 1 (N,) a function that changes its sign is 0: false position with Illinois' halving."""
    start, stop = np.zeros(len(start_level)), np.ones(len(start_level))
    for _ in range(_SEARCH_STEPS):
        middle = (start * stop_level - stop * start_level) / (stop_level - start_level)
        level = level_at(middle)
        on_stop_side = level * stop_level > 0
        start_level = np.where(on_stop_side, start_level / 2, level)
        start = np.where(on_stop_side, start, middle)
        stop_level = np.where(on_stop_side, level, stop_level)
        stop = np.where(on_stop_side, middle, stop)
        exact = level == 0
        start_level, stop_level = np.where(exact, -1e-12, start_level), np.where(exact, 1e-12, stop_level)
        start, stop = np.where(exact, middle, start), np.where(exact, middle, stop)
    return (start * stop_level - stop * start_level) / (stop_level - start_level)


def cut_mesh(
    faces: np.ndarray,
    level: np.ndarray,
    attributes: list[np.ndarray],
    level_at: Callable[[Interpolate], np.ndarray] | None = None,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Keep the part of a mesh where the level is at most 0, cutting triangles that cross the line.

    Args:
        faces (`np.ndarray`): (F, 3) int.
        level (`np.ndarray`): (V,) float, one value per vertex.
        attributes (`list[np.ndarray]`): arrays (V, ...), interpolated on the line.
        level_at (`Callable`, *optional*): the level (N,) at N places. It is given a function that interpolates values
            (V, ...) of the vertices at these places. With it the new vertices lie on the line itself and not on its
            chords, so a coarse mesh gets a smooth edge.

    Returns:
        `tuple`: the new faces and the new attributes. Triangles that share an edge share its new vertex.
    """
    inside = level <= 0
    inside_corners = inside[faces[:, 0]].astype(np.int8) + inside[faces[:, 1]] + inside[faces[:, 2]]
    kept = [faces[inside_corners == 3]]

    edges, builders = [], []
    for corners_inside in (1, 2):
        # Turn each triangle so that the corner which is alone on its side comes first.
        crossing = faces[inside_corners == corners_inside]
        alone = np.argmax(inside[crossing] == (corners_inside == 1), axis=1)
        turned = np.take_along_axis(crossing, (alone[:, None] + np.arange(3)) % 3, axis=1)
        edges += [turned[:, [0, 1]], turned[:, [0, 2]]]
        builders.append(turned)
    ends = np.concatenate(edges)
    keys, edge_number = np.unique(np.minimum(*ends.T) * len(level) + np.maximum(*ends.T), return_inverse=True)
    first, second = keys // len(level), keys % len(level)
    edge_number = edge_number + len(level)

    one, two = len(builders[0]), len(builders[1])
    first_one, second_one, first_two, second_two = np.split(edge_number, np.cumsum([one, one, two]))
    kept.append(np.stack([builders[0][:, 0], first_one, second_one], axis=1))
    kept.append(np.stack([first_two, builders[1][:, 1], builders[1][:, 2]], axis=1))
    kept.append(np.stack([first_two, builders[1][:, 2], second_two], axis=1))

    def between(values: np.ndarray, fraction: np.ndarray) -> np.ndarray:
        fraction = fraction.astype(values.dtype).reshape(-1, *(1,) * (values.ndim - 1))
        start = values[first]
        return start + (values[second] - start) * fraction

    fraction = level[first] / (level[first] - level[second])
    if level_at is not None and len(first):
        fraction = _find_zero(
            lambda middle: level_at(lambda values: between(values, middle)), level[first], level[second]
        )
    kept = np.concatenate(kept)
    is_used = np.zeros(len(level) + len(first), dtype=bool)
    is_used[kept.reshape(-1)] = True
    new_number = np.cumsum(is_used) - 1
    # Every new vertex is used.
    old = np.nonzero(is_used[: len(level)])[0]
    return new_number[kept], [np.concatenate([values[old], between(values, fraction)]) for values in attributes]
