# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""DressCode: people in tops, lower garments and dresses, and every garment photographed alone."""

from collections.abc import Iterator
from pathlib import Path

from .base import FlatPhoto, TryOnPair, UnusableEntry, WornPhoto
from .pair_lists import ListedPair, check_choice, check_pairing, read_pair_list, refuse_repeated


SOURCE = "dress-code"
# By the category of the schema; the position is the number of the category in lists with a third column.
_FOLDERS = {"upper": "upper_body", "lower": "lower_body", "dress": "dresses"}
_PERSON, _GARMENT, _KEYPOINTS, _LABEL_MAP = "_0", "_1", "_2", "_4"


def list_pairs(
    root: Path, split: str = "train", pairs: str = "paired", category: str | None = None
) -> list[TryOnPair | UnusableEntry]:
    """List DressCode, in the order of its lists.

    The files of an outfit are called after its number: `<number>_0.jpg` the person, `<number>_1.jpg` the garment and
    so on; paired rows therefore need the first column of the lists only.

    Args:
        root (`Path`): the folder with `upper_body/`, `lower_body/` and `dresses/`. The lists lie in these or beside
            them; there a third column may hold the category's number or folder.
        split (`str`): "train" or "test".
        pairs (`str`): "paired": everybody with their own garment, photographed alone; or, of the split test only,
            "unpaired": with the garment of the list's second column; "model-to-model": with that garment as it is
            worn in another photograph.
        category (`str`, *optional*): "upper", "lower" or "dress" alone.

    Raises:
        ValueError: unknown split, pairs or category, no such list, or no folder of the category.
    """
    check_pairing(split, pairs)
    if category is not None:
        check_choice(category, tuple(_FOLDERS), "category")
    wanted = [category] if category else list(_FOLDERS)
    present = [name for name in wanted if (root / _FOLDERS[name] / "images").is_dir()]
    if not present:
        folders = " or ".join(f"{_FOLDERS[name]}/images" for name in wanted)
        raise ValueError(f"`root` must be a folder of DressCode: there is no {folders} in {root}.")
    list_name = _list_name(split, pairs)
    listed = _lines(root, list_name, present)
    masks = {name: _file_names(root / _FOLDERS[name] / "masks") for name in present}
    entries = []
    for line, line_category in listed:
        if line_category is None:
            reason = f"{line.place}: none of {', '.join(_FOLDERS.values())} holds images/{line.columns[0]}"
            entries.append(UnusableEntry(line.columns[0], reason))
        elif line_category in present:
            entries.append(_pair(line, line_category, root / _FOLDERS[line_category], masks[line_category], pairs))
    return refuse_repeated(entries)


def _list_name(split: str, pairs: str) -> str:
    if split == "train":
        return "train_pairs.txt"
    return "test_pairs_paired.txt" if pairs == "paired" else "test_pairs_unpaired.txt"


def _file_names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def _lines(root: Path, list_name: str, present: list[str]) -> Iterator[tuple[ListedPair, str | None]]:
    """Lines with their categories, from the lists in the categories' folders or from the one beside these."""
    own_lists = {name: root / _FOLDERS[name] / list_name for name in present}
    if not any(path.is_file() for path in own_lists.values()):
        yield from _lines_beside(root, list_name)
        return
    for name, path in own_lists.items():
        for line in read_pair_list(path):
            yield line, name


def _lines_beside(root: Path, list_name: str) -> Iterator[tuple[ListedPair, str | None]]:
    categories = {str(number): name for number, name in enumerate(_FOLDERS)}
    categories |= {folder: name for name, folder in _FOLDERS.items()}
    images = {name: _file_names(root / folder / "images") for name, folder in _FOLDERS.items()}
    for line in read_pair_list(root / list_name):
        if len(line.columns) > 2:
            yield line, categories.get(line.columns[2])
        else:
            yield line, next((name for name, files in images.items() if line.columns[0] in files), None)


def _pair(line: ListedPair, category: str, folder: Path, masks: set[str], pairs: str) -> TryOnPair | UnusableEntry:
    person_file = Path(line.columns[0])
    if not person_file.stem.endswith(_PERSON):
        return UnusableEntry(person_file.stem, f"{line.place}: a person's photograph is called NUMBER_0.jpg")
    person = person_file.stem.removesuffix(_PERSON)
    garment, row_id = person, f"{category}-{person}"
    if pairs != "paired":
        if len(line.columns) < 2 or not Path(line.columns[1]).stem.endswith(_GARMENT):
            return UnusableEntry(row_id, f"{line.place}: names no garment, which is called NUMBER_1.jpg")
        garment = Path(line.columns[1]).stem.removesuffix(_GARMENT)
        row_id = f"{row_id}-{garment}"
        if garment == person:
            return UnusableEntry(row_id, f"{line.place}: names the person's own garment, which is no unpaired row")
    suffix = person_file.suffix
    return TryOnPair(
        id=row_id,
        person=_worn(folder, person, suffix),
        garment=_worn(folder, garment, suffix) if pairs == "model-to-model" else _flat(folder, garment, suffix, masks),
        category=category,
        source=SOURCE,
        person_id=person,
        garment_id=garment,
    )


def _worn(folder: Path, number: str, suffix: str) -> WornPhoto:
    return WornPhoto(
        name=f"{number}{_PERSON}",
        image=folder / "images" / f"{number}{_PERSON}{suffix}",
        parse=folder / "label_maps" / f"{number}{_LABEL_MAP}.png",
        label_map="atr",
        pose=folder / "keypoints" / f"{number}{_KEYPOINTS}.json",
        pose_format="dress-code",
    )


def _flat(folder: Path, number: str, suffix: str, masks: set[str]) -> FlatPhoto:
    mask = f"{number}{_GARMENT}.png"
    return FlatPhoto(
        name=f"{number}{_GARMENT}",
        image=folder / "images" / f"{number}{_GARMENT}{suffix}",
        mask=folder / "masks" / mask if mask in masks else None,
    )
