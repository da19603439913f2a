# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Pictures on cloth, kept at several resolutions so that a sample that spans many of their pixels sees the mean."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Pyramid:
    """A picture and its halvings, one after the other.

    Attributes:
        texels: (N, C) float32.
        starts: (L,) int, where each level begins in `texels`.
        rows, columns: size of the first level, multiples of 2 ** (L - 1).
    """

    texels: np.ndarray
    starts: np.ndarray
    rows: int
    columns: int

    def at(self, row: np.ndarray, column: np.ndarray, width: np.ndarray) -> np.ndarray:
        """Values (N, C) at places in the picture, averaged over about a width.

        Args:
            row, column (`np.ndarray`): (N,) in pixels of the first level, 0.5 is the middle of the first one. The
                picture repeats.
            width (`np.ndarray`): (N,) in pixels of the first level. Below half a pixel, colours go over smoothly.
        """
        level = np.clip(np.log2(np.maximum(width, 1e-6)) + 0.5, 0, len(self.starts) - 1).astype(np.int32)
        in_row, in_column = (np.floor(values).astype(np.int32) for values in (row, column))
        in_row, in_column = (in_row % self.rows) >> level, (in_column % self.columns) >> level
        values = self.texels[self.starts[level] + in_row * (self.columns >> level) + in_column]
        close = np.nonzero(width < 0.5)[0]
        if len(close):
            values[close] = self._between_pixels(row[close] - 0.5, column[close] - 0.5)
        return values

    def _between_pixels(self, row: np.ndarray, column: np.ndarray) -> np.ndarray:
        """Values (N, C) of the first level, interpolated between the middles of pixels, at whole numbers."""
        first_row, first_column = np.floor(row).astype(np.int32), np.floor(column).astype(np.int32)
        down, right = (row - first_row)[:, None], (column - first_column)[:, None]

        def at(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
            return self.texels[(rows % self.rows) * self.columns + columns % self.columns]

        upper = at(first_row, first_column) * (1 - right) + at(first_row, first_column + 1) * right
        lower = at(first_row + 1, first_column) * (1 - right) + at(first_row + 1, first_column + 1) * right
        return upper * (1 - down) + lower * down


def make_pyramid(picture: np.ndarray, levels: int) -> Pyramid:
    """Halve a picture (rows, columns, C) `levels` - 1 times."""
    pictures = [picture.astype(np.float32)]
    for _ in range(levels - 1):
        last = pictures[-1]
        pictures.append((last[::2, ::2] + last[1::2, ::2] + last[::2, 1::2] + last[1::2, 1::2]) / 4)
    channels = picture.shape[2]
    starts = np.cumsum([0] + [level.shape[0] * level.shape[1] for level in pictures[:-1]])
    texels = np.concatenate([level.reshape(-1, channels) for level in pictures])
    return Pyramid(texels, starts, picture.shape[0], picture.shape[1])


def draw_noise(rng: np.random.Generator, size: int, cells: int) -> np.ndarray:
    """Smooth noise (size, size) of variance about 1 that repeats: `cells` blobs across, two finer octaves."""
    noise = np.zeros((size, size), np.float32)
    for octave in range(3):
        count = min(cells * 2**octave, size)
        grid = rng.standard_normal((count, count)).astype(np.float32) * 0.55**octave
        position = (np.arange(size) + 0.5) * (count / size)
        first = np.floor(position).astype(int)
        share = (position - first).astype(np.float32)
        share = share * share * (3 - 2 * share)
        rows = grid[first % count] * (1 - share[:, None]) + grid[(first + 1) % count] * share[:, None]
        noise += rows[:, first % count] * (1 - share) + rows[:, (first + 1) % count] * share
    return noise / noise.std()


def draw_landscape(rng: np.random.Generator, size: int, colours: np.ndarray) -> np.ndarray:
    """A picture (size, size, 3) that reads as a photograph of a landscape: sky, sun, ridges before each other."""
    across, down = np.meshgrid(np.linspace(0, 1, size, dtype=np.float32), np.linspace(0, 1, size, dtype=np.float32))
    sky = colours[0] + down[..., None] * (colours[1] - colours[0])
    sun = np.hypot(across - rng.uniform(0.2, 0.8), down - rng.uniform(0.1, 0.4)) < rng.uniform(0.06, 0.15)
    picture = np.where(sun[..., None], colours[2], sky)
    light = 1 + 0.08 * draw_noise(rng, size, 5)[..., None]
    for ridge in range(int(rng.integers(1, 4))):
        waves = sum(rng.uniform(0, 0.1) * np.sin(across[0] * rng.uniform(3, 25) + rng.uniform(0, 6)) for _ in range(3))
        behind = down > 0.4 + 0.18 * ridge + waves
        ground = colours[(ridge + 2) % len(colours)] * (0.9 - 0.25 * ridge)
        picture = np.where(behind[..., None], ground, picture)
    return np.clip(picture * light, 0, 1)


def smooth_noise(grid: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Noise at (u, v), in units of grid cells, by smooth interpolation in a square `grid` that repeats."""
    size = len(grid)
    column, row = np.floor(u).astype(int), np.floor(v).astype(int)
    right, down = u - column, v - row
    right, down = right * right * (3 - 2 * right), down * down * (3 - 2 * down)
    column, row = column % size, row % size
    next_column, next_row = (column + 1) % size, (row + 1) % size
    upper = grid[row, column] * (1 - right) + grid[row, next_column] * right
    lower = grid[next_row, column] * (1 - right) + grid[next_row, next_column] * right
    return upper * (1 - down) + lower * down
