# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""A cascade whose networks are in memory in turn: each is read when its stage begins and freed when the next does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from accelerate.hooks import ModelHook, add_hook_to_module
from accelerate.utils import set_module_tensor_to_device
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils import SAFETENSORS_WEIGHTS_NAME
from safetensors import SafetensorError, safe_open
from torch import nn

from diffusers_tryon.pipelines.own_classes import NETWORKS
from diffusers_tryon.pipelines.pipeline_tryon_cascade import TryOnCascadePipeline
from diffusers_tryon.pipelines.stages import STAGES
from diffusers_tryon.process_memory import return_freed_memory


Prepare = Callable[[str, ModelMixin], None]
# Where a `torch.nn.Module` keeps what makes it large.
_CONTENTS = ("_parameters", "_buffers", "_modules")


class InTurnTryOnCascadePipeline(TryOnCascadePipeline):
    """What `load_in_turn` returns: a cascade that holds the weights of one network at a time, and none between calls.

    Calls, `encode_garment` and `try_on` are those of [`TryOnCascadePipeline`]; the seconds of a stage include reading
    its network. What works on weights in memory (moving, saving, loading adapters, offloading) raises a `ValueError`
    that names the way round.
    """

    @property
    def device(self) -> torch.device:
        """The device that the networks run on."""
        return self._execution_device

    def to(self, *args: Any, **kwargs: Any) -> "InTurnTryOnCascadePipeline":
        raise ValueError(
            "A pipeline whose networks are loaded in turn cannot be moved, cast or offloaded: give `device` and "
            "`dtype` to `load_in_turn`."
        )

    def save_pretrained(self, *args: Any, **kwargs: Any) -> None:
        raise ValueError(
            "A pipeline whose networks are loaded in turn cannot be saved, their weights are not in memory: copy the "
            "folder that it reads, or load that whole with `TryOnCascadePipeline.from_pretrained`."
        )

    def load_lora_weights(self, *args: Any, **kwargs: Any) -> None:
        raise ValueError(
            "A pipeline whose networks are loaded in turn takes no adapters, its networks would lose them: load them "
            "in `prepare` of `load_in_turn`, with `unet.load_lora_adapter(state_dict, prefix=name)`."
        )

    def maybe_free_model_hooks(self) -> None:
        """Free the network that is in memory; every call ends with this."""
        for component in self.components.values():
            if isinstance(component, ModelMixin):
                component._hf_hook.free()


class LoadOnUseHook(ModelHook):
    """Reads a network's weights before it is used, after those of another network were freed.

    Args:
        name (`str`): The component's name.
        folder (`Path`): Where `from_pretrained` finds the network.
        execution_device (`torch.device`): Where the network runs; the pipeline looks for this attribute.
        options (`dict`): Further arguments for `from_pretrained`.
        disable_mmap (`bool`): Read with `read_without_mapping` in place of it.
        prepare (`Callable`, *optional*): Called with the name and the network after each loading.
        loaded (`list[LoadOnUseHook]`): The hooks of one pipeline share it: whose network is in memory, one at most.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        execution_device: torch.device,
        options: dict[str, Any],
        disable_mmap: bool,
        prepare: Prepare | None,
        loaded: "list[LoadOnUseHook]",
    ):
        self.name = name
        self.folder = folder
        self.execution_device = execution_device
        self.options = options
        self.disable_mmap = disable_mmap
        self.prepare = prepare
        self.loaded = loaded

    def init_hook(self, module: ModelMixin) -> ModelMixin:
        self.module = module
        return module

    def pre_forward(self, module: ModelMixin, *args: Any, **kwargs: Any) -> tuple[tuple, dict[str, Any]]:
        if self not in self.loaded:
            for other in list(self.loaded):
                other.free()
            self.load()
        return args, kwargs

    def load(self) -> None:
        """Read the weights; whatever fails, the network is afterwards as it was."""
        contents = self._read()
        # Adapters and compiling set attributes on the network, which go with the weights.
        self.empty = dict(vars(self.module))
        vars(self.module).update(contents)
        self.loaded.append(self)
        if self.prepare is not None:
            try:
                self.prepare(self.name, self.module)
                if self.module.dtype != self.options["dtype"]:
                    raise ValueError(
                        f"`prepare` must leave the dtype as it is, {self.options['dtype']}, but made that of "
                        f"`{self.name}` {self.module.dtype}: give `dtype` to `load_in_turn`."
                    )
            except BaseException:
                self.free()
                raise
            return_freed_memory()

    def free(self) -> None:
        """Drop the weights, if they are there."""
        if self in self.loaded:
            vars(self.module).clear()
            vars(self.module).update(self.empty)
            del self.empty
            self.loaded.remove(self)
            return_freed_memory()

    def _read(self) -> dict[str, dict]:
        try:
            if self.disable_mmap:
                unet = read_without_mapping(type(self.module), self.folder, **self.options)
            else:
                unet = type(self.module).from_pretrained(self.folder, **self.options)
        except (OSError, ValueError) as error:
            raise OSError(f"`{self.name}` cannot be read from {self.folder}: {error}") from error
        missing = [name for name, parameter in unet.named_parameters() if parameter.is_meta]
        if missing:
            raise OSError(
                f"`{self.name}` cannot be read from {self.folder}: the weights lack {missing[0]}"
                + (f" and {len(missing) - 1} others." if len(missing) > 1 else ".")
            )
        unet.to(self.execution_device)
        return {name: vars(unet)[name] for name in _CONTENTS}


def read_without_mapping(
    network: type[ModelMixin],
    folder: Path,
    dtype: torch.dtype,
    use_safetensors: bool | None = None,
    variant: str | None = None,
) -> ModelMixin:
    """Read a network from safetensors files of its folder, no more than one tensor twice in memory.

    Args:
        network (`type[ModelMixin]`): Its class.
        folder, dtype, use_safetensors, variant: as in `from_pretrained`.

    Raises:
        OSError: there are no such files, or one is not whole.
        ValueError: a tensor does not fit the configuration.
    """
    with init_empty_weights():
        unet = network.from_config(network.load_config(folder))
    stem, suffix = SAFETENSORS_WEIGHTS_NAME.split(".")
    name = stem if variant is None else f"{stem}.{variant}"
    paths = [folder / f"{name}.{suffix}"] if (folder / f"{name}.{suffix}").exists() else []
    paths = paths or sorted(folder.glob(f"{name}-*-of-*.{suffix}"))
    if not paths:
        raise OSError(f"there is no {name}.{suffix}, which reading without mapping needs.")
    for path in paths:
        try:
            with safe_open(path, framework="pt", backend="pread") as file:
                for key in file.keys():
                    set_module_tensor_to_device(unet, key, "cpu", value=file.get_tensor(key), dtype=dtype)
        except SafetensorError as error:
            raise OSError(f"{path.name}: {error}") from error
    return unet.eval()


def load_in_turn(
    model: str | Path,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    prepare: Prepare | None = None,
    variant: str | None = None,
    disable_mmap: bool = False,
    **download_options: Any,
) -> InTurnTryOnCascadePipeline:
    """Load a cascade whose networks are read from disk when their stage begins and freed when the next begins.

    The images are those of `TryOnCascadePipeline.from_pretrained` to the bit, for the time of reading each network
    once a call. Memory holds the weights of the larger network in place of both.

    ```py
    >>> pipe = load_in_turn("path/or/hub-id", dtype=torch.bfloat16)
    >>> output = pipe.try_on("person.jpg", "garment.jpg")
    ```

    Args:
        model (`str` or `Path`): Folder of a pipeline, or its id on the Hub. From the Hub all is downloaded at once.
        dtype (`torch.dtype`, *optional*, defaults to `torch.float32`): Of the weights.
        device (`str` or `torch.device`, *optional*, defaults to `"cpu"`): Where the networks run.
        prepare (`Callable[[str, ModelMixin], None]`, *optional*): Called as `prepare(name, unet)` after each loading,
            with "base_unet" or "sr_unet" and the network: to load adapters, set attention processors, change the
            memory format or pack the weights. It changes the network in place, and not its dtype.
        variant (`str`, *optional*): As in `from_pretrained`.
        disable_mmap (`bool`, *optional*, defaults to `False`): Copy the weights from the file into memory, one tensor
            at a time, where they would else lie in the file, mapped. The system can drop what is mapped and read it
            again. But where `prepare` copies the weights, as packing and another memory format do, or where `dtype` is
            not that of the file, the mapped ones are in memory beside the copies: then this halves the peak. The
            images are the same within rounding, as the kernels add up in an order that depends on the alignment.
        **download_options: `revision`, `cache_dir`, `token`, `local_files_only` and `force_download`, as in
            `from_pretrained`.

    Returns:
        [`InTurnTryOnCascadePipeline`]: without weights. Those that cannot be read are an `OSError` at the stage that
        needs them, and the pipeline stays usable.

    Raises:
        ValueError: a network of the pipeline is of a class that is not of this package.
        OSError: there is no such pipeline, or a configuration cannot be read.
    """
    folder = Path(model)
    if not folder.is_dir():
        folder = Path(TryOnCascadePipeline.download(str(model), variant=variant, **download_options))
    index = TryOnCascadePipeline.load_config(folder)
    device, loaded, unets = torch.device(device), [], {}
    for name in (f"{stage}_unet" for stage in STAGES):
        library, class_name = index.get(name) or (None, None)
        if class_name is None:
            continue
        if class_name not in NETWORKS:
            raise ValueError(
                f"`model` must have networks of {' or '.join(NETWORKS)} to load them in turn, but its `{name}` is a "
                f"{class_name}."
            )
        # Without this, what is said of a file that is missing names a pickle.
        options = {"dtype": dtype, "use_safetensors": None if any((folder / name).glob("*.bin*")) else True}
        if variant is not None and any((folder / name).glob(f"*.{variant}*.*")):
            options["variant"] = variant
        with init_empty_weights(include_buffers=True):
            unet = NETWORKS[class_name].from_config(NETWORKS[class_name].load_config(folder / name))
        hook = LoadOnUseHook(name, folder / name, device, options, disable_mmap, prepare, loaded)
        # The `to` of ModelMixin warns of weights that should stay float32, of which these networks have none.
        unets[name] = add_hook_to_module(nn.Module.to(unet, dtype).eval(), hook)
    return InTurnTryOnCascadePipeline.from_pretrained(folder, **unets)
