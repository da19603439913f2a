# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What a network can do so far, free of chance: losses and pictures of fixed rows, noise and noise levels."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from diffusers.models.modeling_utils import ModelMixin
from PIL import Image

from diffusers_tryon.composition import AGNOSTIC_FILL
from diffusers_tryon.image_files import write_image
from diffusers_tryon.image_processor import TryOnImageProcessor
from diffusers_tryon.pipelines.guidance import network_passes, predict, step_garment_features
from diffusers_tryon.pipelines.inputs import StageInputs
from diffusers_tryon.schedules import DEFAULT_SCHEDULER, NUM_TRAIN_TIMESTEPS, swap_scheduler
from diffusers_tryon.training.configuration import TrainingConfig
from diffusers_tryon.training.dataset import collate
from diffusers_tryon.training.metrics import NUM_QUARTERS
from diffusers_tryon.training.order import local_indices
from diffusers_tryon.training.parallel import outer_weights_gathered
from diffusers_tryon.training.randomness import torch_seed
from diffusers_tryon.training.stage import TrainingStage
from diffusers_tryon.visualization import Panel, contact_sheet


NUM_SHEET_ROWS = 8

# Timesteps of the validation loss in each quarter of the noise levels, of which a row sees one.
_LEVELS_PER_QUARTER = 2
# Ends the seeds of a row's noise, which then shares no random numbers with training (see `randomness`).
_LOSS_NOISE, _SAMPLE_NOISE = 2, 3
_PANEL_HEIGHT = 192


class SampleSheet(NamedTuple):
    """What `FixedValidation.draw_sheets` made, as `RunMetrics.write` takes it.

    Attributes:
        values: `sample_psnr` and `sample_psnr_guided` in dB, means over the rows drawn, of the edited region.
        pictures: the sheet's file by its name, on every process.
    """

    values: dict[str, float]
    pictures: dict[str, Path]


class FixedValidation:
    """Validation on the first rows of a dataset. They are divided among the processes, each of which reads its own.

    Every process calls the network equally often, as sharded weights need it; rows are repeated to fill up.

    Args:
        config: the run's settings.
        stage: the stage that is trained.
        rows: decoded rows, see `open_validation_rows`.
        accelerator: the run's.
    """

    def __init__(
        self, config: TrainingConfig, stage: TrainingStage, rows: Sequence[dict[str, Any]], accelerator: Accelerator
    ):
        self.config, self.stage, self.accelerator = config, stage, accelerator
        world_size, rank = accelerator.num_processes, accelerator.process_index
        self.num_rows = min(config.num_validation_rows, len(rows))
        per_process = -(-self.num_rows // world_size)
        self.batch_size = min(len(local_indices(config, rank, world_size)[0]), per_process)
        places = range(-(-per_process // self.batch_size) * self.batch_size)
        self.row_numbers = [(place * world_size + rank) % self.num_rows for place in places]
        decoded = {number: rows[number] for number in sorted(set(self.row_numbers))}
        self.batch = collate([decoded[number] for number in self.row_numbers])

    @torch.no_grad()
    def losses(
        self, unet: torch.nn.Module, stop: Callable[[], bool], name: str = "validation_loss"
    ) -> dict[str, float] | None:
        """Mean squared error of the prediction, unweighted, without dropped conditions or noise augmentation.

        Each row is seen at one of two timesteps of every quarter of the noise levels. The same weights give the same
        numbers, on any number of processes but for the order of floating point sums.

        Args:
            unet: the network; for the averaged weights it is called a second time with these in it.
            stop: asked between two batches whether to leave off; the same on every process.
            name: of the figures.

        Returns:
            `name`, and `name` + "_q1" (least noise) to "_q4" by quarter of the timesteps; None if `stop` said so.
        """
        errors = []
        for first in range(0, len(self.row_numbers), self.batch_size):
            places = slice(first, first + self.batch_size)
            numbers = self.row_numbers[places]
            batch = {column: values[places] for column, values in self.batch.items()}
            noise = torch.stack([self._noise(number, _LOSS_NOISE, NUM_QUARTERS) for number in numbers])
            for quarter in range(NUM_QUARTERS):
                if stop():
                    return None
                timesteps = torch.tensor([validation_timestep(number, quarter) for number in numbers])
                with self.accelerator.autocast():
                    errors.append(self.stage.loss_at(unet, batch, timesteps, noise[:, quarter]))
        table = torch.stack(errors).reshape(-1, NUM_QUARTERS, self.batch_size).permute(0, 2, 1)
        table = self._in_order_of_rows(table.reshape(-1, NUM_QUARTERS), self.num_rows).double()  # (rows, quarters)
        quarters = table.mean(dim=0).tolist()
        return {name: table.mean().item()} | {
            f"{name}_q{number}": value for number, value in enumerate(quarters, start=1)
        }

    @torch.no_grad()
    def draw_sheets(self, unet: ModelMixin, folder: Path, step: int, stop: Callable[[], bool]) -> SampleSheet | None:
        """Try on the first rows and draw the results beside their inputs and the truth.

        The pictures are made as the pipeline makes them, by its default solver in `sample_steps` steps, without
        guidance and with `sample_guidance_scale`; from the same noise at every call.

        Args:
            unet: the network, on every process.
            folder: where the main process writes `step-<step>.png`.
            step: optimiser steps done.
            stop: asked before every step of the solver whether to leave off; the same on every process.

        Returns:
            None if `stop` said so.
        """
        num_rows = min(NUM_SHEET_ROWS, self.num_rows)
        per_process = -(-num_rows // self.accelerator.num_processes)
        images, low_res_image = self.stage.prepare({name: values[:per_process] for name, values in self.batch.items()})
        inputs = _stage_inputs(images, low_res_image)
        noise = torch.stack([self._noise(number, _SAMPLE_NOISE, 1)[0] for number in self.row_numbers[:per_process]])
        scales = {"without guidance": None}
        if self.config.sample_guidance_scale != 1:
            scales[f"guidance {self.config.sample_guidance_scale:g}"] = self.config.sample_guidance_scale
        results = {}
        for caption, scale in scales.items():
            image = self._sample(unet, inputs, noise.to(self.stage.device), scale, stop)
            if image is None:
                return None
            results[caption] = image
        columns = {"person and pose": images["agnostic_image"], "garment and its pose": images["garment_image"]}
        if low_res_image is not None:
            columns["low resolution"] = low_res_image
        columns |= results | {"truth": images["person_image"]}
        columns = {caption: self._in_order_of_rows(image, num_rows) for caption, image in columns.items()}
        poses = [self._in_order_of_rows(images[name], num_rows) for name in ("person_pose", "garment_pose")]
        path = folder / f"step-{step:08d}.png"
        if self.accelerator.is_main_process:
            write_image(draw_sheet(columns, *poses), path)
        names = ("sample_psnr", "sample_psnr_guided")
        values = {
            name: edited_psnr(columns[caption], columns["truth"], columns["person and pose"]).mean().item()
            for name, caption in zip(names, results)
        }
        return SampleSheet(values, {"samples": path})

    def _sample(
        self,
        unet: ModelMixin,
        inputs: StageInputs,
        noise: torch.Tensor,
        guidance_scale: float | None,
        stop: Callable[[], bool],
    ) -> torch.Tensor | None:
        """(B, 3, H, W) float32 in [-1, 1] from standard normal noise; None if `stop` said so."""
        scheduler = swap_scheduler(self.stage.noise_scheduler, DEFAULT_SCHEDULER)
        scheduler.set_timesteps(self.config.sample_steps, device=noise.device)
        if not unet.config.garment_time_conditioning:
            with self.accelerator.autocast(), outer_weights_gathered(unet):
                features = unet.encode_garment(inputs.garment_image, inputs.garment_pose)
            inputs = inputs._replace(garment_features=features)
        with self.accelerator.autocast(), outer_weights_gathered(unet):
            passes = network_passes(unet, inputs, guidance_scale is not None, sequential_guidance=False)
        image = noise * scheduler.init_noise_sigma
        for timestep in scheduler.timesteps:
            if stop():
                return None
            model_input = scheduler.scale_model_input(image, timestep)
            with self.accelerator.autocast(), outer_weights_gathered(unet):
                features = step_garment_features(unet, timestep.float(), inputs)
                prediction = predict(unet, model_input, timestep.float(), passes, features, guidance_scale)
            image = scheduler.step(prediction.sample, timestep, image, return_dict=False)[0]
        return image.clamp(-1, 1)

    def _noise(self, row: int, purpose: int, count: int) -> torch.Tensor:
        """(count, 3, H, W) standard normal, a function of the seed, the row and the purpose."""
        generator = torch.Generator().manual_seed(torch_seed(self.config.seed, row, 0, purpose))
        return torch.randn(count, 3, *self.stage.size, generator=generator)

    def _in_order_of_rows(self, values: torch.Tensor, num_rows: int) -> torch.Tensor:
        """Gather what the processes have for their rows, (own rows, ...), to (num_rows, ...) float32 on the CPU."""
        gathered = self.accelerator.gather(values.float().contiguous()).cpu()
        by_process = gathered.reshape(self.accelerator.num_processes, len(values), *values.shape[1:])
        return by_process.transpose(0, 1).reshape(-1, *values.shape[1:])[:num_rows]


def validation_timestep(row: int, quarter: int) -> int:
    """The timestep at which a row is seen in a quarter (0 to 3): the middle of one of its halves, by turns."""
    levels = NUM_QUARTERS * _LEVELS_PER_QUARTER
    level = quarter * _LEVELS_PER_QUARTER + row % _LEVELS_PER_QUARTER
    return (2 * level + 1) * NUM_TRAIN_TIMESTEPS // (2 * levels)


def edited_psnr(image: torch.Tensor, truth: torch.Tensor, agnostic_image: torch.Tensor) -> torch.Tensor:
    """Peak signal to noise ratio in dB where the agnostic image has its fill colour.

    The whole picture counts in rows whose agnostic image hides nothing.

    Args:
        image, truth, agnostic_image (`torch.Tensor`): (B, 3, H, W) in [-1, 1].

    Returns:
        `torch.Tensor`: (B,).
    """
    fill = AGNOSTIC_FILL / 127.5 - 1
    # Two of the 255 levels are left to pictures that a lossy format went over.
    hidden = ((agnostic_image - fill).abs() < 2.5 / 127.5).all(dim=1)  # (B, H, W)
    hidden |= ~hidden.flatten(1).any(dim=1)[:, None, None]
    error = ((image - truth) / 2).square().mean(dim=1)
    return -10 * torch.log10((error * hidden).sum(dim=(1, 2)) / hidden.sum(dim=(1, 2)))


def draw_sheet(
    columns: dict[str, torch.Tensor], person_poses: torch.Tensor, garment_poses: torch.Tensor
) -> Image.Image:
    """Pictures of several rows, side by side under their captions.

    Args:
        columns: (B, 3, H, W) in [-1, 1] by caption; the first two are of the person and of the garment.
        person_poses, garment_poses (`torch.Tensor`): (B, 18, 3), drawn on these; no garment pose is visible where the
            garment lies flat.
    """
    processor = TryOnImageProcessor()
    pictures = {caption: processor.postprocess(images, "pil") for caption, images in columns.items()}
    sheet_rows = []
    for row, poses in enumerate(zip(person_poses.numpy(), garment_poses.numpy())):
        panels = [Panel(images[row], caption, show_pixels=True) for caption, images in pictures.items()]
        panels[:2] = [panel._replace(pose=pose) for panel, pose in zip(panels, poses)]
        sheet_rows.append(panels)
    return contact_sheet(sheet_rows, height=max(_PANEL_HEIGHT, pictures["truth"][0].height))


def _stage_inputs(images: dict[str, torch.Tensor], low_res_image: torch.Tensor | None) -> StageInputs:
    return StageInputs(
        agnostic_image=images["agnostic_image"],
        kept_image=images["agnostic_image"],
        mask=None,
        person_pose=images["person_pose"],
        garment_image=images["garment_image"],
        garment_features=None,
        garment_pose=images["garment_pose"],
        agnostic_noise_level=None,
        garment_noise_level=None,
        low_res_image=low_res_image,
    )
