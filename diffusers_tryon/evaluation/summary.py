# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""From the figures of all pictures to those of the whole: means, differences to the baselines, wins, with intervals."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from .bootstrap import Estimate, mean_interval, share_interval
from .figures import METRICS, rounded
from .layout import BASELINES, MODEL


# Figures of each method, case and metric; NaN where a picture has not the figure.
Figures = Mapping[str, Mapping[str, Mapping[str, float]]]


def summarise(figures: Figures, distances: Mapping[str, Mapping[str, float]], num_cases: int) -> dict[str, Any]:
    """The parts of a result that hold numbers, see `report.py`.

    Args:
        figures (`dict`): of each method and case, see [`Figures`].
        distances (`dict`): of each method, figures of the whole folder, which have no interval.
        num_cases (`int`): on which the distances rest.

    Returns:
        `dict`: "methods", "metrics", "differences" and "wins", fit for JSON.
    """
    columns = {method: _columns(of_cases) for method, of_cases in figures.items()}
    methods = {
        method: {metric: _json(mean_interval(values)) for metric, values in of_method.items()}
        for method, of_method in columns.items()
    }
    for method, of_method in distances.items():
        for metric, value in of_method.items():
            methods.setdefault(method, {})[metric] = _json(Estimate(value, np.nan, np.nan, num_cases))
    measured = {metric for of_method in methods.values() for metric in of_method}
    differences, wins = {}, {}
    for baseline in BASELINES:
        if baseline in columns and MODEL in columns:
            differences[baseline], wins[baseline] = _against(columns[MODEL], columns[baseline])
    return {
        "methods": methods,
        "metrics": {name: _meaning(name) for name in METRICS if name in measured},
        "differences": differences,
        "wins": wins,
    }


def _columns(of_cases: Mapping[str, Mapping[str, float]]) -> dict[str, np.ndarray]:
    """(N,) of each metric, in the order of the cases' names."""
    names = sorted(of_cases)
    measured = {metric for case in of_cases.values() for metric in case}
    return {
        metric: np.array([of_cases[name].get(metric, np.nan) for name in names])
        for metric in METRICS
        if metric in measured
    }


def _against(model: dict[str, np.ndarray], baseline: dict[str, np.ndarray]) -> tuple[dict, dict]:
    """Differences of model less baseline on the same cases, and shares of cases in which the model is better; without
    figures that are equal in all cases."""
    differences, wins = {}, {}
    for metric in model:
        if metric not in baseline:
            continue
        # The cases are the same ones, whose difficulty the difference is free of.
        difference = model[metric] - baseline[metric]
        if not np.nan_to_num(difference).any():
            continue  # a draw in all cases, as outside the edited region, says nothing
        better = difference if METRICS[metric].higher_is_better else -difference
        differences[metric] = _json(mean_interval(difference))
        wins[metric] = _json(share_interval((np.sign(better) + 1) / 2), "share")
    return differences, wins


def _json(estimate: Estimate, name: str = "mean") -> dict[str, float | int | None]:
    mean, low, high, count = estimate
    return {name: rounded(mean), "low": rounded(low), "high": rounded(high), "count": count}


def _meaning(name: str) -> dict[str, Any]:
    meaning = asdict(METRICS[name])
    del meaning["digits"]
    return meaning
