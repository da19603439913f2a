# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The figures of a run: summed without waiting for the device, written to `metrics.jsonl` and to trackers."""

import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from accelerate import Accelerator
from accelerate.tracking import get_available_trackers
from PIL import Image

from diffusers_tryon.files import written_beside
from diffusers_tryon.schedules import NUM_TRAIN_TIMESTEPS
from diffusers_tryon.training.configuration import TrainingConfig
from diffusers_tryon.training.parallel import agree
from diffusers_tryon.training.stage import LossOutput


# The noise levels are reported in so many equal parts, the first with the least noise.
NUM_QUARTERS = 4

_FILE_NAME = "metrics.jsonl"
_TRACKERS = ("tensorboard", "wandb", "trackio")
_PROJECT = "diffusers-tryon"
_BYTES_PER_GIB = 2**30


def check_trackers(config: TrainingConfig) -> None:
    """Raise a `ValueError` for a tracker that is unknown or not installed, with the command that installs it."""
    available = [str(tracker) for tracker in get_available_trackers()]
    for name in config.trackers:
        if name not in _TRACKERS:
            raise ValueError(f"`trackers` must be among {', '.join(_TRACKERS)}, got {name!r}.")
        if name not in available:
            raise ValueError(
                f"`trackers` has {name!r}, which is not installed: pip install 'diffusers-tryon[{name}]' brings it."
            )


def quarter(timesteps: torch.Tensor) -> torch.Tensor:
    """The quarter of the noise levels, 0 (least noise) to 3, that each of the int64 timesteps 0 to 999 is in."""
    return timesteps * NUM_QUARTERS // NUM_TRAIN_TIMESTEPS


class RunMetrics:
    """Collects the figures of a run's steps.

    Nothing here waits for the device but `log`: until then the steps' tensors are kept. Opening it drops the lines of
    `metrics.jsonl` behind `start_step` and starts the trackers.

    Args:
        accelerator: made with `log_with=config.trackers`.
        config: the run's settings.
        run_dir: where `metrics.jsonl` is.
        flops_per_image: of the network's forward and backward pass.
        peak_flops: the operations per second that one device could do; without it there is no utilisation.
        start_step: optimiser steps done before.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        config: TrainingConfig,
        run_dir: Path,
        flops_per_image: float,
        peak_flops: float | None,
        start_step: int,
    ):
        self.accelerator, self.config, self.run_dir = accelerator, config, run_dir
        self.flops_per_image, self.peak_flops = flops_per_image, peak_flops
        if accelerator.is_main_process:
            truncate_metrics(run_dir, start_step)
        if config.trackers:
            # TensorBoard hides what an interrupted run wrote behind the step that this one goes on from.
            accelerator.init_trackers(
                _PROJECT,
                {name: _tracker_value(value) for name, value in asdict(config).items()},
                {
                    "tensorboard": {"purge_step": start_step + 1},
                    "wandb": {"name": run_dir.name, "dir": str(run_dir)},
                    "trackio": {"name": run_dir.name},
                },
            )
        self._step_outputs: list[LossOutput] = []
        self._peak_memory = 0.0
        self._clear()

    def _clear(self) -> None:
        self._outputs: list[LossOutput] = []
        self._gradient_norms: list[torch.Tensor] = []
        self._num_steps, self._wait_seconds = 0, 0.0
        self._paused_seconds, self._started = 0.0, time.perf_counter()

    def add(self, output: LossOutput) -> None:
        """Take the losses of one forward pass of this process."""
        self._step_outputs.append(
            LossOutput(output.loss.detach(), output.squared_error.detach(), output.timesteps, draw=None)
        )

    def finish_step(self, gradient_norm: torch.Tensor, data_wait_seconds: float, skipped: bool = False) -> None:
        """End an optimiser step.

        Args:
            gradient_norm (`torch.Tensor`): scalar, before clipping, of all processes together.
            data_wait_seconds: how long this process waited for the step's batches.
            skipped: the step had a loss or gradient that is not finite, and counts for the speed only.
        """
        if not skipped:
            self._outputs += self._step_outputs
            self._gradient_norms.append(gradient_norm.detach())
        self._step_outputs = []
        self._num_steps += 1
        self._wait_seconds += data_wait_seconds

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Within the block time does not count for the speed: validation, sample sheets, checkpoints."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._paused_seconds += time.perf_counter() - started

    def log(self, step: int, learning_rate: float, skipped_steps: int) -> dict[str, float]:
        """The figures of the steps since the last call; to be called on every process, with the same arguments.

        Args:
            step: optimiser steps done.
            learning_rate: of the last step.
            skipped_steps: steps left out in the whole run, which are reported as they are.

        Returns:
            `loss` (weighted mean) and `loss_q1` to `loss_q4` (mean squared error of the prediction, unweighted, by
            quarter of the timesteps, q1 with the least noise; absent where no sample fell), `gradient_norm` (mean
            before clipping) and `gradient_norm_max`, `learning_rate`, `skipped_steps`, `images` (of all steps done),
            `seconds` (spent on these steps), `images_per_second` (of all processes), `data_wait_share` (of the time, 0
            to 1), `peak_memory_gib` (of the fullest device; on a CPU the resident memory of the largest process, as
            seen at these calls) and `model_flop_utilisation` (0 to 1, without what gradient checkpointing computes
            again; where the device's peak is known).
        """
        sums = loss_sums(self._outputs)
        seconds = time.perf_counter() - self._started - self._paused_seconds
        self._peak_memory = max(self._peak_memory, memory_gib(self.accelerator.device))
        table = _of_all_processes(self.accelerator, [seconds, self._wait_seconds, self._peak_memory, *sums.tolist()])
        seconds, wait_seconds = table[:, 0].mean().item(), table[:, 1].mean().item()
        images_per_second = self._num_steps * self.config.global_batch_size / seconds
        values = loss_means(table[:, 3:].sum(dim=0))
        if self._gradient_norms:
            norms = torch.stack(self._gradient_norms).cpu().double()
            values |= {"gradient_norm": norms.mean().item(), "gradient_norm_max": norms.max().item()}
        values |= {
            "learning_rate": learning_rate,
            "skipped_steps": skipped_steps,
            "images": step * self.config.global_batch_size,
            "seconds": seconds,
            "images_per_second": images_per_second,
            "data_wait_share": wait_seconds / seconds,
            "peak_memory_gib": table[:, 2].max().item(),
        }
        if self.peak_flops is not None:
            peak = self.peak_flops * self.accelerator.num_processes
            values["model_flop_utilisation"] = images_per_second * self.flops_per_image / peak
        self._clear()
        return values

    def has(self, step: int, name: str) -> bool:
        """Whether a figure of that step is in `metrics.jsonl`; to be called on every process, all get one answer."""
        is_there = self.accelerator.is_main_process and any(
            line["step"] == step and name in line for line in read_metrics(self.run_dir)
        )
        return agree(self.accelerator, is_there)[0]

    def write(self, step: int, values: dict[str, float], pictures: dict[str, Path] | None = None) -> None:
        """Append a line to `metrics.jsonl` and hand the values to the trackers; the main process does.

        Args:
            step: optimiser steps done.
            values: figures by name; those that are not finite become null in the file.
            pictures: image files by name, for the trackers that show pictures.
        """
        if not self.accelerator.is_main_process:
            return
        with open(self.run_dir / _FILE_NAME, "a") as file:
            file.write(
                json.dumps({"step": step} | {name: _json_value(value) for name, value in values.items()}) + "\n"
            )
        self.accelerator.log(values, step=step)
        for tracker in self.accelerator.trackers:
            for name, path in (pictures or {}).items():
                with Image.open(path) as picture:
                    pixels = np.asarray(picture.convert("RGB"))
                if tracker.name == "tensorboard":
                    tracker.log_images({name: pixels[None]}, step=step, dataformats="NHWC")
                elif tracker.name == "wandb":
                    tracker.log_images({name: [pixels]}, step=step)


def loss_sums(outputs: list[LossOutput]) -> torch.Tensor:
    """Sums and counts of samples: (10,) float64, weighted loss, number, 4 x squared error, 4 x number by quarter."""
    if not outputs:
        return torch.zeros(2 + 2 * NUM_QUARTERS, dtype=torch.float64)
    losses = torch.cat([output.loss for output in outputs]).cpu().double()
    errors = torch.cat([output.squared_error for output in outputs]).cpu().double()
    quarters = quarter(torch.cat([output.timesteps for output in outputs]).cpu())
    return torch.cat(
        [
            torch.stack([losses.sum(), torch.tensor(float(len(losses)), dtype=torch.float64)]),
            torch.bincount(quarters, weights=errors, minlength=NUM_QUARTERS),
            torch.bincount(quarters, minlength=NUM_QUARTERS),
        ]
    )


def loss_means(sums: torch.Tensor) -> dict[str, float]:
    """`loss` and `loss_q1` to `loss_q4` from `loss_sums`, without those that have no samples."""
    (loss, count), errors, counts = sums[:2].tolist(), sums[2 : 2 + NUM_QUARTERS], sums[2 + NUM_QUARTERS :]
    values = {"loss": loss / count} if count else {}
    for number, (error, samples) in enumerate(zip(errors.tolist(), counts.tolist()), start=1):
        if samples:
            values[f"loss_q{number}"] = error / samples
    return values


def _of_all_processes(accelerator: Accelerator, values: list[float]) -> torch.Tensor:
    """(processes, values) float64, on every process."""
    table = torch.tensor([values], dtype=torch.float64)
    # One process sends nothing to its device, which may not have float64.
    return table if accelerator.num_processes == 1 else accelerator.gather(table.to(accelerator.device)).cpu()


def memory_gib(device: torch.device) -> float:
    """The most memory that was allocated on a CUDA device, otherwise the process's resident memory, in GiB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / _BYTES_PER_GIB
    return psutil.Process(os.getpid()).memory_info().rss / _BYTES_PER_GIB


def read_metrics(run_dir: Path) -> list[dict[str, Any]]:
    """The lines of a run's `metrics.jsonl`; none without the file. A line cut off by a kill is left out."""
    path = run_dir / _FILE_NAME
    lines = []
    for text in path.read_text().splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return lines


def truncate_metrics(run_dir: Path, step: int) -> None:
    """Drop what a run that goes on after `step` will write again, and a last line that was cut off by a kill."""
    path = run_dir / _FILE_NAME
    if not path.exists():
        return
    with written_beside(path) as partial, open(partial, "w") as file:
        for values in read_metrics(run_dir):
            if values["step"] <= step:
                file.write(json.dumps(values) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _json_value(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _tracker_value(value: Any) -> str | int | float | bool:
    return value if isinstance(value, (str, int, float, bool)) else str(value)
