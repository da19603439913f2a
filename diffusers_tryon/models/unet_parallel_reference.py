# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The network of the widely used TryOnDiffusion reimplementation, exact: for weights that were trained with it."""

import math

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.loaders import PeftAdapterMixin
from diffusers.models.attention import AttentionMixin, AttentionModuleMixin
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import nn

from diffusers_tryon.models.inputs import ParallelUNetInputsMixin, expand_level
from diffusers_tryon.models.unet_parallel import (
    AttentionProcessor,
    EncodedConditions,
    GarmentFeatures,
    ParallelUNetOutput,
    PersonFeatures,
)
from diffusers_tryon.poses import NUM_KEYPOINTS


NUM_FREQUENCIES = 8
# Self- and cross-attention tokens are patches, sized so that a level has about this many along its longer side.
TOKENS_PER_SIDE = 16


# Noise laws: what this network is told about noise is a log-SNR, not a timestep


def cosine_log_snr(timestep: torch.Tensor) -> torch.Tensor:
    """log-SNR of the diffused picture at timesteps 0 to 999, in float32.

    The order of operations is the reference's: near timestep 0 the difference cancels, and another order (a compiler's
    too) moves the result by up to 1e-3.
    """
    angle = (timestep / 1000 + 0.008) / 1.008 * math.pi / 2
    return -torch.log((torch.cos(angle) ** -2 - 1).clamp(min=1e-5))


def linear_log_snr(noise_level: torch.Tensor) -> torch.Tensor:
    """log-SNR of the noise added to a conditioning image, at noise levels 0 to 999, float32."""
    return -torch.log(torch.expm1(1e-4 + 10 * (noise_level / 1000) ** 2))


# Embeddings of the noise and of the poses


class LogSNREmbedding(nn.Module):
    """A log-SNR and its sine and cosine at learned frequencies, then two linear layers."""

    def __init__(self, vector_dim: int):
        super().__init__()
        self.frequencies = nn.Parameter(torch.randn(NUM_FREQUENCIES))
        self.linear_1 = nn.Linear(1 + 2 * NUM_FREQUENCIES, vector_dim)
        self.linear_2 = nn.Linear(vector_dim, vector_dim)

    def forward(self, log_snr: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        # Phases reach a hundred radians: half precision would lose them.
        log_snr = log_snr[:, None]  # (B, 1)
        phase = 2 * math.pi * log_snr * self.frequencies.float()  # (B, 8)
        features = torch.cat([log_snr, phase.sin(), phase.cos()], dim=1).to(dtype)  # (B, 17)
        return self.linear_2(F.silu(self.linear_1(features)))  # (B, V)


class UnitNorm(nn.Module):
    """Scale vectors to length one, then by a learned factor per channel."""

    def __init__(self, dim: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        # The lower bound of the length, 1e-12, is zero in float16.
        return (F.normalize(hidden_states.float(), dim=-1) * self.weight).to(hidden_states.dtype)


class ReferenceAttentionProcessor(AttentionProcessor):
    """Scaled dot-product attention, through Diffusers' back end dispatch, over [added tokens, null token, tokens]."""

    def __call__(
        self,
        attention: "ReferenceAttention",
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        added_hidden_states: torch.Tensor | None = None,
    ) -> torch.Tensor:
        query = attention.to_q(hidden_states).unflatten(2, (attention.heads, -1))  # (B, L, H, D)
        key = attention.to_k(encoder_hidden_states).unflatten(2, (attention.heads, -1))  # (B, S, H, D)
        value = attention.to_v(encoder_hidden_states).unflatten(2, (attention.heads, -1))  # (B, S, H, D)
        if attention.norm_q is not None:
            query, key = attention.norm_q(query), attention.norm_k(key)
        if attention.null_key is not None:
            null_shape = (key.shape[0], 1, -1, -1)
            key = torch.cat([attention.null_key.to(key.dtype).expand(null_shape), key], dim=1)  # (B, 1 + S, H, D)
            value = torch.cat([attention.null_value.to(value.dtype).expand(null_shape), value], dim=1)
        if added_hidden_states is not None:
            added_key = attention.add_k_proj(added_hidden_states).unflatten(2, (attention.heads, -1))  # (B, A, H, D)
            added_value = attention.add_v_proj(added_hidden_states).unflatten(2, (attention.heads, -1))
            key = torch.cat([added_key, key], dim=1)  # (B, A + 1 + S, H, D)
            value = torch.cat([added_value, value], dim=1)
        hidden_states = self.attend(query, key, value, attention.scale)  # (B, L, H, D)
        return attention.to_out[0](hidden_states.flatten(2))  # (B, L, C)


class ReferenceAttention(nn.Module, AttentionModuleMixin):
    """Multi-head attention with a learned null key and value, or with normalised queries and keys."""

    _default_processor_cls = ReferenceAttentionProcessor
    _available_processors = [ReferenceAttentionProcessor]
    _supports_qkv_fusion = False

    def __init__(
        self,
        dim: int,
        heads: int,
        head_dim: int,
        added_dim: int | None = None,
        null_token: bool = True,
        normalized: bool = False,
        out_bias: bool = True,
    ):
        super().__init__()
        self.heads = heads
        self.scale = 8.0 if normalized else head_dim**-0.5
        inner_dim = heads * head_dim
        self.to_q = nn.Linear(dim, inner_dim, bias=False)
        self.to_k = nn.Linear(dim, inner_dim, bias=False)
        self.to_v = nn.Linear(dim, inner_dim, bias=False)
        self.norm_q = UnitNorm(head_dim) if normalized else None
        self.norm_k = UnitNorm(head_dim) if normalized else None
        self.null_key = nn.Parameter(torch.randn(heads, head_dim)) if null_token else None
        self.null_value = nn.Parameter(torch.randn(heads, head_dim)) if null_token else None
        if added_dim is not None:
            self.add_k_proj = nn.Linear(added_dim, inner_dim)
            self.add_v_proj = nn.Linear(added_dim, inner_dim)
        self.to_out = nn.ModuleList([nn.Linear(inner_dim, dim, bias=out_bias)])
        self.set_processor(self._default_processor_cls())

    def forward(
        self,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        added_hidden_states: torch.Tensor | None = None,
    ) -> torch.Tensor:
        return self.processor(self, hidden_states, encoder_hidden_states, added_hidden_states)


class ResamplerLayer(nn.Module):
    """Latents attend to the keypoints and to themselves, then pass an MLP."""

    def __init__(self, dim: int, heads: int, head_dim: int):
        super().__init__()
        self.norm_keypoints = nn.LayerNorm(dim)
        self.norm_latents = nn.LayerNorm(dim)
        self.attention = ReferenceAttention(dim, heads, head_dim, null_token=False, normalized=True, out_bias=False)
        self.norm_attention = nn.LayerNorm(dim)
        self.norm_in = nn.LayerNorm(dim)
        self.linear_in = nn.Linear(dim, 4 * dim, bias=False)
        self.norm_out = nn.LayerNorm(4 * dim)
        self.linear_out = nn.Linear(4 * dim, dim, bias=False)

    def forward(self, keypoints: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        normalized = self.norm_latents(latents)  # (B, T, E)
        source = torch.cat([self.norm_keypoints(keypoints), normalized], dim=1)  # (B, 18 + T, E)
        latents = latents + self.norm_attention(self.attention(normalized, source))
        hidden_states = F.gelu(self.linear_in(self.norm_in(latents)))  # (B, T, 4E)
        return latents + self.linear_out(self.norm_out(hidden_states))


class PoseEmbedding(nn.Module):
    """A Perceiver resampler over the keypoints, its tokens and their mean as a vector; both have a learned null."""

    def __init__(
        self,
        context_dim: int,
        vector_dim: int,
        num_layers: int,
        heads: int,
        head_dim: int,
        num_latents: int,
        num_pooled_latents: int,
    ):
        super().__init__()
        self.num_pooled_latents = num_pooled_latents
        num_tokens = num_pooled_latents + num_latents
        self.keypoint_proj = nn.Linear(2, context_dim)
        self.position_embedding = nn.Parameter(torch.randn(NUM_KEYPOINTS, context_dim) * 0.02)
        self.norm_pooled = nn.LayerNorm(context_dim, bias=False)
        self.pooled_proj = nn.Linear(context_dim, num_pooled_latents * context_dim)
        self.latents = nn.Parameter(torch.randn(num_latents, context_dim) * 0.02)
        self.layers = nn.ModuleList([ResamplerLayer(context_dim, heads, head_dim) for _ in range(num_layers)])
        self.norm_vector = nn.LayerNorm(context_dim)
        self.linear_1 = nn.Linear(context_dim, vector_dim)
        self.linear_2 = nn.Linear(vector_dim, vector_dim)
        self.null_vector = nn.Parameter(torch.randn(vector_dim) * 0.02)
        self.null_tokens = nn.Parameter(torch.randn(num_tokens, context_dim) * 0.02)

    def forward(self, pose: torch.Tensor, keep: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        keypoints = self.keypoint_proj(pose[..., :2])  # (B, 18, E)
        pooled = self.pooled_proj(self.norm_pooled(keypoints.mean(dim=1)))  # (B, P * E)
        pooled = pooled.unflatten(1, (self.num_pooled_latents, -1))  # (B, P, E)
        tokens = torch.cat([pooled, self.latents.to(pooled.dtype).expand(pose.shape[0], -1, -1)], dim=1)  # (B, T, E)
        keypoints = keypoints + self.position_embedding
        for layer in self.layers:
            tokens = layer(keypoints, tokens)
        vector = self.linear_2(F.silu(self.linear_1(self.norm_vector(tokens.mean(dim=1)))))  # (B, V)
        vector = torch.where(keep, vector, self.null_vector)
        tokens = torch.where(keep[:, :, None], tokens, self.null_tokens)
        return tokens, vector  # (B, T, E), (B, V)


# Layers of the streams


class AdaGroupNorm(nn.Module):
    """GroupNorm, then scale and shift from the conditioning vector."""

    def __init__(self, channels: int, vector_dim: int):
        super().__init__()
        self.norm = nn.GroupNorm(min(32, channels // 4), channels)
        self.linear = nn.Linear(vector_dim, 2 * channels)

    def forward(self, hidden_states: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
        scale, shift = self.linear(F.silu(vector))[:, :, None, None].chunk(2, dim=1)  # (B, C, 1, 1) each
        return self.norm(hidden_states) * (1 + scale) + shift  # (B, C, h, w)


class GlobalContextGate(nn.Module):
    """One gate per channel from an attention-weighted mean over the picture."""

    def __init__(self, channels: int):
        super().__init__()
        hidden_channels = max(3, channels // 2)
        self.to_logits = nn.Conv2d(channels, 1, 1)
        self.conv_1 = nn.Conv2d(channels, hidden_channels, 1)
        self.conv_2 = nn.Conv2d(hidden_channels, channels, 1)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        weights = self.to_logits(hidden_states).flatten(2).softmax(dim=2)  # (B, 1, hw)
        pooled = hidden_states.flatten(2) @ weights.transpose(1, 2)  # (B, C, 1)
        return self.conv_2(F.silu(self.conv_1(pooled[..., None]))).sigmoid()  # (B, C, 1, 1)


class ReferenceResidualBlock(nn.Module):
    """Norm, SiLU, conv, twice, gated; with a convolution on the skip where widths differ.

    Both norms see the conditioning vector, except in the network's last residual block, where the first is plain.
    """

    def __init__(self, in_channels: int, out_channels: int, vector_dim: int, plain_first_norm: bool = False):
        super().__init__()
        self.plain_first_norm = plain_first_norm
        if plain_first_norm:
            self.norm1 = nn.GroupNorm(min(32, in_channels // 4), in_channels)
        else:
            self.norm1 = AdaGroupNorm(in_channels, vector_dim)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = AdaGroupNorm(out_channels, vector_dim)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.gate = GlobalContextGate(out_channels)
        self.conv_shortcut = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else None

    def forward(self, hidden_states: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
        residual = hidden_states if self.conv_shortcut is None else self.conv_shortcut(hidden_states)
        hidden_states = self.norm1(hidden_states) if self.plain_first_norm else self.norm1(hidden_states, vector)
        hidden_states = self.conv1(F.silu(hidden_states))  # (B, C_out, h, w)
        hidden_states = self.conv2(F.silu(self.norm2(hidden_states, vector)))  # (B, C_out, h, w)
        return residual + hidden_states * self.gate(hidden_states)


class ReferenceBlock(nn.Module):
    """The one block of both streams and both directions: a residual block, and in the person stream at attention
    levels a self-attention that also reads the pose tokens, then a cross-attention to the garment's features.

    Attention replaces the trunk by its normalisation, `attention(norm(x)) + norm(x)`, and its tokens are patches.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        vector_dim: int,
        heads: int | None = None,
        head_dim: int | None = None,
        patch_size: int | None = None,
        context_dim: int | None = None,
    ):
        super().__init__()
        self.residual_block = ReferenceResidualBlock(in_channels, out_channels, vector_dim)
        self.has_attention = heads is not None
        if self.has_attention:
            self.patch_size = patch_size
            token_dim = out_channels * patch_size**2
            self.norm_self = AdaGroupNorm(out_channels, vector_dim)
            self.self_attention = ReferenceAttention(token_dim, heads, head_dim, added_dim=context_dim)
            self.norm_cross = AdaGroupNorm(out_channels, vector_dim)
            self.norm_garment = AdaGroupNorm(out_channels, vector_dim)
            self.cross_attention = ReferenceAttention(token_dim, heads, head_dim)

    def forward(
        self,
        hidden_states: torch.Tensor,
        vector: torch.Tensor,
        skip: torch.Tensor | None = None,
        context: torch.Tensor | None = None,
        garment_feature: torch.Tensor | None = None,
        keep_garment: torch.Tensor | None = None,
    ) -> torch.Tensor:
        # Joined in here because blocks may lie on different devices, and a block's inputs are moved to its own.
        if skip is not None:
            hidden_states = torch.cat([hidden_states, skip], dim=1)  # (B, 2C, h, w)
        hidden_states = self.residual_block(hidden_states, vector)  # (B, C, h, w)
        if self.has_attention:
            hidden_states = self.norm_self(hidden_states, vector)
            tokens = self._to_tokens(hidden_states)  # (B, hw / pp, Cpp)
            tokens = self.self_attention(tokens, tokens, context)
            hidden_states = hidden_states + self._to_map(tokens, hidden_states)

            hidden_states = self.norm_cross(hidden_states, vector)
            tokens = self._to_tokens(hidden_states)  # (B, hw / pp, Cpp)
            # A dropped garment is zero here, behind the norm, and stays in the softmax as zero keys.
            garment_feature = self.norm_garment(garment_feature, vector) * keep_garment[:, :, None, None]
            tokens = self.cross_attention(tokens, self._to_tokens(garment_feature))
            hidden_states = hidden_states + self._to_map(tokens, hidden_states)
        return hidden_states

    def _to_tokens(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return F.pixel_unshuffle(hidden_states, self.patch_size).flatten(2).transpose(1, 2)

    def _to_map(self, tokens: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        height, width = like.shape[-2] // self.patch_size, like.shape[-1] // self.patch_size
        return F.pixel_shuffle(tokens.transpose(1, 2).unflatten(2, (height, width)), self.patch_size)


class Downsample(nn.Module):
    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv = nn.Conv2d(4 * in_channels, out_channels, 1)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.conv(F.pixel_unshuffle(hidden_states, 2))  # (B, C_out, h / 2, w / 2)


class ParallelConv(nn.Module):
    """The end of the coarsest level: the sum of two convolutions, at the same size."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv_3 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_1 = nn.Conv2d(channels, channels, 1)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.conv_3(hidden_states) + self.conv_1(hidden_states)  # (B, C, h, w)


class Upsample(nn.Module):
    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 4 * out_channels, 1)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return F.pixel_shuffle(F.silu(self.conv(hidden_states)), 2)  # (B, C_out, 2h, 2w)


# The network


class ReferenceParallelUNetModel(ModelMixin, ConfigMixin, AttentionMixin, PeftAdapterMixin, ParallelUNetInputsMixin):
    r"""
    The Parallel-UNet as the reference reimplementation computes it, for weights that were trained with it
    (`diffusers_tryon.conversion`) and for comparisons. It departs from the paper (arXiv 2306.08276) in many places:
    it is told log-SNRs instead of timesteps, pools poses with a Perceiver resampler, attends over patches, replaces
    the trunk by its normalisation at every attention, gates its residual blocks and ends with one more of them.
    `ParallelUNetModel` is the network to train.

    Poses are read without their visibilities. There is no state of its own for a garment laid flat: a garment pose
    that is `None` or has no visible point is a dropped garment pose, which is learned.

    Args:
        sample_size (`int` or `tuple[int, int]`, defaults to 128): trained size in pixels, or (height, width). It sets
            the size of the attention's patches. Other sizes work if both sides are multiples of `size_divisor`.
        block_out_channels (`tuple[int]`): width of each level, finest first.
        layers_per_block (`tuple[int]`): blocks per level, in each direction, of each stream.
        attention_levels (`tuple[bool]`): levels with self- and cross-attention; the coarsest ones, without a gap.
        num_attention_heads (`tuple[int | None]`): attention heads per level; not read at levels without attention.
        attention_head_dim (`tuple[int | None]`): channels per head and level; not read at levels without attention.
        context_dim (`int`, defaults to 512): width of the pose tokens.
        conditioning_dim (`int`, defaults to 512): width of the vector behind the adaptive norms.
        pose_num_layers (`int`, defaults to 2): layers of each pose's resampler.
        pose_num_attention_heads (`int`, defaults to 8): its attention heads.
        pose_attention_head_dim (`int`, defaults to 64): channels per head of it.
        pose_num_latents (`int`, defaults to 18): its learned latents.
        pose_num_pooled_latents (`int`, defaults to 4): its latents that come from the mean of the keypoints.
        low_res_conditioning (`bool`, defaults to `False`): whether the network is a super-resolution stage.
        garment_time_conditioning (`bool`, defaults to `True`): the garment stream sees the timestep and the person's
            pose; this network knows nothing else, the field is here for code that handles both networks.
    """

    _supports_gradient_checkpointing = True
    _no_split_modules = ["ReferenceBlock", "PoseEmbedding", "LogSNREmbedding"]
    _repeated_blocks = ["ReferenceBlock"]
    _keep_in_fp32_modules = ["frequencies"]
    _skip_layerwise_casting_patterns = ["norm", "conv_in", "conv_out", "embedding"]
    low_res_interpolation = "nearest"

    @register_to_config
    def __init__(
        self,
        sample_size: int | tuple[int, int] = 128,
        block_out_channels: tuple[int, ...] = (128, 256, 512, 1024),
        layers_per_block: tuple[int, ...] = (3, 4, 6, 7),
        attention_levels: tuple[bool, ...] = (False, False, True, True),
        num_attention_heads: tuple[int | None, ...] = (None, None, 4, 8),
        attention_head_dim: tuple[int | None, ...] = (None, None, 128, 64),
        context_dim: int = 512,
        conditioning_dim: int = 512,
        pose_num_layers: int = 2,
        pose_num_attention_heads: int = 8,
        pose_attention_head_dim: int = 64,
        pose_num_latents: int = 18,
        pose_num_pooled_latents: int = 4,
        low_res_conditioning: bool = False,
        garment_time_conditioning: bool = True,
    ):
        super().__init__()
        self._check_config()
        num_levels = len(block_out_channels)
        first_channels, last_channels = block_out_channels[0], block_out_channels[-1]
        self.first_attention_level = list(attention_levels).index(True)

        # 1. conditioning vector and pose tokens
        self.time_embedding = LogSNREmbedding(conditioning_dim)
        self.agnostic_noise_embedding = LogSNREmbedding(conditioning_dim)
        self.garment_noise_embedding = LogSNREmbedding(conditioning_dim)
        self.low_res_noise_embedding = LogSNREmbedding(conditioning_dim) if low_res_conditioning else None
        resampler = {
            "num_layers": pose_num_layers,
            "heads": pose_num_attention_heads,
            "head_dim": pose_attention_head_dim,
            "num_latents": pose_num_latents,
            "num_pooled_latents": pose_num_pooled_latents,
        }
        self.person_pose_embedding = PoseEmbedding(context_dim, conditioning_dim, **resampler)
        self.garment_pose_embedding = PoseEmbedding(context_dim, conditioning_dim, **resampler)
        self.norm_context = nn.LayerNorm(context_dim)

        # 2. inputs
        num_person_images = 3 if low_res_conditioning else 2
        self.conv_in = nn.Conv2d(3 * num_person_images, first_channels, 3, padding=1)
        self.garment_conv_in = nn.Conv2d(3, first_channels, 3, padding=1)

        def blocks(level: int, in_channels: int, garment: bool) -> nn.ModuleList:
            attention = {}
            if attention_levels[level] and not garment:
                attention = {
                    "heads": num_attention_heads[level],
                    "head_dim": attention_head_dim[level],
                    "patch_size": self._patch_size(level),
                    "context_dim": context_dim,
                }
            channels = block_out_channels[level]
            return nn.ModuleList(
                [
                    ReferenceBlock(in_channels, channels, conditioning_dim, **attention)
                    for _ in range(layers_per_block[level])
                ]
            )

        # 3. down, finest level first
        self.down_blocks, self.garment_down_blocks = nn.ModuleList(), nn.ModuleList()
        self.downsamplers, self.garment_downsamplers = nn.ModuleList(), nn.ModuleList()
        for level, channels in enumerate(block_out_channels):
            self.down_blocks.append(blocks(level, channels, garment=False))
            self.garment_down_blocks.append(blocks(level, channels, garment=True))
            for downsamplers in (self.downsamplers, self.garment_downsamplers):
                if level < num_levels - 1:
                    downsamplers.append(Downsample(channels, block_out_channels[level + 1]))
                else:
                    downsamplers.append(ParallelConv(last_channels))

        # 4. up, coarsest level first; the garment stream stops at the finest level whose features are read
        self.up_blocks, self.garment_up_blocks = nn.ModuleList(), nn.ModuleList()
        self.upsamplers, self.garment_upsamplers = nn.ModuleList(), nn.ModuleList()
        for level in reversed(range(num_levels)):
            channels = block_out_channels[level]
            self.up_blocks.append(blocks(level, 2 * channels, garment=False))
            if level > 0:
                self.upsamplers.append(Upsample(channels, block_out_channels[level - 1]))
            if level >= self.first_attention_level:
                self.garment_up_blocks.append(blocks(level, 2 * channels, garment=True))
                if level > 0:
                    self.garment_upsamplers.append(Upsample(channels, block_out_channels[level - 1]))
        if self.first_attention_level > 0:
            # The checkpoints hold this layer, but nothing reads what it computes: distributed training must not wait
            # for its gradient.
            self.garment_upsamplers[-1].requires_grad_(False)

        # 5. output
        self.block_out = ReferenceResidualBlock(
            first_channels, first_channels, conditioning_dim, plain_first_norm=True
        )
        self.conv_out = nn.Conv2d(first_channels + (3 if low_res_conditioning else 0), 3, 3, padding=1)

        self.gradient_checkpointing = False

    def _check_config(self) -> None:
        config = self.config
        num_levels = len(config.block_out_channels)
        for name in ("layers_per_block", "attention_levels", "num_attention_heads", "attention_head_dim"):
            if len(config[name]) != num_levels:
                raise ValueError(
                    f"`{name}` must have one entry per level ({num_levels}, from `block_out_channels`), got {config[name]}."
                )
        levels = [bool(has_attention) for has_attention in config.attention_levels]
        if not levels[-1] or levels != sorted(levels):
            raise ValueError(
                f"`attention_levels` must be True for the coarsest levels, without a gap, got {config.attention_levels}."
            )
        for name in ("num_attention_heads", "attention_head_dim"):
            if any(has_attention and not value for has_attention, value in zip(levels, config[name], strict=True)):
                raise ValueError(f"`{name}` must be set at every level of `attention_levels`, got {config[name]}.")
        if not config.garment_time_conditioning:
            raise ValueError(
                "`garment_time_conditioning` must be True: this network's garment stream always sees the timestep."
            )

    def _patch_size(self, level: int) -> int:
        sample_size = self.config.sample_size
        longer_side = sample_size if isinstance(sample_size, int) else max(sample_size)
        return max(1, round(longer_side // 2**level / TOKENS_PER_SIDE))

    def compile_repeated_blocks(self, *args, **kwargs) -> None:
        """As in `ModelMixin`. Blocks differ in width and resolution: more graphs than Dynamo's default limit of 8."""
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 64)
        super().compile_repeated_blocks(*args, **kwargs)

    @property
    def size_divisor(self) -> int:
        """Height and width of the sample must be multiples of this."""
        levels = range(len(self.config.block_out_channels))
        patches = [2**level * self._patch_size(level) for level in levels if self.config.attention_levels[level]]
        return math.lcm(2 ** levels[-1], *patches)

    @apply_forward_hook
    def encode_garment(
        self,
        garment_image: torch.Tensor,
        garment_pose: torch.Tensor | None = None,
        garment_noise_level: torch.Tensor | None = None,
        *,
        timestep: torch.Tensor | None = None,
        person_pose: torch.Tensor | None = None,
        agnostic_noise_level: torch.Tensor | None = None,
        low_res_noise_level: torch.Tensor | None = None,
        conditioning_mask: torch.Tensor | None = None,
    ) -> GarmentFeatures:
        r"""
        Run the garment stream. Its features hold for one timestep and one person.

        Args:
            garment_image (`torch.Tensor`): (B, 3, height, width) in [-1, 1], the garment cut out on white.
            garment_pose (`torch.Tensor`, *optional*): (B, 18, 3), x, y and visibility in [0, 1]; `None` or a row
                without visible points is dropped.
            garment_noise_level (`torch.Tensor`, *optional*): scalar or (B,), 0 to 999, of the noise already in
                `garment_image`; `None` means none.
            timestep, person_pose (`torch.Tensor`): as in `forward`.
            agnostic_noise_level, low_res_noise_level, conditioning_mask (`torch.Tensor`, *optional*): as in `forward`.

        Returns:
            [`GarmentFeatures`]
        """
        if timestep is None or person_pose is None:
            raise ValueError(
                "`encode_garment` needs `timestep` and `person_pose`: this network's garment stream sees both."
            )
        batch_size = garment_image.shape[0]
        self._check_size("garment_image", garment_image)
        self._check_image("garment_image", garment_image, batch_size, garment_image.shape[-2:])
        self._check_pose("person_pose", person_pose, batch_size)
        self._check_pose("garment_pose", garment_pose, batch_size)
        conditions = self._embed_conditions(
            person_pose,
            garment_pose,
            agnostic_noise_level,
            garment_noise_level,
            low_res_noise_level,
            self._expand_mask(conditioning_mask, batch_size, garment_image.device),
            garment_image.dtype,
        )
        vector = conditions.vector + self._embed_timestep(timestep, conditions.vector)
        return self._run_garment_stream(garment_image, vector)

    @apply_forward_hook
    def encode_conditions(
        self,
        person_pose: torch.Tensor,
        garment_pose: torch.Tensor | None = None,
        agnostic_noise_level: torch.Tensor | None = None,
        garment_noise_level: torch.Tensor | None = None,
        low_res_noise_level: torch.Tensor | None = None,
        conditioning_mask: torch.Tensor | None = None,
        dtype: torch.dtype | None = None,
    ) -> EncodedConditions:
        r"""
        Embed what the network is told beside images and timestep: once for all steps.

        Args:
            person_pose, garment_pose, agnostic_noise_level, garment_noise_level, low_res_noise_level,
                conditioning_mask: as in `forward`. The time and the low-resolution level are never dropped.
            dtype (`torch.dtype`, *optional*): of the pictures that `forward` will get; the network's if not given.

        Returns:
            [`EncodedConditions`]
        """
        self._check_pose("person_pose", person_pose, person_pose.shape[0])
        self._check_pose("garment_pose", garment_pose, person_pose.shape[0])
        return self._embed_conditions(
            person_pose,
            garment_pose,
            agnostic_noise_level,
            garment_noise_level,
            low_res_noise_level,
            self._expand_mask(conditioning_mask, person_pose.shape[0], person_pose.device),
            dtype or self.dtype,
        )

    def null_features(self, garment_features: GarmentFeatures) -> GarmentFeatures:
        """The features of a dropped garment, in place of `garment_features`: zeros, among which a query can still
        choose the learned null key."""
        return GarmentFeatures(*(tuple(map(torch.zeros_like, features)) for features in garment_features))

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        agnostic_image: torch.Tensor,
        garment_image: torch.Tensor | None = None,
        person_pose: torch.Tensor | None = None,
        garment_pose: torch.Tensor | None = None,
        low_res_image: torch.Tensor | None = None,
        agnostic_noise_level: torch.Tensor | None = None,
        garment_noise_level: torch.Tensor | None = None,
        low_res_noise_level: torch.Tensor | None = None,
        conditioning_mask: torch.Tensor | None = None,
        garment_features: GarmentFeatures | None = None,
        encoded_conditions: EncodedConditions | None = None,
        person_features: PersonFeatures | None = None,
        return_person_features: bool = False,
        return_dict: bool = True,
    ) -> ParallelUNetOutput | tuple[torch.Tensor] | tuple[torch.Tensor, PersonFeatures]:
        r"""
        Predict the noise, velocity or clean picture (as trained) of a noisy one.

        Args:
            sample (`torch.Tensor`): (B, 3, height, width), the noisy picture z_t.
            timestep (`torch.Tensor`): scalar or (B,), Diffusers timesteps 0 to 999, fractions allowed: 1000 times the
                reference's continuous time, from which the network takes the log-SNR of its cosine law.
            agnostic_image (`torch.Tensor`): (B, 3, height, width) in [-1, 1], the person without the garment.
            garment_image (`torch.Tensor`, *optional*): (B, 3, height, width) in [-1, 1], the garment on white. Either
                this or `garment_features`.
            person_pose (`torch.Tensor`, *optional*): (B, 18, 3), x, y and visibility in [0, 1], OpenPose order; the
                visibility is not read. Either this or `encoded_conditions`.
            garment_pose (`torch.Tensor`, *optional*): (B, 18, 3); `None` or a row without visible points is dropped.
            low_res_image (`torch.Tensor`, *optional*): (B, 3, height, width), the previous stage's picture in
                [-1, 1], already upsampled (nearest) and noised; required by and only for networks with
                `low_res_conditioning`.
            agnostic_noise_level, garment_noise_level, low_res_noise_level (`torch.Tensor`, *optional*): scalar or
                (B,), 0 to 999, of the noise already added to that image by the linear law; `None` means none and
                embeds as level 0.
            conditioning_mask (`torch.Tensor`, *optional*): bool, (B,) or (B, 4) with columns agnostic image, garment,
                person pose, garment pose; `False` drops the condition. `None` keeps all.
            garment_features ([`GarmentFeatures`], *optional*): from `encode_garment` at the same timestep, in place
                of `garment_image`.
            encoded_conditions ([`EncodedConditions`], *optional*): from `encode_conditions` with the same
                `conditioning_mask`, in place of the poses and noise levels; goes with `garment_features`.
            person_features ([`PersonFeatures`], *optional*): of another timestep, in place of the way down: an
                approximation, for which neither the noisy picture nor the agnostic image is looked at.
            return_person_features (`bool`, defaults to `False`): whether to return the [`PersonFeatures`] as well.
            return_dict (`bool`, defaults to `True`): whether to return a [`ParallelUNetOutput`] or a tuple.

        Returns:
            [`ParallelUNetOutput`] or `tuple`: the prediction, (B, 3, height, width), and what else was asked for.
        """
        self._check_inputs(
            sample,
            agnostic_image,
            garment_image,
            person_pose,
            garment_pose,
            low_res_image,
            garment_features,
            encoded_conditions,
        )
        keep = self._expand_mask(conditioning_mask, sample.shape[0], sample.device)  # 4 x (B, 1)
        if encoded_conditions is None:
            encoded_conditions = self._embed_conditions(
                person_pose,
                garment_pose,
                agnostic_noise_level,
                garment_noise_level,
                low_res_noise_level,
                keep,
                sample.dtype,
            )
        vector, context = encoded_conditions.vector, encoded_conditions.pose_tokens  # (B, V), (B, 2T, E)
        vector = vector + self._embed_timestep(timestep, vector)
        if garment_features is None:
            garment_features = self._run_garment_stream(garment_image, vector)
        if person_features is None:
            images = [agnostic_image * keep[0][:, :, None, None], sample]
            images += [low_res_image] if self.config.low_res_conditioning else []
            person_features = self._run_down(images, vector, context, garment_features.down, keep[1])

        hidden_states, skips = person_features.hidden_states, list(person_features.skips)
        up_features = list(garment_features.up)
        for index, blocks in enumerate(self.up_blocks):
            for block in blocks:
                garment_feature = up_features.pop(0) if block.has_attention else None
                hidden_states = self._run_block(
                    block, hidden_states, vector, skips.pop(), context, garment_feature, keep[1]
                )  # (B, C_l, h, w)
            if index < len(self.upsamplers):
                hidden_states = self.upsamplers[index](hidden_states)  # (B, C_l-1, 2h, 2w)

        hidden_states = self._run_block(self.block_out, hidden_states, vector)  # (B, C_0, H, W)
        if self.config.low_res_conditioning:
            low_res_image = low_res_image.to(hidden_states.device)
            hidden_states = torch.cat([hidden_states, low_res_image], dim=1)  # (B, C_0 + 3, H, W)
        output = self.conv_out(hidden_states)  # (B, 3, H, W)
        if not return_dict:
            return (output, person_features) if return_person_features else (output,)
        return ParallelUNetOutput(sample=output, person_features=person_features if return_person_features else None)

    def _run_down(
        self,
        images: list[torch.Tensor],
        vector: torch.Tensor,
        context: torch.Tensor,
        garment_features: tuple[torch.Tensor, ...],
        keep_garment: torch.Tensor,
    ) -> PersonFeatures:
        """The way down of the person stream, from (B, 3, H, W) each."""
        hidden_states = self.conv_in(torch.cat(images, dim=1))  # (B, C_0, H, W)
        down_features = list(garment_features)
        skips = []
        for blocks, downsampler in zip(self.down_blocks, self.downsamplers, strict=True):
            for block in blocks:
                feature = down_features.pop(0) if block.has_attention else None
                hidden_states = self._run_block(block, hidden_states, vector, None, context, feature, keep_garment)
                skips.append(hidden_states * 2**-0.5)  # (B, C_l, h, w)
            hidden_states = downsampler(hidden_states)  # (B, C_l+1, h / 2, w / 2); the same size behind the coarsest
        return PersonFeatures(hidden_states, tuple(skips))

    def _run_garment_stream(self, garment_image: torch.Tensor, vector: torch.Tensor) -> GarmentFeatures:
        hidden_states = self.garment_conv_in(garment_image)  # (B, C_0, H, W)
        down_features, up_features = [], []
        for level, blocks in enumerate(self.garment_down_blocks):
            for block in blocks:
                hidden_states = self._run_block(block, hidden_states, vector)  # (B, C_l, h, w)
                if level >= self.first_attention_level:
                    down_features.append(hidden_states)
            hidden_states = self.garment_downsamplers[level](hidden_states)
        skips = [feature * 2**-0.5 for feature in down_features]
        for index, blocks in enumerate(self.garment_up_blocks):
            for block in blocks:
                hidden_states = self._run_block(block, hidden_states, vector, skips.pop())  # (B, C_l, h, w)
                up_features.append(hidden_states)
            if index < len(self.garment_up_blocks) - 1:
                hidden_states = self.garment_upsamplers[index](hidden_states)
        return GarmentFeatures(tuple(down_features), tuple(up_features))

    def _run_block(self, block: nn.Module, *args: torch.Tensor | None) -> torch.Tensor:
        if torch.is_grad_enabled() and self.gradient_checkpointing:
            return self._gradient_checkpointing_func(block, *args)
        return block(*args)

    def _embed_timestep(self, timestep: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
        """What is added to a conditioning vector, (B, V)."""
        self._check_level("timestep", timestep, vector.shape[0])
        return self.time_embedding(cosine_log_snr(expand_level(timestep, vector)), vector.dtype)

    def _embed_conditions(
        self,
        person_pose: torch.Tensor,
        garment_pose: torch.Tensor | None,
        agnostic_noise_level: torch.Tensor | None,
        garment_noise_level: torch.Tensor | None,
        low_res_noise_level: torch.Tensor | None,
        keep: tuple[torch.Tensor, ...],
        dtype: torch.dtype,
    ) -> EncodedConditions:
        keep_agnostic, keep_garment, keep_person_pose, keep_garment_pose = keep
        if garment_pose is None:
            garment_pose = torch.zeros_like(person_pose)
        keep_garment_pose = keep_garment_pose & (garment_pose[..., 2] > 0).any(dim=1, keepdim=True)
        person_tokens, person_vector = self.person_pose_embedding(person_pose.to(dtype), keep_person_pose)
        garment_tokens, garment_vector = self.garment_pose_embedding(garment_pose.to(dtype), keep_garment_pose)
        context = self.norm_context(torch.cat([person_tokens, garment_tokens], dim=1))

        levels = {
            "agnostic_noise_level": agnostic_noise_level,
            "garment_noise_level": garment_noise_level,
            "low_res_noise_level": low_res_noise_level,
        }
        for name, level in levels.items():
            self._check_level(name, level, person_pose.shape[0])
        log_snrs = {name: linear_log_snr(expand_level(level, person_pose)) for name, level in levels.items()}
        agnostic = self.agnostic_noise_embedding(log_snrs["agnostic_noise_level"], dtype)
        garment = self.garment_noise_embedding(log_snrs["garment_noise_level"], dtype)
        vector = agnostic * keep_agnostic + garment * keep_garment
        if self.config.low_res_conditioning:
            vector = vector + self.low_res_noise_embedding(log_snrs["low_res_noise_level"], dtype)
        return EncodedConditions(vector + person_vector + garment_vector, context)
