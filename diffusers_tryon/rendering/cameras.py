# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The camera: where it stands, where it looks, how it projects."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Camera:
    """A perspective camera that looks at a point.

    Attributes:
        centre: (3,) the point it looks at, in the middle of the picture but for `shift`.
        extent: metres that the picture spans at that point, in height and width.
        distance: metres from the camera to that point; with `extent` it is the focal length.
        axes: (3, 3) unit vectors of the camera in its rows: to the right of the picture, into it, up in it.
        shift: (2,) how far the whole picture is moved to the right and down, in units of its size.
    """

    centre: np.ndarray
    extent: float
    distance: float = 4.0
    axes: np.ndarray = field(default_factory=lambda: np.eye(3))
    shift: tuple[float, float] = (0.0, 0.0)

    @property
    def position(self) -> np.ndarray:
        """Where the camera stands (3,)."""
        return self.centre - self.distance * self.axes[1]

    def project(self, points: np.ndarray) -> np.ndarray:
        """Points (N, 3) to (N, 3): x and y in [0, 1] of the picture (y downwards), and the depth in metres."""
        right, inwards, up = ((points - self.centre) @ self.axes.T).T
        depth = self.distance + inwards
        scale = self.distance / depth / self.extent
        return np.stack([0.5 + self.shift[0] + right * scale, 0.5 + self.shift[1] - up * scale, depth], axis=1)
