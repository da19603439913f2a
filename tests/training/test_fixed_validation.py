# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Fixed validation: its numbers against a plain loop, free of chance and of the number of processes; its pictures
against the pipeline."""

import dataclasses
import json
import math
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from diffusers import DDPMScheduler
from PIL import Image
from seeing_of_a_run import report
from training_runs import launcher

from diffusers_tryon import TryOnCascadePipeline, create_unet
from diffusers_tryon.rendering.stream import RenderedRows
from diffusers_tryon.schedules import create_scheduler
from diffusers_tryon.training import validation
from diffusers_tryon.training.configuration import TrainingConfig
from diffusers_tryon.training.stage import TrainingStage
from diffusers_tryon.training.validation import FixedValidation, edited_psnr, validation_timestep


CONFIG = TrainingConfig(
    preset="tiny-base",
    dataset="rendered",
    output_dir="unused",
    rendered_size=32,
    global_batch_size=4,
    num_validation_rows=5,
    sample_steps=3,
)
SR_CONFIG = dataclasses.replace(CONFIG, preset="tiny-sr", stage="sr", low_res_size=32, rendered_size=64)


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    source = RenderedRows(32, seed=3)
    return [source[index] for index in range(9)]


def never() -> bool:
    return False


def open_validation(config: TrainingConfig, rows: list[dict]) -> tuple[torch.nn.Module, FixedValidation]:
    """A network that is not blank, and its validation."""
    torch.manual_seed(0)
    unet = create_unet(config.preset).eval()
    for parameter in unet.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    stage = TrainingStage(config, unet, torch.device("cpu"), None, create_scheduler("ddpm"))
    return unet, FixedValidation(config, stage, rows, Accelerator(cpu=True))


def test_losses_are_those_of_a_plain_loop_and_the_same_every_time(rows):
    unet, fixed = open_validation(CONFIG, rows)
    calls = []
    handle = unet.register_forward_hook(
        lambda _, args, kwargs, out: calls.append((args, kwargs, out)), with_kwargs=True
    )
    losses = fixed.losses(unet, never)
    handle.remove()
    torch.rand(3)  # the state of the global generator is nothing to it
    assert fixed.losses(unet, never) == losses
    assert fixed.losses(unet, never, "validation_loss_ema") == {
        name.replace("loss", "loss_ema"): value for name, value in losses.items()
    }

    alphas_cumprod = DDPMScheduler(beta_schedule="squaredcos_cap_v2").alphas_cumprod.double()
    people = [torch.tensor(row["person_image"]).permute(2, 0, 1).double() / 127.5 - 1 for row in rows[:5]]
    garments = [torch.tensor(row["garment_image"]).permute(2, 0, 1).double() / 127.5 - 1 for row in rows[:5]]
    errors = {}
    for (noisy, timesteps), kwargs, out in calls:
        assert kwargs["conditioning_mask"].all() and (kwargs["agnostic_noise_level"] == 0).all()
        for place, timestep in enumerate(timesteps.tolist()):
            garment = kwargs["garment_image"][place].double()
            (number,) = [number for number in range(5) if torch.allclose(garment, garments[number], atol=1e-5)]
            level = alphas_cumprod[timestep]
            noise = (noisy[place] - level.sqrt() * people[number]) / (1 - level).sqrt()
            assert abs(noise.mean()) < 0.1 and abs(noise.std() - 1) < 0.1
            velocity = level.sqrt() * noise - (1 - level).sqrt() * people[number]
            errors[number, timestep] = (out.sample[place] - velocity).square().mean().item()
    # Every row in every quarter, at two levels by turns.
    even, odd = (62, 312, 562, 812), (187, 437, 687, 937)
    assert sorted(errors) == [(row, timestep) for row in range(5) for timestep in (odd if row % 2 else even)]
    assert losses["validation_loss"] == pytest.approx(sum(errors.values()) / 20, rel=1e-4)
    for quarter in range(4):
        own = [error for (_, timestep), error in errors.items() if timestep // 250 == quarter]
        assert losses[f"validation_loss_q{quarter + 1}"] == pytest.approx(sum(own) / 5, rel=1e-4)


def test_timesteps_are_the_middles_of_eighths():
    grid = sorted({validation_timestep(row, quarter) for row in range(8) for quarter in range(4)})
    assert grid == [int(1000 * (eighth + 0.5) / 8) for eighth in range(8)]


def test_losses_do_not_depend_on_the_batches(rows):
    unet, whole = open_validation(dataclasses.replace(CONFIG, global_batch_size=8), rows)
    _, pieces = open_validation(dataclasses.replace(CONFIG, micro_batch_size=2), rows)
    assert len(whole.row_numbers) == 5 and len(pieces.row_numbers) == 6
    expected, found = whole.losses(unet, never), pieces.losses(unet, never)
    assert found == pytest.approx(expected, rel=1e-5)


def test_stopping_is_asked_for_between_batches(rows, tmp_path):
    unet, fixed = open_validation(dataclasses.replace(CONFIG, micro_batch_size=1), rows)
    calls = []
    unet.register_forward_hook(lambda *_: calls.append(1))
    assert fixed.losses(unet, lambda: len(calls) == 7) is None and len(calls) == 7
    assert fixed.draw_sheets(unet, tmp_path / "samples", 3, lambda: len(calls) == 9) is None and len(calls) == 9
    assert not (tmp_path / "samples").exists()


def sheet_columns(monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """What is drawn on the sheets, filled in while they are drawn."""
    found, draw_sheet = {}, validation.draw_sheet

    def spy(columns, *poses):
        found.update(columns)
        return draw_sheet(columns, *poses)

    monkeypatch.setattr(validation, "draw_sheet", spy)
    return found


def test_pictures_are_those_of_the_pipeline(rows, tmp_path, monkeypatch):
    unet, fixed = open_validation(CONFIG, rows)
    columns, first_inputs = sheet_columns(monkeypatch), []
    handle = unet.register_forward_hook(
        lambda _, args, kwargs, out: first_inputs.append(kwargs["sample"]), with_kwargs=True
    )
    sheet = fixed.draw_sheets(unet, tmp_path, 40, never)
    handle.remove()
    assert list(columns) == ["person and pose", "garment and its pose", "without guidance", "guidance 2", "truth"]
    pipeline = TryOnCascadePipeline(unet, create_scheduler("dpmsolver++"), create_scheduler("ddpm"))
    pipeline.set_progress_bar_config(disable=True)
    for caption, scale in (("without guidance", 1.0), ("guidance 2", 2.0)):
        images = pipeline(
            **{name: np.stack([row[name] for row in rows[:5]]) for name in validation_inputs()},
            num_inference_steps=3,
            guidance_scale=scale,
            latents=first_inputs[0],
            output_type="pt",
        ).images
        torch.testing.assert_close(images, columns[caption] / 2 + 0.5, rtol=0, atol=1e-4)
    truth = torch.from_numpy(np.stack([row["person_image"] for row in rows[:5]])).permute(0, 3, 1, 2) / 127.5 - 1
    torch.testing.assert_close(columns["truth"], truth, rtol=0, atol=1e-5)

    picture = tmp_path / "step-00000040.png"
    assert sheet.pictures == {"samples": picture} and [file.name for file in tmp_path.iterdir()] == [picture.name]
    assert min(Image.open(picture).size) > 3 * 192
    psnr = edited_psnr(columns["guidance 2"], columns["truth"], columns["person and pose"])
    assert sheet.values["sample_psnr_guided"] == pytest.approx(psnr.mean().item())
    again = fixed.draw_sheets(unet, tmp_path, 41, never)
    assert again.values == sheet.values and again.pictures["samples"].read_bytes() == picture.read_bytes()


def validation_inputs() -> tuple[str, ...]:
    return ("agnostic_image", "garment_image", "person_pose", "garment_pose")


def test_a_super_resolution_sheet_has_the_small_picture_and_one_result_without_guidance(rows, tmp_path, monkeypatch):
    config = dataclasses.replace(SR_CONFIG, sample_guidance_scale=1.0, sample_steps=1)
    source = RenderedRows(64)
    unet, fixed = open_validation(config, [source[0], source[1]])
    columns = sheet_columns(monkeypatch)
    sheet = fixed.draw_sheets(unet, tmp_path, 1, never)
    assert list(columns)[2:] == ["low resolution", "without guidance", "truth"] and sheet.values.keys() == {
        "sample_psnr"
    }
    assert (columns["low resolution"] - columns["truth"]).abs().mean() < 0.1
    assert fixed.losses(unet, never)["validation_loss"] > 0


def test_psnr_is_of_the_edited_region():
    grey = 128 / 127.5 - 1
    truth = torch.zeros(2, 3, 2, 2)
    agnostic = truth.clone()
    agnostic[0, :, 0, :] = grey  # the upper half of the first row's picture; the second row hides nothing
    agnostic[1] = 1.0
    image = truth.clone()
    image[0, :, 0, 0], image[0, :, 1, :] = 0.2, 1.0
    image[1, :, 0, 0] = 0.4
    # Differences halve in [0, 1]: the mean squares are 0.1^2 / 2 and 0.2^2 / 4.
    truth[0, :, 1, :] = -1.0
    expected = [-10 * math.log10(0.01 / 2), -10 * math.log10(0.04 / 4)]
    assert edited_psnr(image, truth, agnostic + (agnostic == 0)).tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_two_processes_with_sharded_weights_report_what_one_does(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    one = report(tmp_path / "one")
    script = Path(__file__).with_name("seeing_of_a_run.py")
    environment = os.environ | {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "OMP_NUM_THREADS": "1"}
    subprocess.run([*launcher(2), str(script), str(tmp_path / "two")], check=True, env=environment)
    two = json.loads((tmp_path / "two" / "found.json").read_text())
    assert (two["num_processes"], two["parameters"]) == (2, ["DTensor"])
    assert two["training"] == pytest.approx(one["training"], rel=1e-6)
    assert two["losses"] == pytest.approx(one["losses"], rel=1e-5)
    assert two["sheet"] == pytest.approx(one["sheet"], rel=1e-4)
    pictures = [np.asarray(Image.open(path)).astype(int) for path in sorted(tmp_path.glob("*/step-*.png"))]
    assert len(pictures) == 2 and abs(pictures[0] - pictures[1]).max() <= 2
