# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Whole data sets: rendered pools are good, planted problems are found with their row and taken out by --fix."""

import io
import json
import os
import shutil
import signal
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from datasets import load_dataset
from PIL import Image
from typer.testing import CliRunner

from diffusers_tryon.cli import app
from diffusers_tryon.data.parts import ImageFolderPart, ParquetPart, StoredRow, WebDatasetPart, list_parts
from diffusers_tryon.data.quarantine import quarantine
from diffusers_tryon.data.row_checks import BAD_KEYPOINTS, MISSING_IMAGE, UNREADABLE_IMAGE
from diffusers_tryon.data.validation import (
    DUPLICATED_ID,
    LEAKED_TEST_ROW,
    UNREADABLE_FILE,
    Finding,
    validate_parts,
)
from diffusers_tryon.rendering.writer import write_pairs


SIZE = 32
IMAGES = ("person_image", "agnostic_image", "agnostic_mask", "garment_image", "person_parse")


@pytest.fixture(scope="module")
def clean_pool(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pool")
    write_pairs(folder, count=6, size=SIZE, rows_per_shard=3)
    write_pairs(folder, count=2, size=SIZE, split="test")
    return folder


@pytest.fixture
def pool(clean_pool, tmp_path):
    return Path(shutil.copytree(clean_pool, tmp_path / "pool"))


def change(shard: Path, column: str, row: int, value) -> None:
    """Put `value` into one place of a Parquet shard."""
    table = parquet.ParquetFile(shard).read()
    old = table.column(column).combine_chunks()
    storage = old.storage if isinstance(old, pa.ExtensionArray) else old
    values = storage.to_pylist()
    values[row] = value
    new = pa.array(values, type=storage.type)
    if isinstance(old, pa.ExtensionArray):
        new = pa.ExtensionArray.from_storage(old.type, new)
    position = table.schema.get_field_index(column)
    parquet.write_table(table.set_column(position, table.schema.field(position), new), shard)


def stored_values(shard: Path, column: str) -> list:
    array = parquet.ParquetFile(shard).read().column(column).combine_chunks()
    return (array.storage if isinstance(array, pa.ExtensionArray) else array).to_pylist()


def places(findings: list[Finding]) -> list[tuple]:
    return [(finding.part, finding.row, finding.kind) for finding in findings]


def validate(folder: Path, **options):
    return validate_parts(list_parts(folder), **options)


def test_a_rendered_pool_is_good_whatever_the_number_of_workers(pool):
    for workers in (1, 2):
        report = validate(pool, workers=workers)
        assert report.findings == []
        assert (report.rows_of("train"), report.rows_of("test")) == (6, 2)


@dataclass(frozen=True)
class DeadlyPart:
    """Reading it kills the process, as a system short of memory does."""

    split: str = "train"
    name: str = "deadly"

    def rows(self) -> Iterator[StoredRow]:
        os.kill(os.getpid(), signal.SIGKILL)
        return iter(())


def test_a_killed_worker_is_an_error_and_not_waited_for():
    with pytest.raises(ChildProcessError, match="A worker process was killed.*Call again, with fewer workers"):
        validate_parts([DeadlyPart()], workers=2)


def test_problems_come_with_file_row_and_id_in_order(pool):
    first, second = pool / "train-00000.parquet", pool / "train-00001.parquet"
    ids = stored_values(first, "id") + stored_values(second, "id")
    change(second, "garment_image", 1, {"bytes": b"no picture", "path": None})
    change(first, "person_image", 2, {"bytes": None, "path": "/elsewhere/person.png"})
    pose = stored_values(first, "person_pose")[0]
    change(first, "person_pose", 0, pose[:17])
    report = validate(pool)
    assert places(report.findings) == [
        ("train-00000.parquet", 0, BAD_KEYPOINTS),
        ("train-00000.parquet", 2, MISSING_IMAGE),
        ("train-00001.parquet", 1, UNREADABLE_IMAGE),
    ]
    assert [finding.id for finding in report.findings] == [ids[0], ids[2], ids[4]]
    assert report.bad_rows("train") == 3 and report.bad_rows("test") == 0
    assert str(report.findings[1]) == (
        f"train-00000.parquet row 2 ({ids[2]}): missing image: `person_image` is missing."
    )


def test_duplicated_ids_within_a_split(pool):
    first, second = pool / "train-00000.parquet", pool / "train-00001.parquet"
    change(second, "id", 2, stored_values(first, "id")[1])
    findings = validate(pool).findings
    assert places(findings) == [("train-00001.parquet", 2, DUPLICATED_ID)]
    assert "train-00000.parquet row 1" in findings[0].message


@pytest.mark.parametrize("column", ["id", "person_id", "garment_id", "person_image"])
def test_test_rows_in_the_training_split(pool, column):
    # The same id, or the same picture under another id.
    test_value = stored_values(pool / "test-00000.parquet", column)[1]
    change(pool / "train-00001.parquet", column, 0, test_value)
    if column == "person_image":
        for name in ("agnostic_image", "agnostic_mask", "person_parse"):
            change(pool / "train-00001.parquet", name, 0, stored_values(pool / "test-00000.parquet", name)[1])
    findings = [finding for finding in validate(pool).findings if finding.kind == LEAKED_TEST_ROW]
    assert places(findings) == [("train-00001.parquet", 0, LEAKED_TEST_ROW)]
    assert f"`{column}` is also that of test-00000.parquet row 1" in findings[0].message


def test_a_truncated_shard_is_one_problem_and_the_others_are_checked(pool):
    shard = pool / "train-00000.parquet"
    shard.write_bytes(shard.read_bytes()[:-50])
    change(pool / "train-00001.parquet", "person_image", 0, {"bytes": None, "path": None})
    findings = validate(pool).findings
    assert places(findings) == [
        ("train-00000.parquet", None, UNREADABLE_FILE),
        ("train-00001.parquet", 0, MISSING_IMAGE),
    ]


def test_fix_moves_bad_rows_into_the_quarantine_and_nothing_is_lost(pool, tmp_path):
    first = pool / "train-00000.parquet"
    ids, before = stored_values(first, "id"), (pool / "train-00001.parquet").read_bytes()
    change(first, "person_image", 1, {"bytes": None, "path": "gone.png"})
    parts = list_parts(pool)
    assert quarantine(pool, parts, validate_parts(parts)) == 1

    assert stored_values(first, "id") == [ids[0], ids[2]]
    assert (pool / "train-00001.parquet").read_bytes() == before
    (place,) = (pool / "__quarantine__").glob("*.parquet")
    assert stored_values(place, "id") == [ids[1]]
    (entry,) = [json.loads(line) for line in (pool / "__quarantine__" / "train.jsonl").read_text().splitlines()]
    assert (entry["id"], entry["file"], entry["row"]) == (ids[1], "train-00000.parquet", 1)
    assert [problem["kind"] for problem in entry["problems"]] == [MISSING_IMAGE]
    assert entry["rows_in"] == place.name

    assert validate(pool).findings == []
    loaded = load_dataset(str(pool), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded["id"] == [ids[0], ids[2], *stored_values(pool / "train-00001.parquet", "id")]
    # What is bad later goes beside what was bad before.
    change(first, "person_image", 0, {"bytes": None, "path": "gone.png"})
    parts = list_parts(pool)
    quarantine(pool, parts, validate_parts(parts))
    assert len(list((pool / "__quarantine__").glob("*.parquet"))) == 2
    assert len((pool / "__quarantine__" / "train.jsonl").read_text().splitlines()) == 2


def test_fix_of_a_shard_without_good_rows_and_of_a_broken_one(pool, tmp_path):
    for row in range(3):
        change(pool / "train-00000.parquet", "person_image", row, {"bytes": None, "path": None})
    broken = (pool / "test-00000.parquet").read_bytes()[:-50]
    (pool / "test-00000.parquet").write_bytes(broken)
    parts = list_parts(pool)
    assert quarantine(pool, parts, validate_parts(parts)) == 4
    assert validate(pool).findings == []
    assert len(load_dataset(str(pool), split="train", cache_dir=str(tmp_path / "cache"))) == 3
    (place,) = (pool / "__quarantine__").glob("test*.parquet")
    assert place.read_bytes() == broken
    # What was taken out is not rendered again.
    before = (pool / "train-00000.parquet").read_bytes()
    write_pairs(pool, count=6, size=SIZE, rows_per_shard=3)
    assert (pool / "train-00000.parquet").read_bytes() == before


def plain_columns(row: StoredRow) -> dict:
    """A row as JSON takes it, with images left out."""
    return {name: value for name, value in row.columns.items() if not isinstance(value, dict)}


def as_image_folder(pool: Path, folder: Path) -> Path:
    """The training rows of a pool in the imagefolder layout, written by hand."""
    split = folder / "train"
    split.mkdir(parents=True)
    lines = []
    for shard in sorted(pool.glob("train-*.parquet")):
        for row in ParquetPart("train", shard.name, shard).rows():
            columns = plain_columns(row)
            for name in IMAGES:
                columns[f"{name}_file_name"] = f"{row.columns['id']}.{name}.png"
                (split / columns[f"{name}_file_name"]).write_bytes(row.columns[name]["bytes"])
            lines.append(json.dumps(columns) + "\n")
    (split / "metadata.jsonl").write_text("".join(lines))
    return folder


def as_web_dataset(pool: Path, folder: Path) -> Path:
    """The training rows of a pool in the WebDataset layout, written by hand."""
    folder.mkdir()
    with tarfile.open(folder / "train-00000.tar", "w") as archive:
        for shard in sorted(pool.glob("train-*.parquet")):
            for row in ParquetPart("train", shard.name, shard).rows():
                members = {f"{name}.png": row.columns[name]["bytes"] for name in IMAGES}
                members["json"] = json.dumps(plain_columns(row)).encode()
                for name, content in members.items():
                    member = tarfile.TarInfo(f"{row.columns['id']}.{name}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
    return folder


def test_an_image_folder(pool, tmp_path):
    folder = as_image_folder(pool, tmp_path / "images")
    (part,) = list_parts(folder)
    assert isinstance(part, ImageFolderPart) and part.split == "train"
    assert validate(folder).findings == []

    metadata = folder / "train" / "metadata.jsonl"
    lines = metadata.read_text().splitlines(keepends=True)
    ids = [json.loads(line)["id"] for line in lines]
    (folder / "train" / f"{ids[1]}.person_image.png").unlink()
    metadata.write_text("".join([*lines[:3], lines[3][:40] + "\n", *lines[4:]]))
    findings = validate(folder).findings
    assert places(findings) == [
        ("train/metadata.jsonl", 1, MISSING_IMAGE),
        ("train/metadata.jsonl", 3, "unreadable row"),
    ]
    assert quarantine(folder, list_parts(folder), validate(folder)) == 2
    assert metadata.read_text().splitlines(keepends=True) == [lines[0], lines[2], *lines[4:]]
    assert validate(folder).findings == []
    loaded = load_dataset("imagefolder", data_dir=str(folder), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded["id"] == [ids[0], ids[2], ids[4], ids[5]]


@pytest.mark.parametrize("replaced", [0, 1])
@pytest.mark.parametrize("layout", ["parquet", "imagefolder", "webdataset"])
def test_fix_interrupted_at_any_place_loses_no_row(pool, tmp_path, monkeypatch, layout, replaced):
    change(pool / "train-00000.parquet", "garment_image", 1, {"bytes": b"no picture", "path": None})
    convert = {"imagefolder": as_image_folder, "webdataset": as_web_dataset}.get(layout, lambda pool, folder: pool)
    folder = convert(pool, tmp_path / "rows")

    def ids(parts) -> list[str]:
        return [row.columns["id"] for part in parts for row in part.rows()]

    parts = list_parts(folder)
    before, report = ids(parts), validate(folder)
    calls = []

    def replace(source, target):
        if len(calls) == replaced:
            raise KeyboardInterrupt
        calls.append(shutil.move(source, target))

    with monkeypatch.context() as context:
        context.setattr(os, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            quarantine(folder, parts, report)
    assert ids(parts) == before  # the last step is that the file gets its place
    assert quarantine(folder, list_parts(folder), validate(folder)) == 1
    bad = report.findings[0].id
    assert ids(list_parts(folder)) == [name for name in before if name != bad]


def test_rows_for_the_sheet_are_good_and_drawn_by_the_seed(pool):
    change(pool / "train-00000.parquet", "person_image", 1, {"bytes": b"no picture", "path": None})
    report = validate(pool)
    assert report.draw_good_rows(100, seed=0) == {
        "test-00000.parquet": [0, 1],
        "train-00000.parquet": [0, 2],
        "train-00001.parquet": [0, 1, 2],
    }
    draws = [report.draw_good_rows(3, seed) for seed in range(20)]
    assert all(sum(map(len, draw.values())) == 3 for draw in draws)
    drawn = {(part, row) for draw in draws for part, rows in draw.items() for row in rows}
    assert len(drawn) == 7 and ("train-00000.parquet", 1) not in drawn
    assert draws[0] == report.draw_good_rows(3, 0) and any(draw != draws[0] for draw in draws)


def test_lines_of_an_image_folder_that_are_no_rows(pool, tmp_path):
    folder = as_image_folder(pool, tmp_path / "images")
    metadata = folder / "train" / "metadata.jsonl"
    rows = [json.loads(line) for line in metadata.read_text().splitlines()]
    # Ends of lines for text, but none for JSON lines.
    rows[0]["id"] = "a\u2028b\x85c"
    rows[2]["person_image_file_name"] = 5
    lines = [json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows]
    lines[1], lines[4] = b"[1, 2]\n", b'{"id": "\xff"}\n'
    metadata.write_bytes(b"".join(lines))
    report = validate(folder)
    assert places(report.findings) == [
        ("train/metadata.jsonl", 1, "unreadable row"),
        ("train/metadata.jsonl", 2, MISSING_IMAGE),
        ("train/metadata.jsonl", 4, "unreadable row"),
    ]
    assert quarantine(folder, list_parts(folder), report) == 3
    assert metadata.read_bytes() == lines[0] + lines[3] + lines[5]
    assert (folder / "__quarantine__" / "train-metadata.1.jsonl").read_bytes() == lines[1] + lines[2] + lines[4]


def test_a_member_of_a_tar_that_is_no_json_is_the_problem_of_its_row(pool, tmp_path):
    folder = as_web_dataset(pool, tmp_path / "tars")
    archive = folder / "train-00000.tar"
    rows = list(list_parts(folder)[0].rows())
    content = archive.read_bytes()
    for row in rows[1], rows[3]:
        position = content.index(b'{"id": "' + row.columns["id"].encode())
        content = content[:position] + b"[" + content[position + 1 :]
    archive.write_bytes(content)
    report = validate(folder)
    assert places(report.findings) == [(archive.name, number, "unreadable row") for number in (1, 3)]
    assert quarantine(folder, list_parts(folder), report) == 2
    kept = [row.columns["id"] for row in list_parts(folder)[0].rows()]
    assert kept == [rows[number].columns["id"] for number in (0, 2, 4, 5)]


def test_foreign_columns_are_problems_of_their_rows(tmp_path):
    table = pa.table({"id": ["a", "b"], "person_image": ["a.png", "b.png"], "agnostic_image": [None, None]})
    parquet.write_table(table, tmp_path / "train-00000.parquet")
    found = places(validate(tmp_path).findings)
    for number in (0, 1):
        assert ("train-00000.parquet", number, UNREADABLE_IMAGE) in found
        assert ("train-00000.parquet", number, MISSING_IMAGE) in found


def test_a_web_dataset(pool, tmp_path):
    folder = as_web_dataset(pool, tmp_path / "tars")
    (part,) = list_parts(folder)
    assert isinstance(part, WebDatasetPart) and part.split == "train"
    assert validate(folder).findings == []
    rows = list(part.rows())
    archive = folder / "train-00000.tar"

    content = archive.read_bytes()
    position = content.index(rows[2].columns["garment_image"]["bytes"])
    archive.write_bytes(content[:position] + bytes(8) + content[position + 8 :])
    assert places(validate(folder).findings) == [("train-00000.tar", 2, UNREADABLE_IMAGE)]
    assert quarantine(folder, list_parts(folder), validate(folder)) == 1
    assert validate(folder).findings == []
    kept = [row.columns["id"] for row in list_parts(folder)[0].rows()]
    assert kept == [row.columns["id"] for row in rows if row.number != 2]

    # Cut short in the middle of a picture.
    content = archive.read_bytes()
    archive.write_bytes(content[: content.index(rows[4].columns["person_image"]["bytes"]) + 20])
    assert (archive.name, None, UNREADABLE_FILE) in places(validate(folder).findings)


def test_folders_without_a_data_set(tmp_path):
    with pytest.raises(ValueError, match="there is none at"):
        list_parts(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="must hold Parquet shards"):
        list_parts(tmp_path)


def test_the_command_reports_fixes_and_draws(pool, tmp_path):
    sheet, report = tmp_path / "sheet.png", tmp_path / "new" / "problems.jsonl"
    runner = CliRunner()
    result = runner.invoke(app, ["validate", str(pool), "--sheet", str(sheet)])
    assert result.exit_code == 0, result.output
    with Image.open(sheet) as picture:
        assert np.asarray(picture.convert("RGB")).std() > 20

    change(pool / "train-00000.parquet", "person_image", 1, {"bytes": None, "path": None})
    result = runner.invoke(app, ["validate", str(pool), "--report", str(report), "--fix"])
    assert result.exit_code == 1
    assert "train-00000.parquet row 1 (" in result.output and "missing image" in result.output
    assert "moved 1 row" in result.output
    (entry,) = [json.loads(line) for line in report.read_text().splitlines()]
    assert (entry["part"], entry["row"], entry["kind"]) == ("train-00000.parquet", 1, MISSING_IMAGE)
    assert runner.invoke(app, ["validate", str(pool)]).exit_code == 0
