# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The folder that a training run leaves: a pipeline for `TryOnCascadePipeline.from_pretrained`, or one stage of it."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import DDPMScheduler
from diffusers.models.modeling_utils import ModelMixin

from diffusers_tryon.models.presets import NETWORK_CLASSES
from diffusers_tryon.pipelines.pipeline_tryon_cascade import TryOnCascadePipeline
from diffusers_tryon.schedules import DEFAULT_SCHEDULER, create_scheduler


# Folder in a run's output folder of what it publishes: networks, schedulers, card.
MODEL_FOLDER = "model"
# What `save_pipeline` writes for a super-resolution stage without a base stage.
STAGE_FOLDERS = ("unet", "scheduler", "image_noising_scheduler")


def save_pipeline(
    folder: Path,
    stage: str,
    unet: ModelMixin,
    betas: list[float] | None,
    prediction_type: str,
    image_noising_scheduler: DDPMScheduler,
    base_model: str | None = None,
) -> bool:
    """Make `folder` the pipeline of a run: its network, and the default few-step scheduler on its noise schedule.

    A super-resolution stage needs the pipeline whose base stage comes before it. Without one the folder holds the
    stage alone (`STAGE_FOLDERS`), of which `training/export_pipeline.py` makes a pipeline.

    Args:
        folder (`Path`): Written beside and renamed; what it held before is removed.
        stage (`str`): "base" or "sr".
        unet (`ModelMixin`): The network, with the weights to publish.
        betas (`list[float]`, *optional*): Noise schedule of the run; Diffusers' cosine schedule if not given.
        prediction_type (`str`): What the network predicts.
        image_noising_scheduler (`DDPMScheduler`): Of the noise that augmented the run's conditioning images.
        base_model (`str`, *optional*): Folder or Hub id of the pipeline whose base stage comes before stage "sr".

    Returns:
        `bool`: whether `folder` is a pipeline.

    Raises:
        ValueError: `base_model` noises conditioning images by another schedule than the run did.
    """
    scheduler = create_scheduler(DEFAULT_SCHEDULER, trained_betas=betas, prediction_type=prediction_type)
    components = {
        f"{stage}_unet": unet,
        f"{stage}_scheduler": scheduler,
        "image_noising_scheduler": image_noising_scheduler,
    }
    if stage == "base":
        save_components(folder, components)
        return True
    if base_model is None:
        with _written_beside(folder) as temporary:
            for name, component in zip(STAGE_FOLDERS, components.values()):
                component.save_pretrained(temporary / name)
        return False
    base = TryOnCascadePipeline.from_pretrained(base_model, sr_unet=None, sr_scheduler=None)
    save_components(folder, join_stages(base.components, components))
    return True


def check_base_model(base_model: str, image_noising_scheduler: DDPMScheduler) -> None:
    """Check before training that `save_pipeline` will be able to put a pipeline's base stage before the trained one.

    Raises:
        ValueError: there is no such pipeline, or it noises conditioning images by another schedule.
    """
    try:
        noising = DDPMScheduler.from_pretrained(base_model, subfolder=STAGE_FOLDERS[2])
    except (OSError, ValueError) as error:
        raise ValueError(f"`base_model` must be a pipeline, got {base_model!r}: {error}") from error
    _check_same_noising(noising, image_noising_scheduler)


def join_stages(base: dict[str, Any], sr: dict[str, Any]) -> dict[str, Any]:
    """The components of a cascade, from those of a base stage and those of a super-resolution stage.

    Raises:
        ValueError: the two were trained with conditioning images that were noised by different schedules.
    """
    _check_same_noising(base["image_noising_scheduler"], sr["image_noising_scheduler"])
    return {
        **{name: base[name] for name in ("base_unet", "base_scheduler", "image_noising_scheduler")},
        **{name: sr[name] for name in ("sr_unet", "sr_scheduler")},
    }


def _check_same_noising(base: DDPMScheduler, sr: DDPMScheduler) -> None:
    if not torch.allclose(base.alphas_cumprod, sr.alphas_cumprod):
        raise ValueError(
            "The base stage and the super-resolution stage have different `image_noising_scheduler`s, and a pipeline "
            "has one for both."
        )


def save_components(folder: Path, components: dict[str, Any]) -> None:
    """Make `folder` the pipeline of these components, written beside and renamed."""
    pipeline = TryOnCascadePipeline(**components)
    with _written_beside(folder) as temporary:
        pipeline.save_pretrained(temporary)


def load_components(folder: Path, stage: str, dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    """One stage's components, by their names in the pipeline, from a run's folder or from what it published.

    Args:
        folder (`Path`): Output folder of a finished run, its `model` folder, or any pipeline folder.
        stage (`str`): "base" or "sr".
        dtype (`torch.dtype`, defaults to `torch.float32`): Of the network's weights.

    Raises:
        ValueError: there is no such stage in the folder.
    """
    for candidate in (folder / MODEL_FOLDER, folder):
        if (candidate / TryOnCascadePipeline.config_name).is_file():
            pipeline = TryOnCascadePipeline.from_pretrained(candidate, dtype=dtype)
            components = pipeline.components
            break
        if stage == "sr" and all((candidate / name).is_dir() for name in STAGE_FOLDERS):
            components = _load_stage_alone(candidate, dtype)
            break
    else:
        raise ValueError(
            f"{folder} holds no {stage} stage: neither a pipeline nor the folder `{MODEL_FOLDER}` that a finished run "
            f"leaves."
        )
    names = (f"{stage}_unet", f"{stage}_scheduler", "image_noising_scheduler")
    if components[names[0]] is None:
        raise ValueError(f"The pipeline in {candidate} has no {stage} stage.")
    return {name: components[name] for name in names}


def _load_stage_alone(folder: Path, dtype: torch.dtype) -> dict[str, Any]:
    unet_folder, scheduler_folder, noising_folder = (folder / name for name in STAGE_FOLDERS)
    network = NETWORK_CLASSES[json.loads((unet_folder / "config.json").read_text())["_class_name"]]
    scheduler_name = json.loads((scheduler_folder / "scheduler_config.json").read_text())["_class_name"]
    return {
        "sr_unet": network.from_pretrained(unet_folder, dtype=dtype),
        "sr_scheduler": getattr(diffusers, scheduler_name).from_pretrained(scheduler_folder),
        "image_noising_scheduler": DDPMScheduler.from_pretrained(noising_folder),
    }


@contextmanager
def _written_beside(folder: Path) -> Iterator[Path]:
    """A temporary folder that takes the place of `folder` when the block ends well."""
    temporary, old = folder.with_name(f"tmp-{folder.name}"), folder.with_name(f"tmp-old-{folder.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for path in temporary.rglob("*.json"):
            _drop_path(path)
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            os.replace(folder, old)
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def _drop_path(path: Path) -> None:
    """Diffusers writes into a configuration from which folder of this machine its object was loaded."""
    config = json.loads(path.read_text())
    if config.pop("_name_or_path", None) is not None:
        path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
