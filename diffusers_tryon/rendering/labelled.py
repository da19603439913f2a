# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Photographs with label maps and keypoints, for networks that parse people and find their joints.

One dressed person is photographed several times: with a background, framed like a portrait, whole, below the waist or
around the garment, from the front and from behind, standing, walking and sitting; or only the garment is shown, as a
product. Everything follows from the split, the seed and the size. The splits share no body, as in `samples`.
"""

from dataclasses import replace

import numpy as np

from .backgrounds import draw_background
from .identity import draw_identity
from .outfits import PRODUCT_STYLES, draw_outfit
from .photography import DressedPerson, Photograph, draw_shot, dress, photograph_product_steps, photograph_steps
from .samples import SPLITS, check_render_arguments, one_torch_thread
from .scene import Steps, run_steps


# Dressing somebody takes a fifth of the time of a photograph of 256 pixels.
PHOTOGRAPHS_PER_PERSON = 4
# Beside the purposes of the streams of `samples`.
_LABELLED = 7
_CATEGORY_SHARES = {"upper": 0.5, "lower": 0.3, "dress": 0.2}
# Which garments may decide the framing, by the category of the outfit: those that are certainly there.
_FRAMED_CATEGORIES = {"upper": ("upper", "dress"), "lower": ("upper", "lower", "dress"), "dress": ("upper", "dress")}
_PRODUCT_SHARE = 0.12
_WHITE_PRODUCT_SHARE = 0.4
_BACK_SHARE = 0.12
_CLOSE_SHARE = 0.2


def record_dtype(size: int) -> np.dtype:
    """The numpy type of one photograph of `size` pixels.

    Fields: `image` (S, S, 3) uint8; `parse` (S, S) uint8, ids of `composition.PARSE_LABELS`; `pose` (18, 3) float32
    OpenPose keypoints in [0, 1], zeros of a garment alone; `shows_person` bool.
    """
    return np.dtype(
        [
            ("image", np.uint8, (size, size, 3)),
            ("parse", np.uint8, (size, size)),
            ("pose", np.float32, (18, 3)),
            ("shows_person", np.bool_),
        ]
    )


def _photograph_steps(
    rng: np.random.Generator, person: DressedPerson, category: str, size: int
) -> Steps[tuple[Photograph, bool]]:
    """One more photograph, and whether it shows the person."""
    plan, shot_stream, background_stream = rng.spawn(3)
    shows_person = plan.random() >= _PRODUCT_SHARE
    framed = category if not shows_person else str(plan.choice(_FRAMED_CATEGORIES[category]))
    from_behind, close = plan.random(2) < (_BACK_SHARE, _CLOSE_SHARE)
    shot = draw_shot(shot_stream, person.identity, framed, bool(from_behind), bool(close), person.outfit.can_sit)
    if shows_person or plan.random() >= _WHITE_PRODUCT_SHARE:
        shot = replace(shot, background=draw_background(background_stream))
    else:
        shot = replace(shot, background=None)
    if shows_person:
        photo = yield from photograph_steps(person, shot, framed, size)
    else:
        style = str(plan.choice(PRODUCT_STYLES))
        photo = yield from photograph_product_steps(person, shot, category, style, size)
    return photo, shows_person


def render_labelled(seed: int, size: int, split: str = "train") -> np.ndarray:
    """Photograph one person several times.

    Args:
        seed (`int`): 0 or more; with the other arguments it determines every byte.
        size (`int`): height and width in pixels, 16 to 1024.
        split (`str`): "train" or "test"; they share no bodies and no prints.

    Returns:
        `np.ndarray`: (`PHOTOGRAPHS_PER_PERSON`,) records, see `record_dtype`.
    """
    check_render_arguments(seed, size, split)
    rng = np.random.default_rng([SPLITS.index(split), seed, _LABELLED])
    plan, identity_stream, outfit_stream, *photo_streams = rng.spawn(3 + PHOTOGRAPHS_PER_PERSON)
    category = str(plan.choice(list(_CATEGORY_SHARES), p=list(_CATEGORY_SHARES.values())))
    records = np.zeros(PHOTOGRAPHS_PER_PERSON, record_dtype(size))
    with one_torch_thread():
        person = dress(draw_identity(identity_stream, split), draw_outfit(outfit_stream, category))
        taken = [run_steps([_photograph_steps(stream, person, category, size)])[0] for stream in photo_streams]
    for record, (photo, shows_person) in zip(records, taken):
        record["image"], record["parse"], record["pose"] = photo.image, photo.picture.parse, photo.pose
        record["shows_person"] = shows_person
    return records
