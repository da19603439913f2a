# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The files by which `ModularPipeline.from_pretrained` finds the blocks and the components of a pipeline's repository."""

import json
from pathlib import Path

import diffusers
from huggingface_hub.utils import validate_repo_id

from ..files import written_beside
from ..modular.modular_blocks_tryon import TryOnBlocks
from ..pipelines.own_classes import with_own_networks
from ..pipelines.pipeline_tryon_cascade import TryOnCascadePipeline


_MODULE = "blocks"
_CODE = '''# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""For `ModularPipeline.from_pretrained(..., trust_remote_code=True)`: the blocks are those of the package."""

from diffusers_tryon.modular import TryOnBlocks


__all__ = ["TryOnBlocks"]
'''
MODULAR_FILES = (f"{_MODULE}.py", "modular_config.json", "modular_model_index.json")


def write_modular_files(folder: Path, repo_id: str | None = None) -> None:
    """Make a pipeline's folder one for Modular Diffusers too; `TryOnCascadePipeline` does not look at these files.

    Diffusers wants the index to name the repository that each component is loaded from, and takes the components from
    the folder itself only where that is on this machine. So the files are right for one repository, and are written
    anew for another; `diffusers-tryon hub push` does so.

    Args:
        folder (`Path`): of a pipeline, with its `model_index.json`; also of one that brings its code.
        repo_id (`str`, *optional*): "user/name", where the folder is going to lie. Without it, only this folder and
            copies of it on a disk find their components.

    Raises:
        ValueError: the folder is none of a pipeline.
    """
    path = folder / TryOnCascadePipeline.config_name
    if not path.is_file():
        raise ValueError(f"`folder` must be that of a pipeline, and {folder} has no {path.name}.")
    if repo_id is not None:
        validate_repo_id(repo_id)
    index = with_own_networks(json.loads(path.read_text()))
    blocks = TryOnBlocks()
    names = [spec.name for spec in blocks.expected_components if spec.default_creation_method == "from_pretrained"]
    present = {name: index[name] for name in names if index.get(name, [None])[0] is not None}
    version = diffusers.__version__
    settings = {
        "_class_name": TryOnBlocks.__name__,
        "_diffusers_version": version,
        "auto_map": {"ModularPipelineBlocks": f"{_MODULE}.{TryOnBlocks.__name__}"},
        "requirements": {
            name: specifier for block in blocks._requirements.values() for name, specifier in block.items()
        },
    }
    components = {
        name: [library, class_name, _loading(name, library, class_name, repo_id)]
        for name, (library, class_name) in present.items()
    }
    modular_index = {
        "_blocks_class_name": TryOnBlocks.__name__,
        "_class_name": "ModularPipeline",
        "_diffusers_version": version,
        **components,
    }
    texts = (_CODE, _json(settings), _json(modular_index))
    for name, text in zip(MODULAR_FILES, texts):
        with written_beside(folder / name) as partial:
            partial.write_text(text)


def name_repository(folder: Path, repo_id: str) -> None:
    """Have the folder's index for Modular Diffusers, if there is one, name the repository that the folder becomes.

    Components that do not lie in the folder are still loaded from where the index says.

    Args:
        folder (`Path`): its index is written beside and renamed; all else stays, blocks of somebody's own included.
        repo_id (`str`): "user/name".
    """
    path = folder / MODULAR_FILES[-1]
    if not path.is_file():
        return
    index = json.loads(path.read_text())
    for entry in index.values():
        loading = entry[2] if isinstance(entry, list) and len(entry) == 3 else None
        if isinstance(loading, dict) and loading.get("subfolder") and (folder / loading["subfolder"]).is_dir():
            loading.update(pretrained_model_name_or_path=repo_id, revision=None)
    with written_beside(path) as partial:
        partial.write_text(_json(index))


def _loading(name: str, library: str, class_name: str, repo_id: str | None) -> dict[str, str | list[str] | None]:
    return {
        "pretrained_model_name_or_path": repo_id,
        "revision": None,
        "subfolder": name,
        "type_hint": [library, class_name],
        "variant": None,
    }


def _json(values: dict) -> str:
    return json.dumps(values, indent=2) + "\n"
