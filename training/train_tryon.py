# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Train one stage of the try-on cascade.

    python training/train_tryon.py --config training/configs/tiny-base.yaml
    accelerate launch --config_file training/accelerate/eight_gpus.yaml \
        training/train_tryon.py --config training/configs/base-128.yaml --output_dir runs/mine

Run the same command again to go on from the newest checkpoint. `--dry-run` tells what a run would do and cost.
"""

import os
import sys

import torch
from accelerate.utils import tqdm

from diffusers_tryon.data.rows import RowError
from diffusers_tryon.training.base_outputs import BaseOutputs
from diffusers_tryon.training.checks import check_network_size
from diffusers_tryon.training.configuration import TrainingConfig, parse_config
from diffusers_tryon.training.cost import peak_flops, training_flops_per_image
from diffusers_tryon.training.dataset import collate, open_training_rows, open_validation_rows
from diffusers_tryon.training.dry_run import describe_run
from diffusers_tryon.training.ema import WeightAverages
from diffusers_tryon.training.guards import write_failed_batch
from diffusers_tryon.training.initial import load_initial, trainable_parameters
from diffusers_tryon.training.loader import TrainingBatches
from diffusers_tryon.training.metrics import RunMetrics, check_trackers
from diffusers_tryon.training.optimizers import create_optimizer, learning_rate
from diffusers_tryon.training.order import local_indices
from diffusers_tryon.training.parallel import (
    accumulate,
    agree,
    clip_gradients,
    create_accelerator,
    distribute,
    leave,
    shard_optimizer,
)
from diffusers_tryon.training.randomness import draw_batch
from diffusers_tryon.training.run_folder import RunFolder
from diffusers_tryon.training.signals import StopRequest
from diffusers_tryon.training.stage import TrainingStage
from diffusers_tryon.training.state import TrainingState
from diffusers_tryon.training.validation import FixedValidation


class Training:
    """A run of one stage, as far as its settings, its data and a checkpoint of it say.

    Args:
        config: the settings.
        signal: whether the run was asked to stop.

    Raises:
        ValueError: settings, data, network, launcher or checkpoint do not fit each other. Nothing is trained yet.
        OSError: the Hub cannot be reached.
    """

    def __init__(self, config: TrainingConfig, signal: StopRequest):
        check_trackers(config)
        self.config, self.signal = config, signal
        self.accelerator = create_accelerator(config)
        rank, world_size = self.accelerator.process_index, self.accelerator.num_processes
        self.micro_batches = local_indices(config, rank, world_size)

        initial = load_initial(config)
        check_network_size(config, initial.unet)
        self.stage = TrainingStage(
            config,
            initial.unet,
            self.accelerator.device,
            initial.betas,
            initial.image_noising_scheduler,
            BaseOutputs(config, self.accelerator.device) if config.base_model is not None else None,
        )
        rows = open_training_rows(config)
        # A picture that the stage cannot take is better found now than by a worker.
        self.stage.prepare(collate([rows[0]]))
        flops_per_image = training_flops_per_image(initial.unet)

        self.folder = RunFolder(config, self.accelerator, initial)
        model = distribute(initial.unet, config, self.accelerator)
        self.parameters = list(trainable_parameters(initial.unet).values())
        optimizer = create_optimizer(self.parameters, config)
        self.model, optimizer = shard_optimizer(model, optimizer, config, self.accelerator)
        self.state = TrainingState(initial.unet, WeightAverages(self.parameters, config), optimizer, config)
        self.folder.resume(self.state)

        # Everything random, and the order of the data, follows from the settings and the step.
        self.batches = TrainingBatches(rows, config, self.state.step, rank, world_size)
        self.validation = FixedValidation(config, self.stage, open_validation_rows(config), self.accelerator)
        precision = torch.bfloat16 if config.mixed_precision == "bf16" else torch.float32
        self.metrics = RunMetrics(
            self.accelerator,
            config,
            self.folder.path,
            flops_per_image,
            peak_flops(self.accelerator.device, precision, config.tf32),
            self.state.step,
        )

    def run(self) -> None:
        """Train to `max_steps`, `stop_at_step` or a signal; each leaves a checkpoint, the first also the model."""
        config, state = self.config, self.state
        last_step = min(config.max_steps, config.stop_at_step or config.max_steps)
        progress = tqdm(total=config.max_steps, initial=state.step, desc="training", dynamic_ncols=True)
        with self.folder, progress:
            # The program before may have ended between a checkpoint and the look that was due.
            with self.metrics.paused():
                stopped = state.step > 0 and self.look(is_last=state.step == config.max_steps)
            while state.step < last_step and not stopped:
                stopped = self.step()
                progress.update()
                is_last = state.step == last_step or stopped
                if is_last or state.step % config.log_every == 0:
                    rate = learning_rate(config, state.step - 1)
                    values = self.metrics.log(state.step, rate, state.skipped_steps)
                    self.metrics.write(state.step, values)
                    progress.set_postfix(loss=values.get("loss"), images_per_second=values["images_per_second"])
                with self.metrics.paused():
                    # Before the checkpoint, behind which nothing is computed again.
                    if config.ema_power_sigmas and (is_last or state.step % config.ema_snapshot_every == 0):
                        self.folder.save_snapshot(state)
                    if is_last or state.step % config.checkpoint_every == 0:
                        self.folder.save_checkpoint(state)
                    stopped = stopped or self.look(is_last)
            if stopped:
                # Validation may have been left at a step that has no checkpoint yet.
                self.folder.save_checkpoint(state)
                cause = self.signal.name or "a signal to another process"
                self.accelerator.print(f"Stopped by {cause} after step {state.step}; run the same command to go on.")
            elif state.step == config.max_steps:
                self.folder.publish(state, stop=lambda: self.signal.requested)
        del self.model
        leave(self.accelerator)

    def step(self) -> bool:
        """One optimiser step; returns whether a signal asks to stop."""
        config, state = self.config, self.state
        for group in state.optimizer.param_groups:
            group["lr"] = learning_rate(config, state.step)
        batches, losses = [], []
        for number, indices in enumerate(self.micro_batches):
            batches.append(next(self.batches))
            with accumulate(self.model, is_last=number == len(self.micro_batches) - 1):
                with self.accelerator.autocast():
                    output = self.stage.loss(self.model, batches[-1], state.step, indices)
                (output.loss.mean() / len(self.micro_batches)).backward()
            self.metrics.add(output)
            losses.append(output.loss.detach())
        gradient_norm = clip_gradients(state.optimizer, config.max_grad_norm)

        # One exchange a step: whether any process has a loss or gradient that is not finite, or a signal.
        bad_loss, bad_gradient, stop = agree(
            self.accelerator,
            not torch.cat(losses).isfinite().all(),
            not gradient_norm.isfinite(),
            self.signal.requested,
        )
        is_bad = bad_loss or bad_gradient
        if is_bad:
            self.skip_step(batches, losses, bad_loss)
        else:
            state.optimizer.step()
            state.averages.step(self.parameters)
        state.optimizer.zero_grad()
        state.step += 1
        self.metrics.finish_step(gradient_norm, self.batches.take_wait_seconds(), skipped=is_bad)
        return stop

    def skip_step(self, batches: list[dict[str, torch.Tensor]], losses: list[torch.Tensor], bad_loss: bool) -> None:
        """Write down what the step worked on, and end the run if that happened too often."""
        state = self.state
        for batch, indices, loss in zip(batches, self.micro_batches, losses):
            # Where all losses are finite the gradient is to blame, and any of the batches.
            if not bad_loss or not loss.isfinite().all():
                draw = draw_batch(self.config, state.step, indices, self.stage.size)
                write_failed_batch(self.folder.failed, state.step, self.accelerator.process_index, batch, draw, loss)
        state.skipped_steps += 1
        self.accelerator.wait_for_everyone()
        if state.skipped_steps > self.config.max_skipped_steps:
            raise FloatingPointError(
                f"The {'loss' if bad_loss else 'gradient'} of step {state.step + 1} is not finite. The optimiser has "
                f"not seen it, and checkpoints are intact; what it came from is in {self.folder.failed}. "
                f"`max_skipped_steps` ({self.config.max_skipped_steps}) would allow to leave such steps out."
            )

    def must_stop(self) -> bool:
        """Whether a signal came to any process; all ask alike."""
        return agree(self.accelerator, self.signal.requested)[0]

    def look(self, is_last: bool) -> bool:
        """Validate and draw what is due after this step and not done yet; returns whether a signal ended it early."""
        step, metrics, stopped = self.state.step, self.metrics, False
        if (is_last or step % self.config.validate_every == 0) and not metrics.has(step, "validation_loss_ema"):
            stopped = self.validate()
        if (is_last or step % self.config.sample_every == 0) and not metrics.has(step, "sample_psnr"):
            stopped = stopped or self.draw_samples()
        return stopped

    def validate(self) -> bool:
        """Losses of fixed rows with the raw and the averaged weights; returns whether a signal ended it early."""
        unet = self.state.unet
        values = self.validation.losses(unet, self.must_stop)
        if values is not None:
            with self.state.averages.swapped_in(self.parameters):
                averaged = self.validation.losses(unet, self.must_stop, "validation_loss_ema")
            if averaged is not None:
                self.metrics.write(self.state.step, values | averaged)
                return False
        return True

    def draw_samples(self) -> bool:
        """A sheet of fixed rows with the averaged weights; returns whether a signal ended it early."""
        with self.state.averages.swapped_in(self.parameters):
            sheet = self.validation.draw_sheets(self.state.unet, self.folder.samples, self.state.step, self.must_stop)
        if sheet is None:
            return True
        self.metrics.write(self.state.step, sheet.values, sheet.pictures)
        return False


def main() -> None:
    config, dry_run = parse_config()
    # Loading can take minutes: a signal counts from the start.
    with StopRequest() as signal:
        try:
            if dry_run:
                print(describe_run(config, num_processes=int(os.environ.get("WORLD_SIZE", 1))))
                return
            training = Training(config, signal)
        except (ValueError, OSError) as error:
            sys.exit(describe_error(error))
        try:
            training.run()
        except (RowError, FloatingPointError, OSError) as error:
            sys.exit(describe_error(error))


def describe_error(error: Exception) -> str:
    process = f" (process {os.environ['RANK']})" if "RANK" in os.environ else ""
    return f"train_tryon.py{process}: {error}"


if __name__ == "__main__":
    main()
