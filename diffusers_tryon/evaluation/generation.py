# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Makes the pictures of an evaluation: the model's and the baselines', in the folder of `layout`.

Cases are worked on in chunks of `batch_size` by their number, chunk k by process k modulo the number of processes, each
case with noise of its own. So one or several processes compute the very same batches, and a call that was interrupted
is repeated and goes on where it stopped.
"""

import hashlib
import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm.auto import tqdm

from .. import __version__
from ..image_files import write_image
from ..pipelines.pipeline_tryon_cascade import TryOnCascadePipeline
from ..rendering.samples import one_torch_thread
from .baselines import pasted_garment
from .cases import Case, Cases
from .layout import BASELINES, METHODS, MODEL, claim_folder, picture_path


# Arguments of the pipeline's call that follow from a case.
_CASE_ARGUMENTS = (
    "agnostic_image",
    "garment_image",
    "person_pose",
    "garment_pose",
    "agnostic_mask",
    "generator",
    "output_type",
    "num_images_per_prompt",
)


def produce(
    folder: str | Path,
    cases: Cases,
    pipeline: TryOnCascadePipeline,
    call_arguments: dict[str, Any] | None = None,
    batch_size: int = 8,
    process_index: int = 0,
    num_processes: int = 1,
    show_progress: bool = True,
    optimize: bool = False,
) -> None:
    """Make this process's share of the pictures of an evaluation; what is there already is not made again.

    The pipeline gets `agnostic_mask`, as its callers should: outside of it the person stays. On the CPU it works in one
    thread, whose sums do not depend on the machine's cores: launch as many processes as there are cores.

    Args:
        folder (`str` or `Path`): The folder of the evaluation, made if missing, see `layout`.
        cases (`Cases`): Of [`rendered_cases`] or [`dataset_cases`], of the size of the pipeline's pictures.
        pipeline (`TryOnCascadePipeline`): The model.
        call_arguments (`dict`, *optional*): Further arguments of its call: steps, guidance and the like.
        batch_size (`int`, defaults to 8): Cases in a chunk, which the pipeline makes at once.
        process_index, num_processes (`int`): This process and how many there are.
        show_progress (`bool`, defaults to `True`): Draw a bar over the cases of this process.
        optimize (`bool`, defaults to `False`): Optimise the pipeline with `pipeline.optimize`, in its dtype.

    Raises:
        ValueError: the cases are of another size than the pipeline's pictures, `call_arguments` holds what follows
            from the cases, or the folder holds pictures that were made otherwise (every difference is named).
    """
    folder, call_arguments = Path(folder), call_arguments or {}
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"`batch_size` must be an integer of at least 1, got {batch_size!r}.")
    given = [name for name in _CASE_ARGUMENTS if name in call_arguments]
    if given:
        raise ValueError(f"`call_arguments` must not hold {', '.join(given)}: every case has its own.")
    size = picture_size(pipeline, call_arguments)
    if tuple(cases.size) != size:
        raise ValueError(
            f"`cases` must be of the size of the pipeline's pictures, height {size[0]} and width {size[1]}, got "
            f"{cases.size[0]} and {cases.size[1]}."
        )
    settings = describe_settings(cases, pipeline, call_arguments, batch_size)
    if optimize:
        # After the weights were described: packed ones cannot be read.
        settings["model"]["optimized"] = str(pipeline.optimize(pipeline.dtype))
    claim_folder(folder, settings, process_index)
    chunks = [range(first, min(first + batch_size, len(cases))) for first in range(0, len(cases), batch_size)]
    own = chunks[process_index::num_processes]
    threads = one_torch_thread() if pipeline.device.type == "cpu" else nullcontext()
    with threads, tqdm(total=sum(map(len, own)), desc="try-on", unit="case", disable=not show_progress) as bar:
        for chunk in own:
            if not all(path.is_file() for index in chunk for path in _files(folder, cases, index)):
                _produce_chunk(folder, [cases[index] for index in chunk], pipeline, call_arguments)
            bar.update(len(chunk))


def produce_baselines(
    folder: str | Path,
    cases: Cases,
    process_index: int = 0,
    num_processes: int = 1,
    show_progress: bool = True,
) -> None:
    """As [`produce`] without a model: what a model has to beat, measured before there is one.

    Args:
        folder (`str` or `Path`): The folder of the evaluation, made if missing, see `layout`.
        cases (`Cases`): Of [`rendered_cases`] or [`dataset_cases`].
        process_index, num_processes (`int`): This process, which makes every `num_processes`-th case, and how many
            there are.
        show_progress (`bool`, defaults to `True`): Draw a bar over the cases of this process.

    Raises:
        ValueError: the folder holds pictures that were made otherwise (every difference is named).
    """
    folder = Path(folder)
    settings = {"data": cases.description, "model": None, "diffusers_tryon": __version__}
    claim_folder(folder, json.loads(json.dumps(settings, default=str)), process_index)
    own = range(len(cases))[process_index::num_processes]
    for index in tqdm(own, desc="baselines", unit="case", disable=not show_progress):
        if not all(path.is_file() for path in _files(folder, cases, index, methods=BASELINES)):
            _write_case(folder, cases[index])


def picture_size(pipeline: TryOnCascadePipeline, call_arguments: dict[str, Any] | None = None) -> tuple[int, int]:
    """Height and width of the pictures that a call of the pipeline makes."""
    arguments = call_arguments or {}
    last_stage = pipeline.stage_names(last_stage=arguments.get("last_stage"))[-1]
    return pipeline.stage_sizes(last_stage, arguments.get("height"), arguments.get("width"))[last_stage]


def describe_settings(
    cases: Cases, pipeline: TryOnCascadePipeline, call_arguments: dict[str, Any], batch_size: int
) -> dict[str, Any]:
    """What the pictures of an evaluation follow from, as `settings.json` holds it."""
    settings = {
        "data": cases.description,
        "model": describe_model(pipeline, call_arguments),
        "batch_size": batch_size,
        "diffusers_tryon": __version__,
    }
    # As it will be read.
    return json.loads(json.dumps(settings, default=str))


def describe_model(pipeline: TryOnCascadePipeline, call_arguments: dict[str, Any]) -> dict[str, Any]:
    """A pipeline and the arguments of its call, as far as pictures follow from them."""
    name = pipeline.name_or_path
    schedulers = {
        name: {"class": type(component).__name__}
        | {key: value for key, value in component.config.items() if not key.startswith("_")}
        for name, component in pipeline.components.items()
        if name.endswith("scheduler") and component is not None
    }
    return {
        "name": Path(name).name if name and Path(name).is_dir() else name,
        "weights_sha256": weights_sha256(pipeline),
        "dtype": str(pipeline.dtype).removeprefix("torch."),
        "device": pipeline.device.type,
        "schedulers": schedulers,
        "call": call_arguments,
    }


def weights_sha256(pipeline: TryOnCascadePipeline) -> str:
    """SHA-256 over names, types, shapes and bytes of all weights of a pipeline's networks."""
    digest = hashlib.sha256()
    for component_name, component in sorted(pipeline.components.items()):
        if isinstance(component, torch.nn.Module):
            for name, tensor in sorted(component.state_dict().items()):
                digest.update(f"{component_name}.{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
                digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _files(folder: Path, cases: Cases, index: int, methods: tuple[str, ...] = METHODS) -> list[Path]:
    """All files of a case."""
    kinds = [*methods, "mask", "garment"]
    kinds += ["reference" if cases.has_reference else "real"] + ["parse"] * cases.has_parse
    case_id = cases.ids[index]
    return [folder / "cases" / f"{case_id}.json", *(picture_path(folder, kind, case_id) for kind in kinds)]


def _produce_chunk(
    folder: Path, cases: list[Case], pipeline: TryOnCascadePipeline, call_arguments: dict[str, Any]
) -> None:
    output = pipeline(
        agnostic_image=np.stack([case.agnostic_image for case in cases]),
        garment_image=np.stack([case.garment_image for case in cases]),
        person_pose=np.stack([case.record.person_pose for case in cases]),
        garment_pose=np.stack([case.record.garment_pose for case in cases]),
        agnostic_mask=np.stack([case.agnostic_mask for case in cases]),
        # On the CPU, so that every device starts from the same noise.
        generator=[torch.Generator().manual_seed(case.record.noise_seed) for case in cases],
        **call_arguments,
    )
    for case, image in zip(cases, output.images, strict=True):
        write_image(image, picture_path(folder, MODEL, case.record.id))
        _write_case(folder, case)


def _write_case(folder: Path, case: Case) -> None:
    """Write what a case has without a model."""
    pictures = {
        "agnostic": case.agnostic_image,
        "pasted": pasted_garment(case),
        "mask": case.agnostic_mask,
        "garment": case.garment_image,
        "reference": case.reference,
        "real": case.real,
        "parse": case.parse,
    }
    for kind, picture in pictures.items():
        if picture is not None:
            write_image(Image.fromarray(picture), picture_path(folder, kind, case.record.id))
    # Last: what `layout.case_ids` finds has its pictures.
    case.record.write(folder)
