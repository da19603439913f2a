# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Averaged weights: their formulas, their state, and parameters that are shards."""

from dataclasses import replace

import pytest
import torch
import torch.distributed as dist
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file
from torch.distributed.fsdp import fully_shard
from torch.profiler import ProfilerActivity, profile

from diffusers_tryon import create_unet
from diffusers_tryon.training.configuration import TrainingConfig
from diffusers_tryon.training.ema import WeightAverages
from diffusers_tryon.training.power_averages import MAX_WIDTH, exponent_of_width, list_snapshots, power_decay


CONFIG = TrainingConfig(
    preset="tiny-base", dataset="unused", output_dir="unused", ema_decay=0.9, ema_power_sigmas=(0.05, 0.1)
)
SHAPES = ((3, 5), (7,), ())


def new_parameters(seed: int = 0) -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def walk(averages: WeightAverages, parameters: list[torch.nn.Parameter], steps: int) -> list[list[torch.Tensor]]:
    """Random steps; returns the weights after each."""
    generator, history = torch.Generator().manual_seed(1), []
    for _ in range(steps):
        with torch.no_grad():
            for parameter in parameters:
                parameter.add_(torch.randn(parameter.shape, generator=generator))
        averages.step(parameters)
        history.append([parameter.detach().clone() for parameter in parameters])
    return history


def assert_close(actual: list[torch.Tensor], expected: list[torch.Tensor], atol: float = 1e-5) -> None:
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one.double(), other.double(), rtol=0, atol=atol)


def test_the_default_average_has_a_warmed_up_decay():
    parameters = new_parameters()
    averages = WeightAverages(parameters, CONFIG)
    history = walk(averages, parameters, 40)
    # Step by step and tensor by tensor. At step t the decay is 1 - t^-0.75, at most 0.9, which is reached at step 22.
    expected = [value.double() for value in history[0]]
    for step, values in enumerate(history[1:], start=2):
        decay = min(0.9, 1 - step**-0.75)
        assert (decay == 0.9) == (step >= 22)
        expected = [decay * old + (1 - decay) * new.double() for old, new in zip(expected, values)]
    assert_close(averages.tracks["ema"], expected)
    assert averages.steps == 40


def test_the_default_average_is_that_of_diffusers():
    parameters, others = new_parameters(), new_parameters()
    averages = WeightAverages(parameters, CONFIG)
    expected = EMAModel(others, decay=0.9, use_ema_warmup=True, power=0.75)
    for values in walk(averages, parameters, 40):
        with torch.no_grad():
            for other, value in zip(others, values, strict=True):
                other.copy_(value)
        expected.step(others)
    assert_close(averages.tracks["ema"], expected.shadow_params)


def test_averaging_takes_no_memory():
    parameters = [torch.nn.Parameter(torch.zeros(1000)) for _ in range(3)]
    averages = WeightAverages(parameters, CONFIG)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        averages.step(parameters)
    assert max(event.self_cpu_memory_usage for event in profiler.key_averages()) < parameters[0].nbytes


def test_a_power_average_is_the_mean_of_the_history_with_weights_of_its_profile():
    parameters = new_parameters()
    averages = WeightAverages(parameters, CONFIG)
    history = walk(averages, parameters, 50)
    for sigma in (0.05, 0.1):
        # The weights after step k count for the integral of (gamma + 1) tau^gamma / 50^(gamma + 1) over [k - 1, k].
        power = exponent_of_width(sigma) + 1
        weights = [(step**power - (step - 1) ** power) / 50**power for step in range(1, 51)]
        assert sum(weights) == pytest.approx(1)
        expected = [
            sum(weight * values[index].double() for weight, values in zip(weights, history))
            for index in range(len(SHAPES))
        ]
        assert_close(averages.tracks[f"power-{sigma}"], expected)


@pytest.mark.parametrize("sigma", [0.01, 0.05, 0.1, 0.25, MAX_WIDTH])
def test_the_width_of_a_profile_is_its_standard_deviation(sigma):
    exponent = exponent_of_width(sigma)
    time = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    density = (exponent + 1) * time**exponent / 200_000
    mean = (density * time).sum()
    assert float((density * (time - mean).square()).sum().sqrt()) == pytest.approx(sigma, rel=1e-4)


def test_the_widest_profile_is_the_plain_mean():
    exponent = exponent_of_width(MAX_WIDTH)
    assert [power_decay(step, exponent) for step in (1, 2, 4)] == pytest.approx([0, 1 / 2, 3 / 4])


@pytest.mark.parametrize("sigma", [0.0, -0.1, 0.3])
def test_a_width_that_no_profile_has_is_refused(sigma):
    with pytest.raises(ValueError, match=f"`ema_power_sigmas` must be above 0 and at most 0.2887, got {sigma}"):
        WeightAverages(new_parameters(), replace(CONFIG, ema_power_sigmas=(0.1, sigma)))


def test_averages_are_swapped_in_and_out_exactly_also_after_an_error():
    parameters = new_parameters()
    averages = WeightAverages(parameters, CONFIG)
    raw = walk(averages, parameters, 5)[-1]
    for track in averages.tracks:
        averaged = [value.clone() for value in averages.tracks[track]]
        with pytest.raises(RuntimeError, match="stop"):
            with averages.swapped_in(parameters, track):
                assert all(torch.equal(*pair) for pair in zip(parameters, averaged, strict=True))
                assert not torch.equal(parameters[0], raw[0])
                raise RuntimeError("stop")
        assert all(torch.equal(*pair) for pair in zip(parameters, raw, strict=True))
        assert all(torch.equal(*pair) for pair in zip(averages.tracks[track], averaged, strict=True))


@pytest.fixture
def one_process_group(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_averages_of_shards_equal_those_of_whole_parameters(one_process_group, tmp_path):
    results = []
    for is_sharded in (False, True):
        torch.manual_seed(0)
        unet = create_unet("tiny-base")
        if is_sharded:
            fully_shard(unet)
        parameters = list(unet.parameters())
        assert all(isinstance(value, torch.distributed.tensor.DTensor) == is_sharded for value in parameters)
        averages = WeightAverages(parameters, CONFIG)
        for step in range(3):
            with torch.no_grad():
                for parameter in parameters:
                    parameter.mul_(1 + 0.1 * step)
            averages.step(parameters)
        names = [str(number) for number in range(len(parameters))]
        averages.save_snapshot(tmp_path / "others", 3, names, is_main_process=False)
        assert not (tmp_path / "others").exists()
        averages.save_snapshot(tmp_path / f"{is_sharded}", 3, names)
        snapshot = load_file(list_snapshots(tmp_path / f"{is_sharded}")[1].path)
        with averages.swapped_in(parameters, "power-0.1"):
            swapped = parameters[0].full_tensor() if is_sharded else parameters[0].detach()
            swapped = swapped.clone()
        assert type(averages.tracks["ema"][0]) is (torch.distributed.tensor.DTensor if is_sharded else torch.Tensor)
        tracks = [value for values in averages.tracks.values() for value in values]
        results.append(
            [
                swapped,
                *(snapshot[name] for name in names),
                *(value.full_tensor() if is_sharded else value for value in tracks),
            ]
        )
    assert all(torch.equal(*pair) for pair in zip(*results, strict=True))
