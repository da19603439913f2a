# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Loading, saving and fusing LoRA adapters of the cascade's networks."""

import os
from typing import Any

import torch
from diffusers.loaders.lora_base import LoraBaseMixin, _fetch_state_dict
from diffusers.utils import logging
from huggingface_hub.utils import validate_hf_hub_args


logger = logging.get_logger(__name__)


class TryOnLoraLoaderMixin(LoraBaseMixin):
    """LoRA adapters of `base_unet` and `sr_unet`, in one file with the component's name before each key.

    Attention and convolution layers may be targets. `unload_lora_weights`, `set_adapters`, `disable_lora`,
    `enable_lora`, `delete_adapters` and the others are those of every Diffusers pipeline.
    """

    _lora_loadable_modules = ["base_unet", "sr_unet"]

    @classmethod
    @validate_hf_hub_args
    def lora_state_dict(
        cls, pretrained_model_name_or_path_or_dict: str | os.PathLike | dict[str, torch.Tensor], **kwargs: Any
    ) -> tuple[dict[str, torch.Tensor], dict | None]:
        """Read an adapter file and check its keys.

        Args:
            pretrained_model_name_or_path_or_dict (`str`, `os.PathLike` or `dict`): A folder, a repository on the Hub,
                or the state dict itself.
            **kwargs: `weight_name`, `subfolder`, `revision`, `cache_dir`, `token`, `local_files_only`,
                `force_download` and `proxies`, as in `from_pretrained`.

        Returns:
            The state dict, and the metadata of the adapters if the file has it.

        Raises:
            ValueError: a key is not that of a LoRA weight of one of the pipeline's networks.
        """
        options = {
            name: kwargs.pop(name, None)
            for name in (
                "weight_name", "subfolder", "revision", "cache_dir", "token", "local_files_only", "force_download",
                "proxies",
            )
        }  # fmt: skip
        if kwargs:
            raise ValueError(f"Unknown arguments for loading LoRA weights: {', '.join(kwargs)}.")
        state_dict, metadata = _fetch_state_dict(
            pretrained_model_name_or_path_or_dict,
            **options,
            use_safetensors=True,
            allow_pickle=False,
            user_agent={"file_type": "attn_procs_weights", "framework": "pytorch"},
        )
        foreign = [
            key for key in state_dict if key.split(".")[0] not in cls._lora_loadable_modules or "lora" not in key
        ]
        if foreign or not state_dict:
            raise ValueError(
                f"LoRA weights must have keys such as '{cls._lora_loadable_modules[0]}.<layer>.lora_A.weight', one "
                f"prefix of {', '.join(cls._lora_loadable_modules)}, got {foreign[0] if foreign else 'no weights'}."
            )
        return state_dict, metadata

    def load_lora_weights(
        self,
        pretrained_model_name_or_path_or_dict: str | os.PathLike | dict[str, torch.Tensor],
        adapter_name: str | None = None,
        hotswap: bool = False,
        **kwargs: Any,
    ) -> None:
        """Load adapters into the networks that the file has weights for.

        Args:
            pretrained_model_name_or_path_or_dict, **kwargs: as in `lora_state_dict`.
            adapter_name (`str`, *optional*): The adapter's name in both networks, "default_0" and so on if not given.
            hotswap (`bool`, defaults to `False`): Replace the loaded adapter of that name.

        Weights for a stage that is not loaded are left out with a warning.
        """
        state_dict, metadata = self.lora_state_dict(pretrained_model_name_or_path_or_dict, **kwargs)
        for component in self._lora_loadable_modules:
            if not any(key.startswith(f"{component}.") for key in state_dict):
                continue
            unet = getattr(self, component)
            if unet is None:
                logger.warning(f"The LoRA weights for `{component}` are left out, the pipeline has no `{component}`.")
                continue
            unet.load_lora_adapter(
                state_dict,
                prefix=component,
                adapter_name=adapter_name,
                metadata=metadata,
                hotswap=hotswap,
                _pipeline=self,
            )

    @classmethod
    def save_lora_weights(
        cls,
        save_directory: str | os.PathLike,
        base_unet_lora_layers: dict[str, torch.Tensor] | None = None,
        sr_unet_lora_layers: dict[str, torch.Tensor] | None = None,
        base_unet_lora_adapter_metadata: dict | None = None,
        sr_unet_lora_adapter_metadata: dict | None = None,
        weight_name: str | None = None,
    ) -> None:
        """Write adapters as one safetensors file that `load_lora_weights` reads.

        Args:
            save_directory (`str` or `os.PathLike`): Folder to write to.
            base_unet_lora_layers, sr_unet_lora_layers (`dict[str, torch.Tensor]`, *optional*): State dicts of the
                adapters, as `peft.get_peft_model_state_dict` gives them; one at least.
            base_unet_lora_adapter_metadata, sr_unet_lora_adapter_metadata (`dict`, *optional*): Their
                `LoraConfig.to_dict()`.
            weight_name (`str`, *optional*): File name, "pytorch_lora_weights.safetensors" if not given.
        """
        layers = {"base_unet": base_unet_lora_layers, "sr_unet": sr_unet_lora_layers}
        metadata = {"base_unet": base_unet_lora_adapter_metadata, "sr_unet": sr_unet_lora_adapter_metadata}
        present = [component for component in layers if layers[component]]
        if not present:
            raise ValueError("One of `base_unet_lora_layers` and `sr_unet_lora_layers` must be given.")
        cls._save_lora_weights(
            save_directory=save_directory,
            lora_layers={component: layers[component] for component in present},
            lora_metadata={component: metadata[component] for component in present},
            weight_name=weight_name,
        )

    def fuse_lora(self, components: list[str] | None = None, **kwargs: Any) -> None:
        """Add the adapters to the weights of `components`, by default all; other arguments as in Diffusers."""
        super().fuse_lora(components=components or self._lora_loadable_modules, **kwargs)

    def unfuse_lora(self, components: list[str] | None = None) -> None:
        """Take fused adapters out of the weights of `components`, by default all."""
        super().unfuse_lora(components=components or self._lora_loadable_modules)
