# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What a folder's configuration says about itself: which kind of repository it is, its networks and schedulers."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from ..pipelines.pipeline_tryon_cascade import TryOnCascadePipeline
from ..schedules import DEFAULT_STEPS, reference_cosine_betas, shifted_cosine_betas


STAGE_TITLES = {"base": "base stage", "sr": "super-resolution stage"}
# The kinds of folders that have a card: a pipeline, a stage alone, adapters, a network of transformers.
PIPELINE, STAGE, LORA, NETWORK = "pipeline", "stage", "lora", "network"
LORA_WEIGHTS = "pytorch_lora_weights.safetensors"
# Of batch normalisation: kept with the weights, and no parameters.
_STATISTICS = (".running_mean", ".running_var", ".num_batches_tracked")
_DTYPES = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}


@dataclass(frozen=True)
class NetworkFacts:
    """A network and, of a diffusion network, what samples from it.

    Attributes:
        title: what the card calls it.
        class_name: of the network.
        num_parameters: of its main weights.
        dtype: of these in their file, such as "float16".
        size: (height, width) of its pictures in pixels.
        prediction_type, noise_schedule, scheduler: of a diffusion network.
        num_inference_steps: that the pipeline takes if nobody says otherwise.
    """

    title: str
    class_name: str
    num_parameters: int
    dtype: str
    size: tuple[int, int]
    prediction_type: str | None = None
    noise_schedule: str | None = None
    scheduler: str | None = None
    num_inference_steps: int | None = None


def folder_kind(folder: Path) -> str | None:
    """The kind of a folder that can have a card, or `None`."""
    if (folder / TryOnCascadePipeline.config_name).is_file():
        return PIPELINE
    if (folder / "unet").is_dir():
        return STAGE
    if (folder / LORA_WEIGHTS).is_file():
        return LORA
    if (folder / "config.json").is_file() and "architectures" in read_json(folder / "config.json"):
        return NETWORK
    return None


def read_networks(folder: Path) -> list[NetworkFacts]:
    """The networks of a folder; adapters have none."""
    kind = folder_kind(folder)
    if kind == PIPELINE:
        components = read_json(folder / TryOnCascadePipeline.config_name)
        stages = [name for name in STAGE_TITLES if components.get(f"{name}_unet", [None])[0] is not None]
        return [_read_stage(folder / f"{name}_unet", folder / f"{name}_scheduler", name) for name in stages]
    if kind == STAGE:
        return [_read_stage(folder / "unet", folder / "scheduler", "sr")]
    return [_read_transformer(folder)] if kind == NETWORK else []


def read_json(path: Path) -> dict[str, Any]:
    """An object in a JSON file.

    Raises:
        ValueError: it is no JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} must hold a JSON object, got {type(value).__name__}.")
    return value


def _read_stage(unet: Path, scheduler: Path, name: str) -> NetworkFacts:
    config, sampling = read_json(unet / "config.json"), read_json(scheduler / "scheduler_config.json")
    size = _size(config["sample_size"])
    num_parameters, dtype = _weights(unet)
    return NetworkFacts(
        title=STAGE_TITLES[name],
        class_name=config["_class_name"],
        num_parameters=num_parameters,
        dtype=dtype,
        size=size,
        prediction_type=sampling["prediction_type"],
        noise_schedule=_noise_schedule(sampling, size),
        scheduler=sampling["_class_name"],
        num_inference_steps=DEFAULT_STEPS[name],
    )


def _read_transformer(folder: Path) -> NetworkFacts:
    size = read_json(folder / "preprocessor_config.json")["size"]
    num_parameters, dtype = _weights(folder)
    return NetworkFacts(
        title="network",
        class_name=read_json(folder / "config.json")["architectures"][0],
        num_parameters=num_parameters,
        dtype=dtype,
        size=(size["height"], size["width"]),
    )


def _size(value: int | list[int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _weights(folder: Path) -> tuple[int, str]:
    """Number and type of the weights in a folder's main files; variants, as "model.fp16.safetensors", do not count."""
    files = [path for path in sorted(folder.glob("*.safetensors")) if path.name.count(".") == 1]
    number, dtypes = 0, set()
    for path in files:
        with safe_open(path, framework="numpy") as weights:
            for name in weights.keys():
                if name.endswith(_STATISTICS):
                    continue
                view = weights.get_slice(name)
                number += int(np.prod(view.get_shape(), dtype=np.int64))
                dtypes.add(_DTYPES.get(view.get_dtype(), view.get_dtype()))
    return number, " and ".join(sorted(dtypes))


def _noise_schedule(config: dict[str, Any], size: tuple[int, int]) -> str:
    betas = config.get("trained_betas")
    if betas is None:
        return "cosine" if config["beta_schedule"] == "squaredcos_cap_v2" else config["beta_schedule"]
    known = {
        f"cosine, shifted for {size[1]} x {size[0]} pixels": shifted_cosine_betas(size),
        "cosine of the reference implementation": reference_cosine_betas(),
    }
    for name, values in known.items():
        if len(values) == len(betas) and np.allclose(values, betas, rtol=1e-4, atol=1e-7):
            return name
    return "given by its betas"
