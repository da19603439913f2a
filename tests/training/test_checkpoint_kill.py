# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Processes are killed while they save: at random moments, and at each operation on a file in turn."""

import hashlib
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from saving_process import BYTES_PER_FILE, FILES, content_of, write_state

import diffusers_tryon.training.checkpoints as checkpoints_module
from diffusers_tryon.training.checkpoints import CheckpointWriter, checkpoint_step, newest_checkpoint


COMMAND = [sys.executable, str(Path(__file__).with_name("saving_process.py")), checkpoints_module.__file__]
NUM_KILLS = 30


def check_newest(run_dir: Path, size: int) -> int:
    """The newest checkpoint has every file of its step, and a manifest that agrees; returns the step."""
    newest = newest_checkpoint(run_dir)
    step = checkpoint_step(newest)
    manifest = json.loads((newest / "manifest.json").read_text())
    assert manifest["step"] == step and sorted(manifest["files"]) == sorted(FILES)
    for name in FILES:
        content = (newest / name).read_bytes()
        assert content == content_of(step, name, size)
        assert hashlib.sha256(content).hexdigest() == manifest["files"][name]["sha256"]
    return step


@pytest.mark.parametrize("mode", ["foreground", "background"])
def test_kills_at_random_moments_lose_at_most_the_save_they_hit(tmp_path, mode):
    moments = random.Random(0)
    promised, num_hit, num_kept, seconds_per_save = 0, 0, 0, 0.02
    for _ in range(NUM_KILLS):
        process = subprocess.Popen([*COMMAND, "forever", str(tmp_path), mode], stdout=subprocess.PIPE, text=True)
        first = int(process.stdout.readline())
        assert first >= promised
        # After none, one or two saves, somewhere in the next; a busy machine may need a second for one.
        for _ in range(moments.randrange(3)):
            started = time.perf_counter()
            promised = int(process.stdout.readline())
            seconds_per_save = time.perf_counter() - started
        time.sleep(moments.uniform(0.0, 1.5) * seconds_per_save)
        process.kill()
        lines = process.communicate()[0].splitlines()
        promised = int(lines[-1]) if lines else max(promised, first)
        if promised == 0:
            continue
        assert check_newest(tmp_path, BYTES_PER_FILE) >= promised
        names = os.listdir(tmp_path / "checkpoints")
        num_hit += any(name.startswith("tmp-") for name in names)
        # Two are kept, besides one that was just saved; a kill before its first removal keeps those of the kill before.
        num_kept, num_kept_before = sum(name.startswith("step-") for name in names), num_kept
        assert num_kept <= max(num_kept_before, 2) + 1
        assert len(names) <= num_kept + 1
    assert promised >= NUM_KILLS / 2
    assert num_hit >= 5, "hardly a kill hit a save: the test shows nothing"


@pytest.mark.parametrize("step", [3, 2], ids=["new step", "same step again"])
def test_a_kill_at_any_operation_leaves_a_whole_checkpoint(tmp_path, step):
    writer = CheckpointWriter(tmp_path / "before", 2)
    for before in (1, 2):
        writer.save(before, lambda folder: write_state(folder, before, 100))
    (tmp_path / "before" / "checkpoints" / "tmp-00000003" / "unet").mkdir(parents=True)
    command = [*COMMAND, "every-point", str(tmp_path / "before"), str(tmp_path / "killed"), str(step)]
    subprocess.run(command, check=True, timeout=60)
    runs = sorted((tmp_path / "killed").iterdir(), key=lambda path: int(path.name))
    steps = [check_newest(run_dir, 100) for run_dir in runs]
    assert len(runs) > 30
    # From some operation on, and for ever after, it is the new one.
    assert steps == sorted(steps) and (steps[0], steps[-1]) == (2, step)
    # Whatever a kill left is put in order by the next save.
    for run_dir in runs[::4]:
        CheckpointWriter(run_dir, 2).save(4, lambda folder: write_state(folder, 4, 100))
        assert check_newest(run_dir, 100) == 4
        assert len(os.listdir(run_dir / "checkpoints")) == 2
