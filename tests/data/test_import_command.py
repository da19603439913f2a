# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""`diffusers-tryon import`: from a source's folder to shards that the validator has nothing to say about."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest
from source_trees import VITON_HD_TRAIN, dress_code_tree, viton_hd_tree

from diffusers_tryon import cli_data
from diffusers_tryon.data.importers import IMPORTERS
from diffusers_tryon.data.importers.base import build_row
from diffusers_tryon.data.importing import import_source, list_entries, rejection_reasons
from diffusers_tryon.data.parts import list_parts
from diffusers_tryon.data.validation import validate_parts


ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def viton_hd(tmp_path) -> Path:
    return viton_hd_tree(tmp_path / "a folder" / "viton-hd")


@pytest.fixture(scope="module")
def dress_code(tmp_path_factory) -> Path:
    return dress_code_tree(tmp_path_factory.mktemp("sources") / "dress-code")


def stored(folder: Path, split: str) -> list[dict]:
    return [row for path in sorted(folder.glob(f"{split}-*.parquet")) for row in parquet.read_table(path).to_pylist()]


def test_help_names_every_importer():
    assert cli_data._IMPORTERS == ", ".join(IMPORTERS)


def test_rows_are_written_whole_and_the_validator_finds_nothing(command, viton_hd):
    status, out, _ = command("import", "viton-hd", "--root", viton_hd, "--out", "rows")
    assert status == 0
    assert "VITON-HD: CC BY-NC 4.0, research only (https://github.com/shadow2496/VITON-HD)" in out
    assert "3 rows in 1 shard," in out and "rows per second" in out and "reject" not in out
    rows = stored(Path("rows"), "train")
    expected = [build_row(entry) for entry in list_entries("viton-hd", viton_hd, "train")]
    for row, wanted in zip(rows, expected, strict=True):
        assert row["id"] == wanted["id"] and row["person_id"] == wanted["person_id"]
        assert row["person_image"]["bytes"] == wanted["person_image"]
        np.testing.assert_array_equal(np.array(row["person_pose"], np.float32), wanted["person_pose"])
    assert validate_parts(list_parts("rows")).findings == []


@pytest.mark.parametrize("pairs", ["paired", "unpaired", "model-to-model"])
def test_dress_code_at_another_size(command, dress_code, pairs):
    arguments = ("--root", dress_code, "--split", "test", "--pairs", pairs, "--size", "64x64", "--out", "rows")
    assert command("import", "dress-code", *arguments)[0] == 0
    report = validate_parts(list_parts("rows"))
    assert report.findings == [] and report.rows_of("test") == 6
    assert len(stored(Path("rows"), "test")) == 6


def test_what_is_rejected_is_counted_by_reason_and_listed(command, viton_hd):
    folder = viton_hd / "train"
    (folder / "image" / f"{VITON_HD_TRAIN[0]}.jpg").unlink()
    (folder / "cloth" / f"{VITON_HD_TRAIN[2]}.jpg").unlink()
    status, out, _ = command("import", "viton-hd", "--root", viton_hd, "--out", "rows")
    assert status == 0
    assert "1 row in 1 shard," in out and "2 rows rejected" in out
    assert "       2  FILE: there is no such file" in out.splitlines()
    entries = [json.loads(line) for line in Path("rows/__rejected__/train-00000.jsonl").read_text().splitlines()]
    assert [entry["id"] for entry in entries] == [VITON_HD_TRAIN[0], VITON_HD_TRAIN[2]]
    assert str(folder / "image" / f"{VITON_HD_TRAIN[0]}.jpg") in entries[0]["error"]
    assert [row["id"] for row in stored(Path("rows"), "train")] == [VITON_HD_TRAIN[1]]


def test_reasons_are_counted_without_file_names_and_numbers(viton_hd, tmp_path):
    rejected = tmp_path / "rows" / "__rejected__"
    rejected.mkdir(parents=True)
    errors = [
        f"{viton_hd}/test/image/1.jpg: of another ratio, 3 x 4 and 5 x 6 pixels",
        f"{viton_hd}/test/image/2.jpg: of another ratio, 7 x 8 and 9 x 10 pixels",
        f"The keypoint file {viton_hd}/test/a.json is not valid JSON",
        f"{viton_hd}/test_pairs.txt, line 17: names no garment",
        "/elsewhere/parses/a.png: there is no such file",
        f"{viton_hd}/test/image/4.jpg: there is no such file",
        "Nobody was found in `a folder/with blanks/5.jpg`. It must show a person; `category` 'upper'.",
        "Nobody was found in `6.jpg`. It must show a person; `category` 'upper'.",
    ]
    (rejected / "test-00000.jsonl").write_text("".join(json.dumps({"id": "x", "error": e}) + "\n" for e in errors))
    (rejected / "train-00000.jsonl").write_text(json.dumps({"id": "x", "error": "of another split"}))
    assert dict(rejection_reasons(tmp_path / "rows", "test", viton_hd)) == {
        "FILE: of another ratio, # x # and # x # pixels": 2,
        "The keypoint file FILE is not valid JSON": 1,
        "FILE, line #: names no garment": 1,
        "FILE: there is no such file": 2,
        "Nobody was found in FILE. It must show a person; `category` 'upper'.": 2,
    }
    # A root's name may begin another word.
    (rejected / "val-00000.jsonl").write_text(json.dumps({"id": "x", "error": "ph/1.png: a photograph must be RGB"}))
    assert dict(rejection_reasons(tmp_path / "rows", "val", "ph")) == {"FILE: a photograph must be RGB": 1}


def test_nothing_imported_is_a_failure_until_the_source_is_mended(command, viton_hd, tmp_path):
    for path in (viton_hd / "train" / "openpose_json").iterdir():
        path.write_text("{}")
    status, out, _ = command("import", "viton-hd", "--root", viton_hd, "--out", "rows")
    assert status == 1
    assert "3 rows rejected" in out
    # Nor does a second call that could make nothing either count as done, nor one after the source was mended.
    assert command("import", "viton-hd", "--root", viton_hd, "--out", "rows")[0] == 1
    whole = viton_hd_tree(tmp_path / "whole")
    status, out, _ = command("import", "viton-hd", "--root", whole, "--out", "rows")
    assert status == 0 and "3 rows in 1 shard" in out and "rejected" not in out


def test_a_limit_can_be_lifted_later(command, viton_hd):
    arguments = ("import", "viton-hd", "--root", viton_hd, "--out", "rows", "--rows-per-shard", "1")
    assert "2 rows in 2 shards" in command(*arguments, "--limit", "2")[1]
    status, out, _ = command(*arguments)
    assert status == 0 and "1 row in 1 shard," in out and "2 shards found finished" in out
    assert [row["id"] for row in stored(Path("rows"), "train")] == list(VITON_HD_TRAIN)
    assert command(*arguments)[0] == 0  # all there: no failure


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("viton",), "`source` must be one of viton-hd, dress-code"),
        (("viton-hd", "--category", "upper"), "`category` is no option of viton-hd, which has pairs"),
        (("viton-hd", "--size", "256"), "`size` must be HEIGHTxWIDTH in pixels, such as 256x192, got '256'"),
        (("viton-hd", "--size", "0x192"), r"`size` must be a height and a width of at least 1, got (0, 192)"),
        (("viton-hd", "--recipe", "hr-viton"), "`recipe` must be one of paper, viton-hd, got 'hr-viton'"),
        (("viton-hd", "--pairs", "unpaired"), "`pairs` must be paired for the split train"),
        (("viton-hd", "--split", "validation"), "`split` must be one of train, test, got 'validation'"),
        (("dress-code",), "`root` must be a folder of DressCode"),
        (("viton-hd", "--root", "nowhere"), "`root` must be the folder of VITON-HD, there is none at nowhere"),
    ],
)
def test_bad_arguments_end_in_one_line(command, viton_hd, arguments, message):
    status, _, err = command("import", arguments[0], "--root", viton_hd, "--out", "rows", *arguments[1:])
    assert status == 1
    assert message in err and err.count("\n") == 1
    assert not Path("rows").exists()


def test_an_empty_list_is_refused(command, viton_hd):
    (viton_hd / "train_pairs.txt").write_text("\n \n")
    status, _, err = command("import", "viton-hd", "--root", viton_hd, "--out", "rows")
    assert status == 1 and "lists nothing for the split train" in err


@pytest.mark.parametrize("option", [("--recipe", "viton-hd"), ("--size", "64x48")])
def test_other_options_in_the_same_folder_are_refused(command, viton_hd, option):
    assert command("import", "viton-hd", "--root", viton_hd, "--out", "rows")[0] == 0
    status, _, err = command("import", "viton-hd", "--root", viton_hd, "--out", "rows", *option)
    assert status == 1 and "already holds other rows" in err


def test_two_processes_write_what_one_writes(dress_code, tmp_path):
    for index in range(2):
        import_source(
            "dress-code", dress_code, tmp_path / "two", rows_per_shard=2, process_index=index, num_processes=2
        )
    import_source("dress-code", dress_code, tmp_path / "one", rows_per_shard=2)
    files = {path.name: path.read_bytes() for path in (tmp_path / "one").glob("*.parquet")}
    assert len(files) == 3
    assert {path.name: path.read_bytes() for path in (tmp_path / "two").glob("*.parquet")} == files


@pytest.mark.slow
def test_accelerate_launches_it_on_two_processes_of_two_workers(dress_code, tmp_path):
    # The flag makes accelerate start processes; a GPU need not be there.
    launch = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--main_process_port", "0"]
    launch += ["-m", "diffusers_tryon", "import", "dress-code", "--root", str(dress_code), "--out", "two"]
    launch += ["--rows-per-shard", "2", "--workers", "2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *launch], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "process 0 of 2: 4 rows in 2 shards" in done.stdout and "process 1 of 2: 2 rows in 1 shard" in done.stdout
    import_source("dress-code", dress_code, tmp_path / "one", rows_per_shard=2)
    files = {path.name: path.read_bytes() for path in (tmp_path / "one").glob("*.parquet")}
    assert {path.name: path.read_bytes() for path in (tmp_path / "two").glob("*.parquet")} == files
