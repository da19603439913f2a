# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Averages of a run's weights: the one that is the product, and further ones with power-function profiles."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.distributed.tensor import DTensor

from diffusers_tryon.training.configuration import TrainingConfig
from diffusers_tryon.training.power_averages import exponent_of_width, power_decay, write_snapshot


# The name of the average that is validated, drawn and published.
DEFAULT_TRACK = "ema"


def warmed_up_decay(step: int, highest: float) -> float:
    """The default's decay at step t, counted from 1: 1 - t^-0.75, at most `highest`.

    It forgets the first steps, so that the average of a short run is one of its end. The same as Diffusers'
    `EMAModel(use_ema_warmup=True, power=0.75)`, whose update needs a copy of all weights in memory for a moment.
    """
    return min(highest, 1 - step**-0.75)


def power_track_name(sigma: float) -> str:
    """The name of the average of relative width `sigma`."""
    return f"power-{sigma:g}"


class WeightAverages:
    """
    Averages of the parameters that a run trains, in the order in which they are given.

    The default has a decay that is warmed up. Beside it there may be averages whose weights over the steps are power
    functions (arXiv 2312.02696, section 3.1): they keep their relative width however long a run is, and snapshots of
    them give averages of any width afterwards (`training/reconstruct_ema.py`).

    All live where the parameters do, as shards if these are DTensors. A step that is skipped must not be averaged:
    `step` counts by itself.

    Args:
        parameters: those that train, of a network already on its device and sharded if it will be.
        config: the run's settings; `ema_decay` and `ema_power_sigmas` are read.

    Attributes:
        steps: how often the weights were averaged.
        tracks: the averages by name, each as tensors like the parameters and in their order.

    Raises:
        ValueError: a width of `ema_power_sigmas` is not that of a power function.
    """

    def __init__(self, parameters: Iterable[torch.nn.Parameter], config: TrainingConfig):
        parameters = list(parameters)
        self.config = config
        self.steps = 0
        self._exponents = {power_track_name(sigma): exponent_of_width(sigma) for sigma in config.ema_power_sigmas}
        self.tracks = {
            name: [value.detach().clone() for value in parameters] for name in (DEFAULT_TRACK, *self._exponents)
        }

    @torch.no_grad()
    def step(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Take in the weights after an optimiser step."""
        parameters = list(parameters)
        self.steps += 1
        decays = {DEFAULT_TRACK: warmed_up_decay(self.steps, self.config.ema_decay)}
        decays |= {name: power_decay(self.steps, exponent) for name, exponent in self._exponents.items()}
        for name, decay in decays.items():
            torch._foreach_lerp_(self.tracks[name], parameters, 1 - decay)

    @contextmanager
    def swapped_in(self, parameters: Iterable[torch.nn.Parameter], track: str = DEFAULT_TRACK) -> Iterator[None]:
        """Within the block the network has averaged weights.

        Weights and averages change places, which takes no memory; a checkpoint must not be taken within the block.
        """
        parameters = list(parameters)
        _exchange(parameters, self.tracks[track])
        try:
            yield
        finally:
            _exchange(parameters, self.tracks[track])

    def save_snapshot(self, folder: Path, step: int, names: Iterable[str], is_main_process: bool = True) -> None:
        """Write every power-function average to a file of its own, for `power_averages.reconstruct`.

        Args:
            folder: where to.
            step: the run's step.
            names: of the parameters, in their order.
            is_main_process: whether this process writes; all must call, because they put shards together.
        """
        names = list(names)
        for sigma in self.config.ema_power_sigmas:
            whole = {}
            for name, value in zip(names, self.tracks[power_track_name(sigma)], strict=True):
                value = value.full_tensor() if isinstance(value, DTensor) else value
                if is_main_process:
                    whole[name] = value.cpu().contiguous()
            if is_main_process:
                write_snapshot(folder, whole, sigma, step, self.steps, self.config)


@torch.no_grad()
def _exchange(parameters: list[torch.nn.Parameter], averages: list[torch.Tensor]) -> None:
    for parameter, average in zip(parameters, averages, strict=True):
        value = parameter.clone()
        parameter.copy_(average)
        average.copy_(value)
