# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Data sets of photographs: rows are the preprocessor's, whoever makes them in which batch, and nothing is lost.

The back ends know the truth about the rendered photographs, see `rendered_backends`.
"""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset, Features, Image
from PIL import Image as PILImage
from PIL import ImageFilter
from rendered_backends import RenderedTruth, rendered_photo, truth_preprocessor

from diffusers_tryon.data.importing import warning_kinds
from diffusers_tryon.data.loading import load_tryon_dataset, without_decoding
from diffusers_tryon.data.parts import list_parts
from diffusers_tryon.data.rows import decode_row
from diffusers_tryon.data.validation import validate_parts
from diffusers_tryon.preprocessing.prepare_dataset import device_of_process, prepare_dataset
from diffusers_tryon.preprocessing.preprocessor import TryOnPreprocessor


TESTS = Path(__file__).parent
SIZE = (64, 48)
# The people of the photographs, each in a category of its own so that a mixed-up row shows.
PEOPLE = {"anna": ("upper", 1), "bert": ("upper", 6), "cleo": ("lower", 2), "dora": ("dress", 3)}


@pytest.fixture(scope="module")
def photos() -> dict[str, dict]:
    return {name: rendered_photo(seed, category) for name, (category, seed) in PEOPLE.items()}


@pytest.fixture(scope="module")
def source(photos, tmp_path_factory) -> Path:
    """Five pairs of four photographs, some of which occur several times."""
    root = tmp_path_factory.mktemp("photos")
    lines = []
    for name, photo in photos.items():
        PILImage.fromarray(photo["image"]).save(root / f"{name}.png")
    for person, garment in (("anna", "anna"), ("anna", "bert"), ("bert", "anna"), ("cleo", "cleo"), ("dora", "dora")):
        line = {"id": f"{person} as {garment}", "person_photo": f"{person}.png", "garment_photo": f"{garment}.png"}
        lines.append(line | {"category": PEOPLE[garment][0], "garment_id": f"of {garment}"})
    (root / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return root / "pairs.jsonl"


@pytest.fixture(scope="module")
def preprocessor(photos) -> TryOnPreprocessor:
    return truth_preprocessor(list(photos.values()))


def prepare(source: Path, out: Path, preprocessor: TryOnPreprocessor, **arguments):
    return prepare_dataset(source, out, preprocessor, **{"size": SIZE, "rows_per_shard": 2} | arguments)


@pytest.fixture(scope="module")
def whole(source, preprocessor, tmp_path_factory) -> Path:
    """What one undisturbed process writes."""
    out = tmp_path_factory.mktemp("whole") / "rows"
    report = prepare(source, out, preprocessor)
    assert (report.rows_written, report.rows_rejected, report.shards_written) == (5, 0, 3)
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def stored(folder: Path, split: str = "train") -> list[dict]:
    return [decode_row(row) for row in without_decoding(load_tryon_dataset(folder, split, streaming=True))]


def listed(folder: Path, kind: str) -> dict[str, list[str] | str]:
    lines = [line for path in sorted((folder / kind).iterdir()) for line in path.read_text().splitlines()]
    entries = [json.loads(line) for line in lines]
    return {entry["id"]: entry.get("error", entry.get("warnings")) for entry in entries}


def test_rows_are_what_the_preprocessor_makes_of_each_pair(whole, source, photos, preprocessor):
    rows = stored(whole)
    entries = [json.loads(line) for line in source.read_text().splitlines()]
    for row, entry in zip(rows, entries, strict=True):
        person, garment = (photos[entry[f"{side}_photo"].removesuffix(".png")] for side in ("person", "garment"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            prepared = preprocessor(person["image"], garment["image"], category=entry["category"], size=SIZE)
        conditions = prepared.conditions
        for column in ("agnostic_image", "agnostic_mask", "garment_image"):
            np.testing.assert_array_equal(row[column], np.asarray(conditions[column][0]))
        for column in ("person_pose", "garment_pose"):
            np.testing.assert_array_equal(row[column], conditions[column][0])
        np.testing.assert_array_equal(row["person_image"], prepared.people[0].image)
        np.testing.assert_array_equal(row["person_parse"], prepared.people[0].parse)
        np.testing.assert_array_equal(row["garment_parse"], prepared.garments[0].parse)
        assert (row["id"], row["category"], row["garment_id"]) == (entry["id"], entry["category"], entry["garment_id"])
        assert (row["source"], row["garment_type"]) == ("prepared", "worn")


def test_the_validator_has_nothing_to_say(whole):
    assert validate_parts(list_parts(whole)).findings == []


@pytest.mark.parametrize("batch_size", [1, 3])
def test_rows_do_not_depend_on_the_batch(whole, source, preprocessor, tmp_path, batch_size):
    prepare(source, tmp_path, preprocessor, batch_size=batch_size)
    assert contents(tmp_path) == contents(whole)


def test_a_photograph_of_several_pairs_is_looked_at_once(source, photos, tmp_path):
    seen: list[int] = []

    class Counting(RenderedTruth):
        def detect(self, images):
            seen.append(len(images))
            return super().detect(images)

    truth = Counting(list(photos.values()))
    prepare(source, tmp_path, TryOnPreprocessor(truth, truth, truth), rows_per_shard=5, batch_size=3, limit=4)
    # anna with anna and bert, bert with anna: two photographs; then cleo.
    assert seen == [2, 1]


def test_processes_and_repeated_calls_write_the_same_files(whole, source, preprocessor, tmp_path):
    reports = [prepare(source, tmp_path, preprocessor, process_index=index, num_processes=2) for index in (1, 0)]
    assert [report.rows_written for report in reports] == [2, 3]
    assert contents(tmp_path) == contents(whole)
    (tmp_path / "train-00001.parquet").unlink()
    report = prepare(source, tmp_path, preprocessor)
    assert (report.rows_written, report.shards_skipped) == (2, 2)
    assert contents(tmp_path) == contents(whole)


def test_a_limit_can_be_lifted_later(whole, source, preprocessor, tmp_path):
    assert prepare(source, tmp_path, preprocessor, limit=2).rows_written == 2
    assert prepare(source, tmp_path, preprocessor).rows_written == 3
    assert contents(tmp_path) == contents(whole)


def test_what_makes_other_rows_is_not_mixed_in(whole, source, photos, preprocessor):
    before = contents(whole)
    truth = preprocessor.human_parser
    for change in (
        {"size": (64, 64)},
        {"category": "upper"},
        {"garment_type": "worn"},
        {"preprocessor_name": "another"},
        {"preprocessor": TryOnPreprocessor(truth, truth)},
    ):
        with pytest.raises(ValueError, match="already holds other rows"):
            prepare(source, whole, **{"preprocessor": preprocessor} | change)
    assert contents(whole) == before


# What cannot be used


@pytest.fixture(scope="module")
def bad_source(photos, source, tmp_path_factory) -> tuple[Path, TryOnPreprocessor]:
    """Equal names in two folders, some of which hold what cannot be used; and a preprocessor that knows the people."""
    root = tmp_path_factory.mktemp("bad")
    (root / "person" / "shoot").mkdir(parents=True)
    (root / "garment").mkdir()
    anna, bert = (PILImage.fromarray(photos[name]["image"]) for name in ("anna", "bert"))
    blurred = bert.filter(ImageFilter.GaussianBlur(3))
    noise = np.random.default_rng(0).integers(0, 256, (192, 192, 3), dtype=np.uint8)
    for name in ("good", "broken", "nobody", "blurred", "lonely"):
        anna.save(root / "person" / f"{name}.png")
    for name in ("good", "broken", "nobody"):
        bert.save(root / "garment" / f"{name}.jpg", quality=100)
        bert.save(root / "garment" / f"{name}.jpg", format="PNG")  # a suffix is only a name
    (root / "garment" / "broken.jpg").write_bytes((root / "garment" / "good.jpg").read_bytes()[:1000])
    PILImage.fromarray(noise).save(root / "person" / "nobody.png")
    blurred.save(root / "garment" / "blurred.png")
    anna.save(root / "person" / "shoot" / "1.png")
    bert.save(root / "person" / "shoot" / "2.png")
    known = [photos["anna"], photos["bert"], photos["bert"] | {"image": np.asarray(blurred)}]
    return root, truth_preprocessor(known)


def test_bad_pairs_are_rejected_with_the_reason_and_doubts_are_listed(bad_source, tmp_path):
    root, preprocessor = bad_source
    report = prepare(root, tmp_path, preprocessor, category="upper")
    assert (report.rows_written, report.rows_rejected) == (4, 3)
    assert [row["id"] for row in stored(tmp_path)] == ["blurred", "good", "shoot/1/2", "shoot/2/1"]
    rejected = listed(tmp_path, "__rejected__")
    assert list(rejected) == ["broken", "lonely", "nobody"]
    assert f"`{root}/garment/broken.jpg` could not be read" in rejected["broken"]
    assert rejected["lonely"] == f"{root}/garment: holds no photograph named lonely"
    assert f"Nobody was found in `{root}/person/nobody.png`" in rejected["nobody"]
    doubtful = listed(tmp_path, "__warnings__")
    assert any(
        warning.startswith(f"BlurredPhotoWarning: `{root}/garment/blurred.png`") for warning in doubtful["blurred"]
    )
    assert not any("BlurredPhotoWarning" in warning for warning in doubtful.get("good", ()))
    assert warning_kinds(tmp_path, "train")["BlurredPhotoWarning"] == 1
    assert validate_parts(list_parts(tmp_path)).findings == []


def test_neither_lists_nor_rows_depend_on_the_batch(bad_source, tmp_path):
    root, preprocessor = bad_source
    for batch_size in (1, 3, 7):
        prepare(root, tmp_path / str(batch_size), preprocessor, category="upper", batch_size=batch_size)
    assert contents(tmp_path / "1") == contents(tmp_path / "3") == contents(tmp_path / "7")


def test_photographs_in_a_data_set_give_the_rows_of_the_files(whole, source, preprocessor, tmp_path):
    entries = [json.loads(line) for line in source.read_text().splitlines()]
    columns = {name: [entry[name] for entry in entries] for name in ("id", "category", "garment_id")}
    for name in ("person_photo", "garment_photo"):
        columns[name] = [{"bytes": (source.parent / entry[name]).read_bytes(), "path": None} for entry in entries]
    features = Features(
        {name: Image() if "photo" in name else Dataset.from_dict(columns).features[name] for name in columns}
    )
    Dataset.from_dict(columns, features=features).save_to_disk(tmp_path / "source")
    prepare(tmp_path / "source", tmp_path / "rows", preprocessor)
    assert contents(tmp_path / "rows") == contents(whole)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": (0, 64)}, "`size` must be a height and a width of at least 1, got"),
        ({"batch_size": 0}, "`batch_size` must be at least 1, got 0"),
        ({"category": "shoes"}, "`category` must be one of auto, upper, lower, dress, got 'shoes'"),
        ({"split": "../train"}, "`split` must be a word"),
    ],
)
def test_bad_arguments_are_named_before_anything_is_written(source, preprocessor, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        prepare(source, tmp_path / "rows", preprocessor, **arguments)
    assert not (tmp_path / "rows").exists()


# Processes

LAUNCHED = """
import sys
import numpy as np
from rendered_backends import truth_preprocessor
from diffusers_tryon.data.shards import process_position
from diffusers_tryon.preprocessing.prepare_dataset import device_of_process, prepare_dataset

source, out, truth = sys.argv[1:]
known = np.load(truth)
names = sorted({name.partition("/")[0] for name in known})
photos = [{part: known[f"{name}/{part}"] for part in ("image", "parse", "pose")} for name in names]
index, processes = process_position()
report = prepare_dataset(
    source, out, truth_preprocessor(photos), size=(64, 48), rows_per_shard=2,
    process_index=index, num_processes=processes,
)
print("process", index, "of", processes, "on", device_of_process("auto"), report, flush=True)
"""


@pytest.mark.slow
def test_two_launched_processes_write_together_what_one_writes(whole, source, photos, tmp_path):
    (tmp_path / "launched.py").write_text(LAUNCHED)
    known = {f"{name}/{part}": photo[part] for name, photo in photos.items() for part in ("image", "parse", "pose")}
    np.savez(tmp_path / "truth.npz", **known)
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    arguments = [tmp_path / "launched.py", source, tmp_path / "rows", tmp_path / "truth.npz"]
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    environment["PYTHONPATH"] = os.pathsep.join([str(TESTS), str(TESTS.parents[1])])
    done = subprocess.run(
        [*launch, "--main_process_port", "0", *map(str, arguments)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "process 0 of 2" in done.stdout and "3 rows in 2 shards" in done.stdout
    assert "process 1 of 2" in done.stdout and "2 rows in 1 shard" in done.stdout
    assert contents(tmp_path / "rows") == contents(whole)


def die_at_a_batch(source: Path, out: Path, photos: list[dict], deadly: int) -> None:
    """Prepare the data set and be killed while batch number `deadly` is looked at."""
    seen: list[int] = []

    class Deadly(RenderedTruth):
        def parse(self, images):
            seen.append(len(images))
            if len(seen) > deadly:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().parse(images)

    # The settings of the rows name the class.
    Deadly.__name__ = "RenderedTruth"
    truth = Deadly(photos)
    prepare(source, out, TryOnPreprocessor(truth, truth, truth), batch_size=1)


@pytest.mark.parametrize("deadly", [0, 3, 4])
def test_what_a_killed_process_finished_is_kept_and_the_rest_made_later(
    whole, source, photos, preprocessor, tmp_path, deadly
):
    process = multiprocessing.get_context("fork").Process(
        target=die_at_a_batch, args=(source, tmp_path, list(photos.values()), deadly)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    finished = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.parquet")}
    assert sorted(finished) == [f"train-{number:05d}.parquet" for number in range(deadly // 2)]
    prepare(source, tmp_path, preprocessor)
    assert contents(tmp_path) == contents(whole)
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in finished} == finished


def test_each_process_of_a_machine_takes_its_own_gpu(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "3")
    if not torch.accelerator.is_available():
        assert device_of_process("auto") == torch.device("cpu")
    # A machine with two of them.
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    assert device_of_process("auto") == torch.device("cuda", 1)
    assert device_of_process("cuda:0") == torch.device("cuda", 0)
    assert device_of_process("cpu") == torch.device("cpu")
    monkeypatch.delenv("LOCAL_RANK")
    monkeypatch.setenv("OMPI_COMM_WORLD_LOCAL_RANK", "0")
    assert device_of_process("auto") == torch.device("cuda", 0)
