# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What is behind a person, from plain to cluttered."""

from dataclasses import dataclass

import numpy as np

from .prints import smooth_noise


@dataclass(frozen=True)
class Background:
    """A vertical gradient between two colours (2, 3), maybe a floor below a horizon, maybe soft blotches."""

    gradient: np.ndarray
    horizon: float | None = None
    floor: np.ndarray | None = None
    blotches: np.ndarray | None = None
    blotch_cells: float = 4.0

    def paint(self, size: int) -> np.ndarray:
        """The background alone: (size, size, 3) in [0, 1]."""
        down = (np.arange(size) + 0.5) / size
        picture = self.gradient[0] * (1 - down[:, None]) + self.gradient[1] * down[:, None]
        if self.floor is not None:
            picture = np.where((down < self.horizon)[:, None], picture, self.floor)
        picture = np.repeat(picture[:, None], size, axis=1)
        if self.blotches is not None:
            x, y = np.meshgrid(down * self.blotch_cells, down * self.blotch_cells)
            picture = picture + 0.05 * smooth_noise(self.blotches, x, y)[..., None]
        return np.clip(picture, 0, 1)


def draw_background(rng: np.random.Generator) -> Background:
    """Draw a plain, a floored or a blotchy background."""
    gradient = rng.uniform(0.35, 0.95, (2, 3))
    kind = rng.integers(3)
    if kind == 1:
        return Background(gradient, horizon=rng.uniform(0.72, 0.85), floor=rng.uniform(0.3, 0.8, 3))
    if kind == 2:
        return Background(gradient, blotches=rng.standard_normal((16, 16)), blotch_cells=rng.uniform(3, 12))
    return Background(gradient)
