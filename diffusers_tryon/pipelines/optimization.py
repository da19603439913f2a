# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The options that make a pipeline fast on its device, set by one call."""

from typing import NamedTuple

import torch
from diffusers.models.modeling_utils import ModelMixin

from diffusers_tryon.models.chunked_attention import use_chunked_attention
from diffusers_tryon.models.inputs import trained_size
from diffusers_tryon.models.packing import can_pack, pack_weights
from diffusers_tryon.pipelines.compilation import compile_networks
from diffusers_tryon.pipelines.stages import STAGES
from diffusers_tryon.process_memory import has_glibc, keep_freed_memory, return_freed_memory


# Rows of a pass that packed weights are made for: one image with guidance.
_ROWS = 2


class SpeedSettings(NamedTuple):
    """How networks compute.

    Attributes:
        dtype (`torch.dtype`): of weights and activations; latents are float32 whatever it is.
        channels_last (`bool`): channels beside each other in memory, as convolutions read them.
        chunked_attention (`bool`): see `diffusers_tryon.models.chunked_attention`; for CPUs in bfloat16.
        packed (`bool`): see `diffusers_tryon.models.packing`; for CPUs with oneDNN.
        memory_kept (`bool`): freed activations stay with the process for the next ones, see
            `diffusers_tryon.process_memory`.
        compiled (`bool`): whole networks by `torch.compile`, see `diffusers_tryon.pipelines.compilation`.
    """

    dtype: torch.dtype
    channels_last: bool
    chunked_attention: bool
    packed: bool
    memory_kept: bool
    compiled: bool

    def __str__(self) -> str:
        switches = [name for name in self._fields[1:] if getattr(self, name)]
        return ", ".join([str(self.dtype).removeprefix("torch."), *(name.replace("_", " ") for name in switches)])


def best_settings(device: torch.device, dtype: torch.dtype | None = None) -> SpeedSettings:
    """The settings that are fastest on a device, in `dtype` if given, as far as measured (`benchmarks/unet_step.py`)."""
    if device.type == "cpu":
        is_half_fast = can_pack(torch.bfloat16) and computes_bfloat16(torch.cpu.get_capabilities())
        dtype = dtype or (torch.bfloat16 if is_half_fast else torch.float32)
        return SpeedSettings(
            dtype=dtype,
            channels_last=True,
            chunked_attention=is_half_fast and dtype == torch.bfloat16,
            packed=can_pack(dtype),
            memory_kept=has_glibc(),
            compiled=False,
        )
    return SpeedSettings(
        dtype=dtype or torch.bfloat16,
        channels_last=True,
        chunked_attention=False,
        packed=False,
        memory_kept=False,
        compiled=device.type == "cuda",
    )


def computes_bfloat16(capabilities: dict[str, bool | int | str]) -> bool:
    """Whether a CPU has instructions for bfloat16, by `torch.cpu.get_capabilities()`; emulated, it is slower."""
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def stays_float32(unet: ModelMixin | type[ModelMixin], name: str) -> bool:
    """Whether a network, or a class of them, keeps the weight of this name in float32, whatever its dtype."""
    return any(part in (unet._keep_in_fp32_modules or ()) for part in name.split("."))


def cast(unet: ModelMixin, dtype: torch.dtype) -> None:
    """Cast a network's weights, except those that it keeps in float32."""
    for name, parameter in unet.named_parameters():
        if not stays_float32(unet, name):
            parameter.data = parameter.data.to(dtype)


def prepare_network(unet: ModelMixin, settings: SpeedSettings) -> None:
    """Apply the settings of one network: all but `memory_kept` and `compiled`."""
    if unet.dtype != settings.dtype:
        cast(unet, settings.dtype)
    if settings.channels_last:
        unet.to(memory_format=torch.channels_last)
    if settings.chunked_attention:
        use_chunked_attention(unet)
    if settings.packed:
        pack_weights(unet, _ROWS, *trained_size(unet))
    if unet.device.type == "cpu" and (settings.packed or settings.channels_last):
        # A file of weights is mapped until the last of them is gone, and its pages count as long: here beside copies.
        for parameter in unet.parameters():
            parameter.data = parameter.data.clone()
        return_freed_memory()


class OptimizationMixin:
    """`optimize` for a pipeline with the components of `STAGES`."""

    def optimize(
        self,
        dtype: torch.dtype | None = None,
        channels_last: bool | None = None,
        chunked_attention: bool | None = None,
        packed: bool | None = None,
        memory_kept: bool | None = None,
        compiled: bool | None = None,
        compile_mode: str | None = None,
    ) -> SpeedSettings:
        r"""
        Make the networks as fast as their device allows, after loading weights, LoRA and moving to the device. What an
        earlier call set is not undone.

        Args:
            dtype (`torch.dtype`, *optional*): of the weights; bfloat16 where the device computes with it, otherwise
                float32, if not given.
            channels_last (`bool`, *optional*): memory format of the weights; on if not given.
            chunked_attention (`bool`, *optional*): attention as matrix products over a few heads at a time; on for
                CPUs in bfloat16 if not given.
            packed (`bool`, *optional*): weights in the order of the CPU's kernels; on for CPUs that have such kernels
                for the dtype if not given. A network with packed weights can be neither saved, moved nor trained.
            memory_kept (`bool`, *optional*): the process keeps memory that is freed, for the next activations; on for
                CPUs with glibc if not given. It holds for the whole process, and for good.
            compiled (`bool`, *optional*): whole networks by `torch.compile`; on for CUDA if not given. The first call
                then takes minutes. Compiled networks go without `packed` and `chunked_attention`.
            compile_mode (`str`, *optional*): of `torch.compile`: "default", "reduce-overhead", "max-autotune" or
                "max-autotune-no-cudagraphs". The second and third replay CUDA graphs.

        Returns:
            [`SpeedSettings`]: what was set.

        Raises:
            ValueError: weights are to be packed that do not lie on the CPU, or of a dtype that it has no kernels for; or
                become another dtype that are packed; options that exclude each other; an unknown `compile_mode`;
                offloaded networks that are to be compiled.
        """
        given = {
            "channels_last": channels_last,
            "chunked_attention": chunked_attention,
            "packed": packed,
            "memory_kept": memory_kept,
            "compiled": compiled,
        }
        settings = self._best_settings(dtype)._replace(
            **{name: value for name, value in given.items() if value is not None}
        )
        if settings.packed and self.device.type != "cpu":
            raise ValueError(f"`packed` is for networks on the CPU, and these are on {self.device}.")
        if settings.packed and not can_pack(settings.dtype):
            raise ValueError(f"`packed` must not be set for {settings.dtype}, for which this CPU has no such kernels.")
        if compile_mode is not None and not settings.compiled:
            raise ValueError(f"`compile_mode` is for compiled networks, got {compile_mode!r} without `compiled`.")
        if settings.compiled:
            if packed or chunked_attention:
                raise ValueError("Compiled networks go without `packed` and `chunked_attention`: choose one way.")
            settings = settings._replace(packed=False, chunked_attention=False)
        self._prepare_networks(settings)
        if settings.compiled:
            compile_networks(self, compile_mode)
        # Not before: the memory of the weights that packing replaced goes back to the system.
        if settings.memory_kept:
            keep_freed_memory()
        return settings

    def _best_settings(self, dtype: torch.dtype | None) -> SpeedSettings:
        return best_settings(self.device, dtype)

    def _prepare_networks(self, settings: SpeedSettings) -> None:
        for name in STAGES:
            unet = getattr(self, f"{name}_unet")
            if unet is not None:
                prepare_network(unet, settings)
