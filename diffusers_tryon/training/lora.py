# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Low-rank adapters (LoRA, arXiv 2106.09685) on a network whose own weights stay, through peft."""

from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers.models.modeling_utils import ModelMixin

from diffusers_tryon.pipelines.pipeline_tryon_cascade import TryOnCascadePipeline
from diffusers_tryon.training.configuration import TrainingConfig


# peft's name for the adapters of a run, `to_q.lora_A.default.weight`.
ADAPTER_NAME = "default"
_LAYERS = (torch.nn.Linear, torch.nn.Conv2d)


def add_lora(unet: ModelMixin, config: TrainingConfig) -> None:
    """Freeze a network and give the layers of `config.lora_target_modules` adapters, which change nothing yet.

    The first factor of an adapter is drawn from torch's default generator, the second is zero.

    Raises:
        ValueError: a target is no linear layer or convolution of the network, or peft is not installed.
    """
    try:
        from peft import LoraConfig
    except ImportError as error:
        raise ValueError("`lora_rank` needs peft: install the extra `lora` (diffusers-tryon[lora]).") from error
    targets = config.lora_target_modules
    # What does not train in a new network is a layer that nothing reads.
    layers = [
        name for name, module in unet.named_modules() if isinstance(module, _LAYERS) and module.weight.requires_grad
    ]
    chosen = {target: [name for name in layers if f".{name}".endswith(f".{target}")] for target in targets}
    unknown = [target for target, names in chosen.items() if not names]
    if unknown or not targets:
        kinds = sorted({_kind_of_layer(name) for name in layers})
        raise ValueError(
            f"`lora_target_modules` must be names of layers, or their last parts, got "
            f"{', '.join(map(repr, unknown)) or 'none'}. There are: {', '.join(kinds)}."
        )
    unet.requires_grad_(False)
    unet.add_adapter(
        LoraConfig(
            r=config.lora_rank,
            lora_alpha=config.lora_rank if config.lora_alpha is None else config.lora_alpha,
            target_modules=sorted({name for names in chosen.values() for name in names}),
        ),
        adapter_name=ADAPTER_NAME,
    )


def _kind_of_layer(name: str) -> str:
    """The last part of a name and the numbers behind it, such as "to_out.0"."""
    parts = name.split(".")
    first = len(parts) - 1
    while parts[first].isdigit():
        first -= 1
    return ".".join(parts[first:])


def name_in_file(parameter: str) -> str:
    """The name of an adapter's parameter in files, which leave out the adapter's own."""
    return parameter.replace(f".{ADAPTER_NAME}.", ".")


def save_lora(folder: Path, stage: str, unet: ModelMixin, parameters: Mapping[str, torch.Tensor]) -> None:
    """Write adapters as Diffusers does, `pytorch_lora_weights.safetensors` for the pipeline's `load_lora_weights`.

    Args:
        folder: where to.
        stage: whose adapters they are, "base" or "sr".
        unet: the network that has them; only their settings are read.
        parameters: the adapters' weights, whole ones and not shards, by the names of the network's parameters or, as
            in a checkpoint, without the adapter's name.
    """
    layers = {name_in_file(name): value.detach().cpu().contiguous() for name, value in parameters.items()}
    component = f"{stage}_unet"
    TryOnCascadePipeline.save_lora_weights(
        folder,
        **{
            f"{component}_lora_layers": layers,
            f"{component}_lora_adapter_metadata": unet.peft_config[ADAPTER_NAME].to_dict(),
        },
    )
