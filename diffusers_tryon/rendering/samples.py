# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Dataset rows: the same outfit in two poses, and unpaired rows with true ground truth.

Everything in a row follows from the split, the seed, the size and the category. The splits "train" and "test" share no
body (four of the 32 body shapes are blended for the test split only) and no stream of random numbers, hence no print.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from ..composition import (
    CATEGORIES,
    GARMENT_LABELS,
    KEPT_LABELS,
    PARSE_IDS,
    compose_agnostic,
    cut_out_garment,
    label_mask,
)
from ..data.schema import SCHEMA_VERSION
from ..poses import NUM_KEYPOINTS
from .identity import Identity, draw_identity
from .outfits import PRODUCT_STYLES, Outfit, draw_outfit, exchange_garment
from .photography import Shot, draw_shot, photograph, photograph_product
from .scene import Picture


SPLITS = ("train", "test")
MIN_SIZE = 16
MAX_SIZE = 1024
# Columns that the rows have beyond those that every source has.
PAIR_COLUMNS = ("person_id", "garment_id", "person_parse", "garment_parse")
UNPAIRED_COLUMNS = PAIR_COLUMNS + ("target_image",)

_CATEGORY_SHARES = {"upper": 0.55, "lower": 0.2, "dress": 0.25}
_BACK_SHARE = 0.06
_FLAT_SHARE = 0.15
# Share of the photographs of a worn garment that are framed like one of a person.
_UNCROPPED_SHARE = 0.25
# A photograph that shows less of the garment than this share of the picture is taken again.
_MIN_AREA_ON_PERSON = 0.05
_MIN_AREA_OF_GARMENT = 0.12
_MAX_ATTEMPTS = 4
# One stream of random numbers each.
_IDENTITY, _OUTFIT, _PERSON_SHOT, _GARMENT_SHOT, _OTHER_IDENTITY, _OTHER_OUTFIT, _PLAN = range(7)
_EVERYTHING_WORN = ("top", "dress", "skirt", "pants", "belt")


def _stream(split: str, seed: int, purpose: int, attempt: int = 0) -> np.random.Generator:
    """An independent stream of random numbers for each split, seed, purpose and attempt."""
    return np.random.default_rng([SPLITS.index(split), seed, purpose, attempt])


@dataclass(frozen=True)
class _Plan:
    """What a row is about: the category tried on, and whether both photographs show the person from behind."""

    category: str
    from_behind: bool


def _draw_plan(split: str, seed: int, category: str | None) -> _Plan:
    rng = _stream(split, seed, _PLAN)
    drawn = str(rng.choice(list(_CATEGORY_SHARES), p=list(_CATEGORY_SHARES.values())))
    return _Plan(category or drawn, from_behind=bool(rng.random() < _BACK_SHARE))


@dataclass(frozen=True)
class _Photograph:
    """A picture with its keypoints (18, 3) and how it was taken."""

    shot: Shot
    picture: Picture
    pose: np.ndarray

    def area(self, category: str) -> float:
        """The share of the picture that shows what is tried on."""
        return float(label_mask(self.picture.parse, GARMENT_LABELS[category]).mean())


def _photograph_well(
    split: str, seed: int, purpose: int, plan: _Plan, identity: Identity, outfit: Outfit, size: int
) -> _Photograph:
    """Photograph a person, again if little of the garment is seen; the best of a few attempts."""
    least = _MIN_AREA_ON_PERSON if purpose == _PERSON_SHOT else _MIN_AREA_OF_GARMENT
    taken = []
    for attempt in range(_MAX_ATTEMPTS):
        rng = _stream(split, seed, purpose, attempt)
        of_garment = purpose == _GARMENT_SHOT and rng.random() > _UNCROPPED_SHARE
        shot = draw_shot(rng, identity, plan.category, plan.from_behind, of_garment)
        taken.append(_Photograph(shot, *photograph(identity, outfit, shot, plan.category, size)))
        if taken[-1].area(plan.category) >= least:
            break
    return max(taken, key=lambda photo: photo.area(plan.category))


def _person_columns(picture: Picture, pose: np.ndarray, category: str) -> dict[str, np.ndarray]:
    # A pixel that shows only a little of what is taken off is hidden as well, so that no colour leaks along edges.
    taken_off = tuple(name for name in _EVERYTHING_WORN if name not in KEPT_LABELS[category])
    touched = label_mask(picture.label_samples, taken_off).any(axis=0)
    parse_for_hiding = np.where(touched, PARSE_IDS[GARMENT_LABELS[category][0]], picture.parse)
    agnostic_image, agnostic_mask = compose_agnostic(picture.image, parse_for_hiding, pose, category)
    return {
        "person_image": picture.image,
        "agnostic_image": agnostic_image,
        "agnostic_mask": agnostic_mask,
        "person_pose": pose,
        "person_parse": picture.parse,
    }


def _garment_columns(
    split: str, seed: int, plan: _Plan, identity: Identity, outfit: Outfit, size: int
) -> dict[str, np.ndarray | str]:
    """The garment: cut out of a new photograph of the person in the outfit, or shown alone as a product."""
    rng = _stream(split, seed, _GARMENT_SHOT, _MAX_ATTEMPTS)
    if rng.random() < _FLAT_SHARE and not plan.from_behind:
        shot = draw_shot(rng, identity, plan.category, from_behind=False, of_garment=True)
        style = str(rng.choice(PRODUCT_STYLES))
        picture = photograph_product(identity, outfit, shot, plan.category, style, size)
        pose, garment_type = np.zeros((NUM_KEYPOINTS, 3), np.float32), "flat"
    else:
        photo = _photograph_well(split, seed, _GARMENT_SHOT, plan, identity, outfit, size)
        picture, pose, garment_type = photo.picture, photo.pose, "worn"
    return {
        "garment_image": cut_out_garment(picture.image, picture.parse, plan.category),
        "garment_pose": pose,
        "garment_parse": picture.parse,
        "garment_type": garment_type,
    }


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """Sums in several threads may differ in the last bit; rows must not depend on the machine's cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def check_render_arguments(seed: int, size: int, split: str, category: str | None = None) -> None:
    """Raise a `ValueError` that names the argument unless a row can be rendered with these."""
    if not isinstance(seed, int) or seed < 0:
        raise ValueError(f"`seed` must be an integer of at least 0, got {seed!r}.")
    if not isinstance(size, int) or not MIN_SIZE <= size <= MAX_SIZE:
        raise ValueError(f"`size` must be an integer from {MIN_SIZE} to {MAX_SIZE} pixels, got {size!r}.")
    if split not in SPLITS:
        raise ValueError(f"`split` must be one of {', '.join(SPLITS)}, got {split!r}.")
    if category is not None and category not in CATEGORIES:
        raise ValueError(f"`category` must be one of {', '.join(CATEGORIES)}, or None to draw it, got {category!r}.")


def row_id(seed: int, split: str, unpaired: bool, category: str | None = None) -> str:
    """The `id` column of a row."""
    kind = "unpaired" if unpaired else "paired"
    return f"{split}-{kind}-{_draw_plan(split, seed, category).category}-{seed}"


def _common_columns(seed: int, split: str, unpaired: bool, category: str) -> dict[str, str | int]:
    person = f"{split}-{seed}"
    return {
        "id": row_id(seed, split, unpaired, category),
        "category": category,
        "source": "rendered",
        "schema_version": SCHEMA_VERSION,
        "person_id": person,
        "garment_id": f"{person}-other-{category}" if unpaired else f"{person}-{category}",
    }


def render_pair(
    seed: int, size: int, split: str = "train", category: str | None = None
) -> dict[str, np.ndarray | str | int]:
    """Render a training row: a person, and the same garment from another shot of the same person in the same outfit.

    Args:
        seed (`int`): 0 or more; with the other arguments it determines every byte.
        size (`int`): height and width in pixels, 16 to 1024.
        split (`str`): "train" or "test"; they share no bodies and no prints.
        category (`str`, *optional*): "upper", "lower" or "dress"; drawn if not given.

    Returns:
        `dict`: a row of `data.schema.dataset_features(PAIR_COLUMNS)` with images as uint8 arrays (H, W, 3) or (H, W)
        and poses as float32 (18, 3). In 15 % of the rows the garment is "flat": seen alone, with a pose of zeros.
        Nobody is seen from the front in one picture and from behind in the other.
    """
    check_render_arguments(seed, size, split, category)
    plan = _draw_plan(split, seed, category)
    with _one_torch_thread():
        identity = draw_identity(_stream(split, seed, _IDENTITY), split)
        outfit = draw_outfit(_stream(split, seed, _OUTFIT), plan.category)
        photo = _photograph_well(split, seed, _PERSON_SHOT, plan, identity, outfit, size)
        person = _person_columns(photo.picture, photo.pose, plan.category)
        garment = _garment_columns(split, seed, plan, identity, outfit, size)
    return _common_columns(seed, split, False, plan.category) | person | garment


def render_unpaired(
    seed: int, size: int, split: str = "test", category: str | None = None
) -> dict[str, np.ndarray | str | int]:
    """Render an evaluation row: a person, a garment of another person, and the person in that garment.

    `target_image` shows the same body, pose, light, background and other clothes as `person_image`, in the design and
    cloth of the other garment, fitted to this body. The two pictures differ only where one of the garments is seen,
    or skin and clothes that a garment covers or shadows in one of them.

    Args and returns as in `render_pair`, with the extra column `target_image`.
    """
    check_render_arguments(seed, size, split, category)
    plan = _draw_plan(split, seed, category)
    with _one_torch_thread():
        identity = draw_identity(_stream(split, seed, _IDENTITY), split)
        outfit = draw_outfit(_stream(split, seed, _OUTFIT), plan.category)
        other_identity = draw_identity(_stream(split, seed, _OTHER_IDENTITY), split)
        other_outfit = draw_outfit(_stream(split, seed, _OTHER_OUTFIT), plan.category)
        photo = _photograph_well(split, seed, _PERSON_SHOT, plan, identity, outfit, size)
        person = _person_columns(photo.picture, photo.pose, plan.category)
        garment = _garment_columns(split, seed, plan, other_identity, other_outfit, size)
        changed = exchange_garment(outfit, other_outfit, plan.category)
        target, _ = photograph(identity, changed, photo.shot, plan.category, size)
    return _common_columns(seed, split, True, plan.category) | person | garment | {"target_image": target.image}
