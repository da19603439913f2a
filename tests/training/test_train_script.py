# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The training script: it learns, resumes bit for bit, stops when it has to, and leaves a pipeline."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from training_runs import (
    assert_same_state,
    command_line,
    metrics_of,
    run_here,
    run_script,
    settings,
    start_here,
    state_of,
)
from waiting import PATIENCE_SECONDS, wait_until

from diffusers_tryon import ParallelUNetModel, TryOnCascadePipeline
from diffusers_tryon.hub.export import load_components
from diffusers_tryon.rendering.samples import render_pair
from diffusers_tryon.rendering.writer import write_pairs
from diffusers_tryon.training.checkpoints import checkpoint_step, list_checkpoints, newest_checkpoint
from diffusers_tryon.training.configuration import TrainingConfig
from diffusers_tryon.training.dataset import open_training_rows
from diffusers_tryon.training.guards import read_failed_batch
from diffusers_tryon.training.initial import load_initial
from diffusers_tryon.training.loader import TrainingBatches


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """Eight pairs in two shards, for streams too."""
    folder = tmp_path_factory.mktemp("pool")
    write_pairs(folder, 8, 64, rows_per_shard=4)
    return str(folder)


@pytest.fixture(scope="module")
def base_run(pool, tmp_path_factory):
    """The folder of a finished run of two steps, not to be written to."""
    folder = tmp_path_factory.mktemp("base_run")
    run_here(folder, dataset=pool, max_steps=2)
    return folder


def make_picture(pipeline: TryOnCascadePipeline, size: int) -> Image.Image:
    row = render_pair(0, size)
    pipeline.set_progress_bar_config(disable=True)
    names = ("agnostic_image", "garment_image", "person_pose", "garment_pose")
    return pipeline(
        **{name: row[name] for name in names}, num_inference_steps=2, generator=torch.Generator().manual_seed(0)
    ).images[0]


# It learns


def test_eight_pairs_are_learned_by_heart(pool, tmp_path):
    run_here(
        tmp_path,
        dataset=pool,
        max_steps=300,
        global_batch_size=8,
        learning_rate=5e-3,
        lr_schedule="cosine",
        condition_dropout=0,
        max_agnostic_noise_level=0,
        max_garment_noise_level=0,
        ema_decay=0.98,
        prediction_type="sample",
        sample_guidance_scale=1,
        log_every=20,
        num_validation_rows=8,
        sample_steps=10,
        num_workers=1,
        trackers=("tensorboard",),
    )
    lines = metrics_of(tmp_path)
    final = {name: value for line in lines for name, value in line.items()}
    # From noise alone, in ten steps; what the agnostic picture shows instead, grey, is at 12.9 dB.
    assert final["sample_psnr"] > 20
    assert final["validation_loss_ema"] < 0.2 * lines[0]["loss"]
    assert any(path.name.startswith("events") for path in tmp_path.rglob("*"))
    assert (tmp_path / "curves.png").exists() and list((tmp_path / "samples").glob("*.png"))
    picture = make_picture(TryOnCascadePipeline.from_pretrained(tmp_path / "model"), 32)
    assert picture.size == (32, 32)


def test_steps_are_those_of_a_plain_loop(pool, tmp_path):
    changes = {"dataset": pool, "max_steps": 3, "warmup_steps": 4, "lr_schedule": "cosine", "learning_rate": 0.01}
    changes |= {"max_grad_norm": 0.05, "adam_epsilon": 1e-3, "weight_decay": 0.1, "loss_weighting": "min_snr"}
    training = run_here(tmp_path, **changes, micro_batch_size=2)
    config = TrainingConfig.from_dict(settings(tmp_path, **changes))
    unet = load_initial(config).unet
    average = [parameter.detach().clone() for parameter in unet.parameters()]
    optimizer = torch.optim.AdamW(unet.parameters(), eps=1e-3, weight_decay=0.1)
    batches = TrainingBatches(open_training_rows(config), config, 0, 0, 1)
    for step, rate in enumerate([0.01 / 4 * 1, 0.01 / 2 * 0.75, 0.01 * 3 / 4 * 0.25]):
        optimizer.param_groups[0]["lr"] = rate
        loss = training.stage.loss(unet, next(batches), step, [0, 1, 2, 3]).loss.mean()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(unet.parameters(), 0.05)
        optimizer.step()
        optimizer.zero_grad()
        for mean, parameter in zip(average, unet.parameters()):
            mean += (parameter.detach() - mean) * (step + 1) ** -0.75
        line = metrics_of(tmp_path)[step]
        found = [line[name] for name in ("loss", "gradient_norm", "learning_rate")]
        assert found == pytest.approx([loss.item(), norm.item(), rate], rel=1e-3)
        assert norm > 0.05
    for name, found, expected in zip(dict(unet.named_parameters()), training.parameters, unet.parameters()):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5, msg=name)
    for found, expected in zip(training.state.averages.tracks["ema"], average, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_the_averages_are_drawn_and_validated_beside_the_weights(pool, tmp_path):
    training = run_here(tmp_path, dataset=pool, max_steps=3, learning_rate=0.05, sample_guidance_scale=1)
    values = {name: value for line in metrics_of(tmp_path) for name, value in line.items()}
    checkpoint, found = newest_checkpoint(tmp_path), {}
    for folder in ("unet", "ema"):
        unet = ParallelUNetModel.from_pretrained(checkpoint / folder)
        found[folder] = training.validation.losses(unet, lambda: False)["validation_loss"]
        sheet = training.validation.draw_sheets(unet, tmp_path / folder, 3, lambda: False)
        found[f"{folder} psnr"] = sheet.values["sample_psnr"]
    assert values["validation_loss"] == pytest.approx(found["unet"], rel=1e-5)
    assert values["validation_loss_ema"] == pytest.approx(found["ema"], rel=1e-5)
    assert values["sample_psnr"] == pytest.approx(found["ema psnr"], rel=1e-5)
    for kind in ("", " psnr"):
        assert abs(found[f"unet{kind}"] / found[f"ema{kind}"] - 1) > 1e-3


# Resume


@pytest.mark.parametrize(
    "changes",
    [
        {"augmentation": {}, "ema_power_sigmas": (0.1,), "ema_snapshot_every": 2},
        {"streaming": True, "stream_lanes": 2, "micro_batch_size": 2, "num_workers": 1},
        {"dataset": "rendered", "preset": "tiny-sr", "checkpoint_in_background": True, "mixed_precision": "bf16"},
    ],
    ids=["table", "stream", "sr"],
)
def test_a_resumed_run_equals_an_uninterrupted_one(pool, tmp_path, changes):
    changes = {"dataset": pool, **changes}
    run_here(tmp_path / "whole", **changes)
    run_here(tmp_path / "halves", **changes, stop_at_step=3)
    assert checkpoint_step(newest_checkpoint(tmp_path / "halves")) == 3
    training = run_here(tmp_path / "halves", **changes)
    assert training.state.step == 6
    assert_same_state(tmp_path / "whole", tmp_path / "halves")
    whole, halves = (
        {(line["step"], name): value for line in metrics_of(tmp_path / folder) for name, value in line.items()}
        for folder in ("whole", "halves")
    )
    for key in whole:
        if key[1] in ("loss", "gradient_norm", "validation_loss", "validation_loss_ema", "sample_psnr"):
            assert whole[key] == halves[key], key
    # The weights did move.
    state = state_of(tmp_path / "whole")
    assert any(value.abs().max() > 0 for name, value in state.items() if name == "unet.conv_out.weight")


def test_a_killed_run_goes_on_as_if_nothing_had_happened(pool, tmp_path):
    changes = {"dataset": pool, "max_steps": 60, "checkpoint_every": 2, "log_every": 1}
    run_here(tmp_path / "whole", **changes)
    run = subprocess.Popen([sys.executable, *command_line(tmp_path / "killed", **changes)], stderr=subprocess.DEVNULL)
    wait_until(lambda: len(progress_of(tmp_path / "killed")) >= 5)
    run.kill()
    run.wait()
    assert newest_checkpoint(tmp_path / "killed") is not None
    assert len(progress_of(tmp_path / "killed")) < 60
    run_here(tmp_path / "killed", **changes)
    assert_same_state(tmp_path / "whole", tmp_path / "killed")
    steps = [line["step"] for line in metrics_of(tmp_path / "killed") if "loss" in line]
    assert steps == list(range(1, 61))


def test_a_run_on_a_new_machine_goes_on_from_the_mirror(pool, tmp_path):
    changes = {"dataset": pool, "checkpoint_mirror": (tmp_path / "mirror").as_uri()}
    run_here(tmp_path / "whole", dataset=pool)
    run_here(tmp_path / "first", **changes, stop_at_step=3)
    assert run_here(tmp_path / "second", **changes).state.step == 6
    assert_same_state(tmp_path / "whole", tmp_path / "second")
    assert [line["step"] for line in metrics_of(tmp_path / "second") if "loss" in line] == [4, 5, 6]


def test_no_snapshot_of_the_averages_is_lost_if_the_program_ends_in_a_checkpoint(pool, tmp_path):
    training = start_here(tmp_path, dataset=pool, ema_power_sigmas=(0.1,), ema_snapshot_every=2, checkpoint_every=2)
    (tmp_path / "checkpoints").write_text("in the way")
    with pytest.raises(OSError):
        training.run()
    assert [path.name for path in (tmp_path / "ema_snapshots").iterdir()] == ["sigma-0.1-step-00000002.safetensors"]


def progress_of(run_dir: Path) -> list[str]:
    path = run_dir / "metrics.jsonl"
    return path.read_text().splitlines() if path.exists() else []


# Signals


@pytest.mark.parametrize("during", ["sample sheets", pytest.param("training", marks=pytest.mark.slow)])
def test_a_signal_saves_and_ends_with_success(pool, tmp_path, during):
    changes = {"dataset": pool, "max_steps": 10_000, "checkpoint_every": 10_000}
    if during == "sample sheets":
        # So many steps of the solver take far longer than the test waits for the line that is logged before them.
        changes |= {"sample_steps": 1000, "sample_every": 3, "num_validation_rows": 8}
    run = subprocess.Popen(
        [sys.executable, *command_line(tmp_path, **changes)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_until(lambda: len(progress_of(tmp_path)) >= 3)
    # The whole group gets it, as from a cluster's scheduler.
    os.killpg(run.pid, signal.SIGTERM if during == "training" else signal.SIGUSR1)
    output, errors = run.communicate(timeout=PATIENCE_SECONDS)
    assert run.returncode == 0, errors
    step = checkpoint_step(newest_checkpoint(tmp_path))
    assert 3 <= step < 10_000
    assert f"after step {step}; run the same command" in output
    if during == "sample sheets":
        assert step == 3
        assert not any("sample_psnr" in line for line in metrics_of(tmp_path))
    assert not (tmp_path / "model").exists()


def test_what_a_signal_left_out_of_the_last_look_is_made_up_for(pool, tmp_path):
    changes = {"dataset": pool, "max_steps": 2}

    def request_stop(*_) -> None:
        if not torch.is_grad_enabled():
            training.signal.name = "SIGTERM"

    training = start_here(tmp_path, **changes)
    training.state.unet.register_forward_hook(request_stop)
    training.run()
    assert not any("validation_loss_ema" in line for line in metrics_of(tmp_path))
    assert training.state.step == 2 and not (tmp_path / "model").exists()
    for _ in range(2):  # the second time nothing is left to do
        run_here(tmp_path, **changes)
        names = [name for line in metrics_of(tmp_path) for name in line if line["step"] == 2]
        assert names.count("validation_loss_ema") == names.count("sample_psnr") == 1
        assert (tmp_path / "model").exists()
    with pytest.raises(ValueError, match="`max_steps` is 1, and `output_dir` has a run of 2 steps"):
        start_here(tmp_path, dataset=pool, max_steps=1)


# Guards


def test_a_loss_that_is_not_finite_stops_the_run_and_is_written_down(pool, tmp_path):
    changes = {"dataset": pool, "checkpoint_every": 1}
    run_here(tmp_path, **changes, stop_at_step=2)
    before = state_of(tmp_path)
    training = start_here(tmp_path, **changes)
    spoil(training, steps=[3])
    with pytest.raises(FloatingPointError, match="The loss of step 4 is not finite"):
        training.run()
    assert checkpoint_step(newest_checkpoint(tmp_path)) == 3
    assert all(torch.isfinite(value).all() for value in state_of(tmp_path).values())
    assert any(not torch.equal(before[name], value) for name, value in state_of(tmp_path).items())
    failed = read_failed_batch(next((tmp_path / "failed_batches").glob("*.json")))
    assert (failed.step, failed.indices) == (3, [0, 1, 2, 3])


def test_a_gradient_that_is_not_finite_stops_the_run_too(pool, tmp_path):
    training = start_here(tmp_path, dataset=pool, micro_batch_size=2, checkpoint_every=1)
    training.parameters[-1].register_hook(lambda gradient: gradient / (training.state.step != 1))
    with pytest.raises(FloatingPointError, match="The gradient of step 2 is not finite"):
        training.run()
    assert all(torch.isfinite(parameter).all() for parameter in training.parameters)
    assert training.state.averages.steps == 1 and checkpoint_step(newest_checkpoint(tmp_path)) == 1
    # Any batch of the step may have made it.
    failed = [read_failed_batch(path).indices for path in sorted((tmp_path / "failed_batches").glob("*.json"))]
    assert failed == [[0, 1], [2, 3]]


def test_only_the_batch_whose_loss_is_not_finite_is_written_down(pool, tmp_path):
    training = start_here(tmp_path, dataset=pool, micro_batch_size=2)
    loss = training.stage.loss

    def spoiled(model, batch, step, indices):
        output = loss(model, batch, step, indices)
        return output._replace(loss=output.loss / torch.tensor([index != 3 for index in indices]))

    training.stage.loss = spoiled
    with pytest.raises(FloatingPointError, match="The loss of step 1 is not finite"):
        training.run()
    failed = [read_failed_batch(path).indices for path in (tmp_path / "failed_batches").glob("*.json")]
    assert failed == [[2, 3]]


def test_skipped_steps_are_counted_and_change_nothing(pool, tmp_path):
    training = start_here(tmp_path, dataset=pool, max_skipped_steps=1)
    spoil(training, steps=[2])
    seen = []
    step_averages = training.state.averages.step
    training.state.averages.step = lambda parameters: (seen.append(training.state.step), step_averages(parameters))
    training.run()
    assert seen == [0, 1, 3, 4, 5]
    lines = [line for line in metrics_of(tmp_path) if "learning_rate" in line]
    assert [line["skipped_steps"] for line in lines] == [0, 0, 1, 1, 1, 1]
    state = state_of(tmp_path)
    assert (state["step"], state["skipped_steps"], state["averaged_steps"]) == (6, 1, 5)
    assert all(torch.isfinite(value).all() for value in state.values())


def spoil(training, steps: list[int]) -> None:
    """Make the loss infinite in these steps."""
    loss = training.stage.loss

    def spoiled(model, batch, step, indices):
        output = loss(model, batch, step, indices)
        return output._replace(loss=output.loss * float("inf")) if step in steps else output

    training.stage.loss = spoiled


# Settings and data that cannot work


def test_another_setting_or_dataset_is_not_resumed_with(pool, base_run, tmp_path):
    with pytest.raises(ValueError, match="`learning_rate`: 0.0003 -> 0.001"):
        start_here(base_run, dataset=pool, max_steps=2, learning_rate=1e-3)
    write_pairs(tmp_path / "other", 5, 64)
    with pytest.raises(ValueError, match="`dataset`: .*; content of the dataset: 8 rows.* -> 5 rows"):
        start_here(base_run, dataset=str(tmp_path / "other"), max_steps=2)
    # What does not change the numbers may change, and a run at a constant rate may be made longer.
    free = {"log_every": 7, "max_steps": 9, "max_skipped_steps": 3}
    assert start_here(base_run, dataset=pool, **free).state.step == 2
    assert start_here(base_run, dataset=pool, learning_rate=1e-3, allow_changes=True).state.step == 2


def test_a_broken_checkpoint_is_passed_over(pool, tmp_path, caplog):
    run_here(tmp_path, dataset=pool, max_steps=4, checkpoint_every=2)
    newest = list_checkpoints(tmp_path)[-1]
    with open(newest / "optimizer.pt", "r+b") as file:
        file.truncate(1000)
    assert start_here(tmp_path, dataset=pool, max_steps=4, checkpoint_every=2).state.step == 2
    assert "step-00000004" in caplog.text and "optimizer.pt" in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"global_batch_size": 6, "micro_batch_size": 4}, "`global_batch_size` must be a multiple of `micro_batch"),
        ({"stage": "sr", "low_res_size": 32}, "`stage` is 'sr', and the network of `preset` tiny-base is one for"),
        ({"preset": "tiny-sr", "stage": "base", "low_res_size": None}, "`stage` is 'base', and the network"),
        ({"preset": "tiny-sr", "low_res_size": 64}, "`low_res_size` must make a smaller picture"),
        ({"unet_overrides": {"sample_size": 34}}, "must have sides that are multiples of 4.*34 x 34"),
        ({"unet_overrides": {"sample_size": [64, 32]}}, "would be distorted"),
        ({"trackers": ("mlflow",)}, "`trackers` must be among tensorboard, wandb, trackio, got 'mlflow'"),
        ({"dataset": "no/such folder"}, "`dataset: no/such folder` cannot be opened: .*must be a folder or the id"),
        ({"validation_dataset": "no such"}, "`validation_dataset: no such` cannot be opened"),
        ({"streaming": True, "stream_lanes": 4}, "`stream_lanes` must be at most the number of shards"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_named_before_the_first_step(pool, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        start_here(tmp_path, **{"dataset": pool, **changes})
    assert not list(tmp_path.glob("checkpoints/*")) and not (tmp_path / "metrics.jsonl").exists()


def test_an_output_folder_that_cannot_be_made_is_named(pool, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="`output_dir` .*file cannot be made: File exists"):
        start_here(tmp_path / "file", dataset=pool)


def test_missing_columns_end_the_program_with_one_line(tmp_path):
    (tmp_path / "data").mkdir()
    datasets.Dataset.from_dict({"person_pose": [[0.0]]}).to_parquet(tmp_path / "data" / "train-00000-of-00001.parquet")
    result = run_script(tmp_path / "run", dataset=str(tmp_path / "data"))
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "person_image, agnostic_image, agnostic_mask, garment_image, garment_pose" in result.stderr.splitlines()[-1]


# What a run leaves


def test_both_stages_become_a_cascade(pool, base_run, tmp_path):
    run_here(
        tmp_path / "sr",
        dataset=pool,
        preset="tiny-sr",
        max_steps=2,
        noise_schedule="shifted_cosine",
        base_model=str(base_run / "model"),
        base_output_probability=0.5,
        base_output_steps=2,
    )
    pipeline = TryOnCascadePipeline.from_pretrained(tmp_path / "sr" / "model")
    assert make_picture(pipeline, 64).size == (64, 64)
    averaged = ParallelUNetModel.from_pretrained(list_checkpoints(tmp_path / "sr")[-1] / "ema").state_dict()
    for name, value in pipeline.sr_unet.state_dict().items():
        assert torch.equal(value, averaged[name]), name
    assert str(tmp_path) not in (tmp_path / "sr" / "model" / "README.md").read_text()


def test_a_finished_run_is_trained_further_and_adapted(pool, base_run, tmp_path):
    further = {"dataset": pool, "preset": None, "initial_model": str(base_run), "max_steps": 2}
    run_here(tmp_path / "further", **further)
    training = run_here(tmp_path / "lora", **further, lora_rank=2, learning_rate=0.01)
    pipeline = TryOnCascadePipeline.from_pretrained(base_run / "model")
    before = np.asarray(make_picture(pipeline, 32)).astype(int)
    pipeline.load_lora_weights(tmp_path / "lora" / "model")
    assert np.abs(np.asarray(make_picture(pipeline, 32)) - before).max() > 0
    adapters = [name for name in state_of(tmp_path / "lora") if name.startswith("unet.")]
    assert adapters and all("lora" in name for name in adapters)
    assert training.state.unet.conv_in.weight.requires_grad is False


# The Hub


def test_a_run_pushes_while_it_trains_and_survives_a_hub_that_fails(pool, tmp_path, fake_hub):
    environment = fake_hub.environment(tmp_path / "cache")
    changes = {"dataset": pool, "max_steps": 4, "checkpoint_every": 2, "hub_strategy": "latest_folder"}
    result = run_script(tmp_path / "run", environment, **changes, hub_model_id="me/run")
    assert result.returncode == 0, result.stderr
    files = fake_hub.files("me/run")
    assert {"README.md", "model_index.json", "base_unet/config.json", "curves.png", "samples.png"} <= set(files)
    assert "checkpoints/latest/base_unet/config.json" in files
    assert not any("optimizer" in name for name in files)
    assert str(tmp_path).encode() not in b"".join(files.values())
    assert make_picture(TryOnCascadePipeline.from_pretrained("me/run"), 32).size == (32, 32)


def test_what_a_kill_left_of_publishing_is_removed(pool, tmp_path):
    (tmp_path / "tmp-network").mkdir()
    (tmp_path / "tmp-network" / "diffusion_pytorch_model.safetensors").write_bytes(b"half of it")
    run_here(tmp_path, dataset=str(pool), max_steps=1)
    assert not list(tmp_path.glob("tmp-*"))
    load_components(tmp_path, "base", torch.float32)


def test_a_model_that_cannot_be_written_does_not_stop_training(pool, tmp_path, caplog):
    changes = {"hub_model_id": "me/run", "hub_strategy": "latest_folder"}
    training = start_here(tmp_path, dataset=pool, checkpoint_every=1, stop_at_step=2, **changes)
    (tmp_path / "tmp-model").write_text("in the way")
    training.run()
    assert checkpoint_step(newest_checkpoint(tmp_path)) == 2
    assert "The model of step 1 cannot be published; training goes on" in caplog.text
