# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""`optimize`: what it sets, that pictures stay the same within rounding, and what it refuses."""

import copy

import pytest
import torch
from tiny_cascade import TINY_REFERENCE, cascade_inputs, random_unet, tiny_cascade

from diffusers_tryon import TryOnCascadePipeline
from diffusers_tryon.models.chunked_attention import ChunkedAttentionProcessor
from diffusers_tryon.models.packing import PackedConv2d, can_pack
from diffusers_tryon.pipelines.optimization import best_settings, cast, computes_bfloat16
from diffusers_tryon.schedules import create_scheduler


needs_onednn = pytest.mark.skipif(not can_pack(torch.float32), reason="needs a torch with oneDNN")
needs_onednn_bfloat16 = pytest.mark.skipif(
    not can_pack(torch.bfloat16), reason="needs a CPU with kernels for bfloat16"
)


def images(pipe: TryOnCascadePipeline, **arguments) -> torch.Tensor:
    return pipe(**cascade_inputs(2), **arguments).images


def reference_pipeline() -> TryOnCascadePipeline:
    pipe = TryOnCascadePipeline(
        base_unet=random_unet("reference-128", 0, **{**TINY_REFERENCE, "sample_size": 32}),
        base_scheduler=create_scheduler("dpmsolver++"),
        image_noising_scheduler=create_scheduler("ddpm"),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


@needs_onednn
@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize(
    "make",
    [tiny_cascade, lambda: tiny_cascade(garment_time_conditioning=True), reference_pipeline],
    ids=["cached", "sees the timestep", "reference"],
)
def test_pictures_in_float32_stay_the_same_within_rounding(make, sequential):
    plain, pipe = make(), make()
    settings = pipe.optimize(dtype=torch.float32, chunked_attention=True, memory_kept=False)
    assert settings.packed and settings.channels_last and not settings.compiled
    assert torch.allclose(
        images(pipe, sequential_guidance=sequential), images(plain, sequential_guidance=sequential), atol=1e-4
    )


@needs_onednn_bfloat16
def test_bfloat16_is_no_further_from_float32_with_the_other_options_than_without():
    plain = tiny_cascade()
    half, pipe = copy.deepcopy(plain), copy.deepcopy(plain)
    pipe.optimize(dtype=torch.bfloat16, chunked_attention=True, memory_kept=False)
    half.optimize(dtype=torch.bfloat16, channels_last=False, chunked_attention=False, packed=False, memory_kept=False)
    expected = images(plain)
    error, plain_error = ((images(item) - expected).square().mean().sqrt() for item in (pipe, half))
    assert 0 < plain_error < 0.1
    assert error < 1.5 * plain_error


@needs_onednn_bfloat16
def test_every_switch_does_what_it_says():
    pipe = tiny_cascade()
    pipe.optimize(dtype=torch.float32, channels_last=False, chunked_attention=False, packed=False, memory_kept=False)
    weight = pipe.sr_unet.conv_in.weight
    assert weight.dtype == torch.float32 and weight.is_contiguous()
    assert not isinstance(
        pipe.sr_unet.get_submodule("down_blocks.1.0.self_attention").processor, ChunkedAttentionProcessor
    )
    pipe.optimize(dtype=torch.float32, chunked_attention=True, packed=False, memory_kept=False)
    assert pipe.sr_unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    assert isinstance(
        pipe.sr_unet.get_submodule("down_blocks.1.0.self_attention").processor, ChunkedAttentionProcessor
    )
    pipe.optimize(dtype=torch.bfloat16, memory_kept=False)
    assert isinstance(pipe.sr_unet.conv_in, PackedConv2d) and isinstance(pipe.base_unet.conv_in, PackedConv2d)
    assert pipe.dtype == torch.bfloat16
    pipe.optimize(dtype=torch.bfloat16)
    assert images(pipe).isfinite().all()


def test_weights_that_must_stay_in_float32_do():
    unet = random_unet("reference-128", 0, **TINY_REFERENCE)
    frequencies = unet.time_embedding.frequencies.clone()
    cast(unet, torch.bfloat16)
    assert torch.equal(unet.time_embedding.frequencies, frequencies)
    assert unet.time_embedding.linear_1.weight.dtype == torch.bfloat16


def test_a_dtype_that_cannot_be_packed_is_left_as_it_is_and_refused_if_asked_for():
    pipe = tiny_cascade()
    with pytest.raises(ValueError, match="`packed` must not be set for torch.float64"):
        pipe.optimize(dtype=torch.float64, packed=True)
    expected = images(pipe)
    settings = pipe.optimize(dtype=torch.float64, memory_kept=False)
    assert not settings.packed and not settings.chunked_attention
    assert torch.allclose(images(pipe), expected, atol=1e-4)


@needs_onednn
def test_a_packed_pipeline_refuses_another_dtype():
    pipe = tiny_cascade()
    pipe.optimize(dtype=torch.float32, packed=True, memory_kept=False)
    with pytest.raises(ValueError, match="cannot become torch.bfloat16"):
        pipe.to(torch.bfloat16)


def test_the_best_settings_follow_the_device():
    gpu = best_settings(torch.device("cuda"))
    assert (gpu.dtype, gpu.compiled, gpu.packed) == (torch.bfloat16, True, False)
    cpu = best_settings(torch.device("cpu"))
    assert not cpu.compiled
    assert cpu.chunked_attention == (cpu.dtype == torch.bfloat16)
    assert not best_settings(torch.device("cpu"), torch.float32).chunked_attention
    assert str(gpu) == "bfloat16, channels last, compiled"


@pytest.mark.parametrize("capabilities, expected", [({"avx512_bf16": True}, True), ({"amx_bf16": False}, False)])
def test_a_cpu_computes_bfloat16_if_it_has_instructions_for_it(capabilities, expected):
    assert computes_bfloat16(capabilities) is expected
