# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Named network configurations: one JSON file beside this module per preset."""

import inspect
import json
from pathlib import Path

from diffusers.models.modeling_utils import ModelMixin

from diffusers_tryon.models.unet_parallel import ParallelUNetModel
from diffusers_tryon.models.unet_parallel_reference import ReferenceParallelUNetModel


_FOLDER = Path(__file__).parent
# By the name in a configuration's `_class_name`.
NETWORK_CLASSES = {cls.__name__: cls for cls in (ParallelUNetModel, ReferenceParallelUNetModel)}


def list_presets() -> list[str]:
    """Names that `create_unet` takes."""
    return sorted(path.stem for path in _FOLDER.glob("*.json"))


def create_unet(name: str, **overrides) -> ModelMixin:
    """Build a network with random weights from a preset.

    Args:
        name (`str`): one of `list_presets()`.
        overrides: fields of the preset's configuration to replace, such as `sample_size=64`.

    Returns:
        [`ParallelUNetModel`] or [`ReferenceParallelUNetModel`]

    Raises:
        ValueError: the name or a field is unknown.
    """
    if name not in list_presets():
        raise ValueError(f"Unknown preset {name!r}. Available: {', '.join(list_presets())}.")
    config = json.loads((_FOLDER / f"{name}.json").read_text())
    model_class = NETWORK_CLASSES[config.pop("_class_name")]
    fields = [field for field in inspect.signature(model_class.__init__).parameters if field != "self"]
    unknown = sorted(set(overrides) - set(fields))
    if unknown:
        raise ValueError(
            f"{model_class.__name__} has no configuration field {', '.join(unknown)}. Fields: {', '.join(fields)}."
        )
    return model_class(**{**config, **overrides})
