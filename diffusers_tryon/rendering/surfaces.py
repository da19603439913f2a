# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The posed surfaces a picture is made of."""

from dataclasses import dataclass

import numpy as np

from .prints import Print


@dataclass(frozen=True)
class Surface:
    """A posed mesh with its look.

    Attributes:
        vertices, normals: (V, 3) float32, metres.
        faces: (F, 3) int.
        labels: (V,) label ids.
        colours: (V, 3) float32 in [0, 1]; None for cloth.
        cloth: the print, None for skin and hair.
        texture_coordinates: (F, 3, 2 or more) for cloth, the first two in metres, all handed to the print.
        edge_distance: (V,) metres from the edge of the cloth.
        closed: the surface encloses a volume, so faces turned away are never seen.
        priority: metres by which the surface comes nearer to the camera.
        gloss: strength of the key light's highlight, 0 is matt, 0.05 is skin.
    """

    vertices: np.ndarray
    normals: np.ndarray
    faces: np.ndarray
    labels: np.ndarray
    colours: np.ndarray | None = None
    cloth: Print | None = None
    texture_coordinates: np.ndarray | None = None
    edge_distance: np.ndarray | None = None
    closed: bool = False
    priority: float = 0.0
    gloss: float = 0.0
