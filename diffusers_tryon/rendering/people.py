# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The posed surfaces of a person without the clothes: skin, face, hair and shoes."""

import numpy as np

from .body import load_body_asset
from .face import beard_thickness, face_surfaces
from .identity import Identity
from .mesh import vertex_normals
from .parts import pose_part
from .surfaces import Surface


_SKIN_GLOSS = 0.05


def _all_corners(mask: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Which faces (F,) have all three corners in `mask` (V,)."""
    return mask[faces[:, 0]] & mask[faces[:, 1]] & mask[faces[:, 2]]


def _skin_surface(identity: Identity, posed: np.ndarray, hidden: np.ndarray) -> Surface:
    """The body without the faces that clothes hide, with volume added for a beard."""
    members, _ = load_body_asset().groups["body"]
    faces = identity.skin_faces
    vertices = posed[members]
    # Normals come before the clothes take faces away: the skin beside a hem must not depend on what is worn.
    normals = vertex_normals(vertices, faces)
    faces = faces[~_all_corners(hidden[members], faces)]
    if identity.face.beard != "none":
        vertices = vertices + normals * beard_thickness(identity.face)[members, None].astype(np.float32)
    return Surface(
        vertices=vertices,
        normals=normals,
        faces=faces,
        labels=identity.labels[members],
        colours=identity.colours[members],
        closed=True,
        gloss=_SKIN_GLOSS,
    )


def body_surfaces(
    identity: Identity, posed: np.ndarray, transforms: np.ndarray, hidden: np.ndarray, looks_at: np.ndarray
) -> list[Surface]:
    """Everything of a person but the clothes.

    Args:
        identity (`Identity`): the person.
        posed (`np.ndarray`): (V, 3) posed vertices of the body asset.
        transforms (`np.ndarray`): (J, 3, 4) joint transforms that posed them.
        hidden (`np.ndarray`): (V,) bool, vertices that clothes cover; faces between hidden vertices are left out.
        looks_at (`np.ndarray`): (3,) where the eyes look, usually the camera.
    """
    shape = identity.shape
    surfaces = [_skin_surface(identity, posed, hidden)]
    surfaces += face_surfaces(identity.face, shape, identity.skin, identity.hair.colour, posed, transforms, looks_at)
    return surfaces + [pose_part(part, transforms) for part in identity.parts]
