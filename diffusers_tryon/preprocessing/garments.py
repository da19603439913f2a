# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Where a garment is in a photograph of somebody who wears it."""

import numpy as np
from scipy import ndimage

from ..composition import GARMENT_LABELS, label_mask
from .errors import ImplausibleGarmentError, NoGarmentError, PreprocessingWarning, UncertainAnswerWarning
from .parse_cleanup import small_parts


# Parts smaller than this share of the largest part are mistakes, and so are holes up to this share of the garment.
_LEAST_PART, _LARGEST_HOLE = 0.04, 0.02
_IN_FRONT = ("hands", "arms", "hair", "bag", "face")
# Shares of the picture around a person that are no garment's, or hardly: of 48 rendered people they are 4 to 33 %.
_LEAST_SHARE, _DOUBTFUL_SHARE, _LARGEST_SHARE = 0.008, 0.03, 0.95


def garment_mask(parse: np.ndarray, category: str) -> np.ndarray:
    """Where a worn garment is: the largest connected part with its labels, and parts that something separates from it.

    A sleeve beyond a crossing arm or under long hair belongs to the garment as well. Holes are filled unless they show
    what lies in front of a garment (hands, arms, hair, a bag), or are so large that the background shows in them.

    Args:
        parse (`np.ndarray`): (H, W) uint8 ids of `composition.PARSE_LABELS`.
        category (`str`): "upper", "lower" or "dress".

    Returns:
        `np.ndarray`: (H, W) bool, all False if there is no such label.
    """
    mask = label_mask(parse, GARMENT_LABELS[category])
    parts, count = ndimage.label(mask)
    if count > 1:
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0
        mask = (sizes >= _LEAST_PART * sizes.max())[parts]
    holes = ndimage.binary_fill_holes(mask) & ~mask & ~label_mask(parse, _IN_FRONT)
    return mask | small_parts(holes, _LARGEST_HOLE * mask.sum())


def check_garment(mask: np.ndarray, name: str, category: str) -> list[PreprocessingWarning]:
    """Whether a mask may be that of a garment.

    Args:
        mask (`np.ndarray`): (H, W) bool, of the part of the photograph around the garment's wearer, or of a photograph
            of a garment alone.
        name (`str`), category (`str`): what errors call the photograph and the garment.

    Returns:
        `list[PreprocessingWarning]`: what is doubtful.

    Raises:
        NoGarmentError: the mask is empty.
        ImplausibleGarmentError: it marks next to nothing, or nearly everything.
    """
    share = float(mask.mean())
    if share == 0:
        raise NoGarmentError(
            f"No garment of the category {category!r} was found in `{name}`. Say what it shows with `category`, and "
            "whether somebody wears it with `garment_type`."
        )
    if share < _LEAST_SHARE:
        raise ImplausibleGarmentError(
            f"The garment found in `{name}` covers {100 * share:.2g} % of the picture around it, which is too little "
            f"for one of the category {category!r}. Say what it shows with `category`, or crop the photograph closer."
        )
    if share > _LARGEST_SHARE:
        raise ImplausibleGarmentError(
            f"The garment found in `{name}` covers {100 * share:.0f} % of the picture: it cannot be told from its "
            "background. Take a photograph with more room around it, or before a plain background."
        )
    if share < _DOUBTFUL_SHARE:
        return [
            UncertainAnswerWarning(
                f"The garment found in `{name}` covers {100 * share:.2g} % of the picture around it: something may "
                "hide most of it."
            )
        ]
    return []


def check_dress(parse: np.ndarray, name: str) -> list[PreprocessingWarning]:
    """Whether somebody who is said to wear a dress wears a top and pants, of which only the top would be cut out.

    Args:
        parse (`np.ndarray`): (H, W) uint8 ids of `composition.PARSE_LABELS`.
        name (`str`): what warnings call the photograph.
    """
    if label_mask(parse, ("pants",)).sum() <= label_mask(parse, ("dress", "skirt")).sum():
        return []
    return [
        UncertainAnswerWarning(
            f"`{name}` seems to show a top and pants rather than a dress, and the top alone was cut out. Say which of "
            "them is wanted with the `category` 'upper' or 'lower'."
        )
    ]
