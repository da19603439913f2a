# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The output folder of a run: its checkpoints, the model it publishes, and the record of how that came about."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from diffusers_tryon.hub.export import MODEL_FOLDER, check_base_model, save_pipeline
from diffusers_tryon.hub.push import BackgroundPush
from diffusers_tryon.hub.run_record import RunRecord
from diffusers_tryon.hub.training_card import write_training_card
from diffusers_tryon.models.inputs import trained_size
from diffusers_tryon.training.checkpoints import CheckpointWriter, checkpoint_step, newest_checkpoint
from diffusers_tryon.training.configuration import TrainingConfig, changed_settings
from diffusers_tryon.training.cost import parameter_count
from diffusers_tryon.training.dataset import dataset_fingerprint, dataset_license
from diffusers_tryon.training.ema import DEFAULT_TRACK
from diffusers_tryon.training.environment import describe_environment
from diffusers_tryon.training.initial import InitialNetwork, trainable_parameters
from diffusers_tryon.training.lora import save_lora
from diffusers_tryon.training.metrics import read_metrics
from diffusers_tryon.training.mirror import CheckpointMirror, fetch_newest_checkpoint
from diffusers_tryon.training.parallel import check_same_weights, on_main_process
from diffusers_tryon.training.plots import plot_curves
from diffusers_tryon.training.state import GatheredState, TrainingState


logger = logging.getLogger(__name__)

# How a checkpoint came about: settings, environment, data.
_RECORD_NAME = "record.json"
# Seconds that the last push of a finished run may take, and the copy of the last checkpoint of any.
_LAST_PUSH_SECONDS = 3600
_LAST_COPY_SECONDS = 20


class RunFolder:
    """A context manager; leaving it waits for a checkpoint that is being written, but not for pushes.

    Only the main process writes.

    Args:
        config: the run's settings.
        accelerator: of this process.
        initial: what the run starts from.
    """

    def __init__(self, config: TrainingConfig, accelerator: Accelerator, initial: InitialNetwork):
        self.config, self.accelerator, self.initial = config, accelerator, initial
        self.path = Path(config.output_dir)
        self.samples, self.failed = self.path / "samples", self.path / "failed_batches"
        # Read before sharding, which changes class and parameters.
        self._network_class = type(initial.unet)
        self._num_parameters = parameter_count(initial.unet)
        self._num_trained_parameters = parameter_count(initial.unet, trainable=True)
        self._saved_step: int | None = None
        self._push: BackgroundPush | None = None
        self._mirror: CheckpointMirror | None = None
        if config.base_model is not None:
            check_base_model(config.base_model, initial.image_noising_scheduler)
        on_main_process(self._make)
        if accelerator.is_main_process:
            if config.checkpoint_mirror is not None:
                self._mirror = CheckpointMirror(
                    config.checkpoint_mirror, config.checkpoints_kept, self.path / "tmp-mirror"
                )
            self._writer = CheckpointWriter(
                self.path, config.checkpoints_kept, config.checkpoint_in_background, self._copy_to_mirror
            )
            if config.hub_model_id is not None:
                self._push = BackgroundPush(config.hub_model_id, config.hub_private, self.path / "tmp-push")

    def _make(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"`output_dir` {self.path} cannot be made: {error.strerror}.") from error

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, *exception) -> None:
        if self._push is not None:
            self._push.close(0)
        if self.accelerator.is_main_process:
            self._writer.wait()
        if self._mirror is not None:
            self._mirror.close(_LAST_COPY_SECONDS)

    # Checkpoints

    def resume(self, state: TrainingState) -> None:
        """Load the newest whole checkpoint, if there is one, into `state`.

        Raises:
            ValueError: it is of a run with other settings or data, or of another network.
        """
        self._record = on_main_process(self._describe)
        path = on_main_process(self._find_checkpoint)
        if path is not None:
            state.load(path)
            self._saved_step = state.step

    def _describe(self) -> dict[str, Any]:
        config = self.config
        return {
            "config": config.to_dict(),
            "environment": describe_environment(),
            "dataset": {
                "source": config.dataset,
                "fingerprint": dataset_fingerprint(config),
                "license": dataset_license(config),
            },
        }

    def _find_checkpoint(self) -> Path | None:
        path = newest_checkpoint(self.path)
        if path is None and self.config.checkpoint_mirror is not None:
            path = fetch_newest_checkpoint(self.config.checkpoint_mirror, self.path)
        if path is None:
            return None
        try:
            before = json.loads((path / _RECORD_NAME).read_text())
            changes = changed_settings(TrainingConfig.from_dict(before["config"]), self.config)
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"`output_dir` has a checkpoint of another version of this program: {path}.") from error
        fingerprints = before["dataset"]["fingerprint"], self._record["dataset"]["fingerprint"]
        if fingerprints[0] != fingerprints[1]:
            changes.append(f"content of the dataset: {fingerprints[0]} -> {fingerprints[1]}")
        if changes and not self.config.allow_changes:
            raise ValueError(
                f"`output_dir` has a run with other settings, which cannot go on as it began: {'; '.join(changes)}. "
                f"Take another `output_dir`, or `--allow_changes true`."
            )
        if checkpoint_step(path) > self.config.max_steps:
            raise ValueError(
                f"`max_steps` is {self.config.max_steps}, and `output_dir` has a run of {checkpoint_step(path)} steps."
            )
        return path

    def save_checkpoint(self, state: TrainingState) -> None:
        """Save the state, once a step. All processes call this.

        Raises:
            RuntimeError: on every process: the weights of the processes are no longer the same. Nothing is saved.
        """
        if self._saved_step == state.step:
            return
        check_same_weights(self.accelerator, state.unet)
        self._saved_step = state.step
        if self.accelerator.is_main_process:
            # One copy of the state in memory is enough.
            self._writer.wait()
        gathered = state.gather()
        if gathered is None:
            return

        def write(folder: Path) -> None:
            gathered.write(folder)
            (folder / _RECORD_NAME).write_text(json.dumps(self._record, indent=2) + "\n")

        self._writer.save(state.step, write)
        if self.config.hub_strategy != "end":
            path_in_repo = "" if self.config.hub_strategy == "main" else "checkpoints/latest"
            try:
                self._publish(gathered, path_in_repo)
            except Exception as error:  # of the disk, the Hub, a library: the checkpoint is what counts
                logger.warning("The model of step %d cannot be published; training goes on: %r", state.step, error)

    def _copy_to_mirror(self, checkpoint: Path) -> None:
        if self._mirror is not None:
            self._mirror.copy(checkpoint)

    def save_snapshot(self, state: TrainingState) -> None:
        """Keep the power-function averages of this step, for averages of other widths. All processes call this."""
        names = trainable_parameters(state.unet)
        state.averages.save_snapshot(self.path / "ema_snapshots", state.step, names, self.accelerator.is_main_process)

    # The model

    def publish(self, state: TrainingState, stop: Callable[[], bool]) -> None:
        """Write the finished model and push it, unless `stop` says in the meantime to go. All processes call this."""
        gathered = state.gather()
        if gathered is not None:
            self._publish(gathered, path_in_repo="")
            if self._push is not None:
                self._push.close(_LAST_PUSH_SECONDS, stop)

    def _publish(self, gathered: GatheredState, path_in_repo: str) -> None:
        """Make the folder `model` of the averaged weights, with its card, and push it if the run pushes."""
        config, folder = self.config, self.path / MODEL_FOLDER
        if config.lora_rank is None:
            # Of one name, so that what a kill leaves is removed by the run that goes on.
            temporary = self.path / "tmp-network"
            shutil.rmtree(temporary, ignore_errors=True)
            try:
                gathered.write_network(DEFAULT_TRACK, temporary)
                unet = self._network_class.from_pretrained(temporary)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
            is_pipeline = save_pipeline(
                folder,
                config.stage,
                unet,
                self.initial.betas,
                config.prediction_type,
                self.initial.image_noising_scheduler,
                config.base_model,
            )
            if not is_pipeline:
                print(
                    f"{folder} has the super-resolution stage alone; training/export_pipeline.py joins it to a base."
                )
        else:
            # A pipeline that was there, of a run with other settings, would make the card one of a pipeline.
            shutil.rmtree(folder, ignore_errors=True)
            save_lora(folder, config.stage, self.initial.unet, gathered.networks[DEFAULT_TRACK])
        sheets = sorted(self.samples.glob("step-*.png"))
        write_training_card(
            folder,
            self._run_record(gathered.counters["step"]),
            curves=plot_curves(self.path),
            sample_sheet=sheets[-1] if sheets else None,
            path_in_repo=path_in_repo,
        )
        if self._push is not None:
            self._push.push(folder, path_in_repo, f"Weights after {gathered.counters['step']:,} steps")

    def _run_record(self, step: int) -> RunRecord:
        lines = read_metrics(self.path)
        newest = {name: value for line in lines for name, value in line.items() if name != "step"}
        return RunRecord(
            config=self._record["config"],
            step=step,
            images=step * self.config.global_batch_size,
            seconds=sum(line.get("seconds", 0) for line in lines),
            num_processes=self.accelerator.num_processes,
            unet_class=self._network_class.__name__,
            num_parameters=self._num_parameters,
            num_trained_parameters=self._num_trained_parameters,
            sample_size=trained_size(self.initial.unet),
            metrics=newest,
            environment=self._record["environment"],
            dataset_fingerprint=self._record["dataset"]["fingerprint"],
            dataset_license=self._record["dataset"]["license"],
        )
