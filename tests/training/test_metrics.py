# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The figures of a run: their arithmetic against plain loops, the file they are kept in, the trackers."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image

from diffusers_tryon.training import metrics
from diffusers_tryon.training.configuration import TrainingConfig
from diffusers_tryon.training.metrics import RunMetrics, check_trackers, quarter, read_metrics, truncate_metrics
from diffusers_tryon.training.stage import LossOutput


CONFIG = TrainingConfig(preset="tiny-base", dataset="rendered", output_dir="unused", global_batch_size=6)


class Clock:
    """Time that passes when a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.seconds = 100.0
        monkeypatch.setattr(metrics.time, "perf_counter", lambda: self.seconds)


def open_metrics(run_dir: Path, config: TrainingConfig = CONFIG, start_step: int = 0, **settings) -> RunMetrics:
    accelerator = Accelerator(cpu=True, log_with=list(config.trackers) or None, project_dir=run_dir)
    settings = {"flops_per_image": 2e9, "peak_flops": 1e12} | settings
    return RunMetrics(accelerator, config, run_dir, start_step=start_step, **settings)


def output(loss: list[float], squared_error: list[float], timesteps: list[int]) -> LossOutput:
    return LossOutput(torch.tensor(loss), torch.tensor(squared_error), torch.tensor(timesteps), draw=None)


def test_figures_are_those_of_a_plain_loop(tmp_path, monkeypatch):
    clock = Clock(monkeypatch)
    run_metrics = open_metrics(tmp_path)
    generator = torch.Generator().manual_seed(0)
    losses, errors, timesteps, norms = [], [], [], []
    for step in range(3):
        for _ in range(2):
            values = torch.rand(2, 3, generator=generator).tolist()
            chosen = torch.randint(0, 750, (3,), generator=generator).tolist()
            run_metrics.add(output(*values, chosen))
            losses, errors, timesteps = losses + values[0], errors + values[1], timesteps + chosen
        norms.append(float(step + 1))
        run_metrics.finish_step(torch.tensor(norms[-1]), data_wait_seconds=0.5)
    clock.seconds += 4.0
    with run_metrics.paused():
        clock.seconds += 60.0
    values = run_metrics.log(step=10, learning_rate=1e-4, skipped_steps=0)

    assert values["loss"] == pytest.approx(sum(losses) / 18, rel=1e-6)
    for number, (low, high) in enumerate([(0, 250), (250, 500), (500, 750)], start=1):
        own = [error for error, timestep in zip(errors, timesteps) if low <= timestep < high]
        assert values[f"loss_q{number}"] == pytest.approx(sum(own) / len(own), rel=1e-6)
    assert "loss_q4" not in values
    assert (values["gradient_norm"], values["gradient_norm_max"]) == (2.0, 3.0)
    assert (values["images"], values["learning_rate"], values["skipped_steps"]) == (60, 1e-4, 0)
    assert values["images_per_second"] == pytest.approx(18 / 4)
    assert values["data_wait_share"] == pytest.approx(1.5 / 4)
    assert values["model_flop_utilisation"] == pytest.approx(18 / 4 * 2e9 / 1e12)
    assert 0.05 < values["peak_memory_gib"] < 100

    # The next figures are of the steps after these alone.
    run_metrics.add(output([1.0], [5.0], [999]))
    run_metrics.finish_step(torch.tensor(7.0), 0.0)
    clock.seconds += 1.0
    values = run_metrics.log(step=11, learning_rate=1e-4, skipped_steps=0)
    assert (values["loss"], values["loss_q4"], values["gradient_norm"]) == (1.0, 5.0, 7.0)
    assert "loss_q1" not in values and values["images_per_second"] == pytest.approx(6)


def test_quarters_of_the_timesteps():
    assert quarter(torch.tensor([0, 249, 250, 499, 500, 749, 750, 999])).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_skipped_step_counts_for_the_speed_only(tmp_path, monkeypatch):
    clock = Clock(monkeypatch)
    run_metrics = open_metrics(tmp_path, peak_flops=None)
    nan = float("nan")
    run_metrics.add(output([nan], [nan], [3]))
    run_metrics.finish_step(torch.tensor(nan), 0.0, skipped=True)
    clock.seconds += 2.0
    values = run_metrics.log(step=1, learning_rate=0.1, skipped_steps=1)
    assert values["images_per_second"] == pytest.approx(3) and values["skipped_steps"] == 1
    assert not {"loss", "loss_q1", "gradient_norm", "model_flop_utilisation"} & values.keys()
    run_metrics.add(output([2.0], [1.0], [3]))
    run_metrics.finish_step(torch.tensor(1.0), 0.0)
    clock.seconds += 2.0
    assert run_metrics.log(step=2, learning_rate=0.1, skipped_steps=1)["loss"] == 2.0


def test_lines_are_json_of_their_own_whatever_the_values(tmp_path):
    run_metrics = open_metrics(tmp_path)
    run_metrics.write(5, {"loss": 0.5})
    run_metrics.write(5, {"validation_loss": float("nan"), "validation_loss_ema": float("inf")})

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    lines = [json.loads(line, parse_constant=refuse) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == [{"step": 5, "loss": 0.5}, {"step": 5, "validation_loss": None, "validation_loss_ema": None}]
    assert read_metrics(tmp_path) == lines


@pytest.mark.parametrize("cut", [0, 1, 2, 27, 28, 29, 40])
def test_a_resumed_run_drops_what_it_does_again_and_a_line_cut_off(tmp_path, cut):
    lines = [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25}, {"step": 2, "validation_loss": 0.125}]
    text = "".join(json.dumps(line) + "\n" for line in [*lines, {"step": 3, "loss": 0.0625}])
    path = tmp_path / "metrics.jsonl"
    path.write_text(text[: len(text) - cut])
    open_metrics(tmp_path, start_step=2).write(3, {"loss": 1.0})
    kept = [json.loads(line) for line in path.read_text().splitlines()]
    assert kept[-1] == {"step": 3, "loss": 1.0}
    assert kept[:-1] == (lines if cut <= 29 else lines[:2])
    truncate_metrics(tmp_path, 1)
    assert read_metrics(tmp_path) == lines[:1]
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_truncating_needs_no_file(tmp_path):
    truncate_metrics(tmp_path, 0)
    assert read_metrics(tmp_path) == [] and not list(tmp_path.iterdir())


def test_tensorboard_gets_values_settings_and_pictures(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = TrainingConfig(dataset="rendered", output_dir="unused", preset="tiny-base", trackers=("tensorboard",))
    check_trackers(config)
    picture = tmp_path / "sheet.png"
    Image.fromarray(np.full((8, 12, 3), 200, dtype=np.uint8)).save(picture)
    run_metrics = open_metrics(tmp_path, config)
    run_metrics.write(3, {"loss": 0.5, "skipped_steps": 0})
    run_metrics.write(4, {"loss": 0.25}, {"samples": picture})
    run_metrics.accelerator.end_training()
    (events,) = (tmp_path / "diffusers-tryon").glob("events.*")
    accumulator = EventAccumulator(str(events))
    accumulator.Reload()
    assert [(event.step, event.value) for event in accumulator.Scalars("loss")] == [(3, 0.5), (4, 0.25)]
    (image,) = accumulator.Images("samples")
    assert (image.step, image.width, image.height) == (4, 12, 8)
    assert [line["loss"] for line in read_metrics(tmp_path)] == [0.5, 0.25]
    assert any("learning_rate" in path.read_text() for path in tmp_path.rglob("hparams.yml"))


def test_trackers_that_cannot_be_had_are_named():
    def config(*trackers):
        return TrainingConfig(dataset="rendered", output_dir="unused", preset="tiny-base", trackers=trackers)

    check_trackers(config())
    with pytest.raises(ValueError, match="`trackers` must be among tensorboard, wandb, trackio, got 'mlflow'"):
        check_trackers(config("tensorboard", "mlflow"))
    for name in [name for name in ("wandb", "trackio") if find_spec(name) is None]:
        with pytest.raises(
            ValueError, match=rf"'{name}', which is not installed: pip install 'diffusers-tryon\[{name}\]"
        ):
            check_trackers(config(name))
