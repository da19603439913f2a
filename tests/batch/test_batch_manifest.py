# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Manifests of a batch: which pictures their lines ask for, and which lines ask for none."""

import json
from pathlib import Path

import pytest

from diffusers_tryon.batch.manifest import GarmentInput, PersonInput, list_rows


PEOPLE = "id,agnostic_image,person_pose\n"


def listed(tmp_path: Path, text: str, name: str = "rows.csv", **options):
    path = tmp_path / name
    path.write_text(text)
    return list_rows(path, **options)


def test_pairs_are_sorted_by_garment_and_keep_their_order_within(tmp_path):
    manifest = listed(
        tmp_path,
        "id,person_photo,garment_photo\n1,anna.jpg,red.jpg\n2,bert.jpg,blue.jpg\n3,cleo.jpg,red.jpg\n",
    )
    assert [row.id for row in manifest.rows] == ["1", "3", "2"] and not manifest.unusable
    assert manifest.rows[0].garment == manifest.rows[1].garment == GarmentInput("red.jpg")
    assert manifest.path("anna.jpg") == tmp_path / "anna.jpg" and manifest.path("/x/a.jpg") == Path("/x/a.jpg")


def test_all_pairs_are_every_person_in_every_garment(tmp_path):
    lines = [
        {"person_id": "anna", "agnostic_image": "a.png", "agnostic_mask": "m.png", "person_pose": "a.json"},
        {"id": "bert", "person_photo": "b.jpg", "person_index": 1},
        {"garment_id": "shirt", "garment_image": "s.png", "garment_pose": "s.json", "category": "upper"},
        {"id": "dress", "garment_photo": "d.jpg", "category": "dress", "garment_type": "flat"},
        # Again, beside a person: no second garment.
        {"person_id": "anna", "agnostic_image": "a.png", "agnostic_mask": "m.png", "person_pose": "a.json",
         "garment_id": "dress", "garment_photo": "d.jpg", "category": "dress", "garment_type": "flat"},
    ]  # fmt: skip
    manifest = listed(tmp_path, "\n".join(map(json.dumps, lines)), "rows.jsonl", all_pairs=True)
    assert [row.id for row in manifest.rows] == ["anna__shirt", "bert__shirt", "anna__dress", "bert__dress"]
    assert not manifest.unusable
    row = manifest.rows[3]
    assert (row.person_id, row.garment_id) == ("bert", "dress")
    assert row.person == PersonInput(photo="b.jpg", index=1)
    assert row.garment == GarmentInput("d.jpg", category="dress", garment_type="flat")
    assert manifest.rows[0].person == PersonInput(agnostic_image="a.png", agnostic_mask="m.png", pose="a.json")
    limited = listed(tmp_path, "\n".join(map(json.dumps, lines)), "rows.jsonl", all_pairs=True, limit=3)
    assert [row.id for row in limited.rows] == ["anna__shirt", "bert__shirt", "anna__dress"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({"person_photo": "p", "garment_photo": "g"}, "line 2: id or person_id is missing"),
        ({"id": "x", "person_photo": "p"}, "line 2: no garment is named"),
        ({"id": "x", "garment_photo": "g"}, "line 2: no person is named"),
        ({"id": "../x", "person_photo": "p", "garment_photo": "g"}, "must be able to name a file"),
        ({"id": "x" * 201, "person_photo": "p", "garment_photo": "g"}, "must be able to name a file"),
        ({"id": "x", "person_photo": "p", "agnostic_image": "a", "garment_photo": "g"}, "agnostic_image does not go"),
        ({"id": "x", "agnostic_image": "a", "garment_photo": "g"}, "person_pose is missing, or person_photo"),
        ({"id": "x", "person_photo": "p", "garment_pose": "g"}, "garment_image is missing, or garment_photo"),
        ({"id": "x", "person_photo": "p", "person_index": "-1", "garment_photo": "g"}, "person_index must be a number"),
        ({"id": "x", "person_photo": "p", "garment_image": "g"}, "category is missing"),
        ({"id": "x", "person_photo": "p", "garment_photo": "g", "category": "hat"}, "`category` must be one of"),
        ({"id": "GOOD", "person_photo": "p", "garment_photo": "g"}, "listed before"),
    ],
)  # fmt: skip
def test_a_bad_line_does_not_stop_the_others(tmp_path, line, reason):
    good = {"id": "good", "person_photo": "p.jpg", "garment_photo": "g.jpg"}
    manifest = listed(tmp_path, f"{json.dumps(good)}\n{json.dumps(line)}\n", "rows.jsonl")
    assert [row.id for row in manifest.rows] == ["good"]
    assert len(manifest.unusable) == 1 and reason in manifest.unusable[0].reason


def test_one_name_for_two_people_is_refused_and_the_first_stays(tmp_path):
    text = "id,person_photo,garment_photo\nanna,a.jpg,\nanna,b.jpg,\nshirt,,s.jpg\n"
    manifest = listed(tmp_path, text, all_pairs=True)
    assert [row.person.photo for row in manifest.rows] == ["a.jpg"]
    assert "line 3: person_id 'anna' was another one before" in manifest.unusable[0].reason


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("rows.txt", "", "must be a file that ends in .csv or .jsonl"),
        ("rows.csv", "id,person_foto\n", "unknown column 'person_foto'; a manifest may have id, person_id"),
        ("rows.csv", "id,person_photo,garment_photo\n", "lists no pairs"),
        ("rows.jsonl", "{", "line 1: is not valid JSON"),
    ],
)
def test_what_is_no_manifest_is_refused(tmp_path, name, text, message):
    with pytest.raises(ValueError, match=message):
        listed(tmp_path, text, name)


def test_people_without_garments_are_nothing_to_do(tmp_path):
    with pytest.raises(ValueError, match="lists no people or no garments"):
        listed(tmp_path, PEOPLE + "anna,a.png,a.json\n", all_pairs=True)
