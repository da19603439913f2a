# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Who a rendered person is: body, skin, face, hair, shoes; and how that is painted on the body's vertices."""

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np

from ..composition import PARSE_IDS
from .body import BodyShape, limb_weight, load_body_asset, shapes_of_split
from .face import Face, draw_face, glasses_parts, inner_faces, paint_face
from .garments import arm_weight, head_weight
from .hair import Hair, below_hair, draw_hair, hair_parts, scalp_share
from .parts import Part
from .shoes import Shoes, draw_shoes, hidden_in_shoes, shoe_parts, sock_mask


# From very light to very dark; every step is drawn equally often.
_SKIN_TONES = (
    np.array([(230, 193, 171), (224, 181, 152), (214, 166, 129), (198, 147, 107), (176, 122, 82), (148, 98, 66),
              (118, 78, 54), (93, 62, 46)]) / 255
)  # fmt: skip
# How far beyond a blend of the given bodies a drawn one may go.
_EXTRAPOLATION = 0.15
_HEIGHTS = (0.95, 1.06)


@lru_cache(maxsize=1)
def _bare_labels() -> np.ndarray:
    """Label ids (V,) of a body without hair; belongs to vertices, so it is the same for everybody."""
    labels = np.full(len(load_body_asset().skin_weights), PARSE_IDS["torso"], dtype=np.uint8)
    for name, weight in (
        ("arms", arm_weight()),
        ("hands", limb_weight("wrist", "finger", "metacarpal")),
        ("legs", limb_weight("upperleg", "lowerleg", "foot", "toe")),
        ("feet", limb_weight("foot", "toe")),
        ("face", head_weight()),
    ):
        labels[weight > 0.5] = PARSE_IDS[name]
    return labels


@dataclass(frozen=True)
class Identity:
    """A person.

    Attributes:
        shape: the body, with the offsets of the face.
        skin: colour (3,) in [0, 1].
        face, hair, shoes: their looks.
    """

    shape: BodyShape
    skin: np.ndarray
    face: Face
    hair: Hair
    shoes: Shoes

    @cached_property
    def skin_faces(self) -> np.ndarray:
        """The faces (F, 3) of the body's group that neither shoes nor hair cover and that are not inside the head."""
        members, faces = load_body_asset().groups["body"]
        covered = hidden_in_shoes(self.shoes, self.shape) | below_hair(self.hair)
        return faces[~(covered[members][faces].all(axis=1) | inner_faces())]

    @cached_property
    def labels(self) -> np.ndarray:
        """Label ids (V,) of the asset's vertices, without clothes."""
        labels = _bare_labels().copy()
        labels[scalp_share(self.hair) > 0.5] = PARSE_IDS["hair"]
        labels[sock_mask(self.shoes, self.shape)] = PARSE_IDS["feet"]
        return labels

    @cached_property
    def colours(self) -> np.ndarray:
        """Colours (V, 3) float32 of the asset's vertices: skin, lips, beard, the scalp below the hair, socks."""
        colours = np.tile(self.skin, (len(self.shape.vertices), 1))
        paint_face(self.face, self.skin, self.hair.colour, colours)
        share = 0.92 * scalp_share(self.hair)[:, None]
        colours += share * (self.hair.colour - colours)
        colours[sock_mask(self.shoes, self.shape)] = self.shoes.sock_colour
        return np.clip(colours, 0, 1).astype(np.float32)

    @cached_property
    def parts(self) -> list[Part]:
        """Hair, hat, glasses and shoes in the rest pose."""
        return [
            *hair_parts(self.hair, self.shape),
            *glasses_parts(self.face, self.shape),
            *shoe_parts(self.shoes, self.shape),
        ]


def _draw_skin(rng: np.random.Generator) -> np.ndarray:
    """A tone between two neighbours of the list, warmer or cooler."""
    first = rng.integers(len(_SKIN_TONES) - 1)
    fraction, warmth = rng.random(), rng.normal(0, 0.018)
    tone = _SKIN_TONES[first] * (1 - fraction) + _SKIN_TONES[first + 1] * fraction
    return np.clip(tone * (1 + warmth * np.array((0.6, 0.0, -1.6))), 0.05, 1)


def _draw_shape(rng: np.random.Generator, split: str) -> BodyShape:
    """A blend of three bodies of the split, slightly beyond them, taller or shorter."""
    asset = load_body_asset()
    members = rng.choice(shapes_of_split(split), 3, replace=False)
    weights = rng.dirichlet((1.0, 1.0, 0.5)) * (1 + 3 * _EXTRAPOLATION) - _EXTRAPOLATION
    weights = (weights / weights.sum()).astype(np.float32)
    scale = np.float32(rng.uniform(*_HEIGHTS))
    vertices, joints = (
        scale * sum(weight * values[member] for weight, member in zip(weights, members))
        for values in (asset.shapes, asset.joints)
    )
    femininity = float(np.clip(weights @ asset.femininity[members], 0, 1))
    return BodyShape(vertices, joints, femininity)


def draw_identity(rng: np.random.Generator, split: str) -> Identity:
    """Draw a random person; the body is a blend of shapes of the split ("train" or "test")."""
    shape_stream, skin_stream, face_stream, hair_stream, shoe_stream = rng.spawn(5)
    shape = _draw_shape(shape_stream, split)
    face = draw_face(face_stream, shape.femininity)
    skin = _draw_skin(skin_stream)
    return Identity(
        shape=replace(shape, vertices=shape.vertices + face.offsets),
        skin=skin,
        face=face,
        hair=draw_hair(hair_stream, shape.femininity, float(skin.mean())),
        shoes=draw_shoes(shoe_stream, shape.femininity),
    )
