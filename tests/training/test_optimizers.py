# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Optimisers and learning rates."""

import dataclasses

import pytest

from diffusers_tryon.training.configuration import TrainingConfig
from diffusers_tryon.training.stage import learning_rate


CONFIG = TrainingConfig(preset="tiny-base", dataset="unused", output_dir="unused", max_steps=10, global_batch_size=4)


def test_learning_rate_warms_up_and_decays():
    config = dataclasses.replace(CONFIG, warmup_steps=10, max_steps=100, learning_rate=1.0)
    assert learning_rate(config, 0) == pytest.approx(0.1)
    assert learning_rate(config, 50) == pytest.approx(0.5)
    assert learning_rate(dataclasses.replace(config, lr_schedule="constant"), 99) == 1.0
