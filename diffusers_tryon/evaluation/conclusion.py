# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The end of an evaluation, in the main process: what all pictures say together, as files."""

import json
from pathlib import Path
from typing import Any

from ..image_files import write_image
from .errors import UnavailableError
from .feature_extractors import compute_distances, load_extractor, too_few_pictures
from .figures import REFERENCE
from .judging import Judge, collect
from .layout import METHODS, SETTINGS_NAME, case_ids
from .protocols import describe
from .report import FORMAT, METHOD_TITLES, VERSION, environment, write_result
from .sheet import SHEET_NAME, draw_sheet
from .summary import summarise


# Where features of whole folders are kept, which take the longest.
FEATURES_FOLDER = "features"
REAL = "real"


def conclude(judge: Judge) -> tuple[dict[str, Any], list[Path]]:
    """Measure the distances of whole folders, sum up the figures of the pictures, and write the result and its sheet.

    Args:
        judge (`Judge`): of a folder whose pictures have all been judged.

    Returns:
        the result, see `report.py`, and the files written.
    """
    folder, protocol = judge.folder, judge.protocol
    settings = json.loads((folder / SETTINGS_NAME).read_text())
    figures = collect(judge)
    distances, reasons = measure_distances(judge)
    result = {
        "format": FORMAT,
        "version": VERSION,
        "protocol": {"name": protocol.name, "settings": dict(describe(protocol))},
        "data": {"pairing": "paired" if judge.is_paired else "unpaired"} | settings["data"],
        "model": settings["model"],
        **summarise(figures, distances, len(case_ids(folder))),
        "unavailable": judge.unavailable | reasons,
        "environment": environment(),
    }
    written = write_result(result, folder)
    written.append(folder / SHEET_NAME)
    write_image(draw_sheet(folder, figures, main_metric(judge)), written[-1])
    return result, written


def main_metric(judge: Judge) -> str | None:
    """The protocol's first metric that pictures have, of the edited region where that is known."""
    if not judge.paired:
        return None
    return next((name for name in judge.paired if name == f"{judge.paired[0]}_region"), judge.paired[0])


def measure_distances(judge: Judge) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """FID and KID of each method's folder, and of those that cannot be computed the reasons."""
    protocol, folder = judge.protocol, judge.folder
    if not protocol.unpaired_metrics:
        return {}, {}
    reasons = too_few_pictures(protocol, len(case_ids(folder)))
    wanted = [metric for metric in protocol.unpaired_metrics if metric not in reasons]
    references = folder / REFERENCE if (folder / REFERENCE).is_dir() else folder / REAL
    distances, failures = {}, []
    try:
        extractor = load_extractor(protocol.distances.library) if wanted else None
    except UnavailableError as error:
        return {}, reasons | dict.fromkeys(wanted, str(error))
    for method in METHODS if wanted else ():
        if method in judge.methods:
            try:
                distances[method] = compute_distances(
                    protocol, folder / method, references, extractor, cache=folder / FEATURES_FOLDER
                )
            except UnavailableError as error:
                failures.append(f"{METHOD_TITLES[method]}: {error}")
    if failures:
        reasons |= dict.fromkeys(wanted, "; ".join(failures))
    return distances, reasons
