# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Shoes: cross-sections along the foot, with a sole and, for boots, a shaft around the shin."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .body import BodyShape, limb_weight, load_body_asset
from .parts import Part


_SECTIONS = 12
# A cross-section: sideways (1 is the width of the foot), upwards (0 floor, 1 instep), from the sole at the person's
# left over the instep to the right.
_OUTLINE = np.array([(1.06, -1.0), (1.08, 0.02), (1.08, 0.10), (1.04, 0.5), (0.72, 0.92), (0.25, 1.03), (-0.25, 1.03),
                     (-0.72, 0.92), (-1.04, 0.5), (-1.08, 0.10), (-1.08, 0.02), (-1.06, -1.0)])  # fmt: skip
_SHAFT_COLUMNS = 12
_GLOSSES = {"sneaker": 0.02, "boot": 0.07, "ballerina": 0.06, "loafer": 0.08}


@dataclass(frozen=True)
class Shoes:
    """A pair of shoes.

    Attributes:
        kind: "bare", "ballerina", "loafer", "sneaker" or "boot".
        colour, sole_colour, sock_colour: (3,) in [0, 1].
        sock_height: metres by which socks reach above the shoes.
        sole: metres of the sole below the foot.
        shaft: metres of a boot's shaft above the ankle.
    """

    kind: str
    colour: np.ndarray
    sole_colour: np.ndarray
    sock_colour: np.ndarray
    sock_height: float
    sole: float
    shaft: float


def draw_shoes(rng: np.random.Generator, femininity: float) -> Shoes:
    """Draw shoes for a body of a femininity in [0, 1]."""
    shares = (0.06, 0.24, 0.12, 0.38, 0.20) if femininity > 0.5 else (0.06, 0.0, 0.24, 0.5, 0.20)
    kind = str(rng.choice(("bare", "ballerina", "loafer", "sneaker", "boot"), p=shares))
    leather = (
        np.array([(26, 23, 22), (70, 44, 28), (120, 80, 50), (58, 20, 22), (196, 170, 140)])[rng.integers(5)] / 255
    )
    coloured = np.clip(rng.uniform(0.05, 0.9) + rng.uniform(-0.2, 0.2, 3), 0.03, 0.95)
    colour = coloured if kind in ("sneaker", "ballerina") else leather
    white_sole = kind == "sneaker" and rng.random() < 0.7
    return Shoes(
        kind=kind,
        colour=colour,
        sole_colour=np.full(3, rng.uniform(0.75, 0.92)) if white_sole else 0.5 * colour + 0.02,
        sock_colour=np.full(3, rng.choice([0.06, 0.3, 0.9])),
        sock_height=rng.uniform(0.005, 0.09),
        sole={"sneaker": rng.uniform(0.018, 0.03), "boot": rng.uniform(0.015, 0.03)}.get(kind, 0.008),
        shaft=rng.uniform(0.03, 0.26) if kind == "boot" else 0.0,
    )


@lru_cache(maxsize=2)
def _foot_bins(side: str) -> tuple[np.ndarray, np.ndarray]:
    """The foot's vertices (indices into the asset), sorted by bins along the foot, and where each bin starts."""
    asset = load_body_asset()
    body, _ = asset.groups["body"]
    toes = (f"toe{toe}-{part}.{side}" for toe in range(1, 6) for part in (1, 2, 3))
    members = body[limb_weight(f"foot.{side}", *toes)[body] > 0.55]
    along = -asset.shapes.mean(axis=0)[members, 1]
    share = (along - along.min()) / (along.max() - along.min())
    bins = np.minimum((share * _SECTIONS).astype(int), _SECTIONS - 1)
    order = np.argsort(bins, kind="stable")
    return members[order], np.searchsorted(bins[order], np.arange(_SECTIONS))


def _sections(shape: BodyShape, side: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Along the foot: y, middle x, half width and upper end of each of 14 sections, and of heel and tip."""
    members, starts = _foot_bins(side)
    points = shape.vertices[members].astype(np.float64)
    low, high = (reduce.reduceat(points, starts, axis=0) for reduce in (np.minimum, np.maximum))
    middle, half, top = (low[:, 0] + high[:, 0]) / 2, (high[:, 0] - low[:, 0]) / 2, high[:, 2]
    y = (low[:, 1] + high[:, 1]) / 2
    # Heel and tip are rounded: each gets a narrow section of its own beyond the foot.
    y = np.concatenate([[high[0, 1] + 0.004], y, [low[-1, 1] - 0.006, low[-1, 1] - 0.013]])
    middle = np.concatenate([middle[:1], middle, middle[[-1, -1]]])
    half = np.concatenate([half[:1] * 0.75, half, half[[-1, -1]] * (0.95, 0.55)])
    toe_top = np.minimum(top, np.interp(np.arange(_SECTIONS), (0, 5, 11), (9, top[5], top[-1] + 0.006)))
    toe_top = np.concatenate([top[:1], toe_top, [top[-1] + 0.003, top[-1] - 0.004]])
    # Toes spread; a shoe narrows evenly.
    half[-4:-2] = np.minimum(half[-4:-2], half[-5] * np.array((0.98, 0.9)))
    return y, middle, half + 0.003, toe_top + 0.004


def opening_height(shoes: Shoes, shape: BodyShape, side: str) -> float:
    """The height z below which a shoe of this kind covers the whole foot."""
    ankle = float(shape.joint(f"foot.{side}")[2])
    return {"sneaker": ankle + 0.018, "boot": ankle + 0.03 + shoes.shaft, "loafer": ankle - 0.008,
            "ballerina": ankle - 0.03}[shoes.kind]  # fmt: skip


def hidden_in_shoes(shoes: Shoes, shape: BodyShape) -> np.ndarray:
    """Which vertices (V,) of the asset a pair of shoes covers."""
    hidden = np.zeros(len(shape.vertices), dtype=bool)
    if shoes.kind == "bare":
        return hidden
    on_foot = limb_weight("foot", "toe", "lowerleg") > 0.5
    for side, sign in (("L", 1), ("R", -1)):
        this_side = on_foot & (sign * shape.vertices[:, 0] > 0)
        low = shape.vertices[:, 2] < opening_height(shoes, shape, side) - 0.012
        if shoes.kind in ("ballerina", "loafer"):
            # The instep is bare.
            front = shape.vertices[:, 1] < float(shape.joint(f"toe3-1.{side}")[1]) + 0.02
            low &= front
        hidden |= this_side & low
    return hidden


def sock_mask(shoes: Shoes, shape: BodyShape) -> np.ndarray:
    """Which vertices (V,) of the asset a sock covers: the ankle above a sneaker or in a loafer."""
    mask = np.zeros(len(shape.vertices), dtype=bool)
    if shoes.kind == "sneaker" or (shoes.kind == "loafer" and shoes.sock_height > 0.03):
        height = opening_height(shoes, shape, "L") + shoes.sock_height
        mask = (limb_weight("foot", "toe", "lowerleg") > 0.5) & (shape.vertices[:, 2] < height)
    return mask


def _foot_part(shoes: Shoes, shape: BodyShape, side: str, floor: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (N, 3), faces and colours (N, 3) of the part below the ankle."""
    y, middle, half, top = _sections(shape, side)
    opening = opening_height(shoes, shape, side)
    if shoes.kind in ("ballerina", "loafer"):
        # Low at the sides, up to the instep in front of the opening.
        closed_from = 0.72 if shoes.kind == "ballerina" else 0.5
        along = np.linspace(0, 1, len(y))
        top = np.where(along < closed_from, np.minimum(top, opening), top)
    else:
        top = np.minimum(top, min(opening, float(shape.joint(f"foot.{side}")[2]) + 0.03))
    height = top - floor
    side_x, up = _OUTLINE.T
    z = np.where(up < 0, floor - shoes.sole, floor + np.maximum(up, 0) * height[:, None])
    x = middle[:, None] + half[:, None] * side_x
    points = np.stack([x, np.broadcast_to(y[:, None], x.shape), z], axis=-1)
    # The toe is rounded upwards.
    points[-1, :2, 2] += 0.006
    points[-1, -2:, 2] += 0.006
    sections, around = x.shape
    section, place = np.meshgrid(np.arange(sections - 1), np.arange(around), indexing="ij")
    first = (section * around + place).reshape(-1)
    beside = (section * around + (place + 1) % around).reshape(-1)
    faces = [
        np.stack([first, beside, beside + around], axis=1),
        np.stack([first, beside + around, first + around], axis=1),
    ]
    for end, flip in ((0, True), ((sections - 1) * around, False)):
        fan = end + np.array([[0, place + 1, place + 2] for place in range(around - 2)])
        faces.append(fan[:, ::-1] if flip else fan)
    is_sole = np.abs(side_x) * (up < 0.06) > 0.5
    colours = np.where(is_sole[:, None], shoes.sole_colour, shoes.colour)
    colours = np.tile(colours, (sections, 1, 1)).astype(np.float32)
    if shoes.kind == "sneaker":
        # Tongue and laces.
        colours[4:9, 5:7] = 0.5 * shoes.colour + 0.5 * shoes.sole_colour
    return points.reshape(-1, 3), np.concatenate(faces), colours.reshape(-1, 3)


def _shaft(shoes: Shoes, shape: BodyShape, side: str) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, 3) and faces of a boot's shaft, a tube around the shin."""
    ankle, knee = (shape.joint(f"{name}.{side}").astype(np.float64) for name in ("foot", "lowerleg01"))
    heights = np.linspace(ankle[2] - 0.015, opening_height(shoes, shape, side), 5)
    body, _ = load_body_asset().groups["body"]
    shin = shape.vertices[body[limb_weight(f"lowerleg01.{side}", f"lowerleg02.{side}")[body] > 0.5]]
    turn = np.arange(_SHAFT_COLUMNS) * 2 * np.pi / _SHAFT_COLUMNS
    ring = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    rings = []
    for height in heights:
        part = (height - ankle[2]) / (knee[2] - ankle[2])
        axis = (ankle + part * (knee - ankle))[:2]
        near = shin[np.abs(shin[:, 2] - max(height, ankle[2] + 0.05)) < 0.045, :2] - axis
        reach = (near @ ring.T).max(axis=0) + 0.008
        rings.append(np.column_stack([axis + ring * reach[:, None], np.full(_SHAFT_COLUMNS, height)]))
    level, place = np.meshgrid(np.arange(len(heights) - 1), np.arange(_SHAFT_COLUMNS), indexing="ij")
    first = (level * _SHAFT_COLUMNS + place).reshape(-1)
    beside = (level * _SHAFT_COLUMNS + (place + 1) % _SHAFT_COLUMNS).reshape(-1)
    faces = [
        np.stack([first, beside, beside + _SHAFT_COLUMNS], axis=1),
        np.stack([first, beside + _SHAFT_COLUMNS, first + _SHAFT_COLUMNS], axis=1),
    ]
    return np.concatenate(rings), np.concatenate(faces)


def shoe_parts(shoes: Shoes, shape: BodyShape) -> list[Part]:
    """The shoes of a body; none for bare feet."""
    if shoes.kind == "bare":
        return []
    parts = []
    for side in "LR":
        members, _ = _foot_bins(side)
        floor = float(shape.vertices[members, 2].min())
        points, faces, colours = _foot_part(shoes, shape, side, floor)
        weights = np.zeros((len(points), 2), np.float32)
        weights[:, 0] = 1
        if shoes.kind == "boot":
            shaft, shaft_faces = _shaft(shoes, shape, side)
            ankle = float(shape.joint(f"foot.{side}")[2])
            on_shin = np.clip((shaft[:, 2] - ankle + 0.01) / 0.05, 0, 1)
            weights = np.concatenate([weights, np.stack([1 - on_shin, on_shin], axis=1).astype(np.float32)])
            faces = np.concatenate([faces, shaft_faces + len(points)])
            colours = np.concatenate([colours, np.tile(shoes.colour, (len(shaft), 1)).astype(np.float32)])
            points = np.concatenate([points, shaft])
        joints = (f"foot.{side}", f"lowerleg02.{side}")
        parts.append(Part(points, joints, weights, faces, colours, "feet", gloss=_GLOSSES[shoes.kind]))
    return parts
