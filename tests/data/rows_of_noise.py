# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Rows of the schema made of noise, cheap and different from each other, for tests of what stores and reads rows."""

import numpy as np

from diffusers_tryon.data.schema import SCHEMA_VERSION


EXTRA = ("person_id", "garment_id", "person_parse", "garment_parse", "target_image", "target_parse")


def noise_id(number: int) -> str:
    return f"row/{number}"


def noise_row(number: int, size: int = 8) -> dict:
    """Row `number` with every extra column; pictures are one and a half times as high as wide."""
    rng = np.random.default_rng(number)
    height, width = size * 3 // 2, size

    def picture() -> np.ndarray:
        return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)

    is_flat = number % 3 == 0
    return {
        "id": noise_id(number),
        "person_image": picture(),
        "agnostic_image": picture(),
        "agnostic_mask": rng.choice(np.array([0, 255], dtype=np.uint8), (height, width)),
        "garment_image": picture(),
        "person_pose": rng.random((18, 3), dtype=np.float32),
        "garment_pose": rng.random((18, 3), dtype=np.float32) * (not is_flat),
        "garment_type": "flat" if is_flat else "worn",
        "category": ("upper", "lower", "dress")[number % 3],
        "source": "noise",
        "schema_version": SCHEMA_VERSION,
        "person_id": f"person {number}",
        "garment_id": f"garment {number}",
        "person_parse": rng.integers(0, 18, (height, width), dtype=np.uint8),
        "garment_parse": rng.integers(0, 18, (height, width), dtype=np.uint8),
        "target_image": picture(),
        "target_parse": rng.integers(0, 18, (height, width), dtype=np.uint8),
    }
