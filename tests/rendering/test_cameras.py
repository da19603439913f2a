# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Projection."""

import numpy as np

from diffusers_tryon.rendering.cameras import Camera


def test_projection():
    camera = Camera(np.array([0.1, 0.0, 0.3]), extent=2.0, distance=4.0)
    points = np.array([(0.1, 0, 0.3), (0.6, 0, 0.3), (0.1, 0, 1.3), (0.6, 4, 0.3)])
    projected = camera.project(points)
    # The person's left (+x) is on the right of the picture, up is at smaller y, twice as far is half as large.
    assert np.allclose(projected, [(0.5, 0.5, 4), (0.75, 0.5, 4), (0.5, 0.0, 4), (0.625, 0.5, 8)])
