# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The figures of an evaluation: what each of them means, and their files, one for each picture."""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

from ..files import written_beside


REGION_SUFFIX = "_region"
FIGURES_FOLDER = "figures"
# What a picture is compared with; its own figures are what networks and filters allow at best.
REFERENCE = "reference"


@dataclass(frozen=True)
class Metric:
    """What a figure means.

    Attributes:
        title: in tables.
        unit: "dB" and the like, empty for a figure without one.
        higher_is_better: which way a better picture moves it.
        digits: after the point, in tables.
    """

    title: str
    unit: str
    higher_is_better: bool
    digits: int


_OF_PIXELS = {
    "psnr": Metric("PSNR", "dB", True, 2),
    "ssim": Metric("SSIM", "", True, 4),
    "ms_ssim": Metric("MS-SSIM", "", True, 4),
    "lpips": Metric("LPIPS", "", False, 4),
    "mse": Metric("MSE", "", False, 5),
}
_OF_THE_REGION = {
    name + REGION_SUFFIX: replace(metric, title=f"{metric.title}, edited region")
    for name, metric in _OF_PIXELS.items()
}
# By the name of the figure, in the order of tables.
METRICS = {
    **_OF_PIXELS,
    **_OF_THE_REGION,
    "outside": Metric("Largest change outside the edited region", "of 255", False, 0),
    "garment_colour": Metric("Colour of the garment, CIEDE2000", "", False, 2),
    "garment_pattern": Metric("Pattern of the garment, agreement", "", True, 3),
    "pck": Metric("Joints in place, PCK at 0.2", "", True, 3),
    "parse_iou_garment": Metric("IoU of the garment's label", "", True, 3),
    "parse_iou": Metric("IoU of all labels", "", True, 3),
    "sleeve_error": Metric("Sleeves, off by", "% of the height", False, 2),
    "hem_error": Metric("Hem, off by", "% of the height", False, 2),
    "neckline_error": Metric("Neckline, off by", "% of the height", False, 2),
    "fid": Metric("FID", "", False, 2),
    "kid": Metric("KID x 1000", "", False, 3),
}


def figures_path(folder: Path, method: str, case_id: str) -> Path:
    """Where the figures of a method's picture of a case lie."""
    return folder / FIGURES_FOLDER / method / f"{case_id}.json"


def write_figures(folder: Path, method: str, case_id: str, figures: dict[str, float]) -> None:
    """Write the figures of one picture; NaN, a figure that this picture has not, becomes null.

    Six digits are kept: fewer than sums in another order differ by, so that the number of threads is not seen.
    """
    values = {name: rounded(value) for name, value in figures.items()}
    with written_beside(figures_path(folder, method, case_id)) as partial:
        partial.write_text(json.dumps(values, allow_nan=False))


def read_figures(folder: Path, method: str, case_id: str) -> dict[str, float] | None:
    """The figures of one picture, NaN for those it has not; None if it was not judged yet."""
    path = figures_path(folder, method, case_id)
    if not path.exists():
        return None
    return {name: math.nan if value is None else value for name, value in json.loads(path.read_text()).items()}


def rounded(value: float) -> float | None:
    """To six significant digits; None for NaN, which JSON does not have."""
    return None if math.isnan(value) else float(f"{value:.6g}")
