# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Attention for CPUs in half precision: a few heads at a time, as plain matrix products."""

import torch
from diffusers.models.modeling_utils import ModelMixin

from diffusers_tryon.models.unet_parallel import AttentionProcessor
from diffusers_tryon.models.unet_parallel_reference import ReferenceAttentionProcessor


# Logits computed at a time: 8 MB in bfloat16, what the caches of two cores hold.
MAX_LOGITS = 2**22


def chunked_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scale: float | None = None,
    max_logits: int = MAX_LOGITS,
) -> torch.Tensor:
    """Scaled dot-product attention by matrix products over as many heads at a time as `max_logits` allows.

    PyTorch's kernel for CPUs computes bfloat16 at the speed of float32; the matrix products use the processor's
    bfloat16 instructions. Logits and weights are rounded to the inputs' dtype, which the kernel keeps in float32.

    Args:
        query (`torch.Tensor`): (B, L, H, D).
        key, value (`torch.Tensor`): (B, S, H, D).
        scale (`float`, *optional*): factor of the logits, 1 / sqrt(D) if not given.
        max_logits (`int`): numbers of logits at a time; one head at a time if it has more.

    Returns:
        `torch.Tensor`: (B, L, H, D).
    """
    batch_size, length, heads, head_dim = query.shape
    query = query * (head_dim**-0.5 if scale is None else scale)
    query = query.transpose(1, 2).flatten(0, 1)  # (BH, L, D)
    key = key.permute(0, 2, 3, 1).flatten(0, 1)  # (BH, D, S)
    value = value.transpose(1, 2).flatten(0, 1)  # (BH, S, D)
    heads_at_a_time = max(1, max_logits // (length * key.shape[2]))
    chunks = zip(*(tensor.split(heads_at_a_time) for tensor in (query, key, value)))
    hidden_states = torch.cat([(q @ k).softmax(dim=-1) @ v for q, k, v in chunks])  # (BH, L, D)
    return hidden_states.unflatten(0, (batch_size, heads)).transpose(1, 2)


class ChunkedAttentionProcessor(AttentionProcessor):
    """The processor of `ParallelUNetModel` with chunked attention."""

    attend = staticmethod(chunked_attention)


class ChunkedReferenceAttentionProcessor(ReferenceAttentionProcessor):
    """The processor of `ReferenceParallelUNetModel` with chunked attention."""

    attend = staticmethod(chunked_attention)


_CHUNKED = {
    AttentionProcessor: ChunkedAttentionProcessor,
    ReferenceAttentionProcessor: ChunkedReferenceAttentionProcessor,
}


def use_chunked_attention(unet: ModelMixin) -> None:
    """Give every attention of a network its processor with chunked attention; processors of other kinds stay."""
    chunked = {
        name: _CHUNKED[type(processor)]() if type(processor) in _CHUNKED else processor
        for name, processor in unet.attn_processors.items()
    }
    unet.set_attn_processor(chunked)
