# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""How far sleeves, hem and neckline of a garment are off: two masks of it compared where these are, by keypoints.

An edge that is moved leaves a strip that one mask holds and the other not. So what the masks differ in, over the width
that is looked at, is how far the edge was moved, on average; and a few stray pixels weigh no more than they are.
"""

import numpy as np

from ..poses import KEYPOINT_NAMES


OUTLINE_METRICS = ("sleeve_error", "hem_error", "neckline_error")

_ARMS = [
    [KEYPOINT_NAMES.index(f"{side}_{joint}") for joint in ("shoulder", "elbow", "wrist")] for side in ("right", "left")
]
_SHOULDERS = [KEYPOINT_NAMES.index(f"{side}_shoulder") for side in ("right", "left")]
_HIPS = [KEYPOINT_NAMES.index(f"{side}_hip") for side in ("right", "left")]
# In parts of the trunk's height: how far beyond the joints of the hips the body reaches at least, from the side too.
_BESIDE_THE_HIPS = 0.1


def outline_errors(found: np.ndarray, truth: np.ndarray, pose: np.ndarray, region: np.ndarray) -> dict[str, float]:
    """Compare where a picture shows an upper-body garment or a dress with where it should, in the edited region.

    - Sleeves: along the lines from shoulder over elbow to wrist of the arms that are in sight wholly, the length in
      which one mask shows the garment and the other not; the mean of both arms.
    - Hem: below the middle of the trunk, between the hips and a tenth of the trunk beyond, the mean over the columns of
      the number of pixels in which the masks differ.
    - Neckline: likewise above the middle of the trunk, between the shoulders.

    Args:
        found, truth (`np.ndarray`): (H, W) bool, the garment in the picture to judge and in the true one.
        pose (`np.ndarray`): (18, 3) true keypoints of the person.
        region (`np.ndarray`): (H, W) bool, where the picture may differ from the photograph; elsewhere nothing counts,
            such as the end of a long top over trousers that are kept.

    Returns:
        `dict[str, float]`: the figures of `OUTLINE_METRICS` in percent of the picture's height: 0 where the masks are
        one. NaN for what the picture does not show: no arm is in sight wholly, a shoulder or a hip is missing, or the
        person is seen so much from the side that there is no column between the shoulders.
    """
    height = truth.shape[0]
    points = pose[:, :2] * truth.shape[::-1]
    differs = (found != truth) & region
    sleeves = [_along(differs, points[arm]) for arm in _ARMS if (pose[arm, 2] == 1).all()]
    hem = neckline = float("nan")
    if (pose[_SHOULDERS + _HIPS, 2] > 0).all():
        top, bottom = points[_SHOULDERS, 1].mean(), points[_HIPS, 1].mean()
        middle = round(float(top + bottom) / 2)
        beside = _BESIDE_THE_HIPS * abs(bottom - top)
        below, above = differs[max(0, middle) :], differs[: max(0, middle)]
        hem = _mean_of_columns(below, points[_HIPS, 0], beside)
        neckline = _mean_of_columns(above, points[_SHOULDERS, 0], 0.0)
    errors = (float(np.mean(sleeves)) if sleeves else float("nan"), hem, neckline)
    return {name: 100 * error / height for name, error in zip(OUTLINE_METRICS, errors, strict=True)}


def _along(mask: np.ndarray, points: np.ndarray) -> float:
    """The length, in pixels, in which a line through points (N, 2), x and y, lies in a mask."""
    length = 0.0
    for start, end in zip(points, points[1:]):
        distance = float(np.linalg.norm(end - start))
        # Twice as dense as pixels; the middles of equal pieces.
        shares = (np.arange(2 * int(distance) + 1) + 0.5) / (2 * int(distance) + 1)
        columns, rows = np.floor(start + shares[:, None] * (end - start)).astype(int).T
        inside = (rows >= 0) & (rows < mask.shape[0]) & (columns >= 0) & (columns < mask.shape[1])
        length += distance * mask[rows[inside], columns[inside]].sum() / len(shares)
    return length


def _mean_of_columns(mask: np.ndarray, ends: np.ndarray, beyond: float) -> float:
    """How many pixels a column of a mask holds on average, from one end to the other and beyond; NaN without columns."""
    left, right = max(0, round(float(ends.min() - beyond))), round(float(ends.max() + beyond))
    columns = mask[:, left : max(left, right)]
    return float(columns.sum() / columns.shape[1]) if columns.shape[1] else float("nan")
