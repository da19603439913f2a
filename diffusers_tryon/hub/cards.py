# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The card (README.md) of a folder for the Hub: built from what lies in the folder, and refreshed without loss.

It says what the configuration, the record of training and the records of evaluation say; what none of them does is
called unknown. The templates are in `hub_cards/templates/card`.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult
from huggingface_hub.repocard_data import eval_results_to_model_index
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..checkpoints import shipped_checkpoint, template_folder
from ..files import written_beside
from ..schedules import usable_schedulers
from .card_evaluation import TASK_NAMES, EvaluationFacts, read_evaluations
from .card_facts import LORA, NETWORK, STAGE, NetworkFacts, folder_kind, read_json, read_networks
from .card_text import read_front_matter, refresh_card
from .modular_files import MODULAR_FILES
from .run_record import RECORD_NAME, RunRecord, run_context, run_facts, run_limits, run_results
from .training_record import TrainingFacts, read_training_record


CARD_NAME = "README.md"
CURVES_NAME, SAMPLES_NAME = "curves.png", "samples.png"
_TRYON_TAGS = ["virtual-try-on", "tryondiffusion", "pixel-space", "diffusers-tryon"]
_NETWORK_TAGS = ["virtual-try-on", "diffusers-tryon"]
# What a network of transformers is for, by its task on the Hub.
_NETWORK_TASKS = {"image-segmentation": "parser", "keypoint-detection": "pose"}
_UNKNOWN_REPOSITORY = "path/to/this/folder"
# Rows that every card has, known or not.
_DATA_LICENSE = "licence of the data"
_DATA_ROWS, _PROCEDURE_ROWS, _COMPUTE_ROWS = ("source", _DATA_LICENSE), ("images seen",), ("time",)
_BIAS_UNKNOWN = (
    "Which people, bodies, skin tones and garments the data shows was not examined, nor whether results are worse for "
    "some of them."
)
_USES = {
    "tryon": (
        [
            "Pictures of somebody in a garment, where that person asked for it or agreed to it.",
            "Research on virtual try-on, comparisons, and as a starting point of training.",
        ],
        [
            "Pictures of people who have not agreed to them, above all to undress, mock or deceive.",
            "Telling how clothes fit, or anything about the body of whoever is shown.",
            "Passing a result off as a photograph.",
        ],
    ),
    "network": (
        ["Preparing a photograph for virtual try-on, where whoever is shown asked for it or agreed to it."],
        ["Identifying, watching or judging people."],
    ),
}


def write_card(folder: Path, repository: str | None = None, path_in_repo: str = "") -> Path:
    """Build or refresh a folder's README.md.

    What people wrote in it stays: only what stands between the marks of generated blocks is written anew, and, in the
    front matter, the entries that are generated.

    Args:
        folder (`Path`): A pipeline, a stage alone, adapters, or a network of transformers for people's labels or
            joints, as they are to lie on the Hub.
        repository (`str`, *optional*): Their id on the Hub, for the example code; from the record of training if not
            given.
        path_in_repo (`str`): Where the folder goes in the repository; "" is its root.

    Returns:
        `Path`: README.md.

    Raises:
        ValueError: the folder is none of these, a record in it cannot be read, or a mark in its card lacks its half.
    """
    kind = folder_kind(folder)
    if kind is None:
        raise ValueError(
            f"{folder} is no folder that a card can be made for: it has neither model_index.json, nor unet/, nor "
            f"adapters, nor the config.json of a network of transformers."
        )
    record = RunRecord.read(folder) if (folder / RECORD_NAME).is_file() else None
    training = run_facts(record, kind) if record else read_training_record(folder)
    if kind == NETWORK and training.pipeline_tag not in _NETWORK_TASKS:
        raise ValueError(
            f"{folder / 'training_record.json'} must say which task the network is for: `pipeline_tag` must be one of "
            f"{', '.join(_NETWORK_TASKS)}, got {training.pipeline_tag!r}."
        )
    evaluations = read_evaluations(folder, training.pipeline_tag)
    results = [*(run_results(record) if record else []), *(found for each in evaluations for found in each.results)]
    repository = repository or training.repository
    title = (repository or (record.config["output_dir"] if record else folder.resolve().name)).split("/")[-1]
    path = folder / CARD_NAME
    existing = path.read_text(encoding="utf-8") if path.is_file() else ""
    try:
        old = read_front_matter(existing)
        # A licence that somebody wrote into the front matter is known, whatever the record leaves out.
        if not training.license and old.get("license") not in (None, "unknown"):
            training = replace(training, license=old["license"])
        context = _context(folder, kind, training, record, evaluations, repository, path_in_repo)
        entries = _front_matter(old, kind, training, results, title)
        card = refresh_card(existing, entries, _render({**context, "title": title}))
    except ValueError as error:
        raise ValueError(f"{path} cannot be refreshed: {error}") from error
    with written_beside(path) as partial:
        partial.write_text(card, encoding="utf-8")
    return path


def _render(context: dict[str, Any]) -> str:
    environment = Environment(
        loader=FileSystemLoader(template_folder() / "card"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return re.sub(r"\n{3,}", "\n\n", environment.get_template("card.md").render(context))


def _front_matter(
    old: dict[str, Any], kind: str, training: TrainingFacts, results: list[EvalResult], title: str
) -> dict[str, Any]:
    """The entries that are generated. What is unknown leaves an entry as somebody wrote it."""
    tags = [*(_NETWORK_TAGS if kind == NETWORK else _TRYON_TAGS), *training.tags]
    entries = {
        "library_name": "transformers" if kind == NETWORK else "diffusers",
        "pipeline_tag": training.pipeline_tag,
        "license": training.license or "unknown",
        "tags": list(dict.fromkeys([*tags, *(old.get("tags") or [])])),
        "model-index": _model_index(old, results, title),
    }
    known = {
        "datasets": training.datasets,
        "base_model": training.base_model,
        "base_model_relation": training.base_model_relation,
    }
    return entries | {name: value for name, value in known.items() if value}


def _model_index(old: dict[str, Any], results: list[EvalResult], title: str) -> list[dict[str, Any]] | None:
    """The generated results, and of those that were there the ones of other tasks than ours."""
    try:
        kept = [
            result
            for model in old.get("model-index") or []
            for result in model["results"]
            if result["task"].get("name") not in TASK_NAMES.values()
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            "`model-index` in the card's front matter must be a list of models with `results` that have a `task` each: "
            "mend it, or remove it."
        ) from error
    generated = eval_results_to_model_index(title, results)[0]["results"] if results else []
    return [{"name": title, "results": generated + kept}] if generated or kept else None


def _context(
    folder: Path,
    kind: str,
    training: TrainingFacts,
    record: RunRecord | None,
    evaluations: list[EvaluationFacts],
    repository: str | None,
    path_in_repo: str,
) -> dict[str, Any]:
    family = "network" if kind == NETWORK else "tryon"
    networks = read_networks(folder)
    has_samples = record is not None and (folder / SAMPLES_NAME).exists()
    is_shipped = _is_shipped(folder)
    inputs = folder / "samples" / ("person.jpg" if kind == NETWORK else "agnostic.png")
    # On the Hub, files beside the weights are there once the whole repository is.
    has_inputs = inputs.is_file() and kind not in (STAGE, LORA) and (is_shipped or repository is not None)
    needs_snapshot = kind not in (STAGE, LORA) and not is_shipped and (has_inputs or bool(path_in_repo))
    intended, refused = _USES[family]
    size = record.sample_size if record else networks[-1].size if networks else None
    return {
        **_no_run(),
        **(run_context(record) if record else {}),
        **(_network_context(folder, training) if kind == NETWORK else _scheduler_context(kind, networks)),
        "family": family,
        "kind": kind,
        "training": training,
        "networks": networks,
        "evaluations": evaluations,
        "repository": repository or _UNKNOWN_REPOSITORY,
        "path_in_repo": path_in_repo,
        "subfolder": f"{path_in_repo}/" if path_in_repo else "",
        "size": f"{size[1]} x {size[0]}" if size else None,
        "is_shipped": is_shipped,
        "has_inputs": has_inputs,
        "needs_snapshot": needs_snapshot,
        "has_handler": (folder / "handler.py").is_file(),
        "has_modular": all((folder / name).is_file() for name in MODULAR_FILES),
        "has_samples": has_samples,
        "has_curves": record is not None and (folder / CURVES_NAME).exists(),
        "data": _rows(training.data, _DATA_ROWS),
        "data_license": training.data.get(_DATA_LICENSE) or "unknown",
        "procedure": _rows(training.procedure, _PROCEDURE_ROWS),
        "compute": _rows(training.compute, _COMPUTE_ROWS),
        "environment": _rows(training.environment, ()),
        "limits": _limits(training, record, evaluations, has_samples),
        "biases": training.biases or [_BIAS_UNKNOWN],
        "intended_uses": [*intended, *training.intended_uses],
        "refused_uses": [*refused, *training.refused_uses],
    }


def _no_run() -> dict[str, Any]:
    """What the template reads of a run, where there was none."""
    names = ("run", "config", "base_model", "initial_model", "validation_source")
    return {**dict.fromkeys(names), "initial_on_hub": False, "is_finished": True, "figures": []}


def _scheduler_context(kind: str, networks: list[NetworkFacts]) -> dict[str, Any]:
    prediction_types = dict.fromkeys(network.prediction_type for network in networks)
    return {
        "prediction_types": [(name, *usable_schedulers(name)) for name in prediction_types],
        "scheduler_component": "sr_scheduler" if kind == STAGE else "base_scheduler",
    }


def _network_context(folder: Path, training: TrainingFacts) -> dict[str, Any]:
    processor = read_json(folder / "preprocessor_config.json")
    return {
        "task": _NETWORK_TASKS[training.pipeline_tag],
        "labels": list(read_json(folder / "config.json")["id2label"].values()),
        "image_mean": processor["image_mean"],
        "image_std": processor["image_std"],
    }


def _limits(
    training: TrainingFacts, record: RunRecord | None, evaluations: list[EvaluationFacts], has_samples: bool
) -> list[str]:
    limits = [*(run_limits(record, has_samples) if record else []), *training.limits]
    is_measured = bool(evaluations) or bool(record and run_results(record))
    missing = "" if evaluations else ": no FID or KID, no perceptual distance, no comparison with other methods"
    return limits + [
        f"No {'further ' if is_measured else ''}evaluation left a record here{missing}. No people judged the results.",
        "The generated parts of this card were written by a program, which has not looked at the results.",
    ]


def _rows(known: dict[str, str], required: tuple[str, ...]) -> list[tuple[str, str]]:
    """Rows of a table: the required ones first, and "unknown" for what is not known."""
    return [(name, value or "unknown") for name, value in {**dict.fromkeys(required), **known}.items()]


def _is_shipped(folder: Path) -> bool:
    """Whether the folder comes with the package, so that the example may look for it there."""
    try:
        return shipped_checkpoint(folder.resolve().name) == folder.resolve()
    except ValueError:
        return False
