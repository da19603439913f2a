# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Packed weights compute what the plain layers compute, and say clearly what cannot be done with them."""

import pytest
import torch
from peft import LoraConfig
from tiny_cascade import TINY_REFERENCE, random_unet
from torch import nn

from diffusers_tryon.models.packing import (
    PackedConv2d,
    PackedLayer,
    PackedLinear,
    can_pack,
    input_shapes,
    pack_weights,
)


pytestmark = pytest.mark.skipif(not can_pack(torch.float32), reason="needs a torch with oneDNN")
needs_bfloat16 = pytest.mark.skipif(not can_pack(torch.bfloat16), reason="needs a CPU with kernels for bfloat16")
NETWORKS = {
    "base": ("tiny-base", {}),
    "sr that sees the timestep": ("tiny-sr", {"garment_time_conditioning": True}),
    "concatenation": ("tiny-base", {"garment_fusion": "concatenation"}),
    "reference": ("reference-128", {**TINY_REFERENCE, "sample_size": 32}),
}


def prediction(unet: nn.Module, batch_size: int, size: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(batch_size + size)
    image = torch.rand(batch_size, 3, size, size, generator=random).to(unet.dtype)
    poses = torch.rand(2, batch_size, 18, 3, generator=random)
    low_res_image = image.roll(1, 2) if unet.config.low_res_conditioning else None
    with torch.no_grad():
        return unet(
            image, torch.full((batch_size,), 500.0), image.flip(2), image.flip(3), *poses, low_res_image
        ).sample


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(
    "dtype, tolerance", [(torch.float32, 1e-5), pytest.param(torch.bfloat16, 0.05, marks=needs_bfloat16)]
)
def test_a_packed_network_predicts_the_same_at_any_batch_and_size(network, dtype, tolerance):
    name, overrides = NETWORKS[network]
    unet = random_unet(name, 0, **overrides).to(dtype)
    size = unet.config.sample_size
    inputs = [(2, size), (1, size), (3, 2 * size)]
    plain = [prediction(unet, *item) for item in inputs]
    pack_weights(unet, 2, size, size)
    # What is left is never run: the reference's last garment upsampler.
    left = [name for name, module in unet.named_modules() if type(module) in (nn.Conv2d, nn.Linear)]
    assert left == (["garment_upsamplers.0.conv"] if network == "reference" else [])
    for item, expected in zip(inputs, plain):
        error = (prediction(unet, *item) - expected).float().norm() / expected.float().norm()
        assert error < tolerance


@pytest.mark.parametrize(
    "dtype, tolerance", [(torch.float32, 1e-6), pytest.param(torch.bfloat16, 0.01, marks=needs_bfloat16)]
)
@pytest.mark.parametrize("stride", [1, 2])
def test_a_packed_convolution_computes_the_convolution(dtype, tolerance, stride):
    conv = nn.Conv2d(24, 40, 3, padding=1, stride=stride).to(dtype)
    images = torch.randn(2, 24, 18, 14).to(dtype)
    columns = nn.functional.unfold(images.double(), 3, padding=1, stride=stride)
    expected = conv.weight.double().flatten(1) @ columns + conv.bias.double()[:, None]
    packed = PackedConv2d(conv, images.shape)(images).flatten(2)
    assert packed.dtype == dtype
    assert (packed - expected).norm() / expected.norm() < tolerance


def test_a_packed_linear_layer_without_bias_computes_the_product():
    linear = nn.Linear(24, 40, bias=False)
    tokens = torch.randn(2, 7, 24)
    expected = tokens.double() @ linear.weight.double().T
    assert torch.allclose(PackedLinear(linear, tokens.shape)(tokens).double(), expected, atol=1e-5)


def test_the_shapes_that_weights_are_packed_for_are_those_that_come():
    unet = random_unet("tiny-sr", 0)
    seen = {}
    for name, module in unet.named_modules():
        if type(module) in (nn.Conv2d, nn.Linear):
            module.register_forward_pre_hook(lambda _, inputs, name=name: seen.update({name: tuple(inputs[0].shape)}))
    prediction(unet, 2, 64)
    assert input_shapes(unet, 2, 64, 64) == seen


def test_packed_weights_take_no_second_place_in_memory():
    unet = random_unet("tiny-base", 0)
    pack_weights(unet, 2, 32, 32)
    layers = [module for module in unet.modules() if isinstance(module, PackedLayer)]
    assert layers and not any(parameter.ndim == 4 for parameter in unet.parameters())


@pytest.mark.parametrize(
    "use, message",
    [
        (lambda unet, folder: unet.save_pretrained(folder), "cannot be saved"),
        (lambda unet, folder: unet.load_state_dict({}), "cannot be loaded"),
        (lambda unet, folder: unet.to(torch.float64), "cannot become torch.float64"),
        (lambda unet, folder: unet.to("meta"), "on meta"),
        (lambda unet, folder: unet.train(), "cannot be trained"),
        (lambda unet, folder: unet.conv_in(torch.zeros(1, 24, 16, 16, requires_grad=True)), "pass no gradients on"),
        (lambda unet, folder: unet.add_adapter(LoraConfig(target_modules=["to_q"])), "before which adapters must be"),
    ],
    ids=["save", "load", "dtype", "device", "train", "gradients", "adapter"],
)
def test_what_packed_weights_cannot_do_is_said(use, message, tmp_path):
    unet = random_unet("tiny-base", 0)
    pack_weights(unet, 2, 32, 32)
    with pytest.raises(ValueError, match=message):
        use(unet, tmp_path)
    unet.to("cpu").eval()
    assert prediction(unet, 1, 32).isfinite().all()
