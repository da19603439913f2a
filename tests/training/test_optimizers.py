# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Optimisers and learning rates."""

import dataclasses
import io
import math
import sys

import pytest
import torch

from diffusers_tryon import create_unet
from diffusers_tryon.training.configuration import TrainingConfig
from diffusers_tryon.training.ema import WeightAverages
from diffusers_tryon.training.optimizers import create_optimizer, learning_rate
from diffusers_tryon.training.state import TrainingState


CONFIG = TrainingConfig(preset="tiny-base", dataset="unused", output_dir="unused", max_steps=10, global_batch_size=4)
OPTIMIZERS = ("adamw", "adamw8bit")


def create(parameters, optimizer: str, **settings) -> torch.optim.Optimizer:
    if optimizer == "adamw8bit":
        pytest.importorskip("bitsandbytes")
    return create_optimizer(parameters, dataclasses.replace(CONFIG, optimizer=optimizer, **settings))


def step_on(optimizer: torch.optim.Optimizer, parameter: torch.nn.Parameter, gradient: torch.Tensor) -> None:
    parameter.grad = gradient.clone()
    optimizer.step()


def test_learning_rate_warms_up_and_decays():
    config = dataclasses.replace(CONFIG, warmup_steps=10, max_steps=100, learning_rate=1.0)
    assert learning_rate(config, 0) == pytest.approx(0.1)
    assert learning_rate(config, 50) == pytest.approx(0.5)
    assert learning_rate(config, 99) < 0.001
    constant = dataclasses.replace(config, lr_schedule="constant")
    assert [learning_rate(constant, step) for step in (4, 9, 99)] == pytest.approx([0.5, 1.0, 1.0])
    assert learning_rate(dataclasses.replace(constant, warmup_steps=0), 0) == 1.0


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_two_steps_are_those_of_adam_with_decoupled_weight_decay(optimizer):
    beta1, beta2, epsilon, decay, rate = 0.5, 0.75, 0.1, 0.2, 0.1
    parameter = torch.nn.Parameter(torch.ones(3))
    settings = {"adam_betas": (beta1, beta2), "adam_epsilon": epsilon, "weight_decay": decay, "learning_rate": rate}
    subject = create([parameter], optimizer, **settings)
    value, mean, variance = 1.0, 0.0, 0.0
    for step, gradient in ((1, 0.5), (2, 1.0)):
        step_on(subject, parameter, torch.full((3,), gradient))
        mean = beta1 * mean + (1 - beta1) * gradient
        variance = beta2 * variance + (1 - beta2) * gradient**2
        deviation = math.sqrt(variance / (1 - beta2**step)) + epsilon
        value = (1 - rate * decay) * value - rate * mean / (1 - beta1**step) / deviation
        torch.testing.assert_close(parameter.detach(), torch.full((3,), value))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_rate_of_a_step_is_that_of_its_parameter_groups(optimizer):
    parameter = torch.nn.Parameter(torch.zeros(3))
    subject = create([parameter], optimizer, learning_rate=1.0)
    for group in subject.param_groups:
        group["lr"] = 0.25
    step_on(subject, parameter, torch.ones(3))
    torch.testing.assert_close(parameter.detach(), torch.full((3,), -0.25))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_restored_optimizer_goes_on_bit_for_bit(optimizer):
    gradients = torch.randn(4, 64, 128, generator=torch.Generator().manual_seed(0))
    whole = torch.nn.Parameter(torch.zeros(64, 128))
    first = create([whole], optimizer)
    for gradient in gradients[:2]:
        step_on(first, whole, gradient)
    halves = torch.nn.Parameter(whole.detach().clone())
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = create([halves], optimizer)
    second.load_state_dict(torch.load(file, weights_only=True))
    for gradient in gradients[2:]:
        step_on(first, whole, gradient)
        step_on(second, halves, gradient)
    assert torch.equal(whole, halves)
    fresh = torch.nn.Parameter(whole.detach().clone())
    step_on(create([fresh], optimizer), fresh, gradients[3])
    assert not torch.equal(fresh, halves)


def test_a_checkpoint_of_8_bit_states_goes_on_bit_for_bit(tmp_path):
    pytest.importorskip("bitsandbytes")
    config = dataclasses.replace(CONFIG, optimizer="adamw8bit")

    def start() -> TrainingState:
        unet = create_unet("tiny-base")
        parameters = list(unet.parameters())
        return TrainingState(unet, WeightAverages(parameters, config), create_optimizer(parameters, config), config)

    def take_step(state: TrainingState) -> None:
        generator = torch.Generator().manual_seed(state.step)
        for parameter in state.unet.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        state.optimizer.step()
        state.step += 1

    first, second = start(), start()
    take_step(first)
    first.gather().write(tmp_path)
    second.load(tmp_path)
    take_step(first)
    take_step(second)
    pairs = list(zip(first.unet.parameters(), second.unet.parameters(), strict=True))
    assert all(torch.equal(one, other) for one, other in pairs)
    assert torch.uint8 in {state["state1"].dtype for state in second.optimizer.state.values()}


def test_8_bit_states_are_small_and_steps_nearly_the_same():
    gradients = torch.randn(5, 64, 128, generator=torch.Generator().manual_seed(0))
    plain, small = (torch.nn.Parameter(torch.zeros(64, 128)) for _ in range(2))
    plain_optimizer, small_optimizer = create([plain], "adamw"), create([small], "adamw8bit")
    for gradient in gradients:
        step_on(plain_optimizer, plain, gradient)
        step_on(small_optimizer, small, gradient)
    assert small_optimizer.state[small]["state1"].dtype == torch.uint8
    assert small_optimizer.state[small]["state2"].dtype == torch.uint8
    # Five steps of 3e-4 at most; the worst value of the 8-bit states may be off by a good part of one.
    difference = (plain - small).detach().abs()
    assert difference.mean() < 0.02 * plain.detach().abs().mean()
    assert 0 < difference.max() < CONFIG.learning_rate


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
    config = dataclasses.replace(CONFIG, optimizer="adamw8bit")
    with pytest.raises(ValueError, match=r"`optimizer: adamw8bit` needs .*diffusers-tryon\[adam8bit\]"):
        create_optimizer([torch.nn.Parameter(torch.zeros(3))], config)
