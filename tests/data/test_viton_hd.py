# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""VITON-HD's importer on its exact layout, made of rendered people: rows against what the renderer knows."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from source_trees import (
    VITON_HD_TEST,
    VITON_HD_TRAIN,
    agrees_with_truth,
    image_of,
    rendered_person,
    viton_hd_seed,
    viton_hd_tree,
)

from diffusers_tryon.composition import GARMENT_LABELS, label_mask
from diffusers_tryon.data.importers import IMPORTERS
from diffusers_tryon.data.importers.base import FlatPhoto, TryOnPair, UnusableEntry, WornPhoto, build_row
from diffusers_tryon.data.importers.viton_hd import list_pairs


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    return viton_hd_tree(tmp_path_factory.mktemp("sources") / "viton-hd")


@pytest.fixture
def own_tree(tree, tmp_path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(tree, tmp_path / "viton-hd"))


def names(entries: list) -> list[tuple[str, str]]:
    return [(entry.person_id, entry.garment_id) for entry in entries]


def test_training_rows_hold_everybody_with_their_own_garment_laid_flat(tree):
    entries = list_pairs(tree, "train")
    assert names(entries) == [(name, name) for name in VITON_HD_TRAIN]
    for entry, name in zip(entries, VITON_HD_TRAIN):
        row, truth = build_row(entry), rendered_person(viton_hd_seed(name))
        assert row["person_image"] == (tree / "train" / "image" / f"{name}.jpg").read_bytes()
        agrees_with_truth(row, *truth.photos[0], "cihp")
        assert np.array_equal(row["garment_parse"] > 0, truth.flat_mask)
        flat = image_of(tree / "train" / "cloth" / f"{name}.jpg")
        assert np.array_equal(row["garment_image"], np.where(truth.flat_mask[..., None], flat, 255))
        assert not row["garment_pose"].any()
        assert (row["garment_type"], row["category"], row["source"]) == ("flat", "upper", "viton-hd")


def test_the_first_release_gives_the_same_rows(tree, tmp_path):
    first = viton_hd_tree(tmp_path / "first", first_release=True)
    assert not (first / "train" / "image-parse-v3").exists() and (first / "train" / "openpose-json").is_dir()
    for entry, same in zip(list_pairs(tree, "train"), list_pairs(first, "train")):
        row, same_row = build_row(entry), build_row(same)
        assert all(np.array_equal(row[name], same_row[name]) for name in row)


def test_the_second_column_of_the_training_list_is_not_read(own_tree):
    before = names(list_pairs(own_tree, "train"))
    lines = [f"{name}.jpg no-such-garment.jpg" for name in VITON_HD_TRAIN[:2]] + [f"{VITON_HD_TRAIN[2]}.jpg"]
    (own_tree / "train_pairs.txt").write_text("\n".join(lines))
    assert names(list_pairs(own_tree, "train")) == before


def test_unpaired_rows_take_the_garment_of_the_second_column(tree):
    a, b, c = VITON_HD_TEST
    entries = list_pairs(tree, "test", "unpaired")
    assert names(entries) == [(a, b), (b, c), (c, a)]
    assert [entry.id for entry in entries] == [f"{a}-{b}", f"{b}-{c}", f"{c}-{a}"]
    row = build_row(entries[0])
    agrees_with_truth(row, *rendered_person(viton_hd_seed(a)).photos[0], "cihp")
    assert np.array_equal(row["garment_parse"] > 0, rendered_person(viton_hd_seed(b)).flat_mask)
    assert row["garment_type"] == "flat"
    assert names(list_pairs(tree, "test", "paired")) == [(a, a), (b, b), (c, c)]


def test_model_to_model_rows_take_the_garment_from_its_wearer(tree):
    person, garment = VITON_HD_TEST[:2]
    row = build_row(list_pairs(tree, "test", "model-to-model")[0])
    image, parse, pose = rendered_person(viton_hd_seed(garment)).photos[0]
    top = label_mask(parse, GARMENT_LABELS["upper"])
    photo = image_of(tree / "test" / "image" / f"{garment}.jpg")
    assert np.array_equal(row["garment_image"], np.where(top[..., None], photo, 255))
    np.testing.assert_allclose(row["garment_pose"], pose, atol=1e-4)
    assert (row["garment_type"], row["person_id"], row["garment_id"]) == ("worn", person, garment)


def test_the_list_of_catvton_comes_first(own_tree):
    a, b, c = VITON_HD_TEST
    (own_tree / "test_pairs_unpaired.txt").write_text(f"{a}.jpg {c}.jpg\n")
    assert names(list_pairs(own_tree, "test", "unpaired")) == [(a, c)]
    assert names(list_pairs(own_tree, "test", "model-to-model")) == [(a, c)]
    assert len(list_pairs(own_tree, "test", "paired")) == 3


def test_separators_and_blank_lines_do_not_matter(own_tree):
    a, b, c = VITON_HD_TEST
    text = f"\ufeff{a}.jpg\t{b}.jpg\r\n\r\n  {b}.jpg,{c}.jpg  \r\n{c}.jpg , {a}.jpg"
    (own_tree / "test_pairs.txt").write_bytes(text.encode())
    assert names(list_pairs(own_tree, "test", "unpaired")) == [(a, b), (b, c), (c, a)]


def test_lines_that_name_no_pair_are_refused_one_by_one(own_tree):
    a, b, c = VITON_HD_TEST
    (own_tree / "test_pairs.txt").write_text(f"{a}.jpg\n{b}.jpg {b}.jpg\n{c}.jpg {a}.jpg\n{c}.jpg {a}.jpg\n")
    entries = list_pairs(own_tree, "test", "unpaired")
    assert [type(entry) for entry in entries] == [UnusableEntry, UnusableEntry, TryOnPair, UnusableEntry]
    reasons = [entry.reason for entry in entries if isinstance(entry, UnusableEntry)]
    place = own_tree / "test_pairs.txt"
    assert reasons == [
        f"{place}, line 1: names no garment",
        f"{place}, line 2: names the person's own garment, which is no unpaired row",
        "listed before: the same pair occurs twice",
    ]


def test_a_row_whose_file_is_missing_leaves_the_others_alone(own_tree):
    missing = own_tree / "train" / "image-parse-v3" / f"{VITON_HD_TRAIN[1]}.png"
    missing.unlink()
    entries = list_pairs(own_tree, "train")
    with pytest.raises(ValueError, match="there is no such file") as error:
        build_row(entries[1])
    assert str(missing) in str(error.value)
    assert build_row(entries[0])["id"] == VITON_HD_TRAIN[0] and build_row(entries[2])["id"] == VITON_HD_TRAIN[2]


@pytest.mark.parametrize("folder", ["image", "cloth", "cloth-mask", "image-parse-v3", "openpose_json"])
def test_a_folder_that_is_missing_is_named(own_tree, folder):
    shutil.rmtree(own_tree / "train" / folder)
    with pytest.raises(ValueError, match=f"`root` must be a folder of VITON-HD: there is no .*{folder}.* in "):
        list_pairs(own_tree, "train")


def test_a_missing_list_is_named(own_tree):
    (own_tree / "test_pairs.txt").unlink()
    for pairs in ("paired", "unpaired"):
        with pytest.raises(ValueError, match=r"There is no pair list .*test_pairs.txt"):
            list_pairs(own_tree, "test", pairs)
    (own_tree / "test_pairs.txt").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(ValueError, match=r"test_pairs.txt is no text file"):
        list_pairs(own_tree, "test")


def test_unknown_splits_and_pairings_are_refused(tree):
    with pytest.raises(ValueError, match="`split` must be one of train, test, got 'val'"):
        list_pairs(tree, "val")
    with pytest.raises(ValueError, match="`pairs` must be one of paired, unpaired, model-to-model, got 'random'"):
        list_pairs(tree, "test", "random")
    for pairs in ("unpaired", "model-to-model"):
        with pytest.raises(ValueError, match="`pairs` must be paired for the split train"):
            list_pairs(tree, "train", pairs)


def test_viton_hd_s_own_recipe_hides_the_torso_and_keeps_the_face(tree):
    entry = list_pairs(tree, "train")[0]
    mask = build_row(entry, recipe="viton-hd")["agnostic_mask"]
    _, parse, pose = rendered_person(viton_hd_seed(VITON_HD_TRAIN[0])).photos[0]
    for point in (1, 2, 5):
        x, y = (pose[point, :2] * parse.shape[::-1]).astype(int)
        assert mask[y, x] == 255
    assert not mask[label_mask(parse, ("face", "skirt", "pants"))].any()


def test_listing_opens_no_picture(own_tree):
    for path in own_tree.rglob("*.*g"):
        path.write_bytes(b"")
    entries = list_pairs(own_tree, "train")
    assert isinstance(entries[0].person, WornPhoto) and isinstance(entries[0].garment, FlatPhoto)
    assert IMPORTERS["viton-hd"].list_pairs is list_pairs


def test_the_label_maps_of_the_tree_are_palette_pictures(tree):
    assert Image.open(tree / "train" / "image-parse-v3" / f"{VITON_HD_TRAIN[0]}.png").mode == "P"
