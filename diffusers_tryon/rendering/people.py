# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The posed surfaces of a person without the clothes: skin, face, hair, shoes, and what somebody sits on."""

import numpy as np

from ..composition import PARSE_IDS
from .body import limb_weight, load_body_asset
from .face import beard_thickness, face_surfaces
from .hair import hair_surfaces
from .identity import Identity, body_colours, body_labels
from .mesh import normalize, vertex_normals
from .shoes import hidden_in_shoes, shoe_surfaces
from .surfaces import Surface


_SKIN_GLOSS = 0.05
# Thighs that point downwards by less than this sit: the cosine of 50 degrees.
_SITTING_SLOPE = 0.64
_SEAT_WIDTH = 0.46


def _skin_surface(identity: Identity, posed: np.ndarray, hidden: np.ndarray) -> Surface:
    """The body without the faces that clothes and shoes hide, with volume added for a beard."""
    members, faces = load_body_asset().groups["body"]
    hidden = (hidden | hidden_in_shoes(identity.shoes, identity.shape))[members]
    covered = hidden[faces[:, 0]] & hidden[faces[:, 1]] & hidden[faces[:, 2]]
    faces = faces[~covered]
    vertices = posed[members]
    normals = vertex_normals(vertices, faces)
    if identity.face.beard != "none":
        vertices = vertices + normals * beard_thickness(identity.face)[members, None].astype(np.float32)
    return Surface(
        vertices=vertices,
        normals=normals,
        faces=faces,
        labels=body_labels(identity)[members],
        colours=body_colours(identity)[members],
        closed=True,
        gloss=_SKIN_GLOSS,
    )


def seat_surface(identity: Identity, posed: np.ndarray, transforms: np.ndarray) -> Surface | None:
    """A box below the thighs of somebody who sits, background for the label map; None for who stands."""
    asset = load_body_asset()
    hips, knees = (
        np.stack(
            [
                transforms[asset.joint(f"{name}.{side}"), :, :3] @ identity.shape.joint(f"{name}.{side}")
                + transforms[asset.joint(f"{name}.{side}"), :, 3]
                for side in "LR"
            ]
        ).astype(np.float64)
        for name in ("upperleg01", "lowerleg01")
    )
    if normalize(knees - hips)[:, 2].min() < -_SITTING_SLOPE:
        return None
    below = posed[limb_weight("pelvis", "upperleg01") > 0.6]
    top, bottom = below[:, 2].min() + 0.02, posed[asset.groups["body"][0], 2].min()
    forwards = normalize((knees - hips).mean(axis=0) * (1, 1, 0))
    leftwards = np.array([-forwards[1], forwards[0], 0.0])
    middle = hips.mean(axis=0) * (1, 1, 0)
    reach = 0.6 * np.linalg.norm((knees - hips).mean(axis=0)[:2])
    corners = [
        middle + along * forwards + aside * _SEAT_WIDTH / 2 * leftwards + (0, 0, height)
        for along in (-0.2, reach)
        for aside in (-1, 1)
        for height in (bottom, top)
    ]
    # Each side has corners of its own, so that edges stay sharp.
    sides = np.array([(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (1, 5, 7, 3), (0, 2, 6, 4)])
    vertices = np.array(corners)[sides.reshape(-1)].astype(np.float32)
    first = 4 * np.arange(6)[:, None]
    faces = np.concatenate([first + (0, 1, 2), first + (0, 2, 3)])
    return Surface(
        vertices=vertices,
        normals=vertex_normals(vertices, faces),
        faces=faces,
        labels=np.full(len(vertices), PARSE_IDS["background"], dtype=np.uint8),
        colours=np.tile(identity.seat, (len(vertices), 1)).astype(np.float32),
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
    surfaces += face_surfaces(
        identity.face, shape, identity.skin, identity.hair.colour, posed, transforms, looks_at
    )
    surfaces += hair_surfaces(identity.hair, shape, transforms)
    surfaces += shoe_surfaces(identity.shoes, shape, transforms)
    seat = seat_surface(identity, posed, transforms)
    return surfaces if seat is None else [*surfaces, seat]
