# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Compiled networks: how many graphs a cascade makes, pictures as without, and what is refused."""

import copy
import shutil

import pytest
import torch
from accelerate.hooks import ModelHook, add_hook_to_module, remove_hook_from_module
from diffusers import HeunDiscreteScheduler
from tiny_cascade import TINY_REFERENCE, cascade_inputs, generators, random_unet, tiny_cascade
from torch._dynamo.testing import CompileCounterWithBackend
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from diffusers_tryon import TryOnCascadePipeline
from diffusers_tryon.models.packing import PackedLayer
from diffusers_tryon.pipelines.compilation import CompiledMethod, compile_networks
from diffusers_tryon.pipelines.guidance import network_passes, predict, step_garment_features
from diffusers_tryon.pipelines.inputs import StageInputs
from diffusers_tryon.schedules import create_scheduler


# One level with one block for each direction, for what does not hang on how large a network is.
FLAT = {
    "block_out_channels": (32,),
    "layers_per_block": (1,),
    "garment_layers_per_block": (1,),
    "attention_levels": (True,),
}
CASES = {
    "guided": {},
    "guided again": {},
    "in an interval": {"guidance_start": 0.4, "sr_guidance_stop": 0.5},
    "without guidance": {"guidance_scale": 1.0},
    "noised": {"agnostic_noise_level": 40, "low_res_noise_level": 30},
    "one after the other": {"sequential_guidance": True},
}


def reference_cascade() -> TryOnCascadePipeline:
    overrides = {**TINY_REFERENCE, "layers_per_block": (1, 1)}
    pipe = TryOnCascadePipeline(
        base_unet=random_unet("reference-128", 0, **overrides, sample_size=16),
        base_scheduler=create_scheduler("dpmsolver++"),
        image_noising_scheduler=create_scheduler("ddpm"),
        sr_unet=random_unet("reference-256", 1, **overrides, sample_size=32),
        sr_scheduler=create_scheduler("dpmsolver++"),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


MAKERS = {
    "cached": tiny_cascade,
    "reference": reference_cascade,
}


@pytest.fixture(autouse=True)
def fresh_compiler():
    limit = torch._dynamo.config.recompile_limit
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()
    torch._dynamo.config.recompile_limit = limit


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cached", "reference"])
def test_a_network_is_one_graph_for_steps_schedulers_batches_and_ways_of_guidance(kind):
    plain = MAKERS[kind]()
    pipe = copy.deepcopy(plain)
    counter = CompileCounterWithBackend("eager")
    compile_networks(pipe, backend=counter)
    # Two networks with a garment stream each.
    num_graphs = 4
    for batch_size in (1, 3):
        for name, options in CASES.items():
            if name == "one after the other" and batch_size == 1 and kind != "reference":
                num_graphs += 2  # null rows without garment work
            if name == "noised" and batch_size == 1 and kind == "reference":
                num_graphs += 2  # garment streams that see all noise levels
            images = pipe(**cascade_inputs(batch_size), **options).images
            expected = plain(**cascade_inputs(batch_size), **options).images
            torch.testing.assert_close(images, expected, rtol=1e-3, atol=1e-4)
            assert counter.frame_count == num_graphs, (batch_size, name)
    for item in (pipe, plain):
        item.base_scheduler = HeunDiscreteScheduler.from_config(item.base_scheduler.config)
        item.sr_scheduler = create_scheduler("ddim")
    inputs = {**cascade_inputs(seed=5), "num_inference_steps": 4}
    other = pipe(**{**inputs, "generator": generators(1)}).images
    torch.testing.assert_close(other, plain(**{**inputs, "generator": generators(1)}).images, rtol=1e-3, atol=1e-4)
    if kind == "cached":
        garment = {name: inputs.pop(name) for name in ("garment_image", "garment_pose")}
        features = pipe.encode_garment(**garment, generator=generators(1))
        images = pipe(**{**inputs, "generator": generators(1)}, garment_features=features).images
        torch.testing.assert_close(images, other, rtol=1e-3, atol=1e-4)
    assert counter.frame_count == num_graphs


@pytest.mark.slow
def test_steps_that_reuse_features_add_two_graphs():
    plain = tiny_cascade(with_sr=False, **FLAT)
    pipe = copy.deepcopy(plain)
    counter = CompileCounterWithBackend("eager")
    compile_networks(pipe, backend=counter)
    options = {"encoder_refresh_interval": 2, "guidance_stop": 0.7}
    for batch_size in (1, 2):
        images = pipe(**cascade_inputs(batch_size), **options).images
        expected = plain(**cascade_inputs(batch_size), **options).images
        torch.testing.assert_close(images, expected, rtol=1e-3, atol=1e-4)
        assert counter.frame_count == 3


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="Torch's own backend compiles C++ with g++")
def test_torchs_own_backend_gives_the_same_pictures():
    plain = tiny_cascade(with_sr=False, **FLAT)
    pipe = copy.deepcopy(plain)
    settings = pipe.optimize(dtype=torch.float32, compiled=True, memory_kept=False)
    assert settings.compiled and not settings.packed and not settings.chunked_attention
    for batch_size in (1, 2):
        options = {"guidance_stop": 0.7}
        images = pipe(**cascade_inputs(batch_size), **options).images
        expected = plain(**cascade_inputs(batch_size), **options).images
        torch.testing.assert_close(images, expected, rtol=1e-3, atol=1e-3)


def step_arguments(kind: str, sequential: bool, device: str) -> tuple:
    """What `predict` gets in a guided step of the super-resolution stage, and the stage's inputs."""
    unet = MAKERS[kind]().sr_unet.to(device)
    image, pose = torch.zeros(2, 3, 32, 32, device=device), torch.zeros(2, 18, 3, device=device)
    level = torch.zeros((), device=device)
    inputs = StageInputs(
        agnostic_image=image,
        kept_image=image,
        mask=None,
        person_pose=pose,
        garment_image=image,
        garment_features=None,
        garment_pose=pose,
        agnostic_noise_level=level,
        garment_noise_level=level,
        low_res_image=image,
        low_res_noise_level=level,
    )
    passes = network_passes(unet, inputs, True, sequential)
    return unet, torch.zeros(2, 3, 32, 32, device=device), torch.zeros((), device=device), passes, inputs


def step(unet, model_input, timestep, passes, inputs):
    features = step_garment_features(unet, timestep, inputs)
    return predict(unet, model_input, timestep, passes, features, 2.0, 0.5, return_person_features=True)


class OneDevice(TorchDispatchMode):
    """Fails where a tensor comes to lie on another device."""

    def __init__(self, device: str):
        super().__init__()
        self.device = device

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        devices = {item.device.type for item in tree_leaves(result) if isinstance(item, torch.Tensor)}
        assert devices <= {self.device}, f"{function} made a tensor on {devices}"
        return result


WAYS = pytest.mark.parametrize("kind, sequential", [("cached", False), ("cached", True), ("reference", False)])


@WAYS
@torch.no_grad()
def test_no_step_waits_for_the_device_or_leaves_it(kind, sequential):
    # Numbers of tensors on "meta" cannot be read: whatever would wait for them fails.
    arguments = step_arguments(kind, sequential, "meta")
    with OneDevice("meta"):
        assert step(*arguments).sample.shape == (2, 3, 32, 32)
        with pytest.raises(RuntimeError):
            arguments[1].sum().item()
        with pytest.raises(AssertionError, match="made a tensor on"):
            torch.zeros(1)


@WAYS
@torch.no_grad()
def test_a_step_changes_none_of_its_inputs(kind, sequential):
    arguments = step_arguments(kind, sequential, "cpu")
    tensors = [item for item in tree_leaves(arguments) if isinstance(item, torch.Tensor)]
    tensors += [*arguments[0].parameters(), *arguments[0].buffers()]
    versions = [item._version for item in tensors]
    step(*arguments)
    assert len(versions) > 20 and [item._version for item in tensors] == versions


def test_copies_compile_anew_and_weights_are_saved_as_ever(tmp_path):
    pipe = tiny_cascade(with_sr=False, **FLAT)
    names = pipe.base_unet.state_dict().keys()
    compile_networks(pipe, backend="eager")
    twin = copy.deepcopy(pipe)
    assert isinstance(twin.base_unet.forward, CompiledMethod)
    assert twin.base_unet.forward.plain.__self__ is twin.base_unet is not pipe.base_unet
    assert pipe.base_unet.state_dict().keys() == names
    pipe.save_pretrained(tmp_path)
    loaded = TryOnCascadePipeline.from_pretrained(tmp_path)
    assert not isinstance(loaded.base_unet.forward, CompiledMethod)
    for name, value in loaded.base_unet.state_dict().items():
        assert torch.equal(value, pipe.base_unet.state_dict()[name])


@pytest.mark.parametrize(
    "options, message",
    [
        ({"compile_mode": "fast", "compiled": True}, "`compile_mode` must be one of default, .*'fast'"),
        ({"compile_mode": "default", "compiled": False}, "'default' without `compiled`"),
        ({"compiled": True, "packed": True}, "go without `packed`"),
        ({"compiled": True, "chunked_attention": True}, "go without `packed`"),
    ],
)
def test_options_that_do_not_fit_are_named(options, message):
    pipe = tiny_cascade(with_sr=False, **FLAT)
    with pytest.raises(ValueError, match=message):
        pipe.optimize(dtype=torch.float32, memory_kept=False, **options)
    assert not isinstance(pipe.base_unet.forward, CompiledMethod)


def test_networks_that_cannot_be_compiled_are_refused():
    pipe = tiny_cascade(with_sr=False, **FLAT)
    add_hook_to_module(pipe.base_unet, ModelHook())
    with pytest.raises(ValueError, match="offloaded already"):
        compile_networks(pipe)
    remove_hook_from_module(pipe.base_unet)
    pipe.base_unet.conv_in = PackedLayer(torch.zeros(1), None)
    with pytest.raises(ValueError, match="Packed weights cannot be compiled"):
        compile_networks(pipe)


@pytest.mark.slow
def test_offloading_goes_around_compiled_networks():
    plain = tiny_cascade(with_sr=False, **FLAT)
    pipe = copy.deepcopy(plain)
    counter = CompileCounterWithBackend("eager")
    compile_networks(pipe, backend=counter)
    calls = []

    class Recorder(ModelHook):
        def pre_forward(self, module, *args, **kwargs):
            assert not torch.compiler.is_compiling()
            calls.append(module)
            return args, kwargs

    add_hook_to_module(pipe.base_unet, Recorder())
    torch.testing.assert_close(pipe(**cascade_inputs()).images, plain(**cascade_inputs()).images, rtol=1e-3, atol=1e-4)
    # One for `encode_conditions` and `encode_garment` each, and one for each of three steps.
    assert counter.frame_count == 2 and len(calls) == 5
