# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The back ends of a preprocessor: saved together in a folder, loaded from there or the Hub, and the defaults.

A saved preprocessor is a folder with an index, `tryon_preprocessor.json`, and one folder for each back end:

```json
{"_class_name": "TryOnPreprocessor",
 "components": {"human_parser": "SegformerParser", "pose_estimator": "ViTPoseEstimator"}}
```

The defaults "offline" need nothing but the package: its parser, which was trained on rendered people; for people and
poses MediaPipe where its extra is installed, and the package's own pose network and people found by its parser where
MediaPipe is not installed or finds nobody. The defaults "hub" are downloaded: see the table in `transformers_backends`
for their licences, one of which forbids commercial use.
"""

import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from ..checkpoints import shipped_checkpoint
from ..files import written_beside
from .sources import check_hub_options, fetch, read_json_object


INDEX_FILE = "tryon_preprocessor.json"
COMPONENT_NAMES = ("human_parser", "pose_estimator", "person_detector")
SHIPPED_PARSER = "tryon-parser-small"
SHIPPED_POSE_ESTIMATOR = "tryon-pose-small"

_CLASS_NAME = "TryOnPreprocessor"
# The classes that a folder may name, and the module of each, imported when it is wanted.
_MODULES = {
    "FallbackPersonDetector": "fallbacks",
    "FallbackPoseEstimator": "fallbacks",
    "MediaPipePersonDetector": "mediapipe_backend",
    "MediaPipePoseEstimator": "mediapipe_backend",
    "ParserPersonDetector": "parser_detector",
    "RTDetrPersonDetector": "transformers_backends",
    "SegformerParser": "transformers_backends",
    "SmallPoseEstimator": "small_pose",
    "ViTPoseEstimator": "transformers_backends",
}


def save_components(folder: str | Path, components: Mapping[str, Any]) -> None:
    """Write back ends to a folder for [`load_components`].

    Args:
        folder (`str` or `Path`): Made if missing.
        components (`Mapping`): Back ends by their names, see `COMPONENT_NAMES`; None for one that is not used. Of a
            class that does not come with the package only the name is written: it must be given when the folder is
            loaded.

    Raises:
        ValueError: unknown names.
    """
    _check_names(components, "components")
    index = {}
    for name, component in components.items():
        if component is None:
            continue
        index[name] = type(component).__name__
        if _is_ours(component):
            component.save_pretrained(Path(folder) / name)
    content = {"_class_name": _CLASS_NAME, "components": index}
    with written_beside(Path(folder) / INDEX_FILE) as file:
        file.write_text(json.dumps(content, indent=2) + "\n")


def _is_ours(component: Any) -> bool:
    module = _MODULES.get(type(component).__name__)
    return type(component).__module__ == f"{__package__}.{module}"


def _check_names(components: Mapping[str, Any], where: str) -> None:
    unknown = sorted(set(components) - set(COMPONENT_NAMES))
    if unknown:
        raise ValueError(
            f"Unknown component {', '.join(unknown)} in {where}; a preprocessor has {', '.join(COMPONENT_NAMES)}."
        )


def load_components(
    source: str | Path,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    **options: Any,
) -> dict[str, Any]:
    """Load the back ends of a preprocessor.

    Args:
        source (`str` or `Path`): "offline" or "hub" for the defaults; otherwise a folder that [`save_components`]
            wrote, or the id of a repository on the Hub that holds one, "user/name".
        device (`str` or `torch.device`, defaults to `"cpu"`): Where the networks of torch run.
        dtype (`torch.dtype`, defaults to `torch.float32`): Of their weights.
        **options: Back ends by name that are taken in place of those of `source`, which then are neither downloaded
            nor loaded; `revision`, `cache_dir`, `token` and `local_files_only` as in `huggingface_hub`.

    Returns:
        `dict[str, Any]`: Back ends by name.

    Raises:
        ValueError: no such folder or repository, no access to it, files missing or foreign, an unknown class.
        OSError: the Hub cannot be reached, and the cache does not hold the files.
    """
    given = {name: options.pop(name) for name in COMPONENT_NAMES if name in options}
    check_hub_options(options)
    wanted = [name for name in COMPONENT_NAMES if name not in given]
    if source == "offline":
        return offline_components(device, dtype, wanted) | given
    if source == "hub":
        return hub_components(device, dtype, wanted, **options) | given
    folder = fetch(source, [INDEX_FILE], **options)
    classes = _read_index(folder, source)
    wanted = [name for name in wanted if name in classes]
    for name in wanted:
        if classes[name] not in _MODULES:
            raise ValueError(
                f"The {name} of {source} is a {classes[name]}, which does not come with the package. Make one and "
                f"pass it: `{name}=`."
            )
    if not Path(source).is_dir():
        # Of the commit of the index, so that a push in between cannot mix two versions.
        folder = fetch(source, [f"{name}/*" for name in wanted], **options | {"revision": folder.name})
    loaded = {
        name: component_class(classes[name]).from_pretrained(folder, subfolder=name, device=device, dtype=dtype)
        for name in wanted
    }
    return loaded | given


def _read_index(folder: Path, source: str | Path) -> dict[str, str]:
    """The classes of the components by their names."""
    index = read_json_object(folder, INDEX_FILE, source)
    classes = index.get("components")
    if (
        index.get("_class_name") != _CLASS_NAME
        or not isinstance(classes, dict)
        or not all(isinstance(name, str) for name in classes.values())
    ):
        raise ValueError(
            f'The file {folder / INDEX_FILE} must hold {{"_class_name": "{_CLASS_NAME}", "components": '
            "{name: class, ...}}."
        )
    _check_names(classes, str(folder / INDEX_FILE))
    return classes


def component_class(name: str) -> type:
    """The class of a back end that comes with the package, by its name."""
    return getattr(import_module(f".{_MODULES[name]}", __package__), name)


def offline_components(
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    names: Sequence[str] = COMPONENT_NAMES,
) -> dict[str, Any]:
    """The back ends that come with the package and its extra `mediapipe`; only those named are loaded."""
    has_mediapipe = _has_mediapipe()
    components = {}
    if {"human_parser", "person_detector"} & set(names):
        parser = component_class("SegformerParser").from_pretrained(
            shipped_checkpoint(SHIPPED_PARSER), device=device, dtype=dtype, keep_aspect=True
        )
        components["human_parser"] = parser
    if "pose_estimator" in names:
        estimator = component_class("SmallPoseEstimator").from_pretrained(
            shipped_checkpoint(SHIPPED_POSE_ESTIMATOR), device=device, dtype=dtype
        )
        if has_mediapipe:
            mediapipe = component_class("MediaPipePoseEstimator")()
            estimator = component_class("FallbackPoseEstimator")(mediapipe, estimator)
        components["pose_estimator"] = estimator
    if "person_detector" in names:
        detector = component_class("ParserPersonDetector")(parser)
        if has_mediapipe:
            mediapipe = component_class("MediaPipePersonDetector")()
            detector = component_class("FallbackPersonDetector")(mediapipe, detector)
        components["person_detector"] = detector
    return {name: components[name] for name in names}


def _has_mediapipe() -> bool:
    """Whether MediaPipe is installed in a release whose wheel holds the networks; it is not imported for this."""
    spec = find_spec("mediapipe")
    folders = spec.submodule_search_locations or [] if spec else []
    return any((Path(folder) / "python" / "solution_base.py").is_file() for folder in folders)


def hub_components(
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    names: Sequence[str] = COMPONENT_NAMES,
    **hub_options: Any,
) -> dict[str, Any]:
    """The large networks of the Hub, see `transformers_backends`; only those named are downloaded and loaded."""
    from . import transformers_backends as backends

    defaults = {
        "human_parser": (backends.SegformerParser, backends.DEFAULT_PARSER, {"label_map": "fashn"}),
        "pose_estimator": (backends.ViTPoseEstimator, backends.DEFAULT_POSE_ESTIMATOR, {}),
        "person_detector": (backends.RTDetrPersonDetector, backends.DEFAULT_DETECTOR, {}),
    }
    components = {}
    for name in names:
        backend, repository, settings = defaults[name]
        components[name] = backend.from_pretrained(repository, device=device, dtype=dtype, **settings, **hub_options)
    return components
