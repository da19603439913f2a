# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""DeepFashion's importers on the exact layouts, made of rendered people: rows against what the renderer knows."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from source_trees_deepfashion import (
    BORDER,
    GROUPS,
    HEIGHT,
    TEST_PAIRS,
    TRAIN_PAIRS,
    WIDTH,
    in_shop_name,
    in_shop_tree,
    multimodal_tree,
    pose_transfer_name,
    pose_transfer_tree,
    rendered_view,
    to_multimodal_labels,
)

from diffusers_tryon.composition import GARMENT_LABELS, label_mask
from diffusers_tryon.data.importers import deepfashion, deepfashion_multimodal
from diffusers_tryon.data.importers.base import TryOnPair, UnusableEntry, build_row
from diffusers_tryon.data.importers.deepfashion_views import parse_name
from diffusers_tryon.data.importing import import_source
from diffusers_tryon.data.parts import list_parts
from diffusers_tryon.data.validation import validate_parts
from diffusers_tryon.label_maps import convert_parse
from diffusers_tryon.poses import OCCLUDED_VISIBILITY


@pytest.fixture(scope="module")
def trees(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("deepfashion")
    return {
        "in-shop": in_shop_tree(root / "in-shop"),
        "pose-transfer": pose_transfer_tree(root / "pose-transfer"),
        "numbered": pose_transfer_tree(root / "numbered", index_column=True),
        "multimodal": multimodal_tree(root / "multimodal"),
    }


@pytest.fixture
def own_tree(trees, tmp_path):
    """Copy a tree that a test may change."""
    return lambda name: Path(shutil.copytree(trees[name], tmp_path / name))


def list_in_shop(root, split="train", **options):
    return deepfashion.list_pairs(root, split, **({"parse_dir": root / "parses", "label_map": "cihp"} | options))


def list_pose_transfer(root, split="train", **options):
    return list_in_shop(root, split, **({"label_map": "atr"} | options))


def key(pair):
    person, garment = (parse_name(f"{photo.name}.jpg") for photo in (pair.person, pair.garment))
    assert person.group == garment.group
    return person.item, person.colour, f"{person.number}_{person.name}", f"{garment.number}_{garment.name}"


def group_of(pair):
    item, colour, *_ = key(pair)
    return next(group for group in GROUPS if group[2:] == (item, colour))


def usable(entries):
    return [entry for entry in entries if isinstance(entry, TryOnPair)]


def check_row(pair, image_of_view, border, label_map, united):
    """A built row against the renderer: pictures, keypoints to half a pixel, label maps but for what is `united`."""
    row, group = build_row(pair), group_of(pair)
    width = WIDTH + 2 * border
    for view, side in ((key(pair)[2], "person"), (key(pair)[3], "garment")):
        image, parse, pose = rendered_view(group, view)
        expected = pose.copy()
        expected[:, 0] = np.where(pose[:, 2] > 0, (pose[:, 0] * WIDTH + border) / width, 0)
        np.testing.assert_array_equal(row[f"{side}_pose"][:, 2] > 0, pose[:, 2] > 0)
        np.testing.assert_allclose(row[f"{side}_pose"][:, :2], expected[:, :2], atol=0.5 / 176 + 1e-6)
        labels = row[f"{side}_parse"]
        assert labels.shape == (HEIGHT, width)
        assert not labels[:, :border].any()
        labels = labels[:, border : border + WIDTH]
        for names in united:
            assert np.array_equal(label_mask(labels, names), label_mask(parse, names)), names
        rest = ~label_mask(parse, sum(united, ()))
        assert np.array_equal(labels[rest], parse[rest])
    photo = image_of_view(group, key(pair)[2])
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(row["person_image"]))), photo)
    garment_photo, garment_parse = image_of_view(group, key(pair)[3]), row["garment_parse"]
    worn = label_mask(garment_parse, GARMENT_LABELS[pair.category])
    assert worn.sum() > 100
    assert np.array_equal(row["garment_image"], np.where(worn[..., None], garment_photo, 255))
    hidden = row["agnostic_mask"] > 0
    assert hidden[label_mask(row["person_parse"], GARMENT_LABELS[pair.category])].all()
    assert np.array_equal(row["agnostic_image"], np.where(hidden[..., None], 128, photo))
    assert (row["garment_type"], row["category"]) == ("worn", GROUPS[group][0])
    return row


CIHP_UNITED = (("arms", "hands"), ("legs", "feet"), ("torso", "jewelry"), ("pants", "belt"))
ATR_UNITED = (("arms", "hands"), ("legs", "feet"), ("face", "torso", "jewelry"))


def test_in_shop_rows(trees):
    root = trees["in-shop"]
    entries = list_in_shop(root)
    assert [entry.id for entry in entries] == sorted(entry.id for entry in entries)
    assert {key(entry) for entry in entries} == TRAIN_PAIRS and len(entries) == len(TRAIN_PAIRS)
    assert {key(entry) for entry in list_in_shop(root, "test")} == TEST_PAIRS

    def image_of_view(group, view):
        return np.asarray(Image.open(root / "img" / f"{in_shop_name(group, view)}.jpg"))

    for pair in [*entries, *list_in_shop(root, "test")]:
        row = check_row(pair, image_of_view, BORDER, "cihp", CIHP_UNITED)
        assert row["source"] == "deepfashion"
        assert (row["garment_image"][:, :BORDER] == 255).all()
    assert {entry.garment_id for entry in entries} == {"id_00007838-05", "id_00007838-06", "id_00005537-05"}
    assert len({entry.id for entry in entries}) == len(entries)


@pytest.mark.parametrize(
    ("source", "tree", "options"),
    [
        ("deepfashion", "in-shop", {"label_map": "cihp"}),
        ("deepfashion", "pose-transfer", {"label_map": "atr", "pairs": "listed"}),
        ("deepfashion-multimodal", "multimodal", {}),
    ],
)
def test_the_validator_finds_nothing_wrong_with_imported_rows(trees, tmp_path, source, tree, options):
    if source == "deepfashion":
        options = options | {"parse_dir": trees[tree] / "parses"}
    splits = ("train", "test") if source == "deepfashion" else ("train",)
    for split in splits:
        report = import_source(source, trees[tree], tmp_path, split, options, size=(96, 96))
        assert report.rows_written and not report.rows_rejected
    assert validate_parts(list_parts(tmp_path)).findings == []


def test_pose_transfer_rows(trees):
    root = trees["pose-transfer"]
    # A colour of the article 00007838 is in the test folder, so that all its colours stay out of the training.
    train = list_pose_transfer(root)
    assert {key(entry) for entry in train} == {pair for pair in TRAIN_PAIRS if pair[0] == "00005537"}
    test = list_pose_transfer(root, "test")
    assert {key(entry) for entry in test} == TEST_PAIRS | {pair for pair in TRAIN_PAIRS if pair[1] == "06"}

    for split, entries in (("train", train), ("test", test)):

        def image_of_view(group, view):
            return np.asarray(Image.open(root / split / f"{pose_transfer_name(group, view)}.jpg"))

        for pair in entries:
            check_row(pair, image_of_view, 0, "atr", ATR_UNITED)


def test_the_official_list_decides_when_it_lies_beside_pose_transfer_code(own_tree, trees):
    root = own_tree("pose-transfer")
    shutil.copy(trees["in-shop"] / "Eval" / "list_eval_partition.txt", root)
    for path in list((root / "test").iterdir()):
        shutil.move(path, root / "train")
    (root / "test").rmdir()
    assert {key(entry) for entry in list_pose_transfer(root)} == TRAIN_PAIRS


@pytest.mark.parametrize("tree", ["pose-transfer", "numbered"])
def test_listed_pairs(trees, tree):
    root = trees[tree]
    train = list_pose_transfer(root, pairs="listed")
    assert {key(entry) for entry in train} == {pair for pair in TRAIN_PAIRS if pair[0] == "00005537"}
    test = list_pose_transfer(root, "test", pairs="listed")
    assert {key(entry) for entry in test} == TEST_PAIRS | {pair for pair in TRAIN_PAIRS if pair[1] == "06"}
    # From the garment's photograph to the person's: in the order of the list.
    assert key(test[0]) == ("00007838", "06", "4_full", "1_front")


def test_listed_pairs_that_are_none(own_tree):
    root = own_tree("pose-transfer")
    lines = [
        "from,to",
        "fashionMENPantsid0000016101_1front.jpg,fashionMENPantsid0000016101_4full.jpg",
        "fashionMENPantsid0000016101_1front.jpg,fashionWOMENTees_Tanksid0000783806_1front.jpg",
        "strange.jpg,fashionMENPantsid0000016101_4full.jpg",
        "fashionMENPantsid0000016101_1front.jpg,fashionMENPantsid0000016101_1front.jpg",
        "fashionMENPantsid0000016101_1front.jpg,fashionMENPantsid0000016101_4full.jpg",
        "fashionMENPantsid0000016101_1front.jpg,fashionMENPantsid0000016101_2side.jpg",
        "fashionMENPantsid0000016101_1front.jpg",
        "fashionMENPantsid0000016101_6flat.jpg,fashionMENPantsid0000016101_2side.jpg",
    ]
    (root / "fasion-resize-pairs-test.csv").write_text("\n".join(lines) + "\n")
    entries = list_pose_transfer(root, "test", pairs="listed")
    pairs, refused = usable(entries), [entry for entry in entries if isinstance(entry, UnusableEntry)]
    assert [key(pair)[2:] for pair in pairs] == [("4_full", "1_front"), ("2_side", "1_front")]
    assert build_row(pairs[0])
    with pytest.raises(ValueError, match="test/fashionMENPantsid0000016101_2side.jpg: there is no such file"):
        build_row(pairs[1])
    assert len(refused) == 5
    reasons = sorted(entry.reason.rpartition(", ")[2] for entry in refused if "line" in entry.reason)
    assert reasons == [f"line {number}: must name two views of one article in one colour" for number in (3, 4, 5, 8)]
    assert sum("listed before" in entry.reason for entry in refused) == 1
    (root / "fasion-resize-pairs-test.csv").write_text("a.jpg,b.jpg\n")
    with pytest.raises(ValueError, match="must have the columns from and to, got .'a.jpg', 'b.jpg'."):
        list_pose_transfer(root, "test", pairs="listed")


def test_label_maps_may_have_the_names_of_any_spelling(own_tree, trees):
    root = own_tree("in-shop")
    nested = root / "nested"
    for group in GROUPS:
        for view in GROUPS[group][1:]:
            flat = root / "parses" / f"{pose_transfer_name(group, view)}.png"
            if flat.is_file():
                path = nested / f"{in_shop_name(group, view)}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(flat, path)
    assert not list((root / "parses").iterdir())
    for entry, same in zip(list_in_shop(root, parse_dir=nested), list_in_shop(trees["in-shop"]), strict=True):
        assert np.array_equal(build_row(entry)["person_parse"], build_row(same)["person_parse"])


def test_large_pictures_have_no_border(own_tree, trees):
    root = own_tree("pose-transfer")
    shutil.copy(trees["in-shop"] / "Eval" / "list_eval_partition.txt", root)
    for group in GROUPS:
        for view in GROUPS[group][1:]:
            image, _, _ = rendered_view(group, view)
            path = root / "img_highres" / f"{in_shop_name(group, view)}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).resize((750, 1101)).save(path)
    pair = list_pose_transfer(root, "test")[0]
    row = build_row(pair)
    pose = rendered_view(group_of(pair), key(pair)[2])[2]
    assert row["person_parse"].shape == (1101, 750)
    np.testing.assert_allclose(row["person_pose"][:, :2], pose[:, :2], atol=0.5 / 176 + 1e-6)


def test_keypoints_of_square_pictures_are_read_for_cropped_ones_and_the_other_way_round(own_tree):
    root = own_tree("pose-transfer")
    for split in ("train", "test"):
        path = root / f"fasion-resize-annotation-{split}.csv"
        lines = path.read_text().splitlines()
        moved = [lines[0]]
        for line in lines[1:]:
            name, y, x = line.split(": ")
            columns = [int(value) for value in x.strip("[]").split(",")]
            moved.append(f"{name}: {y}: {[value + 40 if value >= 0 else -1 for value in columns]}")
        (root / f"fasion-annotation-{split}.csv").write_text("\n".join(moved) + "\n")
    with_crops = list_pose_transfer(root, "test")
    for split in ("train", "test"):
        (root / f"fasion-resize-annotation-{split}.csv").unlink()
    with_squares = list_pose_transfer(root, "test")
    for first, second in zip(with_crops, with_squares, strict=True):
        assert first.id == second.id
        np.testing.assert_allclose(first.person.pose, second.person.pose, atol=1e-6)


def test_missing_files_and_keypoints_are_rejected_one_by_one(own_tree):
    root = own_tree("in-shop")
    (root / "img" / "WOMEN" / "Tees_Tanks" / "id_00007838" / "05_1_front.jpg").unlink()
    (root / "parses" / "fashionWOMENTees_Tanksid0000783806_4full.png").unlink()
    path = root / "fasion-resize-annotation-train.csv"
    nobody = f"fashionWOMENDressesid0000553705_3back.jpg: {[-1] * 18}: {[-1] * 18}"
    lines = [line if "0000553705_3back" not in line else nobody for line in path.read_text().splitlines()]
    path.write_text("\n".join(line for line in lines if "0000553705_4full" not in line) + "\n")
    entries = list_in_shop(root)
    assert {key(entry) for entry in entries} == TRAIN_PAIRS
    errors = {}
    for entry in entries:
        try:
            build_row(entry)
        except ValueError as error:
            errors[key(entry)] = str(error)
    good = {("00007838", "05", "4_full", "7_additional"), ("00007838", "05", "7_additional", "4_full")}
    assert set(errors) == TRAIN_PAIRS - good
    # The name in the list, for there is no other.
    missing = errors["00007838", "05", "4_full", "1_front"]
    assert missing == f"{root}/img/WOMEN/Tees_Tanks/id_00007838/05_1_front.jpg: there is no such file"
    assert "no such file" in errors["00007838", "06", "1_front", "4_full"]
    assert "all keypoints are missing" in errors["00005537", "05", "3_back", "7_additional"]


def test_an_additional_view_without_keypoints_is_paired_with_no_front_and_no_back(own_tree):
    root = own_tree("in-shop")
    path = root / "fasion-resize-annotation-train.csv"
    path.write_text("\n".join(line for line in path.read_text().splitlines() if "7additional" not in line) + "\n")
    assert {key(entry) for entry in list_in_shop(root)} == {p for p in TRAIN_PAIRS if "7_additional" not in p}


def test_files_of_odd_or_repeated_names_are_reported(own_tree):
    root = own_tree("in-shop")
    folder = root / "img" / "WOMEN" / "Dresses" / "id_00005537"
    shutil.copy(folder / "05_4_full.jpg", folder / "05_4_full (1).jpg")
    shutil.copy(folder / "05_4_full.jpg", folder / "05_4_full.png")
    (folder / "Thumbs.db").write_text("")
    refused = [entry for entry in list_in_shop(root) if isinstance(entry, UnusableEntry)]
    assert [entry.reason.rpartition(": ")[2] for entry in refused] == [
        "the name is none of DeepFashion's",
        f"the view is that of {folder / '05_4_full.jpg'} too",
    ]
    assert refused[0].id == "WOMEN-Dresses-id_00005537-05_4_full-1-"
    assert {key(entry) for entry in usable(list_in_shop(root))} == TRAIN_PAIRS


def test_an_unknown_category_is_reported(own_tree):
    root = own_tree("in-shop")
    (root / "Eval" / "list_eval_partition.txt").unlink()
    (root / "img" / "WOMEN" / "Tees_Tanks").rename(root / "img" / "WOMEN" / "Sarees")
    refused = [entry for entry in list_in_shop(root) if isinstance(entry, UnusableEntry)]
    assert refused and all("unknown category Sarees" in entry.reason for entry in refused)


def test_without_a_list_everything_is_for_training(own_tree):
    root = own_tree("in-shop")
    (root / "Eval" / "list_eval_partition.txt").unlink()
    assert {key(entry) for entry in list_in_shop(root)} == TRAIN_PAIRS | TEST_PAIRS
    with pytest.raises(ValueError, match="`split` cannot be test: there is no list_eval_partition.txt"):
        list_in_shop(root, "test")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "validation"}, "`split` must be one of train, test, got 'validation'"),
        ({"pairs": "all"}, "`pairs` must be one of views, listed, got 'all'"),
        ({"pairs": "listed"}, "`pairs` cannot be listed: there is no fasion-resize-pairs-train.csv"),
        ({"parse_dir": None}, "`parse_dir` must be a folder of label maps .*, got None"),
        ({"parse_dir": Path("nowhere")}, "`parse_dir` must be a folder of label maps .*, got nowhere"),
        ({"label_map": None}, "`label_map` must be one of cihp, .*, got None"),
    ],
)
def test_bad_arguments(trees, options, message):
    with pytest.raises(ValueError, match=message):
        list_in_shop(trees["in-shop"], **options)


def test_what_is_no_folder_of_the_data_set_is_refused(own_tree, tmp_path):
    (tmp_path / "parses").mkdir()
    with pytest.raises(
        ValueError, match="`root` must be a folder of DeepFashion In-shop: there is no img_highres, img"
    ):
        list_in_shop(tmp_path)
    root = own_tree("in-shop")
    (root / "fasion-resize-annotation-train.csv").unlink()
    with pytest.raises(ValueError, match="has no keypoints: there is no fasion-resize-annotation-train.csv"):
        list_in_shop(root)
    root = own_tree("pose-transfer")
    for path in (root / "train").iterdir():
        Image.open(path).resize((96, 128)).save(path)
    with pytest.raises(ValueError, match="this one is 96 x 128; the keypoints do not fit"):
        list_pose_transfer(root)


def test_multimodal_rows(trees):
    root = trees["multimodal"]
    entries = deepfashion_multimodal.list_pairs(root)
    # Front views have no label map here, so that they are left out.
    expected = {pair for pair in TRAIN_PAIRS | TEST_PAIRS if "1_front" not in pair}
    assert {key(entry) for entry in entries} == expected and len(entries) == len(expected)
    for pair in entries:
        row = build_row(pair)
        truths = {
            side: rendered_view(group_of(pair), key(pair)[place]) for side, place in (("person", 2), ("garment", 3))
        }
        for side, (_, parse, pose) in truths.items():
            labels, found = row[f"{side}_parse"], row[f"{side}_pose"]
            # The neck comes from the shoulders.
            others = np.arange(18) != 1
            np.testing.assert_array_equal(
                found[others, 2], np.where(pose[others, 2] == OCCLUDED_VISIBILITY, 0.5, pose[others, 2] > 0)
            )
            np.testing.assert_allclose(found[others, :2], pose[others, :2], atol=0.5 / 750 + 1e-6)
            skin = ("arms", "hands", "legs", "torso")
            assert np.array_equal(labels[~label_mask(parse, skin)], parse[~label_mask(parse, skin)])
            # How well skin is divided is the business of the label maps' tests.
            divided = convert_parse(to_multimodal_labels(parse), "deepfashion-multimodal", found)
            assert np.array_equal(labels, divided)
            right = label_mask(parse, skin) & (labels == parse)
            assert right.sum() > 0.5 * label_mask(parse, skin).sum()
        assert row["garment_type"] == "worn" and row["source"] == "deepfashion-multimodal"


def test_multimodal_photographs_without_keypoints_or_files_are_reported(own_tree):
    root = own_tree("multimodal")
    names = [path.stem.removesuffix("_segm") for path in sorted((root / "segm").iterdir())]
    full, back = (
        next(name for name in names if name.endswith(f"00005537-05_{view}")) for view in ("4_full", "3_back")
    )
    locations = root / "keypoints" / "keypoints_loc.txt"
    locations.write_text("".join(f"{line}\n" for line in locations.read_text().splitlines() if full not in line))
    (root / "images" / f"{back}.jpg").unlink()
    entries = deepfashion_multimodal.list_pairs(root)
    refused = [entry for entry in entries if isinstance(entry, UnusableEntry)]
    assert [entry.reason for entry in refused] == [
        f"{root / 'segm' / f'{full}_segm.png'}: the photograph has no keypoints"
    ]
    pairs = [entry for entry in usable(entries) if "3_back" in entry.id and "Dresses" in entry.id]
    assert len(pairs) == 2
    for entry in pairs:
        with pytest.raises(ValueError, match=f"{back}.jpg: there is no such file"):
            build_row(entry)


def test_multimodal_split(own_tree, trees):
    root = own_tree("multimodal")
    with pytest.raises(ValueError, match="`split` cannot be test: there is no list_eval_partition.txt"):
        deepfashion_multimodal.list_pairs(root, "test")
    shutil.copy(trees["in-shop"] / "Eval" / "list_eval_partition.txt", root)
    (root / "segm" / "MEN-Pants-id_00000161-01_1_front_segm.png").write_bytes(
        (root / "segm" / "MEN-Pants-id_00000161-01_4_full_segm.png").read_bytes()
    )
    train, test = (deepfashion_multimodal.list_pairs(root, split) for split in ("train", "test"))
    assert {entry.garment_id for entry in usable(train)} == {"id_00007838-05", "id_00005537-05"}
    assert [entry.reason.rpartition("/")[2] for entry in test] == [
        "MEN-Pants-id_00000161-01_1_front_segm.png: the photograph has no keypoints"
    ]


@pytest.mark.parametrize("missing", ["images", "segm", "keypoints"])
def test_what_is_no_folder_of_multimodal_is_refused(own_tree, missing):
    root = own_tree("multimodal")
    shutil.rmtree(root / missing)
    with pytest.raises(ValueError, match=f"`root` must be a folder of DeepFashion-MultiModal: there is no {missing}"):
        deepfashion_multimodal.list_pairs(root)
