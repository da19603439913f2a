# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Attention over a few heads at a time is attention."""

import pytest
import torch
from tiny_cascade import TINY_REFERENCE, random_unet

from diffusers_tryon.models.chunked_attention import (
    ChunkedAttentionProcessor,
    ChunkedReferenceAttentionProcessor,
    chunked_attention,
    use_chunked_attention,
)
from diffusers_tryon.models.unet_parallel import AttentionProcessor


def plain_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> torch.Tensor:
    """The definition in float64, one head of one row after the other."""
    result = torch.empty(query.shape, dtype=torch.float64)
    for row in range(query.shape[0]):
        for head in range(query.shape[2]):
            q, k, v = (tensor[row, :, head].double() for tensor in (query, key, value))
            weights = torch.exp(scale * q @ k.T)
            result[row, :, head] = weights @ v / weights.sum(dim=1, keepdim=True)
    return result


@pytest.mark.parametrize("max_logits", [1, 5 * 7, 3 * 5 * 7, 10**6], ids=["one", "one head", "three heads", "all"])
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-6), (torch.bfloat16, 0.02)])
@pytest.mark.parametrize("scale", [None, 2.0])
def test_chunked_attention_is_attention(max_logits, dtype, tolerance, scale):
    random = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, length, 4, 8, generator=random).to(dtype) for length in (5, 7, 7))
    result = chunked_attention(query, key, value, scale, max_logits)
    expected = plain_attention(query, key, value, 8**-0.5 if scale is None else scale)
    assert result.dtype == dtype and result.shape == expected.shape
    assert (result - expected).norm() / expected.norm() < tolerance


@pytest.mark.parametrize(
    "name, overrides, processor",
    [
        ("tiny-base", {}, ChunkedAttentionProcessor),
        ("reference-128", {**TINY_REFERENCE, "sample_size": 32}, ChunkedReferenceAttentionProcessor),
    ],
    ids=["ours", "reference"],
)
def test_a_network_predicts_the_same_with_chunked_attention(name, overrides, processor):
    unet = random_unet(name, 0, **overrides)
    random = torch.Generator().manual_seed(1)
    image, poses = torch.rand(2, 3, 32, 32, generator=random), torch.rand(2, 2, 18, 3, generator=random)
    with torch.no_grad():
        plain = unet(image, torch.tensor(500.0), image.flip(2), image.flip(3), *poses).sample
        use_chunked_attention(unet)
        assert {type(item) for item in unet.attn_processors.values()} == {processor}
        chunked = unet(image, torch.tensor(500.0), image.flip(2), image.flip(3), *poses).sample
    assert not torch.equal(chunked, plain)
    assert torch.allclose(chunked, plain, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_network_learns_the_same_with_chunked_attention(checkpointing, tmp_path):
    unet = random_unet("tiny-base", 0).train()
    random = torch.Generator().manual_seed(1)
    image, poses = torch.rand(2, 3, 32, 32, generator=random), torch.rand(2, 2, 18, 3, generator=random)

    def gradients() -> list[torch.Tensor]:
        unet.zero_grad()
        unet(image, torch.tensor(500.0), image.flip(2), image.flip(3), *poses).sample.square().mean().backward()
        return [parameter.grad.clone() for parameter in unet.parameters() if parameter.grad is not None]

    plain, files = gradients(), (tmp_path / "plain", tmp_path / "chunked")
    unet.save_pretrained(files[0])
    use_chunked_attention(unet)
    if checkpointing:
        unet.enable_gradient_checkpointing()
    torch.testing.assert_close(gradients(), plain, rtol=1e-3, atol=1e-6)
    # How it computes is no part of a network.
    unet.save_pretrained(files[1])
    assert (files[0] / "config.json").read_text() == (files[1] / "config.json").read_text()


def test_processors_of_other_kinds_stay():
    class Mine(AttentionProcessor):
        def __init__(self, strength: float):
            self.strength = strength

    unet, mine = random_unet("tiny-base", 0), Mine(0.5)
    name = next(iter(unet.attn_processors))
    unet.set_attn_processor({**unet.attn_processors, name: mine})
    use_chunked_attention(unet)
    others = [processor for other, processor in unet.attn_processors.items() if other != name]
    assert unet.attn_processors[name] is mine
    assert {type(processor) for processor in others} == {ChunkedAttentionProcessor}
