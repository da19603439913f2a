# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The fast paths of a card: compiled networks in bfloat16, CUDA graphs, offloading. They need CUDA."""

import copy

import pytest
import torch
from tiny_cascade import cascade_inputs, random_unet, tiny_cascade
from torch._dynamo.testing import CompileCounterWithBackend

from diffusers_tryon import TryOnCascadePipeline
from diffusers_tryon.pipelines.compilation import compile_networks
from diffusers_tryon.schedules import create_scheduler


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("time_conditioning", [False, True])
@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_compiled_in_bfloat16_is_as_near_to_float32_as_bfloat16_is(mode, time_conditioning):
    plain = tiny_cascade(garment_time_conditioning=time_conditioning).to("cuda")
    half, pipe = copy.deepcopy(plain), copy.deepcopy(plain)
    half.optimize(compiled=False)
    settings = pipe.optimize(compile_mode=mode)
    assert settings.compiled and pipe.dtype == torch.bfloat16
    for batch_size in (1, 2):
        for options in ({}, {"guidance_stop": 0.7}, {"sequential_guidance": True}, {"encoder_refresh_interval": 2}):
            # Twice, because the first runs of a CUDA graph only record it.
            for _ in range(3):
                images = pipe(**cascade_inputs(batch_size), **options).images
            expected = plain(**cascade_inputs(batch_size), **options).images
            error = (images - expected).square().mean().sqrt()
            half_error = (half(**cascade_inputs(batch_size), **options).images - expected).square().mean().sqrt()
            assert error < 1.5 * half_error + 1e-3


def test_pictures_of_one_call_outlive_the_next_replay():
    pipe = tiny_cascade().to("cuda")
    pipe.optimize(compile_mode="reduce-overhead")
    for _ in range(3):
        first = pipe(**cascade_inputs()).images
    copied = first.clone()
    pipe(**cascade_inputs(seed=1))
    assert torch.equal(first, copied)


def test_steps_do_not_wait_for_the_card():
    pipe = tiny_cascade().to("cuda")
    pipe(**cascade_inputs())

    def watch(pipe, step, timestep, tensors):
        # Schedulers look their first step up, which waits.
        last_of_stage = step in (2, 4)
        torch.cuda.set_sync_debug_mode("default" if last_of_stage else "error")
        return tensors

    try:
        pipe(**cascade_inputs(), callback_on_step_end=watch)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_offloading_after_compiling_keeps_one_graph():
    plain = tiny_cascade()
    pipe = copy.deepcopy(plain)
    counter = CompileCounterWithBackend("eager")
    compile_networks(pipe, backend=counter)
    pipe.enable_model_cpu_offload()
    for _ in range(2):
        images = pipe(**cascade_inputs()).images
    torch.testing.assert_close(images.cpu(), plain(**cascade_inputs()).images, rtol=1e-2, atol=1e-2)
    assert counter.frame_count == 4


def test_the_papers_cascade_with_offloading_takes_less_than_six_gigabytes():
    with torch.device("cuda"):
        networks = {name: random_unet(f"paper-{size}-cached", 0) for name, size in (("base", 128), ("sr", 256))}
    pipe = TryOnCascadePipeline(
        base_unet=networks["base"].to("cpu", torch.bfloat16),
        base_scheduler=create_scheduler("dpmsolver++"),
        image_noising_scheduler=create_scheduler("ddpm"),
        sr_unet=networks["sr"].to("cpu", torch.bfloat16),
        sr_scheduler=create_scheduler("dpmsolver++"),
    )
    pipe.enable_model_cpu_offload()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    pipe(**cascade_inputs(height=256, width=256))
    assert torch.cuda.max_memory_allocated() < 6e9
