# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Weights in the order in which oneDNN's kernels for CPUs read them, set once instead of in every pass."""

from collections.abc import Callable
from typing import Any

import torch
from diffusers.models.modeling_utils import ModelMixin
from torch import nn

from diffusers_tryon.poses import NUM_KEYPOINTS


class PackedLayer(nn.Module):
    """A layer whose weight lies in an order of oneDNN's own: it computes, but can be neither saved, moved nor trained.

    Attributes:
        weight (`torch.Tensor`): opaque, in oneDNN's layout.
        bias (`torch.Tensor`, *optional*): as in the layer it was made from.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None):
        super().__init__()
        # Neither parameters nor buffers: nothing that walks through those could use them.
        self.weight = weight
        # Copied, because a bias of a mapped file would keep all of that in memory.
        self.bias = None if bias is None else bias.detach().clone()

    def _save_to_state_dict(self, *args: Any, **kwargs: Any) -> None:
        raise ValueError(
            "Packed weights cannot be saved or read: save the network, or load adapters, before `optimize`; or load the "
            "network again."
        )

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        raise ValueError("Weights cannot be loaded into packed ones: load them before `optimize`.")

    def train(self, mode: bool = True) -> "PackedLayer":
        if mode:
            raise ValueError(
                "Packed weights cannot be trained: train the network before `optimize`, or load it again."
            )
        return super().train(mode)

    def _check_gradients(self, hidden_states: torch.Tensor) -> None:
        # The operators have no backward pass, and autograd would leave out without a word what lies before them.
        if torch.is_grad_enabled() and hidden_states.requires_grad:
            raise ValueError("Packed weights pass no gradients on: use `torch.no_grad()`, or load the network again.")

    def extra_repr(self) -> str:
        # PEFT shows it with its refusal.
        return "packed by `optimize`, before which adapters must be loaded"

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> "PackedLayer":
        probe = torch.empty(0, dtype=self.weight.dtype)
        moved = fn(probe)
        if (moved.device, moved.dtype) != (probe.device, probe.dtype):
            raise ValueError(
                f"Packed weights cannot become {moved.dtype} on {moved.device}, they are {probe.dtype} on the CPU: "
                f"set dtype and device before `optimize`, or load the network again."
            )
        return self


class PackedConv2d(PackedLayer):
    """An `nn.Conv2d` with a packed weight.

    Args:
        conv (`nn.Conv2d`): the layer to replace, on the CPU.
        input_shape (`tuple[int, ...]`): (B, C, H, W) of the inputs to come. Inputs of another shape give the same, but
            perhaps by a slower kernel: this order was chosen for that shape.
    """

    def __init__(self, conv: nn.Conv2d, input_shape: tuple[int, ...]):
        arguments = (conv.padding, conv.stride, conv.dilation, conv.groups)
        weight = torch.ops.mkldnn._reorder_convolution_weight(conv.weight.detach(), *arguments, input_shape)
        super().__init__(weight, conv.bias)
        self.arguments = arguments

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        self._check_gradients(hidden_states)
        return torch.ops.mkldnn._convolution_pointwise(
            hidden_states, self.weight, self.bias, *self.arguments, "none", [], ""
        )


class PackedLinear(PackedLayer):
    """An `nn.Linear` with a packed weight.

    Args:
        linear (`nn.Linear`): the layer to replace, on the CPU.
        input_shape (`tuple[int, ...]`): (..., C) of the inputs to come, as in [`PackedConv2d`].
    """

    def __init__(self, linear: nn.Linear, input_shape: tuple[int, ...]):
        num_rows = torch.Size(input_shape[:-1]).numel()
        weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), num_rows)
        super().__init__(weight, linear.bias)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        self._check_gradients(hidden_states)
        return torch.ops.mkldnn._linear_pointwise(hidden_states, self.weight, self.bias, "none", [], "")


_PACKED = {nn.Conv2d: PackedConv2d, nn.Linear: PackedLinear}


def can_pack(dtype: torch.dtype) -> bool:
    """Whether this machine's CPU has kernels for packed weights of a dtype."""
    if not torch.backends.mkldnn.is_available():
        return False
    has_kernels = {
        torch.float32: lambda: True,
        torch.bfloat16: torch.ops.mkldnn._is_mkldnn_bf16_supported,
        torch.float16: torch.ops.mkldnn._is_mkldnn_fp16_supported,
    }
    return dtype in has_kernels and has_kernels[dtype]()


def input_shapes(unet: ModelMixin, batch_size: int, height: int, width: int) -> dict[str, tuple[int, ...]]:
    """The shape of the input of every convolution and linear layer of a network, by the layer's name."""
    with torch.device("meta"):
        skeleton = type(unet).from_config(unet.config)
        image = torch.empty(batch_size, 3, height, width)
        pose = torch.empty(batch_size, NUM_KEYPOINTS, 3)
        timestep = torch.empty(batch_size)
    shapes: dict[str, tuple[int, ...]] = {}

    def record(name: str) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], None]:
        return lambda module, inputs: shapes.__setitem__(name, tuple(inputs[0].shape))

    for name, module in skeleton.named_modules():
        if type(module) in _PACKED:
            module.register_forward_pre_hook(record(name))
    low_res_image = image if unet.config.low_res_conditioning else None
    with torch.no_grad():
        skeleton(image, timestep, image, image, pose, pose, low_res_image)
    return shapes


def pack_weights(unet: ModelMixin, batch_size: int, height: int, width: int) -> None:
    """Replace a network's convolutions and linear layers by packed ones, one after the other.

    A convolution otherwise has its weight brought into oneDNN's order in every pass, which at a batch of one or two
    costs up to as much as the convolution. The results are the same within rounding.

    Args:
        unet (`ModelMixin`): a network on the CPU, of its final dtype. It cannot be saved, moved or trained afterwards.
        batch_size, height, width (`int`): of the passes to come; others work too, perhaps slower.
    """
    unet.eval().requires_grad_(False)
    for name, shape in input_shapes(unet, batch_size, height, width).items():
        parent, _, attribute = name.rpartition(".")
        layer = unet.get_submodule(name)
        if type(layer) in _PACKED:
            setattr(unet.get_submodule(parent), attribute, _PACKED[type(layer)](layer, shape))
