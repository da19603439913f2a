# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Evaluation folders and results made by hand, whose figures are known."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from diffusers_tryon.evaluation.layout import CaseRecord, picture_path
from diffusers_tryon.evaluation.report import FORMAT, VERSION, environment
from diffusers_tryon.evaluation.summary import Figures, summarise
from diffusers_tryon.image_files import write_image


def case_name(number: int) -> str:
    return f"case-{number:03d}"


def write_case(folder: Path, number: int, size: int = 64, **pictures: np.ndarray) -> None:
    """A case and its pictures by the names of their folders; without any a grey agnostic and a coloured garment."""
    case_id = case_name(number)
    garment = np.full((size, size, 3), (40 * number % 256, 90, 200), np.uint8)
    pictures = {"agnostic": np.full((size, size, 3), 128, np.uint8), "garment": garment, **pictures}
    for kind, picture in pictures.items():
        write_image(Image.fromarray(picture), picture_path(folder, kind, case_id))
    no_pose = np.zeros((18, 3), np.float32)
    CaseRecord(case_id, "upper", "flat", no_pose, no_pose, number).write(folder)


def figures_of(**values: dict[str, list[float]]) -> Figures:
    """Figures of each method from lists over the cases, by metric."""
    return {
        method: {
            case_name(number): dict(zip(of_method, of_case))
            for number, of_case in enumerate(zip(*of_method.values(), strict=True))
        }
        for method, of_method in values.items()
    }


def result_of(figures: Figures, model: str = "tiny", **changes: Any) -> dict[str, Any]:
    """A result around figures."""
    num_cases = max(map(len, figures.values()))
    return {
        "format": FORMAT,
        "version": VERSION,
        "protocol": {"name": "rendered", "settings": {"size": "as made", "SSIM": "RGB, window 11"}},
        "data": {"name": "rendered", "pairing": "unpaired", "count": num_cases, "seed": 0, "size": [64, 64]},
        "model": {
            "name": model,
            "weights_sha256": "0" * 64,
            "schedulers": {"base_scheduler": {"class": "DDPMScheduler", "beta_start": 0.1}},
            "call": {"num_inference_steps": 30},
        },
        **summarise(figures, {}, num_cases),
        "unavailable": {},
        "environment": environment(),
        **changes,
    }
