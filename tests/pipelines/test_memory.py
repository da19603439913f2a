# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Offloading, half precision, layerwise casting and compiling leave the images as they are, or near."""

import pytest
import torch
from tiny_cascade import cascade_inputs, tiny_cascade

from diffusers_tryon import TryOnCascadePipeline
from diffusers_tryon.schedules import create_scheduler


@pytest.fixture(scope="module")
def expected() -> torch.Tensor:
    return tiny_cascade()(**cascade_inputs()).images


def test_model_offload_follows_the_sequence(expected):
    pipe = tiny_cascade()
    pipe.enable_model_cpu_offload(device="cpu")
    assert pipe.model_cpu_offload_seq == "base_unet->sr_unet"
    assert [type(hook).__name__ for hook in pipe._all_hooks] == ["UserCpuOffloadHook"] * 2
    assert torch.equal(pipe(**cascade_inputs()).images, expected)
    assert torch.equal(pipe(**cascade_inputs()).images, expected), "the hooks are there again after a call"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_model_offload_holds_one_network_at_a_time_on_a_gpu(expected):
    pipe = tiny_cascade()
    sizes = [sum(parameter.nbytes for parameter in unet.parameters()) for unet in (pipe.base_unet, pipe.sr_unet)]
    pipe.enable_model_cpu_offload()
    before, held = torch.cuda.memory_allocated(), []

    def record(pipe, step, timestep, tensors):
        held.append([unet.device.type for unet in (pipe.base_unet, pipe.sr_unet)])
        return tensors

    images = pipe(**cascade_inputs(), callback_on_step_end=record).images
    assert held == [["cuda", "cpu"]] * 3 + [["cpu", "cuda"]] * 2
    assert torch.cuda.memory_allocated() - before < min(sizes), "neither network stays there after the call"
    torch.testing.assert_close(images.cpu(), expected, rtol=0, atol=1e-2)


def test_offloaded_networks_encode_garments(expected):
    pipe = tiny_cascade()
    pipe.enable_model_cpu_offload(device="cpu")
    inputs = cascade_inputs()
    encoded = pipe.encode_garment(inputs.pop("garment_image"), inputs.pop("garment_pose"))
    assert torch.equal(pipe(**inputs, garment_features=encoded).images, expected)


def test_group_offload_of_leaves(expected):
    pipe = tiny_cascade()
    pipe.enable_group_offload(onload_device=torch.device("cpu"), offload_type="leaf_level")
    torch.testing.assert_close(pipe(**cascade_inputs()).images, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("scheduler", ["dpmsolver++", "euler"])
def test_half_precision_weights_with_noise_beyond_its_range(dtype, scheduler):
    # Euler starts at 20291 times the image, far beyond float16's 65504 for a normal sample of 4: latents stay float32.
    pipe = tiny_cascade(scheduler=scheduler).to(dtype)
    seen = set()

    def record(module, args, kwargs):
        seen.add(kwargs["sample"].dtype)
        assert torch.isfinite(kwargs["sample"]).all()

    pipe.base_unet.register_forward_pre_hook(record, with_kwargs=True)
    output = pipe(**cascade_inputs(), callback_on_step_end=assert_float32)
    assert seen == {dtype}
    assert output.images.dtype == torch.float32 and torch.isfinite(output.images).all()


def assert_float32(pipe, step, timestep, tensors):
    assert tensors["latents"].dtype == torch.float32 and torch.isfinite(tensors["latents"]).all()
    return tensors


def test_layerwise_casting():
    pipe = tiny_cascade()
    for unet in (pipe.base_unet, pipe.sr_unet):
        unet.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32)
    images = pipe(**cascade_inputs()).images
    assert images.dtype == torch.float32 and torch.isfinite(images).all()


@pytest.mark.slow
def test_compiled_networks_run_and_are_saved_as_plain_ones(expected, tmp_path):
    pipe = tiny_cascade()
    pipe.base_unet = torch.compile(pipe.base_unet, backend="eager", fullgraph=True)
    pipe.sr_unet.compile(backend="eager", fullgraph=True)
    torch.testing.assert_close(pipe(**cascade_inputs()).images, expected, rtol=0, atol=1e-3)
    pipe.save_pretrained(tmp_path)
    loaded = TryOnCascadePipeline.from_pretrained(tmp_path)
    assert torch.equal(loaded(**cascade_inputs()).images, expected)


@pytest.mark.slow
@pytest.mark.parametrize("stage, steps", [("base", 256), ("sr", 128)])
def test_the_papers_steps_end_in_finite_images(stage, steps):
    pipe = tiny_cascade(scheduler="ddpm")
    assert isinstance(pipe.base_scheduler, type(create_scheduler("ddpm")))
    counts = {"base": {"num_inference_steps": steps}, "sr": {"sr_num_inference_steps": steps}}
    output = pipe(**{**cascade_inputs(), **counts[stage]})
    assert torch.isfinite(output.images).all()
