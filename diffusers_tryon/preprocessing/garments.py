# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Where a garment is in a photograph, and what kind of garment it is."""

import numpy as np

from ..composition import GARMENT_LABELS, label_mask
from ..data.importers.flat_garments import separate_from_background
from .errors import NoGarmentError, PreprocessingWarning


def garment_mask(parse: np.ndarray, category: str, pose: np.ndarray | None) -> np.ndarray:
    """(H, W) bool, where the label map shows a garment of the category."""
    return label_mask(parse, GARMENT_LABELS[category])


def check_garment(mask: np.ndarray, name: str, category: str) -> list[PreprocessingWarning]:
    """Raise a `PreprocessingError` unless a mask may be that of a garment."""
    if not mask.any():
        raise NoGarmentError(f"No garment of the category {category!r} was found in `{name}`.")
    return []


def separate_flat_garment(pixels: np.ndarray, opacity: np.ndarray | None, parse: np.ndarray | None) -> np.ndarray:
    """(H, W) bool, where a garment lies on its background."""
    return separate_from_background(pixels)


def guess_garment_type(pose: np.ndarray, parse: np.ndarray) -> str:
    """ "worn" or "flat"."""
    return "worn" if pose[:, 2].any() else "flat"


def guess_category(parse: np.ndarray) -> tuple[str, float]:
    """The category of what is seen most of, and how sure that is."""
    areas = {
        "upper": label_mask(parse, ("top",)).sum(),
        "lower": label_mask(parse, ("skirt", "pants")).sum(),
        "dress": label_mask(parse, ("dress",)).sum(),
    }
    category = max(areas, key=areas.get)
    return category, float(areas[category] / max(sum(areas.values()), 1))
