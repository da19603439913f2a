# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The pictures of an evaluation: those the pipeline makes, the same bytes after a kill and from two processes."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from diffusers_tryon.evaluation.cases import rendered_cases
from diffusers_tryon.evaluation.generation import picture_size, produce, weights_sha256
from diffusers_tryon.evaluation.layout import CaseRecord, case_ids, picture_path
from tests.tiny_cascade import SR_SIZE, tiny_cascade


CALL = {"num_inference_steps": 2, "sr_num_inference_steps": 1}
BATCH_SIZE = 2
COUNT = 5

_KILLED_SCRIPT = """
import os, signal, sys
import torch
from diffusers_tryon.evaluation import generation
from tests.evaluation.test_generation import BATCH_SIZE, CALL, COUNT, SR_SIZE
from diffusers_tryon.evaluation.cases import rendered_cases
from tests.tiny_cascade import tiny_cascade

torch.set_num_threads(1)
written = []

def write_and_die(image, path):
    written.append(path)
    if len(written) == 25:  # in the midst of the second chunk
        path.with_name(f".{path.stem}.partial.png").write_bytes(b"half a picture")
        os.kill(os.getpid(), signal.SIGKILL)
    write_image(image, path)

write_image, generation.write_image = generation.write_image, write_and_die
generation.produce(
    sys.argv[1], rendered_cases(COUNT, size=SR_SIZE), tiny_cascade(), CALL, BATCH_SIZE, show_progress=False
)
"""


@pytest.fixture(scope="module")
def pipe():
    return tiny_cascade()


@pytest.fixture(scope="module")
def cases():
    return rendered_cases(COUNT, size=SR_SIZE)


def make(folder: Path, cases, pipe, **arguments) -> Path:
    produce(folder, cases, pipe, CALL, BATCH_SIZE, show_progress=False, **arguments)
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory, cases, pipe):
    return make(tmp_path_factory.mktemp("whole") / "evaluation", cases, pipe)


def contents(folder: Path) -> dict[str, bytes]:
    """All files by their paths, but hidden ones, which a killed process leaves."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_the_folder_holds_what_the_pipeline_makes_of_each_case_with_noise_of_its_own(whole, cases, pipe):
    assert case_ids(whole) == sorted(cases.ids)
    case = cases[4]
    image = pipe(
        agnostic_image=case.agnostic_image,
        garment_image=case.garment_image,
        person_pose=case.record.person_pose,
        garment_pose=case.record.garment_pose,
        agnostic_mask=case.agnostic_mask,
        generator=torch.Generator().manual_seed(case.record.noise_seed),
        **CALL,
    ).images[0]

    def picture(kind: str) -> np.ndarray:
        return np.asarray(Image.open(picture_path(whole, kind, case.record.id)))

    # The last case is a chunk of its own.
    assert np.array_equal(picture("model"), np.asarray(image))
    for kind, expected in (
        ("agnostic", case.agnostic_image),
        ("mask", case.agnostic_mask),
        ("garment", case.garment_image),
        ("reference", case.reference),
        ("parse", case.parse),
    ):
        assert np.array_equal(picture(kind), expected), kind
    kept = case.agnostic_mask == 0
    assert np.array_equal(picture("pasted")[kept], case.agnostic_image[kept])
    record = CaseRecord.read(whole, case.record.id)
    assert record.noise_seed == case.record.noise_seed and record.category == case.record.category
    assert np.abs(record.person_pose - case.record.person_pose).max() < 1e-6


@pytest.fixture
def three_threads():
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(threads)


def test_two_processes_write_the_same_bytes_as_one(whole, cases, pipe, tmp_path, three_threads):
    seen = []

    def note_threads(pipe, step, timestep, tensors):
        seen.append(torch.get_num_threads())
        return tensors

    produce(tmp_path / "noted", rendered_cases(1, size=SR_SIZE), pipe, {"callback_on_step_end": note_threads}, 1)
    assert set(seen) == {1} and torch.get_num_threads() == 3
    make(tmp_path / "two", cases, pipe, process_index=1, num_processes=2)
    assert case_ids(tmp_path / "two") == sorted(cases.ids[2:4])
    make(tmp_path / "two", cases, pipe, process_index=0, num_processes=2)
    assert contents(tmp_path / "two") == contents(whole)


def test_killed_in_the_midst_of_a_chunk_it_goes_on_to_the_same_bytes(whole, cases, pipe, tmp_path):
    folder = tmp_path / "killed"
    code = subprocess.run(
        [sys.executable, "-c", _KILLED_SCRIPT, str(folder)], cwd=Path(__file__).parents[2]
    ).returncode
    assert code == -signal.SIGKILL
    # A chunk and a piece of the next; what is half written is no case.
    assert sorted(cases.ids[:3]) == case_ids(folder)
    first = picture_path(folder, "model", cases.ids[0])
    made = first.stat().st_mtime_ns
    make(folder, cases, pipe)
    assert contents(folder) == contents(whole)
    assert first.stat().st_mtime_ns == made


def test_a_chunk_of_which_a_picture_is_gone_is_made_again(whole, cases, pipe, tmp_path):
    folder = make(tmp_path / "gone", cases, pipe)
    picture_path(folder, "model", cases.ids[1]).unlink()
    make(folder, cases, pipe)
    assert contents(folder) == contents(whole)


def test_a_folder_is_not_continued_with_other_settings(whole, cases, pipe):
    before = contents(whole)
    other = tiny_cascade()
    with torch.no_grad():
        next(other.base_unet.parameters()).add_(1)
    with pytest.raises(ValueError, match="model.weights_sha256 was .* and is now"):
        produce(whole, cases, other, CALL, BATCH_SIZE)
    with pytest.raises(ValueError, match=r"num_inference_steps was 2 and is now 3.*; batch_size was 2 and is now 3"):
        produce(whole, cases, pipe, CALL | {"num_inference_steps": 3}, 3)
    with pytest.raises(ValueError, match="data.category was null and is now .upper.; data.seed was 0 and is now 1"):
        produce(whole, rendered_cases(COUNT, 1, SR_SIZE, "upper"), pipe, CALL, BATCH_SIZE)
    other = tiny_cascade(scheduler="ddim")
    with pytest.raises(ValueError, match='model.schedulers.base_scheduler.class was "DPMSolverMultistepScheduler"'):
        produce(whole, cases, other, CALL, BATCH_SIZE)
    assert contents(whole) == before


def test_settings_say_what_the_pictures_follow_from(whole, pipe):
    settings = json.loads((whole / "settings.json").read_text())
    assert settings["data"]["pairing"] == "unpaired" and settings["data"]["renderer_version"] >= 2
    assert settings["model"]["call"] == CALL and settings["model"]["weights_sha256"] == weights_sha256(pipe)


def test_an_optimized_model_makes_pictures_that_are_near_and_whose_settings_say_so(whole, cases, pipe, tmp_path):
    folder = make(tmp_path / "optimized", cases, tiny_cascade(), optimize=True)
    settings, plain = (json.loads((item / "settings.json").read_text()) for item in (folder, whole))
    assert "float32, channels last" in settings["model"].pop("optimized")
    assert settings == plain
    for case_id in case_ids(folder):
        near, expected = (np.asarray(Image.open(picture_path(item, "model", case_id))) for item in (folder, whole))
        assert np.abs(near.astype(int) - expected).max() <= 1
    with pytest.raises(ValueError, match="model.optimized was"):
        make(folder, cases, pipe)


def test_bad_arguments_are_refused_before_anything_is_written(cases, pipe, tmp_path):
    folder = tmp_path / "new"
    with pytest.raises(ValueError, match="`cases` must be of the size .* height 16 and width 16, got 32 and 32"):
        produce(folder, cases, pipe, CALL | {"last_stage": "base"})
    with pytest.raises(ValueError, match="`call_arguments` must not hold generator"):
        produce(folder, cases, pipe, {"generator": None})
    with pytest.raises(ValueError, match="`batch_size` must be"):
        produce(folder, cases, pipe, CALL, batch_size=0)
    assert not folder.exists()
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="`folder` must be new .* has no settings.json"):
        produce(tmp_path, cases, pipe, CALL)


def test_the_size_of_pictures(pipe):
    assert picture_size(pipe) == (32, 32) and picture_size(pipe, {"last_stage": "base"}) == (16, 16)
    assert picture_size(pipe, {"height": 64, "width": 32}) == (64, 32)
