# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""`diffusers-tryon batch` from end to end, with a tiny cascade on prepared conditions: the pictures are those of single
calls, whatever batch they are made in, and neither bad rows nor interruptions lose one."""

import csv
import functools
import json
import os
import signal
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_cascade import BASE_SIZE, SR_SIZE, tiny_cascade

from diffusers_tryon import TryOnCascadePipeline
from diffusers_tryon.batch.generation import noise_seed
from diffusers_tryon.models.unet_parallel import ParallelUNetModel
from diffusers_tryon.poses import save_pose


ROOT = Path(__file__).parents[2]
PEOPLE, GARMENTS = ("anna", "bert", "cleo"), ("shirt", "dress")
SHORT = ["--steps", "2", "--sr-steps", "1"]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """As launchers have it: the number of threads may move the last bits of a picture."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny_cascade().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Path:
    """Three people, two of them with a mask, and two garments, one of them worn: prepared conditions of noise."""
    folder, random = tmp_path_factory.mktemp("conditions"), np.random.default_rng(0)

    def write_picture(name: str) -> str:
        Image.fromarray(random.integers(0, 256, (SR_SIZE, SR_SIZE, 3), np.uint8)).save(folder / name)
        return name

    def write_pose(name: str) -> str:
        save_pose(np.append(random.uniform(0.1, 0.9, (18, 2)), np.ones((18, 1)), axis=1), folder / name)
        return name

    lines = []
    for number, name in enumerate(PEOPLE):
        line = {"id": name, "agnostic_image": write_picture(f"{name}.png"), "person_pose": write_pose(f"{name}.json")}
        if number:
            mask = np.zeros((SR_SIZE, SR_SIZE), np.uint8)
            mask[8:] = 255
            Image.fromarray(mask).save(folder / f"{name}_mask.png")
            line["agnostic_mask"] = f"{name}_mask.png"
        lines.append(line)
    lines += [
        {"id": "shirt", "garment_image": write_picture("shirt.png"), "garment_pose": write_pose("shirt.json")},
        {"id": "dress", "garment_image": write_picture("dress.png")},
    ]
    path = folder / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


@pytest.fixture(scope="module")
def arguments(manifest, model) -> list:
    return ["batch", manifest, "--all-pairs", "--model", model, *SHORT]


@pytest.fixture
def whole(command, arguments, tmp_path) -> Path:
    """A finished batch in chunks of two, one of which has both garments' rows."""
    status, out, err = command(*arguments, "--batch-size", 2, "--out", tmp_path / "whole")
    assert status == 0, err
    assert "6 pictures made, 6 in" in out and "try-on: 100%" in err
    return tmp_path / "whole"


def pictures(folder: Path) -> dict[str, np.ndarray]:
    return {path.stem: np.asarray(Image.open(path)).astype(int) for path in sorted((folder / "pictures").iterdir())}


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], tolerance: int = 1) -> None:
    """Equal within rounding: pictures of 8 bits may differ by one grey level."""
    assert found.keys() == expected.keys()
    for name, picture in expected.items():
        assert np.abs(found[name] - picture).max() <= tolerance, name


def test_pictures_are_those_of_single_calls(whole, command, manifest, model, tmp_path):
    assert sorted(pictures(whole)) == sorted(f"{person}__{garment}" for person in PEOPLE for garment in GARMENTS)
    results = {line["id"]: line for line in table(whole / "results.csv")}
    assert list(results) == [f"{person}__{garment}" for garment in GARMENTS for person in PEOPLE]
    line = results["bert__shirt"]
    assert (line["person_id"], line["garment_id"], line["picture"]) == ("bert", "shirt", "pictures/bert__shirt.png")
    assert float(line["seconds"]) > 0 and table(whole / "failures.csv") == []
    # The table's seed is that of the command for one picture.
    folder = manifest.parent
    options = {
        "agnostic-image": "bert.png", "person-pose": "bert.json", "agnostic-mask": "bert_mask.png",
        "garment-image": "shirt.png", "garment-pose": "shirt.json",
    }  # fmt: skip
    words = [word for name, file in options.items() for word in (f"--{name}", folder / file)]
    status, _, err = command(
        "run", *words, "--model", model, *SHORT, "--seed", line["seed"], "--out", tmp_path / "one.png"
    )
    assert status == 0, err
    single = np.asarray(Image.open(tmp_path / "one.png")).astype(int)
    assert_same({"bert__shirt": pictures(whole)["bert__shirt"]}, {"bert__shirt": single})
    assert np.array_equal(single[:8], np.asarray(Image.open(folder / "bert.png"))[:8])
    others = [picture for name, picture in pictures(whole).items() if name != "bert__shirt"]
    assert min(np.abs(single - other).max() for other in others) > 20


@pytest.mark.parametrize("size", [1, 4, 6])
def test_any_batch_size_makes_the_same_pictures(whole, command, arguments, size, tmp_path):
    status, _, err = command(*arguments, "--batch-size", size, "--out", tmp_path / "other")
    assert status == 0, err
    assert_same(pictures(tmp_path / "other"), pictures(whole))


def test_an_optimised_batch_makes_the_same_pictures(whole, command, arguments, tmp_path):
    status, _, err = command(*arguments, "--optimize", "--dtype", "float32", "--out", tmp_path / "fast")
    assert status == 0, err
    assert_same(pictures(tmp_path / "fast"), pictures(whole))


def test_each_garment_is_encoded_once_and_few_are_kept(command, arguments, tmp_path, monkeypatch):
    encode, calls, kept = ParallelUNetModel.encode_garment, [], []

    def counted(self, *inputs, **options):
        if self.config.sample_size == BASE_SIZE:
            assert not any(reference() is not None for reference in kept)
        features = encode(self, *inputs, **options)
        calls.append(self.config.sample_size)
        kept.append(weakref.ref(features.up[0]))
        return features

    monkeypatch.setattr(ParallelUNetModel, "encode_garment", counted)
    assert command(*arguments, "--batch-size", 1, "--out", tmp_path / "out")[0] == 0
    # Two garments, each once in either stage.
    assert len(calls) == 2 * len(GARMENTS)


def test_a_finished_batch_is_not_touched_and_one_picture_less_is_made_again(whole, command, arguments):
    files = {path: path.stat().st_mtime_ns for path in (whole / "pictures").iterdir()}
    before = pictures(whole)
    status, out, err = command(*arguments, "--out", whole)
    assert status == 0 and "0 pictures made, 6 in" in out
    assert {path: path.stat().st_mtime_ns for path in (whole / "pictures").iterdir()} == files
    lost = whole / "pictures" / "cleo__dress.png"
    lost.unlink()
    status, out, err = command(*arguments, "--out", whole)
    assert status == 0 and "1 pictures made, 6 in" in out and "6/6" in err
    assert {path for path, then in files.items() if path.stat().st_mtime_ns != then} == {lost}
    assert_same(pictures(whole), before)


def test_bad_rows_are_listed_and_tried_again(command, manifest, model, tmp_path):
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    for line in lines:
        line |= {name: str(manifest.parent / value) for name, value in line.items() if name != "id"}
    broken, small = tmp_path / "broken.png", tmp_path / "small.png"
    broken.write_bytes(b"\x89PNG")
    Image.new("RGB", (SR_SIZE, 3 * SR_SIZE)).save(small)  # of a ratio that only the pipeline refuses
    (tmp_path / "pose.json").write_text("{}")
    bad = [
        lines[0] | lines[3] | {"id": "bad_picture", "agnostic_image": str(broken)},
        lines[0] | lines[3] | {"id": "bad_ratio", "agnostic_image": str(small)},
        lines[0] | lines[3] | {"id": "bad_pose", "person_pose": str(tmp_path / "pose.json")},
        lines[0] | lines[3] | {"id": "no_garment", "garment_image": "nowhere.png"},
        lines[0] | {"id": "no_garment_named"},
        lines[0] | lines[3] | {"id": "../outside"},
    ]
    good = [person | garment | {"id": person["id"]} for person, garment in zip(lines[:3], [lines[3]] * 3)]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, bad[:3] + good + bad[3:])))
    words = ["batch", path, "--model", model, *SHORT, "--out", tmp_path / "out"]
    status, out, err = command(*words)
    assert status == 1 and "3 pictures made" in out and "6 rows failed" in out, err
    assert sorted(pictures(tmp_path / "out")) == sorted(PEOPLE)
    failures = {line["id"]: line["error"] for line in table(tmp_path / "out" / "failures.csv")}
    assert list(failures) == ["bad_picture", "bad_ratio", "bad_pose", "no_garment", "no_garment_named", "../outside"]
    for name, words_of_error in {
        "bad_picture": "`agnostic_image` must be a picture file", "bad_ratio": "would be distorted", "bad_pose": "pose.json",
        "no_garment": "there is none at", "no_garment_named": "line 8: no garment is named",
    }.items():  # fmt: skip
        assert words_of_error in failures[name], (name, failures[name])
    Image.new("RGB", (SR_SIZE, SR_SIZE), "grey").save(broken)
    status, out, err = command(*words)
    assert status == 1 and "1 pictures made, 4 in" in out and "5 rows failed" in out, err
    assert "bad_picture" not in {line["id"] for line in table(tmp_path / "out" / "failures.csv")}


def test_a_row_whose_inputs_changed_is_made_again(whole, command, manifest, model):
    before = pictures(whole)
    changed = manifest.with_name("changed.jsonl")
    changed.write_text(manifest.read_text().replace('"garment_image": "dress.png"', '"garment_image": "shirt.png"'))
    status, out, _ = command(
        "batch", changed, "--all-pairs", "--model", model, *SHORT, "--batch-size", 2, "--out", whole
    )
    assert status == 0 and "3 pictures made, 6 in" in out
    after = pictures(whole)
    assert [name for name in before if not np.array_equal(before[name], after[name])] == [
        f"{person}__dress" for person in PEOPLE
    ]


def test_other_settings_are_refused_and_nothing_changes(whole, command, arguments):
    files = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    for option, difference in {"--seed": "seed was 0 and is now 3", "--guidance": "guidance_scale was 2.0"}.items():
        status, _, err = command(*arguments, "--out", whole, option, 3)
        assert status == 1 and "holds pictures that were made otherwise" in err and difference in err
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*")} == files


def test_an_interruption_leaves_tables_and_goes_on(command, arguments, whole, tmp_path, monkeypatch):
    from diffusers_tryon.batch import generation

    make, calls = generation.BatchGenerator._make_together, []

    def interrupted(self, rows):
        if calls:
            raise KeyboardInterrupt
        calls.append(rows)
        make(self, rows)

    words = [*arguments, "--batch-size", 2, "--out", tmp_path / "out"]
    with monkeypatch.context() as patch:
        patch.setattr(generation.BatchGenerator, "_make_together", interrupted)
        assert command(*words)[0] != 0
    assert len(table(tmp_path / "out" / "results.csv")) == 2
    status, out, _ = command(*words)
    assert status == 0 and "4 pictures made, 6 in" in out
    assert_same(pictures(tmp_path / "out"), pictures(whole), tolerance=0)


def test_garments_that_see_the_timestep_are_given_as_pictures(command, manifest, tmp_path):
    tiny_cascade(garment_time_conditioning=True).save_pretrained(tmp_path / "model")
    words = ["batch", manifest, "--all-pairs", "--model", tmp_path / "model", *SHORT]
    for size in (1, 4):
        status, _, err = command(*words, "--batch-size", size, "--out", tmp_path / str(size))
        assert status == 0, err
    assert len(pictures(tmp_path / "1")) == 6
    assert_same(pictures(tmp_path / "1"), pictures(tmp_path / "4"))


def test_a_dry_run_says_what_is_there_and_writes_nothing(command, manifest, whole, tmp_path):
    status, out, _ = command("batch", manifest, "--all-pairs", "--out", whole, "--dry-run")
    assert status == 0 and "6 pictures of 3 people in 2 garments, 6 of them done" in out
    path = tmp_path / "rows.csv"
    path.write_text("id,person_photo,garment_photo\n1,no.jpg,neither.jpg\n2,no.jpg,\n")
    status, out, err = command("batch", path, "--out", tmp_path / "new", "--dry-run")
    assert status == 1 and "1 pictures of 1 people in 1 garments, 0 of them done" in out
    assert "no.jpg" in err and "neither.jpg" in err and "no garment is named" in err
    assert not (tmp_path / "new").exists()


def test_noise_follows_from_the_seed_and_the_row():
    seeds = {noise_seed(seed, row) for seed in (0, 1) for row in ("a", "b")}
    # Of at most 15 digits, which spreadsheets keep.
    assert len(seeds) == 4 and all(0 <= seed < 10**15 for seed in seeds)


def test_a_batch_that_is_too_large_is_halved(command, arguments, whole, tmp_path, monkeypatch):
    call, sizes = TryOnCascadePipeline.__call__, []

    @functools.wraps(call)
    def small(self, **inputs):
        sizes.append(len(inputs["agnostic_image"]))
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError("no room")
        return call(self, **inputs)

    monkeypatch.setattr(TryOnCascadePipeline, "__call__", small)
    status, out, _ = command(*arguments, "--batch-size", 6, "--out", tmp_path / "out")
    assert status == 0 and "6 pictures made" in out
    assert sizes == [6, 3, 1, 2, 3, 1, 2]
    assert_same(pictures(tmp_path / "out"), pictures(whole))


_DIES = """
import os, signal, sys
from diffusers_tryon.batch import folder
written = []
write_image = folder.write_image
def write_and_die(image, path):
    write_image(image, path)
    written.append(path)
    if len(written) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
folder.write_image = write_and_die
from diffusers_tryon.cli import main
sys.argv = {arguments!r}
main()
"""


@pytest.mark.slow
def test_a_kill_loses_no_picture_and_two_processes_finish_with_the_same_bytes(whole, arguments, tmp_path):
    words = [*map(str, arguments), "--batch-size", "2", "--out", str(tmp_path / "out")]

    def launched(*command: str | Path) -> subprocess.CompletedProcess:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, env=environment)

    # At the worst moment: the third picture is there, its record is not.
    killed = launched(sys.executable, "-c", _DIES.format(arguments=["diffusers-tryon", *words]))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    done = {path: path.stat().st_mtime_ns for path in sorted((tmp_path / "out" / "done").iterdir())}
    kept = [tmp_path / "out" / "pictures" / f"{path.stem}.png" for path in done]
    assert len(done) == 2
    times = [path.stat().st_mtime_ns for path in kept]
    launcher = [Path(sys.executable).with_name("accelerate"), "launch", "--multi_gpu", "--num_processes", "2"]
    finished = launched(*launcher, "--main_process_port", "0", "-m", "diffusers_tryon", *words)
    assert finished.returncode == 0, finished.stderr
    assert "4 pictures made, 6 in" in finished.stdout
    # What was done was not made again.
    assert [path.stat().st_mtime_ns for path in kept] == times
    for name in pictures(whole):
        file = Path("pictures") / f"{name}.png"
        assert (tmp_path / "out" / file).read_bytes() == (whole / file).read_bytes(), name
    assert [line["id"] for line in table(tmp_path / "out" / "results.csv")] == [
        line["id"] for line in table(whole / "results.csv")
    ]
