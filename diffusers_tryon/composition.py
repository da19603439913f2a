# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What the network is given instead of the person's own clothes: agnostic image, agnostic mask, garment cut-out.

The renderer, the dataset importers and the preprocessing of photographs share these functions.
"""

import numpy as np

from .composition_viton_hd import upper_body_strokes
from .poses import check_pose


# The label map ("parse") of the package: the 18 classes of the FASHN human parser, the position is the id.
PARSE_LABELS = (
    "background",
    "face",
    "hair",
    "top",
    "dress",
    "skirt",
    "pants",
    "belt",
    "bag",
    "hat",
    "scarf",
    "glasses",
    "arms",
    "hands",
    "legs",
    "feet",
    "torso",
    "jewelry",
)
PARSE_IDS = {name: number for number, name in enumerate(PARSE_LABELS)}

# Fill colours, the same in red, green and blue.
AGNOSTIC_FILL = 128
GARMENT_BACKGROUND = 255
# Around a picture that is padded to another ratio: the white of a studio, nothing hidden. Garment images are padded
# with their background.
PERSON_PADDING = 255
MASK_PADDING = 0
PARSE_PADDING = PARSE_IDS["background"]

# What is tried on, by category. Parsers call a long top a dress, and a dress a top and a skirt.
GARMENT_LABELS = {
    "upper": ("top", "dress"),
    "lower": ("skirt", "pants", "belt"),
    "dress": ("dress", "top", "skirt", "belt"),
}
CATEGORIES = tuple(GARMENT_LABELS)

# What stays in sight: head and hands always, and the half of the body that the garment does not reach.
HEAD_LABELS = ("face", "hair", "hat", "glasses")
HAND_LABELS = ("hands",)
UPPER_BODY_LABELS = ("top", "scarf", "arms", "torso", "jewelry")
LOWER_BODY_LABELS = ("skirt", "pants", "belt", "legs", "feet")
KEPT_LABELS = {
    "upper": HEAD_LABELS + HAND_LABELS + LOWER_BODY_LABELS,
    "lower": HEAD_LABELS + HAND_LABELS + UPPER_BODY_LABELS + ("feet",),
    "dress": HEAD_LABELS + HAND_LABELS + ("feet",),
}

# How the agnostic image is made: the paper's way, or VITON-HD's.
RECIPES = ("paper", "viton-hd")
# VITON-HD restores nothing else: hair stays hidden where the strokes cross it, and so do hands.
_VITON_HD_KEPT_LABELS = ("face", "glasses") + LOWER_BODY_LABELS


def label_mask(parse: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """Where the label map `parse` holds one of the labels `names`: bool, the shape of `parse`."""
    return np.isin(parse, [PARSE_IDS[name] for name in names])


def _check_category(category: str) -> None:
    if category not in CATEGORIES:
        raise ValueError(f"`category` must be one of {', '.join(CATEGORIES)}, got {category!r}.")


def _check_image_and_parse(image: np.ndarray, parse: np.ndarray) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"`image` must be uint8 of shape (height, width, 3), got {image.dtype} {image.shape}.")
    if parse.shape != image.shape[:2]:
        raise ValueError(f"`parse` must have the image's height and width {image.shape[:2]}, got {parse.shape}.")
    if not np.issubdtype(parse.dtype, np.integer):
        raise ValueError(f"`parse` must hold integer label ids, got {parse.dtype}.")
    if parse.size and (parse.min() < 0 or parse.max() >= len(PARSE_LABELS)):
        raise ValueError(
            f"`parse` must hold label ids from 0 to {len(PARSE_LABELS) - 1} (FASHN-18), got {parse.min()} to "
            f"{parse.max()}."
        )


def compose_agnostic(
    image: np.ndarray, parse: np.ndarray, pose: np.ndarray, category: str = "upper", recipe: str = "paper"
) -> tuple[np.ndarray, np.ndarray]:
    """Hide what the person wears where a garment of `category` goes.

    As in TryOnDiffusion (arXiv 2306.08276, preprocessing of inputs): the whole bounding box of the person is masked
    out, then head, hands and lower body are pasted back. The paper knows upper-body garments only; for a lower one the
    upper body and the feet are pasted back instead, for a dress the feet. A mask that follows the garment's outline
    would give away its shape. The paper does not state the fill colour, nor whether keypoints count; here the bounding
    box contains the visible keypoints too, so that a limb which the parser missed is masked.

    The recipe "viton-hd" is that of the VITON-HD data set, for networks trained on it: see
    `composition_viton_hd.upper_body_strokes`; face, glasses and lower body are pasted back.

    Args:
        image (`np.ndarray`): (H, W, 3) uint8, the person.
        parse (`np.ndarray`): (H, W) integer label ids of `PARSE_LABELS`.
        pose (`np.ndarray`): (18, 3) OpenPose keypoints, x and y in [0, 1], missing points with visibility 0.
        category (`str`): "upper", "lower" or "dress"; with the recipe "viton-hd" only "upper".
        recipe (`str`): "paper" or "viton-hd".

    Returns:
        `tuple[np.ndarray, np.ndarray]`: the agnostic image (H, W, 3) uint8, hidden pixels are `AGNOSTIC_FILL`; and the
        agnostic mask (H, W) uint8, 255 where the image is hidden (may change), 0 where it is kept.

    Raises:
        ValueError: wrong shapes, dtypes, label ids, category or recipe; `parse` shows no person; or `pose` lacks a
            point that the recipe needs.
    """
    _check_category(category)
    _check_image_and_parse(image, parse)
    check_pose(pose, "pose")
    if pose.ndim != 2:
        raise ValueError(f"`pose` must be the keypoints of one person, shape (18, 3), got {pose.shape}.")
    if recipe not in RECIPES:
        raise ValueError(f"`recipe` must be one of {', '.join(RECIPES)}, got {recipe!r}.")
    if recipe == "viton-hd" and category != "upper":
        raise ValueError(f"`recipe` viton-hd exists for the category upper only, got {category!r}.")
    if not parse.any():
        raise ValueError("`parse` shows no person: every label is background (0).")

    if recipe == "paper":
        hidden = _bounding_box(parse, pose) & ~label_mask(parse, KEPT_LABELS[category])
    else:
        hidden = upper_body_strokes(pose, *parse.shape) & ~label_mask(parse, _VITON_HD_KEPT_LABELS)
    agnostic_image = np.where(hidden[..., None], np.uint8(AGNOSTIC_FILL), image)
    return agnostic_image, hidden.astype(np.uint8) * 255


def _bounding_box(parse: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """The upright box around a person's labels and visible keypoints: (H, W) bool."""
    height, width = parse.shape
    rows, columns = np.nonzero(parse)
    visible = pose[pose[:, 2] > 0]
    keypoint_columns = np.minimum((visible[:, 0] * width).astype(int), width - 1)
    keypoint_rows = np.minimum((visible[:, 1] * height).astype(int), height - 1)
    rows, columns = np.concatenate([rows, keypoint_rows]), np.concatenate([columns, keypoint_columns])
    box = np.zeros(parse.shape, dtype=bool)
    box[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
    return box


def cut_out_garment(image: np.ndarray, parse: np.ndarray, category: str = "upper") -> np.ndarray:
    """Cut the worn garment of a category out of a picture, on white.

    Args:
        image (`np.ndarray`): (H, W, 3) uint8.
        parse (`np.ndarray`): (H, W) integer label ids of `PARSE_LABELS`.
        category (`str`): "upper", "lower" or "dress"; the labels are `GARMENT_LABELS[category]`.

    Returns:
        `np.ndarray`: (H, W, 3) uint8, `GARMENT_BACKGROUND` where there is no garment.

    Raises:
        ValueError: wrong shapes, dtypes, label ids or category, or `parse` shows no such garment.
    """
    _check_category(category)
    _check_image_and_parse(image, parse)
    labels = GARMENT_LABELS[category]
    garment = label_mask(parse, labels)
    if not garment.any():
        raise ValueError(f"`parse` shows no garment: none of the labels {', '.join(labels)} occurs.")
    return np.where(garment[..., None], image, np.uint8(GARMENT_BACKGROUND))
