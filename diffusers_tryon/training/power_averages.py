# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Power-function averages of weights (arXiv 2312.02696, section 3): profiles, snapshots, averages of any width.

At step t the average has the weight p(tau) = (gamma + 1) tau^gamma / t^(gamma + 1) for the time tau in [0, t], and the
weights after step k stand for the time between k - 1 and k. A sum of snapshots, averages of some widths at some steps,
whose profiles add up to that of another width is the average of that width.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from diffusers_tryon.files import written_beside
from diffusers_tryon.training.configuration import TrainingConfig


# The width of gamma = 0, the plain mean of all steps; wider profiles would weigh the first steps most.
MAX_WIDTH = 12**-0.5


def exponent_of_width(sigma: float, name: str = "ema_power_sigmas") -> float:
    """The exponent gamma of the profile whose standard deviation is `sigma` times the length of the run.

    The variance of p relative to t^2 is (gamma + 1) / ((gamma + 2)^2 (gamma + 3)), so gamma is the largest root of
    gamma^3 + 7 gamma^2 + (16 - sigma^-2) gamma + 12 - sigma^-2.

    Args:
        sigma: the relative width.
        name: what the error calls it.

    Raises:
        ValueError: `sigma` is not in 0 (exclusive) to 0.2887.
    """
    if not 0 < sigma <= MAX_WIDTH:
        raise ValueError(f"`{name}` must be above 0 and at most {MAX_WIDTH:.4f}, got {sigma}.")
    roots = np.roots([1, 7, 16 - sigma**-2, 12 - sigma**-2])
    return max(float(roots.real.max()), 0.0)


def power_decay(step: int, exponent: float) -> float:
    """The decay (1 - 1/t)^(gamma + 1) at step t, counted from 1: zero at the first step."""
    return (1 - 1 / step) ** (exponent + 1)


# Reconstruction (section 3.2)


def _inner_products(
    times: np.ndarray, exponents: np.ndarray, other_times: np.ndarray, other_exponents: np.ndarray
) -> np.ndarray:
    """The integrals of the products of all pairs of profiles, (N,) and (M,) of them: (N, M) float64.

    With the earlier end e of a profile a and a profile b it is that of tau^(gamma_a + gamma_b) over [0, e], times
    (gamma_a + 1) (gamma_b + 1) / (t_a^(gamma_a + 1) t_b^(gamma_b + 1)).
    """
    times, exponents = times[:, None], exponents[:, None]
    end = np.minimum(times, other_times)
    # Powers of ratios: those of the times themselves would overflow.
    shares = (end / times) ** exponents * (end / other_times) ** other_exponents
    scale = (exponents + 1) * (other_exponents + 1) / (exponents + other_exponents + 1)
    return scale * shares * end / (times * other_times)


def reconstruction_weights(times: Sequence[int], exponents: Sequence[float], time: int, exponent: float) -> np.ndarray:
    """How much of each snapshot makes the average of `exponent` at `time`: least squares between the profiles.

    Their sum is held at one, so that what never changed stays. (The paper leaves it free; on random walks the error
    is half as large with it held.)

    Args:
        times, exponents: of the N snapshots.
        time, exponent: of the average that is sought.

    Returns:
        `np.ndarray`: (N,) float64.
    """
    times, exponents = np.asarray(times, np.float64), np.asarray(exponents, np.float64)
    matrix = _inner_products(times, exponents, times, exponents)
    target = _inner_products(times, exponents, np.array([time], np.float64), np.array([exponent]))[:, 0]
    # Profiles of length one, and a Lagrange multiplier for the sum. Neighbouring snapshots are nearly alike, so the
    # solution of least norm.
    length = np.sqrt(np.diag(matrix))
    count = len(times)
    system = np.zeros((count + 1, count + 1))
    system[:count, :count] = matrix / length[:, None] / length
    system[:count, count] = system[count, :count] = 1 / length
    return np.linalg.lstsq(system, np.append(target / length, 1), rcond=None)[0][:count] / length


class Snapshot(NamedTuple):
    """An average on the disk.

    Attributes:
        path: its safetensors file, float32 tensors by the parameters' names.
        sigma: its relative width.
        step: the run's step.
        time: how often the weights had been averaged, `step` without the steps that were skipped.
    """

    path: Path
    sigma: float
    step: int
    time: int


def write_snapshot(
    folder: Path, tensors: dict[str, torch.Tensor], sigma: float, step: int, time: int, config: TrainingConfig
) -> None:
    """Write an average with the settings of its run, beside and renamed; arguments as in [`Snapshot`]."""
    path = folder / f"sigma-{sigma:g}-step-{step:08d}.safetensors"
    metadata = {"sigma": repr(sigma), "step": str(step), "time": str(time), "config": json.dumps(config.to_dict())}
    with written_beside(path) as partial:
        save_file(tensors, partial, metadata)


def list_snapshots(folder: Path) -> list[Snapshot]:
    """The snapshots in a folder, by step and width.

    Raises:
        ValueError: one cannot be read, or there is none.
    """
    snapshots = []
    for path in folder.glob("sigma-*.safetensors"):
        metadata = _read_metadata(path)
        snapshots.append(Snapshot(path, float(metadata["sigma"]), int(metadata["step"]), int(metadata["time"])))
    if not snapshots:
        raise ValueError(f"There are no snapshots in {folder}: `ema_power_sigmas` makes a run write them.")
    return sorted(snapshots, key=lambda snapshot: (snapshot.step, snapshot.sigma))


def config_of_snapshot(snapshot: Snapshot) -> TrainingConfig:
    """The settings of the run that wrote it."""
    return TrainingConfig.from_dict(json.loads(_read_metadata(snapshot.path)["config"]))


def _read_metadata(path: Path) -> dict[str, str]:
    try:
        with safe_open(path, "pt") as file:
            return file.metadata()
    except SafetensorError as error:
        raise ValueError(f"{path} is no snapshot that can be read: {error}.") from error


def reconstruct(snapshots: Iterable[Snapshot], sigma: float, step: int) -> dict[str, torch.Tensor]:
    """The average of relative width `sigma` at `step`, from those snapshots that are not later.

    Args:
        snapshots: of one run.
        sigma: any width; the closer to the tracked ones, and the more snapshots, the better.
        step: one at which there is a snapshot.

    Returns:
        `dict[str, torch.Tensor]`: float32 tensors by the parameters' names.

    Raises:
        ValueError: there is no snapshot of that step, or no profile of that width.
    """
    snapshots = list(snapshots)
    times = {snapshot.step: snapshot.time for snapshot in snapshots}
    if step not in times:
        raise ValueError(f"`step` must be one of the snapshots', {', '.join(map(str, sorted(times)))}, got {step}.")
    used = [snapshot for snapshot in snapshots if snapshot.step <= step]
    weights = reconstruction_weights(
        [snapshot.time for snapshot in used],
        [exponent_of_width(snapshot.sigma) for snapshot in used],
        times[step],
        exponent_of_width(sigma, "sigma"),
    )
    totals = {}
    for snapshot, weight in zip(used, weights, strict=True):
        for name, value in load_file(snapshot.path).items():
            # The weights have both signs, and sums of them cancel.
            total = totals.setdefault(name, torch.zeros(value.shape, dtype=torch.float64))
            total.add_(value, alpha=float(weight))
    return {name: total.float() for name, total in totals.items()}
