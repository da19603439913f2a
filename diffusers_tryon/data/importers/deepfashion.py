# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""DeepFashion In-shop: the same person in the same clothes in several views."""

import csv
import functools
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from ...label_maps import LABEL_MAPS
from ...pose_files import read_deepfashion_annotations
from ...poses import NUM_KEYPOINTS, hide_points_outside_image
from .base import TryOnPair, UnusableEntry, WornPhoto
from .deepfashion_views import (
    FLAT_VIEW,
    Facing,
    ListedPhoto,
    View,
    facing,
    index_files,
    make_pair,
    may_be_paired,
    pairs_of_views,
    parse_name,
    read_partition,
)
from .pair_lists import SPLITS, check_choice, refuse_repeated


SOURCE = "deepfashion"
PAIRINGS = ("views", "listed")
_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
# The folders of the data set, the large pictures first; pose-transfer code has one folder for each split instead.
_IMAGE_FOLDERS = ("img_highres", "img")

# Pictures come as squares with white at both sides, or without it, as pose-transfer code and the large pictures have
# them: (columns cut off at either side, columns of the whole), of pictures 256 high.
_CUT_COLUMNS, _SQUARE_COLUMNS = 40, 256
_CROPPED_COLUMNS = _SQUARE_COLUMNS - 2 * _CUT_COLUMNS
_RATIO_TOLERANCE = 0.03

# Lists of pose-transfer code for a split, in its own spelling and the right one.
_PAIR_LISTS = ("fasion-resize-pairs-{}.csv", "fashion-resize-pairs-{}.csv", "fasion-pairs-{}.csv")
_CROPPED_ANNOTATIONS = ("fasion-resize-annotation-{}.csv", "fashion-resize-annotation-{}.csv")
_SQUARE_ANNOTATIONS = ("fasion-annotation-{}.csv", "fashion-annotation-{}.csv")


def list_pairs(
    root: Path,
    split: str = "train",
    parse_dir: Path | None = None,
    label_map: str | None = None,
    pairs: str = "views",
) -> list[TryOnPair | UnusableEntry]:
    """List DeepFashion In-shop, in the order of names.

    Looks in `root` for

    - the photographs: `img_highres/` or `img/` as published (`img/WOMEN/Tees_Tanks/id_00007838/05_7_additional.jpg`),
      or `train/` and `test/` of pose-transfer code (`fashionWOMENTees_Tanksid0000783805_7additional.jpg`),
    - the keypoints of pose-transfer code: `fasion-resize-annotation-{train,test}.csv`, or without `-resize`,
    - the split: `list_eval_partition.txt`, else the folders `train/` and `test/`. Pose-transfer code has colours of
      one article in both; articles of the test are left out of the training.

    Views of one article in one colour are paired in both directions, never front with back (with neither, if the name
    and the keypoints contradict each other), never a photograph of the article laid flat.

    Args:
        root (`Path`): the folder.
        split (`str`): "train" or "test".
        parse_dir (`Path`):
            A folder of label maps (PNG), which the data set does not have. Their names are the photographs' in any of
            the spellings, in folders or not.
        label_map (`str`): the meaning of their values, a key of `label_maps.LABEL_MAPS`.
        pairs (`str`): "views": all of them; or "listed": those of `fasion-resize-pairs-{train,test}.csv`.

    Raises:
        ValueError: a bad argument, no photographs, no keypoints, no list, or one that cannot be read.
    """
    check_choice(split, SPLITS, "split")
    check_choice(pairs, PAIRINGS, "pairs")
    if parse_dir is None or not Path(parse_dir).is_dir():
        raise ValueError(f"`parse_dir` must be a folder of label maps for DeepFashion's photographs, got {parse_dir}.")
    check_choice(label_map, tuple(LABEL_MAPS), "label_map")
    partition = read_partition(root)
    tested = _tested_items(root, partition)
    images, unusable = _find_images(root, split, partition, tested)
    chosen: Iterable[tuple[View, View]]
    if pairs == "listed":
        chosen, refused = _read_listed_pairs(root, split, images, tested)
        unusable += refused
    parses, _ = index_files(Path(parse_dir), (".png",))
    poses = _read_poses(root, images)
    nobody = np.zeros((NUM_KEYPOINTS, 3), dtype=np.float32)

    @functools.cache
    def photo_of(view: View) -> WornPhoto:
        parse = parses.get(view, Path(parse_dir) / f"{view}.png")
        return WornPhoto(str(view), images[view], parse, label_map, poses.get(view, nobody))

    def facing_of(view: View) -> Facing:
        return facing(view, poses.get(view))

    if pairs == "listed":
        chosen = [pair for pair in chosen if may_be_paired(*map(facing_of, pair))]
    else:
        chosen = pairs_of_views(images, facing_of)
    return refuse_repeated([*(make_pair(*pair, photo_of, SOURCE) for pair in chosen), *unusable])


def _tested_items(root: Path, partition: dict[View, ListedPhoto] | None) -> set[str]:
    """The articles of the test."""
    if partition is not None:
        return {view.item for view, photo in partition.items() if photo.split == "test"}
    names = [path.name for path in (root / "test").rglob("*")]
    path = _first_file(root, _PAIR_LISTS, "test")
    if path is not None:
        names += [name for row in _read_csv(path) for name in (row["from"], row["to"])]
    return {view.item for name in names if (view := parse_name(name)) is not None}


def _find_images(
    root: Path, split: str, partition: dict[View, ListedPhoto] | None, tested: set[str]
) -> tuple[dict[View, Path], list[UnusableEntry]]:
    """The photographs of a split, those of a list also if they do not exist, and the files that are none."""
    folder = next((root / name for name in (*_IMAGE_FOLDERS, split) if (root / name).is_dir()), None)
    if folder is None:
        raise ValueError(
            f"`root` must be a folder of DeepFashion In-shop: there is no {', '.join(_IMAGE_FOLDERS)} or {split} in "
            f"{root}."
        )
    if folder.name != split and partition is None and split == "test":
        raise ValueError(f"`split` cannot be test: there is no list_eval_partition.txt in {root}.")
    found, unusable = index_files(folder, _IMAGE_SUFFIXES)
    if partition is None:
        return {view: path for view, path in found.items() if split == "test" or view.item not in tested}, unusable
    listed = {view: photo.name for view, photo in partition.items() if photo.split == split}
    return {view: found.get(view, root / name) for view, name in listed.items()}, unusable


def _read_listed_pairs(
    root: Path, split: str, images: dict[View, Path], tested: set[str]
) -> tuple[list[tuple[View, View]], list[UnusableEntry]]:
    """The pairs (person, garment) of a list of pose-transfer code, and its lines that are none.

    Photographs that were not found are added to `images` under the name of the list.
    """
    path = _first_file(root, _PAIR_LISTS, split)
    if path is None:
        raise ValueError(f"`pairs` cannot be listed: there is no {_PAIR_LISTS[0].format(split)} in {root}.")
    pairs, unusable = [], []
    for number, row in enumerate(_read_csv(path), start=2):
        garment, person = parse_name(row["from"]), parse_name(row["to"])
        if garment is None or person is None or garment.group != person.group or garment == person:
            reason = f"{path}, line {number}: must name two views of one article in one colour"
            unusable.append(UnusableEntry(f"{path.stem}-line-{number}", reason))
            continue
        if FLAT_VIEW in (garment.number, person.number) or (split == "train" and person.item in tested):
            continue
        for view, name in ((person, row["to"]), (garment, row["from"])):
            images.setdefault(view, root / split / name)
        pairs.append((person, garment))
    return pairs, unusable


def _read_poses(root: Path, images: dict[View, Path]) -> dict[View, np.ndarray]:
    """The keypoints of all annotation files, in units of the pictures' width and height."""
    poses = {}
    square_pictures = _are_square(images)
    for names, width in ((_CROPPED_ANNOTATIONS, _CROPPED_COLUMNS), (_SQUARE_ANNOTATIONS, _SQUARE_COLUMNS)):
        for split in SPLITS:
            path = _first_file(root, names, split)
            if path is None:
                continue
            square = width == _SQUARE_COLUMNS
            for name, pose in read_deepfashion_annotations(path, _SQUARE_COLUMNS, width).items():
                view = parse_name(name)
                if view is not None and view not in poses:
                    poses[view] = pose if square == square_pictures else _move_border(pose, square_pictures)
    if not poses:
        raise ValueError(f"`root` {root} has no keypoints: there is no {_CROPPED_ANNOTATIONS[0].format('train')}.")
    return poses


def _move_border(pose: np.ndarray, add: bool) -> np.ndarray:
    """Keypoints of the picture with the white columns at both sides (`add`) or without them."""
    moved = pose.copy()
    if add:
        moved[:, 0] = (pose[:, 0] * _CROPPED_COLUMNS + _CUT_COLUMNS) / _SQUARE_COLUMNS
    else:
        moved[:, 0] = (pose[:, 0] * _SQUARE_COLUMNS - _CUT_COLUMNS) / _CROPPED_COLUMNS
    return hide_points_outside_image(moved)


def _are_square(images: dict[View, Path]) -> bool:
    """Whether the pictures have the white columns at both sides; the first that can be read tells it of all."""
    for path in images.values():
        try:
            with Image.open(path) as image:
                width, height = image.size
        except OSError:
            continue
        if abs(width / height - 1) < _RATIO_TOLERANCE:
            return True
        if abs(width / height - _CROPPED_COLUMNS / _SQUARE_COLUMNS) < _RATIO_TOLERANCE:
            return False
        raise ValueError(
            f"{path}: DeepFashion's pictures are {_SQUARE_COLUMNS} x {_SQUARE_COLUMNS}, {_CROPPED_COLUMNS} x "
            f"{_SQUARE_COLUMNS} or 750 x 1101 pixels or of these ratios, this one is {width} x {height}; the "
            "keypoints do not fit."
        )
    return False


def _first_file(root: Path, names: tuple[str, ...], split: str) -> Path | None:
    return next((root / name.format(split) for name in names if (root / name.format(split)).is_file()), None)


def _read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a list with the columns `from` and `to`; some have a numbering before them."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        if not {"from", "to"} <= set(reader.fieldnames or ()):
            raise ValueError(f"The pair list {path} must have the columns from and to, got {reader.fieldnames}.")
        return [{name: row[name] or "" for name in ("from", "to")} for row in reader]
