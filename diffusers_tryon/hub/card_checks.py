# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a card, as far as it can be told without the Hub, and what the Hub says about it."""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from huggingface_hub import DatasetCard, ModelCard, SpaceCard
from huggingface_hub.errors import HFValidationError
from huggingface_hub.repocard_data import model_index_to_eval_results
from huggingface_hub.utils import validate_repo_id

from .card_text import find_blocks, read_front_matter, split_card
from .cards import CARD_NAME


MODEL, DATASET, SPACE = "model", "dataset", "space"
_CARDS = {MODEL: ModelCard, DATASET: DatasetCard, SPACE: SpaceCard}
_REQUIRED = {
    MODEL: ("library_name", "pipeline_tag", "license", "tags"),
    DATASET: ("license",),
    SPACE: ("title", "sdk", "license"),
}
_TARGETS = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)|<(?:img|source|video)[^>]*?\bsrc=[\"']([^\"']+)")
_PLACEHOLDER = "[More Information Needed]"


def find_card_problems(folder: Path, repo_type: str) -> list[str]:
    """What is wrong with a folder's README.md, each a line.

    Args:
        folder (`Path`): as it is to lie on the Hub.
        repo_type (`str`): "model", "dataset" or "space".
    """
    path = folder / CARD_NAME
    if not path.is_file():
        return [f"{CARD_NAME}: there is none (`diffusers-tryon hub card {folder}` makes one)"]
    try:
        card = path.read_text(encoding="utf-8")
        entries = read_front_matter(card)
        find_blocks(card)
    except ValueError as error:
        return [f"{CARD_NAME}: {error}"]
    problems = [*_entry_problems(entries, repo_type), *_body_problems(folder, split_card(card)[1])]
    return [f"{CARD_NAME}: {problem}" for problem in problems]


def ask_hub_about_card(folder: Path, repo_type: str) -> list[str]:
    """What the Hub says against a card, each a line; nothing is uploaded.

    Raises:
        Exception: whatever huggingface_hub raises if the Hub does not answer.
    """
    try:
        _CARDS[repo_type].load(folder / CARD_NAME).validate()
    except ValueError as error:
        try:
            messages = [entry["message"] for entry in json.loads(str(error))["errors"]]
        except (ValueError, KeyError, TypeError):
            messages = [" ".join(str(error).split())]
        return [f"{CARD_NAME}: the Hub says: {message}" for message in messages]
    return []


def _entry_problems(entries: dict[str, Any], repo_type: str) -> Iterator[str]:
    for name in _REQUIRED[repo_type]:
        if not entries.get(name):
            yield f"the front matter lacks `{name}`"
    for name in ("base_model", "datasets"):
        values = entries.get(name) or []
        for value in [values] if isinstance(values, str) else values:
            try:
                validate_repo_id(value)
            except HFValidationError:
                yield f"`{name}` must hold ids on the Hub, got {value!r}"
    if "model-index" in entries:
        yield from _result_problems(entries["model-index"])


def _result_problems(model_index: Any) -> Iterator[str]:
    try:
        _, results = model_index_to_eval_results(model_index)
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
        yield f"`model-index` is not well-formed: {type(error).__name__} {error}"
        return
    if len(model_index) > 1:
        yield f"`model-index` must have one model, got {len(model_index)}"
    for result in results:
        value = result.metric_value
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            yield f"`model-index`: {result.metric_name or result.metric_type} is {value}"


def _body_problems(folder: Path, body: str) -> Iterator[str]:
    if _PLACEHOLDER in body:
        yield f"{_PLACEHOLDER!r} was never filled in"
    text = re.sub(r"```.*?```|`[^`\n]*`", "", body, flags=re.DOTALL)
    for groups in _TARGETS.findall(text):
        target = (groups[0] or groups[1]).split("#")[0]
        if not target or re.match(r"[a-z][a-z+.-]*:|//", target):
            continue
        place = (folder / unquote(target)).resolve()
        if not place.is_relative_to(folder.resolve()):
            yield f"{target} is outside of the repository"
        elif not place.exists():
            yield f"{target} is shown or linked, and is not there"
