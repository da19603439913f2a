# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Evaluation records as a card shows them: tables for people, and the results of a `model-index` for programs.

A folder's `evaluation*.json` are results of `diffusers-tryon evaluate`, or of `training/evaluate_parser.py`.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult

from ..evaluation.layout import RESULT_NAME
from ..evaluation.report import (
    METHOD_TITLES,
    METRICS_LEGEND,
    WINS_LEGEND,
    markdown_table,
    metrics_table,
    read_result,
    setting_lines,
    wins_table,
)
from ..evaluation.sheet import SHEET_NAME
from .card_facts import read_json


# The names of tasks in a `model-index`, by which generated results are told from others.
TASK_NAMES = {
    "image-to-image": "virtual try-on",
    "image-segmentation": "human parsing",
    "keypoint-detection": "human pose estimation",
}
_GROUPS = ("head", "shoulders", "elbows", "wrists", "hips", "knees", "ankles")


@dataclass(frozen=True)
class EvaluationFacts:
    """One evaluation as a card shows it.

    Attributes:
        title: what was measured, by which protocol.
        protocol: sentences on how.
        tables: (sentence before it, lines of Markdown) of each.
        notes: sentences below the tables.
        sheet: name of the picture of the best, the middle and the worst cases, if it is there.
        settings: (name, value) of everything that the protocol fixes.
        results: the figures for the front matter.
    """

    title: str
    protocol: list[str]
    tables: list[tuple[str, list[str]]]
    notes: list[str] = field(default_factory=list)
    sheet: str | None = None
    settings: list[tuple[str, str]] = field(default_factory=list)
    results: list[EvalResult] = field(default_factory=list)


def read_evaluations(folder: Path, pipeline_tag: str) -> list[EvaluationFacts]:
    """The evaluations in a folder, in the order of their files' names.

    Raises:
        ValueError: a file is none, or of a newer version, or of another task than `pipeline_tag`.
    """
    return [_read_evaluation(path, pipeline_tag) for path in sorted(folder.glob("evaluation*.json"))]


def _read_evaluation(path: Path, pipeline_tag: str) -> EvaluationFacts:
    record = read_json(path)
    try:
        if pipeline_tag == "image-to-image":
            sheet = path.with_name(SHEET_NAME)
            has_sheet = path.name == RESULT_NAME and sheet.is_file()
            return _of_images(read_result(path), SHEET_NAME if has_sheet else None)
        if pipeline_tag == "image-segmentation" and "parser" in record:
            return _of_parser(record)
        if pipeline_tag == "keypoint-detection" and "pose" in record:
            return _of_pose(record)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no evaluation: {error!r} is missing or of another kind.") from error
    raise ValueError(f"{path} is no evaluation of a model for {pipeline_tag}; name it otherwise to leave it out.")


def _of_images(record: dict[str, Any], sheet: str | None) -> EvaluationFacts:
    protocol, data = record["protocol"], record["data"]
    case = [data[name] for name in ("pairing", "category", "garment_type") if data.get(name)]
    model = dict(record["model"] or {})
    sentences = [protocol["settings"]["protocol"]]
    if model:
        call = ", ".join(f"`{name}={value}`" for name, value in model["call"].items())
        sentences.append(f"Called with {call or 'its defaults'}.")
        # Of their many settings those that matter are in the repository.
        model["schedulers"] = {name: each["class"] for name, each in model.get("schedulers", {}).items()}
    sentences.append(METRICS_LEGEND)
    tables = [("", metrics_table(record))]
    for rival, wins in record["wins"].items():
        if wins:
            tables.append((f"Against the {METHOD_TITLES[rival]}:", wins_table(record, rival)))
    settings = {**protocol["settings"], "data": data, "model": model, "versions": record["environment"]}
    return EvaluationFacts(
        title=f"Protocol {protocol['name']} on the data {data['name']}{_in_words(case)}",
        protocol=sentences,
        tables=tables,
        notes=[
            *([WINS_LEGEND] if len(tables) > 1 else ["No baseline was judged on these cases."]),
            *(f"Not measured: {name} ({reason.rstrip('.')})." for name, reason in record["unavailable"].items()),
        ],
        sheet=sheet,
        settings=list(setting_lines(settings)),
        results=_results_of_images(record, case),
    )


def _results_of_images(record: dict[str, Any], case: list[str]) -> list[EvalResult]:
    data, protocol = record["data"], record["protocol"]["name"]
    config = "-".join([protocol, *map(str, case)])
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
            ("", markdown_table(["figure", "value"], rows)),
            ("", markdown_table(["label", "IoU"], [[label, f"{value:.3f}"] for label, value in labels])),
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
        tables=[
            ("", markdown_table(["joints", "PCK@0.1", "PCK@0.2"], rows)),
            ("", markdown_table(["joint is", "mean confidence"], confidence)),
        ],
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


def _interval(figure: dict[str, float]) -> str:
    text = f"{figure['mean']:.3f}"
    return f"{text} [{figure['low']:.3f}, {figure['high']:.3f}]" if "low" in figure else text


def _in_words(case: list[str]) -> str:
    return "".join(f", {part}" for part in case)
