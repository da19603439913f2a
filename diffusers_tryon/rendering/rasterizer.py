# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""A z-buffer triangle rasteriser in plain PyTorch: no OpenGL, no compiled extension, on any device.

Every triangle is filled row by row between two of its edges, from the first column at or after the left crossing up to
the one before the right crossing. Where an edge crosses a row is computed from the upper to the lower end, hence alike
for both triangles that share it: they neither leave a gap nor hit a pixel twice. Every operation is rounded for itself
(none is fused with another), so that all devices and all batches give the same bits.
"""

from typing import NamedTuple

import torch


# The z-buffer is one integer per pixel: the bits of the depth (positive floats are ordered like their bits) above the
# triangle's number, so that one `scatter_reduce` finds the nearest and breaks ties always in the same way.
_NUMBER_BITS = 32
_EMPTY = torch.iinfo(torch.int64).max


class Fragments(NamedTuple):
    """What is seen at the centres of the pixels, sorted by pixel; pixels without a triangle are left out.

    Attributes:
        pixel: (N,) int64, (picture * height + row) * width + column.
        face: (N,) int64.
        barycentric: (N, 3) float32, coordinates of the pixel's centre in the face.
        depth: (N,) float32.
    """

    pixel: torch.Tensor
    face: torch.Tensor
    barycentric: torch.Tensor
    depth: torch.Tensor


class _Triangles(NamedTuple):
    """The T triangles that may be seen: their faces and pictures, and the coordinates of their corners, float64, in
    pixels counted from the first pixel's centre."""

    face: torch.Tensor
    picture: torch.Tensor
    x: list[torch.Tensor]
    y: list[torch.Tensor]
    doubled_area: torch.Tensor


def _select(index: torch.Tensor, *values: torch.Tensor) -> list[torch.Tensor]:
    """`value[index]` of each of the values, for which `index_select` is several times as fast."""
    return [value.index_select(0, index) for value in values]


def _expand(counts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Repeat each index `counts[index]` times, and say where each group starts (len(counts),)."""
    ends = counts.cumsum(0)
    total = int(ends[-1:].sum())
    # An entry's index is the number of groups that end before it: faster than `repeat_interleave` for small groups.
    ended = torch.zeros(total + 1, dtype=torch.int64, device=counts.device)
    ended.scatter_add_(0, ends, torch.ones_like(counts))
    return ended[:total].cumsum(0), ends - counts


def _visible_triangles(
    vertices: torch.Tensor, faces: torch.Tensor, one_sided: torch.Tensor, picture: torch.Tensor, shape: tuple[int, ...]
) -> _Triangles:
    """Drop triangles that are turned away or whose bounding box holds no pixel's centre: most faces go here."""
    _, height, width = shape
    x, y = (vertices[:, :2].T - 0.5).contiguous()
    corners = faces.T.contiguous()
    x0, x1, x2 = (x.index_select(0, corner) for corner in corners)
    y0, y1, y2 = (y.index_select(0, corner) for corner in corners)
    first_column = torch.minimum(torch.minimum(x0, x1), x2).ceil_().clamp_(min=0)
    last_column = torch.maximum(torch.maximum(x0, x1), x2).floor_().clamp_(max=width - 1)
    first_row = torch.minimum(torch.minimum(y0, y1), y2).ceil_().clamp_(min=0)
    last_row = torch.maximum(torch.maximum(y0, y1), y2).floor_().clamp_(max=height - 1)
    face = ((last_column >= first_column) & (last_row >= first_row)).nonzero()[:, 0]

    x0, x1, x2, y0, y1, y2 = (values.double() for values in _select(face, x0, x1, x2, y0, y1, y2))
    doubled_area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    seen = ((doubled_area < 0) | ((doubled_area > 0) & ~one_sided.index_select(0, face))).nonzero()[:, 0]
    face, x0, x1, x2, y0, y1, y2, doubled_area = _select(seen, face, x0, x1, x2, y0, y1, y2, doubled_area)
    return _Triangles(face, picture.index_select(0, face), [x0, x1, x2], [y0, y1, y2], doubled_area)


def _by_height(triangles: _Triangles) -> list[torch.Tensor]:
    """x and y of the highest, the middle and the lowest corner: x, x, x, y, y, y."""
    x, y = list(triangles.x), list(triangles.y)
    for upper, lower in ((0, 1), (1, 2), (0, 1)):
        swap = y[upper] > y[lower]
        for values in (x, y):
            first, second = values[upper], values[lower]
            values[upper], values[lower] = torch.where(swap, second, first), torch.where(swap, first, second)
    return x + y


def _spans(
    triangles: _Triangles, height: int, width: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """One entry per triangle and row that it crosses: the triangle's number, the row, the first column inside, and
    the number of columns."""
    x_top, x_middle, x_low, y_top, y_middle, y_low = _by_height(triangles)
    # Every triangle is cut at its middle corner: first come the upper halves, then the lower ones.
    rows = torch.cat([y_top, y_middle, y_low]).ceil_().clamp_(0, height).long()
    first_row, after_row = rows[: -len(y_top)], rows[len(y_top) :]
    num_rows = after_row - first_row
    # A half without a row may have an infinite slope.
    short_slope = torch.cat([(x_middle - x_top) / (y_middle - y_top), (x_low - x_middle) / (y_low - y_middle)])
    short = (torch.cat([x_top, x_middle]), torch.cat([y_top, y_middle]), short_slope)
    long_slope = (x_low - x_top) / (y_low - y_top)
    middle_is_left = (x_middle < x_top + (y_middle - y_top) * long_slope).repeat(2)
    edges = list(zip(short, (values.repeat(2) for values in (x_top, y_top, long_slope))))
    left_edge = [torch.where(middle_is_left, of_short, of_long) for of_short, of_long in edges]
    right_edge = [torch.where(middle_is_left, of_long, of_short) for of_short, of_long in edges]

    half, first_entry = _expand(num_rows)
    numbers = torch.arange(len(y_top), device=half.device).repeat(2)
    number, skipped = _select(half, numbers, first_entry - first_row)
    row = torch.arange(len(half), device=half.device) - skipped
    down_to = row.double()
    columns = []
    for edge in (left_edge, right_edge):
        from_x, from_y, slope = _select(half, *edge)
        columns.append((from_x + (down_to - from_y) * slope).ceil_().clamp_(0, width).long())
    return number, row, columns[0], (columns[1] - columns[0]).clamp_(min=0)


def _depth_plane(vertices: torch.Tensor, faces: torch.Tensor, triangles: _Triangles) -> tuple[torch.Tensor, ...]:
    """The depth of a triangle is `across * x + down * y + constant`: three arrays (T,)."""
    (x0, x1, x2), (y0, y1, y2) = triangles.x, triangles.y
    corners = faces.index_select(0, triangles.face).T
    z0, z1, z2 = (vertices[:, 2].index_select(0, corner).double() for corner in corners)
    across = ((z1 - z0) * (y2 - y0) - (z2 - z0) * (y1 - y0)) / triangles.doubled_area
    down = ((z2 - z0) * (x1 - x0) - (z1 - z0) * (x2 - x0)) / triangles.doubled_area
    return across, down, z0 - across * x0 - down * y0


def _nearest(
    vertices: torch.Tensor, faces: torch.Tensor, triangles: _Triangles, shape: tuple[int, ...]
) -> torch.Tensor:
    """The z-buffer, all pictures in one list: in every pixel the bits of the nearest triangle's depth above its
    number, `_EMPTY` where there is none."""
    pictures, height, width = shape
    number, row, first_column, columns = _spans(triangles, height, width)
    across, down, constant, picture = _select(number, *_depth_plane(vertices, faces, triangles), triangles.picture)
    left = (picture * height + row) * width
    constant = constant + down * row.double()

    # One entry per triangle and pixel.
    entry, first_entry = _expand(columns)
    number, across, constant, left, skipped = _select(
        entry, number, across, constant, left, first_entry - first_column
    )
    column = torch.arange(len(entry), device=entry.device) - skipped
    depth = (constant + across * column.double()).float()
    key = (depth.view(torch.int32).long() << _NUMBER_BITS) | number
    nearest = torch.full((pictures * height * width,), _EMPTY, device=key.device)
    return nearest.scatter_reduce_(0, left + column, key, "amin")


def _depth_of_key(key: torch.Tensor) -> torch.Tensor:
    return (key >> _NUMBER_BITS).int().view(torch.float32)


@torch.no_grad()
def rasterize(
    vertices: torch.Tensor, faces: torch.Tensor, one_sided: torch.Tensor, picture: torch.Tensor, shape: tuple[int, ...]
) -> Fragments:
    """Find the nearest triangle at the centre of every pixel of one or several pictures of the same size.

    Args:
        vertices (`torch.Tensor`): (V, 3) float32; x and y in pixels (the centre of the first pixel is 0.5, 0.5), z the
            depth, positive, nearer is smaller.
        faces (`torch.Tensor`): (F, 3) int64 indices into `vertices`.
        one_sided (`torch.Tensor`): (F,) bool, faces that are drawn only if their corners run counter-clockwise in the
            picture; the others are drawn either way.
        picture (`torch.Tensor`): (F,) int64, the picture in which a face is drawn.
        shape (`tuple[int, int, int]`): number of pictures, height and width in pixels.

    Returns:
        `Fragments`: on the device of the arguments. Of triangles at the same depth the first is seen.
    """
    triangles = _visible_triangles(vertices, faces, one_sided, picture, shape)
    nearest = _nearest(vertices, faces, triangles, shape)
    pixel = (nearest != _EMPTY).nonzero()[:, 0]
    key = nearest.index_select(0, pixel)
    number = key & (2**_NUMBER_BITS - 1)
    (x0, x1, x2), (y0, y1, y2) = triangles.x, triangles.y
    x0, y0, x1, y1, x2, y2, area = _select(number, x0, y0, x1 - x0, y1 - y0, x2 - x0, y2 - y0, triangles.doubled_area)
    right, below = (pixel % shape[2]).double() - x0, (pixel // shape[2] % shape[1]).double() - y0
    second, third = (right * y2 - below * x2) / area, (below * x1 - right * y1) / area
    barycentric = torch.stack([1 - second - third, second, third], dim=1).float()
    return Fragments(pixel, triangles.face.index_select(0, number), barycentric, _depth_of_key(key))


@torch.no_grad()
def rasterize_depth(
    vertices: torch.Tensor, faces: torch.Tensor, one_sided: torch.Tensor, picture: torch.Tensor, shape: tuple[int, ...]
) -> torch.Tensor:
    """Only the depth of what `rasterize` finds: `shape` float32, infinite where no triangle is."""
    triangles = _visible_triangles(vertices, faces, one_sided, picture, shape)
    nearest = _nearest(vertices, faces, triangles, shape)
    return torch.where(nearest == _EMPTY, torch.inf, _depth_of_key(nearest)).view(shape)
