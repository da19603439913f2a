# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The picture sheet of an evaluation: the best, the middle and the worst cases, inputs, results and truth."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from ..image_files import read_image
from ..visualization import Panel, contact_sheet, stacked, titled
from .figures import METRICS
from .layout import METHODS, MODEL, CaseRecord, case_ids, picture_path
from .summary import Figures


SHEET_NAME = "cases.png"
_CASES_OF_A_KIND = 3
_MOST_ROWS = 3 * _CASES_OF_A_KIND
_PANEL_HEIGHT = 192


def choose_cases(values: Mapping[str, float], higher_is_better: bool) -> list[tuple[str, str]]:
    """The best, the middle and the worst cases by a figure, at most three of each; all, if they are fewer.

    Args:
        values (`dict`): figure by name of the case; NaN where it has none, which leaves it out.
        higher_is_better (`bool`): of the figure.

    Returns:
        `list[tuple[str, str]]`: place in words and name of the case, from the best to the worst.
    """
    known = [name for name in sorted(values) if not np.isnan(values[name])]
    ranked = sorted(known, key=values.get, reverse=higher_is_better)
    middle = (len(ranked) - _CASES_OF_A_KIND) // 2
    kinds = {
        "best": range(_CASES_OF_A_KIND),
        "median": range(middle, middle + _CASES_OF_A_KIND),
        "worst": range(len(ranked) - _CASES_OF_A_KIND, len(ranked)),
    }
    if len(ranked) < _MOST_ROWS:
        return [(f"{rank} of {len(ranked)}", name) for rank, name in enumerate(ranked, start=1)]
    return [(f"{kind}, {rank + 1} of {len(ranked)}", ranked[rank]) for kind, ranks in kinds.items() for rank in ranks]


def draw_sheet(folder: Path, figures: Figures, metric: str | None) -> Image.Image:
    """A row for each chosen case: what the model was given, what it and the baselines made, and the truth if known.

    Args:
        folder (`Path`): of an evaluation, see `layout.py`.
        figures (`dict`): of each method and case.
        metric (`str`, *optional*): that orders the cases and is written beside their pictures; without one, or without
            a model, the first cases are shown.
    """
    if metric is None or MODEL not in figures:
        chosen = [(f"case {number}", name) for number, name in enumerate(case_ids(folder)[:_MOST_ROWS], start=1)]
        title = "the first cases; no figure of a model's single pictures orders them"
    else:
        values = {name: of_case.get(metric, np.nan) for name, of_case in figures[MODEL].items()}
        chosen = choose_cases(values, METRICS[metric].higher_is_better)
        title = f"by the model's {METRICS[metric].title}, from the best to the worst"
    rows = [_draw_case(folder, figures, metric, place, case_id) for place, case_id in chosen]
    return titled(stacked(rows), title)


def _draw_case(folder: Path, figures: Figures, metric: str | None, place: str, case_id: str) -> Image.Image:
    record = CaseRecord.read(folder, case_id)
    captions = {
        "agnostic": ("agnostic", record.person_pose),
        "garment": ("garment", record.garment_pose),
        MODEL: ("model", None),
        "pasted": ("pasted", None),
        "reference": ("truth", None),
    }
    panels = []
    for kind, (caption, pose) in captions.items():
        path = picture_path(folder, kind, case_id)
        if path.exists():
            image = read_image(path, kind)
            value = figures.get(kind, {}).get(case_id, {}).get(metric, np.nan)
            if kind in METHODS and not np.isnan(value):
                caption += f", {value:.{METRICS[metric].digits}f} {METRICS[metric].unit}".rstrip()
            panels.append(Panel(image, caption, pose, show_pixels=image.height < _PANEL_HEIGHT))
    row = contact_sheet([panels], columns=1, height=_PANEL_HEIGHT)
    return titled(row, f"{place}: {case_id}, {record.category}, {record.garment_type} garment")
