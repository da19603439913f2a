# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Faces: their features and expressions as offsets of vertices, their colours, brows, eyes and glasses.

Places on the face are metres from the point between the eyes of the mean body: x to the person's left, z up. All masks
and offsets belong to vertices, so that they follow every body's own face.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..composition import PARSE_IDS
from .body import BodyShape, limb_weight, load_body_asset, rotation, skin
from .mesh import normalize
from .parts import Part, grid_faces
from .surfaces import Surface


_GLOSS = 0.05
_EYE_GLOSS = 0.25
_EYE_WHITE = np.array([0.86, 0.84, 0.82])
_IRIS_COLOURS = np.array([(0.16, 0.09, 0.05), (0.24, 0.14, 0.07), (0.30, 0.22, 0.12), (0.24, 0.30, 0.18),
                          (0.22, 0.34, 0.44), (0.34, 0.40, 0.44)])  # fmt: skip
_MAX_GAZE = 26.0

# Features and expressions: centre (x, z), reach, and what the centre moves (x, y, z) at strength 1, in millimetres;
# the other side of the face is mirrored. y is to the back.
_FEATURES = {
    "nose_width": ((16, -42), 11, (1.8, 0, 0)),
    "nose_length": ((0, -41), 14, (0, -2.8, -1.2)),
    "jaw_width": ((55, -88), 30, (3.5, 0, 0)),
    "chin": ((0, -112), 22, (0, -2.5, -3.0)),
    "lips": ((9, -75), 13, (0, -1.8, 0)),
    "cheekbones": ((55, -26), 22, (2.2, -1.2, 0)),
    "brow_ridge": ((26, 17), 18, (0, -2.2, 0)),
    "mouth_width": ((25, -74), 12, (2.2, 0, 0)),
}
_EXPRESSIONS = {
    "smile": (((25, -74), 13, (3.2, 1.0, 3.2)), ((43, -45), 22, (0.8, -2.2, 1.6)), ((34, -9), 8, (0, 0, 0.8))),
    "raised_brows": (((34, 23), 17, (0, 0, 3.2)),),
    "frown": (((14, 18), 11, (-1.5, -0.6, -2.0)),),
    "tight_lips": (((0, -74), 16, (0, 0.8, 0)),),
}
_BROW_COLUMNS, _BROW_ROWS = 12, 5


@dataclass(frozen=True)
class Face:
    """The looks of one face.

    Attributes:
        offsets: (V, 3) metres by which features and expression move the asset's vertices.
        iris: (3,) colour.
        brow_thickness, brow_strength: millimetres, and how much of the hair's colour brows have.
        lip_colour, lip_strength: a lipstick (3,) and how much of it covers the lips; None for bare lips.
        blush: how red cheeks, nose and ears are.
        beard: "none", "stubble", "moustache", "goatee" or "full".
        beard_strength: how much of its colour covers the skin.
        gaze: degrees (around, up) by which the eyes miss the camera.
        glasses: "none", "thin", "thick" or "dark".
        glasses_colour: (3,).
    """

    offsets: np.ndarray
    iris: np.ndarray
    brow_thickness: float
    brow_strength: float
    lip_colour: np.ndarray | None
    lip_strength: float
    blush: float
    beard: str
    beard_strength: float
    gaze: tuple[float, float]
    glasses: str
    glasses_colour: np.ndarray


@lru_cache(maxsize=1)
def _face_members() -> tuple[np.ndarray, np.ndarray]:
    """The head's vertices (indices into the asset) and where (N, 3) they lie on the mean body, in millimetres."""
    asset = load_body_asset()
    mean, joints = asset.shapes.mean(axis=0), asset.joints.mean(axis=0)
    eyes = (joints[asset.joint("eye.L")] + joints[asset.joint("eye.R")]) / 2
    body, _ = asset.groups["body"]
    members = body[limb_weight("head", "neck03")[body] > 0.5]
    return members, (mean[members] - eyes) * 1000


def _bump(place: tuple[float, float], reach: float, move: tuple[float, float, float]) -> np.ndarray:
    """Metres (N, 3) by which a feature and its mirror image move the head's vertices."""
    _, points = _face_members()
    total = np.zeros_like(points)
    on_face = np.clip((55 - points[:, 1]) / 25, 0, 1)
    for sign in (1, -1) if place[0] else (1,):
        distance = np.hypot(points[:, 0] - sign * place[0], points[:, 2] - place[1])
        total += (on_face * np.exp(-((distance / reach) ** 2)))[:, None] * np.array(move) * (sign, 1, 1)
    return total / 1000


@lru_cache(maxsize=1)
def _offset_basis() -> np.ndarray:
    """(12, N, 3): what features and expressions at strength 1 do."""
    features = [_bump(*feature) for feature in _FEATURES.values()]
    expressions = [sum(_bump(*part) for part in parts) for parts in _EXPRESSIONS.values()]
    return np.stack(features + expressions)


def _soft(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below `low`, 1 above `high`, straight between them."""
    return np.clip((values - low) / (high - low), 0, 1)


@lru_cache(maxsize=1)
def _masks() -> dict[str, np.ndarray]:
    """Where (N,) on the head's vertices lips, cheeks and kinds of beard are, 0 to 1."""
    _, points = _face_members()
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    in_front = _soft(-y, 8, 14)
    width = np.clip(1 - (x / 27) ** 2, 0, 1)
    # The upper lip has two peaks, the lower one is rounder.
    upper = -73 + 10.5 * width**0.6 - 1.6 * np.exp(-((x / 5) ** 2))
    lower = -73 - 15.5 * width**0.8
    lips = in_front * _soft(np.minimum(upper - z, z - lower), -1.0, 1.0) * (width > 0)
    # From the sideburns the beard's upper edge falls to the corners of the mouth.
    cheek_line = np.interp(x, [20, 34, 52, 68], [-62, -64, -50, -10])
    beard = _soft(cheek_line - z, -4, 6) * _soft(z, -134, -118) * _soft(72 - y, 0, 12) * (1 - lips)
    moustache = in_front * _soft(-54 - z, -2.5, 2.5) * _soft(z - upper, -1, 2) * _soft(29 - x, 0, 6)
    goatee = np.maximum(moustache, in_front * beard * _soft(30 - x, 0, 8) * _soft(-z, 76, 84))
    cheeks = _soft(-y, -12, 0) * np.exp(-(((x - 44) / 17) ** 2) - ((z + 33) / 16) ** 2)
    nose = in_front * np.exp(-((x / 12) ** 2) - ((z + 42) / 11) ** 2)
    ears = _soft(x, 70, 80) * _soft(y, 50, 62) * _soft(12 - np.abs(z + 20) + 18, 0, 8)
    sockets = _soft(-y, -8, 6) * np.exp(-(((x - 33) / 17) ** 2) - ((z - 2) / 12) ** 2)
    return {
        "lips": lips,
        "red": np.clip(cheeks + 0.6 * nose + 0.6 * ears, 0, 1),
        "sockets": sockets,
        "stubble": np.maximum(beard, moustache) * (1 - lips),
        "moustache": moustache,
        "goatee": goatee * (1 - lips),
        "full": np.maximum(beard, moustache) * (1 - lips),
    }


@lru_cache(maxsize=1)
def inner_faces() -> np.ndarray:
    """Which faces (F,) of the body's group line the mouth and the nose inside the head, where nobody sees them."""
    members, points = _face_members()
    inside = np.zeros(len(load_body_asset().skin_weights), dtype=bool)
    in_mouth = (np.abs(points[:, 0]) < 34) & (points[:, 1] > -8) & (points[:, 2] > -98) & (points[:, 2] < 0)
    inside[members] = in_mouth & (points[:, 1] < 60)
    body, faces = load_body_asset().groups["body"]
    return inside[body][faces].all(axis=1)


def draw_face(rng: np.random.Generator, femininity: float) -> Face:
    """Draw a face for a body of a femininity in [0, 1]."""
    feminine = femininity > 0.5
    strengths = rng.normal(0, 0.75, len(_FEATURES))
    smile = rng.choice([0.0, rng.uniform(0.2, 0.6), rng.uniform(0.6, 1.2)], p=[0.35, 0.4, 0.25])
    expression = (smile, rng.uniform(-0.3, 0.9) ** 2, 0.5 * rng.random() ** 2, rng.uniform(0, 0.8) * (smile == 0))
    members, _ = _face_members()
    offsets = np.zeros((len(load_body_asset().skin_weights), 3), np.float32)
    offsets[members] = np.tensordot(np.concatenate([np.clip(strengths, -1.6, 1.6), expression]), _offset_basis(), 1)
    lipstick = feminine and rng.random() < 0.45
    kinds = ("none", "stubble", "moustache", "goatee", "full")
    beard = "none" if feminine else str(rng.choice(kinds, p=(0.40, 0.30, 0.05, 0.07, 0.18)))
    return Face(
        offsets=offsets,
        iris=_IRIS_COLOURS[rng.choice(len(_IRIS_COLOURS), p=(0.34, 0.26, 0.14, 0.09, 0.11, 0.06))],
        brow_thickness=rng.uniform(4.0, 7.0) if feminine else rng.uniform(6.5, 10.0),
        brow_strength=rng.uniform(0.55, 0.9),
        lip_colour=rng.uniform((0.45, 0.08, 0.12), (0.85, 0.38, 0.42)) if lipstick else None,
        lip_strength=rng.uniform(0.3, 0.8),
        blush=rng.uniform(0.2, 1.0),
        beard=beard,
        beard_strength=rng.uniform(0.25, 0.5) if beard == "stubble" else rng.uniform(0.75, 0.95),
        gaze=(rng.normal(0, 3.5), rng.normal(0, 2)),
        glasses=str(rng.choice(("none", "thin", "thick", "dark"), p=(0.86, 0.06, 0.05, 0.03))),
        glasses_colour=np.full(3, rng.uniform(0.02, 0.25)) + rng.uniform(0, 0.25, 3) * (rng.random() < 0.4),
    )


def _mix(colours: np.ndarray, other: np.ndarray, share: np.ndarray) -> np.ndarray:
    return colours + share[:, None] * (other - colours)


def paint_face(face: Face, skin_colour: np.ndarray, hair_colour: np.ndarray, colours: np.ndarray) -> None:
    """Paint lips, blush and beard onto the colours (V, 3) of the asset's vertices, in place."""
    members, _ = _face_members()
    masks = _masks()
    local = colours[members]
    lightness = skin_colour.mean()
    local = _mix(local, local * (1.04, 0.84, 0.82), 0.45 * face.blush * masks["red"])
    local = _mix(local, local * (0.88, 0.82, 0.82), 0.6 * masks["sockets"])
    # Lips of dark skin are darker and browner, those of light skin redder.
    rose = np.array((0.70, 0.36, 0.36)) if lightness > 0.45 else np.array((0.42, 0.22, 0.22))
    bare = 0.6 * skin_colour * np.array((0.94, 0.74, 0.76)) + 0.4 * rose
    lips = bare if face.lip_colour is None else bare + face.lip_strength * (face.lip_colour - bare)
    local = _mix(local, lips, 0.9 * masks["lips"])
    if face.beard != "none":
        beard_colour = 0.75 * hair_colour if face.beard != "stubble" else 0.45 * hair_colour + 0.3 * skin_colour
        local = _mix(local, beard_colour, face.beard_strength * masks[face.beard])
    colours[members] = local


def beard_thickness(face: Face) -> np.ndarray:
    """Metres (V,) by which a beard stands out."""
    thickness = np.zeros(len(load_body_asset().skin_weights))
    if face.beard in ("moustache", "goatee", "full"):
        members, _ = _face_members()
        thickness[members] = (0.006 if face.beard == "full" else 0.0035) * _masks()[face.beard]
    return thickness


@lru_cache(maxsize=1)
def _brow_places() -> tuple[np.ndarray, np.ndarray]:
    """For places along the middle of both brows (2 * 12,): the face's three vertices around each, and their
    weights."""
    members, points = _face_members()
    share = np.linspace(0, 1, _BROW_COLUMNS)
    height = 17.5 + 5.0 * np.sin(np.pi * 0.78 * share) - 4.0 * share**3
    one_side = np.stack([11 + 40 * share, height], axis=1)
    targets = np.concatenate([one_side, one_side * (-1, 1)])
    front = np.nonzero(points[:, 1] < 25)[0]
    distance = np.linalg.norm(points[front][None][:, :, [0, 2]] - targets[:, None], axis=-1)
    nearest = front[np.argsort(distance, axis=1, kind="stable")[:, :3]]
    # Barycentric coordinates in the plane; three vertices in a line fall back to the nearest one.
    corners = np.concatenate([points[nearest][..., [0, 2]], np.ones((len(targets), 3, 1))], axis=-1)
    weights = np.zeros((len(targets), 3))
    for number, (corner, target) in enumerate(zip(corners, targets)):
        if abs(np.linalg.det(corner)) > 1:
            weights[number] = np.linalg.solve(corner.T, (*target, 1))
        else:
            weights[number, 0] = 1
    return members[nearest], weights


def _head_axes(transforms: np.ndarray) -> np.ndarray:
    """The rotation (3, 3) of the head: its columns point to the person's left, back and up."""
    return transforms[load_body_asset().joint("head"), :, :3].astype(np.float64)


def _brows(
    face: Face, skin_colour: np.ndarray, hair_colour: np.ndarray, posed: np.ndarray, transforms: np.ndarray
) -> Surface:
    """Two soft strips on the brow ridge."""
    vertices, weights = _brow_places()
    axes = _head_axes(transforms)
    corners = posed[vertices].astype(np.float64)
    middle = np.einsum("nk,nkc->nc", weights, corners)
    # As far in front as the foremost of the vertices around, so that nothing of the strip sinks into the ridge.
    sunk = middle @ axes[:, 1] - (corners @ axes[:, 1]).min(axis=1)
    middle = (middle - sunk[:, None] * axes[:, 1]).reshape(2, _BROW_COLUMNS, 1, 3)
    share = np.linspace(0, 1, _BROW_COLUMNS)[:, None]
    across = np.linspace(-1, 1, _BROW_ROWS)
    half = face.brow_thickness / 2000 * (0.3 + 0.7 * np.sin(np.pi * (0.22 + 0.74 * share)))
    # The ridge recedes towards the temples and the eyes, so the strip floats a little before it.
    points = middle + (half * across)[..., None] * axes[:, 2] - (0.0034 - 0.0008 * across**2)[:, None] * axes[:, 1]
    strength = face.brow_strength * (1 - across**2) ** 0.5 * np.sin(np.pi * (0.12 + 0.82 * share)) ** 0.5
    colours = skin_colour + strength[..., None] * (0.8 * hair_colour - skin_colour)
    faces = grid_faces(_BROW_COLUMNS, _BROW_ROWS, closed=False)
    points = points.reshape(-1, 3).astype(np.float32)
    faces = np.concatenate([faces, faces + _BROW_COLUMNS * _BROW_ROWS])
    return Surface(
        vertices=points,
        normals=np.tile(-axes[:, 1] + 0.3 * axes[:, 2], (len(points), 1)).astype(np.float32),
        faces=faces,
        labels=np.full(len(points), PARSE_IDS["face"], dtype=np.uint8),
        colours=np.tile(colours.reshape(-1, 3), (2, 1)).astype(np.float32),
    )


def _gaze(face: Face, side: str, shape: BodyShape, transforms: np.ndarray, looks_at: np.ndarray) -> np.ndarray:
    """The rotation (3, 3), in the axes of the rest pose, that turns an eye to a point of the world."""
    asset = load_body_asset()
    head = transforms[asset.joint("head")].astype(np.float64)
    eye = head[:, :3] @ shape.joint(f"eye.{side}") + head[:, 3]
    direction = normalize(head[:, :3].T @ (looks_at - eye))
    around = np.degrees(np.arctan2(direction[0], -direction[1])) + face.gaze[0]
    up = np.degrees(np.arcsin(np.clip(direction[2], -1, 1))) + face.gaze[1]
    # Who is seen from far aside looks ahead.
    around = float(np.clip(around, -_MAX_GAZE, _MAX_GAZE)) if abs(around) < 75 else face.gaze[0]
    return rotation((0, 0, 1), around) @ rotation((1, 0, 0), -float(np.clip(up, -12, 12)))


@lru_cache(maxsize=1)
def _iris_disc() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Directions (N, 3) from the centre of an eye, the ring (N,) of each, and faces."""
    radii = np.array([0.0, 2.3, 2.9, 5.0, 5.8, 6.3]) / 16.9
    columns = 14
    turn = np.arange(columns + 1)[:, None] * 2 * np.pi / columns
    tilt = np.arcsin(radii)
    directions = np.stack(
        [np.sin(tilt) * np.cos(turn), -np.cos(tilt) + 0 * turn, np.sin(tilt) * np.sin(turn)], axis=-1
    )
    ring = np.tile(np.arange(len(radii)), columns + 1)
    return directions.reshape(-1, 3), ring, grid_faces(columns + 1, len(radii), closed=False)


def _eye(face: Face, side: str, shape: BodyShape, transforms: np.ndarray, looks_at: np.ndarray) -> list[Surface]:
    """Eyeball and iris."""
    asset = load_body_asset()
    head = transforms[[asset.joint("head")]]
    members, faces = asset.groups["left_eye" if side == "L" else "right_eye"]
    ball = shape.vertices[members].astype(np.float64)
    centre = (ball.min(axis=0) + ball.max(axis=0)) / 2
    reach = np.linalg.norm(ball - centre, axis=1).max()
    directions, ring, disc_faces = _iris_disc()
    disc = centre + 1.012 * reach * directions @ _gaze(face, side, shape, transforms, looks_at).T
    ring_colours = np.stack(
        [np.full(3, 0.015), np.full(3, 0.02), 1.25 * face.iris, face.iris, 0.35 * face.iris, 0.75 * _EYE_WHITE]
    )
    surfaces = []
    for points, corners, colours, gloss in (
        (ball, faces, np.tile(_EYE_WHITE, (len(ball), 1)), 0.0),
        (disc, disc_faces, ring_colours[ring], _EYE_GLOSS),
    ):
        vertices = skin(points, np.ones((len(points), 1), np.float32), head)
        surfaces.append(
            Surface(
                vertices=vertices,
                normals=normalize(vertices - skin(centre[None], np.ones((1, 1), np.float32), head)),
                faces=corners,
                labels=np.full(len(points), PARSE_IDS["face"], dtype=np.uint8),
                colours=colours.astype(np.float32),
                gloss=gloss,
            )
        )
    return surfaces


def glasses_parts(face: Face, shape: BodyShape) -> list[Part]:
    """Two rims, a bridge and two temples; dark glasses have lenses; nothing without glasses."""
    if face.glasses == "none":
        return []
    left, right = shape.joint("eye.L").astype(np.float64), shape.joint("eye.R").astype(np.float64)
    nose_front = -0.036
    width = {"thin": 0.0016, "thick": 0.004, "dark": 0.003}[face.glasses]
    segments = 20
    turn = np.arange(segments) * 2 * np.pi / segments
    # A rounded rectangle, a little wider than high.
    outline = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    outline *= (np.abs(outline) ** 3.2).sum(axis=1, keepdims=True) ** (-1 / 3.2) * (0.027, 0.019)
    points, faces = [], []
    first = 0
    for eye, sign in ((left, 1), (right, -1)):
        centre = eye + (0.002 * sign, nose_front, -0.004)
        wrap = 0.16 * np.abs(outline[:, 0] * sign + 0.027)[:, None] * (0, 1, 0)
        for inset in (0.0, -width, -0.9 if face.glasses == "dark" else -width):
            ring = outline * (1 + inset / 0.023) if inset > -0.5 else outline * 0.02
            depth = 0.001 if inset < -0.5 else (0.0 if inset == 0 else -0.0012)
            points.append(centre + np.stack([ring[:, 0], np.full(segments, depth), ring[:, 1]], axis=1) + wrap)
        for layer in (0, 1):
            one = first + layer * segments + np.arange(segments)
            two = first + layer * segments + (np.arange(segments) + 1) % segments
            faces.append(np.stack([one, two, two + segments], axis=1))
            faces.append(np.stack([one, two + segments, one + segments], axis=1))
        first += 3 * segments
    bars = [(left + (-0.024, nose_front, 0.003), right + (0.024, nose_front, 0.003))]
    for eye, sign in ((left, 1), (right, -1)):
        bars.append((eye + (0.029 * sign, nose_front + 0.009, 0.006), eye + (0.045 * sign, 0.075, 0.008)))
    for start, stop in bars:
        points.append(np.stack([start, start + (0, 0, width + 0.001), stop, stop + (0, 0, width + 0.001)]))
        faces.append(first + np.array([[0, 1, 3], [0, 3, 2]]))
        first += 4
    rest, corners = np.concatenate(points), np.concatenate(faces)
    weights = np.ones((len(rest), 1), np.float32)
    colours = np.tile(face.glasses_colour, (len(rest), 1)).astype(np.float32)
    return [Part(rest, ("head",), weights, corners, colours, "glasses", gloss=_EYE_GLOSS)]


def face_surfaces(
    face: Face,
    shape: BodyShape,
    skin_colour: np.ndarray,
    hair_colour: np.ndarray,
    posed: np.ndarray,
    transforms: np.ndarray,
    looks_at: np.ndarray,
) -> list[Surface]:
    """What lies on the painted skin of a face and moves with it: brows and eyes.

    Args:
        face (`Face`): the face.
        shape (`BodyShape`): the body, with the face's offsets.
        skin_colour (`np.ndarray`): (3,).
        hair_colour (`np.ndarray`): (3,).
        posed (`np.ndarray`): (V, 3) posed vertices of the asset.
        transforms (`np.ndarray`): (J, 3, 4) joint transforms that posed them.
        looks_at (`np.ndarray`): (3,) where the camera is.
    """
    surfaces = [_brows(face, skin_colour, hair_colour, posed, transforms)]
    for side in "LR":
        surfaces += _eye(face, side, shape, transforms, looks_at)
    return surfaces
