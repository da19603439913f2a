# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""People found by a parser: the connected parts of what it labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from scipy import ndimage

from ..composition import HEAD_LABELS, label_mask
from ..label_maps import convert_parse
from .backends import HumanParser
from .transformers_backends import SegformerParser


# Of the image's smaller side: gaps that do not part a person, such as a belt taken for background.
_GAP = 0.02
# Of the image's area, and of that of the largest person: less is nobody to dress, or a piece that was cut off.
_SMALLEST_AREA = 0.008
_SMALLEST_BESIDE_LARGEST = 0.1
# What people are told by; shoes show that somebody stands in the trousers above them. A patch of background that is
# mistaken for cloth has only one of these.
_CLOTHES = ("top", "dress", "skirt", "pants", "belt", "scarf")
_SKIN = ("arms", "hands", "legs", "feet", "torso")
# Of a part's area: less of a kind may be a mistake.
_SMALLEST_SHARE = 0.01


class ParserPersonDetector:
    """Finds people by the labels of a human parser, without a network of its own.

    It is as good as its parser: people whose labels touch are found as one, and background that is taken for cloth
    joins them. For a photograph of one person that is good enough; among several take MediaPipe or RT-DETR.

    Args:
        parser (`HumanParser`): the parser, which is shown the whole image.
    """

    def __init__(self, parser: HumanParser) -> None:
        self.parser = parser

    @classmethod
    def from_pretrained(cls, source: str | Path, subfolder: str = "", **options: Any) -> Self:
        """Load the parser, see [`SegformerParser.from_pretrained`]."""
        return cls(SegformerParser.from_pretrained(source, subfolder=subfolder, **options))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the parser, a [`SegformerParser`], to a folder for `from_pretrained`."""
        self.parser.save_pretrained(folder)

    def detect(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """For each image, uint8 (H, W, 3), the boxes of people (N, 5) float32, the largest first: left, top, right
        and bottom in pixels, and as score how many of head, clothes and skin were seen, 2/3 or 1."""
        parses = self.parser.parse(images)
        return [_people(convert_parse(parse, self.parser.label_map)) for parse in parses]


def _people(parse: np.ndarray) -> np.ndarray:
    """Boxes (N, 5) of the people in a label map (H, W) of `PARSE_LABELS`."""
    labelled = parse > 0
    reach = max(1, round(_GAP * min(parse.shape) / 2))
    parts, count = ndimage.label(ndimage.maximum_filter(labelled, size=2 * reach + 1))
    found = []
    for number, place in enumerate(ndimage.find_objects(parts), start=1):
        labels = np.where(parts[place] == number, parse[place], 0)
        area = np.count_nonzero(labels)
        kinds = sum(_share(labels, names, area) >= _SMALLEST_SHARE for names in (HEAD_LABELS, _CLOTHES, _SKIN))
        if area < _SMALLEST_AREA * parse.size or kinds < 2:
            continue
        rows, columns = np.flatnonzero(labels.any(axis=1)), np.flatnonzero(labels.any(axis=0))
        left, top = place[1].start, place[0].start
        box = (left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1)
        found.append((area, (*box, kinds / 3)))
    found.sort(key=lambda person: -person[0])
    people = [person for area, person in found if area >= _SMALLEST_BESIDE_LARGEST * found[0][0]]
    return np.array(people, dtype=np.float32).reshape(-1, 5)


def _share(labels: np.ndarray, names: tuple[str, ...], area: int) -> float:
    return label_mask(labels, names).sum() / max(area, 1)
