# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What a run would be, told before it starts: settings, network, memory, schedule."""

from pathlib import Path

import torch
import yaml
from diffusers.models.modeling_utils import ModelMixin

from diffusers_tryon.data.layouts import count_rows
from diffusers_tryon.data.loading import open_split
from diffusers_tryon.models.inputs import trained_size
from diffusers_tryon.models.presets import create_unet
from diffusers_tryon.training.configuration import RENDERED, TrainingConfig
from diffusers_tryon.training.cost import MemoryEstimate, estimate_memory, parameter_count, training_flops_per_image
from diffusers_tryon.training.initial import load_initial
from diffusers_tryon.training.optimizers import learning_rate
from diffusers_tryon.training.order import local_indices


_GIB = 2**30
_SECONDS_PER_DAY = 86_400
# A round figure to scale from, about what a large GPU of 2022 sustains in bfloat16.
_ASSUMED_FLOPS = 1e14


def describe_run(config: TrainingConfig, num_processes: int = 1) -> str:
    """The settings as YAML, which `--config` reads again, then as comments: the network's size and cost, the memory of
    each process on a GPU, and the schedule.

    Weights of a preset are not made and nothing is trained; an `initial_model` is loaded, and a dataset on this
    machine's disk is opened to count its rows.

    Args:
        config: the run's settings.
        num_processes: how many processes would train.

    Raises:
        ValueError: the batch sizes do not divide, or `initial_model` or `dataset` cannot be read.
    """
    micro_batches = local_indices(config, 0, num_processes)
    unet = _network(config)
    flops_per_image = training_flops_per_image(unet)
    memory = estimate_memory(unet, config, len(micro_batches[0]), "cuda")
    sections = {
        "Network": _describe_network(unet, config, flops_per_image),
        "Memory of each process on a GPU, in GiB": _describe_memory(memory, config, len(micro_batches[0])),
        "Schedule": _describe_schedule(config, num_processes, micro_batches, flops_per_image, memory),
    }
    lines = ["# Settings", yaml.safe_dump(config.to_dict(), sort_keys=False).rstrip()]
    for title, entries in sections.items():
        lines += ["", f"# {title}", *(f"#   {name:<17}{text}" for name, text in entries)]
    return "\n".join(lines)


def _network(config: TrainingConfig) -> ModelMixin:
    if config.preset is None:
        return load_initial(config).unet
    with torch.device("meta"):
        return create_unet(config.preset, **config.unet_overrides)


def _describe_network(unet: ModelMixin, config: TrainingConfig, flops_per_image: int) -> list[tuple[str, str]]:
    height, width = trained_size(unet)
    trained = parameter_count(unet, trainable=True)
    return [
        ("network", f"{type(unet).__name__} of {config.preset or config.initial_model}, {width} x {height} pixels"),
        ("parameters", f"{parameter_count(unet):,}, of which {trained:,} train"),
        ("operations", f"{flops_per_image / 1e9:,.2f} GFLOP per image, forward and backward"),
    ]


def _describe_memory(memory: MemoryEstimate, config: TrainingConfig, num_images: int) -> list[tuple[str, str]]:
    num_averages = 1 + len(config.ema_power_sigmas)
    kept = "the blocks' inputs" if config.gradient_checkpointing else "all that the backward pass needs"
    precision = "bfloat16 and float32" if config.mixed_precision == "bf16" else "float32"
    amounts = [
        ("weights", memory.weights, "float32"),
        ("gradients", memory.gradients, "float32, of the weights that train"),
        ("optimiser", memory.optimizer, f"{config.optimizer}, two moments of the weights that train"),
        ("averages", memory.averages, f"float32, {num_averages} of the weights that train"),
        ("activations", memory.activations, f"{num_images} images, {precision}, {kept}"),
        ("sum", memory.total, "beside it CUDA and what it cannot use take about 1; weights in shards take less"),
    ]
    return [(name, f"{amount / _GIB:9.3f}  {text}") for name, amount, text in amounts]


def _describe_schedule(
    config: TrainingConfig,
    num_processes: int,
    micro_batches: list[list[int]],
    flops_per_image: int,
    memory: MemoryEstimate,
) -> list[tuple[str, str]]:
    num_images = config.max_steps * config.global_batch_size
    flops = num_images * flops_per_image
    days = flops / _ASSUMED_FLOPS / _SECONDS_PER_DAY
    steps = sorted({1, max(config.warmup_steps, 1), config.max_steps // 2 or 1, config.max_steps})
    rates = [f"{learning_rate(config, step - 1):.3g} in step {step:,}" for step in steps if step <= config.max_steps]
    checkpoint = memory.weights + memory.averages + memory.optimizer
    return [
        ("steps", f"{config.max_steps:,} of {config.global_batch_size:,} images"),
        (
            "a step",
            f"{len(micro_batches[0])} images x {len(micro_batches)} micro-batches x {num_processes} "
            f"process{'es' if num_processes > 1 else ''}",
        ),
        ("images", f"{num_images:,}, {_describe_epochs(config, num_images)}"),
        ("operations", f"{flops:.3g} FLOP in all, {days:,.2f} days at {_ASSUMED_FLOPS / 1e12:.0f} TFLOP/s"),
        ("learning rate", ", ".join(rates)),
        ("validation", f"every {config.validate_every:,} steps, on {config.num_validation_rows} rows"),
        ("sample sheets", f"every {config.sample_every:,} steps"),
        (
            "checkpoints",
            f"every {config.checkpoint_every:,} steps, of {checkpoint / _GIB:.3f} GiB each, the newest "
            f"{config.checkpoints_kept} kept",
        ),
    ]


def _describe_epochs(config: TrainingConfig, num_images: int) -> str:
    if config.dataset == RENDERED:
        return "each of a row of its own, rendered while training"
    if not Path(config.dataset).is_dir():
        return f"of a dataset that is not on this disk, {config.dataset}"
    num_rows = sum(count_rows(open_split(config.dataset, "train", streaming=True), config.dataset))
    return f"{num_images / num_rows:,.2f} times the {num_rows:,} rows of {config.dataset}"
