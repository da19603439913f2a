# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""A z-buffer triangle rasteriser in plain PyTorch: no OpenGL, no compiled extension."""

import torch


# The z-buffer is one integer per pixel: the quantised depth above the face's number, so that one `scatter_reduce`
# finds the nearest face and breaks ties always in the same way.
_FACE_BITS = 22
_DEPTH_STEPS_PER_UNIT = 2**24
_MAX_DEPTH = 64.0
# Spans are widened by this many pixels before rounding; fragments are tested exactly afterwards.
_SPAN_MARGIN = 1e-3


def _expand_counts(counts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Repeat each index `counts[index]` times; also give the running number inside each group."""
    index = torch.repeat_interleave(torch.arange(len(counts)), counts)
    group_start = torch.cumsum(counts, 0) - counts
    return index, torch.arange(len(index)) - group_start[index]


def _edge_functions(corners: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Barycentric coordinates of a pixel as `a * x + b * y + c`, one per corner.

    Returns a, b, c of shape (F, 3) and a mask (F,) of the triangles with an area.
    """
    x, y = corners[..., 0], corners[..., 1]
    following, previous = [1, 2, 0], [2, 0, 1]
    a = y[:, following] - y[:, previous]
    b = x[:, previous] - x[:, following]
    # Taken relative to the first corner: the differences are small, so float32 loses nothing.
    c = -(a * x[:, following] + b * y[:, following])
    doubled_area = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (x[:, 2] - x[:, 0]) * (y[:, 1] - y[:, 0])
    has_area = doubled_area.abs() > 1e-8
    scale = torch.where(has_area, 1 / doubled_area, torch.zeros_like(doubled_area))[:, None]
    return a * scale, b * scale, c * scale, has_area


@torch.no_grad()
def rasterize(
    vertices: torch.Tensor, faces: torch.Tensor, height: int, width: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Find the nearest triangle at the centre of every pixel.

    Args:
        vertices (`torch.Tensor`): (V, 3) float32; x and y in pixels (the centre of the first pixel is 0.5, 0.5), z the
            depth between 0 and 64, nearer is smaller.
        faces (`torch.Tensor`): (F, 3) int64 indices into `vertices`, at most 4,194,304. Both orientations are drawn.
        height (`int`): rows of the picture.
        width (`int`): columns of the picture.

    Returns:
        `tuple`: the face's number (height, width) int64, -1 where no triangle is, and the barycentric coordinates of
        the pixel in it (height, width, 3) float32, zeros where no triangle is.
    """
    if len(faces) >= 2**_FACE_BITS:
        raise ValueError(f"`faces` must hold fewer than {2**_FACE_BITS} triangles, got {len(faces)}.")
    corners = vertices[faces].double()
    a, b, c, has_area = _edge_functions(corners)
    x, y, z = corners.unbind(-1)

    # One entry per triangle and row that it crosses.
    first_row = (y.amin(1) - 0.5).ceil().clamp(0, height)
    last_row = (y.amax(1) - 0.5).floor().clamp(-1, height - 1)
    visible = has_area & (last_row >= first_row) & (x.amax(1) >= 0.5) & (x.amin(1) <= width - 0.5)
    face = visible.nonzero()[:, 0]
    entry, row_offset = _expand_counts((last_row - first_row + 1)[face].long())
    face = face[entry]
    row = first_row[face].long() + row_offset

    # The span of columns inside the three half planes a * x + base >= 0.
    slope = a[face]
    base = b[face] * (row + 0.5)[:, None] + c[face]
    crossing = -base / torch.where(slope == 0, torch.ones_like(slope), slope)
    start = torch.where(slope > 0, crossing, torch.full_like(crossing, 0.5)).amax(1).clamp(min=0.5)
    stop = torch.where(slope < 0, crossing, torch.full_like(crossing, width - 0.5)).amin(1).clamp(max=width - 0.5)
    first_column = (start - 0.5 - _SPAN_MARGIN).ceil().clamp(0, width).long()
    last_column = (stop - 0.5 + _SPAN_MARGIN).floor().clamp(-1, width - 1).long()

    # One entry per triangle and pixel.
    entry, column_offset = _expand_counts((last_column - first_column + 1).clamp(min=0))
    column = first_column[entry] + column_offset
    barycentric = slope[entry] * (column + 0.5)[:, None] + base[entry]
    inside = (barycentric >= -1e-9).all(1)
    entry, column, barycentric = entry[inside], column[inside], barycentric[inside]
    face, pixel = face[entry], row[entry] * width + column

    depth = (barycentric * z[face]).sum(1).clamp(0, _MAX_DEPTH)
    key = ((depth * _DEPTH_STEPS_PER_UNIT).long() << _FACE_BITS) | face
    nearest = torch.full((height * width,), torch.iinfo(torch.int64).max)
    nearest.scatter_reduce_(0, pixel, key, "amin")
    wins = nearest[pixel] == key

    face_index = torch.full((height * width,), -1)
    face_index[pixel[wins]] = face[wins]
    weights = torch.zeros(height * width, 3)
    weights[pixel[wins]] = barycentric[wins].float()
    return face_index.view(height, width), weights.view(height, width, 3)
