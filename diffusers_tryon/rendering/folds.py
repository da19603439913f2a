# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Folds of cloth: long ones that hang down everywhere, and short ones across where the cloth is pushed together."""

from functools import lru_cache

import numpy as np

from .cloth_coordinates import TORSO_SIDE
from .surfaces import Surface


_TEXELS = 512
# The pattern of folds repeats after so many metres of cloth: once around the torso, so that no seam is seen at the
# back.
_REPEAT = (4 * TORSO_SIDE, 1.0)
# Wavelengths in metres across and along the folds, and the height of the cloth in metres.
_HANGING = ((0.15, 0.5, 0.013), (0.07, 0.25, 0.004))
_PUSHED = ((0.06, 0.16, 0.008),)
# How much darker the deepest valley is than a ridge.
_VALLEY_SHADE = 0.25
# Cloth starts to fold where it is shorter than this share of its length, and does so fully at the second share.
_FIRST_FOLD, _FULL_FOLD = 0.92, 0.6


def _noise(rng: np.random.Generator, across: float, along: float) -> np.ndarray:
    """Smooth noise (T, T) that repeats, of variance 1, rows along u; wavelengths in metres along the two axes."""
    frequency = np.fft.fftfreq(_TEXELS, 1 / _TEXELS)
    distance = np.hypot(frequency[:, None] * along, frequency * across)
    spectrum = np.fft.fft2(rng.standard_normal((_TEXELS, _TEXELS))) * np.exp(-4 * (distance - 0.7) ** 2)
    spectrum[0, 0] = 0
    values = np.fft.ifft2(spectrum).real
    return values / values.std()


def _slopes(height: np.ndarray) -> list[np.ndarray]:
    """Slopes along u and along v of a height (T, T) in metres; u runs along the second axis."""
    return [(np.roll(height, -1, axis) - np.roll(height, 1, axis)) * (_TEXELS / 2) for axis in (1, 0)]


@lru_cache(maxsize=1)
def _fold_pattern() -> np.ndarray:
    """(T * T, 6) float32: slopes along u and v and brightness of the hanging folds, then of the pushed ones."""
    rng = np.random.default_rng(7)
    channels = []
    for folds, upright in ((_HANGING, True), (_PUSHED, False)):
        height = 0
        for wavelength, length, strength in folds:
            noise = _noise(rng, wavelength, length) if upright else _noise(rng, length, wavelength)
            # Round ridges between narrow valleys.
            height = height + strength * np.sqrt(noise**2 + 0.05)
        depth = (height.max() - height) / np.ptp(height)
        channels += [*_slopes(height), 1 - _VALLEY_SHADE * (depth**4 - np.mean(depth**4))]
    return np.stack(channels, axis=-1).astype(np.float32).reshape(-1, 6)


def draw_wrinkles(rng: np.random.Generator) -> np.ndarray:
    """Draw the folds of the clothes: where (2,) in the pattern of folds their cloth begins."""
    return rng.random(2)


def cloth_directions(surface: Surface) -> tuple[np.ndarray, np.ndarray]:
    """How far a point moves per metre of cloth along u and along v, on each face of a garment: two arrays (F, 3)
    float32, in metres."""
    corners = np.ascontiguousarray(surface.faces.T)
    first, second, third = (surface.vertices.take(corner, axis=0) for corner in corners)
    across, up = second - first, third - first
    u, v = np.ascontiguousarray(surface.texture_coordinates[..., :2].transpose(2, 1, 0))
    u_across, u_up, v_across, v_up = u[1] - u[0], u[2] - u[0], v[1] - v[0], v[2] - v[0]
    area = u_across * v_up - u_up * v_across
    scale = np.where(np.abs(area) > 1e-9, 1 / np.where(area == 0, 1, area), 0)
    along_u = (v_up * scale)[:, None] * across - (v_across * scale)[:, None] * up
    along_v = (u_across * scale)[:, None] * up - (u_up * scale)[:, None] * across
    return along_u.astype(np.float32), along_v.astype(np.float32)


def pushed_share(surface: Surface, along_v: np.ndarray) -> np.ndarray:
    """How much (0 to 1) the cloth is pushed together at each vertex (V,) of a garment, float32."""
    length = np.sqrt(np.einsum("fc,fc->f", along_v, along_v))
    pushed = np.clip((_FIRST_FOLD - length) / (_FIRST_FOLD - _FULL_FOLD), 0, 1)
    corner = surface.faces.reshape(-1)
    around = np.bincount(corner, weights=np.repeat(pushed, 3), minlength=len(surface.vertices))
    return (around / np.maximum(np.bincount(corner, minlength=len(surface.vertices)), 1)).astype(np.float32)


def fold_cloth(
    points: np.ndarray, pushed: np.ndarray, along_u: np.ndarray, along_v: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How folds change the look of cloth.

    Args:
        points (`np.ndarray`): (N, 2) texture coordinates in metres.
        pushed (`np.ndarray`): (N,) how much the cloth is pushed together there, 0 to 1.
        along_u, along_v (`np.ndarray`): (N, 3) unit vectors, the directions of `cloth_directions`.
        start (`np.ndarray`): (2,) from `draw_wrinkles`.

    Returns:
        `tuple[np.ndarray, np.ndarray]`: what is added to the unit normals (N, 3), and by what the colours are
        multiplied (N,), both float32.
    """
    column, row = (
        np.floor(points[:, axis] * np.float32(_TEXELS / _REPEAT[axis]) + np.float32(start[axis] * _TEXELS)).astype(
            np.int32
        )
        % _TEXELS
        for axis in range(2)
    )
    pattern = _fold_pattern().take(row * _TEXELS + column, axis=0)
    slopes = pattern[:, :2] + pushed[:, None] * pattern[:, 3:5]
    tilt = -slopes[:, :1] * along_u - slopes[:, 1:] * along_v
    return tilt, pattern[:, 2] * (1 + pushed * (pattern[:, 5] - 1))
