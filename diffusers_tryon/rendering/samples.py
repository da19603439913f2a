# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Dataset rows: the same outfit in two poses, and unpaired rows with true ground truth.

Everything in a row follows from the split, the seed and the size. The splits "train" and "test" share no body (four of
the 32 body shapes are blended for the test split only) and no stream of random numbers, hence no print.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from ..composition import PARSE_IDS, compose_agnostic, cut_out_garment
from ..data.schema import SCHEMA_VERSION
from ..poses import NUM_KEYPOINTS, coco17_to_openpose18, hide_points_outside_image
from .backgrounds import Background, draw_background
from .body import forward_kinematics, load_body_asset, skin
from .cameras import Camera
from .garments import head_weight
from .identity import Identity, draw_identity
from .lighting import Light, draw_light
from .outfits import Outfit, draw_outfit, exchange_garment, fit_outfit, garment_surface, product_surfaces
from .people import body_surfaces
from .pose_sampling import Rotations, sample_pose
from .scene import Picture, Setting, draw_wrinkles, render


SPLITS = ("train", "test")
MIN_SIZE = 16
MAX_SIZE = 1024
UPPER_BODY_SHARE = 0.75
FLAT_SHARE = 0.15


@dataclass(frozen=True)
class Shot:
    """One photograph of a person: the pose, the framing, the surroundings.

    Attributes:
        rotations: joint rotations.
        upper_body: frame from the hips up instead of the whole body.
        below_hips: metres in the frame below the hips, for upper-body shots.
        margin: factor by which the frame exceeds the person.
        sideways: metres by which the camera is off the person's middle.
        light: the light.
        background: what is behind the person.
        wrinkles: the folds of the clothes, see `draw_wrinkles`.
    """

    rotations: Rotations
    upper_body: bool
    below_hips: float
    margin: float
    sideways: float
    light: Light
    background: Background
    wrinkles: np.ndarray


def _draw_shot(rng: np.random.Generator, identity: Identity) -> Shot:
    return Shot(
        rotations=sample_pose(rng, identity.shape),
        upper_body=bool(rng.random() < UPPER_BODY_SHARE),
        below_hips=rng.uniform(0.05, 0.25),
        margin=rng.uniform(1.02, 1.15),
        sideways=rng.uniform(-0.04, 0.04),
        light=draw_light(rng),
        background=draw_background(rng),
        wrinkles=draw_wrinkles(rng),
    )


def _frame(shot: Shot, posed: np.ndarray, keypoints: np.ndarray) -> Camera:
    """Aim the camera at the posed body: `posed` (V, 3) vertices, `keypoints` (17, 3) in metres."""
    shoulders_and_hips = keypoints[[5, 6, 11, 12]]
    top = posed[head_weight() > 0.5, 2].max() + 0.05
    if shot.upper_body:
        bottom = shoulders_and_hips[2:, 2].min() - shot.below_hips
    else:
        bottom = posed[load_body_asset().groups["body"][0], 2].min() - 0.04
    centre = np.array([shoulders_and_hips[:, 0].mean() + shot.sideways, 0, (top + bottom) / 2])
    return Camera(centre, extent=float((top - bottom) * shot.margin))


def _photograph(identity: Identity, outfit: Outfit, shot: Shot, size: int) -> tuple[Picture, np.ndarray]:
    """Render a person; returns the picture and the OpenPose keypoints (18, 3), missing outside the frame."""
    asset = load_body_asset()
    shape = identity.shape
    transforms = forward_kinematics(shape.joints, asset.parents, asset.joint_names, shot.rotations)
    posed = skin(shape.vertices, asset.skin_weights, transforms)
    keypoints = asset.keypoint_regressor @ posed
    camera = _frame(shot, posed, keypoints)
    garments = fit_outfit(outfit, shape)
    hidden = np.any([garment.hides_skin for garment in garments], axis=0)
    surfaces = body_surfaces(identity, posed, transforms, hidden)
    surfaces += [garment_surface(garment, transforms) for garment in garments]
    setting = Setting(shot.light, shot.background.paint(size), shot.wrinkles)
    picture = render(surfaces, camera, setting, size)
    projected = camera.project(keypoints)
    projected[:, 2] = 1.0
    return picture, hide_points_outside_image(coco17_to_openpose18(projected))


def _product_view(identity: Identity, outfit: Outfit, shot: Shot, size: int) -> Picture:
    """The top alone, as on an invisible mannequin: arms lowered, seen from the front, on white."""
    surfaces = product_surfaces(outfit, "upper", identity.shape, "mannequin")
    vertices = np.concatenate([surface.vertices for surface in surfaces])
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    camera = Camera((low + high) / 2 * (1, 0, 1), extent=float((high - low)[[0, 2]].max() * 1.12), distance=6.0)
    return render(surfaces, camera, Setting(shot.light, np.ones(3), shot.wrinkles), size)


def _garment_columns(
    rng: np.random.Generator, identity: Identity, outfit: Outfit, size: int
) -> dict[str, np.ndarray | str]:
    """`garment_image`, `garment_pose` and `garment_type`: the top cut out of a new shot, or the product view."""
    shot = _draw_shot(rng, identity)
    if rng.random() < FLAT_SHARE:
        picture = _product_view(identity, outfit, shot, size)
        pose, garment_type = np.zeros((NUM_KEYPOINTS, 3), np.float32), "flat"
    else:
        picture, pose = _photograph(identity, outfit, shot, size)
        garment_type = "worn"
    return {
        "garment_image": cut_out_garment(picture.image, picture.parse),
        "garment_pose": pose,
        "garment_type": garment_type,
    }


def _person_columns(picture: Picture, pose: np.ndarray) -> dict[str, np.ndarray]:
    # A pixel that shows only a little of the top is hidden as well, so that no colour leaks along edges.
    parse_for_hiding = np.where(picture.touches(PARSE_IDS["top"]), PARSE_IDS["top"], picture.parse)
    agnostic_image, agnostic_mask = compose_agnostic(picture.image, parse_for_hiding, pose)
    return {
        "person_image": picture.image,
        "agnostic_image": agnostic_image,
        "agnostic_mask": agnostic_mask,
        "person_pose": pose,
        "person_parse": picture.parse,
    }


def _stream(split: str, seed: int, purpose: int) -> np.random.Generator:
    """An independent stream of random numbers for each split, seed and purpose."""
    return np.random.default_rng([SPLITS.index(split), seed, purpose])


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """Sums in several threads may differ in the last bit; rows must not depend on the machine's cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def check_render_arguments(seed: int, size: int, split: str) -> None:
    """Raise a `ValueError` that names the argument unless a row can be rendered with these."""
    if not isinstance(seed, int) or seed < 0:
        raise ValueError(f"`seed` must be an integer of at least 0, got {seed!r}.")
    if not isinstance(size, int) or not MIN_SIZE <= size <= MAX_SIZE:
        raise ValueError(f"`size` must be an integer from {MIN_SIZE} to {MAX_SIZE} pixels, got {size!r}.")
    if split not in SPLITS:
        raise ValueError(f"`split` must be one of {', '.join(SPLITS)}, got {split!r}.")


def row_id(seed: int, split: str, unpaired: bool) -> str:
    """The `id` column of a row."""
    return f"{split}-{'unpaired' if unpaired else 'paired'}-{seed}"


def _common_columns(seed: int, split: str, unpaired: bool) -> dict[str, str | int]:
    return {
        "id": row_id(seed, split, unpaired),
        "category": "upper",
        "source": "rendered",
        "schema_version": SCHEMA_VERSION,
    }


def render_pair(seed: int, size: int, split: str = "train") -> dict[str, np.ndarray | str | int]:
    """Render a training row: a person, and the same top from another shot of the same person in the same outfit.

    Args:
        seed (`int`): 0 or more; with split and size it determines every byte.
        size (`int`): height and width in pixels, 16 to 1024.
        split (`str`): "train" or "test"; they share no bodies and no prints.

    Returns:
        `dict`: a row of `data.schema.dataset_features(("person_parse",))` with images as uint8 arrays (H, W, 3) or
        (H, W) and poses as float32 (18, 3). In 15 % of the rows the garment is "flat": seen alone, with a pose of
        zeros.
    """
    check_render_arguments(seed, size, split)
    with _one_torch_thread():
        identity = draw_identity(_stream(split, seed, 0), split)
        outfit = draw_outfit(_stream(split, seed, 1), "upper")
        shot = _draw_shot(_stream(split, seed, 2), identity)
        person = _person_columns(*_photograph(identity, outfit, shot, size))
        garment = _garment_columns(_stream(split, seed, 3), identity, outfit, size)
    return _common_columns(seed, split, unpaired=False) | person | garment


def render_unpaired(seed: int, size: int, split: str = "test") -> dict[str, np.ndarray | str | int]:
    """Render an evaluation row: a person, a top from another person, and the person in that top.

    `target_image` shows the same body, pose, light, background and lower garment as `person_image`, in the design and
    cloth of the other top, fitted to this body. The two pictures differ only where one of the tops is seen, or skin
    and clothes that a top covers or shadows in one of them.

    Args and returns as in `render_pair`, with the extra column `target_image`.
    """
    check_render_arguments(seed, size, split)
    with _one_torch_thread():
        identity = draw_identity(_stream(split, seed, 0), split)
        outfit = draw_outfit(_stream(split, seed, 1), "upper")
        shot = _draw_shot(_stream(split, seed, 2), identity)
        other_identity = draw_identity(_stream(split, seed, 4), split)
        other_outfit = draw_outfit(_stream(split, seed, 5), "upper")
        person = _person_columns(*_photograph(identity, outfit, shot, size))
        garment = _garment_columns(_stream(split, seed, 3), other_identity, other_outfit, size)
        changed = exchange_garment(outfit, other_outfit, "upper")
        target, _ = _photograph(identity, changed, shot, size)
    return _common_columns(seed, split, unpaired=True) | person | garment | {"target_image": target.image}
