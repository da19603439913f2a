# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Pairs of photographs in folders, manifests and data sets: what is listed, and what is refused with which reason."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Image, Value
from PIL import Image as PILImage

from diffusers_tryon.data.importers.base import UnusableEntry
from diffusers_tryon.preprocessing.errors import UnreadablePhotoError
from diffusers_tryon.preprocessing.photo_pairs import PhotoPair, list_photo_pairs


def photo(value: int = 0) -> bytes:
    buffer = io.BytesIO()
    PILImage.fromarray(np.full((4, 3, 3), value, np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"not opened")
    return root


def ids(entries: list) -> list[str]:
    return [entry.id for entry in entries]


def reasons(entries: list) -> dict[str, str]:
    return {entry.id: entry.reason for entry in entries if isinstance(entry, UnusableEntry)}


# Folders


def test_equal_names_are_a_pair_whatever_their_suffixes(tmp_path):
    touch(tmp_path, "person/b.JPG", "person/a.png", "garment/a.webp", "garment/b.jpeg")
    first, second = list_photo_pairs(tmp_path)
    assert first == PhotoPair(
        id="a",
        person=first.person,
        garment=first.garment,
        category="auto",
        garment_type="auto",
        person_id="a",
        garment_id="a",
    )
    assert (first.person.open(), first.garment.open()) == (tmp_path / "person/a.png", tmp_path / "garment/a.webp")
    assert second.person.name == str(tmp_path / "person" / "b.JPG")


def test_folders_hold_photographs_of_one_person_in_one_outfit(tmp_path):
    touch(tmp_path, "person/x/1.jpg", "person/x/2.jpg", "person/x/3.jpg", "person/y/1.jpg", "person/y/2.jpg")
    touch(tmp_path, "garment/y.jpg", "person/z.jpg", "garment/z/front.jpg", "garment/z/back.jpg")
    entries = list_photo_pairs(tmp_path)
    of_x = [f"x/{one}/{other}" for one in "123" for other in "123" if one != other]
    assert ids(entries) == [*of_x, "y/1/y", "y/2/y", "z/z/back", "z/z/front"]
    assert entries[0].person.path == tmp_path / "person/x/1.jpg"
    assert entries[0].garment.path == tmp_path / "person/x/2.jpg"
    assert {entry.person_id for entry in entries[:6]} == {"x"} == {entry.garment_id for entry in entries[:6]}


def test_without_a_folder_of_garments_outfits_are_their_own(tmp_path):
    touch(tmp_path, "person/x/1.jpg", "person/x/2.jpg", "person/lonely.jpg", "person/y/1.jpg")
    entries = list_photo_pairs(tmp_path)
    assert [entry.id for entry in entries if isinstance(entry, PhotoPair)] == ["x/1/2", "x/2/1"]
    assert reasons(entries) == {
        name: f"{tmp_path}/garment: holds no photograph named {name}" for name in ("lonely", "y")
    }


def test_what_has_no_partner_or_two_of_one_name_is_reported_and_other_files_are_passed_over(tmp_path):
    touch(tmp_path, "person/a.jpg", "person/a.png", "garment/a.jpg", "garment/b.jpg", "person/c.jpg", "garment/c.jpg")
    touch(tmp_path, "person/notes.txt", "person/.hidden.jpg", "person/.cache/d.jpg", "garment/Thumbs.db")
    # A kind of picture that PIL does not open is a photograph nevertheless.
    touch(tmp_path, "person/phone.heic", "garment/phone.jpg")
    entries = list_photo_pairs(tmp_path)
    assert [entry.id for entry in entries if isinstance(entry, PhotoPair)] == ["c", "phone"]
    assert reasons(entries) == {
        "a": f"{tmp_path}/person: 2 photographs or folders are named a",
        "b": f"{tmp_path}/person: holds no photograph named b",
    }


# Manifests


LINES = [
    {"id": "one", "person_photo": "p/1.jpg", "garment_photo": "g/1.jpg"},
    {
        "id": "two",
        "person_photo": "/elsewhere/2.jpg",
        "garment_photo": "g/2.jpg",
        "category": "dress",
        "garment_type": "flat",
        "person_id": "anna",
        "garment_id": "red dress",
    },
]
COLUMNS = list(LINES[1])


def write_manifest(path: Path, lines: list[dict]) -> Path:
    with open(path, "w", newline="") as file:
        if path.suffix == ".jsonl":
            file.writelines(json.dumps(line) + "\n" for line in lines)
        else:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(lines)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_manifest_says_what_it_says_and_the_rest_is_asked_for(tmp_path, suffix):
    one, two = list_photo_pairs(write_manifest(tmp_path / f"m{suffix}", LINES), category="upper")
    assert (one.category, one.garment_type, one.person_id, one.garment_id) == ("upper", "auto", "one", "one")
    assert (one.person.path, one.garment.path) == (tmp_path / "p/1.jpg", tmp_path / "g/1.jpg")
    assert (two.category, two.garment_type, two.person_id, two.garment_id) == ("dress", "flat", "anna", "red dress")
    assert two.person.path == Path("/elsewhere/2.jpg")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_bad_lines_are_reported_and_the_others_listed(tmp_path, suffix):
    bad = [{"category": "shoes"}, {"garment_photo": ""}, {"id": ""}, {"garment_type": "folded"}]
    lines = [LINES[0] | {"id": f"bad-{number}"} | change for number, change in enumerate(bad)]
    path = write_manifest(tmp_path / f"m{suffix}", [*lines, *LINES, LINES[0]])
    entries = list_photo_pairs(path)
    assert ids(entries)[-3:] == ["one", "two", "one"]
    first = 2 if suffix == ".csv" else 1
    assert list(reasons(entries).values()) == [
        f"{path}, line {first}: category must be one of auto, upper, lower, dress, got 'shoes'",
        f"{path}, line {first + 1}: garment_photo is missing",
        f"{path}, line {first + 2}: id is missing",
        f"{path}, line {first + 3}: garment_type must be one of auto, worn, flat, got 'folded'",
        "listed before: the same pair occurs twice",
    ]


def test_a_manifest_of_parsed_photographs_is_told_what_it_may_have(tmp_path):
    (tmp_path / "m.jsonl").write_text(json.dumps({"id": "a", "person_image": "a.jpg", "person_parse": "a.png"}))
    with pytest.raises(
        ValueError, match="unknown column 'person_image', 'person_parse'; a manifest may have id, perso"
    ):
        list_photo_pairs(tmp_path / "m.jsonl")


# Data sets


FEATURES = Features(
    person_photo=Image(),
    garment_photo=Image(),
    category=ClassLabel(names=["dress", "upper"]),
    person_id=Value("int64"),
    note=Value("string"),
)


@pytest.fixture(autouse=True)
def datasets_cache(tmp_path, monkeypatch):
    """What `datasets` makes of folders does not stay in the home of whoever runs the tests."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets_cache")


@pytest.fixture
def rows() -> Dataset:
    stored = [{"bytes": photo(value), "path": None} for value in (10, 20, 30)]
    columns = {
        "person_photo": [stored[0], None, {"bytes": b"no picture", "path": None}],
        "garment_photo": stored,
        "category": ["upper", "dress", None],
        "person_id": [5, 6, None],
        "note": ["", "", ""],
    }
    return Dataset.from_dict(columns, features=FEATURES)


@pytest.mark.parametrize("saved", ["parquet", "to disk", "dictionary"])
def test_a_data_set_has_photographs_in_columns(rows, tmp_path, saved):
    if saved == "parquet":
        (tmp_path / "rows").mkdir()
        rows.to_parquet(tmp_path / "rows" / "test-00000.parquet")
    elif saved == "to disk":
        rows.save_to_disk(tmp_path / "rows")
    else:
        from datasets import DatasetDict

        DatasetDict({"test": rows}).save_to_disk(tmp_path / "rows")
    entries = list_photo_pairs(tmp_path / "rows", "test", garment_type="worn")
    assert ids(entries) == ["test-0000000", "test-0000001", "test-0000002"]
    assert [entry.category for entry in entries] == ["upper", "dress", "auto"]
    assert [entry.person_id for entry in entries] == ["5", "6", "test-0000002"]
    assert {entry.garment_type for entry in entries} == {"worn"}
    assert [entry.garment.open() for entry in entries] == [photo(10), photo(20), photo(30)]
    assert entries[0].person.open() == photo(10) and entries[2].person.open() == b"no picture"
    with pytest.raises(UnreadablePhotoError, match="`row 1, person_photo` holds no picture"):
        entries[1].person.open()
    # The photographs of one row are two, whatever the object they are read from.
    assert entries[0].person != entries[0].garment and len({entries[0].person, entries[0].garment}) == 2


def test_a_data_set_may_name_its_rows_and_lie_in_image_files(tmp_path):
    (tmp_path / "photos" / "train").mkdir(parents=True)
    for name in ("p.png", "g.png"):
        (tmp_path / "photos" / "train" / name).write_bytes(photo(7))
    line = {"id": "anna", "person_photo_file_name": "p.png", "garment_photo_file_name": "g.png"}
    (tmp_path / "photos" / "train" / "metadata.jsonl").write_text(json.dumps(line))
    (entry,) = list_photo_pairs(tmp_path / "photos")
    assert (entry.id, entry.person_id) == ("anna", "anna")
    assert entry.person.open() == tmp_path / "photos" / "train" / "p.png"


# What is refused


def test_what_is_no_source_is_refused_with_what_would_be_one(rows, tmp_path):
    (tmp_path / "notes.txt").write_text("notes")
    with pytest.raises(
        ValueError, match=r"`source` must be a folder, a data set's id or a manifest \(.csv or .jsonl\)"
    ):
        list_photo_pairs(tmp_path / "notes.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="`source` must be a folder with the subfolders person and garment, a CSV or"):
        list_photo_pairs(tmp_path / "empty")
    for missing in ("photos", "photos.csv", str(tmp_path / "missing")):
        with pytest.raises(ValueError, match=f"`source` must be a folder .*; there is nothing at {missing}."):
            list_photo_pairs(missing)
    (tmp_path / "person").mkdir()
    with pytest.raises(ValueError, match="lists no photographs"):
        list_photo_pairs(tmp_path)
    rows.remove_columns("garment_photo").save_to_disk(tmp_path / "rows")
    with pytest.raises(
        ValueError, match="must have the image columns person_photo and garment_photo; it has person_ph"
    ):
        list_photo_pairs(tmp_path / "rows")
    for name, value in (("category", "shoes"), ("garment_type", "folded")):
        with pytest.raises(ValueError, match=f"`{name}` must be one of auto, .*, got '{value}'"):
            list_photo_pairs(tmp_path, **{name: value})


def test_a_data_set_that_cannot_be_reached_is_refused(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match="as a data set me/nothing cannot be read: Couldn't reach"):
        list_photo_pairs("me/nothing")
