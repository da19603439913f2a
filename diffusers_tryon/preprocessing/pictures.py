# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Pictures of what preprocessing did, step by step."""

import colorsys
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from ..composition import PARSE_LABELS
from ..visualization import Panel, side_by_side, stacked
from .crops import Crop
from .photos import reduce_photo


if TYPE_CHECKING:
    from .analysis import AnalysedPhoto
    from .prepared import PreparedGarment, PreparedPerson

_PICTURE_SIDE = 512
_PANEL_HEIGHT = 384
_CHOSEN_COLOR, _OTHER_COLOR, _CROP_COLOR = (0, 170, 60), (230, 140, 0), (0, 110, 255)
# Neighbours in the list of labels get colours far apart; the background stays black.
_LABEL_COLORS = np.array(
    [(0, 0, 0)]
    + [
        tuple(round(255 * value) for value in colorsys.hsv_to_rgb(number * 0.382 % 1, 0.85 - 0.4 * (number % 2), 0.95))
        for number in range(1, len(PARSE_LABELS))
    ],
    np.uint8,
)


def draw_labels(parse: np.ndarray) -> Image.Image:
    """A label map (H, W) in colours, with the names of the labels that occur."""
    picture = Image.fromarray(_LABEL_COLORS[parse])
    scale = _PANEL_HEIGHT / picture.height
    picture = picture.resize((max(1, round(picture.width * scale)), _PANEL_HEIGHT), Image.Resampling.NEAREST)
    drawing = ImageDraw.Draw(picture)
    for line, label in enumerate(label for label in np.unique(parse) if label):
        top = 4 + 16 * line
        drawing.rectangle((4, top, 16, top + 12), fill=tuple(_LABEL_COLORS[label]), outline=(255, 255, 255))
        drawing.text((21, top), PARSE_LABELS[label], fill=(255, 255, 255), stroke_width=2, stroke_fill=(0, 0, 0))
    return picture


def person_panels(prepared: "PreparedPerson") -> list[Panel]:
    """Photograph with boxes and crop, person mask, label map, crop with pose, agnostic image and mask."""
    analysis = prepared.analysis
    panels = [Panel(_draw_boxes(analysis, prepared.crop), f"person, {prepared.category}", analysis.pose)]
    if analysis.person_mask is not None:
        panels.append(Panel(Image.fromarray((analysis.person_mask * 255).astype(np.uint8)), "person mask"))
    return panels + [
        Panel(draw_labels(analysis.parse), "labels"),
        Panel(Image.fromarray(prepared.image), "crop and pose", prepared.pose),
        Panel(Image.fromarray(prepared.agnostic_image), "agnostic image"),
        Panel(Image.fromarray(prepared.agnostic_mask), "agnostic mask"),
    ]


def garment_panels(prepared: "PreparedGarment") -> list[Panel]:
    """Photograph with boxes and crop, label map, garment mask, cut-out with pose."""
    analysis = prepared.analysis
    caption = f"{prepared.category} garment, {prepared.garment_type}"
    return [
        Panel(_draw_boxes(analysis, prepared.crop), caption, analysis.pose),
        Panel(draw_labels(analysis.parse), "labels"),
        Panel(Image.fromarray(prepared.mask.astype(np.uint8) * 255), "garment mask"),
        Panel(Image.fromarray(prepared.image), "cut out, with pose", prepared.pose),
    ]


def sheet(rows: list[list[Panel]]) -> Image.Image:
    """Rows of panels, one below the other."""
    return stacked([side_by_side(panels, _PANEL_HEIGHT) for panels in rows])


def _draw_boxes(analysis: "AnalysedPhoto", crop: Crop) -> Image.Image:
    """The photograph, small, with everybody's box and the crop."""
    pixels = reduce_photo(analysis.photo.pixels, _PICTURE_SIDE)
    picture = Image.fromarray(pixels)
    drawing = ImageDraw.Draw(picture)
    scale = pixels.shape[0] / analysis.photo.pixels.shape[0]
    for number, box in enumerate(analysis.boxes):
        color = _CHOSEN_COLOR if number == analysis.chosen else _OTHER_COLOR
        drawing.rectangle(tuple(float(value) * scale for value in box[:4]), outline=color, width=2)
    corners = (crop.left, crop.top, crop.left + crop.width, crop.top + crop.height)
    drawing.rectangle(tuple(value * scale for value in corners), outline=_CROP_COLOR, width=2)
    return picture
