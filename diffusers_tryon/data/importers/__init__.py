# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Importers of the public data sets and of one's own photographs into the schema of the package."""

from collections.abc import Callable
from dataclasses import dataclass

from . import deepfashion, deepfashion_multimodal, dress_code, manifest, viton_hd
from .base import TryOnPair, UnusableEntry


@dataclass(frozen=True)
class Importer:
    """A source that rows can be made from.

    Attributes:
        title: what its publishers call it.
        home_page: where it comes from.
        licence: under which terms.
        list_pairs: `list_pairs(root, split, **options)` gives what `base.build_row` makes rows of, in the source's
            order, without opening a picture. The names of its further parameters are the source's options.
    """

    title: str
    home_page: str
    licence: str
    list_pairs: Callable[..., list[TryOnPair | UnusableEntry]]


# By the name that the command line, the column `source` and the documents use.
IMPORTERS: dict[str, Importer] = {
    viton_hd.SOURCE: Importer(
        "VITON-HD",
        "https://github.com/shadow2496/VITON-HD",
        "CC BY-NC 4.0, research only",
        viton_hd.list_pairs,
    ),
    dress_code.SOURCE: Importer(
        "Dress Code",
        "https://github.com/aimagelab/dress-code",
        "its own licence: non-commercial academic use, on request",
        dress_code.list_pairs,
    ),
    deepfashion.SOURCE: Importer(
        "DeepFashion In-shop Clothes Retrieval",
        "https://mmlab.ie.cuhk.edu.hk/projects/DeepFashion/InShopRetrieval.html",
        "its own licence: non-commercial research, on request",
        deepfashion.list_pairs,
    ),
    deepfashion_multimodal.SOURCE: Importer(
        "DeepFashion-MultiModal",
        "https://github.com/yumingj/DeepFashion-MultiModal",
        "its own licence: non-commercial research",
        deepfashion_multimodal.list_pairs,
    ),
    manifest.SOURCE: Importer(
        "A manifest of one's own photographs",
        "its columns: data/importers/manifest.py",
        "that of the photographs",
        manifest.list_pairs,
    ),
}
