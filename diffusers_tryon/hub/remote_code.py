# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Repositories that load without this package: `DiffusionPipeline.from_pretrained(..., trust_remote_code=True)`.

Such a repository holds the weights and the files of another, and the pipeline's code in four files at its root:
networks, cascade, and the pipeline that Diffusers is pointed to. Diffusers copies the code of all repositories of a
process into one folder and imports each file name once, so the names carry a hash of the code.
"""

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import diffusers
from huggingface_hub import snapshot_download
from huggingface_hub.utils import validate_repo_id

from .. import __version__
from ..inference import resolve_model
from ..pipelines.own_classes import NETWORKS
from ..pipelines.pipeline_tryon_cascade import TryOnCascadePipeline
from .card_facts import read_json
from .card_text import find_blocks, read_front_matter, refresh_front_matter, split_card
from .cards import CARD_NAME, write_card
from .code_files import PACKAGE, FilePlan, write_files
from .modular_files import name_repository
from .remote_code_pipeline import network_file
from .upload import OWNED_FILES_NAME


_ROOT = Path(__file__).resolve().parents[2]
# Files of code in the order in which they import each other: the name without its hash, and the module it is for.
_FILES = {
    "unet_parallel": "models.unet_parallel",
    "unet_parallel_reference": "models.unet_parallel_reference",
    "tryon_cascade": "pipelines.pipeline_tryon_cascade",
    "tryon_pipeline": "hub.remote_code_pipeline",
}
_LOADED = "tryon_pipeline"
# Of the length of what comes there, so that lines are broken alike.
_HASH_PLACE = "_HASHHASH"
# The way from photographs needs the whole of the package's preprocessing.
_LEFT_OUT = {"pipelines.pipeline_output": ("TryOnPhotosOutput",)}
_IN_PLACE_OF = {
    "pipelines.photos": "hub.remote_code_photos",
    "pipelines.optimization": "hub.remote_code_optimization",
}

# Of working copies, downloads and pushes, not of what a repository is about.
_NOT_COPIED = (".*", "__pycache__", "*.pyc", OWNED_FILES_NAME)
# What the Hub calls repositories with code in them.
_CARD_TAG = "custom_code"
_CARD_SECTION = """\
## Without installing the package

This repository brings the code of its pipeline, written from `diffusers-tryon` {version}
([Apache-2.0](https://www.apache.org/licenses/LICENSE-2.0)). With `trust_remote_code=True` these files run on your
machine, so read them first:

{files}
They were written with `diffusers` {diffusers} and need `torch`, `accelerate`, `numpy` and `pillow` beside it.

```python
import json
from pathlib import Path

import torch
from diffusers import DiffusionPipeline
from diffusers.utils import load_image

pipe = DiffusionPipeline.from_pretrained("{repo_id}", trust_remote_code=True)
output = pipe(
    agnostic_image=load_image("agnostic.png"),
    garment_image=load_image("garment.png"),
    person_pose=json.loads(Path("person_pose.json").read_text())["keypoints"],
    garment_pose=json.loads(Path("garment_pose.json").read_text())["keypoints"],  # none for a garment laid flat
    generator=torch.Generator().manual_seed(0),
)
output.images[0].save("tryon.png")
```

`pipe.try_on`, which starts from photographs, needs `pip install diffusers-tryon`. With the package
`TryOnCascadePipeline.from_pretrained("{repo_id}")` loads this repository too, by the code of the package and without
`trust_remote_code`.

"""


def export_remote_code(
    output: Path,
    model: str | None = None,
    repo_id: str | None = None,
    revision: str | None = None,
    token: str | None = None,
) -> Path:
    """Write a repository that loads without this package, from a pipeline.

    All files of the pipeline's folder are copied as they are, weights of all variants included. New are the code, its
    places in `model_index.json`, and a section and a tag in the card. What is generated in the card is refreshed; it
    and the files for Modular Diffusers, which are of the package, name `repo_id` from now on.

    Args:
        output (`Path`): Folder to write, which must not exist or be empty. It is written beside and renamed.
        model (`str`, *optional*): Folder or Hub id of the pipeline; the checkpoint that comes with the package if None.
        repo_id (`str`, *optional*): "user/name" under which it is going to lie on the Hub, for the card; the card
            names the folder if not given.
        revision (`str`, *optional*): Of a `model` on the Hub.
        token (`str`, *optional*): Of the Hub.

    Returns:
        `Path`: `output`.

    Raises:
        ValueError: `output` holds something, `model` is no pipeline, or one of its networks is not a class of this
            package.
        OSError: a file cannot be read, downloaded or written.
    """
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise ValueError(f"`output` must be a new or empty folder, {output} is there already.")
    if repo_id is not None:
        validate_repo_id(repo_id)
    source = resolve_model(model)
    if not Path(source).is_dir():
        source = snapshot_download(source, revision=revision, token=token)
    index = _read_index(Path(source))
    code = code_files()
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as temporary:
        folder = Path(temporary) / output.name
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns(*_NOT_COPIED))
        for name, text in code.items():
            (folder / name).write_text(text, encoding="utf-8")
        if repo_id is not None:
            name_repository(folder, repo_id)
        _write_index(folder, index, [name.removesuffix(".py") for name in code])
        _write_card(folder, list(code), repo_id)
        os.replace(folder, output)
    return output


def code_files() -> dict[str, str]:
    """The pipeline's code: the texts of the files by their names, the last of which is the one to load."""
    plans = [FilePlan(name + _HASH_PLACE, head, head == _FILES[_LOADED]) for name, head in _FILES.items()]
    texts = write_files(_ROOT, plans, __version__, _LEFT_OUT, _IN_PLACE_OF)
    code_hash = hashlib.sha256("".join(texts.values()).encode()).hexdigest()[: len(_HASH_PLACE) - 1]
    return {
        f"{name.replace(_HASH_PLACE, f'_{code_hash}')}.py": text.replace(_HASH_PLACE, f"_{code_hash}")
        for name, text in texts.items()
    }


def _read_index(folder: Path) -> dict[str, Any]:
    """The index of the pipeline in a folder, whose networks are classes of this package."""
    path = folder / TryOnCascadePipeline.config_name
    if not path.is_file():
        raise ValueError(f"`model` must be a pipeline, and it has no {path.name}.")
    index = read_json(path)
    name = index.get("_class_name")
    if isinstance(name, list):
        raise ValueError(
            "`model` must be a pipeline as the package saves it, and this repository brings code already."
        )
    if name != TryOnCascadePipeline.__name__:
        raise ValueError(f"`model` must be a {TryOnCascadePipeline.__name__}, got a {name}.")
    for component, (library, class_name) in _components(index).items():
        if library != "diffusers" and class_name not in NETWORKS:
            raise ValueError(
                f"The component `{component}` is a {class_name} of {library}, which is not code of {PACKAGE} and "
                f"cannot be written into a repository."
            )
    return index


def _components(index: dict[str, Any]) -> dict[str, list[str]]:
    return {name: entry for name, entry in index.items() if isinstance(entry, list) and entry[0] is not None}


def _write_index(folder: Path, index: dict[str, Any], code_names: list[str]) -> None:
    """Name files of code in the index, and put one into the folder of each network."""
    files = {f"{PACKAGE}.{head}": name for head, name in zip(_FILES.values(), code_names)}
    for component, (_, class_name) in _components(index).items():
        if class_name in NETWORKS:
            file, text = network_file(files[NETWORKS[class_name].__module__], class_name)
            (folder / component / f"{file}.py").write_text(text, encoding="utf-8")
            index[component] = [file, class_name]
    index["_class_name"] = [code_names[-1], TryOnCascadePipeline.__name__]
    (folder / TryOnCascadePipeline.config_name).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")


def _write_card(folder: Path, code_names: list[str], repo_id: str | None) -> None:
    """Say before the card's first section how the repository loads; what is generated in the card is refreshed."""
    path = folder / CARD_NAME
    if not path.is_file() or find_blocks(path.read_text(encoding="utf-8")):
        write_card(folder, repo_id)
    text = path.read_text(encoding="utf-8")
    entries, body = split_card(text)
    tags = list(dict.fromkeys([*(read_front_matter(text).get("tags") or []), _CARD_TAG]))
    section = _CARD_SECTION.format(
        files="".join(f"- `{name}`\n" for name in code_names),
        version=__version__,
        diffusers=diffusers.__version__,
        repo_id=repo_id or folder.name,
    )
    head, heading, rest = body.partition("\n## ")
    body = f"{head.strip()}\n\n{section}{heading.lstrip()}{rest}".rstrip()
    path.write_text(f"---\n{refresh_front_matter(entries, {'tags': tags})}---\n\n{body}\n", encoding="utf-8")
