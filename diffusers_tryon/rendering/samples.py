# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Dataset rows: the same outfit in two poses, and unpaired rows with true ground truth.

Everything in a row follows from the split, the seed, the size and the category. The splits "train" and "test" share no
body (four of the 32 body shapes are blended for the test split only) and no stream of random numbers, hence no print.
"""

from collections.abc import Iterator, Sequence
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
from ..data.schema import GARMENT_TYPES, SCHEMA_VERSION
from .identity import draw_identity
from .outfits import PRODUCT_STYLES, draw_outfit, exchange_garment
from .photography import (
    DressedPerson,
    Photograph,
    draw_shot,
    dress,
    photograph_product_steps,
    photograph_steps,
)
from .scene import Steps, run_steps


Row = dict[str, np.ndarray | str | int]
# Raised whenever the same seed gives other pictures than before, so that a pool is never extended with other people.
RENDERER_VERSION = 2
SPLITS = ("train", "test")
MIN_SIZE = 16
MAX_SIZE = 1024
# Columns that the rows have beyond those that every source has.
PAIR_COLUMNS = ("person_id", "garment_id", "person_parse", "garment_parse")
UNPAIRED_COLUMNS = PAIR_COLUMNS + ("target_image", "target_parse")

_CATEGORY_SHARES = {"upper": 0.55, "lower": 0.2, "dress": 0.25}
_BACK_SHARE = 0.06
_FLAT_SHARE = 0.15
# A photograph that shows less of the garment than this share of the picture is taken again, and one of the garment
# itself also if arms, hair or the frame hide too much of it.
_MIN_AREA_ON_PERSON = 0.03
_MIN_AREA_OF_GARMENT = 0.1
_MIN_SEEN_OF_GARMENT = 0.65
_MAX_ATTEMPTS = 4
# One stream of random numbers each.
_IDENTITY, _OUTFIT, _PERSON_SHOT, _GARMENT_SHOT, _OTHER_IDENTITY, _OTHER_OUTFIT, _PLAN = range(7)
_EVERYTHING_WORN = ("top", "dress", "skirt", "pants", "belt")


def _stream(split: str, seed: int, purpose: int, attempt: int = 0) -> np.random.Generator:
    """An independent stream of random numbers for each split, seed, purpose and attempt."""
    return np.random.default_rng([SPLITS.index(split), seed, purpose, attempt])


@dataclass(frozen=True)
class _Plan:
    """What a row is about: the category tried on, whether both photographs show the person from behind, and how the
    garment is shown, "worn" or "flat"; drawn later if None."""

    category: str
    from_behind: bool
    garment_type: str | None


def _draw_plan(split: str, seed: int, category: str | None, garment_type: str | None = None) -> _Plan:
    rng = _stream(split, seed, _PLAN)
    drawn = str(rng.choice(list(_CATEGORY_SHARES), p=list(_CATEGORY_SHARES.values())))
    from_behind = bool(rng.random() < _BACK_SHARE) and garment_type != "flat"
    return _Plan(category or drawn, from_behind, garment_type)


def _draw_person(split: str, seed: int, identity_purpose: int, outfit_purpose: int, plan: _Plan) -> DressedPerson:
    identity = draw_identity(_stream(split, seed, identity_purpose), split)
    return dress(identity, draw_outfit(_stream(split, seed, outfit_purpose), plan.category))


def _photograph_well(
    split: str, seed: int, purpose: int, plan: _Plan, person: DressedPerson, size: int, may_sit: bool
) -> Steps[Photograph]:
    """Photograph a person, again if little of the garment is seen; the best of a few attempts."""
    of_garment = purpose == _GARMENT_SHOT
    least_area, least_seen = (_MIN_AREA_OF_GARMENT, _MIN_SEEN_OF_GARMENT) if of_garment else (_MIN_AREA_ON_PERSON, 0.0)
    taken = []
    for attempt in range(_MAX_ATTEMPTS):
        rng = _stream(split, seed, purpose, attempt)
        shot = draw_shot(rng, person.identity, plan.category, plan.from_behind, of_garment, may_sit)
        taken.append((yield from photograph_steps(person, shot, plan.category, size)))
        if taken[-1].area(plan.category) >= least_area and taken[-1].seen >= least_seen:
            break
    # A small whole garment tells more than a large one in pieces.
    return max(taken, key=lambda photo: photo.area(plan.category) * photo.seen**3)


def _spread(mask: np.ndarray, reach: int) -> np.ndarray:
    """`mask` (S, S) and all pixels within `reach` of it."""
    for _ in range(reach):
        padded = np.pad(mask, 1)
        rows = padded[:-2] | padded[1:-1] | padded[2:]
        mask = rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]
    return mask


def _person_columns(photo: Photograph, category: str) -> dict[str, np.ndarray]:
    # A pixel that shows only a little of what is taken off is hidden as well, so that no colour leaks along edges.
    parse = photo.picture.parse
    taken_off = tuple(name for name in _EVERYTHING_WORN if name not in KEPT_LABELS[category])
    touched = _spread(label_mask(photo.picture.label_samples, taken_off).any(axis=0), photo.shot.finish.reach)
    parse_for_hiding = np.where(touched, PARSE_IDS[GARMENT_LABELS[category][0]], parse)
    agnostic_image, agnostic_mask = compose_agnostic(photo.image, parse_for_hiding, photo.pose, category)
    return {
        "person_image": photo.image,
        "agnostic_image": agnostic_image,
        "agnostic_mask": agnostic_mask,
        "person_pose": photo.pose,
        "person_parse": parse,
    }


def _garment_columns(
    split: str, seed: int, plan: _Plan, person: DressedPerson, size: int
) -> Steps[dict[str, np.ndarray | str]]:
    """The garment: cut out of a new photograph of the person, or shown alone as a product."""
    rng = _stream(split, seed, _GARMENT_SHOT, _MAX_ATTEMPTS)
    drawn_flat = rng.random() < _FLAT_SHARE and not plan.from_behind
    flat = drawn_flat if plan.garment_type is None else plan.garment_type == "flat"
    if flat:
        shot = draw_shot(rng, person.identity, plan.category, from_behind=False, of_garment=True)
        style = str(rng.choice(PRODUCT_STYLES))
        photo = yield from photograph_product_steps(person, shot, plan.category, style, size)
    else:
        photo = yield from _photograph_well(split, seed, _GARMENT_SHOT, plan, person, size, person.outfit.can_sit)
    return {
        "garment_image": cut_out_garment(photo.image, photo.picture.parse, plan.category),
        "garment_pose": photo.pose,
        "garment_parse": photo.picture.parse,
        "garment_type": "flat" if flat else "worn",
    }


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Sums in several threads may differ in the last bit; rows must not depend on the machine's cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def check_render_arguments(
    seed: int, size: int, split: str, category: str | None = None, garment_type: str | None = None
) -> None:
    """Raise a `ValueError` that names the argument unless a row can be rendered with these."""
    if not isinstance(seed, int) or seed < 0:
        raise ValueError(f"`seed` must be an integer of at least 0, got {seed!r}.")
    if not isinstance(size, int) or not MIN_SIZE <= size <= MAX_SIZE:
        raise ValueError(f"`size` must be an integer from {MIN_SIZE} to {MAX_SIZE} pixels, got {size!r}.")
    if split not in SPLITS:
        raise ValueError(f"`split` must be one of {', '.join(SPLITS)}, got {split!r}.")
    if category is not None and category not in CATEGORIES:
        raise ValueError(f"`category` must be one of {', '.join(CATEGORIES)}, or None to draw it, got {category!r}.")
    if garment_type is not None and garment_type not in GARMENT_TYPES:
        names = ", ".join(GARMENT_TYPES)
        raise ValueError(f"`garment_type` must be one of {names}, or None to draw it, got {garment_type!r}.")


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


def _pair_steps(seed: int, size: int, split: str, category: str | None, garment_type: str | None) -> Steps[Row]:
    plan = _draw_plan(split, seed, category, garment_type)
    person = _draw_person(split, seed, _IDENTITY, _OUTFIT, plan)
    photo = yield from _photograph_well(split, seed, _PERSON_SHOT, plan, person, size, person.outfit.can_sit)
    garment = yield from _garment_columns(split, seed, plan, person, size)
    return _common_columns(seed, split, False, plan.category) | _person_columns(photo, plan.category) | garment


def _unpaired_steps(seed: int, size: int, split: str, category: str | None, garment_type: str | None) -> Steps[Row]:
    plan = _draw_plan(split, seed, category, garment_type)
    person = _draw_person(split, seed, _IDENTITY, _OUTFIT, plan)
    other = _draw_person(split, seed, _OTHER_IDENTITY, _OTHER_OUTFIT, plan)
    changed = dress(person.identity, exchange_garment(person.outfit, other.outfit, plan.category))
    may_sit = person.outfit.can_sit and changed.outfit.can_sit
    photo = yield from _photograph_well(split, seed, _PERSON_SHOT, plan, person, size, may_sit)
    garment = yield from _garment_columns(split, seed, plan, other, size)
    target = yield from photograph_steps(changed, photo.shot, plan.category, size)
    truth = {"target_image": target.image, "target_parse": target.picture.parse}
    return _common_columns(seed, split, True, plan.category) | _person_columns(photo, plan.category) | garment | truth


def render_rows(
    seeds: Sequence[int],
    size: int,
    split: str = "train",
    category: str | None = None,
    unpaired: bool = False,
    device: torch.device | str = "cpu",
    garment_type: str | None = None,
) -> list[Row]:
    """Render several rows side by side, their pictures in batches.

    The rows are those of `render_pair` or `render_unpaired`, byte for byte. On a GPU this is faster, on the CPU not.

    Args:
        seeds (`Sequence[int]`): one per row.
        size, split, category: as in `render_pair`.
        unpaired (`bool`): render evaluation rows.
        device (`torch.device` or `str`): where triangles are rasterised.
        garment_type (`str`, *optional*): as in `render_pair`.
    """
    for seed in seeds:
        check_render_arguments(seed, size, split, category, garment_type)
    make = _unpaired_steps if unpaired else _pair_steps
    with one_torch_thread():
        return run_steps([make(seed, size, split, category, garment_type) for seed in seeds], device)


def render_pair(
    seed: int, size: int, split: str = "train", category: str | None = None, garment_type: str | None = None
) -> Row:
    """Render a training row: a person, and the same garment from another shot of the same person in the same outfit.

    Args:
        seed (`int`): 0 or more; with the other arguments it determines every byte.
        size (`int`): height and width in pixels, 16 to 1024.
        split (`str`): "train" or "test"; they share no bodies and no prints.
        category (`str`, *optional*): "upper", "lower" or "dress"; drawn if not given.
        garment_type (`str`, *optional*): "worn" by the person in the garment's picture, or "flat": seen alone, with a
            pose of zeros. If not given 15 % of the rows have flat garments.

    Returns:
        `dict`: a row of `data.schema.dataset_features(PAIR_COLUMNS)` with images as uint8 arrays (H, W, 3) or (H, W)
        and poses as float32 (18, 3).
        Nobody is seen from the front in one picture and from behind in the other.
    """
    return render_rows([seed], size, split, category, garment_type=garment_type)[0]


def render_unpaired(
    seed: int, size: int, split: str = "test", category: str | None = None, garment_type: str | None = None
) -> Row:
    """Render an evaluation row: a person, a garment of another person, and the person in that garment.

    `target_image` shows the same body, pose, light, background and other clothes as `person_image`, in the design and
    cloth of the other garment, fitted to this body. The two pictures differ only where one of the garments is seen,
    or skin and clothes that a garment covers or shadows in one of them.

    Args and returns as in `render_pair`, with the extra columns `target_image` and `target_parse`, its label map.
    """
    return render_rows([seed], size, split, category, unpaired=True, garment_type=garment_type)[0]
