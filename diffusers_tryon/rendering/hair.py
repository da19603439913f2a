# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Hair and hats: a cap over the skull, a curtain that falls before or behind the shoulders, tails and buns.

Places on the head are given as seen from a point inside the skull: `around` in degrees, 0 to the front and positive to
the person's left, and `down` in degrees from the crown.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .body import BodyShape, limb_weight, load_body_asset
from .contact import measure_trunk
from .parts import Part, grid_faces


# From the point between the eyes to the point inside the skull.
_TO_SKULL_CENTRE = np.array([0.0, 0.08, 0.02])
_COLUMNS = 48
_ROWS = 14
_MAX_DOWN = 140.0
_GLOSS = 0.04
# Hair before the shoulders wins over a garment that lies within these metres in front of it.
_PRIORITY_IN_FRONT = 0.035
_PRIORITY_BEHIND = 0.018
# Metres between the skin and hair that lies on clothes.
_OVER_CLOTHES = 0.04

# Where hair begins, `down` degrees at `around` degrees of either side.
_HAIRLINE = ((0, 67), (25, 66), (45, 70), (58, 78), (70, 95), (80, 96), (87, 84), (104, 86), (114, 108), (135, 122),
             (180, 127))  # fmt: skip
_RECEDING = ((0, 58), (20, 48), (42, 46), (56, 70))
_FRINGE = ((0, 86), (30, 86), (48, 88), (60, 90))


@dataclass(frozen=True)
class HairStyle:
    """A haircut.

    Attributes:
        top, side: metres from the skull at the crown and at the ears.
        curl: metres by which the surface is uneven.
        hairline: "full", "receding" or "fringe"; "swept" is a fringe that falls to one side.
        length: metres of the curtain below the eyes, 0 for none.
        wave: metres by which a curtain sways.
        in_front: how many of the two sides may fall before the shoulders.
        tail: metres of a tail at the back of the head, 0 for none.
        bun: radius in metres of a bun, 0 for none.
    """

    top: tuple[float, float] = (0.006, 0.012)
    side: tuple[float, float] = (0.004, 0.008)
    curl: float = 0.001
    hairline: str = "full"
    length: tuple[float, float] = (0, 0)
    wave: float = 0.0
    in_front: int = 0
    tail: tuple[float, float] = (0, 0)
    bun: tuple[float, float] = (0, 0)


HAIR_STYLES = {
    "bald": HairStyle(top=(0, 0), side=(0, 0)),
    "buzz": HairStyle(top=(0.003, 0.005), side=(0.002, 0.003), curl=0),
    "receding": HairStyle(top=(0.006, 0.012), side=(0.006, 0.012), curl=0.002, hairline="receding"),
    "crop": HairStyle(top=(0.018, 0.038), side=(0.005, 0.012), curl=0.003),
    "side_parting": HairStyle(top=(0.016, 0.03), side=(0.008, 0.016), curl=0.003, hairline="swept"),
    "curly": HairStyle(top=(0.028, 0.045), side=(0.016, 0.03), curl=0.011),
    "afro": HairStyle(top=(0.05, 0.085), side=(0.045, 0.08), curl=0.012),
    "bob": HairStyle(top=(0.012, 0.022), side=(0.012, 0.02), hairline="fringe", length=(0.1, 0.17)),
    "bob_open": HairStyle(top=(0.012, 0.024), side=(0.012, 0.02), length=(0.1, 0.18), wave=0.004),
    "long_straight": HairStyle(top=(0.010, 0.02), side=(0.008, 0.016), length=(0.26, 0.48), in_front=2),
    "long_fringe": HairStyle(top=(0.010, 0.02), side=(0.010, 0.016), hairline="fringe", length=(0.22, 0.42),
                             in_front=2),
    "long_wavy": HairStyle(top=(0.016, 0.03), side=(0.014, 0.026), curl=0.003, hairline="swept", length=(0.2, 0.42),
                           wave=0.012, in_front=2),
    "ponytail": HairStyle(top=(0.006, 0.012), side=(0.004, 0.008), tail=(0.18, 0.38)),
    "bun": HairStyle(top=(0.006, 0.012), side=(0.004, 0.008), bun=(0.032, 0.048)),
}  # fmt: skip
HATS = ("cap", "beanie", "brimmed")
# How often, for a masculine and for a feminine body.
_SHARES = {
    "bald": (0.07, 0.0), "buzz": (0.14, 0.02), "receding": (0.10, 0.0), "crop": (0.30, 0.06),
    "side_parting": (0.16, 0.04), "curly": (0.08, 0.08), "afro": (0.05, 0.06), "bob": (0.0, 0.09),
    "bob_open": (0.03, 0.10), "long_straight": (0.02, 0.19), "long_fringe": (0.0, 0.08), "long_wavy": (0.03, 0.16),
    "ponytail": (0.01, 0.07), "bun": (0.01, 0.05),
}  # fmt: skip
_HAT_SHARE = 0.06
_COLOURS = np.array([(24, 19, 17), (38, 27, 22), (62, 41, 28), (92, 60, 36), (128, 86, 50), (176, 134, 84),
                     (212, 178, 124), (140, 62, 34)]) / 255  # fmt: skip
_COLOUR_SHARES = (0.24, 0.22, 0.16, 0.12, 0.09, 0.07, 0.05, 0.05)
_GREYS = np.array([(96, 94, 93), (150, 148, 146), (205, 203, 200)]) / 255


@dataclass(frozen=True)
class Hair:
    """The hair of one person, maybe under a hat.

    Attributes:
        style: a name in `HAIR_STYLES`.
        colour: (3,) in [0, 1].
        top, side, length, tail, bun: drawn from the ranges of the style.
        in_front: whether the left and the right side fall before the shoulders.
        part: degrees at which a swept fringe begins, its sign is the side.
        noise: (4, 48, 14) standard normal values of the strands.
        hat: one of `HATS` or None.
        hat_colour: (3,) in [0, 1].
    """

    style: str
    colour: np.ndarray
    top: float
    side: float
    length: float
    tail: float
    bun: float
    in_front: tuple[bool, bool]
    part: float
    noise: np.ndarray
    hat: str | None
    hat_colour: np.ndarray


def draw_hair(rng: np.random.Generator, femininity: float, skin_lightness: float) -> Hair:
    """Draw hair for a body of a femininity in [0, 1] and a skin of a mean brightness in [0, 1]."""
    shares = np.array([low + (high - low) * (femininity > 0.5) for low, high in _SHARES.values()])
    name = str(rng.choice(list(_SHARES), p=shares / shares.sum()))
    style = HAIR_STYLES[name]
    number = rng.choice(len(_COLOURS), p=_COLOUR_SHARES)
    natural, grey, dyed = rng.random(3)
    # Fair hair on dark skin is dyed, thus rarer.
    colour = _COLOURS[number if skin_lightness > 0.5 or natural < 0.15 else number % 3]
    if grey < (0.45 if name == "receding" else 0.13):
        colour = _GREYS[rng.integers(len(_GREYS))]
    elif dyed < 0.03:
        colour = 0.6 * rng.uniform(0.1, 0.75, 3) + 0.4 * colour
    top, side, length, tail, bun = (
        rng.uniform(*limits) for limits in (style.top, style.side, style.length, style.tail, style.bun)
    )
    left, right = rng.random(2) < (0.5 if style.in_front else 0.0)
    hat = HATS[rng.integers(len(HATS))] if rng.random() < _HAT_SHARE and name not in ("afro", "bun") else None
    return Hair(
        style=name,
        colour=np.clip(colour * rng.uniform(0.85, 1.15) + rng.normal(0, 0.004, 3), 0.03, 1),
        top=top,
        side=side,
        length=length,
        tail=tail,
        bun=bun,
        in_front=(bool(left), bool(right)),
        part=rng.choice([-1, 1]) * rng.uniform(12, 38),
        noise=rng.standard_normal((4, _COLUMNS, _ROWS)),
        hat=hat,
        hat_colour=_draw_cloth_colour(rng),
    )


def _draw_cloth_colour(rng: np.random.Generator) -> np.ndarray:
    """Mostly muted, often grey, black or white."""
    grey, colourful = rng.uniform(0.05, 0.8), rng.random() ** 1.5
    return grey + (rng.uniform(0.05, 0.8, 3) - grey) * colourful


def skull_centre(shape: BodyShape) -> np.ndarray:
    """The point (3,) inside the skull from which places on the head are seen."""
    return (shape.joint("eye.L") + shape.joint("eye.R")) / 2 + _TO_SKULL_CENTRE


def _directions(around: np.ndarray, down: np.ndarray) -> np.ndarray:
    """Unit vectors (..., 3) of places on the head, in degrees."""
    around, down = np.broadcast_arrays(np.radians(around), np.radians(down))
    return np.stack([np.sin(down) * np.sin(around), -np.sin(down) * np.cos(around), np.cos(down)], axis=-1)


@lru_cache(maxsize=1)
def head_places() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The head's vertices (indices into the asset) and their places `around` and `down` on the mean body, degrees."""
    asset = load_body_asset()
    mean = BodyShape(asset.shapes.mean(axis=0), asset.joints.mean(axis=0), 0.5)
    body, _ = asset.groups["body"]
    members = body[limb_weight("head", "neck03", "neck02")[body] > 0.5]
    offset = mean.vertices[members] - skull_centre(mean)
    around = np.degrees(np.arctan2(offset[:, 0], -offset[:, 1]))
    down = np.degrees(np.arccos(np.clip(offset[:, 2] / np.linalg.norm(offset, axis=1), -1, 1)))
    return members, around, down


@lru_cache(maxsize=1)
def _skull_grid() -> tuple[np.ndarray, np.ndarray]:
    """For a grid of places (48 around, 29 down in steps of 5 degrees): the 4 nearest vertices and their weights."""
    asset = load_body_asset()
    members, around, down = head_places()
    mean = BodyShape(asset.shapes.mean(axis=0), asset.joints.mean(axis=0), 0.5)
    from_eyes = mean.vertices[members] - skull_centre(mean) + _TO_SKULL_CENTRE
    on_ear = (np.abs(from_eyes[:, 0]) > 0.067) & (np.abs(from_eyes[:, 2] + 0.02) < 0.04) & (from_eyes[:, 1] > 0.055)
    in_mouth = (np.abs(from_eyes[:, 0]) < 0.05) & (from_eyes[:, 1] > -0.015) & (from_eyes[:, 2] < 0.01)
    in_mouth &= from_eyes[:, 1] < 0.05
    members, around, down = (values[~on_ear & ~in_mouth] for values in (members, around, down))
    grid = _directions(*np.meshgrid(_column_angles(), np.arange(0, _MAX_DOWN + 1, 5), indexing="ij"))
    distance = np.arccos(np.clip(grid.reshape(-1, 3) @ _directions(around, down).T, -1, 1))
    nearest = np.argsort(distance, axis=1, kind="stable")[:, :4]
    weights = 1 / (np.take_along_axis(distance, nearest, axis=1) + 0.01) ** 2
    return members[nearest], weights / weights.sum(axis=1, keepdims=True)


def _column_angles() -> np.ndarray:
    return np.arange(_COLUMNS) * 360.0 / _COLUMNS - 180.0


def _skull_radii(shape: BodyShape) -> np.ndarray:
    """Metres (48, 29) from the skull's centre to the skin."""
    vertices, weights = _skull_grid()
    radii = np.linalg.norm(shape.vertices[vertices] - skull_centre(shape), axis=-1)
    return (radii * weights).sum(axis=1).reshape(_COLUMNS, -1)


def _radius_at(radii: np.ndarray, down: np.ndarray) -> np.ndarray:
    """Radii (48, R) at `down` (48, R) degrees of each column."""
    place = np.clip(down / 5, 0, radii.shape[1] - 1.001)
    first = place.astype(int)
    part = place - first
    column = np.arange(_COLUMNS)[:, None]
    return radii[column, first] * (1 - part) + radii[column, first + 1] * part


def hairline(hair: Hair, around: np.ndarray) -> np.ndarray:
    """`down` degrees where hair ends at `around` degrees."""
    places, down = np.array(_HAIRLINE, dtype=np.float64).T
    line = np.interp(np.abs(around), places, down)
    kind = HAIR_STYLES[hair.style].hairline
    if kind == "receding":
        places, down = np.array(_RECEDING, dtype=np.float64).T
        line = np.where(np.abs(around) < places[-1], np.interp(np.abs(around), places, down), line)
    elif kind == "fringe":
        places, down = np.array(_FRINGE, dtype=np.float64).T
        line = np.where(np.abs(around) < places[-1], np.interp(np.abs(around), places, down), line)
    elif kind == "swept":
        # From the parting the fringe falls to the other side.
        across = (np.sign(hair.part) * (hair.part - around)) / (abs(hair.part) + 60)
        line = np.where(np.abs(around) < 62, np.maximum(line, 64 + 25 * np.clip(across, 0, 1) ** 0.8), line)
    return line


def scalp_share(hair: Hair) -> np.ndarray:
    """How much (V,) of each vertex of the asset is painted as hair, 0 to 1, soft along the hairline."""
    members, around, down = head_places()
    share = np.zeros(len(load_body_asset().skin_weights))
    if hair.style != "bald":
        share[members] = np.clip((hairline(hair, around) - 1 - down) / 4, 0, 1)
    return share


def below_hair(hair: Hair) -> np.ndarray:
    """Which vertices (V,) of the asset lie deep below hair, where nobody sees them."""
    members, around, down = head_places()
    hidden = np.zeros(len(load_body_asset().skin_weights), dtype=bool)
    if hair.style != "bald":
        hidden[members] = down < hairline(hair, around) - 14
    return hidden


def _hang_weights(points: np.ndarray, shape: BodyShape) -> np.ndarray:
    """Skin weights (N, 2) of head and upper spine: what hangs lower stays with the trunk."""
    eyes = skull_centre(shape)[2] - _TO_SKULL_CENTRE[2]
    lower = np.clip((eyes - 0.08 - points[:, 2]) / 0.14, 0, 1)
    with_trunk = lower * lower * (3 - 2 * lower)
    return np.stack([1 - with_trunk, with_trunk], axis=1).astype(np.float32)


def _part(
    points: np.ndarray,
    faces: np.ndarray,
    colours: np.ndarray,
    label: str,
    shape: BodyShape,
    priority: float = 0.0,
    gloss: float = _GLOSS,
) -> Part:
    """Points (N, 3) around the head of a body at rest, as something that follows head and back."""
    weights = _hang_weights(points, shape)
    colours = np.clip(colours, 0, 1).astype(np.float32)
    return Part(points, ("head", "spine01"), weights, faces, colours, label, priority, gloss)


def _strand_colours(hair: Hair, columns: int, rows: int, layer: int) -> np.ndarray:
    """Colours (columns * rows, 3): every strand has its own brightness, which changes slowly along it."""
    noise = hair.noise[layer, :columns, :rows]
    brightness = 1 + 0.10 * noise[:, :1] + 0.05 * noise
    return (brightness[..., None] * hair.colour).reshape(-1, 3)


def _cap(hair: Hair, shape: BodyShape, radii: np.ndarray, flat: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Points (48 * 14, 3) of the hair on the skull, and their `down` degrees; `flat` metres at most, under a hat."""
    angles = _column_angles()
    end = hairline(hair, angles) + 1.6 * hair.noise[0, :, 0]
    share = np.linspace(0, 1, _ROWS)
    down = end[:, None] * share
    upright = np.clip(np.cos(np.radians(down)), 0, 1)
    thickness = hair.side + (hair.top - hair.side) * upright
    # Locks are rounder than single strands.
    uneven = hair.noise[1] + 0.6 * (np.roll(hair.noise[1], 1, axis=0) + np.roll(hair.noise[1], -1, axis=0))
    uneven[:, 1:] = 0.6 * (uneven[:, 1:] + 0.6 * uneven[:, :-1])
    thickness = thickness + HAIR_STYLES[hair.style].curl * np.tanh(uneven) * np.clip(3 * share, 0, 1)
    # Volume rises within a short way from the hairline.
    thickness = 0.0015 + thickness * np.sqrt(1 - share ** (6 if hair.top < 0.025 else 3))
    if HAIR_STYLES[hair.style].hairline in ("fringe", "swept"):
        in_front = (np.abs(angles) < 60)[:, None]
        thickness = np.where(in_front, np.maximum(thickness, 0.006 * share), thickness)
    if flat is not None:
        thickness = np.minimum(thickness, flat)
    # All columns meet at the crown.
    thickness[:, 0] = thickness[:, 0].mean()
    radius = _radius_at(radii, down)
    radius[:, 0] = radius[:, 0].mean()
    points = skull_centre(shape) + _directions(angles[:, None], down) * (radius + thickness)[..., None]
    return points.reshape(-1, 3), down.reshape(-1)


def _fall(hair: Hair, shape: BodyShape, points: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """Lay points (C, R, 3) of a curtain before or behind the shoulders; `sides` (C,) is 1 for columns in front."""
    trunk = measure_trunk(shape)
    eyes = skull_centre(shape)[2] - _TO_SKULL_CENTRE[2]
    fallen = np.clip((eyes - 0.07 - points[..., 2]) / 0.11, 0, 1)
    fallen = fallen * fallen * (3 - 2 * fallen)
    from_axis = points - (0, trunk.axis_y, 0)
    angle = np.arctan2(from_axis[..., 0], -from_axis[..., 1])
    distance = np.hypot(from_axis[..., 0], from_axis[..., 1])
    side = np.where(angle < 0, -1, 1)
    # Shoulders are free: in front hair lies between neck and arm, behind on the back.
    in_front = np.interp(np.abs(angle), np.radians((60, 135)), np.radians((22, 55)))
    behind = np.interp(np.abs(angle), np.radians((60, 180)), np.radians((118, 180)))
    target = side * np.where(sides[:, None] > 0, in_front, behind)
    angle = angle + fallen * (target - angle)
    below_neck = points[..., 2] < trunk.neck - 0.02
    surface = trunk.radius(angle, points[..., 2]) + _OVER_CLOTHES
    distance = np.where(below_neck, np.maximum(distance, surface), distance)
    moved = np.stack([np.sin(angle) * distance, -np.cos(angle) * distance + trunk.axis_y, points[..., 2]], axis=-1)
    # No strand jumps from one point to the next when it meets the shoulders.
    for row in range(2, moved.shape[1]):
        step = moved[:, row, :2] - moved[:, row - 1, :2]
        length = np.linalg.norm(step, axis=1, keepdims=True)
        moved[:, row, :2] = moved[:, row - 1, :2] + step * np.minimum(1, 0.03 / np.maximum(length, 1e-9))
    return moved


def _curtain(hair: Hair, shape: BodyShape, radii: np.ndarray, flat: float) -> list[Part]:
    """Long hair around sides and back, as one surface behind and one for each side in front."""
    angles = _column_angles()
    style = HAIR_STYLES[hair.style]
    opening = 58 if style.hairline == "fringe" else 64
    columns = np.nonzero(np.abs(angles) >= opening)[0]
    # From the left temple around the back to the right one, so that neighbours share faces.
    columns = np.concatenate([columns[angles[columns] > 0], columns[angles[columns] < 0]])
    around = angles[columns]
    down_from = 62.0
    radius = radii[columns, int(down_from / 5)] + np.minimum(hair.side, flat) + 0.001
    root = skull_centre(shape) + _directions(around, np.full(len(around), down_from)) * radius[:, None]
    widest = radii[columns, 12:20].max(axis=1) + np.minimum(hair.side, flat) + 0.004
    eyes = skull_centre(shape)[2] - _TO_SKULL_CENTRE[2]
    length = hair.length * (1 + 0.05 * hair.noise[2, columns, 0]) * np.where(np.abs(around) < 90, 0.94, 1)
    share = np.linspace(0, 1, _ROWS)
    height = root[:, 2:] + (eyes - length - root[:, 2])[:, None] * share
    # The hair leaves the skull at its widest place and then falls.
    out = np.clip((root[:, 2:] - height) / 0.05, 0, 1)
    start = np.hypot(root[:, 0], root[:, 1] - skull_centre(shape)[1])
    distance = start[:, None] + (widest - start)[:, None] * np.sin(out * np.pi / 2)
    distance = distance + style.wave * np.sin(
        share * hair.length * 60 + 0.7 * hair.noise[3, columns, :1] + 2 * np.radians(around)[:, None]
    ) * np.clip(2 * share, 0, 1)
    distance = distance + 0.0022 * hair.noise[2, columns] * share - (0.012 * share**4 if hair.length < 0.2 else 0)
    turned = np.radians(around)[:, None]
    points = np.stack([np.sin(turned) * distance, skull_centre(shape)[1] - np.cos(turned) * distance, height], axis=-1)
    sides = ((around > 0) & hair.in_front[0] | (around < 0) & hair.in_front[1]) & (np.abs(around) < 135)
    if hair.length > 0.18:
        points = _fall(hair, shape, points, sides.astype(int))
    noise = hair.noise[0, columns]
    brightness = (1 + 0.10 * noise[:, :1] + 0.05 * noise) * (0.86 + 0.2 * share)
    colours = brightness[..., None] * hair.colour

    # The back reaches one strand below the sides, so that no slit opens between them.
    behind = ~sides | np.roll(~sides, 1) | np.roll(~sides, -1)
    groups = [(behind, _PRIORITY_BEHIND), (sides & (around > 0), _PRIORITY_IN_FRONT),
              (sides & (around < 0), _PRIORITY_IN_FRONT)]  # fmt: skip
    parts = []
    for members, priority in groups:
        if members.sum() > 1:
            faces = grid_faces(int(members.sum()), _ROWS, closed=False)
            group = points[members].reshape(-1, 3), faces, colours[members].reshape(-1, 3)
            parts.append(_part(*group, "hair", shape, priority))
    return parts


def _tail(hair: Hair, shape: BodyShape, radii: np.ndarray) -> Part:
    """A tail that leaves the back of the head and falls on the back."""
    trunk = measure_trunk(shape)
    columns, rows = 10, _ROWS
    share = np.linspace(0, 1, rows)
    high = 62 + 12 * np.tanh(hair.noise[2, 0, 0])
    root = skull_centre(shape) + _directions(180, high) * (radii[0, int(high / 5)] - 0.005)
    axis = np.stack(
        [0.02 * np.tanh(hair.noise[2, 0, 1]) * share, 0.045 * np.sin(np.clip(4 * share, 0, np.pi / 2)),
         -hair.tail * share**1.3], axis=1,
    ) + root  # fmt: skip
    thickness = 0.034 * np.sin(np.pi * (0.14 + 0.84 * share)) + 0.004
    behind = trunk.axis_y + trunk.radius(np.full(rows, np.pi), axis[:, 2]) + _OVER_CLOTHES + 0.4 * thickness
    axis[:, 1] = np.where(axis[:, 2] < trunk.neck, np.maximum(axis[:, 1], behind), axis[:, 1])
    turn = np.arange(columns)[:, None] * 2 * np.pi / columns
    ring = np.stack([np.cos(turn), -np.sin(turn), 0 * turn], axis=-1)
    points = (axis + ring * thickness[:, None]).reshape(-1, 3)
    faces = grid_faces(columns, rows, closed=True)
    return _part(points, faces, _strand_colours(hair, columns, rows, 3), "hair", shape)


def _bun(hair: Hair, shape: BodyShape, radii: np.ndarray) -> Part:
    """A ball on the back of the head or on its top."""
    columns, rows = 12, 8
    place = 20 if hair.noise[2, 0, 0] > 0 else 68
    centre = skull_centre(shape) + _directions(180, place) * (radii[0, place // 5] + 0.55 * hair.bun)
    directions = _directions(np.arange(columns)[:, None] * 360 / columns, np.linspace(0, 180, rows))
    uneven = 1 + 0.05 * hair.noise[3, :columns, :rows]
    uneven[:, [0, -1]] = 1
    points = (centre + directions * (hair.bun * uneven)[..., None]).reshape(-1, 3)
    faces = grid_faces(columns, rows, closed=True)
    return _part(points, faces, _strand_colours(hair, columns, rows, 3), "hair", shape)


def _hat(hair: Hair, shape: BodyShape, radii: np.ndarray) -> list[Part]:
    """A cap with a peak, a beanie or a hat with a brim."""
    angles = _column_angles()
    centre = skull_centre(shape)
    rows = 8
    share = np.linspace(0, 1, rows)
    tilt = np.cos(np.radians(angles))
    # The edge sits higher on the forehead than on the nape.
    end = {"cap": 78 - 6 * tilt, "beanie": 84 - 7 * tilt, "brimmed": 76 - 5 * tilt}[hair.hat]
    down = end[:, None] * share
    rise = {"cap": 0.012, "beanie": 0.018, "brimmed": 0.03}[hair.hat]
    thickness = 0.011 + rise * np.clip(np.cos(np.radians(down * 1.05)), 0, 1) ** 0.7
    if hair.hat == "beanie":
        thickness = thickness + 0.006 * (share > 0.75)
    radius = _radius_at(radii, down) + thickness
    radius[:, 0] = radius[:, 0].mean()
    points = centre + _directions(angles[:, None], down) * radius[..., None]
    ribs = (
        0.04 * (np.arange(_COLUMNS) % 2)[:, None]
        if hair.hat == "beanie"
        else 0.03 * (np.arange(_COLUMNS) % 8 == 0)[:, None]
    )
    shade = 1 - ribs + 0 * share
    colours = (shade[..., None] * hair.hat_colour).reshape(-1, 3)
    faces = grid_faces(_COLUMNS, rows, closed=True)
    parts = [_part(points.reshape(-1, 3), faces, colours, "hat", shape, gloss=0.01)]
    if hair.hat == "beanie":
        return parts
    members = np.nonzero(np.abs(angles) < 66)[0] if hair.hat == "cap" else np.arange(_COLUMNS)
    width = 0.075 * np.clip(np.cos(np.radians(angles[members] * 1.35)), 0, 1) ** 0.6 if hair.hat == "cap" else 0.06
    outwards = _directions(angles[members], 90.0)
    out = np.linspace(0, 1, 4)[:, None]
    edge = points[members, -1][:, None]
    brim = edge + (out * np.broadcast_to(width, len(members))[:, None, None]) * outwards[:, None]
    brim[..., 2] -= 0.012 * out[:, 0] ** 2 + (0.012 * np.sin(np.radians(angles[members])) ** 2)[:, None] * out[:, 0]
    faces = grid_faces(len(members), 4, closed=hair.hat != "cap")
    colours = np.tile(0.9 * hair.hat_colour, (brim.shape[0] * 4, 1))
    parts.append(_part(brim.reshape(-1, 3), faces, colours, "hat", shape, gloss=0.01))
    return parts


def hair_parts(hair: Hair, shape: BodyShape) -> list[Part]:
    """Hair and hat of a body."""
    radii = _skull_radii(shape)
    flat = 0.008 if hair.hat else None
    parts = []
    if hair.style != "bald":
        points, down = _cap(hair, shape, radii, flat)
        faces = grid_faces(_COLUMNS, _ROWS, closed=True)
        parts.append(_part(points, faces, _strand_colours(hair, _COLUMNS, _ROWS, 0), "hair", shape))
    if hair.length:
        parts += _curtain(hair, shape, radii, flat or 1.0)
    if hair.tail:
        parts.append(_tail(hair, shape, radii))
    if hair.bun:
        parts.append(_bun(hair, shape, radii))
    if hair.hat:
        parts += _hat(hair, shape, radii)
    return parts
