# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Outfits: everything somebody wears, drawn, exchanged, fitted to a body, and shown alone as a product."""

from dataclasses import dataclass, replace

import numpy as np

from .body import BodyShape, forward_kinematics, load_body_asset, rotation, skin
from .designs import (
    DressDesign,
    PantsDesign,
    SkirtDesign,
    TopDesign,
    draw_bottom_design,
    draw_dress_design,
    draw_jacket_design,
    draw_top_design,
)
from .drape import Dummy, measure
from .emblems import (
    Colour,
    PanelDrawing,
    draw_chest_pocket,
    draw_jacket_front,
    draw_kangaroo_pocket,
    draw_placket,
    draw_trouser_front,
)
from .garments import Garment, fit_belt, fit_dress, fit_pants, fit_skirt, fit_top
from .mesh import vertex_normals
from .prints import DrawDetails, Print, draw_leather, draw_print
from .surfaces import Surface


PRODUCT_STYLES = ("mannequin", "flat")
# Laid flat, a garment keeps this share of its depth.
_FLAT_DEPTH = 0.25
# Metres of cloth from hips to neck, in cloth coordinates.
_CLOTH_PER_TORSO = 0.6
_JACKET_SHARE = 0.22
_BELT_SHARE = 0.35
# A lower garment that is tried on is not hidden: tops end above this torso coordinate (0 hips).
_HEM_ABOVE_LOWER = 0.0
# Who sits wears trousers that end below this leg coordinate (0 hips, 1 knee) and tops that end above this torso
# coordinate (0 hips): raised thighs come out of what is shorter, and through what hangs lower.
_SITTING_TROUSERS = 0.7
_SITTING_TOPS = -0.08


@dataclass(frozen=True)
class Piece:
    """One garment of an outfit: what it is cut like, what it is made of, and the cloth of a belt that holds it."""

    design: TopDesign | PantsDesign | SkirtDesign | DressDesign
    cloth: Print
    belt: Print | None = None


@dataclass(frozen=True)
class Outfit:
    """What somebody wears: a top, maybe an open jacket over it, a lower garment; or a dress.

    Who wears a dress has the other pieces in the wardrobe: they are worn as soon as the dress is exchanged for one.
    """

    top: Piece
    bottom: Piece
    jacket: Piece | None = None
    dress: Piece | None = None

    @property
    def can_sit(self) -> bool:
        """Whether the clothes look right on somebody who sits: a skirt would stand off the thighs like a bell."""
        return (
            self.dress is None
            and isinstance(self.bottom.design, PantsDesign)
            and self.bottom.design.length >= _SITTING_TROUSERS
            and self.top.design.hem >= _SITTING_TOPS
        )


def _under_jacket(design: TopDesign) -> TopDesign:
    """A top that fits under a jacket: close to the body, its sleeves out of sight."""
    return replace(
        design,
        ease=min(design.ease, 0.011),
        fall=min(design.fall, -0.25),
        sleeve=min(design.sleeve, 0.3),
        sleeve_ease=0.006,
        sleeve_flare=min(design.sleeve_flare, 0.0),
        collar=min(design.collar, 0.05),
    )


def draw_outfit(rng: np.random.Generator, category: str) -> Outfit:
    """Draw an outfit whose garment of `category` ("upper", "lower" or "dress") can be tried on."""
    top_stream, bottom_stream, dress_stream, jacket_stream = rng.spawn(4)
    # A jacket would hide half of a skirt that is tried on.
    jacket = _draw_jacket(jacket_stream) if category == "upper" and jacket_stream.random() < _JACKET_SHARE else None
    top = _draw_top(top_stream)
    if category == "lower":
        top = replace(top, design=replace(top.design, hem=max(top.design.hem, _HEM_ABOVE_LOWER)))
    if jacket is not None:
        top = replace(top, design=_under_jacket(top.design))
    bottom = _draw_bottom(bottom_stream)
    return Outfit(top, bottom, jacket, _draw_dress(dress_stream) if category == "dress" else None)


def _draw_top(rng: np.random.Generator) -> Piece:
    design = draw_top_design(rng)
    return Piece(design, draw_print(rng, "top", _top_details(design, bool(rng.random() < 0.4))))


def _draw_jacket(rng: np.random.Generator) -> Piece:
    design = draw_jacket_design(rng)

    def draw_details(panel: PanelDrawing, line: Colour, accent: Colour) -> None:
        draw_jacket_front(panel, line, accent, design.opening)

    return Piece(design, draw_print(rng, "jacket", draw_details))


def _draw_bottom(rng: np.random.Generator) -> Piece:
    design = draw_bottom_design(rng)

    def draw_details(panel: PanelDrawing, line: Colour, accent: Colour) -> None:
        draw_trouser_front(panel, line, _CLOTH_PER_TORSO * design.waist)

    cloth = draw_print(rng, "bottom", draw_details if isinstance(design, PantsDesign) else None)
    return _draw_belt(rng, Piece(design, cloth))


def _draw_dress(rng: np.random.Generator) -> Piece:
    design = draw_dress_design(rng)
    return _draw_belt(rng, Piece(design, draw_print(rng, "top", _top_details(design.upper, pocket=False))))


def _draw_belt(rng: np.random.Generator, piece: Piece) -> Piece:
    return replace(piece, belt=draw_leather(rng)) if rng.random() < _BELT_SHARE else piece


def _top_details(design: TopDesign, pocket: bool) -> DrawDetails | None:
    """What belongs to the cut of a top and is drawn: the buttoned front of a shirt, the pocket of a hooded
    pullover."""
    if not design.collar:
        return None

    def draw_details(panel: PanelDrawing, line: Colour, accent: Colour) -> None:
        if design.has_hood:
            draw_kangaroo_pocket(panel, line, accent)
            return
        neck = _CLOTH_PER_TORSO - design.neckline.depth
        draw_placket(panel, line, accent, neck, _CLOTH_PER_TORSO * max(design.hem, 0.0))
        if pocket:
            draw_chest_pocket(panel, line)

    return draw_details


def exchange_garment(outfit: Outfit, other: Outfit, category: str) -> Outfit:
    """`outfit` with the garment of `category` ("upper", "lower" or "dress") of `other`.

    A jacket and what is under it are exchanged together. A dress replaces everything; who wore a dress puts on the
    own top or lower garment with what is exchanged.
    """
    if category == "dress":
        return replace(outfit, dress=other.dress)
    if category == "upper":
        return replace(outfit, top=other.top, jacket=other.jacket, dress=None)
    return replace(outfit, bottom=other.bottom, dress=None)


def _fit_dress(piece: Piece, dummy: Dummy) -> list[Garment]:
    garments = fit_dress(piece.design, dummy, piece.cloth)
    if piece.belt is not None and piece.design.waist_seam:
        garments.append(fit_belt(piece.design.skirt.waist, garments[0], dummy, piece.belt))
    return garments


def _fit_bottom(piece: Piece, dummy: Dummy, top: TopDesign | None) -> list[Garment]:
    """A lower garment and its belt, on a body that wears `top`, if anything."""
    design = piece.design
    fit = fit_skirt if isinstance(design, SkirtDesign) else fit_pants
    garments = [fit(design, dummy, piece.cloth, top)]
    waist = design.waist if top is None or top.tucked is None else top.tucked
    if piece.belt is not None and (top is None or top.tucked is not None or top.hem > waist):
        garments.append(fit_belt(waist, garments[0], dummy, piece.belt))
    return garments


def _fit_upper(outfit: Outfit, dummy: Dummy) -> list[Garment]:
    """The top and the jacket."""
    garments = fit_top(outfit.top.design, dummy, outfit.top.cloth)
    if outfit.jacket is not None:
        garments += fit_top(outfit.jacket.design, dummy, outfit.jacket.cloth, garments[0], layer=2)
    return garments


def fit_outfit(outfit: Outfit, shape: BodyShape) -> list[Garment]:
    """What is worn, fitted to a body in its rest pose; inner garments first."""
    dummy = measure(shape)
    if outfit.dress is not None:
        return _fit_dress(outfit.dress, dummy)
    garments = _fit_bottom(outfit.bottom, dummy, outfit.top.design) + _fit_upper(outfit, dummy)
    # A long top may cover short trousers whole.
    return [garment for garment in garments if len(garment.faces)]


def garment_surface(garment: Garment, transforms: np.ndarray) -> Surface:
    """Pose a fitted garment with the joint transforms (J, 3, 4)."""
    vertices = skin(garment.vertices, garment.skin_weights, transforms)
    return Surface(
        vertices=vertices,
        normals=vertex_normals(vertices, garment.faces),
        faces=garment.faces,
        labels=np.full(len(vertices), garment.label, dtype=np.uint8),
        cloth=garment.cloth,
        texture_coordinates=garment.texture_coordinates,
        edge_distance=garment.edge_distance,
        priority=garment.priority,
        gloss=garment.cloth.gloss,
    )


def product_surfaces(outfit: Outfit, category: str, shape: BodyShape, style: str) -> list[Surface]:
    """The garment of `category` worn by nobody, seen from the front (the camera looks along +y).

    Args:
        outfit (`Outfit`): the outfit.
        category (`str`): "upper", "lower" or "dress".
        shape (`BodyShape`): the size.
        style (`str`): "mannequin", as on an invisible person with lowered arms; or "flat", laid flat.
    """
    dummy = measure(shape)
    if category == "dress":
        garments = _fit_dress(outfit.dress, dummy)
    elif category == "upper":
        garments = _fit_upper(outfit, dummy)
    else:
        garments = _fit_bottom(outfit.bottom, dummy, None)
    asset = load_body_asset()
    rotations = {}
    if style == "mannequin":
        rotations = {f"upperarm01.{side}": rotation((0, 1, 0), sign * 22.0) for side, sign in (("L", 1), ("R", -1))}
    transforms = forward_kinematics(shape.joints, asset.parents, asset.joint_names, rotations)
    surfaces = [garment_surface(garment, transforms) for garment in garments]
    if style == "mannequin":
        return surfaces
    flattened = [np.float32((1, _FLAT_DEPTH, 1)) * surface.vertices for surface in surfaces]
    return [
        replace(surface, vertices=vertices, normals=vertex_normals(vertices, surface.faces))
        for surface, vertices in zip(surfaces, flattened)
    ]
