# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints on another file system: copied whole, kept as many as asked, brought back, never in the way."""

import uuid

import fsspec
import pytest

from diffusers_tryon.training.checkpoints import CheckpointWriter, find_damage, list_checkpoints
from diffusers_tryon.training.mirror import (
    CheckpointMirror,
    complete_checkpoints,
    fetch_newest_checkpoint,
    open_mirror,
)


@pytest.fixture
def url():
    """A folder of its own on fsspec's file system in memory."""
    return f"memory://{uuid.uuid4()}/run"


def save(run_dir, mirror, steps, keep=1):
    writer = CheckpointWriter(run_dir, keep, saved=mirror.copy)
    for step in steps:

        def write(folder):
            (folder / "ema").mkdir()
            (folder / "ema" / "weights").write_bytes(bytes([step]) * 100_000)
            (folder / "state.json").write_text(str(step))

        writer.save(step, write)


def test_the_newest_checkpoint_comes_back_whole(url, tmp_path):
    mirror = CheckpointMirror(url, 2, tmp_path / "staging")
    for step in (1, 2, 3):
        save(tmp_path / "run", mirror, [step])
        # One that waits is passed over when the next comes; here each arrives.
        with mirror._changed:
            assert mirror._changed.wait_for(lambda: not mirror._is_busy and mirror._waiting is None, 30)
    assert mirror.close(30)
    assert [name.rsplit("/")[-1] for name in complete_checkpoints(*open_mirror(url))] == [
        "step-00000002",
        "step-00000003",
    ]
    path = fetch_newest_checkpoint(url, tmp_path / "other machine")
    assert path.name == "step-00000003" and find_damage(path) is None
    assert (path / "ema" / "weights").read_bytes() == bytes([3]) * 100_000
    assert list_checkpoints(tmp_path / "other machine") == [path]
    assert not (tmp_path / "staging").exists()


def test_what_arrives_damaged_or_was_cut_off_is_passed_over(url, tmp_path, caplog):
    mirror = CheckpointMirror(url, 3, tmp_path / "staging")
    save(tmp_path / "run", mirror, [1], keep=3)
    assert mirror.close(30)
    file_system, folder = open_mirror(url)
    file_system.cp(f"{folder}/step-00000001", f"{folder}/step-00000002", recursive=True)
    file_system.cp(f"{folder}/step-00000001", f"{folder}/step-00000003", recursive=True)
    file_system.rm(f"{folder}/step-00000003/manifest.json")
    path = fetch_newest_checkpoint(url, tmp_path / "other")
    assert path.name == "step-00000001"
    assert "step-00000002" in caplog.text and "of step 1" in caplog.text
    assert list_checkpoints(tmp_path / "other") == [path]


def test_an_empty_mirror_has_nothing(url, tmp_path):
    assert fetch_newest_checkpoint(url, tmp_path) is None


def test_a_mirror_that_fails_is_retried_and_then_only_warned_of(url, tmp_path, caplog):
    mirror = CheckpointMirror(url, 1, tmp_path / "staging", pauses=(0.01, 0.01))
    put_file, failures = mirror.file_system.put_file, []

    class FailingTwice(type(mirror.file_system)):
        cachable = False

        def put_file(self, *arguments, **options):
            if len(failures) < 2:
                failures.append(1)
                raise ConnectionError("no route")
            return put_file(*arguments, **options)

    mirror.file_system = FailingTwice()
    save(tmp_path / "run", mirror, [1])
    assert mirror.close(30)
    assert len(failures) == 2 and caplog.text.count("no route") == 2
    assert len(complete_checkpoints(*open_mirror(url))) == 1


def test_a_copy_that_does_not_arrive_is_told_at_the_end(url, tmp_path, caplog):
    mirror = CheckpointMirror(url, 1, tmp_path / "staging", pauses=(30,))
    mirror.folder = None  # no path can be made of it
    save(tmp_path / "run", mirror, [1])
    assert not mirror.close(0.2)
    assert f"not copied to {url} in time" in caplog.text


def test_a_checkpoint_that_cannot_be_set_aside_does_not_end_training(url, tmp_path, caplog):
    mirror = CheckpointMirror(url, 1, tmp_path / "staging")
    (tmp_path / "staging").write_text("a file where the folder has to be")
    save(tmp_path / "run", mirror, [1])
    assert mirror.close(30)
    assert "step-00000001 is not copied" in caplog.text
    assert [path.name for path in list_checkpoints(tmp_path / "run")] == ["step-00000001"]


def test_the_copy_just_made_stays_beside_later_steps_of_another_run(url, tmp_path):
    before = CheckpointMirror(url, 1, tmp_path / "staging before")
    save(tmp_path / "before", before, [9])
    assert before.close(30)
    mirror = CheckpointMirror(url, 1, tmp_path / "staging")
    save(tmp_path / "run", mirror, [1])
    assert mirror.close(30)
    names = [name.rsplit("/")[-1] for name in complete_checkpoints(*open_mirror(url))]
    assert names == ["step-00000001", "step-00000009"]


def test_an_unknown_protocol_is_named():
    with pytest.raises(ValueError, match="`checkpoint_mirror` nothing://x cannot be opened: Protocol not known"):
        open_mirror("nothing://x")
    assert "memory" in fsspec.available_protocols()
