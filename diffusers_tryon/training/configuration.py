# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The settings of a training run: one dataclass, read from YAML and overridden on the command line."""

from dataclasses import dataclass, field
from typing import Any, Literal

from jsonargparse import ActionConfigFile, ArgumentParser

from diffusers_tryon.data.augmentation import AugmentationSettings
from diffusers_tryon.rendering.samples import MAX_SIZE, MIN_SIZE


# The `dataset` that is rendered while training.
RENDERED = "rendered"


@dataclass(frozen=True)
class TrainingConfig:
    """
    Args:
        preset: name of the network's preset (`diffusers_tryon.list_presets()`).
        dataset: folder of a dataset in the package's schema, in any layout of `data.layouts`, or the id of one on the
            Hub; or "rendered": people are rendered while training, no two samples the same, without any files.
        output_dir: folder for checkpoints, samples, metrics and the final network. A run whose folder has a
            checkpoint goes on from it.
        unet_overrides: fields of the preset's configuration to replace.
        validation_dataset: source of the rows on the sample sheets (its split "test"); the training rows if not given.
        initial_unet: folder of a network's weights to start from, such as another run's `unet`; random if not given.
        rendered_size: height and width in pixels of the rows of `dataset: rendered`.
        augmentation: how far training rows are changed at random, see `AugmentationSettings`; not at all if not given.
            `augmentation: {}` takes its defaults.
        low_res_size: the longer side in pixels of the pictures that a super-resolution stage enlarges.
        max_steps: optimiser steps.
        global_batch_size: images per optimiser step over all processes and accumulation steps.
        gradient_accumulation_steps: micro-batches per optimiser step.
        learning_rate: peak rate of AdamW; linear warm-up over `warmup_steps`, then by `lr_schedule`.
        weight_decay: of AdamW.
        max_grad_norm: gradients are clipped to this norm.
        prediction_type: what the network predicts.
        noise_schedule: "shifted_cosine" moves the cosine schedule to the network's size, relative to 64 pixels.
        loss_weighting: of each timestep's squared error: "min_snr" (arXiv 2303.09556) or equal weights.
        snr_gamma: gamma of the min-SNR weighting.
        condition_dropout: probability that a sample loses all its conditions, for guidance.
        max_agnostic_noise_level, max_garment_noise_level, max_low_res_noise_level: noise augmentation levels are
            uniform in 0 to this, at most 999.
        ema_decay: largest decay of the averaged weights.
        mixed_precision: "no" or "bf16".
        seed: of everything: initial weights, data order, rendered rows, augmentation, noise.
        num_workers: data loading processes.
        log_every, checkpoint_every, sample_every: in optimiser steps.
        checkpoints_kept: the newest so many checkpoints stay.
    """

    preset: str
    dataset: str
    output_dir: str
    unet_overrides: dict[str, Any] = field(default_factory=dict)
    validation_dataset: str | None = None
    initial_unet: str | None = None
    rendered_size: int = 128
    augmentation: AugmentationSettings | None = None
    low_res_size: int = 64
    max_steps: int = 10_000
    global_batch_size: int = 16
    gradient_accumulation_steps: int = 1
    learning_rate: float = 3e-4
    warmup_steps: int = 200
    lr_schedule: Literal["constant", "cosine"] = "cosine"
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    prediction_type: Literal["epsilon", "v_prediction", "sample"] = "v_prediction"
    noise_schedule: Literal["cosine", "shifted_cosine"] = "cosine"
    loss_weighting: Literal["none", "min_snr"] = "none"
    snr_gamma: float = 5.0
    condition_dropout: float = 0.1
    max_agnostic_noise_level: int = 999
    max_garment_noise_level: int = 999
    max_low_res_noise_level: int = 999
    ema_decay: float = 0.9999
    mixed_precision: Literal["no", "bf16"] = "no"
    seed: int = 0
    num_workers: int = 1
    log_every: int = 20
    checkpoint_every: int = 500
    sample_every: int = 500
    checkpoints_kept: int = 2

    def __post_init__(self):
        for name in (
            "max_steps",
            "global_batch_size",
            "gradient_accumulation_steps",
            "log_every",
            "checkpoint_every",
            "sample_every",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}.")
        for name in ("max_agnostic_noise_level", "max_garment_noise_level", "max_low_res_noise_level"):
            if not 0 <= getattr(self, name) <= 999:
                raise ValueError(f"`{name}` must be in 0 to 999, got {getattr(self, name)}.")
        if not MIN_SIZE <= self.rendered_size <= MAX_SIZE:
            raise ValueError(f"`rendered_size` must be in {MIN_SIZE} to {MAX_SIZE}, got {self.rendered_size}.")
        if not 0 <= self.condition_dropout <= 1:
            raise ValueError(f"`condition_dropout` must be in [0, 1], got {self.condition_dropout}.")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TrainingConfig":
        """The settings that `dataclasses.asdict` turned into `values`."""
        augmentation = values.get("augmentation")
        if augmentation is not None:
            values = values | {"augmentation": AugmentationSettings(**augmentation)}
        return cls(**values)


def parse_config(arguments: list[str] | None = None) -> TrainingConfig:
    """Read `--config FILE.yaml` and `--name value` overrides; unknown names, wrong types and values end the
    program."""
    parser = ArgumentParser(prog="train_tryon.py", description="Train one stage of the try-on cascade.")
    parser.add_argument("--config", action=ActionConfigFile, help="YAML file of settings")
    parser.add_class_arguments(TrainingConfig)
    values = parser.parse_args(arguments).as_dict()
    values.pop("config")
    try:
        return TrainingConfig.from_dict(values)
    except ValueError as error:
        parser.error(str(error))
