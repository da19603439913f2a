# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The optimiser of a run and its learning rate."""

import math
from collections.abc import Iterable

import torch

from diffusers_tryon.training.configuration import TrainingConfig


def learning_rate(config: TrainingConfig, step: int) -> float:
    """The rate of optimiser step `step`, counted from 0: linear warm-up, then constant or half a cosine.

    A function of the step alone, so that neither the number of processes nor a resumed run changes it. The cosine
    spans the whole run and reaches zero at `max_steps`; the warm-up multiplies it.
    """
    warmup = min((step + 1) / max(config.warmup_steps, 1), 1.0)
    if config.lr_schedule == "constant":
        return config.learning_rate * warmup
    return config.learning_rate * warmup * 0.5 * (1 + math.cos(math.pi * step / config.max_steps))


def create_optimizer(parameters: Iterable[torch.nn.Parameter], config: TrainingConfig) -> torch.optim.Optimizer:
    """AdamW with decoupled weight decay (arXiv 1711.05101) over `parameters`, float32 on the device they lie on.

    "adamw" is the fused one of torch: one kernel instead of a dozen per parameter, and no temporary copies.
    "adamw8bit" keeps both moments in 8 bits with a scale per 256 values (arXiv 2110.02861), 2 bytes per parameter
    instead of 8; tensors of fewer than 4096 values keep 32 bits.

    Raises:
        ValueError: `config.optimizer` needs an extra that is not installed.
    """
    settings = {
        "lr": config.learning_rate,
        "betas": config.adam_betas,
        "eps": config.adam_epsilon,
        "weight_decay": config.weight_decay,
    }
    if config.optimizer == "adamw":
        return torch.optim.AdamW(parameters, fused=True, **settings)
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError as error:
        raise ValueError(
            "`optimizer: adamw8bit` needs the package bitsandbytes, which is not installed: "
            '`pip install "diffusers-tryon[adam8bit]"`, or take `optimizer: adamw`.'
        ) from error
    return AdamW8bit(parameters, **settings)
