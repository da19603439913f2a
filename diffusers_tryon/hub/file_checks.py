# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Files that do not belong on the Hub: pickles, leftovers of training, this machine's paths, tokens, broken weights."""

import json
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from safetensors import SafetensorError, safe_open

from .push import EXCLUDED


_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib")
# Files or folders; those of `EXCLUDED` are not uploaded, and say that the folder is not what is meant to be published.
_LEFTOVERS = EXCLUDED + (
    "checkpoint-*", "random_states*", "rng_state*", "events.out.tfevents*", "wandb", "__pycache__", "*.pyc", ".git",
    ".cache", ".ipynb_checkpoints", ".DS_Store", ".env", "*.partial*", "*.lock",
)  # fmt: skip
_TEXTS = (".json", ".jsonl", ".md", ".txt", ".yaml", ".yml", ".py", ".toml", ".cfg", ".csv", ".html")
_PATHS = re.compile(
    r"(?<![\w/.:\-])(?:/(?:home|Users|root|tmp|mnt|private|scratch|var/folders)/[\w.~-]+|[A-Za-z]:\\+Users\\+\w+|file://\S+)"
)
_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{30,}\b")
_POINTER = b"version https://git-lfs"


def find_file_problems(folder: Path) -> list[str]:
    """What is wrong with a folder's files, each a line that names the file; their content is not run.

    Args:
        folder (`Path`): as it is to lie on the Hub.
    """
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() or path.is_symlink()]
    if not paths:
        return [f"there are no files in {folder}"]
    problems = []
    for path in paths:
        found = list(_link_problems(path, folder)) or _problems_of(path, path.relative_to(folder))
        problems += [f"{path.relative_to(folder).as_posix()}: {problem}" for problem in found]
    return problems


def _link_problems(path: Path, folder: Path) -> Iterator[str]:
    """Links stand for their files, as in the Hub's cache, and must not bring what lies elsewhere on the machine."""
    if path.is_dir():
        yield "a link to a folder, whose files would not be uploaded: copy them"
    elif not path.is_file():
        yield "a link to nothing"
    else:
        target, snapshot = path.resolve(), folder.resolve()
        if not target.is_relative_to(snapshot) and target.parent != snapshot.parent.parent / "blobs":
            yield "a link to a file outside of the folder, which would be uploaded: copy the file, or remove the link"


def _problems_of(path: Path, name: Path) -> Iterator[str]:
    leftover = next((part for part in name.parts if any(fnmatch(part, pattern) for pattern in _LEFTOVERS)), None)
    if leftover is not None:
        yield f"{leftover!r} is a leftover that does not belong on the Hub"
        return
    if path.suffix.lower() in _PICKLES:
        yield "a pickle, which runs code when it is loaded: save weights as safetensors"
    with path.open("rb") as file:
        if file.read(len(_POINTER)) == _POINTER:
            yield "a pointer of git LFS in place of the file: run `git lfs pull`"
            return
    if path.suffix == ".safetensors":
        yield from _weights_problems(path)
    elif path.suffix in _TEXTS:
        yield from _text_problems(path)


def _weights_problems(path: Path) -> Iterator[str]:
    try:
        with safe_open(path, framework="numpy") as weights:
            if not weights.keys():
                yield "it holds no weights"
    except SafetensorError as error:
        yield f"it is no whole file of safetensors ({error})"


def _text_problems(path: Path) -> Iterator[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        yield "it is no UTF-8 text"
        return
    for found in dict.fromkeys(_PATHS.findall(text)):
        yield f"it names a place on somebody's machine: {found}"
    if _TOKEN.search(text):
        yield "it holds what looks like a token of the Hub: remove it and revoke the token"
    if path.suffix == ".json":
        try:
            value = json.loads(text)
        except ValueError as error:
            yield f"it is no JSON ({error})"
            return
        origin = value.get("_name_or_path") if isinstance(value, dict) else None
        if isinstance(origin, str) and (origin.startswith(("/", ".")) or "\\" in origin):
            yield f"`_name_or_path` is a place on somebody's machine: {origin}"
