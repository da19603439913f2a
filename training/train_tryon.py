# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Train one stage of the try-on cascade.

    python training/train_tryon.py --config training/configs/first-base.yaml
    accelerate launch training/train_tryon.py --config training/configs/first-sr.yaml --max_steps 20000

Run the same command again to go on from the newest checkpoint. The output folder gets `checkpoints/`, `samples/`,
`metrics.jsonl` and at the end `unet/`, the averaged weights, and `model/`, a pipeline of them;
`training/export_pipeline.py` joins two runs to a cascade.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed, tqdm
from diffusers.models.modeling_utils import ModelMixin
from diffusers.training_utils import EMAModel

from diffusers_tryon import create_unet
from diffusers_tryon.hub.export import MODEL_FOLDER, save_pipeline
from diffusers_tryon.schedules import create_scheduler
from diffusers_tryon.training.base_outputs import BaseOutputs
from diffusers_tryon.training.checkpoints import CheckpointWriter, newest_checkpoint
from diffusers_tryon.training.configuration import TrainingConfig, parse_config
from diffusers_tryon.training.dataset import collate, open_training_rows, open_validation_rows
from diffusers_tryon.training.loader import TrainingBatches
from diffusers_tryon.training.optimizers import create_optimizer, learning_rate
from diffusers_tryon.training.order import local_indices
from diffusers_tryon.training.stage import TrainingStage, schedule_of_run


NUM_SAMPLE_ROWS = 8


def train(config: TrainingConfig) -> None:
    accelerator = Accelerator(mixed_precision=config.mixed_precision)
    indices_of_micro_batches = local_indices(config, accelerator.process_index, accelerator.num_processes)
    run_dir = Path(config.output_dir)
    set_seed(config.seed)

    # Network, averaged weights, optimiser; from the newest checkpoint if there is one.
    unet = create_unet(config.preset, **config.unet_overrides).to(accelerator.device)
    ema = EMAModel(unet.parameters(), decay=config.ema_decay, use_ema_warmup=True, power=0.75, foreach=True)
    optimizer = create_optimizer(unet.parameters(), config)
    start_step = load_newest_checkpoint(run_dir, unet, ema, optimizer)
    ema.to(accelerator.device)
    stage = TrainingStage(
        config,
        unet,
        accelerator.device,
        schedule_of_run(config, unet.config.sample_size),
        create_scheduler("ddpm"),
        BaseOutputs(config, accelerator.device) if config.base_output_probability else None,
    )
    model, optimizer = accelerator.prepare(unet, optimizer)

    # Data in an order that depends on the seed and the step alone.
    rows = open_training_rows(config)
    sample_rows = open_validation_rows(config)
    sample_batch = collate([sample_rows[index] for index in range(min(NUM_SAMPLE_ROWS, len(sample_rows)))])
    batches = TrainingBatches(rows, config, start_step, accelerator.process_index, accelerator.num_processes)

    def write_checkpoint(folder: Path) -> None:
        state = {
            "unet": unet.state_dict(),
            "ema": ema.state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": step + 1,
        }
        torch.save(state, folder / "state.pt")
        (folder / "config.json").write_text(json.dumps(asdict(config), indent=2) + "\n")

    writer = CheckpointWriter(run_dir, config.checkpoints_kept)
    progress = tqdm(total=config.max_steps, initial=start_step, desc="training", dynamic_ncols=True)
    losses, started = [], time.perf_counter()
    for step in range(start_step, config.max_steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config, step)
        for position, indices in enumerate(indices_of_micro_batches):
            is_last = position == len(indices_of_micro_batches) - 1
            with nullcontext() if is_last else accelerator.no_sync(model):
                loss = stage.loss(model, next(batches), step, indices).loss.mean() / len(indices_of_micro_batches)
                accelerator.backward(loss)
            losses.append(loss.detach())
        gradient_norm = accelerator.clip_grad_norm_(model.parameters(), config.max_grad_norm)
        if not torch.isfinite(gradient_norm):
            raise FloatingPointError(f"The gradient is not finite at step {step}; weights and checkpoints are intact.")
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
            if accelerator.is_main_process:
                append_metrics(run_dir, metrics)
                progress.set_postfix(loss=f"{metrics['loss']:.4f}", images_per_s=f"{metrics['images_per_second']:.1f}")
            losses, started = [], time.perf_counter()
        if accelerator.is_main_process and (done % config.checkpoint_every == 0 or done == config.max_steps):
            writer.save(done, write_checkpoint)
        if accelerator.is_main_process and (done % config.sample_every == 0 or done == config.max_steps):
            with averaged_weights(ema, unet), accelerator.autocast():
                stage.save_samples(unet, sample_batch, run_dir / "samples" / f"step-{done:08d}.png")
            started = time.perf_counter()
    progress.close()
    batches.close()

    if accelerator.is_main_process:
        ema.copy_to(unet.parameters())
        unet.save_pretrained(run_dir / "unet")
        (run_dir / "unet" / "training_config.json").write_text(json.dumps(asdict(config), indent=2) + "\n")
        save_pipeline(
            *(run_dir / MODEL_FOLDER, config.stage, unet, stage.betas, config.prediction_type),
            *(stage.image_noising_scheduler, config.base_model),
        )
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


def load_newest_checkpoint(run_dir: Path, unet: ModelMixin, ema: EMAModel, optimizer: torch.optim.Optimizer) -> int:
    """Load the newest checkpoint into the three and return the step to go on with; 0 without a checkpoint."""
    checkpoint = newest_checkpoint(run_dir)
    if checkpoint is None:
        return 0
    path = checkpoint / "state.pt"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        unet.load_state_dict(state["unet"])
        ema.load_state_dict(state["ema"])
        optimizer.load_state_dict(state["optimizer"])
    except Exception as error:  # a truncated or foreign file can raise anything
        raise ValueError(
            f"`output_dir` has a checkpoint that this run cannot resume from: {path} is broken or of another network. "
            f"Remove its folder to go on from the one before it, or take another `output_dir`."
        ) from error
    return state["step"]


def append_metrics(run_dir: Path, metrics: dict[str, float]) -> None:
    run_dir.mkdir(parents=True, exist_ok=True)
    with open(run_dir / "metrics.jsonl", "a") as file:
        file.write(json.dumps(metrics) + "\n")


if __name__ == "__main__":
    train(parse_config()[0])
