# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The sample pictures that come with the package, as the app offers them."""

from pathlib import Path


def samples_folder() -> Path:
    """The folder `samples`: inside the package once it is installed, beside it in a checkout."""
    package = Path(__file__).resolve().parent
    return next(folder for folder in (package / "samples", package.parent / "samples") if folder.is_dir())


def photograph_examples() -> list[list[str]]:
    """Rows of person photograph, garment photograph, category and garment type."""
    photos = samples_folder() / "photos"
    return [
        [str(photos / "person.jpg"), str(photos / "garment.jpg"), "upper", "worn"],
        [str(photos / "person.jpg"), str(photos / "garment_flat.jpg"), "upper", "flat"],
    ]


def prepared_examples() -> list[list[str]]:
    """Rows of agnostic image, garment image, person pose, agnostic mask and garment pose."""
    names = ("agnostic.png", "garment.png", "person_pose.json", "agnostic_mask.png", "garment_pose.json")
    return [[str(samples_folder() / "rendered" / name) for name in names]]
