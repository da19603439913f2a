# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Evaluation records as a card shows them: tables for people, and the results of a `model-index` for programs.

A folder's `evaluation*.json` are results of `diffusers-tryon evaluate`, or of `training/evaluate_parser.py`.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult

from .card_facts import read_json


FORMAT, VERSION = "diffusers-tryon/evaluation", 1
# The names of tasks in a `model-index`, by which generated results are told from others.
TASK_NAMES = {
    "image-to-image": "virtual try-on",
    "image-segmentation": "human parsing",
    "keypoint-detection": "human pose estimation",
}
_METHOD_TITLES = {
    "model": "this model",
    "agnostic": "the agnostic image as it is",
    "pasted": "the garment pasted",
    "reference": "the true picture",
}
_GROUPS = ("head", "shoulders", "elbows", "wrists", "hips", "knees", "ankles")


@dataclass(frozen=True)
class Table:
    """A table of a card: the titles of its columns, and its rows of as many cells."""

    columns: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class EvaluationFacts:
    """One evaluation as a card shows it.

    Attributes:
        title: what was measured, by which protocol.
        protocol: sentences on how.
        tables: of figures.
        notes: sentences below the tables.
        settings: (name, value) of everything that the protocol fixes.
        results: the figures for the front matter.
    """

    title: str
    protocol: list[str]
    tables: list[Table]
    notes: list[str] = field(default_factory=list)
    settings: list[tuple[str, str]] = field(default_factory=list)
    results: list[EvalResult] = field(default_factory=list)


def read_evaluations(folder: Path, pipeline_tag: str) -> list[EvaluationFacts]:
    """The evaluations in a folder, in the order of their files' names.

    Raises:
        ValueError: a file is none, or of a newer version, or of another task than `pipeline_tag`.
    """
    return [_read_evaluation(path, pipeline_tag) for path in sorted(folder.glob("evaluation*.json"))]


def flatten(values: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """(name, value) rows of nested settings; what is `None` is unknown."""
    rows = []
    for name, value in values.items():
        if isinstance(value, dict):
            rows += flatten(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            rows.append((f"{prefix}{name}", ", ".join(map(str, value))))
        else:
            rows.append((f"{prefix}{name}", "unknown" if value is None else str(value)))
    return rows


def _read_evaluation(path: Path, pipeline_tag: str) -> EvaluationFacts:
    record = read_json(path)
    try:
        if pipeline_tag == "image-to-image" and record.get("format") == FORMAT:
            if record["version"] != VERSION:
                raise ValueError(f"{path} has version {record['version']}, this package reads version {VERSION}.")
            return _of_images(record)
        if pipeline_tag == "image-segmentation" and "parser" in record:
            return _of_parser(record)
        if pipeline_tag == "keypoint-detection" and "pose" in record:
            return _of_pose(record)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no evaluation: {error!r} is missing or of another kind.") from error
    raise ValueError(f"{path} is no evaluation of a model for {pipeline_tag}; name it otherwise to leave it out.")


def _of_images(record: dict[str, Any]) -> EvaluationFacts:
    protocol, data, metrics = record["protocol"], record["data"], record["metrics"]
    methods = {name: figures for name, figures in record["methods"].items() if figures}
    pictures = f"{data['count']} pictures"
    if data.get("size"):
        pictures += f" of {data['size'][1]} x {data['size'][0]} pixels"
    case = [data.get("pairing"), data.get("category")]
    what = ", ".join([f"`{data['name']}`", *(f"split `{data[name]}`" for name in ("split",) if data.get(name))])
    sentences = [f"Protocol `{protocol['name']}` on {pictures} of {what}{_in_words(case)}."]
    if record.get("model"):
        call = ", ".join(f"`{name}={value}`" for name, value in record["model"].get("call", {}).items())
        sentences.append(f"Called with {call or 'its defaults'}.")
    rows = []
    for name, metric in metrics.items():
        if any(name in figures for figures in methods.values()):
            title = metric["title"] + (f" in {metric['unit']}" if metric.get("unit") else "")
            better = "higher is better" if metric["higher_is_better"] else "lower is better"
            rows.append([f"{title} ({better})", *(_interval(figures.get(name)) for figures in methods.values())])
    notes = [
        f"{metrics[name]['title']}: closer than {_METHOD_TITLES.get(rival, rival)} in {_percent(win)} of the pictures."
        for rival, wins in (record.get("wins") or {}).items()
        for name, win in wins.items()
        if win["share"] is not None
    ]
    notes += [f"Not measured: {name} ({reason})." for name, reason in (record.get("unavailable") or {}).items()]
    settings = flatten({**protocol.get("settings", {}), **{f"data.{name}": value for name, value in data.items()}})
    return EvaluationFacts(
        title=f"{protocol['name']}, {_plain(data['name'])}{_in_words(case)}",
        protocol=sentences,
        tables=[Table(["figure", *(_METHOD_TITLES.get(name, name) for name in methods)], rows)],
        notes=notes,
        settings=settings + flatten(record.get("environment") or {}, "environment."),
        results=_results_of_images(record, case),
    )


def _results_of_images(record: dict[str, Any], case: list[str | None]) -> list[EvalResult]:
    data, protocol = record["data"], record["protocol"]["name"]
    config = "-".join([protocol, *(part for part in case if part)])
    return [
        _result(
            "image-to-image",
            (str(data["name"]), data.get("split"), config),
            name,
            f"{record['metrics'][name]['title']} (protocol {protocol})",
            figure,
        )
        for name, figure in record["methods"].get("model", {}).items()
        if figure["mean"] is not None
    ]


def _of_parser(record: dict[str, Any]) -> EvaluationFacts:
    figures = record["parser"]
    accuracy = _figure(figures["pixel_accuracy"], figures["pixel_accuracy_95"])
    iou = _figure(figures["mean_iou"], figures["mean_iou_95"])
    people, products = {"mean": figures["mean_iou_of_people"]}, {"mean": figures["mean_iou_of_products"]}
    labels = sorted(figures["iou"].items(), key=lambda item: -item[1])
    rows = [
        ["pixel accuracy", _interval(accuracy)],
        [f"mean IoU of the {len(labels)} labels that occur", _interval(iou)],
        ["mean IoU, people only", _interval(people)],
        ["mean IoU, garments alone", _interval(products)],
    ]
    data = ("rendered", "test", None)
    return EvaluationFacts(
        title="Labels",
        protocol=[
            f"`training/evaluate_parser.py` on {record['photographs']} renders of {record['people']} people whose "
            f"bodies, prints and seeds training never saw, cropped by the true labels to {record['input_size']} "
            f"pixels. In brackets 95 % bootstrap intervals over people."
        ],
        tables=[
            Table(["figure", "value"], rows),
            Table(["label", "IoU"], [[label, f"{value:.3f}"] for label, value in labels]),
        ],
        notes=[_time_note(record)],
        results=[
            _result("image-segmentation", data, "accuracy", "pixel accuracy", accuracy),
            _result("image-segmentation", data, "mean_iou", "mean IoU", iou),
        ],
    )


def _of_pose(record: dict[str, Any]) -> EvaluationFacts:
    figures = record["pose"]
    rows = [["all", *(f"{figures[f'pck_{at}']:.3f}" for at in ("0.1", "0.2"))]]
    rows += [[group, *(f"{figures[f'pck_{at}_by_group'][group]:.3f}" for at in ("0.1", "0.2"))] for group in _GROUPS]
    rows += [
        [f"{name} joints", "unknown", f"{figures[f'pck_0.2_{kind}']:.3f}"]
        for name, kind in (("visible", "seen"), ("hidden", "hidden"))
    ]
    confidence = [[name, f"{value:.3f}"] for name, value in figures["mean_confidence"].items()]
    data = ("rendered", "test", None)
    return EvaluationFacts(
        title="Joints",
        protocol=[
            f"`training/evaluate_parser.py` on {figures['people_with_whole_torso']} renders with the whole torso in "
            f"view, of people whose bodies, prints and seeds training never saw. An error is measured in torso "
            f"lengths, middle of the shoulders to middle of the hips; PCK@0.2 is the share of joints with an error "
            f"below 0.2, hidden joints included. Intervals were not computed."
        ],
        tables=[Table(["joints", "PCK@0.1", "PCK@0.2"], rows), Table(["joint is", "mean confidence"], confidence)],
        notes=[_time_note(record)],
        results=[
            _result("keypoint-detection", data, "pck", f"PCK@{at}", {"mean": figures[f"pck_{at}"]})
            for at in ("0.1", "0.2")
        ],
    )


def _time_note(record: dict[str, Any]) -> str:
    seconds = record["seconds_per_photograph_both_networks"]
    return f"The parser and the pose network together took {seconds:.3f} s for a crop, in batches of 16."


def _figure(mean: float, interval: list[float]) -> dict[str, float]:
    return {"mean": mean, "low": interval[0], "high": interval[1]}


def _result(
    task: str, data: tuple[str, str | None, str | None], metric: str, name: str, figure: dict[str, Any]
) -> EvalResult:
    has_interval = figure.get("low") is not None
    interval = {"confidence": 0.95, "low": figure["low"], "high": figure["high"]} if has_interval else None
    dataset, split, config = data
    return EvalResult(
        task_type=task,
        task_name=TASK_NAMES[task],
        dataset_type=dataset,
        dataset_name=dataset,
        dataset_split=split,
        dataset_config=config,
        metric_type=metric,
        metric_name=name,
        metric_value=figure["mean"],
        metric_args=interval,
    )


def _interval(figure: dict[str, Any] | None) -> str:
    if figure is None or figure["mean"] is None:
        return ""
    text = _number(figure["mean"])
    if figure.get("low") is not None:
        text += f" ({_number(figure['low'])} to {_number(figure['high'])})"
    return text


def _percent(win: dict[str, Any]) -> str:
    text = f"{win['share']:.0%}"
    return text if win.get("low") is None else f"{text} ({win['low']:.0%} to {win['high']:.0%})"


def _number(value: float) -> str:
    """Three decimals below 1, one from 10 on: as many as the intervals here make sense of."""
    size = abs(value)
    return f"{value:.3f}" if size < 1 else f"{value:.2f}" if size < 10 else f"{value:.1f}"


def _in_words(case: list[str | None]) -> str:
    return "".join(f", {part}" for part in case if part)


def _plain(name: str) -> str:
    return str(name).replace("_", " ")
