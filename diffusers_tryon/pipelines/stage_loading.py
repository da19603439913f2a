# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""A cascade whose networks are in memory in turn: each is read when its stage begins and freed when the next does."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate import init_empty_weights
from accelerate.hooks import ModelHook, add_hook_to_module
from accelerate.utils import set_module_tensor_to_device
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils import SAFETENSORS_WEIGHTS_NAME
from safetensors import SafetensorError, safe_open

from diffusers_tryon.pipelines.optimization import SpeedSettings, cast, prepare_network, stays_float32
from diffusers_tryon.pipelines.own_classes import NETWORKS
from diffusers_tryon.pipelines.pipeline_tryon_cascade import TryOnCascadePipeline
from diffusers_tryon.pipelines.stages import STAGES
from diffusers_tryon.process_memory import return_freed_memory


Prepare = Callable[[str, ModelMixin], None]
# As safetensors files call them.
_DTYPE_NAMES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
# Where a `torch.nn.Module` keeps what makes it large.
_CONTENTS = ("_parameters", "_buffers", "_modules")


class InTurnTryOnCascadePipeline(TryOnCascadePipeline):
    """What `load_in_turn` returns: a cascade that holds the weights of one network at a time, and none between calls.

    Calls, `encode_garment` and `try_on` are those of [`TryOnCascadePipeline`]; the seconds of a stage include reading
    its network. What works on weights in memory (moving, saving, loading adapters, offloading) raises a `ValueError`
    that names the way round. `optimize` has its settings applied to each network as it is read.
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

    def _best_settings(self, dtype: torch.dtype | None) -> SpeedSettings:
        return super()._best_settings(dtype)._replace(compiled=False)

    def _prepare_networks(self, settings: SpeedSettings) -> None:
        if settings.compiled:
            raise ValueError("Networks that are loaded in turn are not compiled, it would be done anew each time.")
        for component in self.components.values():
            if isinstance(component, ModelMixin):
                component._hf_hook.optimize(settings)

    def maybe_free_model_hooks(self) -> None:
        """Free the network that is in memory; every call ends with this."""
        for component in self.components.values():
            if isinstance(component, ModelMixin):
                component._hf_hook.free()


class WeightFiles(NamedTuple):
    """Where a network's weights come from, and how they are read.

    Attributes:
        network (`type[ModelMixin]`): The network's class.
        folder (`Path`): Of the configuration and the weights.
        dtype (`torch.dtype`): That the weights get.
        variant (`str`, *optional*): Of the files' names.
        disable_mmap (`bool`): Copy each tensor from the file instead of mapping the file, even where `dtype` is that
            of the file.
    """

    network: type[ModelMixin]
    folder: Path
    dtype: torch.dtype
    variant: str | None
    disable_mmap: bool

    def are_pickled(self) -> bool:
        return any(self.folder.glob("*.bin*"))

    def read(self) -> ModelMixin:
        """The network, in evaluation mode on the CPU.

        Raises:
            OSError: a file or a weight is missing, or a file is not whole.
            ValueError: a weight does not fit the configuration.
        """
        if self.disable_mmap or self._become_another_dtype():
            unet = self._read_without_mapping()
        else:
            # Unless told to look for safetensors alone, it names a pickle where a file is missing.
            unet = self.network.from_pretrained(
                self.folder,
                dtype=self.dtype,
                variant=self.variant,
                use_safetensors=None if self.are_pickled() else True,
            )
        missing = [name for name, parameter in unet.named_parameters() if parameter.is_meta]
        if missing:
            others = f" and {len(missing) - 1} others" if len(missing) > 1 else ""
            raise OSError(f"the weights lack {missing[0]}{others}.")
        return unet

    def _become_another_dtype(self) -> bool:
        """Whether mapping saves nothing, since the weights of safetensors files are converted, and so copied."""
        return any(
            file.get_slice(key).get_dtype() != _DTYPE_NAMES.get(self.dtype)
            for file in ([] if self.are_pickled() else self._open_files())
            for key in file.keys()
            if not stays_float32(self.network, key)
        )

    def _read_without_mapping(self) -> ModelMixin:
        with init_empty_weights():
            unet = self.network.from_config(self.network.load_config(self.folder))
        for file in self._open_files():
            for key in file.keys():
                dtype = torch.float32 if stays_float32(unet, key) else self.dtype
                set_module_tensor_to_device(unet, key, "cpu", value=file.get_tensor(key), dtype=dtype)
        return unet.eval()

    def _open_files(self) -> Iterator[safe_open]:
        """The safetensors files, one or the shards, each open until the next one is asked for."""
        stem, suffix = SAFETENSORS_WEIGHTS_NAME.split(".")
        name = stem if self.variant is None else f"{stem}.{self.variant}"
        whole = self.folder / f"{name}.{suffix}"
        paths = [whole] if whole.exists() else sorted(self.folder.glob(f"{name}-*-of-*.{suffix}"))
        if not paths:
            raise OSError(f"there is no {whole.name}.")
        for path in paths:
            try:
                with safe_open(path, framework="pt", backend="pread") as file:
                    yield file
            except SafetensorError as error:
                raise OSError(f"{path.name}: {error}") from error


class LoadOnUseHook(ModelHook):
    """Reads a network's weights before it is used, after those of another network were freed.

    Args:
        name (`str`): The component's name.
        files (`WeightFiles`): What is read.
        execution_device (`torch.device`): Where the network runs; the pipeline looks for this attribute.
        prepare (`Callable`, *optional*): Called with the name and the network after each loading.
        loaded (`list[LoadOnUseHook]`): The hooks of one pipeline share it: whose network is in memory, one at most.
    """

    def __init__(
        self,
        name: str,
        files: WeightFiles,
        execution_device: torch.device,
        prepare: Prepare | None,
        loaded: "list[LoadOnUseHook]",
    ):
        self.name = name
        self.files = files
        self.execution_device = execution_device
        self.prepare = prepare
        self.loaded = loaded
        self.settings: SpeedSettings | None = None

    def init_hook(self, module: ModelMixin) -> ModelMixin:
        self.module = module
        cast(module, self.files.dtype)
        return module

    def pre_forward(self, module: ModelMixin, *args: Any, **kwargs: Any) -> tuple[tuple, dict[str, Any]]:
        if self not in self.loaded:
            for other in list(self.loaded):
                other.free()
            self.load()
        return args, kwargs

    def load(self) -> None:
        """Read the weights; whatever fails, the network is afterwards as it was."""
        try:
            unet = self.files.read().to(self.execution_device)
        except (OSError, ValueError) as error:
            raise OSError(f"`{self.name}` cannot be read from {self.files.folder}: {error}") from error
        # Adapters and compiling set attributes on the network, which go with the weights.
        self.empty = dict(vars(self.module))
        vars(self.module).update({name: vars(unet)[name] for name in _CONTENTS})
        del unet
        self.loaded.append(self)
        try:
            self._prepare()
        except BaseException:
            self.free()
            raise
        return_freed_memory()

    def _prepare(self) -> None:
        if self.prepare is not None:
            self.prepare(self.name, self.module)
            if self.module.dtype != self.files.dtype:
                raise ValueError(
                    f"`prepare` must leave the dtype as it is, {self.files.dtype}, but made that of `{self.name}` "
                    f"{self.module.dtype}: give `dtype` to `load_in_turn`."
                )
        if self.settings is not None:
            prepare_network(self.module, self.settings)

    def optimize(self, settings: SpeedSettings) -> None:
        """Apply these settings at each loading, after `prepare`."""
        self.free()
        cast(self.module, settings.dtype)
        # What is packed or brought into another format is copied, and would have the mapped file beside it.
        copies = (settings.packed or settings.channels_last) and not self.files.are_pickled()
        self.files = self.files._replace(dtype=settings.dtype, disable_mmap=self.files.disable_mmap or copies)
        self.settings = settings

    def free(self) -> None:
        """Drop the weights, if they are there."""
        if self in self.loaded:
            vars(self.module).clear()
            vars(self.module).update(self.empty)
            del self.empty
            self.loaded.remove(self)
            return_freed_memory()


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
            at a time, as is done anyway where `dtype` is not that of the file. They otherwise lie in the file, mapped:
            the system can drop them and read them again. But where `prepare` copies weights, as packing and another
            memory format do, the mapped ones are in memory beside the copies, and this halves the peak. Images may
            differ by rounding: the order in which kernels add up depends on where in memory weights begin.
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
        network, has_variant = NETWORKS[class_name], any((folder / name).glob(f"*.{variant}*.*"))
        files = WeightFiles(network, folder / name, dtype, variant if has_variant else None, disable_mmap)
        with init_empty_weights(include_buffers=True):
            unet = network.from_config(network.load_config(folder / name)).eval()
        unets[name] = add_hook_to_module(unet, LoadOnUseHook(name, files, device, prepare, loaded))
    return InTurnTryOnCascadePipeline.from_pretrained(folder, **unets)
