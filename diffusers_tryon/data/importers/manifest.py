# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""One's own photographs, listed in a CSV or JSONL file with file names."""

from pathlib import Path

from ...composition import CATEGORIES
from ...label_maps import LABEL_MAPS
from ..schema import GARMENT_TYPES
from .base import POSE_READERS, FlatPhoto, TryOnPair, UnusableEntry, WornPhoto
from .manifest_files import MANIFEST_SUFFIXES, find_file, read_manifest
from .pair_lists import SPLITS, check_choice, refuse_repeated


SOURCE = "manifest"
REQUIRED_COLUMNS = ("id", "person_image", "person_parse", "person_pose", "label_map", "garment_image", "category")
OPTIONAL_COLUMNS = (
    "garment_type",
    "garment_parse",
    "garment_pose",
    "garment_mask",
    "pose_format",
    "person_id",
    "garment_id",
)
_WORN_COLUMNS, _FLAT_COLUMNS = ("garment_parse", "garment_pose"), ("garment_mask",)


def list_pairs(root: Path, split: str = "train", manifest: Path | None = None) -> list[TryOnPair | UnusableEntry]:
    """List the photographs of a manifest, in its order.

    A manifest is a CSV file with a header, or a JSONL file with an object in each line:

    | column | content |
    |---|---|
    | `id` | unique name of the row |
    | `person_image` | photograph of a person |
    | `person_parse`, `person_pose` | its label map and its keypoints |
    | `label_map` | the meaning of the label maps of the row, a key of `label_maps.LABEL_MAPS` |
    | `garment_image` | photograph of the garment |
    | `category` | "upper", "lower" or "dress" |
    | `garment_type` (optional) | "worn" or "flat"; without it a garment with `garment_pose` is worn, others are flat |
    | `garment_parse`, `garment_pose` | of a worn garment's photograph |
    | `garment_mask` (optional) | of a flat garment: 128 or more where it is; without it the background is white |
    | `pose_format` (optional) | what the files of keypoints are, a key of `base.POSE_READERS`; "diffusers-tryon" |
    | `person_id`, `garment_id` (optional) | names of the person and of the garment, else their photographs' |

    File names are absolute, or relative to the manifest's folder, or to `root` for what is not there. An empty cell,
    null and a missing optional column are the same.

    Args:
        root (`Path`): a folder.
        split (`str`): "train" or "test".
        manifest (`Path`, *optional*): the manifest; `train.csv`, `train.jsonl` and so on in `root` by default.

    Raises:
        ValueError: no manifest, a column that does not exist, or a header that lacks a column. Lines that lack
            something are entries which `build_row` refuses.
    """
    check_choice(split, SPLITS, "split")
    path = _find_manifest(root, split, manifest)
    lines = read_manifest(path, REQUIRED_COLUMNS, OPTIONAL_COLUMNS)
    return refuse_repeated([_pair(row, f"{path}, line {number}", path.parent, root) for number, row in lines])


def _find_manifest(root: Path, split: str, manifest: Path | None) -> Path:
    if manifest is None:
        places = [root / f"{split}{suffix}" for suffix in MANIFEST_SUFFIXES]
        found = [place for place in places if place.is_file()]
        if len(found) != 1:
            names = " and ".join(place.name for place in (found or places))
            raise ValueError(f"`root` {root} must hold one manifest: there {'are' if found else 'is no'} {names}.")
        return found[0]
    if Path(manifest).suffix.lower() not in MANIFEST_SUFFIXES or not Path(manifest).is_file():
        raise ValueError(f"`manifest` must be a file {' or '.join(MANIFEST_SUFFIXES)}, got {manifest}.")
    return Path(manifest)


def _pair(row: dict[str, str], place: str, folder: Path, root: Path) -> TryOnPair | UnusableEntry:
    garment_type = row.get("garment_type", "worn" if "garment_pose" in row else "flat")
    pose_format = row.get("pose_format", "diffusers-tryon")
    wrong = _what_is_wrong(row, garment_type, pose_format)
    if wrong:
        return UnusableEntry(row.get("id", place.rpartition(", ")[2].replace(" ", "-")), f"{place}: {wrong}")

    def file(column: str) -> Path:
        return find_file(row[column], folder, root)

    def worn(image: str, parse: str, pose: str) -> WornPhoto:
        return WornPhoto(row[image], file(image), file(parse), row["label_map"], file(pose), pose_format)

    if garment_type == "worn":
        garment = worn("garment_image", "garment_parse", "garment_pose")
    else:
        mask = file("garment_mask") if "garment_mask" in row else None
        garment = FlatPhoto(row["garment_image"], file("garment_image"), mask)
    return TryOnPair(
        id=row["id"],
        person=worn("person_image", "person_parse", "person_pose"),
        garment=garment,
        category=row["category"],
        source=SOURCE,
        person_id=row.get("person_id", row["person_image"]),
        garment_id=row.get("garment_id", row["garment_image"]),
    )


def _what_is_wrong(row: dict[str, str], garment_type: str, pose_format: str) -> str | None:
    """Why a line names no pair; None if it does."""
    required = REQUIRED_COLUMNS + (_WORN_COLUMNS if garment_type == "worn" else ())
    for column in required:
        if column not in row:
            return f"{column} is missing"
    for column, value, choices in (
        ("garment_type", garment_type, GARMENT_TYPES),
        ("category", row["category"], CATEGORIES),
        ("label_map", row["label_map"], tuple(LABEL_MAPS)),
        ("pose_format", pose_format, tuple(POSE_READERS)),
    ):
        if value not in choices:
            return f"{column} must be one of {', '.join(choices)}, got {value!r}"
    for column in _FLAT_COLUMNS if garment_type == "worn" else _WORN_COLUMNS:
        if column in row:
            return f"{column} does not fit a {garment_type} garment"
    return None
