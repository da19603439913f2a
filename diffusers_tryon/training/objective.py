# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The training objective: target and loss weight per prediction type."""

import torch
from diffusers import DDPMScheduler


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


def min_snr_weights(alphas_cumprod: torch.Tensor, gamma: float, prediction_type: str) -> torch.Tensor:
    """Min-SNR-gamma loss weights (arXiv 2303.09556, section 3.4) by timestep, in units of each prediction's own error.

    The weight of the clean image's squared error is min(SNR, gamma); noise and velocity errors are that error times
    SNR and SNR + 1.

    Args:
        alphas_cumprod (`torch.Tensor`): (T,).

    Returns:
        `torch.Tensor`: (T,) float32.
    """
    alphas_cumprod = alphas_cumprod.double()
    snr = alphas_cumprod / (1 - alphas_cumprod)
    scale = {"epsilon": snr, "v_prediction": snr + 1, "sample": torch.ones_like(snr)}[prediction_type]
    return (snr.clamp(max=gamma) / scale).float()


def weighted_loss(
    prediction: torch.Tensor, target: torch.Tensor, weights: torch.Tensor, timesteps: torch.Tensor
) -> torch.Tensor:
    """Squared error per sample, (B,), in float32, times its timestep's weight."""
    error = (prediction.float() - target.float()).square().mean(dim=(1, 2, 3))
    return error * weights[timesteps]
