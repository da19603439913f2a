# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Which columns of a dataset training reads."""

from collections.abc import Collection


IMAGE_COLUMNS = ("person_image", "agnostic_image", "garment_image")
POSE_COLUMNS = ("person_pose", "garment_pose")
# What augmentation needs beside these, and what it takes where a dataset has it.
MASK_COLUMNS = ("agnostic_mask",)
GARMENT_COLUMNS = ("garment_parse", "category")


def training_columns(available: Collection[str], with_masks: bool) -> list[str]:
    """The columns to read of those that a dataset has, with or without what augmentation needs."""
    columns = IMAGE_COLUMNS + POSE_COLUMNS + (MASK_COLUMNS if with_masks else ())
    if with_masks and all(name in available for name in GARMENT_COLUMNS):
        columns += GARMENT_COLUMNS
    return list(columns)
