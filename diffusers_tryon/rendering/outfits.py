# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Outfits: everything somebody wears, drawn, exchanged, fitted to a body, and shown alone as a product."""

from dataclasses import dataclass, replace

import numpy as np

from ..composition import PARSE_IDS
from .body import BodyShape, forward_kinematics, load_body_asset, rotation, skin
from .garments import (
    Garment,
    PantsDesign,
    SkirtDesign,
    TopDesign,
    draw_bottom_design,
    draw_top_design,
    fit_bottom,
    fit_top,
)
from .mesh import vertex_normals
from .prints import Print, draw_print
from .surfaces import Surface


PRODUCT_STYLES = ("mannequin", "flat")
# Clothes win over what lies within these metres in front of them along the view, so that folds of an inner layer do
# not poke through an outer one.
_TOP_PRIORITY = 0.006
# Laid flat, a garment keeps this share of its depth.
_FLAT_DEPTH = 0.25


@dataclass(frozen=True)
class Piece:
    """One garment of an outfit: what it is cut like and what it is made of."""

    design: TopDesign | PantsDesign | SkirtDesign
    cloth: Print


@dataclass(frozen=True)
class Dress:
    """A dress of one cloth: its upper part and its skirt."""

    upper: TopDesign
    skirt: SkirtDesign
    cloth: Print


@dataclass(frozen=True)
class Outfit:
    """What somebody wears. Who wears a dress has a top and a lower garment in the wardrobe: they are worn as soon as
    the dress is exchanged for one of them."""

    top: Piece
    bottom: Piece
    dress: Dress | None = None


def draw_outfit(rng: np.random.Generator, category: str) -> Outfit:
    """Draw an outfit whose garment of `category` ("upper", "lower" or "dress") can be tried on."""
    top_stream, bottom_stream, dress_stream = rng.spawn(3)
    top = Piece(draw_top_design(top_stream), draw_print(top_stream))
    bottom = Piece(draw_bottom_design(bottom_stream), draw_print(bottom_stream))
    if category != "dress":
        return Outfit(top, bottom)
    upper = replace(draw_top_design(dress_stream), hem=0.1)
    skirt = SkirtDesign(dress_stream.uniform(0.4, 1.7), flare=dress_stream.uniform(0, 0.25))
    return Outfit(top, bottom, Dress(upper, skirt, draw_print(dress_stream)))


def exchange_garment(outfit: Outfit, other: Outfit, category: str) -> Outfit:
    """`outfit` with the garment of `category` ("upper", "lower" or "dress") of `other`.

    A dress goes over a top and a lower garment, and replaces both; who wore a dress puts on the own top or lower
    garment with what is exchanged.
    """
    if category == "dress":
        return replace(outfit, dress=other.dress)
    if category == "upper":
        return replace(outfit, top=other.top, dress=None)
    return replace(outfit, bottom=other.bottom, dress=None)


def _fit_dress(dress: Dress, shape: BodyShape) -> list[Garment]:
    parts = fit_bottom(dress.skirt, shape, dress.upper, dress.cloth), fit_top(dress.upper, shape, dress.cloth)
    return [replace(part, label=PARSE_IDS["dress"]) for part in parts]


def fit_outfit(outfit: Outfit, shape: BodyShape) -> list[Garment]:
    """What is worn, fitted to a body in its rest pose; inner garments first."""
    if outfit.dress is not None:
        return _fit_dress(outfit.dress, shape)
    return [
        fit_bottom(outfit.bottom.design, shape, outfit.top.design, outfit.bottom.cloth),
        fit_top(outfit.top.design, shape, outfit.top.cloth),
    ]


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
        priority=_TOP_PRIORITY if garment.label in (PARSE_IDS["top"], PARSE_IDS["dress"]) else 0.0,
    )


def product_surfaces(outfit: Outfit, category: str, shape: BodyShape, style: str) -> list[Surface]:
    """The garment of `category` worn by nobody, seen from the front (the camera looks along +y).

    Args:
        outfit (`Outfit`): the outfit.
        category (`str`): "upper", "lower" or "dress".
        shape (`BodyShape`): the size.
        style (`str`): "mannequin", as on an invisible person with lowered arms; or "flat", laid flat.
    """
    if category == "dress":
        garments = _fit_dress(outfit.dress, shape)
    else:
        lower, upper = fit_outfit(replace(outfit, dress=None), shape)
        garments = [upper if category == "upper" else lower]
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
