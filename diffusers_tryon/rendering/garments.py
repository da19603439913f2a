# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Garments: their designs, and how a design is fitted to a body.

A garment is cut out of a shell that surrounds the body (MakeHuman's tights or skirt helper) along the zero line of a
level function, and moved outwards. A design holds proportions only, so it fits every body. The level is roughly a
signed distance in metres from the garment's edge, negative where the garment is. Evaluated on the skin it also tells
which part of the body the garment hides.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..composition import PARSE_IDS
from .body import BodyCoordinates, BodyShape, body_coordinates, limb_weight, load_body_asset
from .mesh import cut_mesh, normalize, smooth, vertex_neighbours, vertex_normals
from .prints import Print


# Skin is dropped where it lies this far (metres) inside the garment's edge.
_HIDING_MARGIN = 0.018
# Lower garments reach this far (torso coordinate) above the hem of a top; a skirt is wider and would poke through.
_TUCK_DEPTH = 0.03
# Texture coordinates are metres on a body of these measures, so that a print grows with the wearer.
_TORSO_LENGTH = 0.6
_TORSO_RADIUS = 0.15
_ARM_RADIUS = 0.055
_SHOULDER_HEIGHT = 0.5
# Sleeves take their print from elsewhere along u, away from the emblem on the chest.
_SLEEVE_OFFSET = 2.0


@dataclass(frozen=True)
class TopDesign:
    """An upper-body garment.

    Attributes:
        hem: torso coordinate (0 hips, 1 neck) of the lower edge.
        neck_radius: metres from the base of the neck to the neckline.
        neck_depth: how much deeper the neckline is in front; 1 is round.
        sleeve: arm coordinate (0 shoulder, 1 elbow, 2 wrist) where the sleeve ends.
        looseness: 0 tight to 1.6 wide.
    """

    hem: float
    neck_radius: float
    neck_depth: float
    sleeve: float
    looseness: float


@dataclass(frozen=True)
class PantsDesign:
    """Trousers or shorts: `waist` in torso coordinates, `length` in leg coordinates (1 knee, 2 ankle), `looseness`."""

    waist: float
    length: float
    looseness: float


@dataclass(frozen=True)
class SkirtDesign:
    """A skirt: `length` in leg coordinates, `flare` as widening per metre of length."""

    length: float
    flare: float


@dataclass(frozen=True)
class Garment:
    """A design fitted to one body, in the rest pose.

    Attributes:
        label: id in `PARSE_LABELS`.
        vertices: (V, 3) float32, metres.
        skin_weights: (V, J) float32.
        faces: (F, 3) int.
        texture_coordinates: (F, 3, 2) float32, metres of cloth per corner of a face.
        edge_distance: (V,) float32, metres from the garment's edge.
        hides_skin: (N,) bool, which vertices of the body asset the garment covers.
        cloth: what it is made of.
    """

    label: int
    vertices: np.ndarray
    skin_weights: np.ndarray
    faces: np.ndarray
    texture_coordinates: np.ndarray
    edge_distance: np.ndarray
    hides_skin: np.ndarray
    cloth: Print


def arm_weight() -> np.ndarray:
    """How much (0 to 1) each vertex of the body asset follows an arm."""
    return limb_weight("upperarm", "lowerarm", "wrist", "finger", "metacarpal")


def head_weight() -> np.ndarray:
    """How much (0 to 1) each vertex of the body asset follows the head."""
    return limb_weight("head", "neck03", "eye")


@lru_cache(maxsize=2)
def _shell(group: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (indices into the asset), faces and neighbours of a garment shell."""
    vertices, faces = load_body_asset().groups[group]
    return vertices, faces, vertex_neighbours(faces)


def _smoothstep(values: np.ndarray, low: float, high: float) -> np.ndarray:
    fraction = np.clip((values - low) / (high - low), 0, 1)
    return fraction * fraction * (3 - 2 * fraction)


def _top_level(
    design: TopDesign, points: np.ndarray, coordinates: BodyCoordinates, on_arm: np.ndarray, shape: BodyShape
) -> np.ndarray:
    """The level of a top at `points` (N, 3); `on_arm` (N,) is the share by which a point belongs to an arm."""
    from_neck = (points - shape.joint("neck01") + (0, 0.02, 0)) * (1, 0.8, 0.75)
    in_front = _smoothstep(-from_neck[:, 1], 0, 0.06) * (from_neck[:, 2] < 0)
    from_neck[:, 2] /= 1 + (design.neck_depth - 1) * in_front
    neckline = design.neck_radius - np.linalg.norm(from_neck, axis=1)
    # Hands hang lower than the hem and the chest may reach beyond the shoulder's plane: each edge counts only on its
    # own part of the body, with a soft change so that the cut stays smooth.
    hem = 0.5 * (design.hem - coordinates.torso) - _smoothstep(on_arm, 0.1, 0.5)
    cuff = 0.25 * (coordinates.arm - design.sleeve) - (1 - _smoothstep(on_arm, 0.0, 0.4))
    return np.maximum(np.maximum(hem, neckline), cuff)


def _tuck_level(coordinates: BodyCoordinates, top: TopDesign) -> np.ndarray:
    """The level that ends a lower garment under the hem of a top."""
    return 0.5 * (coordinates.torso - top.hem - _TUCK_DEPTH)


def _pants_level(design: PantsDesign, coordinates: BodyCoordinates, on_arm: np.ndarray) -> np.ndarray:
    waist = 0.5 * (coordinates.torso - design.waist)
    cuff = 0.3 * (coordinates.leg - design.length)
    return np.where(on_arm > 0.3, 1.0, np.maximum(waist, cuff))


def _skirt_level(design: SkirtDesign, coordinates: BodyCoordinates) -> np.ndarray:
    return 0.3 * (coordinates.leg - design.length)


def _around(points: np.ndarray, forward: np.ndarray, sideways: np.ndarray, radius: float) -> np.ndarray:
    """Length along a cylinder of `radius` around the origin, 0 in the direction `forward`; jumps at the back."""
    return radius * np.arctan2(points @ sideways, points @ forward)


def _close_the_back(u: np.ndarray, radius: float) -> np.ndarray:
    """Move corners (F, 3) of faces that straddle the jump at the back to the same side of it."""
    period = 2 * np.pi * radius
    return np.where(u < u.max(axis=1, keepdims=True) - period / 2, u + period, u)


def _texture_coordinates(vertices: np.ndarray, faces: np.ndarray, on_arm: np.ndarray, shape: BodyShape) -> np.ndarray:
    """Metres of cloth (F, 3, 2): the torso wraps around the spine, each sleeve around its upper arm."""
    corners = vertices[faces]
    coordinates = body_coordinates(vertices, shape)
    front, left = np.array([0.0, -1.0, 0.0]), np.array([1.0, 0.0, 0.0])
    from_spine = corners - shape.joint("spine03")
    u = _close_the_back(_around(from_spine, front, left, _TORSO_RADIUS), _TORSO_RADIUS)
    v = _TORSO_LENGTH * coordinates.torso[faces]

    side_of_face = np.where(on_arm[faces].mean(axis=1) > 0.5, np.sign(corners[:, :, 0].mean(axis=1)), 0)
    for side, sign in (("L", 1), ("R", -1)):
        sleeve = side_of_face == sign
        from_shoulder = corners[sleeve] - shape.joint(f"upperarm01.{side}")
        along = normalize(shape.joint(f"lowerarm01.{side}") - shape.joint(f"upperarm01.{side}"))
        sideways = normalize(np.cross(along, front))
        u_sleeve = _around(from_shoulder, np.cross(sideways, along), sideways, _ARM_RADIUS)
        u[sleeve] = _close_the_back(u_sleeve, _ARM_RADIUS) + sign * _SLEEVE_OFFSET
        v[sleeve] = _SHOULDER_HEIGHT - from_shoulder @ along
    return np.stack([u, v], axis=-1).astype(np.float32)


def _assemble(
    label: str,
    cloth: Print,
    points: np.ndarray,
    shell: str,
    level: np.ndarray,
    hides_skin: np.ndarray,
    shape: BodyShape,
) -> Garment:
    """Cut the shell, already moved to `points`, where `level` > 0, and texture what is left."""
    vertices, faces, neighbours = _shell(shell)
    # Skin weights change in steps of a triangle; smoothing keeps armholes and hems from looking torn.
    level = smooth(level[:, None], neighbours, iterations=3)[:, 0]
    weights = load_body_asset().skin_weights[vertices]
    faces, (points, weights, on_arm, level) = cut_mesh(
        faces, level, [points.astype(np.float32), weights, arm_weight()[vertices][:, None], level[:, None]]
    )
    return Garment(
        label=PARSE_IDS[label],
        vertices=points,
        skin_weights=weights,
        faces=faces,
        texture_coordinates=_texture_coordinates(points, faces, on_arm[:, 0], shape),
        edge_distance=np.abs(level[:, 0]).astype(np.float32),
        hides_skin=hides_skin,
        cloth=cloth,
    )


def fit_top(design: TopDesign, shape: BodyShape, cloth: Print) -> Garment:
    """Fit an upper-body garment to a body."""
    vertices, faces, neighbours = _shell("tights")
    on_arm = arm_weight()[vertices]
    points = shape.vertices[vertices]
    coordinates = body_coordinates(points, shape)
    width_at_body = 0.018 * np.clip(1.1 - coordinates.torso, 0, 1.4) * (1 - on_arm)
    width_at_arm = 0.014 * np.clip(coordinates.arm, 0, 2) / max(design.sleeve, 0.5) * on_arm
    offset = 0.010 + design.looseness * (width_at_body + width_at_arm)
    points = points + vertex_normals(points, faces) * offset[:, None]
    points = smooth(points, neighbours, iterations=4)
    # A loose top falls straight from the chest instead of following the waist.
    fall = np.clip(0.75 - coordinates.torso, 0, 1) * (1 - on_arm) * design.looseness
    points[:, 0] += 0.012 * fall * np.clip(points[:, 0] / 0.12, -1, 1)
    level = _top_level(design, points, body_coordinates(points, shape), on_arm, shape)

    body = shape.vertices
    skin_level = _top_level(design, body, body_coordinates(body, shape), arm_weight(), shape)
    hides_skin = (skin_level < -_HIDING_MARGIN) & (head_weight() < 0.3)
    return _assemble("top", cloth, points, "tights", level, hides_skin, shape)


def _fit_pants(design: PantsDesign, shape: BodyShape, top: TopDesign, cloth: Print) -> Garment:
    vertices, faces, neighbours = _shell("tights")
    points = shape.vertices[vertices]
    coordinates = body_coordinates(points, shape)
    offset = 0.006 + 0.012 * design.looseness * np.clip(coordinates.leg, 0, 2)
    points = smooth(points + vertex_normals(points, faces) * offset[:, None], neighbours, iterations=3)
    coordinates = body_coordinates(points, shape)
    level = np.maximum(_pants_level(design, coordinates, arm_weight()[vertices]), _tuck_level(coordinates, top))
    hides_skin = _pants_level(design, body_coordinates(shape.vertices, shape), arm_weight()) < -_HIDING_MARGIN
    return _assemble("pants", cloth, points, "tights", level, hides_skin, shape)


def _fit_skirt(design: SkirtDesign, shape: BodyShape, top: TopDesign, cloth: Print) -> Garment:
    vertices, faces, _ = _shell("skirt")
    points = shape.vertices[vertices]
    points = points + vertex_normals(points, faces) * 0.008
    points[:, :2] *= 1 + design.flare * (points[:, 2].max() - points[:, 2:])
    coordinates = body_coordinates(points, shape)
    level = np.maximum(_skirt_level(design, coordinates), _tuck_level(coordinates, top))
    body = body_coordinates(shape.vertices, shape)
    # The skirt is open below: of the legs only what is well inside is hidden.
    hides_skin = (body.torso < 0.25) & (body.leg < min(0.35, design.length - 0.1)) & (arm_weight() < 0.3)
    return _assemble("skirt", cloth, points, "skirt", level, hides_skin, shape)


def fit_bottom(design: PantsDesign | SkirtDesign, shape: BodyShape, top: TopDesign, cloth: Print) -> Garment:
    """Fit trousers or a skirt to a body that wears `top` over it."""
    fit = _fit_pants if isinstance(design, PantsDesign) else _fit_skirt
    return fit(design, shape, top, cloth)


# Sleeve lengths that garments really have, and how often: tank top, T-shirt, half, three-quarter, long.
_SLEEVES = ((0.08, 0.1), (0.45, 0.25), (0.65, 0.2), (0.9, 0.1), (1.5, 0.1), (1.95, 0.25))
_TROUSER_LENGTHS = (0.45, 0.75, 1.9, 1.95)


def draw_top_design(rng: np.random.Generator) -> TopDesign:
    """Draw a random upper-body garment."""
    lengths, shares = zip(*_SLEEVES)
    return TopDesign(
        hem=rng.uniform(-0.05, 0.14),
        neck_radius=rng.uniform(0.085, 0.13),
        neck_depth=rng.choice([1.0, rng.uniform(1.2, 1.8)]),
        sleeve=float(rng.choice(lengths, p=shares)),
        looseness=rng.uniform(0.2, 1.6),
    )


def draw_bottom_design(rng: np.random.Generator) -> PantsDesign | SkirtDesign:
    """Draw random trousers, shorts or a skirt."""
    if rng.random() < 0.75:
        length = float(rng.choice(_TROUSER_LENGTHS))
        return PantsDesign(waist=rng.uniform(0.18, 0.26), length=length, looseness=rng.uniform(0.1, 1.0))
    return SkirtDesign(length=rng.uniform(0.5, 1.2), flare=rng.uniform(0, 0.25))
