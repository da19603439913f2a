# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""One stage in training: its sizes, schedules and image processing, the loss of a batch."""

from typing import NamedTuple

import torch
from diffusers import DDPMScheduler
from diffusers.models.modeling_utils import ModelMixin

from diffusers_tryon.image_processor import TryOnImageProcessor
from diffusers_tryon.models.inputs import trained_size
from diffusers_tryon.schedules import create_scheduler
from diffusers_tryon.training.base_outputs import BaseOutputs
from diffusers_tryon.training.batches import (
    clean_inputs,
    downsampled_image,
    low_res_shape,
    network_inputs,
    prepare_images,
)
from diffusers_tryon.training.configuration import TrainingConfig
from diffusers_tryon.training.objective import loss_weights, prediction_target, squared_error
from diffusers_tryon.training.randomness import TrainingDraw, draw_batch


class LossOutput(NamedTuple):
    """The loss of a batch of B samples.

    Attributes:
        loss: (B,) float32, the squared error times its timestep's weight.
        squared_error: (B,) float32, without gradients.
        timesteps: (B,) int64.
        draw: what was random about the batch.
    """

    loss: torch.Tensor
    squared_error: torch.Tensor
    timesteps: torch.Tensor
    draw: TrainingDraw


class TrainingStage:
    """What a run needs beside the weights.

    Args:
        config: the run's settings.
        unet: the network; only its configuration is read.
        device: where batches go.
        betas: the noise schedule; `None` is Diffusers' own cosine schedule.
        image_noising_scheduler: the schedule of the noise in conditioning images.
        base_outputs: where the low-resolution pictures come from that are a base stage's; needed if
            `config.base_output_probability` is not 0.

    Raises:
        ValueError: `base_outputs` makes pictures of another size than the network enlarges.
    """

    def __init__(
        self,
        config: TrainingConfig,
        unet: ModelMixin,
        device: torch.device,
        betas: list[float] | None,
        image_noising_scheduler: DDPMScheduler,
        base_outputs: BaseOutputs | None = None,
    ):
        self.config = config
        self.size = trained_size(unet)
        self.device = device
        self.image_noising_scheduler = image_noising_scheduler
        self.base_outputs = base_outputs
        self.processor = TryOnImageProcessor()
        self.memory_format = torch.channels_last if config.channels_last else torch.contiguous_format
        self.low_res_mode = unet.low_res_interpolation if unet.config.low_res_conditioning else None
        self.noise_scheduler: DDPMScheduler = create_scheduler(
            "ddpm", trained_betas=betas, prediction_type=config.prediction_type
        )
        self.weights = loss_weights(config, self.noise_scheduler.alphas_cumprod).to(device)
        if base_outputs is not None:
            base_outputs.check_size(low_res_shape(self.size, config.low_res_size))

    def prepare(
        self, batch: dict[str, torch.Tensor], draw: TrainingDraw | None = None
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor | None]:
        """Images at the network's size, and the low-resolution condition of a super-resolution stage.

        Args:
            batch: as `training.dataset.collate` makes it, on any device.
            draw (`TrainingDraw`, *optional*): says for which rows the base stage's output is enlarged; for all others,
                and without it, the downsampled person image is.

        Returns:
            The images, (B, 3, *size) float32 in [-1, 1], and the poses, (B, 18, 3), by column; the small picture
            upsampled to (B, 3, *size) in [-1, 1], `None` for a base stage.
        """
        batch = {name: value.to(self.device, non_blocking=True) for name, value in batch.items()}
        images = prepare_images(batch, self.processor, self.size)
        if self.low_res_mode is None:
            return images, None
        small = downsampled_image(images["person_image"], self.processor, self.config.low_res_size)
        if draw is not None and draw.takes_base_output.any():
            small = self.base_outputs.put_into(small, batch, draw)
        return images, self.processor.upsample_low_res(small, *self.size, self.low_res_mode)

    def loss(
        self, model: torch.nn.Module, batch: dict[str, torch.Tensor], step: int, indices: list[int]
    ) -> LossOutput:
        """The loss of the samples `indices` of the global batch of step `step`, whose rows are `batch`."""
        draw = draw_batch(self.config, step, indices, self.size, self.device)
        images, low_res_image = self.prepare(batch, draw)
        inputs = network_inputs(images, low_res_image, draw, self.image_noising_scheduler)
        error = self._squared_error(model, images["person_image"], draw.timesteps, draw.noise, inputs)
        return LossOutput(error * self.weights[draw.timesteps], error.detach(), draw.timesteps, draw)

    def loss_at(
        self,
        model: torch.nn.Module,
        batch: dict[str, torch.Tensor],
        timesteps: torch.Tensor,
        noise: torch.Tensor,
    ) -> torch.Tensor:
        """The squared error of each sample at given timesteps and noise, with all conditions and no noise in them.

        Args:
            timesteps (`torch.Tensor`): (B,) int64.
            noise (`torch.Tensor`): (B, 3, *size) float32.

        Returns:
            `torch.Tensor`: (B,) float32, not weighted.
        """
        images, low_res_image = self.prepare(batch)
        timesteps, noise = timesteps.to(self.device), noise.to(self.device)
        return self._squared_error(
            model, images["person_image"], timesteps, noise, clean_inputs(images, low_res_image)
        )

    def _squared_error(
        self,
        model: torch.nn.Module,
        image: torch.Tensor,
        timesteps: torch.Tensor,
        noise: torch.Tensor,
        inputs: dict[str, torch.Tensor],
    ) -> torch.Tensor:
        noisy_image = self.noise_scheduler.add_noise(image, noise, timesteps)
        # Pictures come from the loader with the channels last, and a network keeps its first input's layout.
        noisy_image = noisy_image.contiguous(memory_format=self.memory_format)
        inputs = {
            name: value.contiguous(memory_format=self.memory_format) if name.endswith("image") else value
            for name, value in inputs.items()
        }
        prediction = model(noisy_image, timesteps, **inputs).sample
        return squared_error(prediction, prediction_target(self.noise_scheduler, image, noise, timesteps))
