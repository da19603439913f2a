# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The state of a run: what a checkpoint holds, gathered from all processes, and put back bit for bit.

It is the same however the run was laid out: whole tensors under the names of the network, so that a checkpoint of
shards goes on in one process and the other way round.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY, LORA_WEIGHT_NAME_SAFE
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME
from safetensors.torch import load_file, save_file
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_map_only

from diffusers_tryon.training.configuration import TrainingConfig
from diffusers_tryon.training.deepspeed_layout import ShardedOptimizer
from diffusers_tryon.training.ema import WeightAverages
from diffusers_tryon.training.initial import trainable_parameters
from diffusers_tryon.training.lora import ADAPTER_NAME, name_in_file
from diffusers_tryon.training.parallel import on_main_process


# The folder of the weights that are trained; averages have folders of their own beside it, named after their tracks.
WEIGHTS = "unet"
_OPTIMIZER_FILE = "optimizer.pt"
_STATE_FILE = "state.json"


@dataclass(frozen=True)
class GatheredState:
    """The state of a run in main memory, independent of the run, which may go on while it is written.

    Attributes:
        networks: weights ("unet") and averages ("ema" and the others' tracks) by their names in the file, float32.
        optimizer: the optimiser's state of each parameter by the parameter's name.
        counters: `step`, `skipped_steps`, `averaged_steps`.
        optimizer_name: class of the optimiser.
        network_config: the text of the network's `config.json`; `None` for adapters.
        adapter_config: peft's configuration of the adapters, if the run trains these.
    """

    networks: dict[str, dict[str, torch.Tensor]]
    optimizer: dict[str, dict[str, Any]]
    counters: dict[str, int]
    optimizer_name: str
    network_config: str
    adapter_config: dict[str, Any] | None

    def write(self, folder: Path) -> None:
        """Fill a checkpoint folder: a network's folder per entry of `networks`, `optimizer.pt`, `state.json`."""
        for name in self.networks:
            self.write_network(name, folder / name)
        torch.save(self.optimizer, folder / _OPTIMIZER_FILE)
        text = json.dumps({**self.counters, "optimizer": self.optimizer_name}, indent=2)
        (folder / _STATE_FILE).write_text(text + "\n")

    def write_network(self, name: str, folder: Path) -> None:
        """Write one of `networks` for `from_pretrained`, or adapters for `load_lora_adapter`."""
        folder.mkdir(parents=True, exist_ok=True)
        metadata = {"format": "pt"}
        if self.adapter_config is None:
            (folder / CONFIG_NAME).write_text(self.network_config)
            save_file(self.networks[name], folder / SAFETENSORS_WEIGHTS_NAME, metadata)
        else:
            metadata[LORA_ADAPTER_METADATA_KEY] = json.dumps(self.adapter_config, indent=2, sort_keys=True)
            save_file(self.networks[name], folder / LORA_WEIGHT_NAME_SAFE, metadata)


@dataclass
class TrainingState:
    """What a run carries from step to step; everything else is a function of its settings and `step`.

    Args:
        unet: the network after `distribute`. Of a run with `lora_rank` its adapters are state, and its other weights
            those of `initial_model`.
        averages: over the parameters of `unet` that train, in their order.
        optimizer: over the same parameters.
        config: the run's settings.
        step: optimiser steps so far, those that were skipped included.
        skipped_steps: how many were skipped.
    """

    unet: ModelMixin
    averages: WeightAverages
    optimizer: torch.optim.Optimizer | ShardedOptimizer
    config: TrainingConfig
    step: int = 0
    skipped_steps: int = 0

    def gather(self) -> GatheredState | None:
        """Copy the state to the main process's memory. All processes have to call this; the others get `None`."""
        networks = {name: _gather(weights) for name, weights in self._networks().items()}
        names = {parameter: name for name, parameter in self.unet.named_parameters()}
        optimizer = {names[parameter]: _gather(values) for parameter, values in self._optimizer_states()}
        if not _is_main_process():
            return None
        return GatheredState(
            networks=networks,
            optimizer=optimizer,
            counters={
                "step": self.step,
                "skipped_steps": self.skipped_steps,
                "averaged_steps": self.averages.steps,
            },
            optimizer_name=self._optimizer_name,
            network_config=_network_config(self.unet),
            adapter_config=_adapter_config(self.unet) if self._trains_adapters else None,
        )

    def load(self, folder: Path) -> None:
        """Put back what `GatheredState.write` wrote. All processes have to call this; the main one reads `folder`.

        Raises:
            ValueError: on every process: the folder cannot be read, or is of another network, naming the first
                difference, or of another optimiser.
        """
        networks = self._networks()
        files = None

        def read() -> dict[str, int]:
            nonlocal files
            files = self._read(folder, networks)
            return files.counters

        counters = on_main_process(read)
        for network, weights in networks.items():
            for name, weight in weights.items():
                weight.copy_(_distribute(files and files.networks[network][name], weight))
        self._load_optimizer(files and files.optimizer)
        self.step, self.skipped_steps = counters["step"], counters["skipped_steps"]
        self.averages.steps = counters["averaged_steps"]

    @property
    def _trains_adapters(self) -> bool:
        return self.config.lora_rank is not None

    def _networks(self) -> dict[str, dict[str, torch.Tensor]]:
        """The live tensors behind `GatheredState.networks`."""
        trained = {name: parameter.detach() for name, parameter in trainable_parameters(self.unet).items()}
        weights = trained if self._trains_adapters else self.unet.state_dict()
        networks = {WEIGHTS: weights}
        for track, averages in self.averages.tracks.items():
            networks[track] = weights | dict(zip(trained, averages, strict=True))
        if not self._trains_adapters:
            return networks
        return {
            network: {name_in_file(name): weight for name, weight in weights.items()}
            for network, weights in networks.items()
        }

    def _read(self, folder: Path, networks: dict[str, dict[str, torch.Tensor]]) -> "_Files":
        weights_file = LORA_WEIGHT_NAME_SAFE if self._trains_adapters else SAFETENSORS_WEIGHTS_NAME
        files = _read(folder, networks, weights_file, self._optimizer_name)
        for name, weights in networks.items():
            _check_same_network(folder / name / weights_file, files.networks[name], weights)
        return files

    @property
    def _optimizer_name(self) -> str:
        optimizer = self.optimizer
        return type(optimizer.inner if isinstance(optimizer, ShardedOptimizer) else optimizer).__name__

    def _optimizer_states(self) -> Iterable[tuple[torch.nn.Parameter, dict[str, Any]]]:
        optimizer = self.optimizer
        return optimizer.states() if isinstance(optimizer, ShardedOptimizer) else optimizer.state.items()

    def _load_optimizer(self, states: dict[str, dict[str, Any]] | None) -> None:
        # Shapes and types go to the other processes first, then every tensor by itself.
        layout = on_main_process(lambda: tree_map_only(torch.Tensor, lambda value: value.to("meta"), states))
        parameters = dict(self.unet.named_parameters())
        loaded = (
            (
                parameters[name],
                {
                    key: _distribute_state(states and states[name][key], value, parameters[name])
                    for key, value in values.items()
                },
            )
            for name, values in layout.items()
        )
        if isinstance(self.optimizer, ShardedOptimizer):
            self.optimizer.load_states(loaded)
            return
        loaded = dict(loaded)
        order = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        state = {index: loaded[parameter] for index, parameter in enumerate(order) if parameter in loaded}
        # Rates and such are the settings'.
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})


# Between the processes


def _is_main_process() -> bool:
    return not dist.is_initialized() or dist.get_rank() == 0


def _gather(values: dict[str, Any]) -> dict[str, Any]:
    """Copies of whole tensors on the main process; the others only take part. Other values are passed on."""
    gathered = {}
    for name, value in values.items():
        if isinstance(value, DTensor):
            value = value.full_tensor()
        if isinstance(value, torch.Tensor):
            if not _is_main_process():
                continue
            value = value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        gathered[name] = value
    return gathered


def _distribute(whole: torch.Tensor | None, like: torch.Tensor) -> torch.Tensor:
    """The main process's `whole` on every process, on the device and in the shards of `like`."""
    if not dist.is_initialized():
        return whole
    if whole is None:
        whole = torch.empty(like.shape, dtype=like.dtype)
    whole = whole.to(like.device)
    if isinstance(like, DTensor):
        return distribute_tensor(whole, like.device_mesh, like.placements, src_data_rank=0)
    dist.broadcast(whole, src=0)
    return whole


def _distribute_state(whole: Any, layout: Any, parameter: torch.nn.Parameter) -> Any:
    """An entry of the optimiser's state; `layout` is the same on the meta device."""
    if not isinstance(layout, torch.Tensor):
        return layout
    if layout.shape != parameter.shape:
        return _distribute(whole, torch.empty_like(layout, device=parameter.device)).to(parameter.device)
    # Strides are the parameter's too: fused optimisers step both as one.
    value = torch.empty_like(parameter.detach(), dtype=layout.dtype)
    return value.copy_(_distribute(whole, value))


# Files


class _Files(NamedTuple):
    networks: dict[str, dict[str, torch.Tensor]]
    optimizer: dict[str, dict[str, Any]]
    counters: dict[str, int]


def _read(folder: Path, names: Iterable[str], weights_file: str, optimizer_name: str) -> _Files:
    for name in names:
        if not (folder / name / weights_file).is_file():
            raise ValueError(f"The checkpoint {folder} is not of such a run: it has no file {name}/{weights_file}.")
    try:
        networks = {name: load_file(folder / name / weights_file) for name in names}
        optimizer = torch.load(folder / _OPTIMIZER_FILE, map_location="cpu", weights_only=True)
        state = json.loads((folder / _STATE_FILE).read_text())
        counters = {name: int(state[name]) for name in ("step", "skipped_steps", "averaged_steps")}
        found_optimizer = state["optimizer"]
    except Exception as error:  # a truncated or foreign file can raise anything
        raise ValueError(f"The checkpoint {folder} cannot be read: {error!r}.") from error
    if found_optimizer != optimizer_name:
        raise ValueError(
            f"The checkpoint {folder} has the state of another optimiser: {found_optimizer}, the run's is "
            f"{optimizer_name}."
        )
    return _Files(networks, optimizer, counters)


def _check_same_network(where: Path, found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    def complain(difference: str):
        raise ValueError(f"{where} is of another network: {difference}.")

    for name, weight in expected.items():
        if name not in found:
            complain(f"it has no tensor `{name}`")
        if found[name].shape != weight.shape:
            complain(f"`{name}` has shape {tuple(found[name].shape)} there and {tuple(weight.shape)} in the run")
    for name in found:
        if name not in expected:
            complain(f"it has a tensor `{name}`, the run has not")


def _network_config(unet: ModelMixin) -> str:
    config = json.loads(unet.to_json_string())
    # `fully_shard` puts a class of its own in front of the network's.
    config["_class_name"] = config["_class_name"].removeprefix("FSDP")
    return json.dumps(config, indent=2, sort_keys=True) + "\n"


def _adapter_config(unet: ModelMixin) -> dict[str, Any]:
    config = unet.peft_config[ADAPTER_NAME].to_dict()
    return {name: sorted(value) if isinstance(value, set) else value for name, value in config.items()}
