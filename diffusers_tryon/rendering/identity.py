# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Who a rendered person is: body, skin, hair, shoes; and how that is painted on the body's vertices."""

from dataclasses import dataclass

import numpy as np

from ..composition import PARSE_IDS
from .body import BodyShape, blend_shapes, limb_weight, shapes_of_split
from .garments import arm_weight, head_weight


_SKIN_TONES = (
    np.array([(255, 219, 190), (241, 194, 160), (224, 172, 125), (198, 134, 90), (141, 85, 50), (95, 60, 40)]) / 255
)
_HAIR_COLOURS = (
    np.array([(30, 22, 18), (70, 45, 25), (120, 80, 40), (190, 150, 90), (110, 110, 112), (140, 60, 30)]) / 255
)
_EYE_WHITE = 0.92
# The middle of the line between the lips.
_MOUTH_VERTEX = 493


@dataclass(frozen=True)
class Identity:
    """A person.

    Attributes:
        shape: the body.
        skin, hair, shoes, iris: colours (3,) in [0, 1].
        hair_thickness: metres added to the skull.
        hair_length: metres of a curtain of long hair below the crown, 0 for short hair.
    """

    shape: BodyShape
    skin: np.ndarray
    hair: np.ndarray
    shoes: np.ndarray
    iris: np.ndarray
    hair_thickness: float
    hair_length: float


def _between_neighbours(rng: np.random.Generator, colours: np.ndarray) -> np.ndarray:
    """A colour between two that follow each other in the list, slightly off."""
    first = rng.integers(len(colours) - 1)
    fraction = rng.random()
    blend = colours[first] * (1 - fraction) + colours[first + 1] * fraction
    return np.clip(blend + rng.normal(0, 0.012, 3), 0, 1)


def draw_identity(rng: np.random.Generator, split: str) -> Identity:
    """Draw a random person; the body is a blend of two shapes of the split ("train" or "test")."""
    first, second = rng.choice(shapes_of_split(split), 2, replace=False)
    shape = blend_shapes(int(first), int(second), rng.random())
    long_hair = rng.random() < (0.75 if shape.femininity > 0.5 else 0.12)
    return Identity(
        shape=shape,
        skin=_between_neighbours(rng, _SKIN_TONES),
        hair=_between_neighbours(rng, _HAIR_COLOURS),
        shoes=np.clip(rng.uniform(0, 0.6) + rng.uniform(0, 0.25, 3), 0, 1),
        iris=np.array([(0.25, 0.18, 0.1), (0.2, 0.35, 0.45), (0.25, 0.35, 0.2)])[rng.integers(3)],
        hair_thickness=rng.uniform(0.008, 0.016),
        hair_length=rng.uniform(0.12, 0.36) if long_hair else 0.0,
    )


def eye_centre(shape: BodyShape) -> np.ndarray:
    """The point (3,) between the eyes, from which the face is measured."""
    return (shape.joint("eye.L") + shape.joint("eye.R")) / 2


def hair_mask(shape: BodyShape) -> np.ndarray:
    """Which vertices of the asset (V,) lie under the hair: above a hairline that falls from forehead to nape."""
    from_eyes = shape.vertices - eye_centre(shape)
    sideways, backwards, up = np.abs(from_eyes[:, 0]), from_eyes[:, 1], from_eyes[:, 2]
    forehead = 0.062 + 0.25 * np.where(sideways < 0.04, sideways, 0)
    behind = np.interp(backwards, [0.035, 0.06, 0.1, 0.14], [0.05, 0.0, -0.03, -0.075])
    return (head_weight() > 0.5) & (up > np.where(backwards < 0.035, forehead, behind))


def body_labels(shape: BodyShape) -> np.ndarray:
    """Label ids (V,) of the bare body."""
    labels = np.full(len(shape.vertices), PARSE_IDS["torso"], dtype=np.uint8)
    for name, weight in (
        ("arms", arm_weight()),
        ("hands", limb_weight("wrist", "finger", "metacarpal")),
        ("legs", limb_weight("upperleg", "lowerleg", "foot", "toe")),
        ("feet", limb_weight("foot", "toe")),
        ("face", head_weight()),
    ):
        labels[weight > 0.5] = PARSE_IDS[name]
    labels[hair_mask(shape)] = PARSE_IDS["hair"]
    return labels


def body_colours(identity: Identity) -> np.ndarray:
    """Colours (V, 3) float32 of the bare body with hair, eyebrows, lips and shoes."""
    shape = identity.shape
    colours = np.tile(identity.skin, (len(shape.vertices), 1))
    colours[hair_mask(shape)] = identity.hair
    colours[shoe_mask()] = identity.shoes

    from_eyes = shape.vertices - eye_centre(shape)
    on_face = (from_eyes[:, 1] < 0) & (head_weight() > 0.5)
    for side in "LR":
        from_eye = shape.vertices - shape.joint(f"eye.{side}")
        sideways = np.abs(from_eye[:, 0])
        above_brow = from_eye[:, 2] - 0.024 + 0.12 * sideways
        colours[on_face & (sideways < 0.023) & (np.abs(above_brow) < 0.0055)] = identity.hair * 0.7
    from_mouth = shape.vertices - shape.vertices[_MOUTH_VERTEX]
    lips = on_face & ((from_mouth[:, 0] / 0.026) ** 2 + (from_mouth[:, 2] / 0.0115) ** 2 < 1)
    colours[lips] = identity.skin * (0.85, 0.55, 0.55)
    return colours.astype(np.float32)


def shoe_mask() -> np.ndarray:
    """Which vertices of the asset (V,) are inside a shoe."""
    return limb_weight("foot", "toe") > 0.6


def eye_colours(identity: Identity, vertices: np.ndarray) -> np.ndarray:
    """Colours (N, 3) float32 of an eyeball with rest vertices (N, 3): white, iris, pupil."""
    from_centre = vertices - vertices.mean(axis=0)
    radius = np.hypot(from_centre[:, 0], from_centre[:, 2])
    in_front = from_centre[:, 1] < 0
    colours = np.full((len(vertices), 3), _EYE_WHITE)
    colours[in_front & (radius < 0.0062)] = identity.iris
    colours[in_front & (radius < 0.003)] = 0.02
    return colours.astype(np.float32)
