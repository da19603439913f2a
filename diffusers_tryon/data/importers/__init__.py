# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Importers of the public data sets and of one's own photographs into the schema of the package."""

from collections.abc import Callable
from dataclasses import dataclass

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
IMPORTERS: dict[str, Importer] = {}
