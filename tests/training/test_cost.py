# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Counts of parameters, operations and bytes against hand counts, published figures and what torch allocates."""

import dataclasses
from functools import partial

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from diffusers_tryon import create_unet
from diffusers_tryon.models.unet_parallel import Attention
from diffusers_tryon.training.configuration import TrainingConfig
from diffusers_tryon.training.cost import (
    estimate_memory,
    measured_peak_flops,
    parameter_count,
    peak_flops,
    training_flops_per_image,
)
from diffusers_tryon.training.optimizers import create_optimizer


CONFIG = TrainingConfig(preset="tiny-base", dataset="unused", output_dir="unused")
MICRO_BATCH_SIZE = 4


def unet_without_weights(preset: str, **overrides):
    with torch.device("meta"):
        return create_unet(preset, **overrides)


def one_pass(unet, batch_size: int) -> torch.Tensor:
    """A forward pass with contents; returns something to differentiate."""
    size = unet.config.sample_size
    image, pose = torch.zeros(batch_size, 3, size, size), torch.zeros(batch_size, 18, 3)
    low_res_image = image if unet.config.low_res_conditioning else None
    level = torch.zeros(batch_size, dtype=torch.int64)
    mask = torch.ones(batch_size, dtype=torch.bool)
    return unet(image, level, image, image, pose, pose, low_res_image, conditioning_mask=mask).sample.float().mean()


def hand_count(unet) -> int:
    """Operations for one image: two per weight and position and two products per attention, all three times (the
    backward pass has the gradients of inputs and of weights), but inputs of the network have no gradient."""
    total = 0

    def count(module, inputs, output, passes):
        nonlocal total
        if isinstance(module, torch.nn.Conv2d):
            total += passes * 2 * module.weight.numel() * output.shape[-2] * output.shape[-1]
        elif isinstance(module, torch.nn.Linear):
            total += passes * 2 * module.weight.numel() * (output.numel() // output.shape[-1])
        elif isinstance(module, Attention):
            keys = inputs[1].shape[1] + (inputs[2].shape[1] if len(inputs) > 2 and inputs[2] is not None else 0)
            total += passes * 2 * 2 * inputs[0].shape[1] * keys * inputs[0].shape[2]

    for name, module in unet.named_modules():
        reads_inputs = name.endswith(("conv_in", "linear_1"))
        module.register_forward_hook(partial(count, passes=2 if reads_inputs else 3))
    one_pass(unet, 1)
    return total


@pytest.mark.parametrize("preset", ["tiny-base", "tiny-sr"])
def test_operations_of_a_tiny_network_are_those_counted_by_hand(preset):
    unet = create_unet(preset)
    unet.enable_gradient_checkpointing()
    counted = training_flops_per_image(unet)
    assert unet.is_gradient_checkpointing
    assert counted == hand_count(create_unet(preset))


def test_operations_and_parameters_are_those_known_of_the_full_networks():
    reference = unet_without_weights("reference-128")
    # One forward pass of the reference implementation is 1025 GFLOP.
    assert training_flops_per_image(reference) / 3 == pytest.approx(1025e9, rel=0.005)
    assert parameter_count(reference) == pytest.approx(1295.6e6, rel=1e-4)
    # The paper gives 1.13 and 1.06 billion.
    assert parameter_count(unet_without_weights("paper-128")) == pytest.approx(1.13e9, rel=0.005)
    assert parameter_count(unet_without_weights("paper-256")) == pytest.approx(1.06e9, rel=0.005)


def test_weights_that_are_not_trained_cost_no_gradient():
    unet = create_unet("tiny-base")
    whole, everything = training_flops_per_image(unet), estimate_memory(unet, CONFIG, 1, "cpu")
    unet.requires_grad_(False)
    unet.conv_out.requires_grad_(True)
    num_trained = 3 * 4 * (16 * 9 + 1)
    assert parameter_count(unet, trainable=True) == num_trained
    assert training_flops_per_image(unet) < 0.4 * whole
    estimate = estimate_memory(unet, CONFIG, 1, "cpu")
    assert estimate.weights == everything.weights == 4 * parameter_count(unet)
    assert (estimate.gradients, estimate.averages, estimate.optimizer) == tuple(
        factor * num_trained for factor in (4, 4, 8)
    )
    assert estimate.activations < everything.activations / 2


@pytest.mark.parametrize("optimizer", ["adamw", "adamw8bit"])
def test_the_optimizer_takes_what_is_estimated(optimizer):
    if optimizer == "adamw8bit":
        pytest.importorskip("bitsandbytes")
    config = dataclasses.replace(CONFIG, optimizer=optimizer)
    unet = create_unet("tiny-base")
    subject = create_optimizer(unet.parameters(), config)
    one_pass(unet, 1).backward()
    subject.step()
    moments = {"exp_avg", "exp_avg_sq", "state1", "state2", "absmax1", "absmax2"}
    taken = sum(value.nbytes for state in subject.state.values() for name, value in state.items() if name in moments)
    assert estimate_memory(unet, config, 1, "cpu").optimizer == taken


def test_every_average_is_a_copy_of_the_weights():
    unet = unet_without_weights("tiny-base")
    one = estimate_memory(unet, CONFIG, 1, "cpu")
    three = estimate_memory(unet, dataclasses.replace(CONFIG, ema_power_sigmas=(0.05, 0.1)), 1, "cpu")
    assert (one.averages, three.averages) == (one.weights, 3 * one.weights)
    assert three.total - one.total == 2 * one.weights


def measured_activation_bytes(unet, bf16: bool) -> int:
    """The most that torch's allocator had given out at any time of a pass, with gradients there from the start."""
    for parameter in unet.parameters():
        parameter.grad = torch.zeros_like(parameter)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recording:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = one_pass(unet, MICRO_BATCH_SIZE)
        loss.backward()
    events = [event for event in recording.profiler.kineto_results.events() if event.name() == "[memory]"]
    allocated = torch.tensor([event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())])
    return int(allocated.cumsum(0).max())


@pytest.mark.parametrize("gradient_checkpointing", [False, True])
@pytest.mark.parametrize("mixed_precision", ["no", "bf16"])
def test_activations_are_what_torch_allocates(mixed_precision, gradient_checkpointing):
    # Wider than the presets, for activations to outweigh what kernels take inside for themselves.
    unet = create_unet("tiny-base", block_out_channels=(32, 64), sample_size=64)
    config = dataclasses.replace(
        CONFIG, mixed_precision=mixed_precision, gradient_checkpointing=gradient_checkpointing
    )
    if gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    estimate = estimate_memory(unet, config, MICRO_BATCH_SIZE, "cpu").activations
    assert estimate == pytest.approx(measured_activation_bytes(unet, mixed_precision == "bf16"), rel=0.12)


def test_activations_by_setting():
    unet = unet_without_weights("tiny-base", block_out_channels=(32, 64), sample_size=64)

    def activations(device_type: str = "cpu", batch_size: int = 2, **settings) -> int:
        return estimate_memory(unet, dataclasses.replace(CONFIG, **settings), batch_size, device_type).activations

    plain = activations()
    assert activations(batch_size=4) == pytest.approx(2 * plain, rel=0.05)
    assert activations(gradient_checkpointing=True) < 0.5 * plain
    assert not unet.is_gradient_checkpointing
    assert activations(mixed_precision="bf16") < 0.9 * activations("cuda", mixed_precision="bf16")
    assert activations("cuda") == plain


def test_the_peak_is_that_of_the_data_sheet_or_measured(monkeypatch):
    gpu = torch.device("cuda")
    for name, bfloat16 in (("NVIDIA H200", 989e12), ("NVIDIA H200 NVL", 835e12), ("NVIDIA A100-SXM4-80GB", 312e12)):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device, name=name: name)
        assert peak_flops(gpu, torch.bfloat16) == bfloat16
    assert peak_flops(gpu, torch.float32) == 156e12
    assert peak_flops(gpu, torch.float32, tf32=False) == 19.5e12
    cpu = torch.device("cpu")
    assert peak_flops(cpu, torch.float32) == pytest.approx(measured_peak_flops(cpu, torch.float32), rel=0.9)
