# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""VITON-HD: people in tops, and every top laid flat."""

from pathlib import Path

from .base import FlatPhoto, TryOnPair, UnusableEntry, WornPhoto
from .pair_lists import ListedPair, check_pairing, read_pair_list, refuse_repeated


SOURCE = "viton-hd"
# The folders have other names in the first release (the last ones here).
_PARSE_FOLDERS = ("image-parse-v3", "image-parse")
_POSE_FOLDERS = ("openpose_json", "openpose-json")
# CatVTON's list of the unpaired test comes before the data set's own.
_UNPAIRED_LISTS = ("test_pairs_unpaired.txt", "test_pairs.txt")


def list_pairs(root: Path, split: str = "train", pairs: str = "paired") -> list[TryOnPair | UnusableEntry]:
    """List VITON-HD (`zalando-hd-resized`), in the order of its lists.

    A garment has the name of the photograph in which it is worn. Paired rows therefore need the first column of the
    lists only; the second one of `train_pairs.txt` is never read.

    Args:
        root (`Path`): the folder with `train_pairs.txt`, `test_pairs.txt`, `train/` and `test/`.
        split (`str`): "train" or "test".
        pairs (`str`): "paired": everybody with their own garment, laid flat; or, of the split test only, "unpaired":
            with the garment of the list's second column, laid flat; "model-to-model": with that garment as it is worn
            in another photograph.

    Raises:
        ValueError: unknown split or pairs, no such list, or a folder that is not there.
    """
    check_pairing(split, pairs)
    folder = root / split
    for name in ("image", "cloth", "cloth-mask"):
        _existing_folder(folder, (name,))
    layout = _Layout(folder, _existing_folder(folder, _PARSE_FOLDERS), _existing_folder(folder, _POSE_FOLDERS))
    return refuse_repeated([_pair(line, layout, pairs) for line in read_pair_list(_pair_list(root, split, pairs))])


class _Layout:
    """Where the files of a photograph and of a garment lie."""

    def __init__(self, folder: Path, parse_folder: Path, pose_folder: Path) -> None:
        self.folder, self.parse_folder, self.pose_folder = folder, parse_folder, pose_folder

    def worn(self, file_name: str) -> WornPhoto:
        name = Path(file_name).stem
        return WornPhoto(
            name=name,
            image=self.folder / "image" / file_name,
            parse=self.parse_folder / f"{name}.png",
            label_map="cihp",
            pose=self.pose_folder / f"{name}_keypoints.json",
            pose_format="openpose",
        )

    def flat(self, file_name: str) -> FlatPhoto:
        return FlatPhoto(
            Path(file_name).stem, self.folder / "cloth" / file_name, self.folder / "cloth-mask" / file_name
        )


def _existing_folder(folder: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (folder / name).is_dir():
            return folder / name
    raise ValueError(f"`root` must be a folder of VITON-HD: there is no {' or '.join(names)} in {folder}.")


def _pair_list(root: Path, split: str, pairs: str) -> Path:
    if pairs == "paired":
        return root / f"{split}_pairs.txt"
    return next((root / name for name in _UNPAIRED_LISTS if (root / name).is_file()), root / _UNPAIRED_LISTS[-1])


def _pair(line: ListedPair, layout: _Layout, pairs: str) -> TryOnPair | UnusableEntry:
    person_file = line.columns[0]
    person_name = Path(person_file).stem
    if pairs == "paired":
        garment_file, row_id = person_file, person_name
    elif len(line.columns) < 2:
        return UnusableEntry(person_name, f"{line.place}: names no garment")
    else:
        garment_file = line.columns[1]
        row_id = f"{person_name}-{Path(garment_file).stem}"
        if garment_file == person_file:
            return UnusableEntry(row_id, f"{line.place}: names the person's own garment, which is no unpaired row")
    return TryOnPair(
        id=row_id,
        person=layout.worn(person_file),
        garment=layout.worn(garment_file) if pairs == "model-to-model" else layout.flat(garment_file),
        category="upper",
        source=SOURCE,
        person_id=person_name,
        garment_id=Path(garment_file).stem,
    )
