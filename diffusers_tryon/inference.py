# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""From the words of a command line to a pipeline and a preprocessor that are ready to run."""

import inspect
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging

from .checkpoints import shipped_checkpoint
from .pipelines.optimization import best_settings
from .pipelines.pipeline_tryon_cascade import TryOnCascadePipeline
from .pipelines.stage_loading import load_in_turn
from .pipelines.stages import STAGES
from .preprocessing.preprocessor import TryOnPreprocessor
from .schedules import SCHEDULERS, swap_scheduler


DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
FASTEST = "fastest"

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def resolve_model(model: str | None) -> str:
    """The folder or Hub id to load: `model` itself, or the shipped checkpoint for None.

    Raises:
        ValueError: `model` is a folder without a pipeline, or neither a folder nor shaped like "user/name".
    """
    if model is None:
        return str(shipped_checkpoint())
    if Path(model).is_dir():
        if not (Path(model) / "model_index.json").is_file():
            raise ValueError(f"`model` must be the folder of a pipeline, {model} has no model_index.json.")
        return model
    if Path(model).exists() or not _HUB_ID.fullmatch(model):
        raise ValueError(f'`model` must be a folder or the id of a repository on the Hub, "user/name", got {model!r}.')
    return model


def resolve_device(device: str) -> torch.device:
    """The device of a name such as "cuda:1", "mps" or "cpu"; "auto" is the first GPU if there is one.

    Raises:
        ValueError: there is no such device on this machine.
    """
    found = torch.accelerator.current_accelerator(check_available=True)
    if device == "auto":
        return found or torch.device("cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f'`device` must be "auto", "cpu", "cuda", "cuda:1" or the like, got {device!r}.') from error
    if resolved.type == "cpu":
        return resolved
    if found is None or found.type != resolved.type or (resolved.index or 0) >= torch.accelerator.device_count():
        raise ValueError(f'`device` must be on this machine, which has no {device!r}; "cpu" always works.')
    return resolved


def load_pipeline(
    model: str | None = None,
    dtype: str = "float32",
    device: str = "auto",
    scheduler: str | None = None,
    low_memory: bool = False,
) -> TryOnCascadePipeline:
    """Load a pipeline by names.

    Args:
        model (`str`, *optional*): Folder or Hub id of a pipeline; the checkpoint that comes with the package if None.
        dtype (`str`, *optional*, defaults to `"float32"`): Type of the weights, a key of `DTYPES`, or "fastest": the
            one that the device computes fastest with, see [`best_settings`].
        device (`str`, *optional*, defaults to `"auto"`): See [`resolve_device`].
        scheduler (`str`, *optional*): A key of `diffusers_tryon.schedules.SCHEDULERS` that replaces the scheduler of
            every stage.
        low_memory (`bool`, *optional*, defaults to `False`): Load the stages in turn, see [`load_in_turn`].

    Raises:
        ValueError: naming the argument that cannot be used.
    """
    if dtype not in (*DTYPES, FASTEST):
        raise ValueError(f"`dtype` must be one of {', '.join(DTYPES)}, {FASTEST}, got {dtype!r}.")
    if scheduler is not None and scheduler not in SCHEDULERS:
        raise ValueError(f"`scheduler` must be one of {', '.join(SCHEDULERS)}, got {scheduler!r}.")
    resolved_device = resolve_device(device)
    resolved_dtype = best_settings(resolved_device).dtype if dtype == FASTEST else DTYPES[dtype]
    if low_memory:
        pipe = load_in_turn(resolve_model(model), resolved_dtype, resolved_device)
    else:
        pipe = TryOnCascadePipeline.from_pretrained(resolve_model(model), dtype=resolved_dtype).to(resolved_device)
    return pipe if scheduler is None else with_scheduler(pipe, scheduler)


def with_scheduler(pipe: TryOnCascadePipeline, scheduler: str | None) -> TryOnCascadePipeline:
    """A pipeline of the same networks, not copied, with schedulers of its own; `pipe` stays as it is.

    For programs that serve requests: a scheduler holds the state of a call.

    Args:
        pipe (`TryOnCascadePipeline`): Whose networks to share.
        scheduler (`str`, *optional*): A key of `diffusers_tryon.schedules.SCHEDULERS` for every stage; copies of the
            schedulers of `pipe` if None.

    Raises:
        ValueError: there is no such scheduler, or it cannot sample from these networks.
    """
    components = dict(pipe.components)
    for name, component in pipe.components.items():
        if name in (f"{stage}_scheduler" for stage in STAGES) and component is not None:
            components[name] = deepcopy(component) if scheduler is None else swap_scheduler(component, scheduler)
    return type(pipe)(**components)


def load_preprocessor(source: str, device: torch.device) -> TryOnPreprocessor:
    """Load a preprocessor by name, see [`TryOnPreprocessor.from_pretrained`], without the bars of its networks."""
    logging.disable_progress_bar()
    return TryOnPreprocessor.from_pretrained(source, device)


def spelt_out(call: dict[str, Any], pipeline: TryOnCascadePipeline) -> dict[str, Any]:
    """The arguments of the pipeline's call with the defaults for those not given, so that the result states them."""
    defaults = inspect.signature(pipeline.__call__).parameters
    arguments = {name: defaults[name].default if value is None else value for name, value in call.items()}
    return {name: value for name, value in arguments.items() if value is not None}
