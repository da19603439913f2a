# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""One stage in training: its sizes, schedules and image processing, the loss of a batch, a sheet of samples."""

import math
from pathlib import Path

import torch
from diffusers import DDPMScheduler
from diffusers.models.modeling_utils import ModelMixin

from diffusers_tryon.image_processor import TryOnImageProcessor
from diffusers_tryon.schedules import create_scheduler, shifted_cosine_betas
from diffusers_tryon.training.batches import low_res_condition, network_inputs, prepare_images
from diffusers_tryon.training.configuration import TrainingConfig
from diffusers_tryon.training.objective import min_snr_weights, prediction_target, weighted_loss
from diffusers_tryon.training.randomness import draw_batch
from diffusers_tryon.training.sampling import sample_grid, sample_images


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Linear warm-up, then constant or half a cosine to zero at the last step."""
    warmup = min((step + 1) / max(config.warmup_steps, 1), 1.0)
    if config.lr_schedule == "constant":
        return config.learning_rate * warmup
    return config.learning_rate * warmup * 0.5 * (1 + math.cos(math.pi * step / config.max_steps))


def schedule_of_run(config: TrainingConfig, sample_size: int | tuple[int, int]) -> list[float] | None:
    """Betas of the noise schedule of a run for a network of this size; `None` is Diffusers' own cosine schedule."""
    return None if config.noise_schedule == "cosine" else shifted_cosine_betas(sample_size)


class TrainingStage:
    """What a run needs beside the weights.

    Args:
        config: the run's settings.
        unet: the network; only its configuration is read.
        device: where batches go.
    """

    def __init__(self, config: TrainingConfig, unet: ModelMixin, device: torch.device):
        sample_size = unet.config.sample_size
        self.config = config
        self.size = (sample_size, sample_size) if isinstance(sample_size, int) else tuple(sample_size)
        self.device = device
        self.processor = TryOnImageProcessor()
        self.low_res_mode = unet.low_res_interpolation if unet.config.low_res_conditioning else None
        self.betas = schedule_of_run(config, self.size)
        self.noise_scheduler: DDPMScheduler = create_scheduler(
            "ddpm", trained_betas=self.betas, prediction_type=config.prediction_type
        )
        self.augmentation_scheduler: DDPMScheduler = create_scheduler("ddpm")
        alphas_cumprod = self.noise_scheduler.alphas_cumprod.to(device)
        if config.loss_weighting == "min_snr":
            self.weights = min_snr_weights(alphas_cumprod, config.snr_gamma, config.prediction_type)
        else:
            self.weights = torch.ones_like(alphas_cumprod)

    def prepare(self, batch: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], torch.Tensor | None]:
        """Images at the network's size, and the low-resolution condition of a super-resolution stage."""
        batch = {name: value.to(self.device) for name, value in batch.items()}
        images = prepare_images(batch, self.processor, self.size)
        if self.low_res_mode is None:
            return images, None
        return images, low_res_condition(
            images["person_image"], self.processor, self.config.low_res_size, self.low_res_mode
        )

    def loss(
        self, unet: torch.nn.Module, batch: dict[str, torch.Tensor], step: int, indices: list[int]
    ) -> torch.Tensor:
        """Weighted squared error per sample, (B,) float32."""
        images, low_res_image = self.prepare(batch)
        draw = draw_batch(self.config, step, indices, self.size).to(self.device)
        inputs = network_inputs(images, low_res_image, draw, self.augmentation_scheduler)
        person_image = images["person_image"]
        noisy_image = self.noise_scheduler.add_noise(person_image, draw.noise, draw.timesteps)
        prediction = unet(noisy_image, draw.timesteps, **inputs).sample
        target = prediction_target(self.noise_scheduler, person_image, draw.noise, draw.timesteps)
        return weighted_loss(prediction, target, self.weights, draw.timesteps)

    def save_samples(self, unet: ModelMixin, batch: dict[str, torch.Tensor], path: Path) -> None:
        """A sheet of fixed rows: agnostic image, garment, low resolution, result, truth."""
        images, low_res_image = self.prepare(batch)
        result = sample_images(unet, images, low_res_image, self.config.prediction_type, self.betas, self.config.seed)
        columns = [images["agnostic_image"], images["garment_image"], low_res_image, result, images["person_image"]]
        path.parent.mkdir(parents=True, exist_ok=True)
        sample_grid([column for column in columns if column is not None]).save(path)
