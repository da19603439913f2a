# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Train the small human parser and the small pose network on rendered photographs, on one CPU core.

    python training/render_labelled.py --out data/labelled --workers 2
    OMP_NUM_THREADS=1 python training/train_parser.py --pool data/labelled --out runs/parser

Both are one network while they train, see `diffusers_tryon.training.small_networks`. Most steps see small crops, the
last ones crops of the size at use. Matrices are trained with Muon (torch 2.9 or later), everything else with AdamW.
The same command goes on after a kill, exactly as if nothing had happened; `OUT/tryon-parser-small` and
`OUT/tryon-pose-small` hold the averaged weights of the last checkpoint.
"""

import json
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jsonargparse import auto_cli

from diffusers_tryon.rendering.labelled_pool import LabelledPool
from diffusers_tryon.training.backdrops import draw_backdrops
from diffusers_tryon.training.labelled_batches import training_batch
from diffusers_tryon.training.labelled_views import LabelledBatch
from diffusers_tryon.training.small_networks import build_network, export_networks, label_weights, losses


@dataclass(frozen=True)
class Phase:
    """Steps with crops of one size.

    Attributes:
        steps: how many.
        size: height and width of the crops in pixels.
        batch_size: crops in a step.
    """

    steps: int
    size: int
    batch_size: int


_BACKDROPS, _BACKDROP_SIZE = 800, 192
_PHOTOGRAPHS_WEIGHED = 400
_GRADIENT_NORM = 1.0
_EMA_DECAY = 0.999
_WARM_UP = 200
_WEIGHT_DECAY = 0.02
_LOG_EVERY = 20


def _phase_at(phases: list[Phase], step: int) -> tuple[Phase, int]:
    """The phase of a step, and how many samples the steps before it had."""
    samples = 0
    for phase in phases:
        if step < phase.steps:
            return phase, samples + step * phase.batch_size
        step -= phase.steps
        samples += phase.steps * phase.batch_size
    raise IndexError(f"The phases have fewer steps than {step}.")


def _learning_rate(step: int, steps: int, peak: float) -> float:
    """A linear warm-up, then half a cosine."""
    return peak * min(1, (step + 1) / _WARM_UP) * (0.02 + 0.98 * (1 + math.cos(math.pi * step / steps)) / 2)


@torch.no_grad()
def _average(averages: torch.nn.Module, network: torch.nn.Module, step: int) -> None:
    decay = min(_EMA_DECAY, (1 + step) / (10 + step))
    for average, value in zip(averages.state_dict().values(), network.state_dict().values(), strict=True):
        if value.is_floating_point():
            average.lerp_(value, 1 - decay)
        else:
            average.copy_(value)


def _optimizers(network: torch.nn.Module, learning_rate: float) -> list[torch.optim.Optimizer]:
    matrices, others = (
        [value for value in network.parameters() if (value.ndim == 2) == flat] for flat in (True, False)
    )
    return [
        torch.optim.Muon(matrices, lr=learning_rate, weight_decay=_WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, learning_rate, weight_decay=_WEIGHT_DECAY, fused=True),
    ]


class _Run:
    """The two networks on their way: weights, their averages, optimisers, and how many steps were done."""

    def __init__(self, seed: int, learning_rate: float, architecture: dict[str, list[int]]):
        torch.manual_seed(seed)
        self.network = build_network(**architecture).to(memory_format=torch.channels_last).train()
        self.averages = build_network(**architecture).to(memory_format=torch.channels_last).eval()
        self.averages.load_state_dict(self.network.state_dict())
        self.optimizers = _optimizers(self.network, learning_rate)
        self.steps = 0

    def step(self, batch: LabelledBatch, weights: torch.Tensor, learning_rate: float) -> dict[str, float]:
        """Learn from a batch; returns the losses."""
        parts = losses(self.network, batch, weights)
        self.network.zero_grad()
        sum(parts.values()).backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), _GRADIENT_NORM)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            optimizer.step()
        _average(self.averages, self.network, self.steps)
        self.steps += 1
        return {name: round(value.item(), 5) for name, value in parts.items()}

    def save(self, path: Path) -> None:
        """Write everything that the run goes on from; the file is whole at any moment."""
        state = {
            "network": self.network.state_dict(),
            "averages": self.averages.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.steps,
        }
        temporary = path.with_suffix(".tmp")
        torch.save(state, temporary)
        os.replace(temporary, path)

    def load(self, path: Path) -> None:
        """Take over what `save` wrote."""
        state = torch.load(path, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.averages.load_state_dict(state["averages"])
        for optimizer, of_optimizer in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(of_optimizer)
        self.steps = state["step"]


def _label_weights(photographs: LabelledPool) -> torch.Tensor:
    """Weights of the labels by a sample of the photographs."""
    numbers = np.linspace(0, len(photographs) - 1, _PHOTOGRAPHS_WEIGHED).astype(int)
    return label_weights(np.stack([photographs[number]["parse"] for number in numbers]))


def train(
    pool: Path,
    out: Path,
    phases: list[Phase] = [Phase(2000, 96, 32), Phase(3500, 128, 32), Phase(3300, 192, 14)],
    learning_rate: float = 3e-3,
    seed: int = 0,
    checkpoint_every: int = 200,
    architecture: dict[str, list[int]] = {},
) -> None:
    """Train both networks.

    Args:
        pool: folder of `training/render_labelled.py`.
        out: folder of the run.
        phases: what is trained in which order.
        learning_rate: the highest.
        seed: of weights, order and augmentation.
        checkpoint_every: steps between checkpoints.
        architecture: fields of `SegformerConfig` that differ from the published networks'.
    """
    out.mkdir(parents=True, exist_ok=True)
    photographs = LabelledPool(pool, "train")
    weights = _label_weights(photographs)
    backdrops = draw_backdrops(photographs, _BACKDROPS, _BACKDROP_SIZE, seed)
    run, checkpoint = _Run(seed, learning_rate, architecture), out / "checkpoint.pt"
    if checkpoint.exists():
        run.load(checkpoint)

    num_steps, first_step, began = sum(phase.steps for phase in phases), run.steps, time.perf_counter()
    with open(out / "metrics.jsonl", "a") as log:
        while run.steps < num_steps:
            phase, first_sample = _phase_at(phases, run.steps)
            batch = training_batch(photographs, backdrops, phase.batch_size, phase.size, seed, run.steps, first_sample)
            figures = run.step(batch, weights, _learning_rate(run.steps, num_steps, learning_rate))
            is_last = run.steps == num_steps
            if run.steps % _LOG_EVERY == 0 or is_last:
                seconds = round((time.perf_counter() - began) / (run.steps - first_step), 4)
                line = {"step": run.steps, "size": phase.size, "seconds_per_step": seconds, **figures}
                log.write(json.dumps(line) + "\n")
                log.flush()
            if run.steps % checkpoint_every == 0 or is_last:
                run.save(checkpoint)
                export_networks(run.averages, out, phases[-1].size)


if __name__ == "__main__":
    auto_cli(train, as_positional=False)
