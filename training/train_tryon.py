# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Train one stage of the try-on cascade.

    python training/train_tryon.py --config training/configs/first-base.yaml
    accelerate launch training/train_tryon.py --config training/configs/first-sr.yaml --max_steps 20000

Run the same command again to go on from the newest checkpoint. The output folder gets `checkpoints/`, `samples/`,
`metrics.jsonl` and at the end `unet/`, the averaged weights; `training/export_pipeline.py` makes a pipeline of them.
"""

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed, tqdm
from diffusers import DDPMScheduler
from diffusers.models.modeling_utils import ModelMixin
from diffusers.training_utils import EMAModel
from torch.utils.data import DataLoader

from diffusers_tryon import TryOnImageProcessor, create_unet
from diffusers_tryon.schedules import cosine_betas, create_scheduler, shifted_cosine_betas
from diffusers_tryon.training.batches import (
    collate,
    load_rows,
    low_res_condition,
    micro_batch_size,
    network_inputs,
    prepare_images,
)
from diffusers_tryon.training.checkpoints import list_checkpoints, save_checkpoint
from diffusers_tryon.training.configuration import TrainingConfig, parse_config
from diffusers_tryon.training.objective import min_snr_weights, prediction_target, weighted_loss
from diffusers_tryon.training.randomness import StepSampler, draw_batch, local_indices
from diffusers_tryon.training.sampling import sample_grid, sample_images


NUM_SAMPLE_ROWS = 8


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Linear warm-up, then constant or half a cosine to zero at the last step."""
    warmup = min((step + 1) / max(config.warmup_steps, 1), 1.0)
    if config.lr_schedule == "constant":
        return config.learning_rate * warmup
    return config.learning_rate * warmup * 0.5 * (1 + math.cos(math.pi * step / config.max_steps))


def stage_betas(config: TrainingConfig, size: tuple[int, int]) -> list[float]:
    """The noise schedule of the run for a network of this (height, width)."""
    return cosine_betas() if config.noise_schedule == "cosine" else shifted_cosine_betas(size)


class Stage:
    """What a run needs beside the weights: sizes, schedules, image processing."""

    def __init__(self, config: TrainingConfig, unet: ModelMixin, device: torch.device):
        sample_size = unet.config.sample_size
        self.config = config
        self.size = (sample_size, sample_size) if isinstance(sample_size, int) else tuple(sample_size)
        self.device = device
        self.processor = TryOnImageProcessor()
        self.low_res_mode = unet.low_res_interpolation if unet.config.low_res_conditioning else None
        self.betas = stage_betas(config, self.size)
        self.noise_scheduler: DDPMScheduler = create_scheduler(
            "ddpm", trained_betas=self.betas, prediction_type=config.prediction_type
        )
        self.augmentation_scheduler: DDPMScheduler = create_scheduler("ddpm", trained_betas=cosine_betas())
        self.weights = min_snr_weights(
            self.noise_scheduler.alphas_cumprod, config.snr_gamma, config.prediction_type
        ).to(device)

    def prepare(self, batch: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], torch.Tensor | None]:
        """Images at the network's size, and the low-resolution condition of a super-resolution stage."""
        batch = {name: value.to(self.device) for name, value in batch.items()}
        images = prepare_images(batch, self.processor, self.size)
        if self.low_res_mode is None:
            return images, None
        return images, low_res_condition(
            images["person_image"], self.processor, self.config.low_res_size, self.low_res_mode
        )

    def loss(self, unet: torch.nn.Module, batch: dict[str, torch.Tensor], step: int, indices: list[int]) -> torch.Tensor:
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
        result = sample_images(
            unet, images, low_res_image, self.config.prediction_type, self.betas, self.config.seed
        )
        columns = [images["agnostic_image"], images["garment_image"], low_res_image, result, images["person_image"]]
        path.parent.mkdir(parents=True, exist_ok=True)
        sample_grid([column for column in columns if column is not None]).save(path)


def train(config: TrainingConfig) -> None:
    accelerator = Accelerator(mixed_precision=config.mixed_precision)
    micro_batch_size(config, accelerator.num_processes)
    run_dir = Path(config.output_dir)
    set_seed(config.seed)

    # Network, averaged weights, optimiser; from the newest checkpoint if there is one.
    unet = create_unet(config.preset, **config.unet_overrides).to(accelerator.device)
    ema = EMAModel(unet.parameters(), decay=config.ema_decay, use_ema_warmup=True, power=0.75, foreach=True)
    optimizer = torch.optim.AdamW(
        unet.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    start_step = load_newest_checkpoint(run_dir, unet, ema, optimizer)
    ema.to(accelerator.device)
    stage = Stage(config, unet, accelerator.device)
    model, optimizer = accelerator.prepare(unet, optimizer)

    # Data in an order that depends on the seed and the step alone.
    rows = load_rows(config.dataset)
    sample_rows = load_rows(config.validation_dataset) if config.validation_dataset else rows
    sample_batch = collate([sample_rows[index] for index in range(min(NUM_SAMPLE_ROWS, len(sample_rows)))])
    sampler = StepSampler(len(rows), config, start_step, accelerator.process_index, accelerator.num_processes)
    batches = iter(DataLoader(rows, batch_sampler=sampler, collate_fn=collate, num_workers=config.num_workers))
    indices_of_micro_batches = local_indices(config, accelerator.process_index, accelerator.num_processes)

    def write_checkpoint(folder: Path) -> None:
        state = {
            "unet": unet.state_dict(),
            "ema": ema.state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": step + 1,
        }
        torch.save(state, folder / "state.pt")
        (folder / "config.json").write_text(json.dumps(asdict(config), indent=2) + "\n")

    progress = tqdm(total=config.max_steps, initial=start_step, desc="training", dynamic_ncols=True)
    losses, started = [], time.perf_counter()
    for step in range(start_step, config.max_steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config, step)
        for position, indices in enumerate(indices_of_micro_batches):
            is_last = position == len(indices_of_micro_batches) - 1
            with nullcontext() if is_last else accelerator.no_sync(model):
                loss = stage.loss(model, next(batches), step, indices).mean() / len(indices_of_micro_batches)
                accelerator.backward(loss)
            losses.append(loss.detach())
        gradient_norm = accelerator.clip_grad_norm_(model.parameters(), config.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        ema.step(unet.parameters())
        progress.update()

        done = step + 1
        if done % config.log_every == 0:
            total = accelerator.reduce(torch.stack(losses).sum(), reduction="mean").item()
            seconds = time.perf_counter() - started
            metrics = {
                "step": done,
                "images": done * config.global_batch_size,
                "loss": total / config.log_every,
                "gradient_norm": float(gradient_norm),
                "learning_rate": learning_rate(config, step),
                "images_per_second": config.log_every * config.global_batch_size / seconds,
            }
            if not math.isfinite(metrics["loss"]):
                raise FloatingPointError(f"The loss is {metrics['loss']} at step {done}; the last checkpoint is intact.")
            if accelerator.is_main_process:
                append_metrics(run_dir, metrics)
                progress.set_postfix(loss=f"{metrics['loss']:.4f}", images_per_s=f"{metrics['images_per_second']:.1f}")
            losses, started = [], time.perf_counter()
        if accelerator.is_main_process and (done % config.checkpoint_every == 0 or done == config.max_steps):
            save_checkpoint(run_dir, done, write_checkpoint, config.checkpoints_kept)
        if accelerator.is_main_process and (done % config.sample_every == 0 or done == config.max_steps):
            with averaged_weights(ema, unet), accelerator.autocast():
                stage.save_samples(unet, sample_batch, run_dir / "samples" / f"step-{done:08d}.png")
            started = time.perf_counter()
    progress.close()

    if accelerator.is_main_process:
        ema.copy_to(unet.parameters())
        unet.save_pretrained(run_dir / "unet")
        (run_dir / "unet" / "training_config.json").write_text(json.dumps(asdict(config), indent=2) + "\n")
    accelerator.wait_for_everyone()
    accelerator.end_training()


@contextmanager
def averaged_weights(ema: EMAModel, unet: ModelMixin) -> Iterator[None]:
    """Within the block the network has the averaged weights."""
    ema.store(unet.parameters())
    ema.copy_to(unet.parameters())
    try:
        yield
    finally:
        ema.restore(unet.parameters())


def load_newest_checkpoint(
    run_dir: Path, unet: ModelMixin, ema: EMAModel, optimizer: torch.optim.Optimizer
) -> int:
    """Load the newest checkpoint into the three and return the step to go on with; 0 without a checkpoint."""
    checkpoints = list_checkpoints(run_dir)
    if not checkpoints:
        return 0
    state = torch.load(checkpoints[-1] / "state.pt", map_location="cpu", weights_only=True)
    unet.load_state_dict(state["unet"])
    ema.load_state_dict(state["ema"])
    optimizer.load_state_dict(state["optimizer"])
    return state["step"]


def append_metrics(run_dir: Path, metrics: dict[str, float]) -> None:
    run_dir.mkdir(parents=True, exist_ok=True)
    with open(run_dir / "metrics.jsonl", "a") as file:
        file.write(json.dumps(metrics) + "\n")


if __name__ == "__main__":
    train(parse_config())
