# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What light does not reach: shadows of the key light from a shadow map, and crevices from the depth of a picture."""

from dataclasses import dataclass

import numpy as np

from .mesh import normalize


# Texels of a shadow map: as many as the picture has pixels, within limits.
_SMALLEST_MAP, _LARGEST_MAP = 96, 256
# Around the receiving points the map keeps this many texels, over which a shadow's edge is blurred.
_BORDER = 3
# A point is moved along its normal, and towards the light, by this many texels before it is looked up: a coarse map
# would make a surface shadow itself. What is nearer than that throws no shadow.
_LIFT = 1.2
_TOLERANCE = 0.4
# A point lies in a crevice if the surface rises on both sides of it, looked up at these distances in metres.
_CREVICE_RADII = (0.03, 0.08)
_CREVICE_DIRECTIONS = np.array([(1, 0), (0, 1), (0.7, 0.7), (0.7, -0.7)])
# Rises below this share of the distance are the body's own roundness.
_ROUNDNESS = 0.25
_FAR_AWAY = 1e3
_SMALLEST_EXTENT = 1e-3
# The few directions and distances would show as rings.
_CREVICE_BLUR = 0.02


@dataclass(frozen=True)
class LightView:
    """The key light as a camera without perspective.

    Attributes:
        axes: (3, 3) float32 rows: along the map's columns, along its rows, and away from the light.
        origin: (3,) float32 what is subtracted after turning into these axes.
        texel: metres that a texel of the map spans.
        size: texels of the map in either direction.
    """

    axes: np.ndarray
    origin: np.ndarray
    texel: float
    size: int

    def project(self, points: np.ndarray) -> np.ndarray:
        """Points (N, 3) to (N, 3) float32: column and row in texels, depth in metres (positive for the casters)."""
        turned = points @ self.axes.T - self.origin
        turned[:, :2] /= self.texel
        return turned


def shadow_map_size(size: int) -> int:
    """Texels in either direction of the shadow map of a picture of `size` pixels."""
    return min(max(size, _SMALLEST_MAP), _LARGEST_MAP)


def light_view(direction: np.ndarray, receivers: np.ndarray, casters: np.ndarray, size: int) -> LightView:
    """Aim a shadow map at the points that receive shadows.

    Args:
        direction (`np.ndarray`): (3,) unit vector towards the light.
        receivers (`np.ndarray`): (N, 3) points that are looked up.
        casters (`np.ndarray`): (V, 3) vertices of what throws shadows.
        size (`int`): texels of the map in either direction.
    """
    # Mirrored: a rasteriser that drops the faces of closed surfaces which are turned away then keeps the far side as
    # the light sees it. What is lit so never lies just behind itself in the map.
    right = normalize(np.cross(np.eye(3)[np.abs(direction).argmin()], direction))
    axes = np.stack([right, np.cross(direction, right), -direction]).astype(np.float32)
    turned = axes[:2] @ receivers.T
    low, high = turned.min(axis=1), turned.max(axis=1)
    # What is seen in one pixel alone has no extent.
    texel = max(float((high - low).max()), _SMALLEST_EXTENT) / (size - 2 * _BORDER)
    nearest = (casters @ axes[2]).min() - 1
    return LightView(axes, np.array([*(low - _BORDER * texel), nearest], np.float32), texel, size)


def blocked_share(view: LightView, depth: np.ndarray, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """How much (0 to 1) of the key light is blocked at points.

    Args:
        view (`LightView`): where the map was taken from.
        depth (`np.ndarray`): the map, (size, size) float32 depths in metres.
        points, normals (`np.ndarray`): (N, 3) float32; unit normals.

    Returns:
        `np.ndarray`: (N,) float32, averaged over a square of 2 x 2 texels around the point.
    """
    seen = view.project(points + np.float32(_LIFT * view.texel) * normals)
    column, row = np.floor(seen[:, 0]), np.floor(seen[:, 1])
    right, below = seen[:, 0] - column, seen[:, 1] - row
    texel = row.astype(np.int32) * view.size + column.astype(np.int32)
    limit = seen[:, 2] - np.float32(_TOLERANCE * view.texel)
    blocked = np.zeros(len(points), np.float32)
    flat = depth.reshape(-1)
    for row_step, row_weight in ((-1, 1 - below), (0, 1), (1, below)):
        for column_step, column_weight in ((-1, 1 - right), (0, 1), (1, right)):
            weight = row_weight * column_weight
            blocked += weight * (flat.take(texel + (row_step * view.size + column_step)) < limit)
    return blocked / 4


def crevices(depth: np.ndarray, pixels_per_metre: float) -> np.ndarray:
    """How deep each pixel lies between what is around it, a cheap stand-in for how little of the surroundings' light
    reaches it: armpits, under hems and chins, where limbs touch.

    Args:
        depth (`np.ndarray`): (S, S) float32 metres, infinite for the background.
        pixels_per_metre (`float`): at the person.

    Returns:
        `np.ndarray`: (S, S) float32 in [0, 1].
    """
    size = len(depth)
    total = np.zeros((size, size), np.float32)
    filled = np.where(np.isfinite(depth), depth, np.float32(_FAR_AWAY))
    for radius in _CREVICE_RADII:
        steps = np.round(_CREVICE_DIRECTIONS * np.clip(radius * pixels_per_metre, 1, size)).astype(int)
        border = int(np.abs(steps).max())
        padded = np.pad(filled, border, constant_values=_FAR_AWAY)

        def rise(right: int, down: int) -> np.ndarray:
            other = padded[border + down : border + down + size, border + right : border + right + size]
            nearer = filled - other
            # What is much nearer is another limb in front.
            return np.where(nearer < 2 * radius, nearer, 0)

        for right, down in steps:
            # On a plane, however it is turned, one side rises as much as the other falls.
            both = rise(right, down) + rise(-right, -down)
            total += np.clip(both / radius - _ROUNDNESS, 0, 1)
    share = total / (len(_CREVICE_RADII) * len(_CREVICE_DIRECTIONS))
    return _box_blur(
        _box_blur(share, round(_CREVICE_BLUR * pixels_per_metre)).T, round(_CREVICE_BLUR * pixels_per_metre)
    ).T


def _box_blur(values: np.ndarray, radius: int) -> np.ndarray:
    """The mean of 2 * `radius` + 1 rows, with zeros beyond the border."""
    padded = np.pad(values, ((radius + 1, radius), (0, 0)))
    sums = np.cumsum(padded, axis=0)
    return (sums[2 * radius + 1 :] - sums[: -2 * radius - 1]) / (2 * radius + 1)
