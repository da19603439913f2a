# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""DeepFashion-MultiModal: photographs of DeepFashion In-shop with label maps and keypoints drawn by hand."""

from pathlib import Path

from ...pose_files import read_deepfashion_multimodal_keypoints
from .base import TryOnPair, UnusableEntry, WornPhoto
from .deepfashion_views import View, facing, index_files, make_pair, pairs_of_views, parse_name, read_partition
from .pair_lists import SPLITS, check_choice, refuse_repeated


SOURCE = "deepfashion-multimodal"
_IMAGE_FOLDERS = ("images", "image")
_PARSE_FOLDERS = ("segm", "parsing")
_KEYPOINT_FILES = ("keypoints_loc.txt", "keypoints_vis.txt")


def list_pairs(root: Path, split: str = "train") -> list[TryOnPair | UnusableEntry]:
    """List DeepFashion-MultiModal, in the order of names.

    Looks in `root` for `images/WOMEN-Tees_Tanks-id_00007838-05_7_additional.jpg`, `segm/..._segm.png`,
    `keypoints/keypoints_loc.txt` and `keypoints/keypoints_vis.txt`. Only the photographs that show somebody from head
    to foot have label maps (12,701 of 44,096); the others are left out. Views are paired as in `deepfashion`, which
    leaves some 2,600 pairs of 1,000 articles in a colour, most of them dresses.

    The data set has no split. With `list_eval_partition.txt` of DeepFashion In-shop in `root` its split holds; without
    it everything is for training.

    Args:
        root (`Path`): the folder.
        split (`str`): "train" or "test".

    Raises:
        ValueError: a bad argument, or a folder, file or list that is not there or cannot be read.
    """
    check_choice(split, SPLITS, "split")
    partition = read_partition(root)
    if partition is None and split == "test":
        raise ValueError(
            f"`split` cannot be test: there is no list_eval_partition.txt (of DeepFashion In-shop) in {root}."
        )
    image_folder, parse_folder = _folder(root, _IMAGE_FOLDERS), _folder(root, _PARSE_FOLDERS)
    images, _ = index_files(image_folder, (".jpg",))
    parses, unusable = index_files(parse_folder, (".png",))
    poses = _read_poses(root)

    def photo_of(view: View) -> WornPhoto:
        # A label map names its photograph.
        missing = image_folder / f"{parses[view].stem.removesuffix('_segm')}.jpg"
        return WornPhoto(str(view), images.get(view, missing), parses[view], SOURCE, poses[view])

    of_split = [view for view in parses if partition is None or (view in partition and partition[view].split == split)]
    unusable += [
        UnusableEntry(str(view), f"{parses[view]}: the photograph has no keypoints")
        for view in of_split
        if view not in poses
    ]
    chosen = pairs_of_views((view for view in of_split if view in poses), lambda view: facing(view, poses[view]))
    return refuse_repeated([*(make_pair(*pair, photo_of, SOURCE) for pair in chosen), *unusable])


def _folder(root: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (root / name).is_dir():
            return root / name
    raise ValueError(f"`root` must be a folder of DeepFashion-MultiModal: there is no {' or '.join(names)} in {root}.")


def _read_poses(root: Path) -> dict:
    """The keypoints by view; the files lie in the folder `keypoints` or beside it."""
    for folder in (root / "keypoints", root):
        locations, visibilities = (folder / name for name in _KEYPOINT_FILES)
        if locations.is_file() and visibilities.is_file():
            poses = read_deepfashion_multimodal_keypoints(locations, visibilities)
            return {view: pose for name, pose in poses.items() if (view := parse_name(name)) is not None}
    raise ValueError(f"`root` must be a folder of DeepFashion-MultiModal: there is no keypoints/ in {root}.")
