# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The photographs of DeepFashion: what their names say, and which of them make a training pair.

DeepFashion In-shop and DeepFashion-MultiModal hold the same photographs: every article of clothing in one or more
colours, each worn by one person in several views.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal

import numpy as np

from ...poses import KEYPOINT_NAMES
from .base import TryOnPair, UnusableEntry, WornPhoto


# What is tried on, by the category folder (its underscores left out). A photograph of a "Suiting" article shows a suit
# jacket whatever the article is.
CATEGORY_OF_FOLDER = {
    "BlousesShirts": "upper",
    "Cardigans": "upper",
    "GraphicTees": "upper",
    "JacketsCoats": "upper",
    "JacketsVests": "upper",
    "ShirtsPolos": "upper",
    "Suiting": "upper",
    "Sweaters": "upper",
    "SweatshirtsHoodies": "upper",
    "TeesTanks": "upper",
    "Denim": "lower",
    "Leggings": "lower",
    "Pants": "lower",
    "Shorts": "lower",
    "Skirts": "lower",
    "Dresses": "dress",
    "RompersJumpsuits": "dress",
}

# WOMEN/Tees_Tanks/id_00007838/05_7_additional in In-shop, WOMEN-Tees_Tanks-id_00007838-05_7_additional in MultiModal,
# fashionWOMENTees_Tanksid0000783805_7additional or fasionWOMENTeesTanksid... in pose-transfer code.
_NAME = re.compile(
    r"(?:^|/)(?:fash?ion)?(WOMEN|MEN)[-/]?([A-Za-z_]+?)[-/]?id_?(\d{8})[-/]?(\d{2})_(\d)_?([a-z]+)(?:_segm)?"
    r"(?:\.[A-Za-z]+)?$"
)
_FRONT, _SIDE, _BACK, _FULL, FLAT_VIEW = 1, 2, 3, 4, 6

Facing = Literal["front", "side", "back", "unknown"]
# How far the shoulders are apart, in picture widths, when somebody counts as seen from the front or the back.
_TURNED_SHOULDERS = 0.06


@dataclass(frozen=True, order=True)
class View:
    """What the name of a photograph says, in whichever spelling.

    Attributes:
        gender: "WOMEN" or "MEN".
        folder: the category folder without underscores.
        item: eight digits.
        colour: two digits.
        number: 1 front, 2 side, 3 back, 4 full, 6 flat, 7 additional.
        name: what the source calls the view, such as "additional".
    """

    gender: str
    folder: str
    item: str
    colour: str
    number: int
    name: str

    @property
    def group(self) -> str:
        """What the names of all photographs of one article in one colour have in common."""
        return f"{self.gender}-{self.folder}-id_{self.item}-{self.colour}"

    def __str__(self) -> str:
        return f"{self.group}_{self.number}_{self.name}"


def parse_name(path: str | PurePath) -> View | None:
    """The view that a file name or path speaks of; None if it is no name of DeepFashion."""
    match = _NAME.search(PurePath(path).as_posix())
    if match is None:
        return None
    gender, folder, item, colour, number, name = match.groups()
    return View(gender, folder.replace("_", ""), item, colour, int(number), name)


def index_files(folder: Path, suffixes: tuple[str, ...]) -> tuple[dict[View, Path], list[UnusableEntry]]:
    """Find the files of a folder and the folders in it by what their names say, in any spelling.

    Returns:
        the file of every view, in order; and an entry for every file whose name cannot be read or whose view another
        file has already.
    """
    files: dict[View, Path] = {}
    unusable = []
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes):
        view = parse_name(path.relative_to(folder))
        if view is None:
            entry_id = re.sub(r"[^A-Za-z0-9_-]+", "-", str(path.relative_to(folder).with_suffix("")))
            unusable.append(UnusableEntry(entry_id, f"{path}: the name is none of DeepFashion's"))
        elif view in files:
            unusable.append(UnusableEntry(str(view), f"{path}: the view is that of {files[view]} too"))
        else:
            files[view] = path
    return files, unusable


def facing(view: View, pose: np.ndarray | None) -> Facing:
    """From where somebody is seen: by the view's number and by the shoulders.

    In about one of forty photographs called front, full or back the shoulders say the opposite.

    Args:
        view (`View`): views called front and full show the front; side and additional ones may show anything.
        pose (`np.ndarray`, *optional*): (18, 3) keypoints in the package's format.

    Returns:
        "front", "side" or "back"; "unknown" if the name and the shoulders contradict each other, or if neither tells.
    """
    by_shoulders = _facing_of_shoulders(pose)
    if view.number not in (_FRONT, _FULL, _BACK):
        return by_shoulders or ("side" if view.number == _SIDE else "unknown")
    by_name: Facing = "back" if view.number == _BACK else "front"
    return by_name if by_shoulders in (by_name, "side", None) else "unknown"


def _facing_of_shoulders(pose: np.ndarray | None) -> Facing | None:
    """None if a shoulder is missing."""
    if pose is None:
        return None
    right, left = (pose[KEYPOINT_NAMES.index(f"{side}_shoulder")] for side in ("right", "left"))
    if right[2] == 0 or left[2] == 0:
        return None
    if abs(left[0] - right[0]) < _TURNED_SHOULDERS:
        return "side"
    # Somebody who faces the camera has the right shoulder at the left.
    return "front" if right[0] < left[0] else "back"


def may_be_paired(first: Facing, second: Facing) -> bool:
    """Whether two photographs can show the same side of a garment: never front and back."""
    if "side" in (first, second):
        return True
    return first == second and first != "unknown"


def pairs_of_views(views: Iterable[View], facing_of: Callable[[View], Facing]) -> Iterator[tuple[View, View]]:
    """All ordered pairs (person, garment) of photographs of the same article and colour that may be paired.

    Photographs of the article laid flat are left out.
    """
    groups = defaultdict(list)
    for view in sorted(views):
        if view.number != FLAT_VIEW:
            groups[view.group].append(view)
    for group in groups.values():
        for person in group:
            for garment in group:
                if person != garment and may_be_paired(facing_of(person), facing_of(garment)):
                    yield person, garment


def make_pair(
    person: View, garment: View, photo_of: Callable[[View], WornPhoto], source: str
) -> TryOnPair | UnusableEntry:
    """The pair of two views of a group."""
    row_id = f"{person}-{garment.number}_{garment.name}"
    if person.folder not in CATEGORY_OF_FOLDER:
        return UnusableEntry(row_id, f"{photo_of(person).image}: unknown category {person.folder}")
    return TryOnPair(
        id=row_id,
        person=photo_of(person),
        garment=photo_of(garment),
        category=CATEGORY_OF_FOLDER[person.folder],
        source=source,
        # Nobody's name is known; the photographs of an article in a colour show one person.
        person_id=person.group,
        garment_id=f"id_{person.item}-{person.colour}",
    )


@dataclass(frozen=True)
class ListedPhoto:
    """A line of `list_eval_partition.txt`: the photograph's path in the data set and its split."""

    name: str
    split: str


def read_partition(root: Path) -> dict[View, ListedPhoto] | None:
    """DeepFashion In-shop's `list_eval_partition.txt`, in `root` or the folder `Eval` or `Anno` of it.

    The first line is the number of lines, the second the header, then `image_name item_id evaluation_status`.

    Returns:
        the split of every photograph, "train" or "test" (query and gallery); an article that is in the test with any
        photograph is there with all. None if there is no such file.

    Raises:
        ValueError: a line (named) that cannot be read.
    """
    places = [root / folder / "list_eval_partition.txt" for folder in ("", "Eval", "Anno")]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        return None
    splits = {"train": "train", "query": "test", "gallery": "test"}
    photos = {}
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        words = line.split()
        if number <= 2 or not words:
            continue
        view = parse_name(words[0])
        if view is None or len(words) != 3 or words[2] not in splits:
            raise ValueError(
                f"{path}, line {number}: must be `image_name item_id evaluation_status` with the status train, query "
                f"or gallery, got {line[:100]!r}."
            )
        photos[view] = ListedPhoto(words[0], splits[words[2]])
    tested = {view.item for view, photo in photos.items() if photo.split == "test"}
    return {
        view: ListedPhoto(photo.name, "test" if view.item in tested else "train") for view, photo in photos.items()
    }
