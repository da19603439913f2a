# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The training objective: target, error and loss weight per prediction type."""

import torch
from diffusers import DDPMScheduler

from diffusers_tryon.schedules import log_snr
from diffusers_tryon.training.configuration import TrainingConfig


def prediction_target(
    scheduler: DDPMScheduler, image: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor
) -> torch.Tensor:
    """What the network should predict for `scheduler.config.prediction_type`: noise, velocity or the clean image.

    Args:
        image, noise (`torch.Tensor`): (B, 3, H, W).
        timesteps (`torch.Tensor`): (B,) int64.
    """
    prediction_type = scheduler.config.prediction_type
    if prediction_type == "epsilon":
        return noise
    if prediction_type == "v_prediction":
        return scheduler.get_velocity(image, noise, timesteps)
    return image


def squared_error(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean squared error of each sample, (B,) float32, of (B, 3, H, W) in any floating point type."""
    return (prediction.float() - target.float()).square().mean(dim=(1, 2, 3))


def loss_weights(config: TrainingConfig, alphas_cumprod: torch.Tensor) -> torch.Tensor:
    """The weight of the network's own squared error by timestep.

    With a = `alphas_cumprod`, SNR = a / (1 - a), and t in [0, 1] drawn uniformly, `config.loss_weighting` is

    - "none": 1, whatever the network predicts;
    - "min_snr": min(SNR, `snr_gamma`) for the squared error of the clean image (arXiv 2303.09556, section 3.4);
    - "sigmoid": sigmoid(`sigmoid_bias` - log SNR) * (-d log SNR / dt) for the squared error of the noise (arXiv
      2303.00848 and 2410.19324, without their constant factor 1/2). The second factor makes the mean over t an
      integral over log-SNR, the same for every noise schedule. Timesteps are 1 / T apart; the derivative is the
      central difference of the neighbouring ones, at both ends the one-sided difference.

    One error of the network seen as an error of the clean image, of the noise and of the velocity has squares in the
    ratio 1 : SNR : SNR + 1, by which the weights are converted to what the network predicts.

    Args:
        alphas_cumprod (`torch.Tensor`): (T,), decreasing, in (0, 1).

    Returns:
        `torch.Tensor`: (T,) float32.
    """
    alphas_cumprod = alphas_cumprod.double()
    if config.loss_weighting == "none":
        return torch.ones_like(alphas_cumprod, dtype=torch.float32)
    snr = alphas_cumprod / (1 - alphas_cumprod)
    if config.loss_weighting == "min_snr":
        noise_weights = snr.clamp(max=config.snr_gamma) / snr
    else:
        levels = log_snr(alphas_cumprod)
        (slope,) = torch.gradient(levels, spacing=1 / len(levels))
        noise_weights = torch.sigmoid(config.sigmoid_bias - levels) * -slope
    scale = {"epsilon": torch.ones_like(snr), "v_prediction": alphas_cumprod, "sample": snr}
    return (noise_weights * scale[config.prediction_type]).float()
