# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Batches for the parser and the pose network: a function of (seed, step), so that a run goes on exactly."""

from collections.abc import Sequence

import numpy as np
import torch

from diffusers_tryon.training.domain_randomization import (
    add_strangers,
    develop,
    exchange_background,
    occlude,
    recolour,
)
from diffusers_tryon.training.labelled_views import LabelledBatch, draw_view, plain_view, take_views


# Share of the people behind whom another person of the batch stands.
_STRANGER_SHARE = 0.1
_ORDER_PURPOSE, _BATCH_PURPOSE = 12, 13


def chosen_photographs(num_photographs: int, batch_size: int, seed: int, first_sample: int) -> list[int]:
    """The photographs of a batch: all once in each epoch, in a permutation of (seed, epoch)."""
    numbers = []
    for sample in range(first_sample, first_sample + batch_size):
        epoch, position = divmod(sample, num_photographs)
        numbers.append((epoch, position))
    orders = {
        epoch: np.random.default_rng([seed, epoch, 0, _ORDER_PURPOSE]).permutation(num_photographs)
        for epoch in {epoch for epoch, _ in numbers}
    }
    return [int(orders[epoch][position]) for epoch, position in numbers]


def _draw_views(rng: np.random.Generator, records: np.ndarray) -> np.ndarray:
    return np.stack([draw_view(rng, parse) for parse in records["parse"]])


def training_batch(
    photographs: Sequence[np.void],
    backdrops: torch.Tensor,
    batch_size: int,
    size: int,
    seed: int,
    step: int,
    first_sample: int,
) -> LabelledBatch:
    """Make the augmented batch of a step.

    Args:
        photographs (`Sequence`): records of `rendering.labelled`.
        backdrops (`torch.Tensor`): see `backdrops.draw_backdrops`.
        batch_size (`int`): how many crops.
        size (`int`): their height and width in pixels.
        seed (`int`): of the run.
        step (`int`): which step.
        first_sample (`int`): how many crops the steps before had together.
    """
    rng = np.random.default_rng([seed, step, 0, _BATCH_PURPOSE])
    numbers = chosen_photographs(len(photographs), batch_size, seed, first_sample)
    records = np.stack([photographs[number] for number in numbers])
    batch = take_views(records, _draw_views(rng, records), size)
    batch = recolour(rng, batch, backdrops)
    batch = exchange_background(rng, batch, backdrops)
    accompanied = np.flatnonzero(rng.random(batch_size) < _STRANGER_SHARE)
    if len(accompanied):
        strangers = records[accompanied - 1]
        batch = add_strangers(batch, accompanied, take_views(strangers, _draw_views(rng, strangers), size))
    batch = occlude(rng, batch, backdrops)
    return develop(rng, batch)


def plain_batch(photographs: Sequence[np.void], size: int) -> LabelledBatch:
    """The people of photographs as a detector would crop them, otherwise unchanged."""
    records = np.stack(list(photographs))
    return take_views(records, np.stack([plain_view(parse) for parse in records["parse"]]), size)
