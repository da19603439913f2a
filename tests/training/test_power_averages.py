# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Averages of any width from snapshots of two, against averages of a known history of weights."""

import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_cascade import tiny_cascade

from diffusers_tryon import TryOnCascadePipeline
from diffusers_tryon.training.configuration import TrainingConfig
from diffusers_tryon.training.ema import WeightAverages
from diffusers_tryon.training.initial import load_initial, trainable_parameters
from diffusers_tryon.training.power_averages import (
    exponent_of_width,
    list_snapshots,
    reconstruct,
    reconstruction_weights,
)


ROOT = Path(__file__).parents[2]
CONFIG = TrainingConfig(
    preset="tiny-base", dataset="unused", output_dir="unused", ema_power_sigmas=(0.05, 0.1), ema_snapshot_every=20
)
STEPS = 400
SKIPPED = {150, 151}


def direct_average(history: torch.Tensor, sigma: float) -> torch.Tensor:
    """The average of weights (T, ...) by its definition: the profile's integral over each step's time."""
    power, ends = exponent_of_width(sigma) + 1, torch.arange(len(history) + 1, dtype=torch.float64) / len(history)
    weights = ends[1:] ** power - ends[:-1] ** power
    return torch.tensordot(weights, history.double(), dims=1)


@pytest.fixture(scope="module")
def walk(tmp_path_factory) -> tuple[Path, torch.Tensor]:
    """Snapshots of a random walk of 64 weights around 10, and all its positions but those of skipped steps."""
    folder = tmp_path_factory.mktemp("snapshots")
    parameter = torch.nn.Parameter(torch.full((8, 8), 10.0))
    still = torch.nn.Parameter(torch.full((3,), 1 / 3))
    averages = WeightAverages([parameter, still], CONFIG)
    generator, history = torch.Generator().manual_seed(0), []
    for step in range(1, STEPS + 1):
        if step not in SKIPPED:
            parameter.data += 0.05 * torch.randn(8, 8, generator=generator)
            averages.step([parameter, still])
            history.append(parameter.detach().clone())
        if step % CONFIG.ema_snapshot_every == 0:
            averages.save_snapshot(folder, step, ["walk", "still"])
    return folder, torch.stack(history)


def rms(difference: torch.Tensor) -> float:
    return float(difference.double().square().mean().sqrt())


@pytest.mark.parametrize("step", [200, 400])
@pytest.mark.parametrize(("sigma", "share"), [(0.03, 0.15), (0.075, 0.01), (0.15, 0.01), (0.2, 0.02)])
def test_an_average_that_was_not_tracked_is_reconstructed(walk, step, sigma, share):
    folder, history = walk
    history = history[: step - len(SKIPPED)] if step > 151 else history[:step]
    expected = direct_average(history, sigma)
    error = rms(reconstruct(list_snapshots(folder), sigma, step)["walk"] - expected)
    distance = min(rms(direct_average(history, tracked) - expected) for tracked in CONFIG.ema_power_sigmas)
    assert error < share * distance, (error, distance)


def test_an_average_that_was_tracked_is_reconstructed_exactly(walk):
    folder, history = walk
    snapshots = list_snapshots(folder)
    for snapshot in (snapshots[20], snapshots[-1]):
        tensors = reconstruct(snapshots, snapshot.sigma, snapshot.step)
        for name, value in load_file(snapshot.path).items():
            torch.testing.assert_close(tensors[name], value, rtol=1e-6, atol=0)
    torch.testing.assert_close(
        tensors["walk"].double(), direct_average(history, snapshots[-1].sigma), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("sigma", [0.03, 0.15, 0.28])
def test_weights_that_never_changed_stay_whatever_the_width(walk, sigma):
    tensors = reconstruct(list_snapshots(walk[0]), sigma, STEPS)
    torch.testing.assert_close(tensors["still"], torch.full((3,), 1 / 3), rtol=1e-6, atol=0)


def test_snapshots_are_weighted_as_the_best_fit_of_sampled_profiles():
    times, exponents, target = [40, 70, 100, 100], [6.9, 17.0, 6.9, 17.0], (100, 10.0)
    axis = (np.arange(200_000) + 0.5) / 2000

    def density(time: float, exponent: float) -> np.ndarray:
        return np.where(axis < time, (exponent + 1) * (axis / time) ** exponent / time, 0)

    profiles = np.stack([density(*pair) for pair in zip(times, exponents)], axis=1)
    weights = reconstruction_weights(times, exponents, *target)
    assert weights.sum() == pytest.approx(1)

    def error(weights: np.ndarray) -> float:
        return float(np.square(profiles @ weights - density(*target)).mean())

    # No step that leaves the sum as it is makes the fit better.
    for first in range(4):
        for second in range(4):
            moved = weights.copy()
            moved[first] += 0.01
            moved[second] -= 0.01
            assert first == second or error(moved) > error(weights)


def test_what_cannot_be_reconstructed_is_refused(walk, tmp_path):
    snapshots = list_snapshots(walk[0])
    with pytest.raises(ValueError, match="`step` must be one of the snapshots', 20, 40, .*, 400, got 401"):
        reconstruct(snapshots, 0.08, 401)
    with pytest.raises(ValueError, match="`sigma` must be above 0 and at most 0.2887, got 0.5"):
        reconstruct(snapshots, 0.5, 400)
    with pytest.raises(ValueError, match="There are no snapshots in .*: `ema_power_sigmas` makes a run write them"):
        list_snapshots(tmp_path)
    (tmp_path / "sigma-0.05-step-00000020.safetensors").write_bytes(snapshots[0].path.read_bytes()[:50])
    with pytest.raises(ValueError, match="sigma-0.05-step-00000020.safetensors is no snapshot that can be read"):
        list_snapshots(tmp_path)


SCRIPT = ROOT / "training" / "reconstruct_ema.py"


def run_in_this_process(**arguments) -> None:
    runpy.run_path(str(SCRIPT))["main"](**arguments)


def snapshots_of_run(folder: Path, config: TrainingConfig) -> torch.nn.Module:
    """Three snapshots of a network whose trained weights grow step by step, and that network."""
    unet = load_initial(config).unet
    parameters = trainable_parameters(unet)
    averages = WeightAverages(parameters.values(), config)
    for step in (1, 2, 3):
        with torch.no_grad():
            for parameter in parameters.values():
                parameter.add_(0.01 * step)
        averages.step(parameters.values())
        averages.save_snapshot(folder, step, parameters)
    with averages.swapped_in(parameters.values(), "power-0.1"):
        unet.averaged = {name: value.detach().clone() for name, value in unet.state_dict().items()}
    return unet


def test_the_script_writes_a_pipeline_that_a_run_can_start_from(tmp_path):
    unet = snapshots_of_run(tmp_path / "snapshots", CONFIG)
    arguments = {"snapshots": tmp_path / "snapshots", "sigma": 0.1, "out": tmp_path / "pipeline"}
    command = [sys.executable, SCRIPT, *(text for name, value in arguments.items() for text in (f"--{name}", value))]
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    weights = TryOnCascadePipeline.from_pretrained(tmp_path / "pipeline").base_unet.state_dict()
    assert weights.keys() == unet.averaged.keys()
    for name, value in weights.items():
        torch.testing.assert_close(value, unet.averaged[name], rtol=1e-6, atol=1e-9, msg=name)
    load_initial(replace(CONFIG, preset=None, initial_model=str(tmp_path / "pipeline")))


def test_the_script_writes_adapters_of_a_run_that_trained_some(tmp_path):
    tiny_cascade(with_sr=False).save_pretrained(tmp_path / "pipeline")
    config = replace(CONFIG, preset=None, initial_model=str(tmp_path / "pipeline"), lora_rank=2)
    unet = snapshots_of_run(tmp_path / "snapshots", config)
    run_in_this_process(snapshots=tmp_path / "snapshots", sigma=0.1, out=tmp_path / "adapters", step=3)
    pipe = TryOnCascadePipeline.from_pretrained(tmp_path / "pipeline")
    pipe.load_lora_weights(tmp_path / "adapters", adapter_name="default")
    weights = pipe.base_unet.state_dict()
    assert weights.keys() == unet.averaged.keys()
    for name, value in weights.items():
        torch.testing.assert_close(value, unet.averaged[name], rtol=1e-6, atol=1e-9, msg=name)


def test_the_script_says_what_is_wrong_in_a_line(tmp_path):
    with pytest.raises(SystemExit) as stopped:
        run_in_this_process(snapshots=tmp_path, sigma=0.1, out=tmp_path / "network")
    assert str(stopped.value).startswith("ValueError: There are no snapshots in")
    assert not (tmp_path / "network").exists()
