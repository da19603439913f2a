# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The posed surfaces of a person without the clothes: skin, eyes, long hair."""

import numpy as np

from ..composition import PARSE_IDS
from .body import load_body_asset, skin
from .identity import Identity, body_colours, body_labels, eye_centre, eye_colours, hair_mask, shoe_mask
from .mesh import vertex_normals
from .surfaces import Surface


_SHOE_THICKNESS = 0.006
_SKIN_GLOSS = 0.05


def _skin_surface(identity: Identity, posed: np.ndarray, hidden: np.ndarray) -> Surface:
    """The body without the faces that clothes hide, with volume added for shoes and short hair."""
    members, faces = load_body_asset().groups["body"]
    vertices = posed[members].copy()
    normals = vertex_normals(vertices, faces)
    hidden = hidden[members]
    covered = hidden[faces[:, 0]] & hidden[faces[:, 1]] & hidden[faces[:, 2]]
    hair = hair_mask(identity.shape)[members]
    above_eyes = (identity.shape.vertices[members] - eye_centre(identity.shape))[:, 2]
    thickness = np.where(hair, identity.hair_thickness + 0.014 * np.clip(above_eyes / 0.12, 0, 1), 0)
    thickness[shoe_mask()[members]] = _SHOE_THICKNESS
    vertices += normals * thickness[:, None].astype(np.float32)
    return Surface(
        vertices=vertices,
        normals=normals,
        faces=faces[~covered],
        labels=body_labels(identity.shape)[members],
        colours=body_colours(identity)[members],
        closed=True,
        gloss=_SKIN_GLOSS,
    )


def _eye_surface(identity: Identity, posed: np.ndarray, group: str) -> Surface:
    members, faces = load_body_asset().groups[group]
    vertices = posed[members]
    return Surface(
        vertices=vertices,
        normals=vertex_normals(vertices, faces),
        faces=faces,
        labels=np.full(len(members), PARSE_IDS["face"], dtype=np.uint8),
        colours=eye_colours(identity, identity.shape.vertices[members]),
        closed=True,
        gloss=_SKIN_GLOSS,
    )


def _long_hair_surface(identity: Identity, transforms: np.ndarray) -> Surface:
    """A curtain around the back of the head that hangs down and follows head and neck."""
    asset = load_body_asset()
    columns, rows = 33, 14
    angle, down = np.meshgrid(np.linspace(-2.1, 2.1, columns) + np.pi / 2, np.linspace(0, 1, rows), indexing="ij")
    centre = eye_centre(identity.shape) + (0, 0.085, 0.035)
    radius = 0.083 + 0.022 * np.sin(3 * down) + 0.02 * down + 0.004 * np.sin(9 * angle)
    rest = np.stack(
        [
            centre[0] + radius * np.cos(angle),
            centre[1] + 1.12 * radius * np.sin(angle) - 0.01 * down,
            centre[2] + 0.03 - identity.hair_length * down,
        ],
        axis=-1,
    ).reshape(-1, 3)
    corner = (np.arange(columns - 1)[:, None] * rows + np.arange(rows - 1)).reshape(-1)
    faces = np.concatenate(
        [
            np.stack([corner, corner + 1, corner + rows + 1], axis=1),
            np.stack([corner, corner + rows + 1, corner + rows], axis=1),
        ]
    )
    with_neck = 0.5 * np.clip(1.3 * down.reshape(-1) - 0.2, 0, 1)
    weights = np.zeros((len(rest), len(asset.joint_names)), np.float32)
    weights[:, asset.joint("head")], weights[:, asset.joint("neck01")] = 1 - with_neck, with_neck
    vertices = skin(rest, weights, transforms)
    # Strands: every column has its own brightness.
    brightness = 1 + 0.15 * np.sin(np.arange(columns) * 2.4)
    colours = np.repeat(brightness[:, None] * identity.hair, rows, axis=0)
    return Surface(
        vertices=vertices,
        normals=vertex_normals(vertices, faces),
        faces=faces,
        labels=np.full(len(vertices), PARSE_IDS["hair"], dtype=np.uint8),
        colours=np.clip(colours, 0, 1).astype(np.float32),
        gloss=_SKIN_GLOSS,
    )


def body_surfaces(identity: Identity, posed: np.ndarray, transforms: np.ndarray, hidden: np.ndarray) -> list[Surface]:
    """Everything of a person but the clothes.

    Args:
        identity (`Identity`): the person.
        posed (`np.ndarray`): (V, 3) posed vertices of the body asset.
        transforms (`np.ndarray`): (J, 3, 4) joint transforms that posed them.
        hidden (`np.ndarray`): (V,) bool, vertices that clothes cover; faces between hidden vertices are left out.
    """
    surfaces = [_skin_surface(identity, posed, hidden)]
    surfaces += [_eye_surface(identity, posed, group) for group in ("left_eye", "right_eye")]
    if identity.hair_length:
        surfaces.append(_long_hair_surface(identity, transforms))
    return surfaces
