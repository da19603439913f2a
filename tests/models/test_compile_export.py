# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Both networks compile without graph breaks or recompilation, and export, with the results of eager execution."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from networks import network_inputs, split_garment, tiny_network
from torch._dynamo.testing import CompileCounterWithBackend

import diffusers_tryon.models.presets as presets
from diffusers_tryon import GarmentFeatures, ParallelUNetModel, ReferenceParallelUNetModel, create_unet
from diffusers_tryon.pipelines.compilation import CompiledMethod


BOTH = pytest.mark.parametrize("model_class", [ParallelUNetModel, ReferenceParallelUNetModel])
# One block per level and direction: tracing takes a second per block.
SHALLOW = {
    ParallelUNetModel: {"layers_per_block": (1, 1), "garment_layers_per_block": (1, 1)},
    ReferenceParallelUNetModel: {"layers_per_block": (1, 1)},
}


@pytest.fixture(autouse=True)
def fresh_compiler():
    limit = torch._dynamo.config.recompile_limit
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()
    torch._dynamo.config.recompile_limit = limit


@torch.no_grad()
def run(model: torch.nn.Module, inputs: dict) -> torch.Tensor:
    return model(**inputs).sample


def steps(inputs: dict) -> list[dict]:
    """The inputs at the steps of a sampler: another sample and a fractional timestep each."""
    return [
        {**inputs, "sample": inputs["sample"] * scale, "timestep": torch.tensor(timestep)}
        for scale, timestep in ((1.0, 999.0), (0.7, 500.25), (0.5, 0.0))
    ]


@BOTH
def test_whole_network_is_one_graph_for_every_timestep(model_class):
    model = tiny_network(model_class, low_res_conditioning=True, **SHALLOW[model_class])
    inputs = network_inputs(model)
    inputs["conditioning_mask"] = torch.tensor([True, False])
    counter = CompileCounterWithBackend("eager")
    compiled = torch.compile(model, fullgraph=True, backend=counter)
    for step in steps(inputs):
        torch.testing.assert_close(run(compiled, step), run(model, step))
    assert counter.frame_count == 1
    inputs["conditioning_mask"] = ~inputs["conditioning_mask"]
    torch.testing.assert_close(run(compiled, inputs), run(model, inputs))


@pytest.mark.slow
@BOTH
def test_network_with_features_and_the_garment_stream_are_one_graph_each(model_class):
    model = tiny_network(model_class)
    inputs = network_inputs(model)
    counter = CompileCounterWithBackend("eager")
    compiled = torch.compile(model, fullgraph=True, backend=counter)
    for step in steps(inputs):
        with torch.no_grad():
            encoded = split_garment(model, step)
        torch.testing.assert_close(run(compiled, encoded), run(model, step))
    assert counter.frame_count == 1

    counter = CompileCounterWithBackend("eager")
    encode_garment = torch.compile(model.encode_garment, fullgraph=True, backend=counter)
    for step in steps(inputs):
        arguments = garment_arguments(step)
        with torch.no_grad():
            torch.testing.assert_close(encode_garment(**arguments), model.encode_garment(**arguments))
    assert counter.frame_count == 1


@pytest.mark.slow
@BOTH
def test_training_step_compiles_to_the_same_gradients(model_class):
    model = tiny_network(model_class, **SHALLOW[model_class]).train()
    inputs = network_inputs(model)

    def gradients(network: torch.nn.Module) -> list:
        model.zero_grad()
        network(**inputs).sample.square().mean().backward()
        return [parameter.grad.clone() for parameter in model.parameters() if parameter.requires_grad]

    expected = gradients(model)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(gradients(compiled), expected, rtol=1e-3, atol=1e-5)
    model.enable_gradient_checkpointing()
    torch._dynamo.reset()
    torch.testing.assert_close(gradients(compiled), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor compiles C++ with g++")
@BOTH
def test_inductor_computes_the_same_for_several_rows(model_class):
    model = tiny_network(model_class, low_res_conditioning=True, **SHALLOW[model_class])
    compiled = CompiledMethod(model.forward, "default", "inductor")
    torch._dynamo.utils.counters.clear()
    for batch_size in (2, 3):
        for step in steps(network_inputs(model, batch_size=batch_size)):
            torch.testing.assert_close(run(compiled, step), run(model, step), rtol=1e-3, atol=1e-4)
    # A single row would be another one: inductor's views fix it, Dynamo does not.
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


def thin(name: str) -> torch.nn.Module:
    """A preset with its blocks but a sixteenth of its widths, at a quarter of its size."""
    stated = json.loads((Path(presets.__file__).parent / f"{name}.json").read_text())
    widths = [channels // 16 for channels in stated["block_out_channels"]]
    return create_unet(
        name,
        sample_size=stated["sample_size"] // 4,
        block_out_channels=widths,
        conditioning_dim=16,
        **(
            {"attention_head_dim": 8, "pose_embed_dim": 16}
            if name.startswith("paper")
            else {"attention_head_dim": [8] * len(widths), "context_dim": 16}
        ),
    ).eval()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["paper-128", "reference-256"])
def test_repeated_blocks_compile_once_per_width(name):
    model = thin(name)
    size = model.config.sample_size
    inputs = network_inputs(model, batch_size=1, size=(size, size))
    expected = run(model, inputs)
    num_blocks = sum(type(module).__name__ in model._repeated_blocks for module in model.modules())
    counter = CompileCounterWithBackend("eager")
    model.compile_repeated_blocks(fullgraph=True, backend=counter)
    torch.testing.assert_close(run(model, inputs), expected)
    num_graphs = counter.frame_count
    assert 8 < num_graphs < num_blocks / 2
    for step in steps(inputs):
        run(model, step)
    assert counter.frame_count == num_graphs


@BOTH
def test_repeated_blocks_raise_the_limit_of_recompilation_and_never_lower_it(model_class):
    model = tiny_network(model_class)
    inputs = network_inputs(model)
    expected = run(model, inputs)
    torch._dynamo.config.recompile_limit = 1
    counter = CompileCounterWithBackend("eager")
    model.compile_repeated_blocks(fullgraph=True, backend=counter)
    torch.testing.assert_close(run(model, inputs), expected)
    assert counter.frame_count > 1
    torch._dynamo.config.recompile_limit = 1000
    model.compile_repeated_blocks(fullgraph=True, backend=counter)
    assert torch._dynamo.config.recompile_limit == 1000


# Export


def garment_arguments(inputs: dict) -> dict:
    names = ("garment_image", "garment_pose", "garment_noise_level", "timestep", "person_pose", "agnostic_noise_level")
    return {name: inputs[name] for name in names}


class GarmentEncoder(torch.nn.Module):
    """`torch.export` takes modules; this makes one of the garment stream."""

    def __init__(self, model: torch.nn.Module):
        super().__init__()
        self.model = model

    def forward(self, **arguments) -> GarmentFeatures:
        return self.model.encode_garment(**arguments)


def export_and_reload(module: torch.nn.Module, inputs: dict, path: Path) -> torch.nn.Module:
    with torch.no_grad():
        torch.export.save(torch.export.export(module, (), inputs), path)
    return torch.export.load(path).module()


@pytest.mark.slow
@BOTH
def test_exported_network_computes_the_same(model_class, tmp_path):
    model = tiny_network(model_class, low_res_conditioning=True, **SHALLOW[model_class])
    inputs = network_inputs(model)
    inputs["conditioning_mask"] = torch.tensor([[True] * 4, [False, True, True, False]])
    exported = export_and_reload(model, inputs, tmp_path / "network.pt2")
    for step in steps(network_inputs(model, seed=5) | {"conditioning_mask": ~inputs["conditioning_mask"]}):
        step["timestep"] = step["timestep"].expand(2)
        torch.testing.assert_close(run(exported, step), run(model, step))


@BOTH
def test_exported_halves_compute_the_same(model_class, tmp_path):
    model = tiny_network(model_class, **SHALLOW[model_class])
    inputs = network_inputs(model)
    encoder = export_and_reload(GarmentEncoder(model), garment_arguments(inputs), tmp_path / "garment.pt2")
    with torch.no_grad():
        rest = {name: value for name, value in split_garment(model, inputs).items() if value is not None}
    person = export_and_reload(model, rest, tmp_path / "person.pt2")

    other = network_inputs(model, seed=5)
    with torch.no_grad():
        features = encoder(**garment_arguments(other))
    assert isinstance(features, GarmentFeatures)
    rest = {name: other[name] for name in rest if name in other}
    torch.testing.assert_close(run(person, {**rest, "garment_features": features}), run(model, other))


@pytest.mark.slow
@BOTH
def test_network_exports_for_any_batch(model_class):
    model = tiny_network(model_class, **SHALLOW[model_class])
    batch = torch.export.Dim("batch")
    inputs = network_inputs(model, batch_size=3)
    with torch.no_grad():
        exported = torch.export.export(model, (), inputs, dynamic_shapes={name: {0: batch} for name in inputs})
    for batch_size in (2, 5):
        other = network_inputs(model, batch_size=batch_size)
        torch.testing.assert_close(run(exported.module(), other), run(model, other))
