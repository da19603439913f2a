# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""One photograph: of a person in an outfit, or of a garment alone."""

from dataclasses import dataclass

import numpy as np

from ..composition import GARMENT_LABELS, PARSE_IDS, label_mask
from ..poses import NUM_KEYPOINTS
from .backgrounds import Background, cast_shadow, draw_background
from .body import forward_kinematics, load_body_asset, pose_body
from .cameras import View, aim, body_heading, draw_view, framed_points
from .finish import Finish, draw_finish
from .folds import draw_wrinkles
from .garments import Garment
from .identity import Identity
from .lighting import Light, draw_light
from .outfits import Outfit, fit_outfit, garment_surface, product_surfaces
from .people import body_surfaces
from .pose_sampling import Rotations, sample_pose
from .scene import Picture, Request, Setting, Steps, run_steps
from .seats import Seat, draw_seat, points_inside, seat_surface, sits
from .surfaces import Surface
from .visibility import seen_keypoints, seen_share


# How often a photograph of a person who shows a garment of a category is framed how.
_FRAMING_SHARES = {
    "upper": {"upper_body": 0.64, "three_quarter": 0.26, "full": 0.10},
    "lower": {"hips_to_feet": 0.7, "full": 0.3},
    "dress": {"full": 0.75, "three_quarter": 0.25},
}
# Share of the photographs of a worn garment that are framed like one of a person.
_UNCROPPED_SHARE = 0.25
_GREY = np.full(3, 0.7)
_WHITE = np.ones(3)
_PERSON_MARGIN = (1.02, 1.16)
_GARMENT_MARGIN = (1.04, 1.4)


@dataclass(frozen=True)
class Shot:
    """Everything about a photograph but who and what it shows.

    Attributes:
        rotations: the pose, as joint rotations.
        view: camera and framing.
        light: the light, as seen from the camera.
        background: what is behind the person; None for grey, where nobody will see it, and for the white of a product.
        wrinkles: the folds of the clothes, see `folds.draw_wrinkles`.
        finish: what the camera does to the picture.
        seat: what the person sits on, if the pose is one of sitting.
    """

    rotations: Rotations
    view: View
    light: Light
    background: Background | None
    wrinkles: np.ndarray
    finish: Finish
    seat: Seat


@dataclass(frozen=True)
class Photograph:
    """A photograph and what is known about it.

    Attributes:
        shot: how it was taken.
        image: (S, S, 3) uint8, the finished picture.
        picture: the labels, and the picture before its finish.
        pose: (18, 3) float32 OpenPose keypoints, see `seen_keypoints`; zeros of a garment alone.
        seen: how much of the garment's front is neither hidden nor outside, 0 to 1, see `seen_share`.
    """

    shot: Shot
    image: np.ndarray
    picture: Picture
    pose: np.ndarray
    seen: float

    def area(self, category: str) -> float:
        """The share of the picture that shows the garment of a category."""
        return float(label_mask(self.picture.parse, GARMENT_LABELS[category]).mean())


@dataclass(frozen=True)
class DressedPerson:
    """A person in an outfit; the garments are fitted once for all photographs."""

    identity: Identity
    outfit: Outfit
    garments: tuple[Garment, ...]


def dress(identity: Identity, outfit: Outfit) -> DressedPerson:
    """Put an outfit on a person."""
    fitted = fit_outfit(outfit, identity.shape)
    # Shorts under a long top are nothing but their waist, which the hem of the top cuts away.
    return DressedPerson(identity, outfit, tuple(garment for garment in fitted if len(garment.vertices)))


def draw_shot(
    rng: np.random.Generator,
    identity: Identity,
    category: str,
    from_behind: bool,
    of_garment: bool,
    may_sit: bool = True,
) -> Shot:
    """Draw a photograph.

    Args:
        rng (`np.random.Generator`): the only source of randomness.
        identity (`Identity`): who is photographed.
        category (`str`): what is tried on: "upper", "lower" or "dress".
        from_behind (`bool`): show the person's back.
        of_garment (`bool`): the garment will be cut out: mostly it alone is framed, as a crop would do, and there is
            no background.
        may_sit (`bool`): whether the person may sit, see `sample_pose`.
    """
    pose_stream, view_stream, light_stream, background_stream, wrinkle_stream, finish_stream, seat_stream = rng.spawn(
        7
    )
    shares = _FRAMING_SHARES[category]
    framing = str(view_stream.choice(list(shares), p=list(shares.values())))
    if of_garment and view_stream.random() > _UNCROPPED_SHARE:
        view = draw_view(view_stream, "garment", from_behind, _GARMENT_MARGIN)
    else:
        view = draw_view(view_stream, framing, from_behind, _PERSON_MARGIN)
    return Shot(
        rotations=sample_pose(pose_stream, identity.shape, view.facing, may_sit),
        view=view,
        light=draw_light(light_stream),
        background=None if of_garment else draw_background(background_stream),
        wrinkles=draw_wrinkles(wrinkle_stream),
        finish=draw_finish(finish_stream),
        seat=draw_seat(seat_stream),
    )


def _garment_points(surfaces: list[Surface], category: str) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (N, 3) and normals (N, 3) of what is tried on."""
    ids = [PARSE_IDS[name] for name in GARMENT_LABELS[category]]
    own = [surface for surface in surfaces if surface.labels[0] in ids]
    return np.concatenate([surface.vertices for surface in own]), np.concatenate([surface.normals for surface in own])


def photograph(person: DressedPerson, shot: Shot, category: str, size: int) -> Photograph:
    """Photograph a person in an outfit, see `photograph_steps`."""
    return run_steps([photograph_steps(person, shot, category, size)])[0]


def photograph_steps(person: DressedPerson, shot: Shot, category: str, size: int) -> Steps[Photograph]:
    """Photograph a person in an outfit, in steps between which the picture is drawn.

    Args:
        person (`DressedPerson`): who, in what.
        shot (`Shot`): how. Unless its framing is "garment", nothing but the clothes depends on the outfit.
        category (`str`): what the framing "garment" frames.
        size (`int`): height and width in pixels.
    """
    asset = load_body_asset()
    shape = person.identity.shape
    transforms = forward_kinematics(shape.joints, asset.parents, asset.joint_names, shot.rotations)
    posed = pose_body(shape, transforms)
    keypoints = asset.keypoint_regressor @ posed
    garment_surfaces = [garment_surface(garment, transforms) for garment in person.garments]
    garment_points, garment_normals = _garment_points(garment_surfaces, category)
    if shot.view.framing == "garment":
        points = garment_points
    else:
        points = framed_points(shot.view, posed, keypoints)
    camera = aim(shot.view, points, body_heading(keypoints))

    hidden = np.any([garment.hides_skin for garment in person.garments], axis=0)
    surfaces = body_surfaces(person.identity, posed, transforms, hidden, looks_at=camera.position) + garment_surfaces
    shading = posed[asset.groups["body"][0]]
    if sits(keypoints):
        seat = seat_surface(shot.seat, posed)
        surfaces.append(seat)
        shading = np.concatenate([shading, points_inside(seat)])
    light = shot.light.turned(camera.axes)
    background = _GREY
    if shot.background is not None:
        shadow = cast_shadow(shading, light)
        background = shot.background.paint(camera, light, shadow, size)
    picture = yield Request(surfaces, camera, Setting(light, background, shot.wrinkles), size)
    pose = seen_keypoints(posed, camera, picture.depth, picture.parse)
    seen = seen_share(garment_points, garment_normals, camera, picture.depth)
    return Photograph(shot, shot.finish.apply(picture.image), picture, pose, seen)


def photograph_product(person: DressedPerson, shot: Shot, category: str, style: str, size: int) -> Photograph:
    """Photograph a garment alone, see `photograph_product_steps`."""
    return run_steps([photograph_product_steps(person, shot, category, style, size)])[0]


def photograph_product_steps(
    person: DressedPerson, shot: Shot, category: str, style: str, size: int
) -> Steps[Photograph]:
    """Photograph the garment of a category alone, from the front, in steps between which it is drawn.

    Args:
        person (`DressedPerson`): in whose size, part of which outfit.
        shot (`Shot`): light, folds, how much is around it, and of what: white, unless there is a background.
        category (`str`): "upper", "lower" or "dress".
        style (`str`): one of `PRODUCT_STYLES`.
        size (`int`): height and width in pixels.
    """
    surfaces = product_surfaces(person.outfit, category, person.identity.shape, style)
    view = View("garment", 0.0, 0.0, 0.0, distance=6.0, margin=shot.view.margin, cut=0.0, shift=(0.0, 0.0))
    points = np.concatenate([surface.vertices for surface in surfaces])
    camera = aim(view, points, heading=0.0)
    background = _WHITE
    if shot.background is not None:
        background = shot.background.paint(camera, shot.light, cast_shadow(points, shot.light), size)
    picture = yield Request(surfaces, camera, Setting(shot.light, background, shot.wrinkles), size)
    return Photograph(shot, shot.finish.apply(picture.image), picture, np.zeros((NUM_KEYPOINTS, 3), np.float32), 1.0)
