# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""One photograph: of a person in an outfit, or of a garment alone."""

from dataclasses import dataclass

import numpy as np

from ..composition import GARMENT_LABELS, PARSE_IDS
from .backgrounds import Background, draw_background
from .body import forward_kinematics, load_body_asset, pose_body
from .cameras import View, aim, body_heading, draw_view, framed_points
from .folds import draw_wrinkles
from .identity import Identity
from .lighting import Light, draw_light
from .outfits import Outfit, fit_outfit, garment_surface, product_surfaces
from .people import body_surfaces
from .pose_sampling import Rotations, sample_pose
from .scene import Picture, Setting, render
from .surfaces import Surface
from .visibility import seen_keypoints


# How often a photograph of a person who shows a garment of a category is framed how.
_FRAMING_SHARES = {
    "upper": {"upper_body": 0.64, "three_quarter": 0.26, "full": 0.10},
    "lower": {"hips_to_feet": 0.55, "full": 0.45},
    "dress": {"full": 0.75, "three_quarter": 0.25},
}
_PERSON_MARGIN = (1.02, 1.16)
_GARMENT_MARGIN = (1.04, 1.4)


@dataclass(frozen=True)
class Shot:
    """Everything about a photograph but who and what it shows.

    Attributes:
        rotations: the pose, as joint rotations.
        view: camera and framing.
        light: the light, as seen from the camera.
        background: what is behind the person.
        wrinkles: the folds of the clothes, see `folds.draw_wrinkles`.
    """

    rotations: Rotations
    view: View
    light: Light
    background: Background
    wrinkles: np.ndarray


def draw_shot(
    rng: np.random.Generator, identity: Identity, category: str, from_behind: bool, of_garment: bool
) -> Shot:
    """Draw a photograph.

    Args:
        rng (`np.random.Generator`): the only source of randomness.
        identity (`Identity`): who is photographed.
        category (`str`): what is tried on: "upper", "lower" or "dress".
        from_behind (`bool`): show the person's back.
        of_garment (`bool`): frame what is tried on alone, as a crop of a photograph would, instead of the person.
    """
    pose_stream, view_stream, light_stream, background_stream, wrinkle_stream = rng.spawn(5)
    shares = _FRAMING_SHARES[category]
    framing = str(view_stream.choice(list(shares), p=list(shares.values())))
    if of_garment:
        view = draw_view(view_stream, "garment", from_behind, _GARMENT_MARGIN)
    else:
        view = draw_view(view_stream, framing, from_behind, _PERSON_MARGIN)
    return Shot(
        rotations=sample_pose(pose_stream, identity.shape),
        view=view,
        light=draw_light(light_stream),
        background=draw_background(background_stream),
        wrinkles=draw_wrinkles(wrinkle_stream),
    )


def _garment_vertices(surfaces: list[Surface], category: str) -> np.ndarray:
    """The vertices (N, 3) of what is tried on."""
    ids = [PARSE_IDS[name] for name in GARMENT_LABELS[category]]
    return np.concatenate([surface.vertices for surface in surfaces if surface.labels[0] in ids])


def photograph(identity: Identity, outfit: Outfit, shot: Shot, category: str, size: int) -> tuple[Picture, np.ndarray]:
    """Photograph a person in an outfit.

    Args:
        identity (`Identity`): who.
        outfit (`Outfit`): in what.
        shot (`Shot`): how. Unless its framing is "garment", the camera does not depend on the outfit.
        category (`str`): what the framing "garment" frames.
        size (`int`): height and width in pixels.

    Returns:
        `tuple[Picture, np.ndarray]`: the picture, and the OpenPose keypoints (18, 3), see `seen_keypoints`.
    """
    asset = load_body_asset()
    shape = identity.shape
    transforms = forward_kinematics(shape.joints, asset.parents, asset.joint_names, shot.rotations)
    posed = pose_body(shape, transforms)
    keypoints = asset.keypoint_regressor @ posed
    garments = fit_outfit(outfit, shape)
    garment_surfaces = [garment_surface(garment, transforms) for garment in garments]
    if shot.view.framing == "garment":
        points = _garment_vertices(garment_surfaces, category)
    else:
        points = framed_points(shot.view, posed, keypoints)
    camera = aim(shot.view, points, body_heading(keypoints))

    hidden = np.any([garment.hides_skin for garment in garments], axis=0)
    surfaces = body_surfaces(identity, posed, transforms, hidden) + garment_surfaces
    setting = Setting(shot.light.turned(camera.axes), shot.background.paint(size), shot.wrinkles)
    picture = render(surfaces, camera, setting, size)
    return picture, seen_keypoints(posed, camera, picture.depth, picture.parse)


def photograph_product(
    identity: Identity, outfit: Outfit, shot: Shot, category: str, style: str, size: int
) -> Picture:
    """Photograph the garment of a category alone, from the front, on white.

    Args:
        identity (`Identity`): whose size it has.
        outfit (`Outfit`): what it is part of.
        shot (`Shot`): light, folds, and how much white is around it.
        category (`str`): "upper", "lower" or "dress".
        style (`str`): one of `PRODUCT_STYLES`.
        size (`int`): height and width in pixels.
    """
    surfaces = product_surfaces(outfit, category, identity.shape, style)
    view = View("garment", 0.0, 0.0, 0.0, distance=6.0, margin=shot.view.margin, cut=0.0, shift=(0.0, 0.0))
    camera = aim(view, np.concatenate([surface.vertices for surface in surfaces]), heading=0.0)
    return render(surfaces, camera, Setting(shot.light, np.ones(3), shot.wrinkles), size)
