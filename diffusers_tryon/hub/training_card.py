# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The model card of a training run: what is known about it, and nothing that is not."""

import shutil
from pathlib import Path

from .cards import CURVES_NAME, SAMPLES_NAME, write_card
from .run_record import RunRecord


def write_training_card(
    folder: Path,
    record: RunRecord,
    curves: Path | None = None,
    sample_sheet: Path | None = None,
    path_in_repo: str = "",
) -> Path:
    """Write a run's README.md, with what it shows and `run.json`, from which the card can be written again.

    Folders of this machine appear by their name alone, in the card as in `run.json`.

    Args:
        folder (`Path`): What is published: a pipeline, a stage alone or adapters.
        record (`RunRecord`): What the card says.
        curves (`Path`, *optional*): PNG of the curves, copied to `curves.png`.
        sample_sheet (`Path`, *optional*): PNG of samples, copied to `samples.png`.
        path_in_repo (`str`): Where the folder goes in the repository `hub_model_id`; "" is its root.

    Returns:
        `Path`: README.md.
    """
    for source, name in ((curves, CURVES_NAME), (sample_sheet, SAMPLES_NAME)):
        if source is not None:
            shutil.copyfile(source, folder / name)
    record.public().write(folder)
    return write_card(folder, path_in_repo=path_in_repo)
