# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The importer of one's own photographs: every form of a manifest, and what is wrong with one."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from source_trees import image_of, rendered_person, save_jpeg, write_openpose

from diffusers_tryon.data.importers.base import FlatPhoto, UnusableEntry, WornPhoto, build_row
from diffusers_tryon.data.importers.manifest import OPTIONAL_COLUMNS, REQUIRED_COLUMNS, list_pairs
from diffusers_tryon.poses import save_pose


WORN = {
    "id": "pair-0",
    "person_image": "photos/person.jpg",
    "person_parse": "labels/person.png",
    "person_pose": "poses/person.json",
    "label_map": "fashn",
    "garment_image": "photos/other.jpg",
    "garment_parse": "labels/other.png",
    "garment_pose": "poses/other.json",
    "category": "upper",
}
FLAT = {name: value for name, value in WORN.items() if name not in ("garment_parse", "garment_pose")} | {
    "id": "pair-1",
    "garment_image": "photos/flat.jpg",
    "garment_mask": "masks/flat.png",
    "garment_type": "flat",
    "person_id": "somebody",
    "garment_id": "shirt-7",
}


@pytest.fixture
def root(tmp_path) -> Path:
    """A person photographed twice and their top laid flat."""
    for folder in ("photos", "labels", "poses", "masks"):
        (tmp_path / folder).mkdir()
    person = rendered_person(0)
    for name, (image, parse, pose) in zip(("person", "other"), person.photos):
        save_jpeg(tmp_path / "photos" / f"{name}.jpg", image)
        Image.fromarray(parse).save(tmp_path / "labels" / f"{name}.png")
        save_pose(pose, tmp_path / "poses" / f"{name}.json")
        write_openpose(tmp_path / "poses" / f"{name}_keypoints.json", pose, *parse.shape)
    save_jpeg(tmp_path / "photos" / "flat.jpg", person.flat)
    Image.fromarray(person.flat_mask.astype(np.uint8) * 255).save(tmp_path / "masks" / "flat.png")
    return tmp_path


def write_csv(path, rows):
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def test_lines_end_at_line_feeds_alone(root):
    row = json.dumps(WORN | {"person_id": "a\u2028b\x85c"}, ensure_ascii=False)
    (root / "train.jsonl").write_bytes(f"{row}\r\n\r\n".encode())
    (pair,) = list_pairs(root)
    assert pair.person_id == "a\u2028b\x85c"


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize(("suffix", "write"), [("csv", write_csv), ("jsonl", write_jsonl)])
def test_worn_and_flat_rows(root, suffix, write):
    write(root / f"train.{suffix}", [WORN, FLAT])
    worn, flat = list_pairs(root)
    assert isinstance(worn.garment, WornPhoto) and isinstance(flat.garment, FlatPhoto)
    assert (worn.id, worn.person_id, worn.garment_id) == ("pair-0", "photos/person.jpg", "photos/other.jpg")
    assert (flat.id, flat.person_id, flat.garment_id) == ("pair-1", "somebody", "shirt-7")

    row, truth = build_row(worn), rendered_person(0)
    assert row["source"] == "manifest" and row["garment_type"] == "worn"
    for side, (_, parse, pose) in zip(("person", "garment"), truth.photos):
        assert np.array_equal(row[f"{side}_parse"], parse)
        np.testing.assert_allclose(row[f"{side}_pose"], pose, atol=1e-5)
    assert np.array_equal(
        np.asarray(Image.open(io.BytesIO(row["person_image"]))), image_of(root / "photos/person.jpg")
    )

    row = build_row(flat)
    assert row["garment_type"] == "flat" and not row["garment_pose"].any()
    assert np.array_equal(row["garment_parse"] > 0, truth.flat_mask)


def test_the_type_of_a_garment_follows_from_its_pose(root):
    unsaid = {name: value for name, value in FLAT.items() if name not in ("garment_type", "garment_mask")}
    write_jsonl(root / "train.jsonl", [WORN, unsaid | {"garment_pose": None, "garment_parse": ""}])
    worn, flat = list_pairs(root)
    assert isinstance(worn.garment, WornPhoto)
    assert flat.garment == FlatPhoto("photos/flat.jpg", root / "photos/flat.jpg", None)
    build_row(flat)


def test_other_formats_of_keypoints(root):
    openpose = {"person_pose": "poses/person_keypoints.json", "garment_pose": "poses/other_keypoints.json"}
    write_csv(root / "train.csv", [WORN, WORN | openpose | {"id": "pair-2", "pose_format": "openpose"}])
    first, second = map(build_row, list_pairs(root))
    np.testing.assert_allclose(first["person_pose"], second["person_pose"], atol=1e-4)


def test_file_names_are_relative_to_the_manifest_or_to_root_or_absolute(root):
    lists = root / "lists"
    (lists / "labels").mkdir(parents=True)
    (root / "labels" / "person.png").rename(lists / "labels" / "person.png")
    write_csv(lists / "mine.csv", [WORN | {"person_image": str(root / "photos" / "person.jpg")}])
    (pair,) = list_pairs(root, "train", lists / "mine.csv")
    assert pair.person.image == root / "photos" / "person.jpg"
    assert pair.person.parse == lists / "labels" / "person.png"
    assert pair.person.pose == root / "poses" / "person.json"
    build_row(pair)


def test_each_split_has_its_manifest(root):
    write_csv(root / "train.csv", [WORN])
    write_jsonl(root / "test.jsonl", [FLAT])
    assert [pair.id for pair in list_pairs(root, "train")] == ["pair-0"]
    assert [pair.id for pair in list_pairs(root, "test")] == ["pair-1"]
    write_csv(root / "test.csv", [WORN])
    with pytest.raises(ValueError, match="must hold one manifest: there are test.csv and test.jsonl"):
        list_pairs(root, "test")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"person_parse": ""}, "line 2: person_parse is missing"),
        ({"id": ""}, "line 2: id is missing"),
        ({"garment_parse": ""}, "line 2: garment_parse is missing"),
        ({"category": "shoes"}, "line 2: category must be one of upper, lower, dress, got 'shoes'"),
        ({"label_map": "schp"}, "line 2: label_map must be one of cihp, .*, got 'schp'"),
        ({"garment_type": "folded"}, "line 2: garment_type must be one of worn, flat, got 'folded'"),
        ({"pose_format": "coco"}, "line 2: pose_format must be one of diffusers-tryon, .*, got 'coco'"),
        ({"garment_type": "flat"}, "line 2: garment_parse does not fit a flat garment"),
        ({"garment_mask": "masks/flat.png"}, "line 2: garment_mask does not fit a worn garment"),
        ({"person_image": "photos/nobody.jpg"}, "photos/nobody.jpg: there is no such file"),
        ({"person_pose": "poses/nobody.json"}, "poses/nobody.json: there is no such file"),
    ],
)
@pytest.mark.parametrize(("suffix", "write"), [("csv", write_csv), ("jsonl", write_jsonl)])
def test_a_bad_line_is_rejected_and_the_others_are_imported(root, changes, reason, suffix, write):
    # JSONL has no header, so that its second line follows a good first one.
    first = [] if suffix == "csv" else [FLAT | {"id": "first"}]
    write(root / f"train.{suffix}", [*first, WORN | changes, FLAT])
    *_, bad, good = list_pairs(root)
    build_row(good)
    with pytest.raises(ValueError, match=reason):
        build_row(bad)


def test_an_id_may_occur_once(root):
    write_csv(root / "train.csv", [WORN, FLAT, WORN])
    first, second, third = list_pairs(root)
    assert build_row(first) and build_row(second)
    assert isinstance(third, UnusableEntry) and "listed before" in third.reason


@pytest.mark.parametrize("column", REQUIRED_COLUMNS)
def test_a_header_without_a_required_column_is_refused(root, column):
    write_csv(root / "train.csv", [{name: value for name, value in WORN.items() if name != column}])
    with pytest.raises(ValueError, match=f"train.csv, line 1: the column {column} is missing"):
        list_pairs(root)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("train.csv", ",".join([*REQUIRED_COLUMNS, "colour"]) + "\n", "line 1: unknown column 'colour'"),
        ("train.csv", ",".join(REQUIRED_COLUMNS) + "\n" + "a," * 9 + "\n", "line 2: unknown column 'beyond"),
        ("train.csv", "", "line 1: the column id is missing"),
        ("train.jsonl", json.dumps(WORN) + "\n" + json.dumps({"colour": 1}), "line 2: unknown column 'colour'"),
        ("train.jsonl", "\n{", "line 2: is not valid JSON"),
        ("train.jsonl", "[1]", "line 1: must be an object"),
    ],
)
def test_what_is_no_manifest_is_refused(root, name, text, message):
    (root / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        list_pairs(root)


def test_a_manifest_that_is_not_there_is_refused(root, tmp_path):
    with pytest.raises(ValueError, match="must hold one manifest: there is no train.csv and train.jsonl"):
        list_pairs(root)
    for path in ("nowhere.csv", "photos/person.jpg"):
        with pytest.raises(ValueError, match="`manifest` must be a file .csv or .jsonl, got"):
            list_pairs(root, manifest=root / path)
    (root / "train.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="train.csv is no text file"):
        list_pairs(root)
    with pytest.raises(ValueError, match="`split` must be one of"):
        list_pairs(root, "validation")


def test_the_columns_of_the_documentation_are_the_columns():
    documented = set(list_pairs.__doc__.replace("|", " ").replace(",", " ").split())
    assert all(f"`{column}`" in documented for column in REQUIRED_COLUMNS + OPTIONAL_COLUMNS)
