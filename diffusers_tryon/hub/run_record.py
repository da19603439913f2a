# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What a run of the training script knows about itself, and what of it a card says."""

import json
import math
import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from huggingface_hub import EvalResult

from .card_evaluation import TASK_NAMES
from .card_facts import STAGE_TITLES
from .training_record import TrainingFacts


RECORD_NAME = "run.json"
_TASK = "image-to-image"
_RENDERED = "rendered"
# Settings that are an id on the Hub or a folder of the machine, whose place is nobody's business.
_PLACES = ("dataset", "validation_dataset", "initial_model", "base_model")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class RunRecord:
    """What a run knows about itself; what it does not know is `None` and is called unknown in the card.

    Attributes:
        config: `TrainingConfig.to_dict` of the run's settings.
        step: optimiser steps behind the weights.
        images: training images behind them.
        seconds: time spent training, over all its resumptions.
        num_processes: training processes.
        unet_class: name of the network's class.
        num_parameters: of the network.
        num_trained_parameters: of these or of the adapters beside them.
        sample_size: (height, width) of the network's pictures.
        metrics: the newest value of each figure in `metrics.jsonl`.
        environment: of `training.environment.describe_environment`.
        dataset_fingerprint, dataset_license: of the functions of these names in `training.dataset`.
    """

    config: dict[str, Any]
    step: int
    images: int
    seconds: float | None
    num_processes: int
    unet_class: str
    num_parameters: int
    num_trained_parameters: int
    sample_size: tuple[int, int]
    metrics: dict[str, float] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    dataset_fingerprint: str | None = None
    dataset_license: str | None = None

    @classmethod
    def read(cls, folder: Path) -> "RunRecord":
        """The record that `write` left in `folder`.

        Raises:
            ValueError: it is none.
        """
        try:
            values = json.loads((folder / RECORD_NAME).read_text())
            return cls(**{**values, "sample_size": tuple(values["sample_size"])})
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{folder / RECORD_NAME} is no record of a training run: {error}") from error

    def write(self, folder: Path) -> None:
        """Leave the record in `folder`."""
        (folder / RECORD_NAME).write_text(json.dumps(asdict(self), indent=2) + "\n")

    def public(self) -> "RunRecord":
        """The record with folders of this machine by their name alone, whose place is nobody's business."""
        config = {name: _public(value) if name in _PLACES else value for name, value in self.config.items()}
        config["output_dir"] = Path(config["output_dir"]).resolve().name
        return replace(self, config=config)


class _Figure(NamedTuple):
    title: str
    value: str
    protocol: str


def run_facts(record: RunRecord, kind: str) -> TrainingFacts:
    """What a card says of a run's training; `kind` is that of the folder with its weights."""
    config = record.config
    sources = [config[name] for name in ("initial_model", "base_model") if _is_hub_id(config[name])]
    # A cascade is no fine-tune of the pipeline that its base stage came from.
    is_related = sources == [config["initial_model"]]
    height, width = record.sample_size
    return TrainingFacts(
        repository=config["hub_model_id"],
        pipeline_tag=_TASK,
        tags=["lora"] if kind == "lora" else [],
        license=config["hub_license"],
        base_model=sources,
        base_model_relation=("adapter" if kind == "lora" else "finetune") if is_related else None,
        datasets=[config["dataset"]] if _is_hub_id(config["dataset"]) else [],
        data={
            "source": _source(config["dataset"]),
            "licence of the data": record.dataset_license,
            "fingerprint": record.dataset_fingerprint,
        },
        procedure={
            "network": f"`{record.unet_class}`, {record.num_parameters:,} parameters, {width} x {height} pixels",
            "images seen": f"{record.images:,} in {record.step:,} steps of {config['global_batch_size']}",
        },
        compute={"time": _time(record), **dict(_compute(record))},
        settings=yaml.safe_dump(config, sort_keys=False).strip(),
        environment=dict(_flatten(record.environment)) or {"": "unknown"},
    )


def run_context(record: RunRecord) -> dict[str, Any]:
    """What the card's template asks of a run alone."""
    config = record.config
    return {
        "run": record,
        "config": config,
        "stage_name": STAGE_TITLES[config["stage"]],
        "is_finished": record.step >= config["max_steps"],
        "base_model": config["base_model"],
        "initial_model": config["initial_model"],
        "initial_on_hub": _is_hub_id(config["initial_model"]),
        "figures": _figures(record),
        "validation_source": _validation_source(config),
    }


def run_results(record: RunRecord) -> list[EvalResult]:
    """The figures of validation for the front matter."""
    config = record.config
    source = config["validation_dataset"] or config["dataset"]
    return [
        EvalResult(
            task_type=_TASK,
            task_name=TASK_NAMES[_TASK],
            dataset_type=source,
            dataset_name=source,
            dataset_split="test" if config["validation_dataset"] else "train",
            metric_type="psnr" if "psnr" in name else "loss",
            metric_name=name,
            metric_value=value,
        )
        for name, value in _measured(record).items()
    ]


def run_limits(record: RunRecord, has_samples: bool) -> list[str]:
    """What a run's settings say about the limits of its weights."""
    config = record.config
    limits = []
    is_shown = has_samples or bool(_measured(record))
    if record.step < config["max_steps"]:
        limits.append(f"Training is not finished: these are the weights after {record.step:,} steps.")
    if is_shown and config["validation_dataset"] is None:
        limits.append(
            "The figures and pictures are of rows that it was trained on. They do not tell how it does on other "
            "people and garments."
        )
    if is_shown and config["stage"] == "sr":
        limits.append(
            "Figures and pictures of the super-resolution stage are made from the true picture, made small, and not "
            "from what a base stage makes."
        )
    if config["dataset"] == _RENDERED:
        limits.append("It was trained on rendered people alone and has never seen a photograph.")
    return limits


def _measured(record: RunRecord) -> dict[str, float]:
    """The figures of validation; curves by noise level stay in the picture."""
    return {
        name: value
        for name, value in record.metrics.items()
        if re.fullmatch(r"validation_loss(?!.*_q\d).*|sample_psnr.*", name)
        and value is not None
        and math.isfinite(value)
    }


def _figures(record: RunRecord) -> list[_Figure]:
    config = record.config
    figures = []
    for name, value in _measured(record).items():
        if "psnr" in name:
            guidance = f"guidance {config['sample_guidance_scale']:g}" if "guided" in name else "no guidance"
            protocol = (
                f"peak signal to noise of the edited region against the true picture, mean over the rows drawn (at "
                f"most 8), averaged weights, {config['sample_steps']} steps of DPM-Solver++, {guidance}"
            )
            figures.append(_Figure(f"`{name}`", f"{value:.2f} dB", protocol))
        else:
            weights = "averaged" if "ema" in name else "raw"
            protocol = (
                f"squared error of the predicted `{config['prediction_type']}`, unweighted, mean over rows and noise "
                f"levels, {weights} weights"
            )
            figures.append(_Figure(f"`{name}`", f"{value:.5g}", protocol))
    return figures


def _is_hub_id(value: str | None) -> bool:
    return value is not None and _HUB_ID.fullmatch(value) is not None


def _public(place: str | None) -> str | None:
    """A Hub id as it is, a folder by its name alone. A folder that looks like an id is one if it is there."""
    if place is None or (_is_hub_id(place) and not Path(place).exists()):
        return place
    return Path(place).resolve().name


def _source(dataset: str) -> str:
    if dataset == _RENDERED:
        return "people that the renderer of `diffusers-tryon` drew while training"
    return f"[{dataset}](https://huggingface.co/datasets/{dataset})" if _is_hub_id(dataset) else f"`{dataset}`"


def _validation_source(config: dict[str, Any]) -> str:
    if config["validation_dataset"] is None:
        return "the training data"
    if config["validation_dataset"] == _RENDERED:
        return "the renderer's test people, whose bodies and prints training never sees"
    return f"the split `test` of {_source(config['validation_dataset'])}"


def _time(record: RunRecord) -> str:
    if not record.seconds:
        return "unknown"
    hours = f"{record.seconds / 3600:.2f} hours"
    return hours if record.num_processes == 1 else f"{hours} on each of {record.num_processes} processes"


def _compute(record: RunRecord) -> list[tuple[str, str]]:
    rows = []
    for name, title, form in (
        ("images_per_second", "images per second, all processes", "{:.1f}"),
        ("peak_memory_gib", "peak memory of a process", "{:.1f} GiB"),
        ("model_flop_utilisation", "model FLOP utilisation", "{:.1%}"),
    ):
        if record.metrics.get(name) is not None:
            rows.append((title, form.format(record.metrics[name])))
    return rows


def _flatten(values: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows = []
    for name, value in values.items():
        if isinstance(value, dict):
            rows += _flatten(value, f"{prefix}{name}.")
        else:
            rows.append((f"{prefix}{name}", "unknown" if value is None else str(value)))
    return rows
