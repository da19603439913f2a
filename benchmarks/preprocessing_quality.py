# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""How good preprocessing is, on rendered people whose bodies no network here was trained on.

    python benchmarks/preprocessing_quality.py
    python benchmarks/preprocessing_quality.py --preprocessor hub --count 200 --json figures.json

For each category: photographs in which nobody (usable) was found; PCK@0.2, the share of the joints in sight that were
found within a fifth of the trunk's height; in the networks' crop of 192 x 192 pixels the share of pixels with the right
label, the overlap (intersection over union) of the garment's labels with the true ones, "leak", the share of the
garment's pixels that stay in sight in the agnostic image, and "kept", the share of what should stay in sight that does.
"""

import json
import warnings
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from diffusers_tryon import TryOnPreprocessor
from diffusers_tryon.composition import CATEGORIES, GARMENT_LABELS, KEPT_LABELS, label_mask
from diffusers_tryon.evaluation.rendered_metrics import intersection_over_union, share_of_joints
from diffusers_tryon.preprocessing.errors import PreprocessingError, PreprocessingWarning
from diffusers_tryon.rendering.samples import Row, render_pair


CROP = (192, 192)
FIGURES = ("pck", "labels", "overlap", "leak", "kept")


def judge(preprocessor: TryOnPreprocessor, row: Row) -> dict[str, float] | None:
    """The figures of one photograph, None if it was refused."""
    category = row["category"]
    (analysis,) = preprocessor.analyse([row["person_image"]])
    try:
        person = preprocessor.prepare_person(analysis, category, CROP)
    except PreprocessingError:
        return None
    truth, hidden = person.crop.resized_labels(row["person_parse"], CROP), person.agnostic_mask > 0
    garment, found = (label_mask(parse, GARMENT_LABELS[category]) for parse in (truth, person.parse))
    stays = label_mask(truth, KEPT_LABELS[category])
    return {
        "pck": share_of_joints(analysis.pose, row["person_pose"], np.ones(row["person_parse"].shape, bool)),
        "labels": float((truth == person.parse).mean()),
        "overlap": intersection_over_union(found, garment),
        "leak": float((garment & ~hidden).sum() / max(garment.sum(), 1)),
        "kept": float((stays & ~hidden).sum() / max(stays.sum(), 1)),
    }


def main(
    count: Annotated[int, typer.Option(help="rendered photographs of each category")] = 24,
    size: Annotated[int, typer.Option(help="their side in pixels")] = 384,
    preprocessor: Annotated[str, typer.Option(help="offline, hub, or a saved one")] = "offline",
    json_file: Annotated[Path | None, typer.Option("--json", help="write all figures")] = None,
) -> None:
    """Compare what preprocessing finds in rendered photographs with the truth."""
    warnings.simplefilter("ignore", PreprocessingWarning)
    loaded = TryOnPreprocessor.from_pretrained(preprocessor)
    typer.echo(f"{type(loaded.pose_estimator).__name__}, {count} photographs of {size} x {size} pixels each")
    typer.echo("category  refused  " + "  ".join(f"{name:>7}" for name in FIGURES))
    figures = {}
    for category in CATEGORIES:
        judged = [judge(loaded, render_pair(seed, size, "test", category)) for seed in range(count)]
        usable = [values for values in judged if values is not None]
        means = {name: float(np.mean([values[name] for values in usable])) for name in FIGURES}
        figures[category] = {"refused": count - len(usable), **means}
        typer.echo(f"{category:8}  {count - len(usable):7}  " + "  ".join(f"{means[name]:7.3f}" for name in FIGURES))
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
