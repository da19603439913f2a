# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of the reference TryOnDiffusion code: their options, weights and files become ours, exactly or not at
all.

The reference writes two kinds of files. A trainer's file holds every UNet of a cascade, usually with EMA weights, and
no configuration; a persisted file holds one UNet and the arguments that built it.
"""

import json
import os
import re
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from diffusers import DDPMScheduler

from diffusers_tryon.models.presets import create_unet, list_presets
from diffusers_tryon.models.unet_parallel_reference import NUM_FREQUENCIES, ReferenceParallelUNetModel
from diffusers_tryon.pipelines.pipeline_tryon_cascade import TryOnCascadePipeline
from diffusers_tryon.poses import NUM_KEYPOINTS
from diffusers_tryon.schedules import create_scheduler, reference_cosine_betas, reference_linear_betas


# Options


# Options of the reference's UNet that a configuration must have -> our configuration fields.
_SIZES = {
    "context_dim": "context_dim",
    "time_cond_dim": "conditioning_dim",
    "pose_depth": "pose_num_layers",
    "pose_attn_heads": "pose_num_attention_heads",
    "pose_attn_dim_head": "pose_attention_head_dim",
    "pose_num_latents": "pose_num_latents",
    "pose_num_latents_mean_pooled": "pose_num_pooled_latents",
}
_SIZES_PER_LEVEL = {
    "feature_channels": "block_out_channels",
    "num_blocks": "layers_per_block",
    "attn_heads": "num_attention_heads",
    "attn_dim_head": "attention_head_dim",
}
_REQUIRED = ("image_size", "layer_attns", "layer_cross_attns", *_SIZES, *_SIZES_PER_LEVEL)

# Options for which the network has one behaviour only.
_FIXED = {
    "num_time_tokens": (0,),
    "learned_sinu_pos_emb_dim": (2 * NUM_FREQUENCIES,),
    "channels": (3,),
    "channels_out": (None, 3),
    "ca_image_channels": (3,),
    "garment_image_channels": (3,),
    "dropout_probs": (0,),
    "max_keypoints_len": (NUM_KEYPOINTS,),
    "init_conv_kernel_size": (3,),
    "init_cross_embed": (False,),
    "cross_embed_downsample": (False,),
    "init_conv_to_final_conv_residual": (False,),
    "use_global_context_attn": (True,),
    "scale_skip_connection": (True,),
    "final_resnet_block": (True,),
    "final_conv_kernel_size": (3,),
    "combine_upsample_fmaps": (False,),
    "pixel_shuffle_upsample": (True,),
}
# Options that do not change what trained weights compute: their initial values, and kernels of layers that are off.
_WITHOUT_EFFECT = ("use_zero_init", "init_cross_embed_kernel_sizes", "cross_embed_downsample_kernel_sizes")


def convert_reference_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Translate the constructor arguments of the reference's UNet.

    Args:
        config (`Mapping[str, Any]`): the reference's arguments by name. Those that set sizes are required.

    Returns:
        `dict[str, Any]`: arguments of [`ReferenceParallelUNetModel`].

    Raises:
        ValueError: an option is missing, unknown, or has a value that the network does not carry; it is named.
    """
    known = {*_REQUIRED, *_FIXED, *_WITHOUT_EFFECT, "lowres_cond", "dim", "init_dim"}
    unknown = sorted(str(name) for name in set(config) - known)
    if unknown:
        raise ValueError(f"`config` has options that the reference UNet does not have: {', '.join(unknown)}.")
    missing = [name for name in _REQUIRED if name not in config]
    if missing:
        raise ValueError(f"`config` lacks options of the reference UNet: {', '.join(missing)}.")

    num_levels = len(_as_list(config["feature_channels"]))
    attention_levels = _per_level(config, "layer_attns", num_levels)
    converted = {
        "sample_size": _image_size(config),
        "attention_levels": attention_levels,
        "low_res_conditioning": config.get("lowres_cond", False),
    }
    for name, field in _SIZES.items():
        converted[field] = _size(name, config[name])
    for name, field in _SIZES_PER_LEVEL.items():
        read = attention_levels if name in ("attn_heads", "attn_dim_head") else [True] * num_levels
        values = _per_level(config, name, num_levels)
        converted[field] = [
            _size(name, value) if is_read else None for value, is_read in zip(values, read, strict=True)
        ]

    if _per_level(config, "layer_cross_attns", num_levels) != attention_levels:
        raise ValueError(
            f"The reference option `layer_cross_attns` is {config['layer_cross_attns']!r}; the network has "
            f"cross-attention where it has self-attention, `layer_attns` = {config['layer_attns']!r}."
        )
    first_channels = converted["block_out_channels"][0]
    carried = {
        **_FIXED,
        "lowres_cond": (False, True),
        "dim": (first_channels,),
        "init_dim": (None, first_channels),
    }
    for name, values in carried.items():
        if name in config and any(value not in values for value in _as_list(config[name])):
            raise ValueError(
                f"The reference option `{name}` is {config[name]!r}, which is not carried; "
                f"the network has only {' or '.join(map(repr, values))}."
            )
    return converted


def _as_list(value: Any) -> list:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _per_level(config: Mapping[str, Any], name: str, num_levels: int) -> list:
    values = _as_list(config[name])
    if not isinstance(config[name], (list, tuple)):
        values = values * num_levels
    if len(values) != num_levels:
        raise ValueError(
            f"The reference option `{name}` must have {num_levels} values, one per level of `feature_channels`, "
            f"got {config[name]!r}."
        )
    return values


def _size(name: str, value: Any) -> int:
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"The reference option `{name}` must hold positive integers, got {value!r}.")
    return value


def _image_size(config: Mapping[str, Any]) -> int | list[int]:
    sides = [_size("image_size", side) for side in _as_list(config["image_size"])]
    if len(sides) > 2:
        raise ValueError(f"The reference option `image_size` must be one side or (height, width), got {sides}.")
    return sides[0] if len(sides) == 1 else sides


# Weights


class _Source(NamedTuple):
    """Where a parameter of ours lies in the reference's state dict: one of `parts` pieces of the tensor `key`."""

    key: str
    part: int = 0
    parts: int = 1
    stacked: bool = False  # the pieces lie along an axis of their own instead of along the first one

    def shape(self, shape: torch.Size) -> tuple[int, ...]:
        """The shape of the reference's tensor for a parameter of `shape`."""
        return (self.parts, *shape) if self.stacked else (self.parts * shape[0], *shape[1:])

    def take(self, tensor: torch.Tensor) -> torch.Tensor:
        piece = tensor[self.part] if self.stacked else tensor.chunk(self.parts)[self.part]
        return piece.to(torch.float32, copy=True)


# Pieces of our parameter names -> those of the reference's tensors that hold several of ours, with the part, the
# number of parts and whether they are stacked. The first that matches is applied, before the renames.
_FUSED = (
    (r"self_attention\.to_q\.", "self_attention.to_qkv.", 0, 3, False),
    (r"self_attention\.to_k\.", "self_attention.to_qkv.", 1, 3, False),
    (r"self_attention\.to_v\.", "self_attention.to_qkv.", 2, 3, False),
    (r"attention\.to_k\.", "attention.to_kv.", 0, 2, False),
    (r"attention\.to_v\.", "attention.to_kv.", 1, 2, False),
    (r"attention\.add_k_proj\.", "attention.context_proj.", 0, 2, False),
    (r"attention\.add_v_proj\.", "attention.context_proj.", 1, 2, False),
    (r"attention\.null_key$", "attention.null_kv", 0, 2, True),
    (r"attention\.null_value$", "attention.null_kv", 1, 2, True),
    (r"(null_vector|null_tokens)$", r"\1", 0, 1, True),
)

# Our names -> the reference's, all applied in this order.
_RENAMES = (
    # inputs and outputs
    (r"^conv_in\.", "init_conv."),
    (r"^garment_conv_in\.", "garment_init_conv."),
    (r"^conv_out\.", "final_conv."),
    (r"^norm_context\.", "norm_cond."),
    # embeddings of noise
    (r"^time_embedding\.", "time_layers."),
    (r"^agnostic_noise_embedding\.", "ca_noise_aug_layers."),
    (r"^garment_noise_embedding\.", "garment_noise_aug_layers."),
    (r"^low_res_noise_embedding\.", "lowres_layers."),
    (r"_layers\.frequencies$", "_layers.to_hiddens.0.weights"),
    (r"_layers\.linear_1\.", "_layers.to_hiddens.1."),
    (r"_layers\.linear_2\.", "_layers.to_cond.0."),
    # embeddings of poses
    (r"^person_pose_embedding\.", "pose.0."),
    (r"^garment_pose_embedding\.", "pose.1."),
    (r"^pose\.(.)\.keypoint_proj\.", r"pose_to_cond.\1."),
    (r"^pose\.(.)\.null_vector$", r"null_pose_hidden.\1"),
    (r"^pose\.(.)\.null_tokens$", r"null_pose_tokens.\1"),
    (r"^pose\.(.)\.norm_vector\.", r"to_pose_non_attn_cond.\1.0."),
    (r"^pose\.(.)\.linear_1\.", r"to_pose_non_attn_cond.\1.1."),
    (r"^pose\.(.)\.linear_2\.", r"to_pose_non_attn_cond.\1.3."),
    (r"^pose\.", "pose_attn_pool."),
    (r"\.position_embedding$", ".pos_emb.weight"),
    (r"\.norm_pooled\.weight$", ".to_latents_from_mean_pooled_seq.0.g"),
    (r"\.pooled_proj\.", ".to_latents_from_mean_pooled_seq.1."),
    (r"(pool\..\.layers\.\d+)\.attention\.norm_(.)\.weight$", r"\1.0.\2_scale"),
    (r"(pool\..\.layers\.\d+)\.attention\.", r"\1.0."),
    (r"(pool\..\.layers\.\d+)\.norm_attention\.", r"\1.0.to_out.1."),
    (r"(pool\..\.layers\.\d+)\.norm_keypoints\.", r"\1.0.norm."),
    (r"(pool\..\.layers\.\d+)\.norm_latents\.", r"\1.0.norm_latents."),
    (r"(pool\..\.layers\.\d+)\.norm_in\.", r"\1.1.0."),
    (r"(pool\..\.layers\.\d+)\.linear_in\.", r"\1.1.1."),
    (r"(pool\..\.layers\.\d+)\.norm_out\.", r"\1.1.3."),
    (r"(pool\..\.layers\.\d+)\.linear_out\.", r"\1.1.4."),
    # the last residual block, which has layers of its own
    (r"^block_out\.norm1\.", "final_res_block.block1.groupnorm."),
    (r"^block_out\.conv1\.", "final_res_block.block1.project."),
    (r"^block_out\.norm2\.norm\.", "final_res_block.block2.groupnorm."),
    (r"^block_out\.norm2\.linear\.", "final_res_block.time_mlp.1."),
    (r"^block_out\.conv2\.", "final_res_block.block2.project."),
    (r"^block_out\.", "final_res_block."),
    # levels of the streams
    (r"^garment_(down|up)_blocks\.(\d+)\.(\d+)\.residual_block\.", r"garment_\1s.\2.layers.\3."),
    (r"^(down|up)_blocks\.(\d+)\.(\d+)\.", r"person_\1s.\2.layers.\3."),
    (r"^garment_(down|up)samplers\.(\d+)\.", r"garment_\1s.\2.\1sample."),
    (r"^(down|up)samplers\.(\d+)\.", r"person_\1s.\2.\1sample."),
    (r"\.downsample\.conv\.", ".downsample.1."),
    (r"\.downsample\.conv_3\.", ".downsample.fns.0."),
    (r"\.downsample\.conv_1\.", ".downsample.fns.1."),
    (r"\.upsample\.conv\.", ".upsample.net.0."),
    # layers of a block
    (r"\.residual_block\.", ".0."),
    (r"\.norm_self\.", ".1.adagn."),
    (r"\.self_attention\.", ".1.attention."),
    (r"\.norm_cross\.", ".2.adagn_x."),
    (r"\.norm_garment\.", ".2.adagn_context."),
    (r"\.cross_attention\.", ".2.cross_attention."),
    (r"attention\.to_out\.0\.", "attention.to_out."),
    (r"\.norm(1|2)\.(norm|linear)\.", r".ada_gn\1.\2."),
    (r"\.(ada_gn1|ada_gn2|adagn|adagn_x|adagn_context)\.norm\.", r".\1.groupnorm."),
    (r"\.(ada_gn1|ada_gn2|adagn|adagn_x|adagn_context)\.linear\.", r".\1.time_mlp.1."),
    (r"\.conv_shortcut\.", ".res_conv."),
    (r"\.gate\.to_logits\.", ".gca.to_k."),
    (r"\.gate\.conv_1\.", ".gca.net.0."),
    (r"\.gate\.conv_2\.", ".gca.net.2."),
)


def _find_source(name: str) -> _Source:
    part, parts, stacked = 0, 1, False
    for pattern, replacement, *split in _FUSED:
        name, found = re.subn(pattern, replacement, name)
        if found:
            part, parts, stacked = split
            break
    for pattern, replacement in _RENAMES:
        name = re.sub(pattern, replacement, name)
    return _Source(name, part, parts, stacked)


def convert_reference_unet(
    state_dict: Mapping[str, torch.Tensor], config: Mapping[str, Any]
) -> ReferenceParallelUNetModel:
    """Convert one UNet of the reference.

    Args:
        state_dict (`Mapping[str, torch.Tensor]`): the reference UNet's weights.
        config (`Mapping[str, Any]`): the arguments it was built with, see [`convert_reference_config`].

    Returns:
        [`ReferenceParallelUNetModel`]: with copies of the weights in float32, in evaluation mode.

    Raises:
        ValueError: an option is not carried, or the weights do not fit the configuration; both are named.
    """
    with torch.device("meta"):
        unet = ReferenceParallelUNetModel(**convert_reference_config(config))
    return _fill(unet, state_dict)


def _fill(unet: ReferenceParallelUNetModel, state_dict: Mapping[str, torch.Tensor]) -> ReferenceParallelUNetModel:
    """Give a network on the meta device the reference's weights."""
    sources = {name: _find_source(name) for name in unet.state_dict()}
    expected = {sources[name].key: sources[name].shape(tensor.shape) for name, tensor in unet.state_dict().items()}
    missing = [key for key in expected if not isinstance(state_dict.get(key), torch.Tensor)]
    unexpected = [key for key in state_dict if key not in expected]
    if missing or unexpected:
        raise ValueError(
            f"The weights do not fit the configuration: {_some(missing)} missing, {_some(unexpected)} unexpected."
        )
    misshapen = [
        f"{key} {tuple(state_dict[key].shape)} instead of {shape}"
        for key, shape in expected.items()
        if state_dict[key].shape != shape
    ]
    if misshapen:
        raise ValueError(f"The weights do not fit the configuration's sizes: {_some(misshapen)}.")
    unet.load_state_dict({name: source.take(state_dict[source.key]) for name, source in sources.items()}, assign=True)
    return unet.eval()


def _some(items: Sequence[str], limit: int = 4) -> str:
    if not items:
        return "none"
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(items[:limit]) + more


# Files


def load_reference_checkpoint(
    path: str | os.PathLike,
    configs: Sequence[Mapping[str, Any] | str | os.PathLike] | None = None,
    ema: bool = True,
) -> list[ReferenceParallelUNetModel]:
    """Read a checkpoint file of the reference.

    Args:
        path (`str` or `os.PathLike`): a file of the reference trainer's `save`, with one or more UNets, or of a UNet's
            `persist_to_file`.
        configs (`Sequence`, *optional*): one entry per UNet of a trainer's file, which holds no configuration: the
            reference's arguments, a JSON file of them, or the name of a preset (`reference-128`, `reference-256`).
            The weights' shapes confirm it, except the exact image size. A persisted file holds its own.
        ema (`bool`, defaults to `True`): whether to take the EMA weights of a trainer's file where it has them.

    Returns:
        `list[ReferenceParallelUNetModel]`: in the order of the cascade.

    Raises:
        ValueError: the file cannot be read or is not such a checkpoint, or `configs` does not fit it.
    """
    checkpoint = _read(Path(path))
    if isinstance(checkpoint.get("state_dict"), dict) and isinstance(checkpoint.get("config"), dict):
        if configs is not None:
            raise ValueError(f"`configs` must be None: {path} holds the configuration of its UNet.")
        return [convert_reference_unet(checkpoint["state_dict"], checkpoint["config"])]

    state_dicts = _trainer_state_dicts(checkpoint, ema)
    if not state_dicts:
        raise ValueError(
            f"{path} is not a checkpoint of the reference: expected `model` with `unets.0`, `unets.1`, ... (a "
            f"trainer's file) or `config` and `state_dict` (a persisted UNet), got "
            f"{_some(list(map(str, checkpoint)))}."
        )
    if configs is None or len(configs) != len(state_dicts):
        raise ValueError(
            f"`configs` must be a sequence with one entry per UNet: {path} holds {len(state_dicts)} and no "
            f"configuration, got {'none' if configs is None else len(configs)}."
        )
    return [_fill(_empty_unet(config), state_dict) for config, state_dict in zip(configs, state_dicts, strict=True)]


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"`path` must be a checkpoint file of the reference, there is no file {path}.")
    try:
        # A trainer's file is several times the networks' size: memory-mapped, only the weights taken are read.
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # bytes that are no checkpoint can raise anything
        raise ValueError(
            f"{path} cannot be read as a checkpoint: it is truncated, not a PyTorch file, or holds more than weights."
        ) from error
    if not isinstance(checkpoint, dict):
        raise ValueError(f"{path} is not a checkpoint of the reference: it holds a {type(checkpoint).__name__}.")
    return checkpoint


def _trainer_state_dicts(checkpoint: dict[str, Any], ema: bool) -> list[dict[str, Any]]:
    """The weights of every UNet of a trainer's file: `model` has `unets.N.*`, `ema` has `N.ema_model.*`."""
    online = _group(checkpoint.get("model"), r"unets\.(\d+)\.(.+)")
    averaged = _group(checkpoint.get("ema"), r"(\d+)\.ema_model\.(.+)") if ema else {}
    return [averaged.get(index, online[index]) for index in sorted(online)]


def _group(state_dict: Any, pattern: str) -> dict[int, dict[str, Any]]:
    """The entries whose keys match, by the pattern's first group (a UNet's number) and its second (the rest)."""
    groups = {}
    for key, value in state_dict.items() if isinstance(state_dict, dict) else ():
        match = re.fullmatch(pattern, str(key))
        if match:
            groups.setdefault(int(match[1]), {})[match[2]] = value
    return groups


def _empty_unet(config: Mapping[str, Any] | str | os.PathLike) -> ReferenceParallelUNetModel:
    with torch.device("meta"):
        if not isinstance(config, Mapping):
            if str(config) in list_presets():
                unet = create_unet(str(config))
                if not isinstance(unet, ReferenceParallelUNetModel):
                    raise ValueError(f"`configs` must name presets of the reference network, got {config!r}.")
                return unet
            config = _read_config(Path(config))
        return ReferenceParallelUNetModel(**convert_reference_config(config))


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(
            f"`configs` must hold preset names ({', '.join(list_presets())}), JSON files or dicts; "
            f"{str(path)!r} is no preset and cannot be read as JSON."
        ) from error
    if not isinstance(config, dict):
        raise ValueError(f"`configs`: {path} must hold a JSON object of the reference's arguments.")
    return config


# Pipelines


# The reference's training objectives -> Diffusers' prediction types.
_PREDICTION_TYPES = {"noise": "epsilon", "x_start": "sample", "v": "v_prediction"}


def reference_scheduler(prediction_type: str = "noise") -> DDPMScheduler:
    """The reference's sampler as a Diffusers scheduler, for both stages.

    Its cosine law, ancestral steps with the posterior's variance and dynamic thresholding (95 % quantile, at least 1,
    no upper bound that matters, divide) are the same. The grid differs: this one starts at t = 0.999 instead of 1,
    where the reference's float32 law ends at a log-SNR of -33.9, rounds to multiples of 0.001, and its last step goes
    to no noise at all instead of t = 0.

    Args:
        prediction_type (`str`, defaults to `"noise"`): the reference's training objective, which its files do not
            hold: "noise", "x_start" or "v".
    """
    if prediction_type not in _PREDICTION_TYPES:
        raise ValueError(f"`prediction_type` must be one of {', '.join(_PREDICTION_TYPES)}, got {prediction_type!r}.")
    return create_scheduler(
        "ddpm",
        trained_betas=reference_cosine_betas(),
        prediction_type=_PREDICTION_TYPES[prediction_type],
        variance_type="fixed_small",
        clip_sample=False,
        thresholding=True,
        dynamic_thresholding_ratio=0.95,
        sample_max_value=1e6,
    )


def convert_checkpoint(
    checkpoint: str | os.PathLike | Sequence[str | os.PathLike],
    output_dir: str | os.PathLike,
    configs: Sequence[Mapping[str, Any] | str | os.PathLike] | None = None,
    ema: bool = True,
    prediction_type: str | Sequence[str] = "noise",
) -> Path:
    """Convert a cascade of the reference to a folder for `TryOnCascadePipeline.from_pretrained`.

    Args:
        checkpoint (`str`, `os.PathLike` or a sequence of them): a file of the reference trainer's `save`, or one
            persisted file per UNet, base stage first.
        output_dir (`str` or `os.PathLike`): the folder to write; it must not exist or be empty.
        configs (`Sequence`, *optional*): as in [`load_reference_checkpoint`], for a trainer's file.
        ema (`bool`, defaults to `True`): whether to take the EMA weights of a trainer's file where it has them.
        prediction_type (`str` or `Sequence[str]`, defaults to `"noise"`): what the UNets were trained to predict,
            "noise", "x_start" or "v", for all or for each; the files do not say.

    Returns:
        `Path`: `output_dir`. It appears complete or not at all.

    Raises:
        ValueError: as in [`load_reference_checkpoint`], or the UNets are not a base stage and at most one
            super-resolution stage, or `output_dir` holds files.
    """
    output_dir = Path(output_dir)
    if output_dir.exists() and (not output_dir.is_dir() or any(output_dir.iterdir())):
        raise ValueError(f"`output_dir` must be a new or an empty folder, {output_dir} is not.")
    paths = [checkpoint] if isinstance(checkpoint, (str, os.PathLike)) else list(checkpoint)
    unets = [unet for path in paths for unet in load_reference_checkpoint(path, configs, ema)]
    if [unet.config.low_res_conditioning for unet in unets] not in ([False], [False, True]):
        raise ValueError(
            "`checkpoint` must hold a base UNet and at most one super-resolution UNet, got `lowres_cond` = "
            f"{[unet.config.low_res_conditioning for unet in unets]}."
        )
    prediction_types = [prediction_type] * len(unets) if isinstance(prediction_type, str) else list(prediction_type)
    if len(prediction_types) != len(unets):
        raise ValueError(
            f"`prediction_type` must be one value or one per UNet ({len(unets)}), got {len(prediction_types)}."
        )
    schedulers = [reference_scheduler(name) for name in prediction_types]
    stages = {"base_unet": unets[0], "base_scheduler": schedulers[0]}
    if len(unets) == 2:
        stages |= {"sr_unet": unets[1], "sr_scheduler": schedulers[1]}
    # The reference adds noise to conditioning images by another law than to the picture it generates.
    noising = create_scheduler("ddpm", trained_betas=reference_linear_betas(), prediction_type="epsilon")
    pipeline = TryOnCascadePipeline(image_noising_scheduler=noising, **stages)

    output_dir.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output_dir.parent, prefix=f".{output_dir.name}.") as temporary:
        pipeline.save_pretrained(Path(temporary) / "pipeline")
        os.replace(Path(temporary) / "pipeline", output_dir)
    return output_dir
