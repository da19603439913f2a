# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Paired augmentation: one draw of parameters changes a row's person, garment, masks and poses together.

A picture and what is known about it must not part: keypoints, masks and label maps move with the person; a colour
changes alike on the person and on the garment, or the network would learn to recolour; person and garment are flipped
together, or a print's text would be mirrored on one side only.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ..composition import (
    GARMENT_BACKGROUND,
    GARMENT_LABELS,
    MASK_PADDING,
    PARSE_PADDING,
    PERSON_PADDING,
    label_mask,
)
from ..poses import KEYPOINT_NAMES, NUM_KEYPOINTS, hide_points_outside_image


# Keypoint i of a mirrored person was keypoint MIRRORED_KEYPOINTS[i]. Label maps need no such table: no label of
# `composition.PARSE_LABELS` has a side.
_OTHER_SIDE = {"left": "right", "right": "left"}
MIRRORED_KEYPOINTS = [
    KEYPOINT_NAMES.index("_".join(_OTHER_SIDE.get(word, word) for word in name.split("_"))) for name in KEYPOINT_NAMES
]

# Luma and the two axes of colour of the YIQ space, by red, green and blue.
_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_MID_GREY = 127.5


@dataclass(frozen=True)
class AugmentationSettings:
    """How far a draw may go. The defaults change a person about as much as another photograph of the same scene would.

    Args:
        flip: probability that person and garment are mirrored.
        brightness, contrast, saturation: factors are uniform in 1 - this to 1 + this; contrast is about mid-grey.
        hue: colours are turned by at most this share of the colour circle, either way.
        scale: the person is enlarged by at most 1 + this or made smaller by as much.
        shift: the person is moved by at most this share of the picture's width and of its height.
        pose_point_dropout: probability of each keypoint of either pose to go missing, as an estimator misses some.
        null_garment_pose: probability that a worn garment's pose is left out. The network then reads its state of flat
            garments, which comes to mean "no pose is known": garments worn by somebody work without a pose too. Zero
            keeps that state to garments laid flat.

    Raises:
        ValueError: a value out of its range.
    """

    flip: float = 0.5
    brightness: float = 0.15
    contrast: float = 0.15
    saturation: float = 0.2
    hue: float = 0.02
    scale: float = 0.15
    shift: float = 0.05
    pose_point_dropout: float = 0.02
    null_garment_pose: float = 0.05

    def __post_init__(self):
        highest_values = {"hue": 0.5, "shift": 0.5}
        for name, value in vars(self).items():
            highest = highest_values.get(name, 1.0)
            if not 0 <= value <= highest:
                raise ValueError(f"`{name}` of the augmentation must be in [0, {highest:g}], got {value}.")


@dataclass(frozen=True)
class AugmentationDraw:
    """What happens to one row; the defaults change nothing.

    Attributes:
        flip: whether person and garment are mirrored.
        brightness, contrast, saturation: factors.
        hue: turn of the colours, a share of the colour circle.
        scale: factor about the middle of the person's picture, after the flip.
        shift: to the right and down, shares of the picture's width and height, after the scaling.
        dropped_person_points, dropped_garment_points: indices of the keypoints that go missing.
        null_garment_pose: whether the garment's pose is left out.
    """

    flip: bool = False
    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    dropped_person_points: tuple[int, ...] = ()
    dropped_garment_points: tuple[int, ...] = ()
    null_garment_pose: bool = False

    @property
    def moves(self) -> bool:
        """Whether the person is scaled or shifted."""
        return self.scale != 1 or self.shift != (0, 0)

    @property
    def recolours(self) -> bool:
        """Whether colours change."""
        return (self.brightness, self.contrast, self.saturation, self.hue) != (1, 1, 1, 0)


def draw_augmentation(settings: AugmentationSettings, rng: np.random.Generator) -> AugmentationDraw:
    """A draw within `settings` that depends on the state of `rng` alone.

    Every call takes the same amount of random numbers, so that one setting does not change what another one draws.
    """
    uniform = rng.random(9)
    symmetric = 2 * uniform - 1
    dropped = rng.random((2, NUM_KEYPOINTS)) < settings.pose_point_dropout
    return AugmentationDraw(
        flip=bool(uniform[0] < settings.flip),
        brightness=float(1 + settings.brightness * symmetric[1]),
        contrast=float(1 + settings.contrast * symmetric[2]),
        saturation=float(1 + settings.saturation * symmetric[3]),
        hue=float(settings.hue * symmetric[4]),
        scale=float((1 + settings.scale) ** symmetric[5]),
        shift=(float(settings.shift * symmetric[6]), float(settings.shift * symmetric[7])),
        dropped_person_points=tuple(np.flatnonzero(dropped[0]).tolist()),
        dropped_garment_points=tuple(np.flatnonzero(dropped[1]).tolist()),
        null_garment_pose=bool(uniform[8] < settings.null_garment_pose),
    )


def augment_row(row: dict[str, Any], draw: AugmentationDraw) -> dict[str, Any]:
    """A copy of a decoded row, changed by `draw`.

    The fills stay what they are: hidden pixels of the agnostic image and the background of the garment are copied,
    never blended with their neighbours nor recoloured. What enters the picture beside a smaller or moved person is
    padding (`composition.PERSON_PADDING`): background by its label, and not hidden. `garment_type` stays: it says how
    the garment was photographed, whether or not its pose is known.

    Args:
        row (`dict`): of the schema, with the columns `person_image`, `agnostic_image`, `agnostic_mask`,
            `garment_image`, `person_pose` and `garment_pose`; images uint8 (H, W, 3), masks and label maps uint8
            (H, W), poses (18, 3) float32. `person_parse`, `garment_parse`, `target_image` and `target_parse` follow where
            they are. The garment's background is its white pixels, but for those that `garment_parse` knows as garment.
        draw (`AugmentationDraw`): what to do.

    Returns:
        `dict`: the same columns, types and sizes; keypoints that leave the picture are missing.
    """
    augmented = dict(row)
    hidden = _person_labels(row["agnostic_mask"], draw, MASK_PADDING)
    augmented["agnostic_mask"] = hidden
    augmented["agnostic_image"] = _agnostic_image(row["agnostic_image"], row["agnostic_mask"], hidden, draw)
    for name in ("person_image", "target_image"):
        if row.get(name) is not None:
            augmented[name] = _person_colours(row[name], draw)
    for name in ("person_parse", "target_parse"):
        if row.get(name) is not None:
            augmented[name] = _person_labels(row[name], draw, PARSE_PADDING)
    augmented["person_pose"] = _person_pose(row["person_pose"], draw)

    augmented["garment_image"] = _garment_image(row, draw)
    if row.get("garment_parse") is not None:
        augmented["garment_parse"] = _flip(row["garment_parse"], draw)
    augmented["garment_pose"] = _garment_pose(row["garment_pose"], draw)
    return augmented


def _flip(image: np.ndarray, draw: AugmentationDraw) -> np.ndarray:
    return np.ascontiguousarray(image[:, ::-1]) if draw.flip else image


def _source_lines(length: int, scale: float, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """For each line of pixels of the moved picture: the old line its middle lies in, and whether there is one."""
    middles = (np.arange(length) + 0.5) / length
    lines = np.floor(((middles - 0.5 - shift) / scale + 0.5) * length).astype(int)
    return lines.clip(0, length - 1), (lines >= 0) & (lines < length)


def _copy_pixels(image: np.ndarray, draw: AugmentationDraw) -> tuple[np.ndarray, np.ndarray]:
    """Flip and move without blending; returns the image and where (H, W) it shows something of the old one."""
    image = _flip(image, draw)
    rows, row_inside = _source_lines(image.shape[0], draw.scale, draw.shift[1])
    columns, column_inside = _source_lines(image.shape[1], draw.scale, draw.shift[0])
    return image[rows][:, columns], row_inside[:, None] & column_inside


def _blend_pixels(image: np.ndarray, draw: AugmentationDraw) -> np.ndarray:
    """Flip and move, bilinear with antialiasing. Channels after the third weigh the others, as transparency does."""
    image = _flip(image, draw)
    if not draw.moves:
        return image
    height, width = image.shape[:2]
    left, top = (
        width * (0.5 - (0.5 + draw.shift[0]) / draw.scale),
        height * (0.5 - (0.5 + draw.shift[1]) / draw.scale),
    )
    box = np.array([left, top, left + width / draw.scale, top + height / draw.scale])
    # The box may reach beyond the picture. Its outermost pixels go on there, so that no other colour blends in.
    border = max(0, math.ceil(max(-left, -top, box[2] - width, box[3] - height)))
    picture = Image.fromarray(np.pad(image, ((border, border), (border, border), (0, 0)), mode="edge"))
    return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR, box=tuple(box + border)))


def _colour_matrix(draw: AugmentationDraw) -> tuple[float, ...]:
    """Rows (red, green, blue, constant) of the map from old to new colours in 0..255."""
    angle = 2 * math.pi * draw.hue
    turn = np.eye(3)
    turn[1:, 1:] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    turn[1:] *= draw.saturation
    matrix = np.empty((3, 4))
    matrix[:, :3] = draw.contrast * draw.brightness * (np.linalg.inv(_YIQ) @ turn @ _YIQ)
    matrix[:, 3] = _MID_GREY * (1 - draw.contrast)
    return tuple(matrix.ravel().tolist())


def _recolour(image: np.ndarray, draw: AugmentationDraw) -> np.ndarray:
    """The same map for every pixel, whatever picture it is in, cut off at 0 and 255."""
    if not draw.recolours:
        return image
    return np.asarray(Image.fromarray(image).convert("RGB", _colour_matrix(draw)))


def _person_labels(labels: np.ndarray, draw: AugmentationDraw, padding: int) -> np.ndarray:
    moved, inside = _copy_pixels(labels, draw)
    return np.where(inside, moved, np.uint8(padding))


def _person_colours(image: np.ndarray, draw: AugmentationDraw) -> np.ndarray:
    _, inside = _copy_pixels(image[..., 0], draw)
    return np.where(inside[..., None], _blend_pixels(_recolour(image, draw), draw), np.uint8(PERSON_PADDING))


def _agnostic_image(image: np.ndarray, mask: np.ndarray, moved_mask: np.ndarray, draw: AugmentationDraw) -> np.ndarray:
    """`mask` hides pixels of `image`; `moved_mask` is the same after the flip and the move."""
    # Hidden pixels are transparent, so that the visible ones next to them take on nothing of their grey.
    visible = np.where(mask < 128, np.uint8(255), np.uint8(0))
    colours = _blend_pixels(np.dstack([_recolour(image, draw), visible]), draw)[..., :3]
    copied, inside = _copy_pixels(image, draw)
    shown = np.where((moved_mask < 128)[..., None], colours, copied)
    return np.where(inside[..., None], shown, np.uint8(PERSON_PADDING))


def _garment_image(row: dict[str, Any], draw: AugmentationDraw) -> np.ndarray:
    image = row["garment_image"]
    garment = (image != GARMENT_BACKGROUND).any(axis=-1)
    if row.get("garment_parse") is not None:
        garment |= label_mask(row["garment_parse"], GARMENT_LABELS[row["category"]])
    return _flip(np.where(garment[..., None], _recolour(image, draw), image), draw)


def _flip_pose(pose: np.ndarray, draw: AugmentationDraw) -> np.ndarray:
    """A copy of the pose, mirrored if the draw says so. Missing points come back anywhere."""
    if not draw.flip:
        return pose.copy()
    flipped = pose[MIRRORED_KEYPOINTS]
    flipped[:, 0] = 1 - flipped[:, 0]
    return flipped


def _person_pose(pose: np.ndarray, draw: AugmentationDraw) -> np.ndarray:
    pose = _flip_pose(pose, draw)
    if draw.moves:
        pose[:, :2] = (pose[:, :2] - 0.5) * draw.scale + 0.5 + draw.shift
    pose[list(draw.dropped_person_points)] = 0
    return hide_points_outside_image(pose)


def _garment_pose(pose: np.ndarray, draw: AugmentationDraw) -> np.ndarray:
    if draw.null_garment_pose:
        return np.zeros_like(pose)
    pose = _flip_pose(pose, draw)
    pose[list(draw.dropped_garment_points)] = 0
    return hide_points_outside_image(pose)
