# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What kind of garment a photograph shows, and whether somebody wears it."""

import numpy as np

from ..composition import GARMENT_LABELS, label_mask


# How much seeing one of these counts for a person, by its share of all that is not background: parsers see hands and
# skin at the sleeves and necks of garments that nobody wears, but hardly ever heads.
_EVIDENCE_OF_PERSON = {("face", "hair"): 3.0, ("legs", "feet"): 1.0, ("arms", "hands", "torso"): 0.2}
# What a pose counts. Pose networks find people in garments that are laid out like one, so it is little.
_EVIDENCE_OF_POSE, _LEAST_KEYPOINTS = 0.01, 6
_LEAST_EVIDENCE = 0.085
# A label that covers less of the garments than this is noise.
_LEAST_PART = 0.2
# A flat garment that is so many times as high as wide is no top, a lower one no dress: of rendered ones tops have up
# to 1.4, dresses 0.95 or more.
_HIGH_AS_DRESS, _WIDE_AS_TOP = 1.6, 0.9


def guess_garment_type(pose: np.ndarray, parse: np.ndarray) -> str:
    """Whether somebody wears the garment in a photograph.

    It is the head, or else legs and feet, that tells: pose networks find whole people in garments that are laid out
    like one, and parsers find hands at their sleeves. Somebody of whom only hands and arms are in view is missed.

    Args:
        pose (`np.ndarray`): (18, 3) keypoints; zeros if nobody was found.
        parse (`np.ndarray`): (H, W) ids of `composition.PARSE_LABELS`.

    Returns:
        `str`: "worn" or "flat".
    """
    found = (pose[:, 2] > 0).sum() >= _LEAST_KEYPOINTS
    return "worn" if _evidence_of_person(parse) + found * _EVIDENCE_OF_POSE >= _LEAST_EVIDENCE else "flat"


def guess_category(parse: np.ndarray) -> tuple[str, float]:
    """The category of the garment that a label map shows most of.

    Parsers call a long top a dress, and a dress a top and a skirt. What is worn over pants is a top. Where no person
    is seen there is one garment alone, whose shape tells dresses from tops.

    Args:
        parse (`np.ndarray`): (H, W) ids of `composition.PARSE_LABELS`.

    Returns:
        `tuple[str, float]`: "upper", "lower" or "dress", and how sure that is, 0 to 1; 0 if there is no garment.
    """
    areas = {name: float(label_mask(parse, (name,)).sum()) for name in ("top", "dress", "skirt", "pants")}
    total = sum(areas.values())
    if not total:
        return "upper", 0.0
    shares = {name: area / total for name, area in areas.items()}
    alone = _evidence_of_person(parse) < _LEAST_EVIDENCE
    upper, lower, dress = shares["top"], shares["skirt"] + shares["pants"], shares["dress"]
    if dress and shares["pants"] > max(_LEAST_PART, shares["skirt"]) and not alone:
        upper, dress = upper + dress, 0.0
    if alone:
        upper, lower, dress = _shares_of_one_garment(parse, upper, lower, dress, shares)
    chances = {"upper": upper, "lower": lower, "dress": dress}
    category = max(chances, key=chances.get)
    return category, chances[category]


def _evidence_of_person(parse: np.ndarray) -> float:
    seen = max((parse > 0).sum(), 1)
    return sum(float(label_mask(parse, names).sum() / seen) * weight for names, weight in _EVIDENCE_OF_PERSON.items())


def _shares_of_one_garment(
    parse: np.ndarray, upper: float, lower: float, dress: float, shares: dict[str, float]
) -> tuple[float, float, float]:
    """Move shares of labels to the category that a garment alone must have by its shape."""
    if min(upper, shares["skirt"]) > _LEAST_PART and shares["pants"] < _LEAST_PART:
        dress, upper, lower = dress + upper + shares["skirt"], 0.0, shares["pants"]
    rows, columns = np.nonzero(label_mask(parse, GARMENT_LABELS["dress"] + GARMENT_LABELS["lower"]))
    slimness = (np.ptp(np.quantile(rows, (0.01, 0.99))) + 1) / (np.ptp(np.quantile(columns, (0.01, 0.99))) + 1)
    if slimness > _HIGH_AS_DRESS:
        return 0.0, lower, dress + upper
    if slimness < _WIDE_AS_TOP:
        return upper + dress, lower, 0.0
    return upper, lower, dress
