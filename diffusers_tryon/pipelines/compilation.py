# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Whole networks by `torch.compile`: the same graph for every step, scheduler and number of rows."""

import copy
import functools
import inspect
from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
from diffusers import DiffusionPipeline
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch.utils._pytree import tree_leaves, tree_map_only

from diffusers_tryon.models.packing import PackedLayer
from diffusers_tryon.pipelines.stages import STAGES


# Modes of `torch.compile`, and whether they replay CUDA graphs.
COMPILE_MODES = {
    "default": False,
    "reduce-overhead": True,
    "max-autotune": True,
    "max-autotune-no-cudagraphs": False,
}


# What an offloading hook does before a method other than `forward`.
_bring_weights = apply_forward_hook(lambda unet: None)


class CompiledMethod:
    """`forward` or `encode_garment` of a network, as one graph (`fullgraph=True`) for any number of rows.

    A call gives what the plain method gives, within rounding. Height and width are fixed in the graph, another size
    compiles another. What makes one graph enough:

    - The first dimension of every tensor is marked as dynamic. Left alone, Dynamo would make a graph for one row, one
      for the first other number and one for all others; a call has twice as many rows where guidance is on.
    - A `conditioning_mask` that is not given becomes one that keeps everything, because rows without guidance come
      without a mask.

    Args:
        method (`Callable`): bound to a network.
        mode (`str`): one of `COMPILE_MODES`.
        backend (`str` or `Callable`): of `torch.compile`.
    """

    def __init__(self, method: Callable, mode: str, backend: str | Callable):
        functools.update_wrapper(self, method)
        self.method, self.mode, self.backend = method, mode, backend
        self.signature = inspect.signature(method)
        self.replays = COMPILE_MODES[mode]
        # Torch takes a mode for its own backend alone.
        options = {"mode": mode} if mode != "default" else {}
        # Without the decorator of `encode_garment` that looks for offloading hooks.
        self.plain = MethodType(inspect.unwrap(method.__func__), method.__self__)
        self.compiled = torch.compile(self.plain, fullgraph=True, backend=backend, **options)

    def __deepcopy__(self, memo: dict) -> "CompiledMethod":
        # Of the copied network: a compiled function would stay with the old one.
        return CompiledMethod(copy.deepcopy(self.method, memo), self.mode, self.backend)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling():
            return self.method(*args, **kwargs)
        if self.plain != self.method:
            _bring_weights(self.method.__self__)
        arguments = self.signature.bind(*args, **kwargs).arguments
        if arguments.get("conditioning_mask") is None:
            first = next(iter(arguments.values()))
            arguments["conditioning_mask"] = torch.ones(len(first), dtype=torch.bool, device=first.device)
        for tensor in tree_leaves(arguments):
            if isinstance(tensor, torch.Tensor) and tensor.ndim > 0:
                torch._dynamo.maybe_mark_dynamic(tensor, 0)
        if self.replays:
            torch.compiler.cudagraph_mark_step_begin()
        # Otherwise a single row would be a constant of Dynamo's graph. Inductor compiles it apart all the same.
        with torch.fx.experimental._config.patch(backed_size_oblivious=True):
            outputs = self.compiled(**arguments)
        # The next replay of a CUDA graph writes where this one did.
        return tree_map_only(torch.Tensor, torch.clone, outputs) if self.replays else outputs


def compile_networks(
    pipe: DiffusionPipeline, mode: str | None = None, backend: str | Callable[..., Any] = "inductor"
) -> None:
    """
    Compile the networks of a cascade, whole, and their garment streams apart. The next call then compiles: seconds for
    small networks, minutes for large ones, once for each network and size.

    A call of the pipeline has one graph for each network, and one more for each garment stream; inductor compiles each
    for a single row and for several. Null rows that run apart (`sequential_guidance`) have one of their own in networks
    where they do no garment work, steps that return or reuse person features (`encoder_refresh_interval`) two, and
    garment streams another one for garments without a pose.

    Weights are saved as ever. Networks whose parameters are offloaded are compiled before offloading is enabled.

    Args:
        pipe ([`TryOnCascadePipeline`]): in its final dtype, on its final device, with its adapters.
        mode (`str`, *optional*): one of `COMPILE_MODES`, "default" if not given. "reduce-overhead" and "max-autotune"
            replay CUDA graphs, with a copy of the inputs before and of the outputs behind each replay.
        backend (`str` or `Callable`): of `torch.compile`.

    Raises:
        ValueError: the mode is unknown, or a network is offloaded or has packed weights.
    """
    mode = "default" if mode is None else mode
    if mode not in COMPILE_MODES:
        raise ValueError(f"`compile_mode` must be one of {', '.join(COMPILE_MODES)}, got {mode!r}.")
    unets = [unet for unet in (getattr(pipe, f"{name}_unet") for name in STAGES) if unet is not None]
    if any(hasattr(unet, "_hf_hook") for unet in unets):
        raise ValueError("Networks are offloaded already: compile them before offloading is enabled.")
    if any(isinstance(layer, PackedLayer) for unet in unets for layer in unet.modules()):
        raise ValueError("Packed weights cannot be compiled: load the networks again.")
    # All networks share the code of their class, and so one count of its graphs.
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 64)
    for unet in unets:
        _compile_network(unet, mode, backend)


def _compile_network(unet: ModelMixin, mode: str, backend: str | Callable[..., Any]) -> None:
    # On the object, not by `unet.compile()`: offloading then moves weights outside of the graph.
    for name in ("forward", "encode_garment"):
        setattr(unet, name, CompiledMethod(MethodType(getattr(type(unet), name), unet), mode, backend))
