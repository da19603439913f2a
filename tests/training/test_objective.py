# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The loss and its weights."""

import dataclasses
import math

import pytest
import torch

from diffusers_tryon.schedules import create_scheduler, shifted_cosine_betas
from diffusers_tryon.training.configuration import TrainingConfig
from diffusers_tryon.training.objective import loss_weights, prediction_target, squared_error


CONFIG = TrainingConfig(preset="tiny-base", dataset="unused", output_dir="unused")
PREDICTION_TYPES = ("epsilon", "v_prediction", "sample")
TIMESTEPS = torch.tensor([10, 300, 700, 950])


def weights_of(weighting: str, prediction_type: str, betas: list[float] | None = None, **settings) -> torch.Tensor:
    config = dataclasses.replace(CONFIG, loss_weighting=weighting, prediction_type=prediction_type, **settings)
    scheduler = create_scheduler("ddpm", trained_betas=betas, prediction_type=prediction_type)
    weights = loss_weights(config, scheduler.alphas_cumprod)
    assert weights.dtype == torch.float32 and weights.shape == (1000,)
    return weights.double()


def weighted_error_of_two_images(weighting: str, prediction_type: str) -> torch.Tensor:
    """What the loss says of two clean images 0.1 apart when both explain the same noisy image.

    Each is turned into the network's prediction by the definitions: x_t = signal * x + sigma * noise and v = signal *
    noise - sigma * x.
    """
    alphas_cumprod = create_scheduler("ddpm").alphas_cumprod.double()[TIMESTEPS]
    signal, sigma = alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt()
    noisy = torch.tensor(0.7, dtype=torch.float64)

    def predict(clean):
        noise = (noisy - signal * clean) / sigma
        return {"epsilon": noise, "v_prediction": signal * noise - sigma * clean, "sample": clean}[prediction_type]

    error = (predict(torch.tensor(0.3).double()) - predict(torch.tensor(0.4).double())) ** 2
    return weights_of(weighting, prediction_type)[TIMESTEPS] * error


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
def test_min_snr_weights_measure_the_error_of_the_clean_image(prediction_type):
    alphas_cumprod = create_scheduler("ddpm").alphas_cumprod.double()[TIMESTEPS]
    expected = (alphas_cumprod / (1 - alphas_cumprod)).clamp(max=5.0) * 0.1**2
    torch.testing.assert_close(weighted_error_of_two_images("min_snr", prediction_type), expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize("prediction_type", ["v_prediction", "sample"])
def test_sigmoid_weights_mean_the_same_for_every_prediction(prediction_type):
    expected = weighted_error_of_two_images("sigmoid", "epsilon")
    assert (expected > 0).all()
    torch.testing.assert_close(weighted_error_of_two_images("sigmoid", prediction_type), expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize("bias", [-3.0, 2.0])
def test_sigmoid_weights_of_the_cosine_schedule_in_closed_form(bias):
    # alphas_cumprod = cos(u)^2 with u = (t + 0.008) / 1.008 * pi / 2, so log SNR = -2 log tan(u), whose derivative is
    # -4 u' / sin(2 u). Timestep i is at t = (i + 1) / 1000.
    timesteps = torch.arange(100, 900)
    u = ((timesteps + 1).double() / 1000 + 0.008) / 1.008 * math.pi / 2
    expected = torch.sigmoid(bias + 2 * torch.log(torch.tan(u))) * 2 * math.pi / 1.008 / torch.sin(2 * u)
    found = weights_of("sigmoid", "epsilon", sigmoid_bias=bias)[timesteps]
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=0)


@pytest.mark.parametrize("betas", [None, shifted_cosine_betas(256)])
def test_sigmoid_weights_do_not_depend_on_the_schedule(betas):
    # The mean over timesteps is an integral over log-SNR: that of sigmoid(bias - x), which is softplus.
    levels = create_scheduler("ddpm", trained_betas=betas).alphas_cumprod.double().logit()
    low, high, steps = -5.0, 4.0, (levels < 4.0) & (levels > -5.0)
    expected = torch.nn.functional.softplus(torch.tensor([-1.0 - low, -1.0 - high])).diff().neg()
    found = weights_of("sigmoid", "epsilon", betas, sigmoid_bias=-1.0)[steps].sum() / 1000
    torch.testing.assert_close(found.float(), expected[0], rtol=0.01, atol=0)


def test_sigmoid_weights_are_largest_where_v_prediction_can_learn():
    # In units of the velocity's error the weights fall to nothing at both ends, where nothing can be learned.
    weights = weights_of("sigmoid", "v_prediction")
    assert weights[0] < 0.05 and weights[-1] < 0.05
    assert 700 < weights.argmax() < 900, "between log-SNR -3, the bias, and the end"


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
def test_no_weighting_is_one(prediction_type):
    assert (weights_of("none", prediction_type) == 1).all()


@pytest.mark.parametrize("weighting", ["none", "min_snr", "sigmoid"])
@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
@pytest.mark.parametrize("betas", [None, shifted_cosine_betas(512)])
def test_weights_are_positive_numbers_at_every_timestep(weighting, prediction_type, betas):
    weights = weights_of(weighting, prediction_type, betas)
    assert torch.isfinite(weights).all() and (weights > 0).all()


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
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


def test_squared_error_is_float32_per_sample():
    # 1 / 3 in bfloat16 and the sum of many small squares are both wrong by percents.
    prediction = torch.zeros(2, 3, 64, 64, dtype=torch.bfloat16)
    target = torch.stack([torch.full((3, 64, 64), 1 / 3), torch.full((3, 64, 64), 3.0)])
    error = squared_error(prediction, target)
    assert error.dtype == torch.float32
    torch.testing.assert_close(error, torch.tensor([1 / 9, 9.0]), rtol=1e-6, atol=0)
