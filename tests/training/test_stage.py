# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The loss of a batch: what the network is given, what it is asked for, and what its error weighs."""

import dataclasses

import numpy as np
import pytest
import torch
from tiny_cascade import random_unet

from diffusers_tryon.schedules import create_scheduler, shifted_cosine_betas
from diffusers_tryon.training.configuration import TrainingConfig
from diffusers_tryon.training.randomness import draw_batch
from diffusers_tryon.training.stage import TrainingStage


CONFIG = TrainingConfig(
    preset="tiny-sr",
    dataset="unused",
    output_dir="unused",
    stage="sr",
    low_res_size=16,
    global_batch_size=4,
    condition_dropout=0.5,
)
BASE_CONFIG = dataclasses.replace(CONFIG, stage="base", low_res_size=None)
SIZE = 32
IMAGES = ("person_image", "agnostic_image", "garment_image")


@pytest.fixture(scope="module")
def unet() -> torch.nn.Module:
    return random_unet("tiny-sr", 0, sample_size=SIZE)


@pytest.fixture(scope="module")
def batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = {name: torch.randint(0, 256, (4, 3, 64, 64), generator=generator, dtype=torch.uint8) for name in IMAGES}
    return images | {name: torch.rand(4, 18, 3, generator=generator) for name in ("person_pose", "garment_pose")}


def make_stage(unet, config=CONFIG, betas=None) -> TrainingStage:
    return TrainingStage(config, unet, torch.device("cpu"), betas, create_scheduler("ddpm"))


def rows_of(batch, rows):
    return {name: value[rows] for name, value in batch.items()}


def spied(unet: torch.nn.Module, function, *arguments):
    """The function's result, what the network was given by argument name, and its prediction."""
    seen = {}

    def spy(module, args, kwargs, output):
        seen.update(kwargs, sample=args[0], timestep=args[1], prediction=output.sample)

    handle = unet.register_forward_hook(spy, with_kwargs=True)
    try:
        return function(unet, *arguments), seen
    finally:
        handle.remove()


def weighted_target(prediction_type, image, noise, alphas_cumprod):
    """Target and weight of min-SNR-5 in double precision, by their definitions."""
    signal, sigma = np.sqrt(alphas_cumprod), np.sqrt(1 - alphas_cumprod)
    snr = alphas_cumprod / (1 - alphas_cumprod)
    if prediction_type == "epsilon":
        return noise, np.minimum(snr, 5) / snr
    if prediction_type == "v_prediction":
        return signal * noise - sigma * image, np.minimum(snr, 5) / (snr + 1)
    return image, np.minimum(snr, 5)


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_the_loss_is_the_weighted_squared_error_in_float32(unet, batch, prediction_type, autocast):
    betas = shifted_cosine_betas(256)
    config = dataclasses.replace(CONFIG, prediction_type=prediction_type, loss_weighting="min_snr")
    stage = make_stage(unet, config, betas)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        output, seen = spied(unet, stage.loss, batch, 3, [0, 1, 2, 3])
    alphas_cumprod = np.cumprod(1 - np.array(betas))
    images, _ = stage.prepare(batch)
    draw = draw_batch(config, 3, [0, 1, 2, 3], (SIZE, SIZE))
    assert torch.equal(output.timesteps, draw.timesteps) and output.loss.dtype == torch.float32
    assert output.loss.requires_grad and not output.squared_error.requires_grad
    for row in range(4):
        image, noise = images["person_image"][row].double().numpy(), draw.noise[row].double().numpy()
        level = alphas_cumprod[draw.timesteps[row]]
        noisy = np.sqrt(level) * image + np.sqrt(1 - level) * noise
        np.testing.assert_allclose(seen["sample"][row].numpy(), noisy, atol=2e-6)
        target, weight = weighted_target(prediction_type, image, noise, level)
        error = np.mean((seen["prediction"][row].detach().double().numpy() - target) ** 2)
        # Near the end of the schedule float32 leaves few digits of a signal of 1e-4.
        assert output.squared_error[row].item() == pytest.approx(error, rel=1e-5)
        assert output.loss[row].item() == pytest.approx(weight * error, rel=1e-3)


def test_a_sample_has_the_same_loss_in_any_batch(unet, batch):
    stage = make_stage(unet)
    together = stage.loss(unet, batch, 7, [0, 1, 2, 3])
    for row in range(4):
        alone = stage.loss(unet, rows_of(batch, [row]), 7, [row])
        torch.testing.assert_close(alone.loss[0], together.loss[row], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["agnostic", "garment", "low_res"])
def test_each_conditioning_image_has_the_noise_that_its_level_says(unet, batch, name):
    stage = make_stage(unet)
    images, low_res_image = stage.prepare(batch)
    clean = {"agnostic": images["agnostic_image"], "garment": images["garment_image"], "low_res": low_res_image}[name]
    output, seen = spied(unet, stage.loss, batch, 3, [0, 1, 2, 3])
    levels = seen[f"{name}_noise_level"]
    assert len(levels.unique()) == 4, "one for each sample"
    alphas_cumprod = create_scheduler("ddpm").alphas_cumprod[levels].view(4, 1, 1, 1)
    noise = (seen[f"{name}_image"] - alphas_cumprod.sqrt() * clean) / (1 - alphas_cumprod).sqrt()
    assert noise.std(dim=(1, 2, 3)).tolist() == pytest.approx([1.0] * 4, abs=0.05)
    assert noise.mean(dim=(1, 2, 3)).tolist() == pytest.approx([0.0] * 4, abs=0.06)
    # The noise of one image says nothing about that of another.
    torch.testing.assert_close(noise, getattr(output.draw, f"{name}_noise"), rtol=0, atol=1e-3)


@pytest.mark.parametrize("mode,shape", [("joint", (4,)), ("independent", (4, 4))])
def test_conditions_are_dropped_as_drawn(unet, batch, mode, shape):
    stage = make_stage(unet, dataclasses.replace(CONFIG, condition_dropout_mode=mode))
    output, seen = spied(unet, stage.loss, batch, 3, [0, 1, 2, 3])
    mask = seen["conditioning_mask"]
    assert mask.shape == shape and mask.any() and not mask.all()
    assert torch.equal(mask, output.draw.conditioning_mask)


def test_validation_has_given_noise_and_clean_conditions(unet, batch):
    stage = make_stage(unet)
    timesteps = torch.tensor([0, 300, 600, 999])
    noise = torch.randn(4, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    images, low_res_image = stage.prepare(batch)
    error, seen = spied(unet, stage.loss_at, batch, timesteps, noise)
    assert torch.equal(seen["timestep"], timesteps) and seen["conditioning_mask"].all()
    for name, image in (images | {"low_res_image": low_res_image}).items():
        if name != "person_image":
            assert torch.equal(seen[name], image), name
    for name in ("agnostic", "garment", "low_res"):
        assert (seen[f"{name}_noise_level"] == 0).all()
    target = stage.noise_scheduler.get_velocity(images["person_image"], noise, timesteps)
    expected = (seen["prediction"] - target).square().mean(dim=(1, 2, 3))
    assert error.shape == (4,) and error.dtype == torch.float32
    torch.testing.assert_close(error, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("channels_last", [False, True])
def test_images_have_the_layout_of_the_settings(unet, batch, channels_last):
    # The loader's own layout is channels last, which made training on a CPU 17 % slower unasked.
    stage = make_stage(unet, dataclasses.replace(CONFIG, channels_last=channels_last))
    loaded = batch | {name: batch[name].contiguous(memory_format=torch.channels_last) for name in IMAGES}
    output, seen = spied(unet, stage.loss, loaded, 3, [0, 1, 2, 3])
    layout = torch.channels_last if channels_last else torch.contiguous_format
    for name in ("sample", "agnostic_image", "garment_image", "low_res_image"):
        assert seen[name].is_contiguous(memory_format=layout), name
    other_layout = stage.loss(unet, batch, 3, [0, 1, 2, 3])
    assert torch.equal(output.loss, other_layout.loss)


def test_a_base_stage_has_no_low_resolution_picture(batch):
    unet = random_unet("tiny-base", 0, sample_size=SIZE)
    stage = make_stage(unet, BASE_CONFIG)
    assert stage.prepare(batch)[1] is None
    _, seen = spied(unet, stage.loss, batch, 0, [0, 1, 2, 3])
    assert "low_res_image" not in seen
    assert torch.isfinite(stage.loss_at(unet, batch, torch.zeros(4).long(), torch.zeros(4, 3, SIZE, SIZE))).all()


def test_the_low_resolution_picture_of_a_plain_image_is_that_image(unet, batch):
    # The range stays [-1, 1] and no colour shifts: the reference's tint came from a second range here.
    colours = torch.tensor([0, 102, 255], dtype=torch.uint8).view(1, 3, 1, 1).expand(4, 3, 64, 64)
    _, low_res_image = make_stage(unet).prepare(batch | {"person_image": colours})
    expected = torch.tensor([-1.0, -0.2, 1.0]).view(1, 3, 1, 1).expand(4, 3, SIZE, SIZE)
    torch.testing.assert_close(low_res_image, expected, rtol=0, atol=1e-6)
