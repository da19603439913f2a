# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What a run starts from: a preset's random weights, or a pipeline, a network or a run that is trained further."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import diffusers
import torch
from diffusers import DDPMScheduler
from diffusers.models.modeling_utils import ModelMixin
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)

from diffusers_tryon.hub.export import MODEL_FOLDER, STAGE_FOLDERS
from diffusers_tryon.models.presets import NETWORK_CLASSES, create_unet
from diffusers_tryon.models.unet_parallel_reference import ReferenceParallelUNetModel
from diffusers_tryon.schedules import (
    check_scheduler,
    create_scheduler,
    reference_cosine_betas,
    reference_linear_betas,
    shifted_cosine_betas,
)
from diffusers_tryon.training.configuration import TrainingConfig
from diffusers_tryon.training.lora import add_lora


# A network's weights, one file or several, without those of variants such as fp16.
_WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model-*.safetensors")


class InitialNetwork(NamedTuple):
    """
    Attributes:
        unet: on the CPU, float32, in training mode; with `lora_rank` it has adapters, which alone train.
        betas: of the run's noise schedule; `None` is Diffusers' own cosine schedule.
        image_noising_scheduler: of the noise that augments conditioning images.
        prediction_type: what the source's network predicts, `None` if it does not say.
    """

    unet: ModelMixin
    betas: list[float] | None
    image_noising_scheduler: DDPMScheduler
    prediction_type: str | None


def load_initial(config: TrainingConfig) -> InitialNetwork:
    """The network that a run with these settings starts from; what is random about it depends on the seed alone.

    Args:
        config: `preset` with `unet_overrides`; or `initial_model`, a folder or an id on the Hub of a pipeline, of a
            network, of a finished run or of a checkpoint of one (its averaged weights). `diffusers-tryon convert`
            makes pipelines of the reference code's checkpoints.

    Raises:
        ValueError: the source is none of these, its weights are missing or do not fit, or it is for another stage,
            prediction type or noise schedule than the run; or a LoRA target is no layer of it.
        OSError: the Hub cannot be reached.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(config.seed)
        initial = _from_preset(config) if config.preset is not None else _from_model(config)
        if config.lora_rank is not None:
            add_lora(initial.unet, config)
    return initial._replace(unet=initial.unet.train())


def trainable_parameters(unet: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """The parameters that are trained, averaged and saved, by name; once the network is distributed, its shards."""
    return {name: parameter for name, parameter in unet.named_parameters() if parameter.requires_grad}


def _from_preset(config: TrainingConfig) -> InitialNetwork:
    unet = create_unet(config.preset, **config.unet_overrides)
    _check_stage(config, unet)
    return InitialNetwork(unet, _scheduled_betas(config, unet.config.sample_size), _default_noising(unet), None)


def _from_model(config: TrainingConfig) -> InitialNetwork:
    source = _find_source(config)
    unet = _load_network(source.unet, config)
    _check_stage(config, unet)
    if source.scheduler is None:
        return InitialNetwork(unet, _choose_betas(config, None, unet), _default_noising(unet), None)
    scheduler = _load_scheduler(source.scheduler, config)
    if scheduler.config.prediction_type != config.prediction_type:
        raise ValueError(
            f"`prediction_type` is {config.prediction_type!r}, and the network of `initial_model` "
            f"{config.initial_model} predicts {scheduler.config.prediction_type!r}."
        )
    betas = _choose_betas(config, scheduler, unet)
    return InitialNetwork(unet, betas, _load_scheduler(source.noising, config), config.prediction_type)


def _check_stage(config: TrainingConfig, unet: ModelMixin) -> None:
    if unet.config.low_res_conditioning != (config.stage == "sr"):
        setting = "initial_model" if config.preset is None else "preset"
        kind = "super-resolution" if unet.config.low_res_conditioning else "the base stage"
        raise ValueError(
            f"`stage` is {config.stage!r}, and the network of `{setting}` {getattr(config, setting)} is one for "
            f"{kind} (its `low_res_conditioning` says so)."
        )


# Files


class _Source(NamedTuple):
    """The folders of a network and, where there are any, of the schedules that it was trained on."""

    unet: Path
    scheduler: Path | None = None
    noising: Path | None = None


def _layouts(stage: str) -> dict[str, tuple[str, ...]]:
    """What may lie in a folder: the file that tells it, and the subfolders of `_Source`."""
    layouts = {
        "model_index.json": (f"{stage}_unet", f"{stage}_scheduler", "image_noising_scheduler"),
        # A stage alone, as a run leaves it.
        "scheduler/scheduler_config.json": STAGE_FOLDERS,
        "config.json": (".",),
        # A checkpoint has averaged weights beside the others.
        "ema/config.json": ("ema",),
        "unet/config.json": ("unet",),
    }
    # A run has its model in a subfolder.
    in_run = {
        f"{MODEL_FOLDER}/{file}": tuple(f"{MODEL_FOLDER}/{name}" for name in names) for file, names in layouts.items()
    }
    return layouts | in_run


def _find_source(config: TrainingConfig) -> _Source:
    folder, layouts = Path(config.initial_model), _layouts(config.stage)
    if not folder.exists():
        folder = _download(config.initial_model, list(layouts))
    found = [names for file, names in layouts.items() if (folder / file).is_file()]
    if not found:
        raise ValueError(
            f"`initial_model` must be a pipeline (model_index.json), a network (config.json), a finished run "
            f"({MODEL_FOLDER}/) or a checkpoint of a run (ema/), {config.initial_model} is none of these."
        )
    if not Path(config.initial_model).exists():
        files = [f"{name}/{file}".removeprefix("./") for name in found[0] for file in ("*.json", *_WEIGHTS)]
        _download(config.initial_model, files, revision=folder.name)
    return _Source(*(folder / name for name in found[0]))


def _download(repo_id: str, patterns: list[str], revision: str | None = None) -> Path:
    """The folder in the cache, named by the commit, with a repository's files of these patterns."""
    try:
        return Path(snapshot_download(repo_id, revision=revision, allow_patterns=patterns))
    except (HFValidationError, RepositoryNotFoundError) as error:
        raise ValueError(
            f"`initial_model` must be a folder or the id of a repository on the Hub, {repo_id} is neither."
        ) from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise OSError(
            f"`initial_model` {repo_id} is no folder here, and it cannot be read from the Hub: "
            f"{str(error).splitlines()[0]}"
        ) from error


def _read_json(path: Path, config: TrainingConfig) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(
            f"`initial_model` {config.initial_model} has no {path.parent.name}/{path.name} that can be read."
        ) from error


def _load_network(folder: Path, config: TrainingConfig) -> ModelMixin:
    name = _read_json(folder / "config.json", config).get("_class_name")
    source = f"`initial_model` {config.initial_model}"
    if name not in NETWORK_CLASSES:
        raise ValueError(f"{source} must hold a network of {' or '.join(NETWORK_CLASSES)}, got {name}.")
    try:
        unet, report = NETWORK_CLASSES[name].from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True
        )
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0].split(". ")[0]
        raise ValueError(
            f"The weights of {source} cannot be read, or do not fit its configuration: {reason}."
        ) from error
    for problem in ("missing", "unexpected"):
        keys = report[f"{problem}_keys"]
        if keys:
            raise ValueError(
                f"The weights of {source} do not fit its configuration: {len(keys)} {problem}, {keys[0]}."
            )
    # Diffusers would write the folder of this machine into the trained network's configuration.
    unet.register_to_config(_name_or_path=Path(config.initial_model).name)
    return unet


# Schedules


def _load_scheduler(folder: Path, config: TrainingConfig) -> SchedulerMixin:
    values = _read_json(folder / "scheduler_config.json", config)
    name = values.get("_class_name", "nameless class")
    scheduler_class = getattr(diffusers, name, None)
    if scheduler_class is None:
        raise ValueError(
            f"The {folder.name} of `initial_model` {config.initial_model} is a {name}, which Diffusers does not have."
        )
    scheduler = scheduler_class.from_pretrained(folder)
    check_scheduler(scheduler, name=folder.name)
    return scheduler


def _scheduled_betas(config: TrainingConfig, sample_size: int | tuple[int, int]) -> list[float] | None:
    """Betas of the noise schedule of a run for a network of this size; `None` is Diffusers' own cosine schedule."""
    return None if config.noise_schedule == "cosine" else shifted_cosine_betas(sample_size)


def _choose_betas(config: TrainingConfig, scheduler: SchedulerMixin | None, unet: ModelMixin) -> list[float] | None:
    """The run's betas, which must be those that the network was trained on, where these are known."""
    size = unet.config.sample_size
    if config.noise_schedule != "initial":
        chosen = _scheduled_betas(config, size)
        if scheduler is not None and not _same_schedule(scheduler, chosen):
            raise ValueError(
                f"`noise_schedule` is {config.noise_schedule!r}, and that of `initial_model` {config.initial_model} "
                f"is {_name_of(scheduler, size)}. `noise_schedule: initial` takes it."
            )
        return chosen
    if scheduler is None:
        raise ValueError(
            f"`noise_schedule: initial` needs a pipeline in `initial_model`, {config.initial_model} is a network "
            f"without a schedule."
        )
    return None if _same_schedule(scheduler, None) else scheduler.betas.tolist()


def _same_schedule(scheduler: SchedulerMixin, betas: list[float] | None) -> bool:
    other = create_scheduler("ddpm", trained_betas=betas)
    return torch.allclose(scheduler.betas, other.betas, rtol=1e-3, atol=1e-8)


def _name_of(scheduler: SchedulerMixin, size: int | tuple[int, int]) -> str:
    known = {
        "'cosine'": None,
        "'shifted_cosine'": shifted_cosine_betas(size),
        "the cosine of the reference code": reference_cosine_betas(),
    }
    return next((name for name, betas in known.items() if _same_schedule(scheduler, betas)), "another")


def _default_noising(unet: ModelMixin) -> DDPMScheduler:
    """The schedule of the noise in conditioning images that a network's levels are about."""
    if isinstance(unet, ReferenceParallelUNetModel):
        return create_scheduler("ddpm", trained_betas=reference_linear_betas(), prediction_type="epsilon")
    return create_scheduler("ddpm")
