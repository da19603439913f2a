# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Results of several models on the same cases in one table."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .figures import METRICS
from .layout import MODEL, RESULT_NAME
from .report import (
    METHOD_TITLES,
    cases_text,
    figure_text,
    markdown_table,
    metric_heading,
    model_name,
    read_result,
    setting_lines,
)


def compare(paths: Sequence[str | Path]) -> str:
    """A Markdown table with a column for each result's model, and for the baselines, which are the same for all.

    Args:
        paths (`Sequence`): two or more, each an `evaluation.json` or the folder of one.

    Raises:
        ValueError: a file is no result, holds no figure or is given twice, or results are of different protocols or
            data, which is named.
    """
    if len(paths) < 2:
        raise ValueError(f"`results` must be two at least, got {len(paths)}.")
    twice = [folder for folder, times in Counter(map(_folder, paths)).items() if times > 1]
    if twice:
        raise ValueError(f"`results` must differ, {twice[0]} is given several times.")
    results = [read_result(path) for path in paths]
    for path, result in zip(paths, results):
        if MODEL not in result["methods"]:
            raise ValueError(f"`results` must hold figures, in {path} nothing could be measured.")
    for path, result in zip(paths[1:], results[1:]):
        for part in ("protocol", "data"):
            _check_same(part, results[0][part], result[part], paths[0], path)
    first = results[0]
    columns = {name: result["methods"][MODEL] for name, result in zip(_names(paths, results), results)}
    columns |= {
        METHOD_TITLES[method]: first["methods"][method]
        for method in METHOD_TITLES
        if method != MODEL and method in first["methods"]
    }
    meanings = {metric: result for result in reversed(results) for metric in result["metrics"]}
    most = max(figure["count"] for column in columns.values() for figure in column.values())
    rows = [
        [metric_heading(meanings[metric], metric)]
        + [figure_text(metric, column.get(metric), most) for column in columns.values()]
        for metric in METRICS
        if metric in meanings
    ]
    data = ", ".join(f"{name.replace('_', ' ')} {text}" for name, text in setting_lines(first["data"]))
    notes = [f"Protocol `{first['protocol']['name']}`; data: {data}.", *_different_versions(columns, results)]
    return "\n".join(markdown_table([cases_text(most), *columns], rows) + ["", *notes]) + "\n"


def _check_same(part: str, one: Mapping, other: Mapping, one_path: str | Path, other_path: str | Path) -> None:
    ours, theirs = dict(setting_lines(one)), dict(setting_lines(other))
    different = [
        f"{name} is {ours.get(name, 'missing')} and {theirs.get(name, 'missing')}"
        for name in ours | theirs
        if ours.get(name) != theirs.get(name)
    ]
    if different:
        raise ValueError(
            f"`results` must be of one {part}, those of {one_path} and {other_path} are not: {'; '.join(different)}."
        )


def _names(paths: Sequence[str | Path], results: Sequence[Mapping[str, Any]]) -> list[str]:
    """The models' names, with the folder's where several have one."""
    names = [model_name(result) for result in results]
    times = Counter(names)
    return [f"{name} ({_folder(path)})" if times[name] > 1 else name for name, path in zip(names, paths)]


def _folder(path: str | Path) -> str:
    path = Path(path)
    return str(path.parent if path.name == RESULT_NAME else path)


def _different_versions(columns: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> list[str]:
    """What was computed with versions of a package that differ, which may move a figure a little."""
    environments = [result["environment"] for result in results]
    lines = []
    for package in sorted({name for environment in environments for name in environment}):
        versions = [environment.get(package, "none") for environment in environments]
        if len(set(versions)) > 1:
            of_each = ", ".join(f"{version} for {name}" for name, version in zip(columns, versions))
            lines.append(f"Not of one version: {package}: {of_each}.")
    return lines
