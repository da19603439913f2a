# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What a run leaves behind when a loss or a gradient is not finite: the batch, to look at and to repeat."""

import json
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from diffusers_tryon.files import written_beside
from diffusers_tryon.image_files import write_image
from diffusers_tryon.training.columns import IMAGE_COLUMNS
from diffusers_tryon.training.randomness import TrainingDraw


class FailedBatch(NamedTuple):
    """A batch to repeat, by `TrainingStage.loss(model, batch, step, indices)` with the run's settings."""

    batch: dict[str, torch.Tensor]
    step: int
    indices: list[int]


def write_failed_batch(
    folder: Path, step: int, rank: int, batch: dict[str, torch.Tensor], draw: TrainingDraw, losses: torch.Tensor
) -> Path:
    """Write what one forward pass of training worked on.

    Beside each other, and named after the step, the process and the first sample: the tensors (.safetensors), a
    picture with a row of `IMAGE_COLUMNS` for each sample (.png), and what was drawn for each and its loss (.json).

    Args:
        folder: made if it is missing.
        step, rank: optimiser step and number of the process.
        batch: as the loader made it, with the `row` numbers in the dataset.
        draw, losses: of the batch, as `TrainingStage.loss` returned them.

    Returns:
        The JSON file, which is written last.
    """
    columns = {
        "index": draw.indices,
        "row": batch["row"],
        "timestep": draw.timesteps,
        "agnostic_noise_level": draw.agnostic_levels,
        "garment_noise_level": draw.garment_levels,
        "low_res_noise_level": draw.low_res_levels,
        "conditioning_mask": draw.conditioning_mask,
        "takes_base_output": draw.takes_base_output,
    }
    values = zip(*(column.tolist() for column in columns.values()), losses.tolist())
    # JSON knows no NaN and no infinity.
    samples = [
        dict(zip(columns, row)) | {"loss": loss if abs(loss) < float("inf") else str(loss)} for *row, loss in values
    ]

    path = folder / f"step-{step:08d}-rank-{rank}-sample-{samples[0]['index']}.json"
    with written_beside(path.with_suffix(".safetensors")) as partial:
        save_file({name: tensor.cpu().contiguous() for name, tensor in batch.items()}, partial)
    write_image(_sheet(batch), path.with_suffix(".png"))
    record = {"step": step, "rank": rank, "samples": samples}
    with written_beside(path) as partial:
        partial.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n")
    return path


def read_failed_batch(path: Path) -> FailedBatch:
    """What `write_failed_batch` wrote, by the JSON file that it returned."""
    record = json.loads(path.read_text())
    indices = [sample["index"] for sample in record["samples"]]
    return FailedBatch(load_file(path.with_suffix(".safetensors")), record["step"], indices)


def _sheet(batch: dict[str, torch.Tensor]) -> Image.Image:
    """The uint8 images of each row beside each other, in their own sizes."""
    shapes = [batch[name].shape for name in IMAGE_COLUMNS]
    row_height = max(height for *_, height, _ in shapes)
    sheet = Image.new("RGB", (sum(width for *_, width in shapes), row_height * shapes[0][0]))
    left = 0
    for name in IMAGE_COLUMNS:
        for row, image in enumerate(batch[name].permute(0, 2, 3, 1).cpu().numpy()):
            sheet.paste(Image.fromarray(image), (left, row * row_height))
        left += batch[name].shape[-1]
    return sheet
