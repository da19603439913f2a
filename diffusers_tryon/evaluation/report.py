# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The result of an evaluation: its file `evaluation.json`, and as tables in `evaluation.md`.

| key of the file | what |
|---|---|
| `format`, `version` | `FORMAT`, `VERSION` |
| `protocol` | `name`, and `settings`: every setting in words |
| `data` | what the cases are |
| `model` | `name`, `weights_sha256`, `call`: how it was called; null if the pictures were given, or none was judged |
| `methods` | for each method and metric `mean`, `low`, `high`, the ends of the interval, and `count`, of cases |
| `metrics` | `title`, `unit` and `higher_is_better` of each metric |
| `differences` | for each baseline and metric the model's figure less the baseline's on the same cases |
| `wins` | for each baseline and metric the `share` of cases in which the model is better, a draw being half a case |
| `unavailable` | for each metric that could not be measured the reason |
| `environment` | versions of what computed |

Figures that do not exist, such as the interval of a FID, are null. There is no time and no place in it: the same
pictures give the same file.
"""

import importlib.metadata
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .. import __version__
from ..files import written_beside
from .figures import METRICS
from .layout import MODEL, RESULT_NAME
from .protocols import count_warning, get_protocol


FORMAT = "diffusers-tryon/evaluation"
VERSION = 1
TABLES_NAME = "evaluation.md"
# In the order of columns.
METHOD_TITLES = {
    MODEL: "model",
    "agnostic": "agnostic image",
    "pasted": "pasted garment",
    "reference": "true picture",
}
METRICS_LEGEND = (
    "Higher is better with ↑, lower with ↓. In brackets: 95 % intervals of the mean, by the percentile bootstrap over "
    "the cases."
)
WINS_LEGEND = (
    "The difference is the model's figure less the baseline's on the same cases. Better in: the share of cases in "
    "which the model's figure is the better one, a draw being half a case, with Wilson's interval."
)
# Whose version may move a figure.
_PACKAGES = ("torch", "diffusers", "numpy", "Pillow", "torchmetrics", "clean-fid", "torch-fidelity", "torchvision")


def environment() -> dict[str, str]:
    """The versions of the packages that compute, as far as they are installed."""
    versions = {"diffusers_tryon": __version__}
    for name in _PACKAGES:
        try:
            versions[name.replace("-", "_").lower()] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            pass  # an extra
    return versions


def write_result(result: dict[str, Any], folder: Path) -> list[Path]:
    """Write `evaluation.json` and `evaluation.md`; returns their paths."""
    texts = {
        folder / RESULT_NAME: json.dumps(result, indent=2, allow_nan=False, ensure_ascii=False) + "\n",
        folder / TABLES_NAME: as_markdown(result),
    }
    for path, text in texts.items():
        with written_beside(path) as partial:
            partial.write_text(text, encoding="utf-8")
    return list(texts)


def read_result(path: str | Path) -> dict[str, Any]:
    """Read a result.

    Args:
        path (`str` or `Path`): `evaluation.json`, or the folder that holds it.

    Raises:
        ValueError: there is none, or it is none of this version.
    """
    path = Path(path)
    if path.is_dir():
        path = path / RESULT_NAME
    if not path.is_file():
        raise ValueError(f"`result` must be an {RESULT_NAME} or the folder of one, there is none at {path}.")
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"`result` must be an {RESULT_NAME}, {path} is broken: {error}") from error
    found = (result.get("format"), result.get("version")) if isinstance(result, dict) else None
    if found != (FORMAT, VERSION):
        raise ValueError(
            f"`result` must be an {RESULT_NAME} of format {FORMAT!r} and version {VERSION}, {path} has {found}."
        )
    return result


def model_name(result: Mapping[str, Any]) -> str:
    """What a table calls whatever was judged."""
    if result["model"]:
        return result["model"]["name"]
    return "pictures as given" if MODEL in result["methods"] else "baselines alone"


def as_markdown(result: Mapping[str, Any]) -> str:
    """The result as a page: what was measured on what, and the tables."""
    name = model_name(result)
    blocks = [
        f"# {name}, evaluated by protocol `{result['protocol']['name']}`",
        "\n".join(metrics_table(result)) if result["metrics"] else "Nothing could be measured.",
        METRICS_LEGEND,
    ]
    warning = count_warning(get_protocol(result["protocol"]["name"]), result["data"]["count"])
    blocks += [warning] if warning else []
    if not result["wins"] and MODEL in result["methods"]:
        blocks.append("No baseline was judged on these cases: the figures say nothing about what is easy here.")
    if result["unavailable"]:
        blocks += [
            "## Not measured",
            "\n".join(f"- {METRICS[metric].title}: {reason}" for metric, reason in result["unavailable"].items()),
        ]
    for baseline in result["wins"]:
        blocks += [f"## Against the {METHOD_TITLES[baseline]}", "\n".join(wins_table(result, baseline))]
    if result["wins"]:
        blocks.append(WINS_LEGEND)
    blocks += ["## Protocol", _settings_list(result["protocol"]["settings"])]
    blocks += ["## Data", _settings_list(result["data"])]
    if result["model"]:
        schedulers = {name: scheduler["class"] for name, scheduler in result["model"]["schedulers"].items()}
        blocks += ["## Model", _settings_list(result["model"] | {"schedulers": schedulers})]
    blocks += ["## Versions", _settings_list(result["environment"])]
    return "\n\n".join(blocks) + "\n"


def metrics_table(result: Mapping[str, Any]) -> list[str]:
    """The lines of a Markdown table: a row for each metric, a column for each method."""
    methods = [method for method in METHOD_TITLES if method in result["methods"]]
    most = _most_cases(result)
    rows = [
        [metric_heading(result, metric)]
        + [figure_text(metric, result["methods"][method].get(metric), most) for method in methods]
        for metric in result["metrics"]
    ]
    return markdown_table([cases_text(most), *(METHOD_TITLES[method] for method in methods)], rows)


def _most_cases(result: Mapping[str, Any]) -> int:
    """How many cases have some figure."""
    counts = [figure["count"] for of_method in result["methods"].values() for figure in of_method.values()]
    return max(counts, default=0)


def cases_text(count: int) -> str:
    """A number of cases in words."""
    return f"{count} case{'' if count == 1 else 's'}"


def metric_heading(result: Mapping[str, Any], metric: str) -> str:
    """Title, unit and the better direction of a metric."""
    meaning = result["metrics"][metric]
    unit = f" ({meaning['unit']})" if meaning["unit"] else ""
    return f"{meaning['title']}{unit} {'↑' if meaning['higher_is_better'] else '↓'}"


def figure_text(metric: str, figure: Mapping[str, Any] | None, most: int, sign: str = "") -> str:
    """Mean and interval; the number of cases where it is not that of the table, `most`; with "+" always a sign."""
    if figure is None or figure["mean"] is None:
        return "–"
    mean, low, high = (
        "" if figure[key] is None else f"{figure[key]:{sign}z.{METRICS[metric].digits}f}"
        for key in ("mean", "low", "high")
    )
    text = f"{mean} [{low}, {high}]" if low else mean
    return text if figure["count"] == most else f"{text}, {cases_text(figure['count'])}"


def markdown_table(heading: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a Markdown table whose first column is text and whose others are figures, aligned for reading as is."""
    widths = [max(map(len, column)) for column in zip(heading, *rows)]
    lines = [heading, ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])], *rows]
    return [
        "| " + " | ".join([first.ljust(widths[0]), *map(str.rjust, others, widths[1:])]) + " |"
        for first, *others in lines
    ]


def wins_table(result: Mapping[str, Any], baseline: str) -> list[str]:
    """The lines of a Markdown table: for each metric how far, and how often, the model is better than a baseline."""
    rows, most = [], _most_cases(result)
    for metric, win in result["wins"][baseline].items():
        if win["share"] is None:
            continue
        share = f"{win['share']:.0%} [{win['low']:.0%}, {win['high']:.0%}]"
        difference = result["differences"][baseline][metric]
        rows.append([metric_heading(result, metric), figure_text(metric, difference, most, "+"), share])
    return markdown_table([cases_text(most), "difference", "better in"], rows)


def _settings_list(settings: Mapping[str, Any]) -> str:
    return "\n".join(f"- {name.replace('_', ' ')}: {text}" for name, text in setting_lines(settings))


def setting_lines(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Name and value of each setting in words, those within others after these."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from setting_lines(value, f"{prefix}{name}, ")
        elif isinstance(value, list | tuple):
            yield prefix + name, " x ".join(map(str, value)) if name == "size" else ", ".join(map(str, value))
        else:
            yield prefix + name, "–" if value is None else str(value)
