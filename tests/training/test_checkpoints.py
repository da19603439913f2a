# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Checkpoint folders: what is written, what counts as whole, what stays, and a disk that is full."""

import hashlib
import json
import logging
import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from diffusers_tryon.training.checkpoints import (
    CheckpointWriter,
    checkpoint_step,
    find_damage,
    list_checkpoints,
    newest_checkpoint,
)


def write_state(folder: Path, text: str = "state") -> None:
    (folder / "unet").mkdir()
    (folder / "unet" / "weights.bin").write_text(f"weights of {text}")
    (folder / "state.json").write_text(text)


def save_steps(run_dir: Path, *steps: int, keep: int = 10) -> CheckpointWriter:
    writer = CheckpointWriter(run_dir, keep)
    for step in steps:
        writer.save(step, lambda folder: write_state(folder, f"step {step}"))
    return writer


def names(run_dir: Path) -> list[str]:
    return sorted(path.name for path in (run_dir / "checkpoints").iterdir())


def test_a_checkpoint_has_a_manifest_of_its_files(tmp_path):
    save_steps(tmp_path, 3)
    folder = tmp_path / "checkpoints" / "step-00000003"
    contents = {"state.json": b"step 3", "unet/weights.bin": b"weights of step 3"}
    assert json.loads((folder / "manifest.json").read_text()) == {
        "step": 3,
        "files": {
            name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in contents.items()
        },
    }
    assert {name: (folder / name).read_bytes() for name in contents} == contents
    assert newest_checkpoint(tmp_path) == folder
    assert checkpoint_step(folder) == 3


def test_everything_is_on_the_disk_before_the_name_is_and_the_name_before_anything_is_removed(tmp_path, monkeypatch):
    save_steps(tmp_path, 1)
    events = []
    fsync, replace = os.fsync, os.replace

    def recording_fsync(descriptor):
        fsync(descriptor)
        events.append(f"sync {Path(os.readlink(f'/proc/self/fd/{descriptor}')).relative_to(tmp_path)}")

    def recording_replace(source, target):
        replace(source, target)
        events.append(f"rename {Path(source).name} {Path(target).name}")

    if not Path("/proc/self/fd").exists():
        pytest.skip("the names of open files are read from /proc")
    monkeypatch.setattr(os, "fsync", recording_fsync)
    monkeypatch.setattr(os, "replace", recording_replace)
    save_steps(tmp_path, 2, keep=1)
    temporary = "checkpoints/tmp-00000002"
    assert sorted(events[:2]) == [f"sync {temporary}/state.json", f"sync {temporary}/unet/weights.bin"]
    assert events[2:] == [
        f"sync {temporary}/manifest.json",
        f"sync {temporary}/unet",
        f"sync {temporary}",
        "rename tmp-00000002 step-00000002",
        "sync checkpoints",
        "rename step-00000001 tmp-removed-step-00000001",
    ]


def test_no_checkpoint_yet(tmp_path):
    assert newest_checkpoint(tmp_path) is None
    (tmp_path / "checkpoints" / "tmp-00000001").mkdir(parents=True)
    (tmp_path / "checkpoints" / "step-00000001-of-mine").mkdir()
    assert newest_checkpoint(tmp_path) is None


def flip_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "no manifest": (lambda folder: (folder / "manifest.json").unlink(), "manifest.json is missing"),
    "half a manifest": (lambda folder: os.truncate(folder / "manifest.json", 50), "manifest.json cannot be read"),
    "another manifest": (lambda folder: (folder / "manifest.json").write_text("[1]"), "manifest.json cannot be read"),
    "manifest of another step": (
        lambda folder: shutil.copy(folder.parent / "step-00000001" / "manifest.json", folder),
        "manifest.json is of step 1",
    ),
    "missing file": (lambda folder: (folder / "unet" / "weights.bin").unlink(), "unet/weights.bin cannot be read"),
    "truncated": (lambda folder: os.truncate(folder / "unet" / "weights.bin", 5), "has 5 bytes instead of 17"),
    "flipped bit": (lambda folder: flip_bit(folder / "state.json"), "state.json has another checksum"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_broken_checkpoint_is_named_and_the_one_before_it_is_used(tmp_path, caplog, damage):
    change, reason = DAMAGES[damage]
    save_steps(tmp_path, 1, 2, 3)
    broken = tmp_path / "checkpoints" / "step-00000003"
    change(broken)
    with caplog.at_level(logging.WARNING):
        assert newest_checkpoint(tmp_path) == tmp_path / "checkpoints" / "step-00000002"
    assert len(caplog.messages) == 1
    assert str(broken) in caplog.messages[0] and reason in caplog.messages[0]


def test_a_flipped_bit_anywhere_in_a_manifest_is_noticed(tmp_path):
    save_steps(tmp_path, 1)
    folder = tmp_path / "checkpoints" / "step-00000001"
    good = (folder / "manifest.json").read_bytes()
    for position in range(len(good)):
        content = bytearray(good)
        content[position] ^= 1 << position % 8
        (folder / "manifest.json").write_bytes(content)
        assert find_damage(folder) is not None, f"byte {position}: {content!r}"
    (folder / "manifest.json").write_bytes(good)
    assert find_damage(folder) is None


def test_a_run_of_broken_checkpoints_alone_is_not_begun_anew(tmp_path):
    save_steps(tmp_path, 1, 2)
    for step in (1, 2):
        os.truncate(tmp_path / "checkpoints" / f"step-0000000{step}" / "state.json", 1)
    with pytest.raises(ValueError, match="`output_dir` has checkpoints, but none is whole: of .*step-00000001"):
        newest_checkpoint(tmp_path)
    assert names(tmp_path) == ["step-00000001", "step-00000002"]


def test_the_newest_whole_ones_stay(tmp_path):
    save_steps(tmp_path, 3, 6, 9, 12, keep=2)
    assert names(tmp_path) == ["step-00000009", "step-00000012"]


def test_broken_checkpoints_are_not_counted_among_those_kept(tmp_path):
    save_steps(tmp_path, 1, 2, 3)
    flip_bit(tmp_path / "checkpoints" / "step-00000002" / "state.json")
    # Step 1 is the second newest whole one.
    save_steps(tmp_path, 4, keep=3)
    assert names(tmp_path) == [f"step-0000000{step}" for step in (1, 2, 3, 4)]
    save_steps(tmp_path, 5, keep=3)
    assert names(tmp_path) == [f"step-0000000{step}" for step in (3, 4, 5)]


def test_a_broken_newer_checkpoint_does_not_push_out_the_one_just_saved(tmp_path):
    save_steps(tmp_path, 1, 2, 9)
    flip_bit(tmp_path / "checkpoints" / "step-00000009" / "state.json")
    writer = save_steps(tmp_path, 3, keep=1)
    assert names(tmp_path) == ["step-00000003", "step-00000009"]
    assert newest_checkpoint(tmp_path).name == "step-00000003"
    # The run gets there again.
    writer.save(9, write_state)
    assert names(tmp_path) == ["step-00000009"]
    assert newest_checkpoint(tmp_path).name == "step-00000009"


def test_what_was_just_saved_stays_though_newer_ones_are_there(tmp_path):
    save_steps(tmp_path, 7, 8)
    writer = save_steps(tmp_path, 3, 4, keep=1)
    assert names(tmp_path) == ["step-00000004", "step-00000007", "step-00000008"]
    writer.save(8, write_state)
    assert names(tmp_path) == ["step-00000008"]


def test_the_same_step_is_replaced(tmp_path):
    save_steps(tmp_path, 1, 2)
    CheckpointWriter(tmp_path, 2).save(2, lambda folder: write_state(folder, "the second time"))
    assert names(tmp_path) == ["step-00000001", "step-00000002"]
    assert (newest_checkpoint(tmp_path) / "state.json").read_text() == "the second time"


def test_a_replacement_that_was_interrupted_is_finished(tmp_path):
    save_steps(tmp_path, 1, 2)
    folder = tmp_path / "checkpoints"
    os.replace(folder / "step-00000002", folder / "step-00000002.replaced")
    (folder / "tmp-00000002").mkdir()
    newest = newest_checkpoint(tmp_path)
    assert checkpoint_step(newest) == 2 and (newest / "state.json").read_text() == "step 2"
    save_steps(tmp_path, 3, keep=3)
    assert names(tmp_path) == ["step-00000001", "step-00000002", "step-00000003"]

    shutil.copytree(folder / "step-00000003", folder / "step-00000003.replaced")
    assert newest_checkpoint(tmp_path).name == "step-00000003"
    save_steps(tmp_path, 4, keep=3)
    assert names(tmp_path) == ["step-00000002", "step-00000003", "step-00000004"]


def test_an_error_while_writing_leaves_the_checkpoints_before(tmp_path):
    writer = save_steps(tmp_path, 1, 2)

    def fail(folder):
        write_state(folder)
        raise RuntimeError("lost the device")

    with pytest.raises(RuntimeError, match="lost the device"):
        writer.save(3, fail)
    assert names(tmp_path) == ["step-00000001", "step-00000002"]
    assert newest_checkpoint(tmp_path).name == "step-00000002"


def test_files_that_a_failed_save_had_linked_are_untouched(tmp_path):
    (tmp_path / "frozen.bin").write_text("weights")

    def fail(folder):
        os.link(tmp_path / "frozen.bin", folder / "hard.bin")
        (folder / "soft.bin").symlink_to(tmp_path / "frozen.bin")
        raise RuntimeError("lost the device")

    with pytest.raises(RuntimeError, match="lost the device"):
        CheckpointWriter(tmp_path, 2).save(1, fail)
    assert (tmp_path / "frozen.bin").read_text() == "weights"


def test_in_the_background_one_is_written_at_a_time(tmp_path):
    writer = CheckpointWriter(tmp_path, 5, in_background=True)
    allowed, active, most_active = threading.Event(), [], []

    def write(folder):
        active.append(folder)
        most_active.append(len(active))
        allowed.wait(10)
        write_state(folder)
        active.remove(folder)

    writer.save(1, write)
    assert list_checkpoints(tmp_path) == []  # it returned before anything was written
    threading.Timer(0.05, allowed.set).start()
    writer.save(2, write)
    assert newest_checkpoint(tmp_path).name == "step-00000001"
    writer.save(3, write)
    writer.wait()
    assert newest_checkpoint(tmp_path).name == "step-00000003"
    assert most_active == [1, 1, 1]


@pytest.mark.parametrize("asked_by", ["save", "wait"])
def test_an_error_in_the_background_is_raised_once_by_the_call_after(tmp_path, asked_by):
    writer = CheckpointWriter(tmp_path, 2, in_background=True)
    writer.save(1, write_state)

    def fail(folder):
        raise RuntimeError("lost the device")

    writer.save(2, fail)
    with pytest.raises(RuntimeError, match="lost the device"):
        writer.save(3, write_state) if asked_by == "save" else writer.wait()
    writer.wait()
    assert names(tmp_path) == ["step-00000001"]
    writer.save(4, write_state)
    writer.wait()
    assert names(tmp_path) == ["step-00000001", "step-00000004"]


@pytest.fixture
def small_disk(tmp_path):
    """A folder with a file system of 8 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("mounting a small file system is not allowed here")
    yield folder
    # Lazily: torch may still have a file open.
    subprocess.run(["umount", "-l", str(folder)], check=True)


def write_bytes(folder: Path, size: int) -> None:
    (folder / "state.bin").write_bytes(bytes(size))


def write_with_torch(folder: Path, size: int) -> None:
    torch.save({"weight": torch.zeros(size // 4), "bias": torch.zeros(100)}, folder / "state.pt")


def write_with_safetensors(folder: Path, size: int) -> None:
    save_file({"weight": torch.zeros(size // 4), "bias": torch.zeros(100)}, folder / "state.safetensors")


@pytest.mark.parametrize("in_background", [False, True])
@pytest.mark.parametrize("write", [write_bytes, write_with_torch, write_with_safetensors])
def test_a_full_disk_is_named_and_leaves_the_checkpoints_before(small_disk, write, in_background):
    writer = CheckpointWriter(small_disk, 2, in_background)
    writer.save(1, lambda folder: write(folder, 2_000_000))
    writer.save(2, lambda folder: write(folder, 3_000_000))
    writer.wait()
    size = sum(path.stat().st_size for path in (small_disk / "checkpoints" / "step-00000002").rglob("*"))
    with pytest.raises(OSError) as caught:
        writer.save(3, lambda folder: write(folder, 4_000_000))
        writer.wait()
    free = shutil.disk_usage(small_disk).free
    assert 2_000_000 < free < 4_000_000
    message = str(caught.value)
    assert "The disk is full: the checkpoint of step 3 does not fit" in message
    assert f"{small_disk / 'checkpoints'}, which has {free:,} bytes free and needs about {size:,}" in message
    assert names(small_disk) == ["step-00000001", "step-00000002"]
    assert newest_checkpoint(small_disk).name == "step-00000002"

    # Room is made and the run goes on.
    shutil.rmtree(small_disk / "checkpoints" / "step-00000001")
    writer.save(3, lambda folder: write(folder, 4_000_000))
    writer.wait()
    assert newest_checkpoint(small_disk).name == "step-00000003"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_the_first_checkpoint_on_a_full_disk(tmp_path):
    def write_to_full_device(folder):
        (folder / "state.bin").symlink_to("/dev/full")
        (folder / "state.bin").write_bytes(bytes(10))

    with pytest.raises(OSError, match="The disk is full: the checkpoint of step 1 .* bytes free. Earlier"):
        CheckpointWriter(tmp_path, 2).save(1, write_to_full_device)
    assert names(tmp_path) == []


def test_an_error_is_not_taken_for_a_full_disk(tmp_path):
    def fail(folder):
        (folder / "state.bin").read_bytes()

    with pytest.raises(FileNotFoundError):
        CheckpointWriter(tmp_path, 2).save(1, fail)
