# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Pictures to look at: poses drawn on images, and images side by side under captions."""

import colorsys
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .poses import NUM_KEYPOINTS, SKELETON, check_pose


_BACKGROUND = (255, 255, 255)
_CAPTION_COLOR = (30, 30, 30)
_CAPTION_HEIGHT = 24
_CAPTION_SIZE = 14
_GAP = 8


class Panel(NamedTuple):
    """One image of a side-by-side picture.

    Args:
        image (`PIL.Image.Image`): Any size and mode; transparent pixels show white.
        caption (`str`): One line, cut to the image's width.
        pose (`np.ndarray`, *optional*): (18, 3) keypoints to draw over the image.
        show_pixels (`bool`): Enlarge without smoothing, for what a model made.
    """

    image: Image.Image
    caption: str
    pose: np.ndarray | None = None
    show_pixels: bool = False


def draw_pose(image: Image.Image, pose: np.ndarray) -> Image.Image:
    """A copy of the image with a skeleton drawn on it, one colour for each bone.

    Args:
        image (`PIL.Image.Image`): Any size.
        pose (`np.ndarray`): (18, 3) OpenPose keypoints of x and y in [0, 1] and visibility. Points with visibility 0
            and the bones that end in them are left out.
    """
    pose = np.asarray(pose)
    check_pose(pose, "pose")
    image = image.convert("RGB")
    drawing = ImageDraw.Draw(image)
    points = [(float(x) * image.width, float(y) * image.height) for x, y, _ in pose]
    width = max(2, round(image.height / 96))
    for bone, (start, end) in enumerate(SKELETON):
        if pose[start, 2] > 0 and pose[end, 2] > 0:
            drawing.line([points[start], points[end]], fill=_color(bone / len(SKELETON)), width=width)
    for index, (x, y) in enumerate(points):
        if pose[index, 2] > 0:
            box = (x - width, y - width, x + width, y + width)
            drawing.ellipse(box, fill=_color(index / NUM_KEYPOINTS), outline=_CAPTION_COLOR)
    return image


def _color(hue: float) -> tuple[int, int, int]:
    return tuple(round(255 * value) for value in colorsys.hsv_to_rgb(hue, 0.9, 1.0))


def side_by_side(panels: list[Panel], height: int = 256) -> Image.Image:
    """Images in one row under their captions, on white.

    Args:
        panels (`list[Panel]`): From left to right.
        height (`int`, *optional*, defaults to 256): Height of the row in pixels; a taller image sets it for all.

    Returns:
        `PIL.Image.Image`: RGB.
    """
    if not panels:
        raise ValueError("`panels` must hold one image at least, got none.")
    height = max(height, *(panel.image.height for panel in panels))
    images = [_scaled(panel, height) for panel in panels]
    width = sum(image.width for image in images) + _GAP * (len(images) + 1)
    picture = Image.new("RGB", (width, _CAPTION_HEIGHT + height + _GAP), _BACKGROUND)
    drawing = ImageDraw.Draw(picture)
    font = ImageFont.load_default(_CAPTION_SIZE)
    left = _GAP
    for panel, image in zip(panels, images):
        caption = _fitting(panel.caption, font, image.width)
        drawing.text((left, _CAPTION_HEIGHT / 2), caption, fill=_CAPTION_COLOR, font=font, anchor="lm")
        picture.paste(image, (left, _CAPTION_HEIGHT))
        left += image.width + _GAP
    return picture


def stages_picture(
    agnostic_image: Image.Image,
    garment_image: Image.Image,
    person_pose: np.ndarray,
    garment_pose: np.ndarray | None = None,
    *,
    stages: dict[str, Image.Image],
) -> Image.Image:
    """The inputs of a try-on with their poses, and the result of every stage, side by side.

    Args:
        agnostic_image (`PIL.Image.Image`), garment_image (`PIL.Image.Image`): As given to the pipeline.
        person_pose (`np.ndarray`): (18, 3) keypoints in [0, 1].
        garment_pose (`np.ndarray`, *optional*): The same, or None for a flat garment.
        stages (`dict[str, PIL.Image.Image]`): Name and result of each stage, in order.
    """
    garment_caption = "garment, flat" if garment_pose is None else "garment and its pose"
    inputs = [
        Panel(agnostic_image, "person and pose", person_pose),
        Panel(garment_image, garment_caption, garment_pose),
    ]
    results = [
        Panel(image, f"{name}, {image.width} x {image.height}", show_pixels=True) for name, image in stages.items()
    ]
    return side_by_side(inputs + results)


def contact_sheet(rows: list[list[Panel]], columns: int = 2, height: int = 192) -> Image.Image:
    """Rows of panels in a grid, filled from the upper left to the right and then downwards.

    Args:
        rows (`list[list[Panel]]`): The panels of each cell.
        columns (`int`, *optional*, defaults to 2): Cells side by side.
        height (`int`, *optional*, defaults to 192): Height of the images in pixels; all are scaled to it.

    Returns:
        `PIL.Image.Image`: RGB.
    """
    if not rows:
        raise ValueError("`rows` must hold one row at least, got none.")
    small = [[panel._replace(image=_scaled(panel._replace(pose=None), height)) for panel in panels] for panels in rows]
    cells = [side_by_side(panels, height) for panels in small]
    cell_width, cell_height = max(cell.width for cell in cells), cells[0].height
    size = (cell_width * min(columns, len(cells)), cell_height * -(-len(cells) // columns))
    picture = Image.new("RGB", size, _BACKGROUND)
    for number, cell in enumerate(cells):
        picture.paste(cell, (number % columns * cell_width, number // columns * cell_height))
    return picture


def stacked(pictures: list[Image.Image]) -> Image.Image:
    """Pictures of any widths below each other, on white."""
    if not pictures:
        raise ValueError("`pictures` must hold one picture at least, got none.")
    size = max(picture.width for picture in pictures), sum(picture.height for picture in pictures)
    column, top = Image.new("RGB", size, _BACKGROUND), 0
    for picture in pictures:
        column.paste(picture, (0, top))
        top += picture.height
    return column


def titled(picture: Image.Image, title: str) -> Image.Image:
    """A picture below one line of text, which is cut to its width."""
    framed = Image.new("RGB", (picture.width, picture.height + _CAPTION_HEIGHT), _BACKGROUND)
    framed.paste(picture, (0, _CAPTION_HEIGHT))
    font = ImageFont.load_default(_CAPTION_SIZE)
    text = _fitting(title, font, picture.width - 2 * _GAP)
    ImageDraw.Draw(framed).text((_GAP, _CAPTION_HEIGHT / 2), text, fill=_CAPTION_COLOR, font=font, anchor="lm")
    return framed


def _scaled(panel: Panel, height: int) -> Image.Image:
    image = panel.image.convert("RGBA")
    image = Image.alpha_composite(Image.new("RGBA", image.size, _BACKGROUND), image).convert("RGB")
    width = max(1, round(image.width * height / image.height))
    resample = Image.Resampling.NEAREST if panel.show_pixels else Image.Resampling.BICUBIC
    image = image.resize((width, height), resample)
    return image if panel.pose is None else draw_pose(image, panel.pose)


def _fitting(caption: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    if font.getlength(caption) <= width:
        return caption
    while caption and font.getlength(caption + "…") > width:
        caption = caption[:-1]
    return caption + "…"
