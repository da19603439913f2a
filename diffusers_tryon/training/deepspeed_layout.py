# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""DeepSpeed's ZeRO-2 as a layout: whole weights on every process, gradients and optimiser states in shards.

DeepSpeed is left what ZeRO-2 is (arXiv 1910.02054): summing each gradient to the process that owns it, stepping the
owned part, gathering the weights. Accumulation, clipping, precision, learning rate and checkpoints are those of the
other layouts. DeepSpeed is imported where it is needed: it is an extra, and takes seconds.
"""

import logging
import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from accelerate.utils import parse_flag_from_env

from diffusers_tryon.training.configuration import TrainingConfig


if TYPE_CHECKING:
    from deepspeed import DeepSpeedEngine


# Numbers that are summed at once; as much memory again is needed for them.
_BUCKET_SIZE = 50_000_000


def is_deepspeed_asked_for() -> bool:
    """Whether the launcher's environment says so (`distributed_type: DEEPSPEED`)."""
    return parse_flag_from_env("ACCELERATE_USE_DEEPSPEED")


def check_deepspeed(config: TrainingConfig) -> None:
    """Refuse what the launcher's configuration or the run's settings ask for beyond ZeRO-2.

    Raises:
        ValueError: naming the option, or the extra if DeepSpeed is not installed.
    """
    in_launcher = {
        "zero_stage": ("ACCELERATE_DEEPSPEED_ZERO_STAGE", ("2",)),
        "offload_optimizer_device": ("ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE", ("none",)),
        "offload_param_device": ("ACCELERATE_DEEPSPEED_OFFLOAD_PARAM_DEVICE", ("none",)),
        # The run's own setting decides; a launcher that asks for a loss scale expects what there is not.
        "mixed_precision": ("ACCELERATE_MIXED_PRECISION", ("no", "bf16")),
    }
    for option, (variable, allowed) in in_launcher.items():
        value = os.environ.get(variable, allowed[0])
        if value not in allowed:
            raise ValueError(
                f"`{option}` in the launcher's configuration must be {' or '.join(allowed)} with DeepSpeed, got "
                f"{value}."
            )
    config_file = os.environ.get("ACCELERATE_DEEPSPEED_CONFIG_FILE", "none")
    if config_file != "none":
        raise ValueError(
            f"`deepspeed_config_file` in the launcher's configuration must be absent, got {config_file}; "
            f"training/accelerate/deepspeed_zero2.yaml has all there is to choose."
        )
    if config.channels_last:
        raise ValueError("`channels_last` must be false with DeepSpeed, which lays weights in one row, got true.")
    if config.optimizer == "adamw8bit":
        raise ValueError(
            "`optimizer` must be 'adamw' with DeepSpeed, whose shards cut through the blocks of the 8-bit optimiser, "
            "got 'adamw8bit'."
        )
    try:
        import deepspeed  # noqa: F401
    except ImportError as error:
        raise ValueError(
            "The launcher's configuration asks for DeepSpeed, which is not installed: "
            '`pip install "diffusers-tryon[deepspeed]"`, or take training/accelerate/fsdp2_zero2.yaml.'
        ) from error


class ShardedOptimizer:
    """
    An optimiser whose states are divided among the processes, with what a training loop and a checkpoint ask of one.

    Args:
        engine: DeepSpeed's, at ZeRO stage 2.
        parameters: of the network, those that train.

    Attributes:
        inner: the optimiser itself, over this process's part of the weights in one row.
    """

    def __init__(self, engine: "DeepSpeedEngine", parameters: Iterable[torch.nn.Parameter]):
        self._zero = engine.optimizer
        self._parameters = list(parameters)
        self.inner: torch.optim.Optimizer = self._zero.optimizer
        (self._part,) = self.param_groups[0]["params"]
        self._create_states()

    def _create_states(self) -> None:
        # DeepSpeed knows which part of the states belongs to which parameter from the first step on. This one changes
        # no weight, and what it leaves in the states is put back to their beginning.
        (group,) = self.param_groups
        rate, group["lr"] = group["lr"], 0.0
        self._zero.averaged_gradients[0] = [torch.ones_like(self._part)]
        self._zero.step()
        group["lr"] = rate
        for value in self.inner.state[self._part].values():
            value.zero_()

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return self.inner.param_groups

    def step(self) -> None:
        self._zero.step()

    def zero_grad(self) -> None:
        self._zero.zero_grad()
        # A step that was left out has not used up the sums.
        self._zero.averaged_gradients.clear()

    def clip_gradients(self, max_norm: float) -> torch.Tensor:
        """As `parallel.clip_gradients`, of the gradients that DeepSpeed has summed to their owners."""
        (gradients,) = self._zero.averaged_gradients.values()
        square = torch.nn.utils.get_total_norm(gradients).square()
        dist.all_reduce(square)
        norm = square.sqrt()
        torch._foreach_mul_(gradients, (max_norm / (norm + 1e-6)).clamp(max=1.0))
        return norm

    def states(self) -> Iterator[tuple[torch.nn.Parameter, dict[str, torch.Tensor]]]:
        """The whole state of one parameter after the other; all processes have to take all of them."""
        from deepspeed.utils import safe_get_full_optimizer_state

        for parameter in self._parameters:
            yield (
                parameter,
                {
                    key: safe_get_full_optimizer_state(parameter, key) if self._is_divided(value) else value
                    for key, value in self.inner.state[self._part].items()
                },
            )

    def load_states(self, states: Iterable[tuple[torch.nn.Parameter, dict[str, torch.Tensor]]]) -> None:
        """Put back what `states` gave, whole on every process, after the network's weights were."""
        from deepspeed.utils import safe_set_full_optimizer_state

        self._zero.refresh_fp32_params()
        own = self.inner.state[self._part]
        for parameter, values in states:
            for key, value in values.items():
                if self._is_divided(own[key]):
                    safe_set_full_optimizer_state(parameter, value, key)
                else:
                    own[key].copy_(value)

    def _is_divided(self, value: torch.Tensor) -> bool:
        # Not so the number of steps, one for all.
        return value.shape == self._part.shape


def shard_with_deepspeed(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, config: TrainingConfig
) -> tuple[torch.nn.Module, ShardedOptimizer]:
    """Put the weights in one row, in place, and divide the optimiser's work and states among the processes.

    Returns:
        what `forward` is to be called on while training, and the optimiser's part of this process.
    """
    import deepspeed

    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    engine, *_ = deepspeed.initialize(
        model=model,
        optimizer=optimizer,
        model_parameters=parameters,
        config={
            "train_micro_batch_size_per_gpu": 1,  # of no effect
            "gradient_accumulation_steps": 1,  # the loss of a micro-batch is already divided
            "gradient_clipping": 0.0,
            "zero_allow_untested_optimizer": True,
            "zero_optimization": {
                "stage": 2,
                "overlap_comm": False,
                "reduce_bucket_size": min(_BUCKET_SIZE, sum(parameter.numel() for parameter in parameters)),
                "compute_grad_norm": False,
            },
            # Otherwise the engine would switch off the loop's autocast. Gradients are summed in float32.
            "torch_autocast": {
                "enabled": config.mixed_precision == "bf16",
                "dtype": "bfloat16",
                "lower_precision_safe_modules": [],
            },
        },
    )
    return engine, ShardedOptimizer(engine, parameters)
