# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""How a model came to be, as a card tells it: from a run of the training script, or written down by hand.

By hand it is `training_record.json`: `{"format": "diffusers-tryon/training-record", "version": 1}` and any fields of
`TrainingFacts`. What a field leaves out is called unknown in the card.
"""

from dataclasses import dataclass, field, fields
from pathlib import Path

from .card_facts import read_json


TRAINING_RECORD_NAME = "training_record.json"
_FORMAT, _VERSION = "diffusers-tryon/training-record", 1


@dataclass(frozen=True)
class TrainingFacts:
    """What is known about a model's training and its terms; `None` and empty fields are unknown.

    Attributes:
        repository: "user/name" on the Hub.
        pipeline_tag: the task on the Hub.
        tags: besides those that every card has.
        license: identifier of the weights' licence on the Hub.
        license_note: a sentence on it.
        base_model: ids on the Hub of what training started from.
        base_model_relation: "finetune" or "adapter".
        datasets: ids on the Hub.
        data: (name, value) rows: source, licence of the data, fingerprint, ...
        procedure: (name, value) rows of how it was trained.
        compute: (name, value) rows: time, hardware, memory, ...
        limits, biases, intended_uses, refused_uses: sentences, beside those that every card has.
        settings: of the training script, as YAML.
        environment: (name, value) rows.
    """

    repository: str | None = None
    pipeline_tag: str = "image-to-image"
    tags: list[str] = field(default_factory=list)
    license: str | None = None
    license_note: str | None = None
    base_model: list[str] = field(default_factory=list)
    base_model_relation: str | None = None
    datasets: list[str] = field(default_factory=list)
    data: dict[str, str] = field(default_factory=dict)
    procedure: dict[str, str] = field(default_factory=dict)
    compute: dict[str, str] = field(default_factory=dict)
    limits: list[str] = field(default_factory=list)
    biases: list[str] = field(default_factory=list)
    intended_uses: list[str] = field(default_factory=list)
    refused_uses: list[str] = field(default_factory=list)
    settings: str | None = None
    environment: dict[str, str] = field(default_factory=dict)


def read_training_record(folder: Path) -> TrainingFacts:
    """The record in a folder; without one nothing is known.

    Raises:
        ValueError: it is of another format or version, or has a field that no record has.
    """
    path = folder / TRAINING_RECORD_NAME
    if not path.is_file():
        return TrainingFacts()
    record = read_json(path)
    if record.pop("format", None) != _FORMAT or record.pop("version", None) != _VERSION:
        raise ValueError(f'{path} must have `"format": "{_FORMAT}"` and `"version": {_VERSION}`.')
    known = {entry.name: entry.type for entry in fields(TrainingFacts)}
    for name, value in record.items():
        if name not in known:
            raise ValueError(f"{path} has the field {name!r}; a record has {', '.join(known)}.")
        kind = next((kind for kind in (list, dict) if str(known[name]).startswith(kind.__name__)), str)
        if not isinstance(value, kind):
            raise ValueError(f"{path}: {name!r} must be a {kind.__name__}, got {value!r}.")
    return TrainingFacts(**record)
