# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The loss, its weights, and what is drawn for a batch."""

import dataclasses

import pytest
import torch

from diffusers_tryon.image_processor import TryOnImageProcessor
from diffusers_tryon.schedules import create_scheduler
from diffusers_tryon.training.batches import low_res_condition
from diffusers_tryon.training.configuration import TrainingConfig
from diffusers_tryon.training.objective import min_snr_weights, prediction_target, weighted_loss
from diffusers_tryon.training.randomness import draw_batch


CONFIG = TrainingConfig(preset="tiny-base", dataset="unused", output_dir="unused", max_steps=10, global_batch_size=4)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_min_snr_weights_measure_the_error_of_the_clean_image(prediction_type):
    # An error in the clean image causes a known error in each prediction; weight times that error must be the same.
    scheduler = create_scheduler("ddpm", prediction_type=prediction_type)
    alphas_cumprod = scheduler.alphas_cumprod.double()
    timesteps = torch.tensor([10, 300, 700, 950])
    signal, sigma = alphas_cumprod[timesteps].sqrt(), (1 - alphas_cumprod[timesteps]).sqrt()
    sample = torch.tensor(0.7, dtype=torch.float64)

    def predict(clean):
        noise = (sample - signal * clean) / sigma
        return {"epsilon": noise, "v_prediction": signal * noise - sigma * clean, "sample": clean}[prediction_type]

    error = (predict(torch.tensor(0.3).double()) - predict(torch.tensor(0.4).double())) ** 2
    weights = min_snr_weights(scheduler.alphas_cumprod, 5.0, prediction_type)[timesteps].double()
    expected = (signal / sigma).square().clamp(max=5.0) * 0.1**2
    torch.testing.assert_close(weights * error, expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_target_recovers_the_clean_image(prediction_type):
    scheduler = create_scheduler("ddpm", prediction_type=prediction_type)
    image, noise = torch.rand(3, 3, 4, 4), torch.randn(3, 3, 4, 4)
    timesteps = torch.tensor([5, 400, 800])
    noisy = scheduler.add_noise(image, noise, timesteps)
    target = prediction_target(scheduler, image, noise, timesteps)
    signal = scheduler.alphas_cumprod[timesteps].sqrt().view(-1, 1, 1, 1)
    sigma = (1 - scheduler.alphas_cumprod[timesteps]).sqrt().view(-1, 1, 1, 1)
    recovered = {
        "epsilon": (noisy - sigma * target) / signal,
        "v_prediction": signal * noisy - sigma * target,
        "sample": target,
    }[prediction_type]
    torch.testing.assert_close(recovered, image, rtol=1e-3, atol=1e-3)


def test_weighted_loss_is_float32_per_sample():
    prediction = torch.zeros(2, 3, 2, 2, dtype=torch.bfloat16)
    target = torch.stack([torch.full((3, 2, 2), 2.0), torch.full((3, 2, 2), 3.0)])
    loss = weighted_loss(prediction, target, torch.tensor([0.5, 10.0]), torch.tensor([0, 1]))
    assert loss.dtype == torch.float32
    assert loss.tolist() == [2.0, 90.0]


def test_draw_depends_on_seed_step_and_index_alone():
    whole = draw_batch(CONFIG, 3, [0, 1, 2, 3], (4, 6))
    part = draw_batch(CONFIG, 3, [2], (4, 6))
    for field in dataclasses.fields(whole):
        assert torch.equal(getattr(whole, field.name)[2:3], getattr(part, field.name)), field.name
    other_step = draw_batch(CONFIG, 4, [2], (4, 6))
    assert not torch.equal(part.noise, other_step.noise)
    other_seed = draw_batch(dataclasses.replace(CONFIG, seed=1), 3, [2], (4, 6))
    assert not torch.equal(part.noise, other_seed.noise)
    assert not torch.equal(whole.noise[0], whole.noise[1])
    assert not torch.equal(whole.noise[0], whole.agnostic_noise[0])


def test_draw_statistics():
    config = dataclasses.replace(CONFIG, global_batch_size=2000, condition_dropout=0.1, max_garment_noise_level=9)
    draw = draw_batch(config, 0, list(range(2000)), (1, 1))
    assert torch.equal(draw.timesteps // 100, torch.arange(2000) * 1000 // 2000 // 100)
    assert abs((~draw.conditioning_mask).float().mean().item() - 0.1) < 0.03
    assert draw.garment_levels.unique().tolist() == list(range(10))
    assert draw.low_res_levels.max() > 990 and draw.low_res_levels.min() < 10
    assert abs(draw.noise.mean().item()) < 0.05 and abs(draw.noise.std().item() - 1) < 0.05


def test_low_res_condition_of_a_plain_image_is_that_image():
    # The range stays [-1, 1] and no colour shifts: the reference's tint came from a second range here.
    colours = torch.tensor([-1.0, -0.2, 1.0]).view(1, 3, 1, 1).expand(1, 3, 32, 32)
    condition = low_res_condition(colours, TryOnImageProcessor(), 16, "bilinear")
    torch.testing.assert_close(condition, colours, rtol=0, atol=1e-6)
