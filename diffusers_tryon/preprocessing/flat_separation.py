# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Telling a garment that lies flat from the background it was photographed on."""

import numpy as np
from PIL import Image, ImageFilter
from scipy import ndimage

from ..composition import label_mask
from .errors import NoGarmentError


# Lightness and two chroma axes of gamma-coded colours, in steps of 1/255 of lightness. Chroma counts more than
# lightness: light changes it less.
_OPPONENT_AXES = np.array([[0.299, 0.587, 0.114], [0.85, -0.85, 0.0], [0.4, 0.4, -0.8]], np.float32)
# Share of the longer side: the border that shows the background, gaps in a garment's rim that are closed, specks.
_BAND = 0.03
_CLOSING = 0.006
# The background's spread may be at least and at most this much, in steps of lightness.
_SPREAD_BOUNDS = (1.2, 14.0)
# What differs by so many spreads is certainly not background, and by so many is a part of what it touches.
_STRONG, _WEAK = 7.0, 4.0
# Grain finer than this share of the longer side is smoothed, on backgrounds of a larger spread than that more of it.
_LEAST_SMOOTHING, _COARSE_SMOOTHING, _COARSE_SPREAD = 1 / 1000, 1 / 200, 4.0
# A shadow leaves at least this share of the light and keeps chroma to so many spreads. Seen three times coarser, a
# hard edge is three times less steep, the edge of a soft shadow nearly as steep. Shadows are looked for on a grid of
# at most so many pixels.
_DARKEST_SHADOW = 0.45
_SHADOW_CHROMA = 3.0
_SHADOW_SHARPNESS = 1.6
_SHADOW_SIDE = 400
# If less than this share of a thing is left without what looks like shadow, it is no shadow.
_LEAST_WITHOUT_SHADOW = 0.6
# Parts of this share of the largest are joined if they lie above each other, so near by the longer side.
_LEAST_STRIPE, _LARGEST_STRIPE = 0.1, 0.07
# Pixels on each side of the outline in which it is put where colours are half way.
_RIM = 3
# Holes below this share of the picture or above this share of the garment are filled; others show the background if
# they have its colour.
_LEAST_HOLE, _LARGEST_HOLE = 2e-4, 0.5
# A garment covers this share of the picture.
_AREA_BOUNDS = (0.01, 0.97)
# If less of the border than this is within so many steps of a colour of the background, there is no plain background.
_LEAST_INLIERS, _PLAIN = 0.6, 45.0
# Samples of the border, and the share of them that makes another colour of the background.
_SAMPLES = 4000
_LEAST_CLUSTER = 0.08
# Mean spreads by which what is seen through a hole differs from the background, and the share of it that a parser may
# take for cloth.
_HOLE_DIFFERENCE, _HOLE_VOTES = 2.0, 0.7
_GARMENT_LABELS = ("top", "dress", "skirt", "pants", "scarf", "belt")


def separate_flat_garment(
    pixels: np.ndarray, opacity: np.ndarray | None, parse: np.ndarray | None, name: str = "photo"
) -> np.ndarray:
    """Where a garment lies on a background of any colour: plain, shaded, or mildly textured.

    The background is what the picture's border shows: a smooth change of light, and up to three colours around it.
    What differs from it is the garment, unless it is a soft shadow. Of several things the largest in the middle is
    taken, or the one that a parser takes for a garment. Where the background shows through, there is a hole. Hangers
    and stands that touch the garment are taken for parts of it.

    Args:
        pixels (`np.ndarray`): (H, W, 3) uint8.
        opacity (`np.ndarray`, *optional*): (H, W) uint8, 0 where the picture is transparent; then it alone decides.
        parse (`np.ndarray`, *optional*): (H, W) ids of `composition.PARSE_LABELS`, further evidence that may be wrong.
        name (`str`): of the photograph, for messages.

    Returns:
        `np.ndarray`: (H, W) bool.

    Raises:
        NoGarmentError: nothing can be told from the background, or there is no plain background.
    """
    evidence = np.zeros(pixels.shape[:2], bool) if parse is None else label_mask(parse, _GARMENT_LABELS)
    if opacity is not None and (opacity < 128).mean() > _AREA_BOUNDS[0]:
        mask = _choose_thing(opacity >= 128, evidence)
        return _check(mask, name)
    side = max(pixels.shape[:2])
    colours = _smoothed(pixels, side * _LEAST_SMOOTHING)
    light, centres, spread, inliers = _fit_background(colours)
    if spread[0] > _COARSE_SPREAD:
        colours = _smoothed(pixels, side * _COARSE_SMOOTHING)
        light, centres, spread, inliers = _fit_background(colours)
    if inliers < _LEAST_INLIERS:
        if evidence.mean() > _AREA_BOUNDS[0]:
            return _check(ndimage.binary_fill_holes(_choose_thing(evidence, evidence)), name)
        raise NoGarmentError(
            f"The background of `{name}` is not plain, so that the garment cannot be told from it. Photograph it on a "
            "plain background, or give a picture whose background is transparent."
        )
    difference = _difference(colours, light, centres, spread)
    shadow = _shadows(colours, light, difference, spread)
    mask = _thing(difference, shadow, evidence)
    if shadow.any():
        # Shaded cloth in the colour of the background looks like a shadow, but is more than any shadow.
        with_shadow = _thing(difference, np.zeros_like(shadow), evidence)
        if mask.sum() < _LEAST_WITHOUT_SHADOW * with_shadow.sum():
            mask = with_shadow
    return _check(mask, name)


def _band_of(height: int, width: int) -> np.ndarray:
    """(H, W) bool, the border of a picture."""
    thick = max(2, round(_BAND * max(height, width)))
    band = np.ones((height, width), bool)
    band[thick:-thick, thick:-thick] = False
    return band


def _terms(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """(N, 6), the terms of a polynomial of the second degree at places in [-1, 1]."""
    return np.stack([np.ones_like(rows), rows, columns, rows * columns, rows**2, columns**2], axis=1)


def _fit_background(colours: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """What the border shows: a smooth surface (H, W, 3), colours (K, 3) around it, their spread (3,), and how much of
    the border is like that."""
    height, width = colours.shape[:2]
    rows, columns = np.nonzero(_band_of(height, width))
    every = max(1, len(rows) // _SAMPLES)
    rows, columns = rows[::every], columns[::every]
    seen = colours[rows, columns]
    places = _terms(2 * rows / height - 1, 2 * columns / width - 1).astype(np.float32)
    # The garment may reach the border: what is far from the middle of all colours is left out, step by step.
    middle = np.median(seen, axis=0)
    away = np.abs(seen - middle).sum(axis=1)
    inside = away <= max(np.quantile(away, 0.7), 3.0)
    for _ in range(5):
        fit = np.linalg.lstsq(places[inside], seen[inside], rcond=None)[0]
        rest = seen - places @ fit
        away = np.abs(rest).sum(axis=1)
        inside = away <= max(3 * np.median(away), 6.0)
    sides = 2 * (columns * height > rows * width) + (columns * height > (height - rows) * width)
    centres = _cluster(rest, sides)
    nearest = np.linalg.norm(rest[:, None] - centres, axis=2).argmin(axis=1)
    around = np.abs(rest - centres[nearest])
    spread = np.clip(1.48 * np.median(around, axis=0), *_SPREAD_BOUNDS).astype(np.float32)
    inliers = float((np.linalg.norm(around, axis=1) < _PLAIN).mean())
    down, across = (np.linspace(-1, 1, length, dtype=np.float32)[:, None] for length in (height, width))
    light = (fit[0] + down * fit[1] + down**2 * fit[4])[:, None] + (across * fit[2] + across**2 * fit[5])
    light += (down * fit[3])[:, None] * across
    return light, centres, spread, inliers


def _cluster(rest: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """Up to three middles (K, 3) of colours, those that many samples of the border have, on at least three sides."""
    centres = np.median(rest, axis=0)[None]
    for _ in range(2):
        distances = np.linalg.norm(rest[:, None] - centres, axis=2).min(axis=1)
        far = distances > max(3 * np.median(distances), 12.0)
        if far.mean() < _LEAST_CLUSTER or (np.bincount(sides[far], minlength=4) > 0.02 * far.sum()).sum() < 3:
            break
        centres = np.concatenate([centres, np.median(rest[far], axis=0)[None]])
        for _ in range(4):
            nearest = np.linalg.norm(rest[:, None] - centres, axis=2).argmin(axis=1)
            centres = np.stack([np.median(rest[nearest == k], axis=0) for k in np.unique(nearest)])
    return centres.astype(np.float32)


def _difference(colours: np.ndarray, light: np.ndarray, centres: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """(H, W), how many spreads of the background a colour is away from the nearest of its colours."""
    rest = (colours - light) / spread
    distances = [((rest - centre / spread) ** 2).mean(axis=2) for centre in centres]
    return np.sqrt(np.minimum.reduce(distances))


def _shadows(colours: np.ndarray, light: np.ndarray, difference: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """(H, W) bool, the shadows on the background: darker, of its hue, without edges.

    A garment of the background's hue has an edge, which the background cannot cross.
    """
    step = -(-max(difference.shape) // _SHADOW_SIDE)
    lightness, own_light = colours[::step, ::step], light[::step, ::step]
    share = lightness[..., 0] / np.maximum(own_light[..., 0], 1)
    chroma = np.abs(lightness[..., 1:] - share[..., None] * own_light[..., 1:]) / spread[1:]
    fine, coarse = (ndimage.gaussian_gradient_magnitude(lightness[..., 0], size, truncate=2) for size in (1.0, 3.0))
    soft = fine < _SHADOW_SHARPNESS * coarse + 0.5 * spread[0]
    shadow = (share > _DARKEST_SHADOW) & (share < 1) & (chroma.max(axis=2) < _SHADOW_CHROMA) & soft
    background = difference[::step, ::step] <= _WEAK
    parts, _ = ndimage.label(background | shadow)
    reached = np.unique(parts[_band_of(*parts.shape) & background])
    shadow &= np.isin(parts, reached[reached > 0]) & ~background
    # The shadow's edge at the garment is sharp. It goes as far as the pixel before.
    shadow = ndimage.binary_dilation(shadow, iterations=1) & ~background
    height, width = difference.shape
    return shadow.repeat(step, axis=0).repeat(step, axis=1)[:height, :width]


def _thing(difference: np.ndarray, shadow: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """(H, W) bool, the one thing that differs from the background, without its shadow."""
    different = (difference > _WEAK) & ~shadow
    parts, count = ndimage.label(different)
    kept = np.zeros(count + 1, bool)
    kept[parts[different & (difference > _STRONG)]] = True
    mask = _sharpened(_closed(kept[parts], max(1, round(_CLOSING * max(difference.shape)))), difference)
    mask = _choose_thing(_joined(mask), evidence)
    return _with_true_holes(mask, difference, evidence)


def _joined(mask: np.ndarray) -> np.ndarray:
    """Join parts that lie above each other: stripes, between which the garment has the background's colour."""
    parts, count = ndimage.label(mask)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    if count < 2 or (sizes > _LEAST_STRIPE * sizes.max()).sum() < 2:
        return mask
    length = 2 * round(_LARGEST_STRIPE * max(mask.shape) / 2) + 1
    large = (sizes > _LEAST_STRIPE * sizes.max())[parts]
    padded = np.pad(large, ((length, length), (0, 0)))
    closed = ndimage.minimum_filter1d(ndimage.maximum_filter1d(padded.view(np.uint8), length, axis=0), length, axis=0)
    between, count = ndimage.label((closed[length:-length] > 0) & ~mask)
    if not count:
        return mask
    numbers = np.where(large, parts, 0)
    around = ndimage.maximum_filter(numbers, 3)
    lowest = ndimage.minimum(np.where(around > 0, around, parts.max() + 1), between, np.arange(1, count + 1))
    highest = ndimage.maximum(around, between, np.arange(1, count + 1))
    return mask | np.append(False, lowest < highest)[between]


def _sharpened(mask: np.ndarray, difference: np.ndarray) -> np.ndarray:
    """Put the outline of a mask where the colours are half way between the garment's and the background's."""
    near = np.minimum(difference, 6 * _STRONG)
    highest = ndimage.maximum_filter(near, 2 * _RIM + 1)
    inner = ndimage.binary_erosion(mask, iterations=_RIM, border_value=1)
    return inner | (mask & (near > 0.5 * highest))


def _smoothed(pixels: np.ndarray, size: float) -> np.ndarray:
    """Opponent colours (H, W, 3) float32 of pixels, blurred."""
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(size)), np.float32) @ _OPPONENT_AXES.T


def _closed(mask: np.ndarray, radius: int) -> np.ndarray:
    """Close gaps of a mask up to twice a radius; beyond the picture the mask goes on as it ends."""
    padded = np.pad(mask, radius, mode="edge").view(np.uint8)
    closed = ndimage.minimum_filter(ndimage.maximum_filter(padded, 2 * radius + 1), 2 * radius + 1) > 0
    return closed[radius:-radius, radius:-radius] | mask


def _choose_thing(mask: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """The part of a mask that is large, near the middle, and a garment to a parser."""
    parts, count = ndimage.label(mask)
    if count == 0:
        return mask
    numbers = np.arange(1, count + 1)
    height, width = mask.shape
    rows, columns = (np.arange(length) / length - 0.5 + 0.5 / length for length in (height, width))
    centrality = np.exp(-4 * (rows[:, None] ** 2 + columns**2))
    weight = centrality * (1 + evidence)
    score = ndimage.sum_labels(weight, parts, numbers)
    return parts == numbers[score.argmax()]


def _with_true_holes(mask: np.ndarray, difference: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """Fill the holes of a mask through which no background is seen."""
    holes, count = ndimage.label(ndimage.binary_fill_holes(mask) & ~mask)
    if count == 0:
        return mask
    numbers = np.arange(1, count + 1)
    areas = ndimage.sum_labels(np.ones_like(difference), holes, numbers)
    differences = ndimage.mean(difference, holes, numbers)
    votes = ndimage.mean(evidence.astype(np.float32), holes, numbers)
    # The outline alone of a garment in the colour of its background encloses most of it.
    possible = (areas > _LEAST_HOLE * mask.size) & (areas < _LARGEST_HOLE * mask.sum())
    true = possible & (differences < _HOLE_DIFFERENCE) & (votes < _HOLE_VOTES)
    return mask | ((holes > 0) & ~np.append(False, true)[holes])


def _check(mask: np.ndarray, name: str) -> np.ndarray:
    share = mask.mean()
    if _AREA_BOUNDS[0] <= share <= _AREA_BOUNDS[1]:
        return mask
    what = "Nothing" if share < _AREA_BOUNDS[0] else "No background"
    raise NoGarmentError(
        f"{what} can be told apart in `{name}`: {share:.0%} of it would be the garment. Photograph the garment whole, "
        "on a plain background of another colour, or give a picture whose background is transparent."
    )
