# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""DeepFashion's names in all their spellings, and which views make a pair."""

from pathlib import Path

import numpy as np
import pytest

from diffusers_tryon.data.importers.deepfashion_views import (
    CATEGORY_OF_FOLDER,
    View,
    facing,
    may_be_paired,
    pairs_of_views,
    parse_name,
    read_partition,
)
from diffusers_tryon.poses import KEYPOINT_NAMES


TEE = View("WOMEN", "TeesTanks", "00007838", "05", 7, "additional")


@pytest.mark.parametrize(
    "name",
    [
        "img/WOMEN/Tees_Tanks/id_00007838/05_7_additional.jpg",
        "WOMEN/Tees_Tanks/id_00007838/05_7_additional.png",
        "fashionWOMENTees_Tanksid0000783805_7additional.jpg",
        "train/fashionWOMENTees_Tanksid0000783805_7additional.jpg",
        "fasionWOMENTeesTanksid0000783805_7additional.jpg",
        "WOMEN-Tees_Tanks-id_00007838-05_7_additional.jpg",
        "segm/WOMEN-Tees_Tanks-id_00007838-05_7_additional_segm.png",
    ],
)
def test_a_view_is_known_in_every_spelling(name):
    assert parse_name(name) == parse_name(Path(name)) == TEE


def test_a_man_is_no_woman_and_the_view_names_what_it_shows():
    view = parse_name("fashionMENJackets_Vestsid0000066502_1front.jpg")
    assert view == View("MEN", "JacketsVests", "00000665", "02", 1, "front")
    assert str(TEE) == "WOMEN-TeesTanks-id_00007838-05_7_additional"
    assert parse_name(f"{TEE}.png") == TEE


@pytest.mark.parametrize(
    "name",
    [
        "Thumbs.db",
        "05_7_additional.jpg",
        "WOMEN/Tees_Tanks/id_7838/05_7_additional.jpg",
        "WOMEN/Tees_Tanks/id_00007838/05_7_additional (1).jpg",
        "WOMEN/Tees_Tanks/id_00007838/5_7_additional.jpg",
        "WOMEN/Tees_Tanks/id_00007838/05_additional.jpg",
        "KIDS/Tees_Tanks/id_00007838/05_7_additional.jpg",
        "fashionWOMENTees_Tanksid0000783805_7additional.jpg_crop.png",
    ],
)
def test_other_names_are_no_views(name):
    assert parse_name(name) is None


def test_every_folder_of_the_data_set_has_a_category():
    women = "Blouses_Shirts Cardigans Denim Dresses Graphic_Tees Jackets_Coats Leggings Rompers_Jumpsuits Skirts"
    men = "Denim Jackets_Vests Pants Shirts_Polos Shorts Suiting Sweaters Sweatshirts_Hoodies Tees_Tanks"
    expected = dict.fromkeys(
        f"{women} Sweaters Sweatshirts_Hoodies Tees_Tanks {men}".replace("_", "").split(), "upper"
    )
    expected |= dict.fromkeys("Denim Leggings Pants Shorts Skirts".split(), "lower")
    expected |= dict.fromkeys("Dresses RompersJumpsuits".split(), "dress")
    assert CATEGORY_OF_FOLDER == expected


def pose_with_shoulders(right, left, visibility=1.0):
    pose = np.zeros((18, 3), dtype=np.float32)
    pose[KEYPOINT_NAMES.index("right_shoulder")] = (right, 0.3, visibility)
    pose[KEYPOINT_NAMES.index("left_shoulder")] = (left, 0.3, 1)
    return pose


@pytest.mark.parametrize(
    ("number", "pose", "expected"),
    [
        (1, None, "front"),
        (1, pose_with_shoulders(0.3, 0.7), "front"),
        (4, pose_with_shoulders(0.52, 0.5), "front"),
        (4, pose_with_shoulders(0.7, 0.3), "unknown"),
        (3, None, "back"),
        (3, pose_with_shoulders(0.7, 0.3), "back"),
        (3, pose_with_shoulders(0.3, 0.7), "unknown"),
        (2, None, "side"),
        (2, pose_with_shoulders(0.49, 0.51), "side"),
        (2, pose_with_shoulders(0.35, 0.6), "front"),
        (2, pose_with_shoulders(0.6, 0.35), "back"),
        (7, pose_with_shoulders(0.3, 0.7), "front"),
        (7, pose_with_shoulders(0.7, 0.3), "back"),
        (7, pose_with_shoulders(0.52, 0.5), "side"),
        (7, pose_with_shoulders(0.7, 0.3, visibility=0.5), "back"),
        (7, pose_with_shoulders(0.7, 0.3, visibility=0), "unknown"),
        (7, np.zeros((18, 3), np.float32), "unknown"),
        (7, None, "unknown"),
    ],
)
def test_where_a_view_is_seen_from(number, pose, expected):
    assert facing(View("MEN", "Pants", "00000161", "01", number, "name"), pose) == expected


def test_front_and_back_are_never_paired():
    allowed = {
        ("front", "front"), ("back", "back"), ("side", "side"), ("side", "front"), ("side", "back"),
        ("side", "unknown"),
    }  # fmt: skip
    places = ("front", "side", "back", "unknown")
    for first in places:
        for second in places:
            expected = (first, second) in allowed or (second, first) in allowed
            assert may_be_paired(first, second) == expected, (first, second)


def test_pairs_are_ordered_views_of_one_article_in_one_colour():
    names = [
        "WOMEN/Tees_Tanks/id_00007838/05_1_front", "WOMEN/Tees_Tanks/id_00007838/05_2_side",
        "WOMEN/Tees_Tanks/id_00007838/05_3_back", "WOMEN/Tees_Tanks/id_00007838/05_6_flat",
        "WOMEN/Tees_Tanks/id_00007838/06_1_front", "WOMEN/Tees_Tanks/id_00007839/05_4_full",
        "WOMEN/Graphic_Tees/id_00007838/05_4_full",
    ]  # fmt: skip
    front, side, back, *_ = views = [parse_name(name) for name in names]
    pairs = list(pairs_of_views(reversed(views), lambda view: facing(view, None)))
    assert pairs == [(front, side), (side, front), (side, back), (back, side)]


def write_partition(folder, rows):
    lines = [f"{name:<70} {item} {status}" for name, item, status in rows]
    (folder / "list_eval_partition.txt").write_text(
        f"{len(rows)}\nimage_name item_id evaluation_status\n" + "\n".join(lines) + "\n"
    )


@pytest.mark.parametrize("place", ["", "Eval", "Anno"])
def test_an_article_of_the_test_is_there_with_all_its_photographs(tmp_path, place):
    assert read_partition(tmp_path) is None
    (tmp_path / place).mkdir(exist_ok=True)
    names = [f"img/MEN/Pants/id_0000016{number}/01_1_front.jpg" for number in range(4)]
    rows = list(zip(names, ["id"] * 4, ["train", "query", "gallery", "train"]))
    rows.append(("img/MEN/Pants/id_00000163/02_1_front.jpg", "id", "query"))
    write_partition(tmp_path / place, rows)
    partition = read_partition(tmp_path)
    assert [photo.split for photo in partition.values()] == ["train", "test", "test", "test", "test"]
    assert [photo.name for photo in partition.values()][:4] == names
    assert list(partition)[0] == View("MEN", "Pants", "00000160", "01", 1, "front")


@pytest.mark.parametrize(
    "row", [("img/1.jpg", "id_00000160", "train"), ("img/MEN/Pants/id_00000160/01_1_front.jpg", "id", "validation")]
)
def test_a_line_of_the_partition_that_cannot_be_read_is_named(tmp_path, row):
    write_partition(tmp_path, [("img/MEN/Pants/id_00000160/01_1_front.jpg", "id", "train"), row])
    with pytest.raises(ValueError, match="list_eval_partition.txt, line 4: must be `image_name"):
        read_partition(tmp_path)
