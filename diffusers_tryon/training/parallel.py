# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Many processes: how the network is laid out over them, and what they have to agree on.

Weights are float32 on every process (DDP) or in shards (FSDP2, `fully_shard`), and autocast chooses the precision of
the forward pass, so that all layouts compute the same numbers up to the order of sums. The launcher chooses the
layout; one path serves CPUs (gloo) and GPUs.
"""

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.utils import (
    FullyShardedDataParallelPlugin,
    GradientAccumulationPlugin,
    parse_flag_from_env,
    patch_environment,
)
from diffusers.models.modeling_utils import ModelMixin
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from diffusers_tryon.models.chunked_attention import use_chunked_attention
from diffusers_tryon.training.batches import blank_inputs
from diffusers_tryon.training.configuration import TrainingConfig
from diffusers_tryon.training.deepspeed_layout import (
    ShardedOptimizer,
    check_deepspeed,
    is_deepspeed_asked_for,
    shard_with_deepspeed,
)


T = TypeVar("T")


def create_accelerator(config: TrainingConfig) -> Accelerator:
    """Joins the other processes of the run, and sets what holds for the whole process: TF32, deterministic kernels.

    Raises:
        ValueError: the launcher asks for a layout that training does not have.
    """
    if is_deepspeed_asked_for():
        check_deepspeed(config)
    torch.backends.cuda.matmul.allow_tf32 = config.tf32
    torch.backends.cudnn.allow_tf32 = config.tf32
    if config.deterministic:
        # cuBLAS reads it when it is first used.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    # accelerate itself would drive DeepSpeed, with its own precision, clipping and accumulation.
    with patch_environment(accelerate_use_deepspeed="false"):
        return Accelerator(
            # Without this, processes on a machine that has CPUs only would not know of each other.
            cpu=not torch.accelerator.is_available(),
            mixed_precision=config.mixed_precision,
            # Accumulation follows from the batch sizes; a number of the launcher's would divide the loss.
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
            log_with=list(config.trackers) or None,
            project_dir=config.output_dir,
        )


def distribute(unet: ModelMixin, config: TrainingConfig, accelerator: Accelerator) -> torch.nn.Module:
    """Put the network on the devices of all processes, in place. Create optimiser and averages afterwards: sharding
    replaces the parameters.

    Args:
        unet: float32, with the same weights on every process.

    Returns:
        `torch.nn.Module`: what `forward` is to be called on while training; `unet` itself but for DDP.

    Raises:
        ValueError: a setting or an option of the launcher does not go with sharding.
        RuntimeError: the weights differ between processes.
    """
    unet.to(accelerator.device)
    unet.train()
    if config.channels_last:
        unet.to(memory_format=torch.channels_last)
    if config.chunked_attention:
        use_chunked_attention(unet)
    if config.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    check_same_weights(accelerator, unet)
    if parse_flag_from_env("ACCELERATE_USE_FSDP"):
        if config.compile:
            # Hooks between the blocks gather and free their weights, which a graph of the whole would break at anyway.
            # Before sharding, which gives the blocks another class.
            unet.compile_repeated_blocks()
        _shard(unet, config, accelerator)
        return unet
    if config.compile:
        unet.compile()
    if accelerator.num_processes == 1 or is_deepspeed_asked_for():
        return unet
    devices = [accelerator.device] if accelerator.device.type == "cuda" else None
    model = DistributedDataParallel(unet, device_ids=devices, gradient_as_bucket_view=True)
    _settle_buckets(model, config, accelerator)
    return model


def shard_optimizer(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, config: TrainingConfig, accelerator: Accelerator
) -> tuple[torch.nn.Module, torch.optim.Optimizer | ShardedOptimizer]:
    """For the one layout that needs both at once, DeepSpeed's; with the others they are returned as they are.

    Args:
        model: what `distribute` returned.
        optimizer: over all of its parameters that train, not used yet.
        config: the run's settings.
        accelerator: of this process.

    Returns:
        what `forward` is to be called on while training, and the optimiser of this process.
    """
    if accelerator.num_processes == 1 or not is_deepspeed_asked_for():
        return model, optimizer
    return shard_with_deepspeed(model, optimizer, config)


def _settle_buckets(model: DistributedDataParallel, config: TrainingConfig, accelerator: Accelerator) -> None:
    # DDP sums gradients in buckets that it rearranges once, after the first backward pass. With three processes or
    # more the order of the sums follows the buckets, and the first step of a resumed run would differ in its last bits
    # from that of the uninterrupted one. So that pass is taken before the first step, on inputs of training's types.
    batch_size = config.micro_batch_size or config.global_batch_size // accelerator.num_processes
    memory_format = torch.channels_last if config.channels_last else torch.contiguous_format
    inputs = blank_inputs(model.module, batch_size, accelerator.device, memory_format)
    with accelerator.autocast():
        prediction = model(**inputs).sample
    prediction.sum().backward()
    model.zero_grad()


def _shard(unet: ModelMixin, config: TrainingConfig, accelerator: Accelerator) -> None:
    # accelerate itself knows FSDP on accelerators only and silently takes DDP on CPUs.
    plugin = FullyShardedDataParallelPlugin()
    if plugin.fsdp_version != 2:
        raise ValueError(f"`fsdp_version` in the launcher's configuration must be 2, got {plugin.fsdp_version}.")
    if isinstance(plugin.cpu_offload, CPUOffloadPolicy):
        raise ValueError("`fsdp_offload_params` in the launcher's configuration must be false, got true.")
    if plugin.activation_checkpointing:
        raise ValueError(
            "`fsdp_activation_checkpointing` in the launcher's configuration must be false, got true; the setting "
            "`gradient_checkpointing` of the run does it."
        )
    if config.channels_last:
        raise ValueError("`channels_last` must be false with FSDP, which shards contiguous weights, got true.")
    if config.optimizer == "adamw8bit":
        raise ValueError(
            "`optimizer` must be 'adamw' with FSDP, whose shards the 8-bit optimiser cannot step, got 'adamw8bit'."
        )
    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    for module in unet.modules():
        if type(module).__name__ in unet._no_split_modules:
            fully_shard(module, mesh=mesh, reshard_after_forward=plugin.reshard_after_forward)
    fully_shard(unet, mesh=mesh)
    unet.register_forward_hook(_reshard_after_inference)
    assert all(isinstance(parameter, DTensor) for parameter in unet.parameters())


def _reshard_after_inference(unet: torch.nn.Module, inputs: tuple, output: object) -> None:
    # Without a backward pass to follow, weights that stay gathered would hide the shards from whoever reads or swaps
    # the parameters next.
    if not torch.is_grad_enabled():
        _reshard(unet)


def _reshard(unet: torch.nn.Module) -> None:
    for module in unet.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


@contextmanager
def outer_weights_gathered(unet: ModelMixin) -> Iterator[None]:
    """Within the block, without gradients, a method like `encode_garment` may be called by itself.

    FSDP2 gathers the weights outside the blocks for `forward` only. It must have been called once before.
    """
    if not is_sharded(unet):
        yield
        return
    unet.unshard()
    try:
        yield
    finally:
        _reshard(unet)


def is_sharded(unet: torch.nn.Module) -> bool:
    """Whether each process holds a part of every parameter (FSDP2) instead of all of them."""
    return isinstance(unet, FSDPModule)


@contextmanager
def accumulate(model: torch.nn.Module, is_last: bool) -> Iterator[None]:
    """Around forward and backward pass of one micro-batch: gradients are averaged over the processes in the last.

    Args:
        model: what `shard_optimizer` returned.
    """
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(is_last)
        yield
    elif hasattr(model, "set_gradient_accumulation_boundary"):  # DeepSpeed's engine, which may not be installed
        model.set_gradient_accumulation_boundary(is_last)
        yield
    elif isinstance(model, DistributedDataParallel) and not is_last:
        with model.no_sync():
            yield
    else:
        yield


def clip_gradients(optimizer: torch.optim.Optimizer | ShardedOptimizer, max_norm: float) -> torch.Tensor:
    """Scale the gradients of all of the optimiser's parameters to a common Euclidean norm of `max_norm` at most.

    Returns:
        `torch.Tensor`: the norm before, a scalar on the device, of the whole gradient on every process.
    """
    if isinstance(optimizer, ShardedOptimizer):
        return optimizer.clip_gradients(max_norm)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
    if isinstance(norm, DTensor):
        norm = norm.full_tensor()
    torch.nn.utils.clip_grads_with_norm_(parameters, max_norm, norm)
    return norm


def agree(accelerator: Accelerator, *flags: bool) -> tuple[bool, ...]:
    """For each flag whether it is set on any process; all have to call this alike, and get the same answer."""
    if accelerator.num_processes == 1:
        return tuple(bool(flag) for flag in flags)
    votes = torch.tensor([bool(flag) for flag in flags], dtype=torch.int32, device=accelerator.device)
    dist.all_reduce(votes, op=dist.ReduceOp.MAX)
    return tuple(bool(vote) for vote in votes.tolist())


def leave(accelerator: Accelerator) -> None:
    """Part from the other processes at the end of a run. Drop what `distribute` returned before.

    DDP's C++ side holds the process group. Where it outlives `destroy_process_group` it destroys the group with
    Python's lock in its hands, for which gloo's thread may be waiting: one run in a few would never end.
    """
    gc.collect()
    accelerator.end_training()


def on_main_process(function: Callable[[], T]) -> T:
    """What `function` returns on the main process, on all of them; all have to call this.

    Raises:
        ValueError: on every process, what `function` raised on the main one.
    """
    outcome = [None, None]
    if not dist.is_initialized() or dist.get_rank() == 0:
        try:
            outcome[0] = function()
        except ValueError as error:
            outcome[1] = str(error)
    if dist.is_initialized():
        dist.broadcast_object_list(outcome, src=0)
    value, error = outcome
    if error is not None:
        raise ValueError(error)
    return value


def check_same_weights(accelerator: Accelerator, unet: torch.nn.Module) -> None:
    """Compare the bits of all weights over the processes; of shards there is nothing to compare.

    Raises:
        RuntimeError: on every process, naming the first tensor that differs and where.
    """
    if accelerator.num_processes == 1 or is_sharded(unet):
        return
    weights = unet.state_dict()
    sums = torch.stack([_sum_of_bits(weight) for weight in weights.values()])
    sums_of_all = [torch.empty_like(sums) for _ in range(accelerator.num_processes)]
    dist.all_gather(sums_of_all, sums)
    differs = torch.stack(sums_of_all) != sums_of_all[0]  # (processes, tensors)
    if differs.any():
        first = int(differs.any(dim=0).nonzero()[0])
        processes = differs[:, first].nonzero().flatten().tolist()
        raise RuntimeError(
            f"The weights of the processes differ: `{list(weights)[first]}` of process "
            f"{', '.join(map(str, processes))} is not that of process 0 ({int(differs.any(dim=0).sum())} of "
            f"{len(weights)} tensors differ)."
        )


def _sum_of_bits(tensor: torch.Tensor) -> torch.Tensor:
    # float32 values as whole numbers: no rounding, so that one changed bit changes the sum.
    return tensor.contiguous().view(torch.int32).sum(dtype=torch.int64)
