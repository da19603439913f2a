# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Source trees checked before they are imported: every planted problem is found under its name, and no other."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from source_trees import VITON_HD_TEST, VITON_HD_TRAIN, viton_hd_tree
from typer.testing import CliRunner

from diffusers_tryon.cli import app
from diffusers_tryon.data.row_checks import (
    BAD_KEYPOINTS,
    EMPTY_GARMENT,
    MISSING_FILE,
    NO_KEYPOINTS,
    SIZE_MISMATCH,
    UNKNOWN_LABEL,
    UNREADABLE_IMAGE,
    WRONG_MODE,
)
from diffusers_tryon.data.source_parts import source_parts
from diffusers_tryon.data.validation import LEAKED_TEST_ROW, validate_parts


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    return viton_hd_tree(tmp_path_factory.mktemp("sources") / "viton-hd")


@pytest.fixture
def own_tree(tree, tmp_path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(tree, tmp_path / "viton-hd"))


def findings(root: Path, **options) -> list[tuple[str, int, str]]:
    report = validate_parts(source_parts("viton-hd", root, options)[0])
    return [(finding.split, finding.row, finding.kind) for finding in report.findings]


def test_a_good_tree_has_no_findings(tree):
    report = validate_parts(source_parts("viton-hd", tree)[0])
    assert report.findings == []
    assert report.rows_of("train") == len(VITON_HD_TRAIN) and report.rows_of("test") == len(VITON_HD_TEST)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def to_gray(path: Path) -> None:
    Image.open(path).convert("L").save(path)


def cut_off_a_row(path: Path) -> None:
    image = Image.open(path)
    image.crop((0, 0, image.width, image.height * 3 // 4)).save(path)


def put_unknown_label(path: Path) -> None:
    image = Image.open(path)
    image.putpixel((0, 0), 77)
    image.save(path)


def blacken(path: Path) -> None:
    Image.fromarray(np.zeros_like(np.asarray(Image.open(path)))).save(path)


@pytest.mark.parametrize(
    "file, spoil, kind",
    [
        ("image/{}.jpg", Path.unlink, MISSING_FILE),
        ("openpose_json/{}_keypoints.json", Path.unlink, MISSING_FILE),
        ("cloth/{}.jpg", truncate, UNREADABLE_IMAGE),
        ("image/{}.jpg", to_gray, WRONG_MODE),
        ("image-parse-v3/{}.png", cut_off_a_row, SIZE_MISMATCH),
        ("image-parse-v3/{}.png", put_unknown_label, UNKNOWN_LABEL),
        ("cloth-mask/{}.jpg", blacken, EMPTY_GARMENT),
        ("openpose_json/{}_keypoints.json", lambda path: path.write_text('{"people": []}'), NO_KEYPOINTS),
        ("openpose_json/{}_keypoints.json", lambda path: path.write_text("{"), BAD_KEYPOINTS),
    ],
)
def test_planted_problems(own_tree, file, spoil, kind):
    spoil(own_tree / "train" / file.format(VITON_HD_TRAIN[1]))
    assert findings(own_tree) == [("train", 1, kind)]


def test_a_test_picture_among_the_training_ones(own_tree):
    # Copied under another name, with everything that belongs to it.
    for path in (own_tree / "test").rglob(f"{VITON_HD_TEST[0]}*"):
        place = own_tree / "train" / path.relative_to(own_tree / "test")
        shutil.copy(path, place.with_name(place.name.replace(VITON_HD_TEST[0], "99999_00")))
    with open(own_tree / "train_pairs.txt", "a") as file:
        file.write("\n99999_00.jpg 99999_00.jpg\n")
    assert findings(own_tree) == [("train", len(VITON_HD_TRAIN), LEAKED_TEST_ROW)]


def test_a_folder_in_a_photographs_place_hides_no_other_entry(own_tree):
    first, second, *_ = VITON_HD_TRAIN
    photo = own_tree / "train" / "image" / f"{first}.jpg"
    photo.unlink()
    photo.mkdir()
    (own_tree / "train" / "image" / f"{second}.jpg").unlink()
    assert findings(own_tree) == [("train", 0, UNREADABLE_IMAGE), ("train", 1, MISSING_FILE)]


def test_a_split_that_cannot_be_listed_is_named(own_tree):
    (own_tree / "train_pairs.txt").write_bytes(b"\xff\xfe")
    parts, unlisted = source_parts("viton-hd", own_tree)
    assert {part.split for part in parts} == {"test"}
    assert list(unlisted) == ["train"] and "is no text file" in unlisted["train"]
    result = CliRunner().invoke(app, ["validate", str(own_tree), "--source", "viton-hd"])
    assert "not checked: the split train" in result.output


def test_an_entry_that_is_no_row_is_reported_once(own_tree):
    name = VITON_HD_TRAIN[0]
    for split in "train", "test":
        with open(own_tree / f"{split}_pairs.txt", "a") as file:
            file.write("\nnowhere.jpg nowhere.jpg\n")
    with open(own_tree / "train_pairs.txt", "a") as file:
        file.write(f"{name}.jpg {name}.jpg\n")
    assert findings(own_tree) == [
        ("train", len(VITON_HD_TRAIN), MISSING_FILE),
        ("train", len(VITON_HD_TRAIN) + 1, "unusable entry"),
        ("test", len(VITON_HD_TEST), MISSING_FILE),
    ]


def test_a_test_that_is_the_training(own_tree):
    shutil.copytree(own_tree / "train", own_tree / "test", dirs_exist_ok=True)
    shutil.copy(own_tree / "train_pairs.txt", own_tree / "test_pairs.txt")
    assert findings(own_tree) == [("train", row, LEAKED_TEST_ROW) for row in range(len(VITON_HD_TRAIN))]


def test_what_a_source_does_not_have_is_named(tree, tmp_path):
    with pytest.raises(ValueError, match="`source` must be one of"):
        source_parts("vitonhd", tree)
    with pytest.raises(ValueError, match="there is none at"):
        source_parts("viton-hd", tmp_path / "nowhere")
    with pytest.raises(ValueError, match="`colour` is no option of viton-hd"):
        source_parts("viton-hd", tree, {"colour": "red"})


def test_the_command_checks_a_source(own_tree, tmp_path):
    runner = CliRunner()
    sheet = tmp_path / "sheet.png"
    command = ["validate", str(own_tree), "--source", "viton-hd"]
    result = runner.invoke(app, [*command, "--sheet", str(sheet)])
    assert result.exit_code == 0, result.output
    assert sheet.is_file()
    (own_tree / "train" / "image" / f"{VITON_HD_TRAIN[0]}.jpg").unlink()
    result = runner.invoke(app, command)
    assert result.exit_code == 1
    assert "missing file" in result.output and f"{VITON_HD_TRAIN[0]}.jpg" in result.output
    # Of the test rows alone: the training rows have no such pairs.
    assert runner.invoke(app, [*command, "--pairs", "unpaired"]).exit_code == 0
    for options, message in (
        ([*command, "--fix"], "--fix is for data sets"),
        (["validate", str(own_tree), "--label-map", "atr"], "--label-map belongs to a source"),
    ):
        result = runner.invoke(app, options)
        assert isinstance(result.exception, ValueError) and message in str(result.exception)


def test_one_manifest_is_not_checked_once_for_every_split(tree, tmp_path):
    name = VITON_HD_TRAIN[0]
    files = {
        "person_image": f"image/{name}.jpg",
        "person_parse": f"image-parse-v3/{name}.png",
        "person_pose": f"openpose_json/{name}_keypoints.json",
        "garment_image": f"cloth/{name}.jpg",
        "garment_mask": f"cloth-mask/{name}.jpg",
    }
    line = {"id": "a", "category": "upper", "label_map": "cihp", "pose_format": "openpose", **files}
    (tmp_path / "mine.jsonl").write_text(json.dumps(line))
    parts, unlisted = source_parts("manifest", tree / "train", {"manifest": tmp_path / "mine.jsonl"})
    assert unlisted == {}
    report = validate_parts(parts)
    assert report.findings == []
    assert sum(report.rows.values()) == 1
