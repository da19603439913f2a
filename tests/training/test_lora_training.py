# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Adapters that are trained on a pipeline's network: what trains, what is averaged, and what the pipeline loads."""

import json
import sys
import warnings
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tiny_cascade import tiny_cascade

from diffusers_tryon import TryOnCascadePipeline
from diffusers_tryon.conversion import convert_checkpoint
from diffusers_tryon.training.configuration import TrainingConfig
from diffusers_tryon.training.ema import WeightAverages
from diffusers_tryon.training.initial import load_initial, trainable_parameters
from diffusers_tryon.training.lora import save_lora


PARITY = Path(__file__).parents[1] / "parity"
TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "conv1", "conv2")
SIZES = {"base": 16, "sr": 32}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("lora") / "pipeline"
    tiny_cascade().save_pretrained(path)
    return path


def settings(folder: Path, stage: str = "base", **changes) -> TrainingConfig:
    values = {"lora_rank": 2, "lora_alpha": 6.0, "lora_target_modules": TARGETS, **changes}
    if stage == "sr":
        values |= {"stage": "sr", "low_res_size": 16}
    return TrainingConfig(dataset="unused", output_dir="unused", initial_model=str(folder), **values)


def network_inputs(stage: str) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)

    def image() -> torch.Tensor:
        return torch.rand(2, 3, SIZES[stage], SIZES[stage], generator=generator) * 2 - 1

    names = ["sample", "agnostic_image", "garment_image"] + (["low_res_image"] if stage == "sr" else [])
    inputs = {name: image() for name in names}
    poses = {name: torch.rand(2, 18, 3, generator=generator) for name in ("person_pose", "garment_pose")}
    return {**inputs, **poses, "timestep": torch.tensor([100.0, 700.0])}


def take_steps(unet: torch.nn.Module, averages: WeightAverages, stage: str, steps: int = 4) -> None:
    parameters = list(trainable_parameters(unet).values())
    optimizer = torch.optim.AdamW(parameters, lr=0.05)
    for _ in range(steps):
        unet(**network_inputs(stage)).sample.square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        averages.step(parameters)


def test_adapters_alone_train_and_change_nothing_at_first(folder):
    unet = load_initial(settings(folder)).unet
    parameters = trainable_parameters(unet)
    assert parameters and all("lora_" in name for name in parameters)
    kinds = {type(unet.get_submodule(name.split(".lora_")[0]).base_layer) for name in parameters}
    assert kinds == {torch.nn.Linear, torch.nn.Conv2d}
    assert all(("lora_" in name) == value.requires_grad for name, value in unet.named_parameters())
    plain = load_initial(settings(folder, lora_rank=None, lora_alpha=None)).unet
    inputs = network_inputs("base")
    assert torch.equal(unet(**inputs).sample, plain(**inputs).sample)
    # No larger than their rank times what goes in and out.
    layer = "down_blocks.1.0.residual_block.conv1"
    shapes = [tuple(parameters[f"{layer}.lora_{factor}.default.weight"].shape) for factor in "AB"]
    assert shapes == [(2, 16, 3, 3), (32, 2, 1, 1)]


def test_adapters_start_from_the_seed(folder):
    torch.manual_seed(0)
    first = trainable_parameters(load_initial(settings(folder)).unet)
    torch.manual_seed(1)
    again = trainable_parameters(load_initial(settings(folder)).unet)
    other = trainable_parameters(load_initial(settings(folder, seed=1)).unet)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first if "lora_A" in name)


@pytest.mark.parametrize("stage", ["base", "sr"])
def test_the_pipeline_with_the_saved_adapters_predicts_what_the_averaged_network_does(folder, tmp_path, stage):
    config = settings(folder, stage)
    unet = load_initial(config).unet
    frozen = {name: value.clone() for name, value in unet.named_parameters() if not value.requires_grad}
    parameters = trainable_parameters(unet)
    averages = WeightAverages(parameters.values(), config)
    take_steps(unet, averages, stage)
    assert all(torch.equal(value, unet.get_parameter(name)) for name, value in frozen.items())
    assert len(averages.tracks["ema"]) == len(parameters)

    save_lora(tmp_path, stage, unet, dict(zip(parameters, averages.tracks["ema"], strict=True)))
    # Also by the names that checkpoints have.
    in_checkpoint = {name.replace(".default.", "."): value for name, value in zip(parameters, averages.tracks["ema"])}
    save_lora(tmp_path / "again", stage, unet, in_checkpoint)
    saved, again = (load_file(path / "pytorch_lora_weights.safetensors") for path in (tmp_path, tmp_path / "again"))
    assert saved.keys() == again.keys() and all(torch.equal(saved[name], again[name]) for name in saved)

    unet.eval()
    inputs = network_inputs(stage)
    with torch.no_grad():
        raw = unet(**inputs).sample
        with averages.swapped_in(parameters.values()):
            expected = unet(**inputs).sample
    pipe = TryOnCascadePipeline.from_pretrained(folder)
    network = getattr(pipe, f"{stage}_unet")
    with torch.no_grad():
        plain = network(**inputs).sample
        pipe.load_lora_weights(tmp_path)
        assert torch.equal(network(**inputs).sample, expected)
    assert not torch.allclose(expected, plain, atol=1e-3) and not torch.allclose(expected, raw, atol=1e-3)
    assert list(pipe.get_list_adapters()) == [f"{stage}_unet"]
    with safe_open(tmp_path / "pytorch_lora_weights.safetensors", "pt") as file:
        metadata = json.loads(file.metadata()["lora_adapter_metadata"])
    assert metadata[f"{stage}_unet.r"] == 2 and metadata[f"{stage}_unet.lora_alpha"] == 6.0


def test_adapters_get_the_same_gradients_with_gradient_checkpointing(folder):
    gradients = []
    for checkpointing in (False, True):
        unet = load_initial(settings(folder)).unet
        parameters = trainable_parameters(unet)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in parameters.values():
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
        if checkpointing:
            unet.enable_gradient_checkpointing()
        unet(**network_inputs("base")).sample.square().mean().backward()
        gradients.append({name: parameter.grad for name, parameter in parameters.items()})
    plain, checkpointed = gradients
    for name, gradient in plain.items():
        assert gradient.abs().max() > 0, name
        torch.testing.assert_close(checkpointed[name], gradient, rtol=0, atol=1e-6, msg=name)


def test_every_adapter_of_a_converted_network_gets_a_gradient(tmp_path, caplog):
    configs = [PARITY / "trainer_base.json", PARITY / "trainer_sr.json"]
    convert_checkpoint(PARITY / "trainer_checkpoint.pt", tmp_path / "pipeline", configs)
    # "conv" is also the name of a layer that nothing reads.
    config = settings(
        tmp_path / "pipeline",
        lora_target_modules=("to_q", "conv", "conv1"),
        prediction_type="epsilon",
        noise_schedule="initial",
    )
    unet = load_initial(config).unet
    height, width = unet.config.sample_size
    inputs = {
        name: value[..., :1, :1].expand(-1, -1, height, width) if value.ndim == 4 else value
        for name, value in network_inputs("base").items()
    }
    unet(**inputs).sample.square().mean().backward()
    parameters = trainable_parameters(unet)
    assert any(".conv.lora_A" in name for name in parameters)
    assert [name for name, parameter in parameters.items() if parameter.grad is None] == []
    save_lora(tmp_path / "adapters", "base", unet, parameters)
    pipe = TryOnCascadePipeline.from_pretrained(tmp_path / "pipeline")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pipe.load_lora_weights(tmp_path / "adapters", adapter_name="default")
    loaded = {name for name, _ in pipe.base_unet.named_parameters() if "lora_" in name}
    assert loaded == set(parameters)
    assert "inconsistency" not in caplog.text


def test_alpha_is_the_rank_if_not_given(folder):
    unet = load_initial(settings(folder, lora_alpha=None)).unet
    assert (unet.peft_config["default"].lora_alpha, unet.peft_config["default"].r) == (2, 2)


@pytest.mark.parametrize(
    ("targets", "named"),
    [(("to_q", "to_query"), "'to_query'"), (("norm1",), "'norm1'"), (("q",), "'q'"), ((), "none")],
)
def test_targets_that_are_no_layers_are_refused_with_those_there_are(folder, targets, named):
    with pytest.raises(ValueError, match=f"`lora_target_modules` must be .*, got {named}.") as error:
        load_initial(settings(folder, lora_target_modules=targets))
    for kind in ("to_q", "to_out.0", "add_k_proj", "conv1", "conv_in", "linear_1"):
        assert f" {kind}," in str(error.value)


def test_without_peft_the_extra_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ValueError, match="`lora_rank` needs peft: install the extra `lora`"):
        load_initial(settings(folder))
