# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The training script in several processes, by gloo on CPUs: the same run as in one."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from training_runs import ROOT, assert_same_state, command_line, launch, launcher, metrics_of, run_here, start_here
from waiting import PATIENCE_SECONDS, wait_until

from diffusers_tryon import TryOnCascadePipeline
from diffusers_tryon.rendering.writer import write_pairs
from diffusers_tryon.training.checkpoints import checkpoint_step, newest_checkpoint


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pool")
    write_pairs(folder, 12, 64, rows_per_shard=3)
    return str(folder)


@pytest.mark.parametrize(
    ("num_processes", "environment"),
    [
        (2, {}),
        (3, {}),
        (2, {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}),
        (2, {"ACCELERATE_USE_DEEPSPEED": "true"}),
    ],
    ids=["two", "three", "sharded", "deepspeed"],
)
def test_processes_equal_accumulation_and_resume_bit_for_bit(pool, tmp_path, num_processes, environment):
    if "ACCELERATE_USE_DEEPSPEED" in environment:
        pytest.importorskip("deepspeed")
    changes = {"dataset": pool, "global_batch_size": 12, "augmentation": {}, "streaming": True, "stream_lanes": 2}
    changes |= {"lr_schedule": "cosine", "warmup_steps": 3, "num_validation_rows": 5}
    run_here(tmp_path / "one", **changes, micro_batch_size=12 // num_processes)
    for folder, stops in (("whole", (6,)), ("halves", (3, 6))):
        for stop in stops:
            result = launch(num_processes, tmp_path / folder, environment, **changes, stop_at_step=stop)
            assert result.returncode == 0, result.stderr
    assert_same_state(tmp_path / "whole", tmp_path / "halves")
    assert_same_state(tmp_path / "whole", tmp_path / "one", tolerance=2e-5)
    one, whole = metrics_of(tmp_path / "one"), metrics_of(tmp_path / "whole")
    for name in ("loss", "validation_loss", "validation_loss_ema", "sample_psnr", "learning_rate", "images"):
        values = [[line[name] for line in lines if name in line] for lines in (one, whole)]
        assert values[0] == pytest.approx(values[1], rel=1e-3), name
    # What several processes saved goes on in one, and what they left is a pipeline.
    alone = start_here(tmp_path / "whole", **changes)
    assert alone.state.step == 6
    TryOnCascadePipeline.from_pretrained(tmp_path / "whole" / "model")


def test_a_signal_to_one_process_ends_all_of_them(pool, tmp_path):
    changes = {"dataset": pool, "max_steps": 10_000, "checkpoint_every": 10_000}
    run = subprocess.Popen(
        [*launcher(2), *command_line(tmp_path, **changes)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
    )
    wait_until(lambda: (tmp_path / "metrics.jsonl").exists() and len(metrics_of(tmp_path)) >= 2)
    children = subprocess.run(["pgrep", "-P", str(run.pid)], capture_output=True, text=True).stdout.split()
    assert len(children) == 2
    os.kill(int(children[1]), signal.SIGUSR1)
    output, errors = run.communicate(timeout=PATIENCE_SECONDS)
    assert run.returncode == 0, errors
    assert "run the same command to go on" in output
    step = checkpoint_step(newest_checkpoint(tmp_path))
    assert json.loads((newest_checkpoint(tmp_path) / "state.json").read_text())["step"] == step > 1


def test_weights_that_drift_apart_stop_the_run_before_they_are_saved(tmp_path):
    program = f"""
from pathlib import Path
from training_runs import start_here
training = start_here(Path({str(tmp_path)!r}), max_steps=2)
if training.accelerator.process_index == 1:
    training.parameters[0].data.view(-1)[0] += 1e-3
training.run()
"""
    result = subprocess.run(
        [*launcher(2), "--no-python", sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "ACCELERATE_USE_CPU": "true",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), str(ROOT)]),
        },
    )
    assert result.returncode != 0
    assert re.search(r"The weights of the processes differ: `[a-z_.0-9]+` of process 1 is not", result.stderr)
    assert not (tmp_path / "checkpoints").exists() and not (tmp_path / "model").exists()


def test_a_bad_row_in_one_process_ends_all_of_them(pool, tmp_path):
    # The number of processes does not divide the batch: every process says so, and nothing hangs.
    result = launch(2, tmp_path, dataset=pool, global_batch_size=5)
    assert result.returncode != 0
    assert "`global_batch_size` must be a multiple of the number of processes, 2, got 5" in result.stderr
    assert not (tmp_path / "checkpoints").exists()
    assert torch.distributed.is_available()
