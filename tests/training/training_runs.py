# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs of the training script at tiny size: in this process, as a program, and as several processes."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from diffusers_tryon.training.checkpoints import list_checkpoints
from diffusers_tryon.training.configuration import TrainingConfig
from diffusers_tryon.training.signals import StopRequest


ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "training" / "train_tryon.py"


def load_script() -> ModuleType:
    """The training script as a module, for runs in this process."""
    spec = importlib.util.spec_from_file_location("train_tryon", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def settings(output_dir: Path, **changes: Any) -> dict[str, Any]:
    """Settings of a run of a few seconds, as keywords of `TrainingConfig`: rendered people, four a step."""
    values = {
        "dataset": "rendered",
        "rendered_size": 64,
        "output_dir": str(output_dir),
        "preset": "tiny-base",
        "max_steps": 6,
        "global_batch_size": 4,
        "lr_schedule": "constant",
        "warmup_steps": 1,
        "num_workers": 0,
        "log_every": 1,
        "num_validation_rows": 4,
        "sample_steps": 2,
        "sample_every": 1000,
        "validate_every": 1000,
    }
    if changes.get("preset") == "tiny-sr":
        values |= {"stage": "sr", "low_res_size": 32}
    return values | changes


def start_here(output_dir: Path, **changes: Any) -> Any:
    """A `Training` in this process, before its first step."""
    # Otherwise the precision of the process's first run would be that of all.
    AcceleratorState._reset_state(reset_partial_state=True)
    return load_script().Training(TrainingConfig.from_dict(settings(output_dir, **changes)), StopRequest())


def run_here(output_dir: Path, **changes: Any) -> Any:
    """Train in this process; returns the `Training`."""
    training = start_here(output_dir, **changes)
    training.run()
    return training


def command_line(output_dir: Path, **changes: Any) -> list[str]:
    """The script and its arguments."""
    arguments = [str(SCRIPT)]
    for name, value in settings(output_dir, **changes).items():
        text = json.dumps(list(value) if isinstance(value, tuple) else value) if not isinstance(value, str) else value
        arguments += [f"--{name}", text]
    return arguments


def run_script(output_dir: Path, environment: dict[str, str] | None = None, **changes: Any):
    """Train as a user does; returns the finished process."""
    return subprocess.run(
        [sys.executable, *command_line(output_dir, **changes)],
        capture_output=True,
        text=True,
        env={**os.environ, **(environment or {})},
    )


def launch(num_processes: int, output_dir: Path, environment: dict[str, str] | None = None, **changes: Any):
    """Train in several processes on this machine's CPUs."""
    return subprocess.run(
        [*launcher(num_processes), *command_line(output_dir, **changes)],
        capture_output=True,
        text=True,
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", **(environment or {})},
    )


def launcher(num_processes: int) -> list[str]:
    """The command that starts so many processes of a script, which meet at a port that nothing else has."""
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(num_processes)]


def state_of(run_dir: Path) -> dict[str, torch.Tensor]:
    """Every tensor of the newest checkpoint: weights, averages, optimiser."""
    folder = list_checkpoints(run_dir)[-1]
    tensors = {
        f"{path.parent.name}.{name}": tensor
        for path in sorted(folder.glob("*/*.safetensors"))
        for name, tensor in load_file(path).items()
    }
    for name, values in torch.load(folder / "optimizer.pt", weights_only=True).items():
        tensors |= {
            f"optimizer.{name}.{key}": value for key, value in values.items() if isinstance(value, torch.Tensor)
        }
    counters = json.loads((folder / "state.json").read_text())
    return tensors | {name: torch.tensor(value) for name, value in counters.items() if isinstance(value, int)}


def assert_same_state(one: Path, other: Path, tolerance: float = 0.0) -> None:
    """Two runs' newest checkpoints hold the same, by default bit for bit."""
    first, second = state_of(one), state_of(other)
    assert first.keys() == second.keys()
    assert len(first) > 100
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=tolerance, atol=tolerance, msg=name)


def metrics_of(run_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
