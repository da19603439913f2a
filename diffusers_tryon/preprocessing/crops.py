# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The part of a photograph that a network is given: how it is chosen, cut out, and put back."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

from ..composition import (
    CATEGORIES,
    GARMENT_LABELS,
    HAND_LABELS,
    HEAD_LABELS,
    PARSE_IDS,
    PARSE_PADDING,
    PERSON_PADDING,
    label_mask,
)
from ..poses import KEYPOINT_NAMES, hide_points_outside_image
from .errors import NoGarmentError, NoPersonError


# By how much a crop exceeds what it must show: the middle of what the renderer's photographs have.
PERSON_MARGIN = 1.08
GARMENT_MARGIN = 1.15

# What a crop must show whole besides the garment itself; for a dress everything.
_SHOWN_LABELS = {
    "upper": HEAD_LABELS + HAND_LABELS + ("arms", "torso", "scarf", "jewelry"),
    "lower": ("legs", "feet"),
}
_UPPER_KEYPOINTS = ("nose", "neck", "eye", "ear", "shoulder", "elbow", "wrist", "hip")
_LOWER_KEYPOINTS = ("hip", "knee", "ankle")
_SHOWN_KEYPOINTS = {
    "upper": _UPPER_KEYPOINTS,
    "lower": _LOWER_KEYPOINTS,
    "dress": _UPPER_KEYPOINTS + _LOWER_KEYPOINTS,
}
# A crop for an upper garment goes on below the hips, one for a lower garment begins above them: by these shares of the
# way between hips and shoulders, the middles of what the renderer draws.
_LINES_FROM_HIPS = {"upper": 0.3, "lower": -0.4}
# The crown lies beyond the nose by this share of the way from the neck to the nose. Only a part of the way, so that a
# hair that the parser missed is in view and a head that is held low makes no crop larger.
_CROWN = 0.7


@dataclass(frozen=True)
class Crop:
    """A rectangle of a photograph's pixels, which may reach beyond it.

    Attributes:
        left, top: its first column and row; negative beyond the photograph.
        width, height: its size in pixels of the photograph.
        photo_height, photo_width: size of the photograph.
    """

    left: int
    top: int
    width: int
    height: int
    photo_height: int
    photo_width: int

    @classmethod
    def whole(cls, height: int, width: int) -> "Crop":
        """All of a photograph of this size."""
        return cls(0, 0, width, height, photo_height=height, photo_width=width)

    def cut(self, image: np.ndarray, fill: int = PERSON_PADDING) -> np.ndarray:
        """The crop (height, width, ...) of an image (photo_height, photo_width, ...); `fill` lies beyond."""
        self._check_photo(image)
        of_photo, of_crop = self._inside()
        cut = np.full((self.height, self.width, *image.shape[2:]), fill, dtype=image.dtype)
        cut[of_crop] = image[of_photo]
        return cut

    def resized(self, image: np.ndarray, size: tuple[int, int], fill: int = PERSON_PADDING) -> np.ndarray:
        """The crop of an image (photo_height, photo_width, 3) uint8 at `size` (height, width), with antialiasing."""
        return _resize(self.cut(image, fill), size, Image.Resampling.BILINEAR)

    def resized_labels(
        self, labels: np.ndarray, size: tuple[int, int], region: "Crop | None" = None, fill: int = PARSE_PADDING
    ) -> np.ndarray:
        """The crop of a label map or mask at `size` (height, width): each pixel is the label that its middle lies in.

        Args:
            labels (`np.ndarray`): (H, W) of any type and size.
            size (`tuple[int, int]`): height and width to return.
            region (`Crop`, *optional*): the part of the photograph that `labels` shows, all of it if not given.
            fill (`int`): what lies beyond that.
        """
        region = region or Crop.whole(self.photo_height, self.photo_width)
        rows, row_inside = _nearest_lines(
            self.top - region.top, self.height, size[0], labels.shape[0] / region.height, labels.shape[0]
        )
        columns, column_inside = _nearest_lines(
            self.left - region.left, self.width, size[1], labels.shape[1] / region.width, labels.shape[1]
        )
        inside = row_inside[:, None] & column_inside
        return np.where(inside, labels[rows[:, None], columns], labels.dtype.type(fill))

    def mask_to_photo(self, mask: np.ndarray) -> np.ndarray:
        """Where the photograph may change, (photo_height, photo_width) bool, of a mask (h, w) bool of the crop.

        The mask's outline is made smooth rather than a staircase of the smaller picture's pixels.
        """
        shown = _resize(mask.astype(np.uint8) * 255, (self.height, self.width), Image.Resampling.BILINEAR) >= 128
        of_photo, of_crop = self._inside()
        whole = np.zeros((self.photo_height, self.photo_width), dtype=bool)
        whole[of_photo] = shown[of_crop]
        return whole

    def pose_from_photo(self, pose: np.ndarray) -> np.ndarray:
        """Keypoints (18, 3) in [0, 1] of the photograph to [0, 1] of the crop; those outside become zeros."""
        return _move_pose(
            pose, (self.photo_width, self.photo_height), (self.left, self.top), (self.width, self.height)
        )

    def pose_to_photo(self, pose: np.ndarray) -> np.ndarray:
        """Keypoints (18, 3) in [0, 1] of the crop to [0, 1] of the photograph; those outside become zeros."""
        return _move_pose(
            pose, (self.width, self.height), (-self.left, -self.top), (self.photo_width, self.photo_height)
        )

    def paste(self, photo: np.ndarray, result: np.ndarray, mask: np.ndarray, feather: int = 0) -> np.ndarray:
        """Put a picture of the crop back into the photograph where it may change.

        Args:
            photo (`np.ndarray`): (photo_height, photo_width, 3) uint8.
            result (`np.ndarray`): (h, w, 3) uint8, the crop at any size; it is resized to the crop's own.
            mask (`np.ndarray`): (photo_height, photo_width) bool, where the photograph may change. What is marked
                beyond the crop does not change.
            feather (`int`): over how many pixels within the mask, from its outline inwards, the photograph turns into
                the result. The edge of the photograph is no outline.

        Returns:
            `np.ndarray`: a copy of `photo` in which nothing outside `mask` differs in any bit.
        """
        self._check_photo(photo)
        if mask.shape != photo.shape[:2] or mask.dtype != bool:
            raise ValueError(
                f"`mask` must be bool of shape {photo.shape[:2]} as the photo, got {mask.dtype} {mask.shape}."
            )
        if result.ndim != 3 or result.shape[2] != 3 or result.dtype != np.uint8:
            raise ValueError(f"`result` must be uint8 of shape (height, width, 3), got {result.dtype} {result.shape}.")
        of_photo, of_crop = self._inside()
        new = _resize(result, (self.height, self.width), Image.Resampling.BICUBIC)[of_crop]
        weights = self._paste_weights(mask, feather)
        pasted = photo.copy()
        old = pasted[of_photo]
        changes = weights > 0
        share = weights[changes][:, None]
        old[changes] = np.rint(old[changes] * (1 - share) + new[changes] * share).astype(np.uint8)
        return pasted

    def _paste_weights(self, mask: np.ndarray, feather: int) -> np.ndarray:
        """How much of the result each pixel of the crop within the photograph takes on: (h, w) in [0, 1]."""
        (rows, columns), _ = self._inside()
        if feather == 0:
            return mask[rows, columns].astype(np.float32)
        # One line of pixels around, which do not change, wherever the photograph goes on.
        top, left = min(rows.start, 1), min(columns.start, 1)
        around = [(top, int(rows.stop < self.photo_height)), (left, int(columns.stop < self.photo_width))]
        changes = np.pad(mask[rows, columns], around)
        if changes.all():
            return np.ones(changes.shape, dtype=np.float32)
        depths = ndimage.distance_transform_edt(changes)
        size = rows.stop - rows.start, columns.stop - columns.start
        return np.minimum(depths[top : top + size[0], left : left + size[1]] / (feather + 1), 1).astype(np.float32)

    def _check_photo(self, image: np.ndarray) -> None:
        if image.shape[:2] != (self.photo_height, self.photo_width):
            raise ValueError(
                f"`image` must be the photo that the crop is of, {self.photo_height} x {self.photo_width} pixels high "
                f"and wide, got shape {image.shape}."
            )

    def _inside(self) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Where the part that lies within the photograph is in the photograph, and in the crop."""
        top, bottom = np.clip((self.top, self.top + self.height), 0, self.photo_height).tolist()
        left, right = np.clip((self.left, self.left + self.width), 0, self.photo_width).tolist()
        return (
            (slice(top, bottom), slice(left, right)),
            (slice(top - self.top, bottom - self.top), slice(left - self.left, right - self.left)),
        )


def _resize(image: np.ndarray, size: tuple[int, int], resampling: Image.Resampling) -> np.ndarray:
    """Resize to (height, width); a picture that has the size already is returned as it is."""
    if image.shape[:2] == size:
        return image
    return np.array(Image.fromarray(image).resize((size[1], size[0]), resampling))


def _nearest_lines(start: int, extent: int, count: int, scale: float, lines: int) -> tuple[np.ndarray, np.ndarray]:
    """For each of `count` rows or columns that divide `extent` pixels from `start` on which of the `lines`, `scale` of
    which are a pixel, its middle lies in, and whether there is one."""
    nearest = np.floor((start + (np.arange(count) + 0.5) / count * extent) * scale).astype(int)
    return nearest.clip(0, lines - 1), (nearest >= 0) & (nearest < lines)


def _move_pose(
    pose: np.ndarray, size: tuple[int, int], corner: tuple[int, int], new_size: tuple[int, int]
) -> np.ndarray:
    moved = pose.astype(np.float64)
    moved[:, :2] = (moved[:, :2] * size - corner) / new_size
    # A missing point would come to lie somewhere inside.
    return hide_points_outside_image(np.where(pose[:, 2:] > 0, moved, 0.0))


def crop_for_person(
    pose: np.ndarray,
    parse: np.ndarray,
    category: str,
    aspect: float = 1.0,
    region: Crop | None = None,
    margin: float = PERSON_MARGIN,
) -> Crop:
    """What a network is shown of a person: the paper crops by the detected pose (arXiv 2306.08276).

    As the renderer frames the people that the networks are trained on: for an upper garment from the crown to below
    the hips, with arms and hands; for a lower one from the waist to the feet; for a dress everything. The garment that
    is worn, be it longer, is shown whole. The crop reaches beyond the photograph only if it must.

    Args:
        pose (`np.ndarray`): (18, 3) keypoints, x and y in [0, 1] of the photograph.
        parse (`np.ndarray`): (H, W) label ids of `PARSE_LABELS` at any size.
        category (`str`): "upper", "lower" or "dress".
        aspect (`float`): height by width of the crop.
        region (`Crop`, *optional*): the part of the photograph that `parse` shows; without it `parse` is the
            photograph pixel by pixel.
        margin (`float`): by how much the crop exceeds what it must show, as far as the photograph does.

    Raises:
        NoPersonError: neither `pose` nor `parse` shows anything of the person that the category needs.
        ValueError: an unknown category.
    """
    if category not in CATEGORIES:
        raise ValueError(f"`category` must be one of {', '.join(CATEGORIES)}, got {category!r}.")
    region = region or Crop.whole(*parse.shape)
    photo_size = np.array([region.photo_width, region.photo_height])
    points = np.concatenate([_label_points(parse, category, region), _pose_points(pose * (*photo_size, 1), category)])
    if not len(points):
        raise NoPersonError(
            f"Nothing of a person that a garment of the category {category} goes on was found; pass a photograph that "
            "shows it."
        )
    low, high = np.clip(_bounds(np.clip(points, 0, photo_size), margin), 0, photo_size)
    return _crop_around(low, high, aspect, region.photo_height, region.photo_width)


def crop_for_garment(
    garment_mask: np.ndarray,
    aspect: float = 1.0,
    region: Crop | None = None,
    margin: float = GARMENT_MARGIN,
) -> Crop:
    """What a network is shown of a garment: the garment in the middle.

    Args:
        garment_mask (`np.ndarray`): (H, W) bool at any size.
        aspect (`float`): height by width of the crop.
        region (`Crop`, *optional*): the part of the photograph that the mask shows; without it the mask is the
            photograph pixel by pixel.
        margin (`float`): by how much the crop exceeds the garment, also beyond the photograph.

    Raises:
        NoGarmentError: the mask is empty.
    """
    if not garment_mask.any():
        raise NoGarmentError("`garment_mask` marks no garment.")
    region = region or Crop.whole(*garment_mask.shape)
    low, high = _bounds(_mask_corners(garment_mask, region), margin)
    size = _size_around(low, high, aspect)
    left, top = np.rint((low + high - size) / 2).astype(int).tolist()
    return Crop(left, top, *size, region.photo_height, region.photo_width)


def box_region(box: np.ndarray, margin: float, height: int, width: int) -> Crop:
    """The region around a detected person, within the photograph.

    Args:
        box (`np.ndarray`): left, top, right and bottom in pixels, perhaps followed by a score.
        margin (`float`): by how much the region exceeds the box in width and height.
        height (`int`), width (`int`): size of the photograph whose pixels these are.
    """
    low, high = _bounds(np.asarray(box[:4], dtype=np.float64).reshape(2, 2), margin)
    left, top = np.floor(np.clip(low, 0, (width - 1, height - 1))).astype(int).tolist()
    right, bottom = np.ceil(np.clip(high, (left + 1, top + 1), (width, height))).astype(int).tolist()
    return Crop(left, top, right - left, bottom - top, photo_height=height, photo_width=width)


def _label_points(parse: np.ndarray, category: str, region: Crop) -> np.ndarray:
    """Corners (N, 2) of what a label map shows of the person's part that a category needs, in the photo's pixels."""
    if category == "dress":
        return _mask_corners(parse != PARSE_IDS["background"], region)
    return _mask_corners(label_mask(parse, _SHOWN_LABELS[category] + GARMENT_LABELS[category]), region)


def _mask_corners(mask: np.ndarray, region: Crop) -> np.ndarray:
    """Two corners (2, 2) of the box around a mask of a region in pixels of the photo; (0, 2) if it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return np.zeros((0, 2))
    corners = np.array([(columns[0], rows[0]), (columns[-1] + 1, rows[-1] + 1)])
    return corners / mask.shape[::-1] * (region.width, region.height) + (region.left, region.top)


def _pose_points(pose: np.ndarray, category: str) -> np.ndarray:
    """What keypoints (18, 3) in pixels say a category needs (N, 2)."""
    found = {name: point[:2] for name, point in zip(KEYPOINT_NAMES, pose, strict=True) if point[2] > 0}
    kinds = _SHOWN_KEYPOINTS[category]
    points = [point for name, point in found.items() if name.split("_")[-1] in kinds]
    if "nose" in kinds and {"nose", "neck"} <= found.keys():
        points.append(found["nose"] + _CROWN * (found["nose"] - found["neck"]))
    sides = {"right_shoulder", "left_shoulder", "right_hip", "left_hip"}
    if category in _LINES_FROM_HIPS and sides <= found.keys():
        hips = (found["right_hip"] + found["left_hip"]) / 2
        shoulders = (found["right_shoulder"] + found["left_shoulder"]) / 2
        points.append(hips + (0, _LINES_FROM_HIPS[category] * np.linalg.norm(hips - shoulders)))
    return np.array(points).reshape(-1, 2)


def _bounds(points: np.ndarray, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """The corners (2,) of the box around points (N, 2), enlarged by `margin` around its middle."""
    low, high = points.min(axis=0), points.max(axis=0)
    grown = (high - low) * (margin - 1) / 2
    return low - grown, high + grown


def _size_around(low: np.ndarray, high: np.ndarray, aspect: float) -> tuple[int, int]:
    """Width and height of the smallest rectangle of a height by width of `aspect` that a box fits into."""
    width, height = high - low
    # What is left of a sum of fractions is no pixel.
    tall = max(1, math.ceil(max(height, width * aspect) - 1e-6))
    return max(1, math.ceil(tall / aspect - 1e-6)), tall


def _crop_around(low: np.ndarray, high: np.ndarray, aspect: float, height: int, width: int) -> Crop:
    """The crop around a box within the photograph, with the least of what lies beyond the photograph."""
    low, high = np.floor(low + 1e-6), np.ceil(high - 1e-6)
    size = _size_around(low, high, aspect)
    left, top = (
        # A crop that is larger than the photograph shows all of it.
        int(np.clip(math.floor((first + last - length) / 2), min(0, limit - length), max(0, limit - length)))
        for first, last, length, limit in zip(low, high, size, (width, height), strict=True)
    )
    return Crop(left, top, *size, photo_height=height, photo_width=width)
