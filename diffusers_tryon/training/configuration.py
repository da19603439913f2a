# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The settings of a training run: one dataclass, read from YAML and overridden on the command line."""

import json
from dataclasses import asdict, dataclass, field, fields
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
        dataset: folder of a dataset in the package's schema, in any layout of `data.layouts`, or the id of one on the
            Hub; or "rendered": people are rendered while training, no two samples the same, without any files.
        output_dir: folder for checkpoints, samples, metrics and the final weights. A run whose folder has a
            checkpoint goes on from it.
        stage: which stage of the cascade is trained; "sr" enlarges the base stage's pictures.
        preset: name of the network's preset (`diffusers_tryon.list_presets()`), with random weights.
        unet_overrides: fields of the preset's configuration to replace.
        initial_model: what to start from instead of a preset: a folder or an id on the Hub, of a pipeline (its stage
            is taken, and its noise schedule must be this run's) or of a single network.
        lora_rank: train low-rank adapters of this rank beside `initial_model`, whose weights stay; all weights are
            trained if not given.
        lora_alpha: scale of the adapters; `lora_rank` if not given.
        lora_target_modules: names of the layers that get adapters.
        validation_dataset: source of the rows that are validated and drawn on the sample sheets (its split "test");
            the first training rows if not given.
        rendered_size: height and width in pixels of the rows of `dataset: rendered`.
        streaming: read the shards one after another while training, instead of making a table of all rows first.
        stream_lanes: how many shards a stream reads side by side; must divide `global_batch_size`.
        augmentation: how far training rows are changed at random, see `AugmentationSettings`; not at all if not given.
            `augmentation: {}` takes its defaults.
        num_workers: data loading processes of each training process.
        prediction_type: what the network predicts.
        noise_schedule: "shifted_cosine" moves the cosine schedule to the network's size, relative to 64 pixels;
            "initial" is that of the pipeline in `initial_model`.
        loss_weighting: of each timestep's squared error: "min_snr" (arXiv 2303.09556), "sigmoid" (arXiv 2410.19324)
            or equal weights.
        snr_gamma: gamma of the min-SNR weighting.
        sigmoid_bias: bias of the sigmoid weighting, a log-SNR; lower for larger pictures.
        condition_dropout: probability that a sample loses its conditions, for guidance.
        condition_dropout_mode: "joint" drops all conditions of a sample together, "independent" each for itself, which
            seldom shows the network what guidance asks of it, no condition at all.
        max_agnostic_noise_level, max_garment_noise_level, max_low_res_noise_level: noise augmentation levels are
            uniform in 0 to this, at most 999.
        low_res_size: the longer side in pixels of the pictures that stage "sr" enlarges.
        base_model: a pipeline whose base stage comes before this stage "sr": in `base_output_probability` of the
            samples it makes the low-resolution picture, and the finished run becomes a pipeline with it.
        base_output_probability: how often stage "sr" enlarges an output of `base_model` instead of the downsampled
            photograph.
        base_output_steps: steps that `base_model` takes for such an output.
        max_steps: optimiser steps.
        stop_at_step: end the program after this step, with a checkpoint; schedules are those of `max_steps`.
        global_batch_size: images per optimiser step over all processes and accumulation steps.
        micro_batch_size: images in one forward pass of one process, from which the accumulation steps follow; as many
            as there are if not given.
        optimizer: "adamw", or "adamw8bit" with its states in 8 bits (extra `adam8bit`).
        learning_rate: peak rate; linear warm-up over `warmup_steps`, then by `lr_schedule`.
        warmup_steps, lr_schedule: see `learning_rate`; "cosine" falls to zero at `max_steps`.
        adam_betas, adam_epsilon, weight_decay: of the optimiser.
        max_grad_norm: gradients are clipped to this norm.
        ema_decay: largest decay of the averaged weights.
        ema_power_sigmas: relative widths of further averages with power-function profiles (arXiv 2312.02696), of which
            snapshots are kept for reconstruction after training; such as [0.05, 0.1].
        ema_snapshot_every: steps between these snapshots.
        mixed_precision: "no" or "bf16".
        tf32: allow TensorFloat-32 in float32 matrix products and convolutions, where the device has it.
        gradient_checkpointing: keep only the blocks' inputs for the backward pass and compute the rest again.
        compile: compile the network with `torch.compile`.
        channels_last: memory layout of the network's images and weights.
        chunked_attention: attention as matrix products over a few heads at a time, which on CPUs in bfloat16 are faster
            than PyTorch's kernel; logits are rounded to bfloat16.
        deterministic: take deterministic kernels only, so that a resumed run is exact on a GPU too.
        seed: of everything: initial weights, data order, rendered rows, augmentation, noise.
        max_skipped_steps: how many steps with a loss or gradient that is not finite are left out before the run stops.
        log_every, validate_every, sample_every, checkpoint_every: in optimiser steps.
        num_validation_rows: rows whose loss is validated; the first 8 are drawn.
        sample_steps: steps of the few-step solver for the sample sheets.
        sample_guidance_scale: guidance of the second sheet; the first has none.
        trackers: where metrics go beside `metrics.jsonl`: tensorboard, wandb, trackio.
        checkpoints_kept: the newest so many checkpoints stay.
        checkpoint_in_background: write checkpoints while training goes on, from a copy in main memory.
        checkpoint_mirror: URL of a folder to which every checkpoint is copied in the background, on any file system
            that fsspec knows ("s3://bucket/run"). A run without checkpoints of its own goes on from the newest there.
        allow_changes: resume although settings or the dataset differ from those of the checkpoint.
        hub_model_id: repository on the Hub to push to, "user/name"; nothing is pushed if not given.
        hub_strategy: "end" pushes when training is over, "latest_folder" also every checkpoint's averaged weights into
            the repository's folder `checkpoints/latest`, "main" these to its root.
        hub_private: make a new repository private.
        hub_license: licence of the weights for the model card, by its identifier on the Hub; "unknown" if not given.
        dataset_license: licence of the data for the model card; that of the dataset's own card if not given.
    """

    dataset: str
    output_dir: str
    # Network
    stage: Literal["base", "sr"] = "base"
    preset: str | None = None
    unet_overrides: dict[str, Any] = field(default_factory=dict)
    initial_model: str | None = None
    lora_rank: int | None = None
    lora_alpha: float | None = None
    lora_target_modules: tuple[str, ...] = ("to_q", "to_k", "to_v", "to_out.0")
    # Data
    validation_dataset: str | None = None
    rendered_size: int = 128
    streaming: bool = False
    stream_lanes: int = 1
    augmentation: AugmentationSettings | None = None
    num_workers: int = 1
    # Objective
    prediction_type: Literal["epsilon", "v_prediction", "sample"] = "v_prediction"
    noise_schedule: Literal["cosine", "shifted_cosine", "initial"] = "cosine"
    loss_weighting: Literal["none", "min_snr", "sigmoid"] = "none"
    snr_gamma: float = 5.0
    sigmoid_bias: float = -3.0
    condition_dropout: float = 0.1
    condition_dropout_mode: Literal["joint", "independent"] = "joint"
    max_agnostic_noise_level: int = 999
    max_garment_noise_level: int = 999
    max_low_res_noise_level: int = 999
    low_res_size: int | None = None
    base_model: str | None = None
    base_output_probability: float = 0.0
    base_output_steps: int = 10
    # Optimisation
    max_steps: int = 10_000
    stop_at_step: int | None = None
    global_batch_size: int = 16
    micro_batch_size: int | None = None
    optimizer: Literal["adamw", "adamw8bit"] = "adamw"
    learning_rate: float = 3e-4
    warmup_steps: int = 200
    lr_schedule: Literal["constant", "cosine"] = "cosine"
    adam_betas: tuple[float, float] = (0.9, 0.999)
    adam_epsilon: float = 1e-8
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    ema_decay: float = 0.9999
    ema_power_sigmas: tuple[float, ...] = ()
    ema_snapshot_every: int = 1000
    # Precision, memory and speed
    mixed_precision: Literal["no", "bf16"] = "no"
    tf32: bool = True
    gradient_checkpointing: bool = False
    compile: bool = False
    channels_last: bool = False
    chunked_attention: bool = False
    deterministic: bool = False
    # Safety and reporting
    seed: int = 0
    max_skipped_steps: int = 0
    log_every: int = 20
    validate_every: int = 500
    num_validation_rows: int = 32
    sample_every: int = 500
    sample_steps: int = 20
    sample_guidance_scale: float = 2.0
    trackers: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = ()
    checkpoint_every: int = 500
    checkpoints_kept: int = 2
    checkpoint_in_background: bool = False
    checkpoint_mirror: str | None = None
    allow_changes: bool = False
    # Hub
    hub_model_id: str | None = None
    hub_strategy: Literal["end", "latest_folder", "main"] = "end"
    hub_private: bool = False
    hub_license: str | None = None
    dataset_license: str | None = None

    def __post_init__(self):
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                limits = f"at least {low}" if high == float("inf") else f"in {low} to {high}"
                raise ValueError(f"`{name}` must be {limits}, got {value}.")
        if (self.preset is None) == (self.initial_model is None):
            raise ValueError(
                f"Exactly one of `preset` and `initial_model` must be given, got {self.preset!r} and "
                f"{self.initial_model!r}; `--preset null` takes back the preset of a config."
            )
        for name, needed in (
            ("unet_overrides", "preset"),
            ("lora_rank", "initial_model"),
            ("lora_alpha", "lora_rank"),
        ):
            if getattr(self, name) and getattr(self, needed) is None:
                raise ValueError(f"`{name}` needs `{needed}`.")
        if self.noise_schedule == "initial" and self.initial_model is None:
            raise ValueError("`noise_schedule: initial` needs `initial_model`.")
        if self.hub_strategy != "end" and self.hub_model_id is None:
            raise ValueError(f"`hub_strategy: {self.hub_strategy}` needs `hub_model_id`, where to push to.")
        if self.streaming and self.dataset == RENDERED:
            raise ValueError("`streaming` is for datasets with shards, `dataset: rendered` has none.")
        self._check_stage()

    def _check_stage(self) -> None:
        if self.stage == "sr" and self.low_res_size is None:
            raise ValueError("`stage: sr` needs `low_res_size`, the size of the pictures that it enlarges.")
        if self.stage == "base":
            for name in ("low_res_size", "base_model"):
                if getattr(self, name) is not None:
                    raise ValueError(f"`{name}` is for `stage: sr`, got {getattr(self, name)!r} for `stage: base`.")
        if self.base_output_probability > 0 and self.base_model is None:
            raise ValueError("`base_output_probability` needs `base_model`.")

    def to_dict(self) -> dict[str, Any]:
        """The settings in the types that JSON and YAML have: lists for tuples."""
        return json.loads(json.dumps(asdict(self)))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TrainingConfig":
        """The settings of `to_dict`."""
        values = dict(values)
        if values.get("augmentation") is not None:
            values["augmentation"] = AugmentationSettings(**values["augmentation"])
        for item in fields(cls):
            if isinstance(values.get(item.name), list):
                values[item.name] = tuple(values[item.name])
        return cls(**values)


_INFINITE = float("inf")
# Name, lowest and highest value of the settings that are numbers.
_RANGES = (
    ("lora_rank", 1, _INFINITE),
    ("rendered_size", MIN_SIZE, MAX_SIZE),
    ("stream_lanes", 1, _INFINITE),
    ("num_workers", 0, _INFINITE),
    ("snr_gamma", 0, _INFINITE),
    ("condition_dropout", 0, 1),
    ("max_agnostic_noise_level", 0, 999),
    ("max_garment_noise_level", 0, 999),
    ("max_low_res_noise_level", 0, 999),
    ("low_res_size", 1, _INFINITE),
    ("base_output_probability", 0, 1),
    ("base_output_steps", 1, 1000),
    ("max_steps", 1, _INFINITE),
    ("stop_at_step", 1, _INFINITE),
    ("global_batch_size", 1, _INFINITE),
    ("micro_batch_size", 1, _INFINITE),
    ("learning_rate", 0, _INFINITE),
    ("warmup_steps", 0, _INFINITE),
    ("weight_decay", 0, _INFINITE),
    ("max_grad_norm", 0, _INFINITE),
    ("ema_decay", 0, 1),
    ("ema_snapshot_every", 1, _INFINITE),
    ("seed", 0, _INFINITE),
    ("max_skipped_steps", 0, _INFINITE),
    ("log_every", 1, _INFINITE),
    ("validate_every", 1, _INFINITE),
    ("num_validation_rows", 1, _INFINITE),
    ("sample_every", 1, _INFINITE),
    ("sample_steps", 1, 1000),
    ("sample_guidance_scale", 0, _INFINITE),
    ("checkpoint_every", 1, _INFINITE),
    ("checkpoints_kept", 1, _INFINITE),
)

# Settings that change nothing of what a run computes, or, `micro_batch_size`, no more than the order of its sums.
_FREE_TO_CHANGE = {
    "output_dir",
    "num_workers",
    "stop_at_step",
    "micro_batch_size",
    "max_skipped_steps",
    "log_every",
    "validate_every",
    "sample_every",
    "sample_steps",
    "sample_guidance_scale",
    "num_validation_rows",
    "validation_dataset",
    "trackers",
    "checkpoint_every",
    "checkpoints_kept",
    "checkpoint_in_background",
    "checkpoint_mirror",
    "allow_changes",
    "hub_model_id",
    "hub_strategy",
    "hub_private",
    "hub_license",
    "dataset_license",
}


def changed_settings(before: TrainingConfig, after: TrainingConfig) -> list[str]:
    """Lines "`name`: old -> new" of the settings with which a run would not go on as it began.

    With a constant learning rate a run may be made longer or shorter.
    """
    free = _FREE_TO_CHANGE | ({"max_steps"} if before.lr_schedule == after.lr_schedule == "constant" else set())
    old, new = asdict(before), asdict(after)
    return [f"`{name}`: {old[name]} -> {new[name]}" for name in old if name not in free and old[name] != new[name]]


def parse_config(arguments: list[str] | None = None) -> tuple[TrainingConfig, bool]:
    """Read `--config FILE.yaml` and `--name value` overrides; unknown names, wrong types and values end the program.

    Returns:
        The settings, and whether `--dry-run` was given.
    """
    parser = ArgumentParser(
        prog="train_tryon.py", description="Train one stage of the try-on cascade.", allow_abbrev=False
    )
    parser.add_argument("--config", action=ActionConfigFile, help="YAML file of settings")
    parser.add_argument(
        "--dry-run", action="store_true", help="print settings, sizes, cost and schedule, and train nothing"
    )
    parser.add_class_arguments(TrainingConfig)
    values = parser.parse_args(arguments).as_dict()
    values.pop("config")
    dry_run = values.pop("dry_run")
    try:
        return TrainingConfig.from_dict(values), dry_run
    except ValueError as error:
        # Without the usage, which is long.
        parser.exit(2, f"train_tryon.py: {error}\n")
