# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""DressCode's importer on its exact layout, made of rendered people: rows against what the renderer knows."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from source_trees import (
    DRESS_CODE_FOLDERS,
    DRESS_CODE_NUMBERS,
    agrees_with_truth,
    dress_code_seed,
    dress_code_tree,
    image_of,
    rendered_person,
)

from diffusers_tryon.composition import GARMENT_LABELS, label_mask
from diffusers_tryon.data.importers.base import TryOnPair, UnusableEntry, build_row
from diffusers_tryon.data.importers.dress_code import list_pairs


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    return dress_code_tree(tmp_path_factory.mktemp("sources") / "dress-code")


@pytest.fixture
def own_tree(tree, tmp_path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(tree, tmp_path / "dress-code"))


def ids(entries: list) -> list[str]:
    return [entry.id for entry in entries]


@pytest.mark.parametrize("category", DRESS_CODE_FOLDERS)
def test_training_rows_hold_everybody_with_their_own_garment(tree, category):
    entries = list_pairs(tree, "train", category=category)
    numbers = DRESS_CODE_NUMBERS[category][:2]
    assert ids(entries) == [f"{category}-{number}" for number in numbers]
    for entry, number in zip(entries, numbers):
        row, truth = build_row(entry), rendered_person(dress_code_seed(number), category)
        folder = tree / DRESS_CODE_FOLDERS[category] / "images"
        assert row["person_image"] == (folder / f"{number}_0.jpg").read_bytes()
        agrees_with_truth(row, *truth.photos[0], "atr", category)
        assert (row["garment_type"], row["category"], row["source"]) == ("flat", category, "dress-code")
        assert (row["person_id"], row["garment_id"]) == (number, number)
        assert not row["garment_pose"].any()


def test_where_there_are_masks_they_cut_out_the_garment(tree):
    number = DRESS_CODE_NUMBERS["lower"][0]
    row = build_row(list_pairs(tree, category="lower")[0])
    mask = rendered_person(dress_code_seed(number), "lower").flat_mask
    flat = image_of(tree / "lower_body" / "images" / f"{number}_1.jpg")
    assert np.array_equal(row["garment_image"], np.where(mask[..., None], flat, 255))
    assert np.array_equal(row["garment_parse"] > 0, mask)


@pytest.mark.parametrize("category", ["upper", "dress"])
def test_where_there_is_none_the_garment_is_told_from_its_background(tree, category):
    for entry, number in zip(list_pairs(tree, category=category), DRESS_CODE_NUMBERS[category]):
        row, mask = build_row(entry), rendered_person(dress_code_seed(number), category).flat_mask
        found = row["garment_parse"] > 0
        assert (found & mask).sum() / (found | mask).sum() > 0.8
        # White cloth at the border may be taken for background, and noise for cloth: the picture is the same but for
        # little, except in the blurred pixels of the outline.
        picture = Image.fromarray(mask)
        inner, outer = (np.asarray(picture.filter(kind(5))) for kind in (ImageFilter.MinFilter, ImageFilter.MaxFilter))
        expected = np.where(mask[..., None], image_of(entry.garment.image), 255)
        difference = np.abs(row["garment_image"].astype(int) - expected).max(axis=-1)
        # A background may be 25 darker than white, and differ from itself by 20.
        assert difference[inner | ~outer].max() <= 45


def test_unpaired_rows_take_the_garment_of_the_second_column(tree):
    entries = list_pairs(tree, "test", "unpaired", category="lower")
    a, b = DRESS_CODE_NUMBERS["lower"][2:]
    assert ids(entries) == [f"lower-{a}-{b}", f"lower-{b}-{a}"]
    row = build_row(entries[0])
    agrees_with_truth(row, *rendered_person(dress_code_seed(a), "lower").photos[0], "atr", "lower")
    assert np.array_equal(row["garment_parse"] > 0, rendered_person(dress_code_seed(b), "lower").flat_mask)
    assert ids(list_pairs(tree, "test", category="lower")) == [f"lower-{a}", f"lower-{b}"]


def test_model_to_model_rows_take_the_garment_from_its_wearer(tree):
    a, b = DRESS_CODE_NUMBERS["dress"][2:]
    row = build_row(list_pairs(tree, "test", "model-to-model", category="dress")[0])
    _, parse, pose = rendered_person(dress_code_seed(b), "dress").photos[0]
    photo = image_of(tree / "dresses" / "images" / f"{b}_0.jpg")
    worn = label_mask(parse, GARMENT_LABELS["dress"])
    assert np.array_equal(row["garment_image"], np.where(worn[..., None], photo, 255))
    np.testing.assert_allclose(row["garment_pose"], pose, atol=1e-4)
    assert (row["garment_type"], row["person_id"], row["garment_id"]) == ("worn", a, b)


def test_a_suffix_inside_a_number_is_left_alone(tree):
    entries = list_pairs(tree, "test", category="upper")
    files = [path.relative_to(tree / "upper_body").as_posix() for path in _files(entries[0])]
    assert files == [
        "images/00_002_0.jpg",
        "label_maps/00_002_4.png",
        "keypoints/00_002_2.json",
        "images/00_002_1.jpg",
    ]
    assert build_row(entries[0])["id"] == "upper-00_002"


def _files(pair: TryOnPair) -> list[Path]:
    return [pair.person.image, pair.person.parse, pair.person.pose, pair.garment.image]


def test_all_categories_come_one_after_the_other(tree):
    expected = [f"{name}-{number}" for name in DRESS_CODE_FOLDERS for number in DRESS_CODE_NUMBERS[name][:2]]
    assert ids(list_pairs(tree, "train")) == expected


@pytest.mark.parametrize("pairs", ["paired", "unpaired", "model-to-model"])
def test_lists_beside_the_folders_give_the_same_entries(tree, tmp_path, pairs):
    beside = dress_code_tree(tmp_path / "beside", lists_in_root=True)
    assert ids(list_pairs(beside, "test", pairs)) == ids(list_pairs(tree, "test", pairs))
    assert ids(list_pairs(beside, "test", pairs, "dress")) == ids(list_pairs(tree, "test", pairs, "dress"))


def test_lists_beside_the_folders_may_name_no_category(tree, tmp_path):
    beside = dress_code_tree(tmp_path / "beside", lists_in_root=True)
    path = beside / "test_pairs_unpaired.txt"
    lines = [" ".join(line.split()[:2]) for line in path.read_text().splitlines()]
    path.write_text("\n".join([*lines, "099999_0.jpg 013566_1.jpg", f"{lines[0]} shoes"]))
    entries = list_pairs(beside, "test", "unpaired")
    assert ids(entries[:-2]) == ids(list_pairs(tree, "test", "unpaired"))
    assert [type(entry) for entry in entries[-2:]] == [UnusableEntry, UnusableEntry]
    place = f"{path}, line {len(lines) + 1}"
    assert entries[-2].reason == f"{place}: none of upper_body, lower_body, dresses holds images/099999_0.jpg"
    assert "line 8: none of upper_body, lower_body, dresses holds" in entries[-1].reason


def test_lines_that_name_no_pair_are_refused_one_by_one(own_tree):
    a, b = DRESS_CODE_NUMBERS["upper"][2:]
    path = own_tree / "upper_body" / "test_pairs_unpaired.txt"
    lines = [f"{a}_0.jpg", f"{a}_0.jpg {a}_1.jpg", f"{a}_1.jpg {b}_1.jpg", f"{b}_0.jpg {a}_0.jpg"]
    path.write_text("\n".join([*lines, "", f"{b}_0.jpg {a}_1.jpg"]))
    entries = list_pairs(own_tree, "test", "unpaired", "upper")
    assert [getattr(entry, "reason", "").removeprefix(f"{path}, ") for entry in entries] == [
        "line 1: names no garment, which is called NUMBER_1.jpg",
        "line 2: names the person's own garment, which is no unpaired row",
        "line 3: a person's photograph is called NUMBER_0.jpg",
        "line 4: names no garment, which is called NUMBER_1.jpg",
        "",
    ]
    assert entries[-1].id == f"upper-{b}-{a}"


def test_a_row_whose_file_is_missing_leaves_the_others_alone(own_tree):
    missing = own_tree / "dresses" / "keypoints" / "020714_2.json"
    missing.unlink()
    entries = list_pairs(own_tree, "train", category="dress")
    with pytest.raises(ValueError, match="there is no such file") as error:
        build_row(entries[0])
    assert str(missing) in str(error.value)
    assert build_row(entries[1])["id"] == "dress-020715"


def test_a_category_that_is_not_there_is_left_out_unless_it_is_asked_for(own_tree):
    shutil.rmtree(own_tree / "dresses")
    assert {entry.category for entry in list_pairs(own_tree, "train")} == {"upper", "lower"}
    with pytest.raises(ValueError, match="there is no dresses/images in"):
        list_pairs(own_tree, "train", category="dress")
    with pytest.raises(ValueError, match="`root` must be a folder of DressCode: there is no upper_body/images or"):
        list_pairs(own_tree / "upper_body", "train")


def test_missing_lists_are_named(own_tree):
    (own_tree / "dresses" / "train_pairs.txt").unlink()
    with pytest.raises(ValueError, match=r"There is no pair list .*dresses.train_pairs.txt"):
        list_pairs(own_tree, "train")
    for folder in ("upper_body", "lower_body"):
        (own_tree / folder / "train_pairs.txt").unlink()
    with pytest.raises(ValueError, match=r"There is no pair list .*dress-code.train_pairs.txt"):
        list_pairs(own_tree, "train")


def test_unknown_categories_and_pairings_are_refused(tree):
    with pytest.raises(ValueError, match="`category` must be one of upper, lower, dress, got 'dresses'"):
        list_pairs(tree, category="dresses")
    with pytest.raises(ValueError, match="`pairs` must be paired for the split train"):
        list_pairs(tree, "train", "unpaired")
