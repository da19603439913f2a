# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Whether what a folder holds loads and works: a pipeline makes one picture, a network runs once, an app compiles."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from diffusers import DiffusionPipeline
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoImageProcessor

from ..data.parts import list_parts
from ..data.validation import validate_parts
from ..evaluation.generation import weights_sha256
from ..pipelines.pipeline_tryon_cascade import TryOnCascadePipeline
from ..rendering.samples import render_pair
from .card_checks import DATASET, SPACE
from .card_facts import LORA, LORA_WEIGHTS, NETWORK, PIPELINE, STAGE, folder_kind, read_json
from .card_text import read_front_matter
from .cards import CARD_NAME
from .export import load_components
from .upload import one_line


_NUM_STEPS, _NUM_ANCESTRAL_STEPS = 4, 25
_MAX_FINDINGS = 20


def find_kind(folder: Path) -> str | None:
    """The kind of repository that a folder is: one of `card_facts`, "space" or "dataset"; `None` if it is none."""
    if _front_matter(folder).get("sdk"):
        return SPACE
    kind = folder_kind(folder)
    if kind is not None:
        return kind
    try:
        return DATASET if list_parts(folder) else None
    except ValueError:
        return None


def try_out(folder: Path, kind: str) -> tuple[list[str], list[str]]:
    """Load what a folder holds and use it once.

    Args:
        folder (`Path`): as it is to lie on the Hub.
        kind (`str`): of `find_kind`.

    Returns:
        `tuple[list[str], list[str]]`: problems, and what was done without any; each a line.
    """
    try:
        return _TRIALS[kind](folder)
    # Whatever it is that a folder's content runs into is what its owner wants to read.
    except Exception as error:
        return [f"it does not load or run: {type(error).__name__}: {one_line(str(error))}"], []


def _try_pipeline(folder: Path) -> tuple[list[str], list[str]]:
    is_code = isinstance(read_json(folder / TryOnCascadePipeline.config_name)["_class_name"], list)
    # A folder with code of its own is loaded as those do who have not this package.
    loaded_by = DiffusionPipeline if is_code else TryOnCascadePipeline
    load = partial(loaded_by.from_pretrained, folder, **({"trust_remote_code": True} if is_code else {}))
    pipe = load(dtype=torch.float32)
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    pipe.to(device).set_progress_bar_config(disable=True)
    last = pipe.base_unet if pipe.sr_unet is None else pipe.sr_unet
    size = last.config.sample_size
    height, width = (size, size) if isinstance(size, int) else size
    start = time.perf_counter()
    stages = pipe(
        **sample_inputs(height, width),
        num_inference_steps=_steps(pipe.base_scheduler),
        sr_num_inference_steps=_steps(pipe.sr_scheduler),
        generator=torch.Generator().manual_seed(0),
        output_type="pt",
    ).stages
    problems = [problem for name, images in stages.items() for problem in _picture_problems(name, images)]
    seconds = time.perf_counter() - start
    problems += _evaluation_problems(folder, load)
    done = f"made a picture of {width} x {height} pixels in few steps, {seconds:.1f} s on {device.type}"
    return problems, [] if problems else [done]


def _evaluation_problems(folder: Path, load: Callable[..., DiffusionPipeline]) -> list[str]:
    """Evaluations in the folder, and so figures in its card, of other weights than these."""
    problems = []
    for path in sorted(folder.glob("evaluation*.json")):
        model = read_json(path).get("model")
        if not model or "weights_sha256" not in model:
            continue
        if weights_sha256(load(dtype=getattr(torch, model["dtype"]))) != model["weights_sha256"]:
            problems.append(f"{path.name}: it was measured with other weights than those in the folder")
    return problems


def sample_inputs(height: int, width: int) -> dict[str, Any]:
    """Arguments of a pipeline's call from a rendered person and garment, at (height, width)."""
    row = render_pair(0, min(max(height, width, 16), 1024), "test", "upper")
    images = {name: Image.fromarray(row[name]).resize((width, height)) for name in ("agnostic_image", "garment_image")}
    return {**images, "person_pose": row["person_pose"], "garment_pose": row["garment_pose"]}


def _steps(scheduler: SchedulerMixin | None) -> int:
    """Few steps; those of ancestral schedulers are too large for that, see `schedules.check_steps`."""
    return _NUM_ANCESTRAL_STEPS if "Ancestral" in type(scheduler).__name__ else _NUM_STEPS


def _picture_problems(stage: str, images: torch.Tensor) -> list[str]:
    if not torch.isfinite(images).all():
        return [f"the picture of stage {stage!r} has values that are not finite"]
    if images.max() - images.min() < 1 / 255:
        return [f"the picture of stage {stage!r} is one flat colour"]
    return []


def _output_problems(output: torch.Tensor) -> list[str]:
    if not torch.isfinite(output).all():
        return ["the network's output has values that are not finite"]
    return ["the network's output is constant"] if output.max() == output.min() else []


@torch.no_grad()
def _try_stage(folder: Path) -> tuple[list[str], list[str]]:
    unet = load_components(folder, "sr")["sr_unet"].eval()
    size = unet.config.sample_size
    height, width = (size, size) if isinstance(size, int) else size
    random = torch.Generator().manual_seed(0)
    pictures = torch.rand((4, 1, 3, height, width), generator=random) * 2 - 1
    poses = torch.rand((2, 1, 18, 3), generator=random)
    names = ("sample", "agnostic_image", "garment_image", "low_res_image")
    output = unet(
        **dict(zip(names, pictures)), timestep=torch.tensor(500.0), person_pose=poses[0], garment_pose=poses[1]
    ).sample
    problems = _output_problems(output)
    return problems, [] if problems else [f"ran the network once at {width} x {height} pixels"]


def _try_lora(folder: Path) -> tuple[list[str], list[str]]:
    weights = load_file(folder / LORA_WEIGHTS)
    problems = [
        f"{LORA_WEIGHTS}: {name} has values that are not finite"
        for name, value in weights.items()
        if not torch.isfinite(value).all()
    ]
    done = f"read {len(weights)} matrices of adapters; the pipeline that they belong to was not run"
    return problems, [] if problems else [done]


@torch.no_grad()
def _try_network(folder: Path) -> tuple[list[str], list[str]]:
    (name,) = read_json(folder / "config.json")["architectures"]
    network = getattr(transformers, name).from_pretrained(folder, dtype=torch.float32).eval()
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    picture = np.random.default_rng(0).integers(0, 256, (224, 160, 3), dtype=np.uint8)
    inputs = processor(Image.fromarray(picture), return_tensors="pt")
    problems = _output_problems(network(**inputs)[0])
    return problems, [] if problems else [f"ran {name} once on a picture"]


def _try_space(folder: Path) -> tuple[list[str], list[str]]:
    entries = _front_matter(folder)
    if entries["sdk"] != "gradio":
        return [f"{CARD_NAME}: only Spaces with `sdk: gradio` can be pushed, got {entries['sdk']!r}"], []
    app_name = entries.get("app_file", "app.py")
    problems = [f"{name}: it is missing" for name in (app_name, "requirements.txt") if not (folder / name).is_file()]
    if not (folder / app_name).resolve().is_relative_to(folder.resolve()):
        problems.append(f"{app_name}: it is outside of the repository")
    elif (folder / app_name).is_file():
        try:
            compile((folder / app_name).read_text(encoding="utf-8"), app_name, "exec")
        except (SyntaxError, ValueError) as error:
            problems.append(f"{app_name}: it is no Python: {one_line(str(error))}")
    return problems, [] if problems else [f"compiled {app_name}; it was not started"]


def _try_dataset(folder: Path) -> tuple[list[str], list[str]]:
    report = validate_parts(list_parts(folder))
    problems = [str(finding) for finding in report.findings[:_MAX_FINDINGS]]
    if len(report.findings) > _MAX_FINDINGS:
        problems.append(f"and {len(report.findings) - _MAX_FINDINGS} more (`diffusers-tryon validate {folder}`)")
    return problems, [] if problems else ["checked every row of the data set"]


def _front_matter(folder: Path) -> dict[str, Any]:
    """That of a card that can be read; others are `card_checks`' to report."""
    try:
        return read_front_matter((folder / CARD_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


_TRIALS: dict[str, Callable[[Path], tuple[list[str], list[str]]]] = {
    PIPELINE: _try_pipeline,
    STAGE: _try_stage,
    LORA: _try_lora,
    NETWORK: _try_network,
    SPACE: _try_space,
    DATASET: _try_dataset,
}
