# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Boxes around people: left, top, right and bottom."""

import numpy as np


def areas(boxes: np.ndarray) -> np.ndarray:
    """The areas (N,) of boxes (N, 4) or, with a score, (N, 5)."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def overlap(box: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two boxes (4,)."""
    shared = np.prod(np.maximum(np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2]), 0))
    return float(shared / max(np.prod(box[2:] - box[:2]) + np.prod(other[2:] - other[:2]) - shared, 1e-6))
