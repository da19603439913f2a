# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The Parallel-UNet of TryOnDiffusion (arXiv 2306.08276): a person stream that attends to a garment stream."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.loaders import PeftAdapterMixin
from diffusers.models.attention import AttentionMixin, AttentionModuleMixin
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils import BaseOutput
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import nn
from torch.utils._pytree import _register_namedtuple

from diffusers_tryon.models.inputs import ParallelUNetInputsMixin, expand_level
from diffusers_tryon.poses import NUM_KEYPOINTS


class GarmentFeatures(NamedTuple):
    """Feature maps of the garment stream that the person stream's cross-attentions read.

    Attributes:
        down (`tuple[torch.Tensor | None, ...]`): one (B, C, h, w) map per person down block with cross-attention, in
            order. `None` stands for a map of zeros, a dropped garment, in all rows.
        up (`tuple[torch.Tensor | None, ...]`): the same for the up path, in the order in which they are used.
    """

    down: tuple[torch.Tensor | None, ...]
    up: tuple[torch.Tensor | None, ...]

    def masked(self, keep: torch.Tensor) -> "GarmentFeatures":
        """Zero the rows in which `keep`, bool (B, 1), is False."""
        keep = keep[:, :, None, None]
        return GarmentFeatures(
            tuple(None if feature is None else feature * keep.to(feature.device) for feature in self.down),
            tuple(None if feature is None else feature * keep.to(feature.device) for feature in self.up),
        )


class EncodedConditions(NamedTuple):
    """Poses and noise levels as the blocks read them: all of the conditioning that is the same at every timestep.

    Attributes:
        vector (`torch.Tensor`): (B, V), to which the timestep's embedding is added.
        pose_tokens (`torch.Tensor`): (B, T, E).
        person_pose (`torch.Tensor`, *optional*): (B, 18, 3), for networks that see poses as maps too; the points of
            dropped poses have visibility 0.
    """

    vector: torch.Tensor
    pose_tokens: torch.Tensor
    person_pose: torch.Tensor | None = None


class PersonFeatures(NamedTuple):
    """What the person stream's way down leaves for its way up.

    Attributes:
        hidden_states (`torch.Tensor`): (B, C, h, w) of the coarsest level.
        skips (`tuple[torch.Tensor, ...]`): one (B, C, h, w) map per down block, in order.
    """

    hidden_states: torch.Tensor
    skips: tuple[torch.Tensor, ...]


# Programs from `torch.export` that take or return these can then be saved, and loaded without unsafe pickles.
for _features in (GarmentFeatures, EncodedConditions, PersonFeatures):
    _register_namedtuple(_features, serialized_type_name=f"diffusers_tryon.{_features.__name__}")
    torch.serialization.add_safe_globals([_features])


@dataclass
class ParallelUNetOutput(BaseOutput):
    """
    Args:
        sample (`torch.Tensor`): (B, 3, height, width), the prediction (noise, velocity or clean image, as trained).
        person_features ([`PersonFeatures`], *optional*): of the way down, if asked for.
    """

    sample: torch.Tensor
    person_features: PersonFeatures | None = None


# Embeddings of the poses, the timestep and the noise levels


class AttentionProcessor:
    """Scaled dot-product attention through Diffusers' back end dispatch."""

    _attention_backend = None
    _parallel_config = None

    def __call__(
        self,
        attention: "Attention",
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        added_hidden_states: torch.Tensor | None = None,
    ) -> torch.Tensor:
        query = attention.to_q(hidden_states).unflatten(2, (attention.heads, -1))  # (B, L, H, D)
        key = attention.to_k(encoder_hidden_states)  # (B, S, C)
        value = attention.to_v(encoder_hidden_states)  # (B, S, C)
        if added_hidden_states is not None:
            key = torch.cat([key, attention.add_k_proj(added_hidden_states)], dim=1)  # (B, S + A, C)
            value = torch.cat([value, attention.add_v_proj(added_hidden_states)], dim=1)  # (B, S + A, C)
        key = key.unflatten(2, (attention.heads, -1))  # (B, S + A, H, D)
        value = value.unflatten(2, (attention.heads, -1))  # (B, S + A, H, D)
        hidden_states = self.attend(query, key, value)  # (B, L, H, D)
        return attention.to_out[0](hidden_states.flatten(2))  # (B, L, C)

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float | None = None
    ) -> torch.Tensor:
        return dispatch_attention_fn(
            query,
            key,
            value,
            attn_mask=None,
            scale=scale,
            backend=self._attention_backend,
            parallel_config=self._parallel_config,
        )


class Attention(nn.Module, AttentionModuleMixin):
    """Multi-head attention over tokens, optionally with further keys and values of another width."""

    _default_processor_cls = AttentionProcessor
    _available_processors = [AttentionProcessor]
    _supports_qkv_fusion = False

    def __init__(self, dim: int, head_dim: int, added_dim: int | None = None):
        super().__init__()
        self.heads = dim // head_dim
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_k = nn.Linear(dim, dim, bias=False)
        self.to_v = nn.Linear(dim, dim, bias=False)
        if added_dim is not None:
            self.add_k_proj = nn.Linear(added_dim, dim, bias=False)
            self.add_v_proj = nn.Linear(added_dim, dim, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(dim, dim)])
        self.set_processor(self._default_processor_cls())

    def forward(
        self,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        added_hidden_states: torch.Tensor | None = None,
    ) -> torch.Tensor:
        return self.processor(self, hidden_states, encoder_hidden_states, added_hidden_states)


class PoseEmbedding(nn.Module):
    """One token per keypoint, and their CLIP-style attention pooling into the conditioning vector.

    A missing point is a learned token of its own kind. A pose without any point is, if `flat_state` is set, a
    garment laid flat, which is learned too and differs from a dropped condition (that one is zero).
    """

    def __init__(self, embed_dim: int, vector_dim: int, head_dim: int, flat_state: bool):
        super().__init__()
        self.linear_1 = nn.Linear(2, embed_dim)
        self.linear_2 = nn.Linear(embed_dim, embed_dim)
        self.keypoint_embedding = nn.Parameter(torch.randn(NUM_KEYPOINTS, embed_dim) * 0.02)
        self.missing_embedding = nn.Parameter(torch.randn(embed_dim) * 0.02)
        self.flat_embedding = nn.Parameter(torch.randn(embed_dim) * 0.02) if flat_state else None
        self.pool = Attention(embed_dim, head_dim)
        self.to_vector = nn.Linear(embed_dim, vector_dim)

    def forward(self, pose: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        visibility = pose[..., 2:]  # (B, 18, 1)
        tokens = self.linear_2(F.silu(self.linear_1(pose[..., :2])))  # (B, 18, E)
        missing = self.missing_embedding.expand_as(tokens)  # (B, 18, E)
        if self.flat_embedding is not None:
            is_flat = (visibility == 0).all(dim=1, keepdim=True)  # (B, 1, 1)
            missing = torch.where(is_flat, self.flat_embedding, missing)
        tokens = visibility * tokens + (1 - visibility) * missing + self.keypoint_embedding  # (B, 18, E)

        mean = tokens.mean(dim=1, keepdim=True)  # (B, 1, E)
        pooled = self.pool(mean, torch.cat([mean, tokens], dim=1))  # (B, 1, E)
        return tokens, self.to_vector(pooled[:, 0])  # (B, 18, E), (B, V)


def draw_pose_maps(pose: torch.Tensor, height: int, width: int, dtype: torch.dtype) -> torch.Tensor:
    """Keypoints as pictures: a Gaussian around each, a sixteenth of the picture wide; nothing for missing points.

    From (B, 18, 3) to (B, 18, height, width) in [0, 1].
    """
    pose = pose.float()  # bfloat16 would move points by a pixel
    centres_x = (torch.arange(width, device=pose.device) + 0.5) / width  # (w,)
    centres_y = (torch.arange(height, device=pose.device) + 0.5) / height  # (h,)
    distances_x = (centres_x - pose[..., :1]) * 16  # (B, 18, w)
    distances_y = (centres_y - pose[..., 1:2]) * 16  # (B, 18, h)
    along_x, along_y = torch.exp(-0.5 * distances_x**2), torch.exp(-0.5 * distances_y**2)
    maps = along_y[..., :, None] * along_x[..., None, :]  # (B, 18, h, w)
    return (maps * pose[..., 2:, None]).to(dtype)


class LevelEmbedding(nn.Module):
    """Positional encoding of a timestep or of a noise level (0 to 999), then two linear layers."""

    def __init__(self, vector_dim: int):
        super().__init__()
        self.proj = Timesteps(vector_dim, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.embedding = TimestepEmbedding(vector_dim, vector_dim)

    def forward(self, level: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        return self.embedding(self.proj(level).to(dtype))  # (B, V)


# Layers of the streams


def group_norm(channels: int) -> nn.GroupNorm:
    """The paper's groups: min(32, C / 4) (supplementary material, section 1)."""
    return nn.GroupNorm(min(32, channels // 4), channels)


class ResidualBlock(nn.Module):
    """GroupNorm, swish, conv, FiLM, GroupNorm, swish, conv, with a convolution on the skip where widths differ."""

    def __init__(self, in_channels: int, out_channels: int, vector_dim: int):
        super().__init__()
        self.norm1 = group_norm(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.film = nn.Linear(vector_dim, 2 * out_channels)
        self.norm2 = group_norm(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else None

    def forward(self, hidden_states: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
        scale, shift = self.film(F.silu(vector))[:, :, None, None].chunk(2, dim=1)  # (B, C_out, 1, 1) each
        residual = hidden_states if self.conv_shortcut is None else self.conv_shortcut(hidden_states)
        hidden_states = self.conv1(F.silu(self.norm1(hidden_states)))  # (B, C_out, h, w)
        hidden_states = self.norm2(hidden_states) * (1 + scale) + shift
        hidden_states = self.conv2(F.silu(hidden_states))  # (B, C_out, h, w)
        return residual + hidden_states


class ParallelUNetBlock(nn.Module):
    """The one block of both streams and both directions: a residual block, and in the person stream at attention
    levels a self-attention that also reads the pose tokens, then a cross-attention to the garment's features."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        vector_dim: int,
        head_dim: int,
        pose_dim: int,
        has_attention: bool,
        garment_fusion: str,
    ):
        super().__init__()
        self.residual_block = ResidualBlock(in_channels, out_channels, vector_dim)
        self.has_attention = has_attention
        self.cross_attention, self.concatenation = None, None
        if has_attention:
            self.norm_self = group_norm(out_channels)
            self.self_attention = Attention(out_channels, head_dim, added_dim=pose_dim)
            self.norm_cross = group_norm(out_channels)
            self.norm_garment = group_norm(out_channels)
            if garment_fusion == "cross_attention":
                self.cross_attention = Attention(out_channels, head_dim)
            else:
                self.concatenation = nn.Conv2d(2 * out_channels, out_channels, 1)

    def forward(
        self,
        hidden_states: torch.Tensor,
        vector: torch.Tensor,
        skip: torch.Tensor | None = None,
        pose_tokens: torch.Tensor | None = None,
        garment_feature: torch.Tensor | None = None,
    ) -> torch.Tensor:
        # Joined in here because blocks may lie on different devices, and a block's inputs are moved to its own.
        if skip is not None:
            hidden_states = torch.cat([hidden_states, skip], dim=1)  # (B, C_in, h, w)
        hidden_states = self.residual_block(hidden_states, vector)  # (B, C, h, w)
        size = hidden_states.shape[-2:]
        if self.has_attention:
            tokens = self.norm_self(hidden_states).flatten(2).transpose(1, 2)  # (B, hw, C)
            tokens = self.self_attention(tokens, tokens, pose_tokens)  # (B, hw, C)
            hidden_states = hidden_states + tokens.transpose(1, 2).unflatten(2, size)

        if self.concatenation is not None:
            if garment_feature is None:
                garment_feature = torch.zeros_like(hidden_states)
            joined = torch.cat([self.norm_cross(hidden_states), self.norm_garment(garment_feature)], dim=1)
            hidden_states = hidden_states + self.concatenation(joined)  # (B, C, h, w)
        elif self.has_attention and garment_feature is None:
            # Normed zeros are alike, so all keys are, and what attention returns is their one value. The norm is called,
            # because hooks that bring offloaded weights sit on its call.
            garment_token = self.norm_garment(hidden_states.new_zeros(1, hidden_states.shape[1], 1, 1)).flatten(1)
            value = self.cross_attention.to_v(garment_token)  # (1, C)
            hidden_states = hidden_states + self.cross_attention.to_out[0](value)[:, :, None, None]
        elif self.has_attention:
            tokens = self.norm_cross(hidden_states).flatten(2).transpose(1, 2)  # (B, hw, C)
            garment_tokens = self.norm_garment(garment_feature).flatten(2).transpose(1, 2)  # (B, hw, C)
            tokens = self.cross_attention(tokens, garment_tokens)  # (B, hw, C)
            hidden_states = hidden_states + tokens.transpose(1, 2).unflatten(2, size)
        return hidden_states


class Downsample(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.conv(hidden_states)  # (B, C, h / 2, w / 2)


class Upsample(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.conv(F.interpolate(hidden_states, scale_factor=2.0, mode="nearest"))  # (B, C, 2h, 2w)


# The network


class ParallelUNetModel(ModelMixin, ConfigMixin, AttentionMixin, PeftAdapterMixin, ParallelUNetInputsMixin):
    r"""
    Two UNets in pixel space: one reads the noisy picture and the person without the garment, the other the garment;
    the first attends to the second at the low resolutions (paper, section 3.2 and figure 2). The 128 and the 256
    pixel network are configurations of this class.

    Differences from the paper are the configuration fields `patch_size`, `garment_time_conditioning` and `pose_maps`,
    the learned states of missing points and of flat garments, and that a dropped garment zeroes the garment's
    *features* where the paper zeroes the garment's image: with guidance, the unconditional half then needs no garment
    stream.

    Args:
        sample_size (`int` or `tuple[int, int]`, defaults to 128): trained size in pixels, or (height, width). Other
            sizes work if both sides are multiples of `size_divisor`.
        patch_size (`int`, defaults to 1): both streams work on pixels folded into channels by this factor.
        block_out_channels (`tuple[int]`): width of each level, finest first.
        layers_per_block (`tuple[int]`): person blocks per level, in each direction.
        garment_layers_per_block (`tuple[int]`): garment blocks per level; equal to the person's at attention levels.
        attention_levels (`tuple[bool]`): levels with self- and cross-attention.
        attention_head_dim (`int`, defaults to 64): channels per attention head.
        pose_embed_dim (`int`, defaults to 512): width of the pose tokens.
        conditioning_dim (`int`, defaults to 512): width of the vector behind FiLM.
        low_res_conditioning (`bool`, defaults to `False`): whether the network is a super-resolution stage.
        garment_time_conditioning (`bool`, defaults to `True`): whether the garment stream sees the timestep and the
            person's pose, as in the paper. Without, it runs once per picture instead of once per step.
        pose_maps (`bool`, defaults to `False`): whether each stream also gets its own pose drawn as a map per keypoint,
            beside its images. Small networks learn sooner where limbs are.
        garment_fusion (`str`, defaults to `"cross_attention"`): how the person's stream reads the garment's features;
            "concatenation" joins the two maps, position by position, in place of the cross-attention: what the paper
            compares with in its ablation.
    """

    _supports_gradient_checkpointing = True
    _no_split_modules = ["ParallelUNetBlock", "PoseEmbedding"]
    _repeated_blocks = ["ParallelUNetBlock"]
    _skip_layerwise_casting_patterns = ["norm", "conv_in", "conv_out", "embedding"]
    low_res_interpolation = "bilinear"

    @register_to_config
    def __init__(
        self,
        sample_size: int | tuple[int, int] = 128,
        patch_size: int = 1,
        block_out_channels: tuple[int, ...] = (128, 256, 512, 1024),
        layers_per_block: tuple[int, ...] = (3, 4, 6, 7),
        garment_layers_per_block: tuple[int, ...] = (3, 4, 6, 7),
        attention_levels: tuple[bool, ...] = (False, False, True, True),
        attention_head_dim: int = 64,
        pose_embed_dim: int = 512,
        conditioning_dim: int = 512,
        low_res_conditioning: bool = False,
        garment_time_conditioning: bool = True,
        pose_maps: bool = False,
        garment_fusion: str = "cross_attention",
    ):
        super().__init__()
        self._check_config()
        num_levels = len(block_out_channels)
        self.first_attention_level = list(attention_levels).index(True)

        # 1. conditioning vector and pose tokens
        self.time_embedding = LevelEmbedding(conditioning_dim)
        self.agnostic_noise_embedding = LevelEmbedding(conditioning_dim)
        self.garment_noise_embedding = LevelEmbedding(conditioning_dim)
        self.low_res_noise_embedding = LevelEmbedding(conditioning_dim) if low_res_conditioning else None
        self.person_pose_embedding = PoseEmbedding(pose_embed_dim, conditioning_dim, attention_head_dim, False)
        self.garment_pose_embedding = PoseEmbedding(pose_embed_dim, conditioning_dim, attention_head_dim, True)

        # 2. inputs
        pixel_channels = 3 * patch_size**2
        num_person_images = 3 if low_res_conditioning else 2
        map_channels = NUM_KEYPOINTS if pose_maps else 0
        self.conv_in = nn.Conv2d(
            num_person_images * pixel_channels + map_channels, block_out_channels[0], 3, padding=1
        )
        self.garment_conv_in = nn.Conv2d(pixel_channels + map_channels, block_out_channels[0], 3, padding=1)

        def block(in_channels: int, out_channels: int, has_attention: bool) -> ParallelUNetBlock:
            return ParallelUNetBlock(
                in_channels,
                out_channels,
                conditioning_dim,
                attention_head_dim,
                pose_embed_dim,
                has_attention,
                garment_fusion,
            )

        # 3. down, finest level first
        self.down_blocks, self.garment_down_blocks = nn.ModuleList(), nn.ModuleList()
        self.downsamplers, self.garment_downsamplers = nn.ModuleList(), nn.ModuleList()
        for level, channels in enumerate(block_out_channels):
            in_channels = block_out_channels[max(level - 1, 0)]
            widths = [in_channels] + [channels] * max(layers_per_block[level], garment_layers_per_block[level])
            self.down_blocks.append(
                nn.ModuleList(
                    [block(widths[i], channels, attention_levels[level]) for i in range(layers_per_block[level])]
                )
            )
            self.garment_down_blocks.append(
                nn.ModuleList([block(widths[i], channels, False) for i in range(garment_layers_per_block[level])])
            )
            if level < num_levels - 1:
                self.downsamplers.append(Downsample(channels))
                self.garment_downsamplers.append(Downsample(channels))

        # 4. up, coarsest level first; the garment stream stops at the finest level whose features are read
        self.up_blocks, self.garment_up_blocks = nn.ModuleList(), nn.ModuleList()
        self.upsamplers, self.garment_upsamplers = nn.ModuleList(), nn.ModuleList()
        for level in reversed(range(num_levels)):
            channels = block_out_channels[level]
            in_channels = block_out_channels[min(level + 1, num_levels - 1)]
            widths = [in_channels] + [channels] * max(layers_per_block[level], garment_layers_per_block[level])
            self.up_blocks.append(
                nn.ModuleList(
                    [
                        block(widths[i] + channels, channels, attention_levels[level])
                        for i in range(layers_per_block[level])
                    ]
                )
            )
            if level > 0:
                self.upsamplers.append(Upsample(channels))
            if level >= self.first_attention_level:
                self.garment_up_blocks.append(
                    nn.ModuleList(
                        [block(widths[i] + channels, channels, False) for i in range(garment_layers_per_block[level])]
                    )
                )
                if level > self.first_attention_level:
                    self.garment_upsamplers.append(Upsample(channels))

        # 5. output
        self.norm_out = group_norm(block_out_channels[0])
        self.conv_out = nn.Conv2d(block_out_channels[0], pixel_channels, 3, padding=1)

        self.gradient_checkpointing = False
        self._zero_residual_branches()

    def _check_config(self) -> None:
        config = self.config
        num_levels = len(config.block_out_channels)
        for name in ("layers_per_block", "garment_layers_per_block", "attention_levels"):
            if len(config[name]) != num_levels:
                raise ValueError(
                    f"`{name}` must have one entry per level ({num_levels}, from `block_out_channels`), got {config[name]}."
                )
        if not any(config.attention_levels):
            raise ValueError("`attention_levels` must hold at least one True: the garment enters by cross-attention.")
        for level, has_attention in enumerate(config.attention_levels):
            person, garment = config.layers_per_block[level], config.garment_layers_per_block[level]
            if has_attention and person != garment:
                raise ValueError(
                    f"`garment_layers_per_block` must equal `layers_per_block` at attention levels, "
                    f"got {garment} and {person} at level {level}."
                )
            if has_attention and config.block_out_channels[level] % config.attention_head_dim:
                raise ValueError(
                    f"`block_out_channels` must be multiples of `attention_head_dim` at attention levels, "
                    f"got {config.block_out_channels[level]} and {config.attention_head_dim}."
                )
        if config.garment_fusion not in ("cross_attention", "concatenation"):
            raise ValueError(
                f'`garment_fusion` must be "cross_attention" or "concatenation", got {config.garment_fusion!r}.'
            )
        if config.pose_embed_dim % config.attention_head_dim:
            raise ValueError(
                f"`pose_embed_dim` must be a multiple of `attention_head_dim`, "
                f"got {config.pose_embed_dim} and {config.attention_head_dim}."
            )

    def _zero_residual_branches(self) -> None:
        # Every residual branch starts as the identity, which lets deep stacks of blocks train at a high rate.
        for module in self.modules():
            if isinstance(module, ResidualBlock):
                nn.init.zeros_(module.conv2.weight)
                nn.init.zeros_(module.conv2.bias)
            if isinstance(module, ParallelUNetBlock) and module.has_attention:
                fusion = module.concatenation or module.cross_attention.to_out[0]
                for layer in (module.self_attention.to_out[0], fusion):
                    nn.init.zeros_(layer.weight)
                    nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)

    def compile_repeated_blocks(self, *args, **kwargs) -> None:
        """As in `ModelMixin`. Blocks differ in width and resolution: the paper's networks need 21 graphs or more."""
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 64)
        super().compile_repeated_blocks(*args, **kwargs)

    @property
    def size_divisor(self) -> int:
        """Height and width of the sample must be multiples of this."""
        return self.config.patch_size * 2 ** (len(self.config.block_out_channels) - 1)

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
        Run the garment stream.

        Args:
            garment_image (`torch.Tensor`): (B, 3, height, width) in [-1, 1], the garment cut out on white.
            garment_pose (`torch.Tensor`, *optional*): (B, 18, 3), x, y and visibility in [0, 1]; `None` or a row
                without visible points is a garment laid flat.
            garment_noise_level (`torch.Tensor`, *optional*): scalar or (B,), 0 to 999, of the noise already in
                `garment_image`; `None` means none.
            timestep, person_pose, agnostic_noise_level, low_res_noise_level: as in `forward`. Read, and the first two
                required, only by networks with `garment_time_conditioning`.
            conditioning_mask (`torch.Tensor`, *optional*): as in `forward`; drops the conditions inside the stream's
                vector. The features of dropped garments are zeroed in `forward`.

        Returns:
            [`GarmentFeatures`]
        """
        batch_size, dtype = garment_image.shape[0], garment_image.dtype
        self._check_size("garment_image", garment_image)
        self._check_image("garment_image", garment_image, batch_size, garment_image.shape[-2:])
        self._check_pose("person_pose", person_pose, batch_size)
        self._check_pose("garment_pose", garment_pose, batch_size)
        keep = self._expand_mask(conditioning_mask, batch_size, garment_image.device)  # 4 x (B, 1)
        if self.config.garment_time_conditioning:
            if timestep is None or person_pose is None:
                raise ValueError(
                    "`encode_garment` needs `timestep` and `person_pose`: this network's garment stream sees both "
                    "(`garment_time_conditioning` is set)."
                )
            conditions = self._embed_conditions(
                person_pose,
                garment_pose,
                agnostic_noise_level,
                garment_noise_level,
                low_res_noise_level,
                keep,
                dtype,
            )
            vector = conditions.vector + self._embed_timestep(timestep, conditions.vector)
        else:
            vector, _ = self._embed_garment_conditions(garment_pose, garment_noise_level, keep, dtype)

        hidden_states = F.pixel_unshuffle(garment_image, self.config.patch_size)  # (B, 3pp, H/p, W/p)
        if self.config.pose_maps and garment_pose is not None:
            hidden_states = self._join_pose_maps(hidden_states, garment_pose * keep[3][:, :, None])
        elif self.config.pose_maps:
            hidden_states = self._join_pose_maps(hidden_states, keep[3].new_zeros(batch_size, NUM_KEYPOINTS, 3))
        hidden_states = self.garment_conv_in(hidden_states)  # (B, C_0, H/p, W/p)
        skips, down_features, up_features = [], [], []
        for level, blocks in enumerate(self.garment_down_blocks):
            for block in blocks:
                hidden_states = self._run_block(block, hidden_states, vector)  # (B, C_l, h, w)
                if level >= self.first_attention_level:
                    skips.append(hidden_states)
                if self.config.attention_levels[level]:
                    down_features.append(hidden_states)
            if level < len(self.garment_downsamplers):
                hidden_states = self.garment_downsamplers[level](hidden_states)
        for index, blocks in enumerate(self.garment_up_blocks):
            for block in blocks:
                hidden_states = self._run_block(block, hidden_states, vector, skips.pop())  # (B, C_l, h, w)
                if self.config.attention_levels[-1 - index]:
                    up_features.append(hidden_states)
            if index < len(self.garment_upsamplers):
                hidden_states = self.garment_upsamplers[index](hidden_states)
        return GarmentFeatures(tuple(down_features), tuple(up_features))

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
        """The features of a dropped garment, in place of `garment_features`."""
        return GarmentFeatures((None,) * len(garment_features.down), (None,) * len(garment_features.up))

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
            timestep (`torch.Tensor`): scalar or (B,), Diffusers timesteps 0 to 999, fractions allowed.
            agnostic_image (`torch.Tensor`): (B, 3, height, width) in [-1, 1], the person without the garment.
            garment_image (`torch.Tensor`, *optional*): (B, 3, height, width) in [-1, 1], the garment on white. Either
                this or `garment_features`.
            person_pose (`torch.Tensor`, *optional*): (B, 18, 3), x, y and visibility in [0, 1], OpenPose order. Either
                this or `encoded_conditions`.
            garment_pose (`torch.Tensor`, *optional*): (B, 18, 3); `None` or a row without visible points is a garment
                laid flat.
            low_res_image (`torch.Tensor`, *optional*): (B, 3, height, width), the previous stage's picture in
                [-1, 1], already upsampled (bilinear) and noised; required by and only for networks with
                `low_res_conditioning`.
            agnostic_noise_level, garment_noise_level, low_res_noise_level (`torch.Tensor`, *optional*): scalar or
                (B,), 0 to 999, of the noise already added to that image; `None` means none and embeds as level 0.
            conditioning_mask (`torch.Tensor`, *optional*): bool, (B,) or (B, 4) with columns agnostic image, garment,
                person pose, garment pose; `False` drops the condition. `None` keeps all.
            garment_features ([`GarmentFeatures`], *optional*): from `encode_garment`, in place of `garment_image`.
            encoded_conditions ([`EncodedConditions`], *optional*): from `encode_conditions` with the same
                `conditioning_mask`, in place of the poses and noise levels; goes with `garment_features`.
            person_features ([`PersonFeatures`], *optional*): of another timestep, in place of the way down: an
                approximation, for which neither the noisy picture nor the other images are looked at.
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
        if garment_features is None:
            garment_features = self.encode_garment(
                garment_image,
                garment_pose,
                garment_noise_level,
                timestep=timestep,
                person_pose=person_pose,
                agnostic_noise_level=agnostic_noise_level,
                low_res_noise_level=low_res_noise_level,
                conditioning_mask=conditioning_mask,
            )
        if conditioning_mask is not None:
            garment_features = garment_features.masked(keep[1])
            agnostic_image = agnostic_image * keep[0][:, :, None, None]
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
        vector = encoded_conditions.vector
        vector = vector + self._embed_timestep(timestep, vector)  # (B, V)
        pose_tokens = encoded_conditions.pose_tokens  # (B, 36, E)
        if person_features is None:
            images = [agnostic_image, sample] + ([low_res_image] if self.config.low_res_conditioning else [])
            person_features = self._run_down(
                images, encoded_conditions.person_pose, vector, pose_tokens, garment_features.down
            )

        hidden_states, skips, up_features = (
            person_features.hidden_states,
            list(person_features.skips),
            list(garment_features.up),
        )
        for index, blocks in enumerate(self.up_blocks):
            for block in blocks:
                garment_feature = up_features.pop(0) if block.has_attention else None
                hidden_states = self._run_block(
                    block, hidden_states, vector, skips.pop(), pose_tokens, garment_feature
                )  # (B, C_l, h, w)
            if index < len(self.upsamplers):
                hidden_states = self.upsamplers[index](hidden_states)  # (B, C_l, 2h, 2w)

        hidden_states = self.conv_out(F.silu(self.norm_out(hidden_states)))  # (B, 3pp, H/p, W/p)
        output = F.pixel_shuffle(hidden_states, self.config.patch_size)  # (B, 3, H, W)
        if not return_dict:
            return (output, person_features) if return_person_features else (output,)
        return ParallelUNetOutput(sample=output, person_features=person_features if return_person_features else None)

    def _run_down(
        self,
        images: list[torch.Tensor],
        person_pose: torch.Tensor | None,
        vector: torch.Tensor,
        pose_tokens: torch.Tensor,
        garment_features: tuple[torch.Tensor | None, ...],
    ) -> PersonFeatures:
        """The way down of the person stream, from (B, 3, H, W) each."""
        hidden_states = F.pixel_unshuffle(torch.cat(images, dim=1), self.config.patch_size)  # (B, 3npp, H/p, W/p)
        if self.config.pose_maps:
            hidden_states = self._join_pose_maps(hidden_states, person_pose)
        hidden_states = self.conv_in(hidden_states)  # (B, C_0, H/p, W/p)
        down_features = list(garment_features)
        skips = []
        for level, blocks in enumerate(self.down_blocks):
            for block in blocks:
                garment_feature = down_features.pop(0) if block.has_attention else None
                hidden_states = self._run_block(block, hidden_states, vector, None, pose_tokens, garment_feature)
                skips.append(hidden_states)  # (B, C_l, h, w)
            if level < len(self.downsamplers):
                hidden_states = self.downsamplers[level](hidden_states)  # (B, C_l, h / 2, w / 2)
        return PersonFeatures(hidden_states, tuple(skips))

    def _join_pose_maps(self, hidden_states: torch.Tensor, pose: torch.Tensor) -> torch.Tensor:
        maps = draw_pose_maps(pose, *hidden_states.shape[-2:], hidden_states.dtype)
        return torch.cat([hidden_states, maps], dim=1)  # (B, C + 18, h, w)

    def _run_block(self, block: ParallelUNetBlock, *args: torch.Tensor | None) -> torch.Tensor:
        if torch.is_grad_enabled() and self.gradient_checkpointing:
            return self._gradient_checkpointing_func(block, *args)
        return block(*args)

    def _embed_timestep(self, timestep: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
        """What is added to a conditioning vector, (B, V)."""
        self._check_level("timestep", timestep, vector.shape[0])
        return self.time_embedding(expand_level(timestep, vector), vector.dtype)

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
        self._check_level("agnostic_noise_level", agnostic_noise_level, keep[0].shape[0])
        self._check_level("low_res_noise_level", low_res_noise_level, keep[0].shape[0])
        vector, garment_tokens = self._embed_garment_conditions(garment_pose, garment_noise_level, keep, dtype)
        tokens, pooled = self.person_pose_embedding(person_pose.to(dtype))
        vector = vector + pooled * keep[2]
        vector = vector + self.agnostic_noise_embedding(expand_level(agnostic_noise_level, keep[0]), dtype) * keep[0]
        if self.config.low_res_conditioning:
            vector = vector + self.low_res_noise_embedding(expand_level(low_res_noise_level, keep[0]), dtype)
        pose_tokens = torch.cat([tokens * keep[2][:, :, None], garment_tokens], dim=1)  # (B, 36, E)
        seen_pose = person_pose * keep[2][:, :, None] if self.config.pose_maps else None
        return EncodedConditions(vector, pose_tokens, seen_pose)

    def _embed_garment_conditions(
        self,
        garment_pose: torch.Tensor | None,
        garment_noise_level: torch.Tensor | None,
        keep: tuple[torch.Tensor, ...],
        dtype: torch.dtype,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The garment's part of the FiLM vector, (B, V), and the garment pose's tokens, (B, 18, E)."""
        self._check_level("garment_noise_level", garment_noise_level, keep[1].shape[0])
        if garment_pose is None:
            garment_pose = keep[3].new_zeros(keep[3].shape[0], NUM_KEYPOINTS, 3)
        tokens, pooled = self.garment_pose_embedding(garment_pose.to(dtype))
        vector = pooled * keep[3]
        vector = vector + self.garment_noise_embedding(expand_level(garment_noise_level, keep[1]), dtype) * keep[1]
        return vector, tokens * keep[3][:, :, None]
