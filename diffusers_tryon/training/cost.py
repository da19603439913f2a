# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What training a network costs: parameters, floating-point operations, memory, and what the device could do at best.

Nothing here runs the network: operations and memory are counted on tensors without contents, of a network that may
itself have none (`with torch.device("meta"): unet = create_unet(...)`). Call it before the network is compiled or
sharded.
"""

import re
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from diffusers.models.modeling_utils import ModelMixin
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from diffusers_tryon.training.batches import blank_inputs
from diffusers_tryon.training.configuration import TrainingConfig


_TERA = 1e12
# Dense peaks in TFLOP/s: bfloat16 with float32 accumulation, TensorFloat-32, float32. From NVIDIA's and AMD's data
# sheets and architecture papers, halved where those only give figures with structured sparsity.
_DATASHEET = {
    r"NVIDIA B200": (2250, 1125, 75),
    r"NVIDIA (H200|H100 80GB HBM3|GH200.*)": (989, 494, 67),
    r"NVIDIA (H100|H200) NVL": (835, 418, 60),
    r"NVIDIA H100 PCIe": (756, 378, 51),
    r"NVIDIA A100.*": (312, 156, 19.5),
    r"NVIDIA L40S": (362, 183, 91.6),
    r"NVIDIA L4": (121, 60, 30.3),
    r"NVIDIA A10": (125, 62.5, 31.2),
    r"NVIDIA RTX A6000": (154.8, 77.4, 38.7),
    r"NVIDIA RTX 6000 Ada Generation": (364, 182, 91.1),
    r"NVIDIA GeForce RTX 5090": (209.5, 104.8, 104.8),
    r"NVIDIA GeForce RTX 4090": (165.2, 82.6, 82.6),
    r"NVIDIA GeForce RTX 3090": (71, 35.6, 35.6),
    r"AMD Instinct MI300X": (1307.4, 653.7, 163.4),
}

# bitsandbytes: one float32 scale per so many values, and tensors with fewer values than this keep 32 bits.
_VALUES_PER_SCALE = 256
_FEWEST_8BIT_VALUES = 4096


def parameter_count(unet: torch.nn.Module, trainable: bool = False) -> int:
    """How many parameters the network has, or how many of them are trained."""
    return sum(parameter.numel() for parameter in unet.parameters() if parameter.requires_grad or not trainable)


# Floating-point operations


def training_flops_per_image(unet: ModelMixin) -> int:
    """Operations of one forward and backward pass for one image: two per multiplication with its addition.

    Matrix products, convolutions and attention are counted, as is usual; what gradient checkpointing computes again
    is not, so that the utilisation that follows from it is that of the model. Weights that are not trained (LoRA)
    have no gradient to compute.
    """
    with _gradient_checkpointing(unet, False), FlopCounterMode(display=False) as counter:
        _forward_and_backward(unet, _tensors_without_contents(unet, "meta"), 1, nullcontext())
    return counter.get_total_flops()


def peak_flops(device: torch.device, dtype: torch.dtype, tf32: bool = True) -> float:
    """The most operations per second that `device` can do: by its data sheet, or measured.

    Args:
        device (`torch.device`): the device.
        dtype (`torch.dtype`): of the factors, float32 or bfloat16.
        tf32 (`bool`, defaults to `True`): whether float32 factors may be rounded to TensorFloat-32.
    """
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        for pattern, (bfloat16, tensor_float32, float32) in _DATASHEET.items():
            if re.fullmatch(pattern, name):
                return _TERA * (bfloat16 if dtype == torch.bfloat16 else tensor_float32 if tf32 else float32)
    return measured_peak_flops(device, dtype)


def measured_peak_flops(device: torch.device, dtype: torch.dtype, repeats: int = 5) -> float:
    """Operations per second in the fastest of some products of square matrices and some convolutions, the better of
    both: on CPUs different libraries do them, and not all are at their best on all makes."""
    size, channels, pixels = (4096, 512, 64) if device.type == "cuda" else (1024, 256, 32)
    factor = torch.ones(size, size, device=device, dtype=dtype)
    image = torch.ones(4, channels, pixels, pixels, device=device, dtype=dtype)
    weight = torch.ones(channels, channels, 3, 3, device=device, dtype=dtype)
    product_seconds = _least_seconds(lambda: factor @ factor, device, repeats)
    convolution_seconds = _least_seconds(lambda: F.conv2d(image, weight, padding=1), device, repeats)
    return max(2 * size**3 / product_seconds, 2 * weight.numel() * 4 * pixels**2 / convolution_seconds)


def _least_seconds(work: Callable[[], torch.Tensor], device: torch.device, repeats: int) -> float:
    seconds = []
    # The first time warms up.
    for _ in range(repeats + 1):
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - began)
    return min(seconds[1:])


# Memory


class MemoryEstimate(NamedTuple):
    """Bytes that one process needs while it trains, without what the libraries themselves take.

    Attributes:
        weights: all weights, float32.
        gradients: of the trained weights, float32; they stay from one micro-batch to the next.
        optimizer: the optimiser's states.
        averages: averaged weights, float32.
        activations: the most that forward and backward pass of one micro-batch hold beside these, among it the
            bfloat16 copies of the weights that autocast makes.
    """

    weights: int
    gradients: int
    optimizer: int
    averages: int
    activations: int

    @property
    def total(self) -> int:
        return sum(self)


def estimate_memory(
    unet: ModelMixin, config: TrainingConfig, micro_batch_size: int, device_type: Literal["cpu", "cuda"]
) -> MemoryEstimate:
    """The memory that a run with the settings of `config` needs per process, weights not sharded.

    Args:
        unet: the network, with what is trained marked by `requires_grad`.
        config: precision, gradient checkpointing, optimiser and averages are read.
        micro_batch_size: images in one forward pass.
        device_type: autocast on GPUs keeps group norms in float32, which on CPUs run in bfloat16.
    """
    trained = [parameter for parameter in unet.parameters() if parameter.requires_grad]
    num_trained = parameter_count(unet, trainable=True)
    return MemoryEstimate(
        weights=4 * parameter_count(unet),
        gradients=4 * num_trained,
        optimizer=sum(_optimizer_bytes(parameter.numel(), config.optimizer) for parameter in trained),
        averages=4 * num_trained * (1 + len(config.ema_power_sigmas)),
        activations=_activation_bytes(unet, config, micro_batch_size, device_type),
    )


def _optimizer_bytes(num_values: int, optimizer: str) -> int:
    """Two moments per value: in 4 bytes each, or in one byte each and a share of a scale."""
    if optimizer == "adamw" or num_values < _FEWEST_8BIT_VALUES:
        return 2 * 4 * num_values
    return 2 * (num_values + 4 * -(-num_values // _VALUES_PER_SCALE))


def _activation_bytes(
    unet: ModelMixin, config: TrainingConfig, micro_batch_size: int, device_type: Literal["cpu", "cuda"]
) -> int:
    is_bfloat16 = config.mixed_precision == "bf16"
    # Without a GPU there is no CUDA to ask, but all of its autocast that matters here is in the norms.
    norms = _norms_in_float32(unet) if is_bfloat16 and device_type == "cuda" else nullcontext()
    with _gradient_checkpointing(unet, config.gradient_checkpointing), FakeTensorMode():
        tensors = _tensors_without_contents(unet, "cpu")
        for tensor in tensors.values():
            tensor.grad = torch.empty_like(tensor) if tensor.requires_grad else None
        known = [*tensors.values(), *(tensor.grad for tensor in tensors.values() if tensor.requires_grad)]
        with _StorageTracker(known) as tracker, norms:
            precision = torch.autocast("cpu", torch.bfloat16, enabled=is_bfloat16)
            _forward_and_backward(unet, tensors, micro_batch_size, precision)
    return tracker.most_bytes


class _StorageTracker(TorchDispatchMode):
    """Counts the bytes of all storages that operations make, from their creation until nothing refers to them.

    Args:
        known: tensors whose storages are not counted, though operations may return views of them.
    """

    def __init__(self, known: Iterable[torch.Tensor]):
        super().__init__()
        self.bytes = self.most_bytes = 0
        self._alive = {tensor.untyped_storage()._cdata for tensor in known}

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, torch.Tensor):
                self._count(value.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self._alive:
            self._alive.add(key)
            self.bytes += size
            self.most_bytes = max(self.most_bytes, self.bytes)
            weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._alive.remove(key)
        self.bytes -= size


@contextmanager
def _norms_in_float32(unet: ModelMixin) -> Iterator[None]:
    """Norms as autocast runs them on GPUs; on CPUs it leaves them in the type that they are given."""
    norms = [module for module in unet.modules() if isinstance(module, torch.nn.GroupNorm | torch.nn.LayerNorm)]
    hooks = [norm.register_forward_pre_hook(lambda norm, inputs: (inputs[0].float(),)) for norm in norms]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


# Passes over tensors without contents


@contextmanager
def _gradient_checkpointing(unet: ModelMixin, enabled: bool) -> Iterator[None]:
    """Within the block the network has gradient checkpointing, or has it not."""
    before = unet.is_gradient_checkpointing
    switch = {True: unet.enable_gradient_checkpointing, False: unet.disable_gradient_checkpointing}
    switch[enabled]()
    try:
        yield
    finally:
        switch[before]()


def _tensors_without_contents(unet: ModelMixin, device: str) -> dict[str, torch.Tensor]:
    """Stand-ins by name for the network's parameters and buffers."""
    tensors = {
        name: torch.empty(value.shape, dtype=value.dtype, device=device)
        for name, value in (*unet.named_parameters(), *unet.named_buffers())
    }
    for name, parameter in unet.named_parameters():
        tensors[name].requires_grad_(parameter.requires_grad)
    return tensors


class _Pass(torch.nn.Module):
    """Forward and backward in one module, because checkpointing runs blocks again in the backward pass."""

    def __init__(self, unet: ModelMixin, precision: AbstractContextManager):
        super().__init__()
        self.unet, self.precision = unet, precision

    def forward(self, inputs: dict[str, torch.Tensor]) -> None:
        with self.precision:
            prediction = self.unet(**inputs).sample
        F.mse_loss(prediction.float(), inputs["sample"]).backward()


def _forward_and_backward(
    unet: ModelMixin, tensors: dict[str, torch.Tensor], batch_size: int, precision: AbstractContextManager
) -> None:
    inputs = blank_inputs(unet, batch_size, next(iter(tensors.values())).device)
    named = {f"unet.{name}": tensor for name, tensor in tensors.items()}
    torch.func.functional_call(_Pass(unet, precision), named, (inputs,))
