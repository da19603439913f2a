# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What answers the requests of a Hugging Face Inference Endpoint; a repository's `handler.py` imports it from here."""

import base64
import binascii
import os
import secrets
from io import BytesIO
from typing import Any

import torch
from PIL import Image

from ..image_files import read_image
from ..inference import load_pipeline, load_preprocessor, with_scheduler
from ..pipelines.pipeline_output import TryOnCascadePipelineOutput, TryOnPhotosOutput
from ..poses import parse_pose
from ..schedules import SCHEDULERS


_PHOTOS = ("person_photo", "garment_photo")
_REQUIRED_CONDITIONS = ("agnostic_image", "garment_image", "person_pose")
_CONDITIONS = (*_REQUIRED_CONDITIONS, "garment_pose", "agnostic_mask")
# Arguments of the pipeline's call, and of `try_on` beside them, that a request may set.
_CALL_PARAMETERS = (
    "num_inference_steps", "sr_num_inference_steps", "guidance_scale", "sr_guidance_scale", "guidance_rescale",
    "guidance_start", "guidance_stop", "sr_guidance_start", "sr_guidance_stop", "last_stage", "height", "width",
)  # fmt: skip
_PHOTO_PARAMETERS = ("category", "garment_type", "person_index")
_OWN_PARAMETERS = ("scheduler", "seed", "all_stages")
_MAX_SEED = 2**63 - 1
# Of the largest stage anybody trains; a request for more would fill the memory and end the server.
_MAX_SIDE = 1024


class EndpointHandler:
    r"""
    Tries garments on, for requests like these, with pictures as base64 text or data URLs:

    ```json
    {"inputs": {"person_photo": "/9j/4AAQ...", "garment_photo": "/9j/4AAQ..."},
     "parameters": {"category": "upper", "scheduler": "unipc", "num_inference_steps": 12, "seed": 7}}
    ```

    In place of photographs `inputs` may hold prepared conditions: `agnostic_image`, `garment_image`, `person_pose`,
    and if wanted `garment_pose` and `agnostic_mask`; a pose is what a pose file holds. `parameters` are arguments of
    the pipeline's call, `scheduler` (a key of `SCHEDULERS`), `seed`, `all_stages`, and for photographs `category`,
    `garment_type` and `person_index`.

    The answer has `image` (a PNG as base64), `seed`, `seconds` of each stage and `warnings`; `stages` and, of
    photographs, `prepared` (a picture of what was seen in them) if `all_stages` is true. Anything wrong with a request
    is raised as a `ValueError`, which the endpoint answers with status 400 and its text.

    The environment variables `TRYON_DTYPE` ("float32", "bfloat16", "float16") and `TRYON_PREPROCESSOR` ("offline",
    "hub", a folder or Hub id) set the type of the weights and what looks at photographs.

    Args:
        path (`str`): folder of the repository, a pipeline.
    """

    def __init__(self, path: str):
        self.pipe = load_pipeline(path, dtype=os.environ.get("TRYON_DTYPE", "float32"))
        self.pipe.set_progress_bar_config(disable=True)
        self.preprocessor = load_preprocessor(os.environ.get("TRYON_PREPROCESSOR", "offline"), self.pipe.device)

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        request = _dictionary(data, "request")
        inputs = _dictionary(request.get("inputs"), "inputs")
        parameters = dict(_dictionary(request.get("parameters", {}), "parameters"))
        has_photos = any(name in inputs for name in _PHOTOS)
        _check_names(inputs, "inputs", _PHOTOS if has_photos else _CONDITIONS)
        _check_required(inputs, has_photos)
        allowed = _OWN_PARAMETERS + _CALL_PARAMETERS + (_PHOTO_PARAMETERS if has_photos else ())
        _check_names(parameters, "parameters", allowed)
        scheduler, seed = _scheduler(parameters.pop("scheduler", None)), _seed(parameters.pop("seed", None))
        shows_all = _flag(parameters.pop("all_stages", False))
        _check_sides(parameters)
        conditions = {name: _decoded(value, name) for name, value in inputs.items() if value is not None}

        # Schedulers of its own: nothing of one request stays for the next.
        pipe = with_scheduler(self.pipe, scheduler)
        pipe.set_progress_bar_config(disable=True)
        parameters["generator"] = torch.Generator().manual_seed(seed)
        if has_photos:
            output = pipe.try_on(**conditions, preprocessor=self.preprocessor, **parameters)
        else:
            output = pipe(**conditions, **parameters)
        # Python's own record of warnings is one for all threads, and endpoints answer in several.
        messages = [str(warning) for warning in output.prepared.warnings] if has_photos else []
        answer = {"image": _encoded(output.images[0]), "seed": seed, "seconds": output.seconds, "warnings": messages}
        return answer | (_stages(output) if shows_all else {})


def _stages(output: TryOnCascadePipelineOutput | TryOnPhotosOutput) -> dict[str, Any]:
    pictures = {"stages": {name: _encoded(images[0]) for name, images in output.stages.items()}}
    if isinstance(output, TryOnPhotosOutput):
        pictures["prepared"] = _encoded(output.prepared.picture())
    return pictures


def _dictionary(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"`{name}` must be a JSON object, got {_shown(value)}.")
    return value


def _check_names(values: dict[str, Any], name: str, allowed: tuple[str, ...]) -> None:
    unknown = [key for key in values if key not in allowed]
    if unknown:
        raise ValueError(f"`{name}` may hold {', '.join(allowed)} here, got {_shown(unknown[0])}.")


def _check_required(inputs: dict[str, Any], has_photos: bool) -> None:
    missing = [name for name in (_PHOTOS if has_photos else _REQUIRED_CONDITIONS) if inputs.get(name) is None]
    if missing:
        raise ValueError(
            f"`inputs` lacks `{missing[0]}`: it must hold {' and '.join(_PHOTOS)}, or {', '.join(_REQUIRED_CONDITIONS)}."
        )


def _check_sides(parameters: dict[str, Any]) -> None:
    """What is no number at all is for the pipeline to refuse."""
    for name in ("height", "width"):
        value = parameters.get(name)
        if isinstance(value, (int, float)) and value > _MAX_SIDE:
            raise ValueError(f"`{name}` must be at most {_MAX_SIDE} here, got {_shown(value)}.")


def _scheduler(value: Any) -> str | None:
    if value is not None and value not in list(SCHEDULERS):
        raise ValueError(f"`scheduler` must be one of {', '.join(SCHEDULERS)}, got {_shown(value)}.")
    return value


def _seed(value: Any) -> int:
    if value is None:
        return secrets.randbelow(2**31)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_SEED:
        raise ValueError(f"`seed` must be an integer from 0 to {_MAX_SEED}, got {_shown(value)}.")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"`all_stages` must be true or false, got {_shown(value)}.")
    return value


def _decoded(value: Any, name: str) -> Any:
    """A condition as the pipeline takes it: a pose, the bytes of a photograph, or a picture."""
    if name.endswith("_pose"):
        return parse_pose(value, name)
    if not isinstance(value, str):
        raise ValueError(f"`{name}` must be a picture file as base64 text, got {_shown(value)}.")
    text = value.partition(";base64,")[2] if value.startswith("data:") else value
    try:
        content = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"`{name}` must be a picture file as base64 text: {error}.") from error
    return content if name in _PHOTOS else read_image(BytesIO(content), name)


def _encoded(image: Image.Image) -> str:
    buffer = BytesIO()
    image.save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def _shown(value: Any) -> str:
    """A value of a request for an error, cut: it may be a whole picture."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
