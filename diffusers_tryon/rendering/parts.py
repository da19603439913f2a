# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Parts of a person that are not the body's own mesh (hair, hats, glasses, shoes): made once at rest, posed often."""

from dataclasses import dataclass

import numpy as np

from ..composition import PARSE_IDS
from .body import load_body_asset, skin
from .mesh import vertex_normals
from .surfaces import Surface


@dataclass(frozen=True)
class Part:
    """A mesh in the rest pose with its look.

    Attributes:
        points: (N, 3) metres.
        joints: names of the K joints that it follows.
        weights: (N, K) float32, rows sum to 1.
        faces: (F, 3) int.
        colours: (N, 3) in [0, 1].
        label: a name in `PARSE_LABELS`.
        priority, gloss: see `Surface`.
    """

    points: np.ndarray
    joints: tuple[str, ...]
    weights: np.ndarray
    faces: np.ndarray
    colours: np.ndarray
    label: str
    priority: float = 0.0
    gloss: float = 0.0


def pose_part(part: Part, transforms: np.ndarray) -> Surface:
    """The part on a body whose joints moved by `transforms` (J, 3, 4)."""
    asset = load_body_asset()
    vertices = skin(part.points, part.weights, transforms[[asset.joint(name) for name in part.joints]])
    return Surface(
        vertices=vertices,
        normals=vertex_normals(vertices, part.faces),
        faces=part.faces,
        labels=np.full(len(vertices), PARSE_IDS[part.label], dtype=np.uint8),
        colours=part.colours,
        priority=part.priority,
        gloss=part.gloss,
    )


def grid_faces(columns: int, rows: int, closed: bool) -> np.ndarray:
    """Faces of a grid of columns x rows vertices; seen from outside when columns run to the left and rows down."""
    column, row = np.meshgrid(np.arange(columns if closed else columns - 1), np.arange(rows - 1), indexing="ij")
    first, second = (column * rows + row).reshape(-1), ((column + 1) % columns * rows + row).reshape(-1)
    upper = np.stack([first, first + 1, second + 1], axis=1)
    lower = np.stack([first, second + 1, second], axis=1)
    return np.concatenate([upper, lower])
