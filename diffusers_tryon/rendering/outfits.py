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
from .garments import Garment, fit_belt, fit_dress, fit_pants, fit_skirt, fit_top
from .mesh import vertex_normals
from .prints import Print, draw_print
from .surfaces import Surface


PRODUCT_STYLES = ("mannequin", "flat")
# Laid flat, a garment keeps this share of its depth.
_FLAT_DEPTH = 0.25
_JACKET_SHARE = 0.22
_BELT_SHARE = 0.35
# A lower garment that is tried on is not hidden: tops end above this torso coordinate (0 hips).
_HEM_ABOVE_LOWER = -0.05


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
    top = Piece(draw_top_design(top_stream), draw_print(top_stream))
    if category == "lower":
        # A long top would cover shorts.
        top = replace(top, design=replace(top.design, hem=max(top.design.hem, 0.0)))
    bottom = _draw_belt(bottom_stream, Piece(draw_bottom_design(bottom_stream), draw_print(bottom_stream)))
    if category == "dress":
        dress = Piece(draw_dress_design(dress_stream), draw_print(dress_stream))
        return Outfit(top, bottom, dress=_draw_belt(dress_stream, dress))
    if category == "lower":
        top = replace(top, design=replace(top.design, hem=max(top.design.hem, _HEM_ABOVE_LOWER)))
    jacket = None
    if jacket_stream.random() < _JACKET_SHARE:
        jacket = Piece(draw_jacket_design(jacket_stream), draw_print(jacket_stream))
        top = replace(top, design=_under_jacket(top.design))
    return Outfit(top, bottom, jacket)


def _draw_belt(rng: np.random.Generator, piece: Piece) -> Piece:
    return replace(piece, belt=draw_print(rng)) if rng.random() < _BELT_SHARE else piece


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
    """A lower garment: under the hem of a top, or with its waistband where a top is tucked in."""
    design, top_hem = piece.design, None
    if top is not None and top.tucked is not None:
        design = replace(design, waist=top.tucked)
    elif top is not None:
        top_hem = top.hem
    fit = fit_skirt if isinstance(design, SkirtDesign) else fit_pants
    garments = [fit(design, dummy, piece.cloth, top_hem)]
    if piece.belt is not None and (top_hem is None or top_hem > design.waist):
        garments.append(fit_belt(design.waist, garments[0], dummy, piece.belt))
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
