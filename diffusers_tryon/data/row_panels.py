# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Rows of a data set as pictures with poses drawn, to look at before training on them."""

import io

import numpy as np
from PIL import Image

from ..visualization import Panel, contact_sheet
from .parts import Part, StoredRow


def row_panels(row: StoredRow) -> list[Panel]:
    """Person with pose, agnostic image, garment with pose, and the true try-on where the row has one."""
    columns = row.columns
    images = {
        name: Image.open(io.BytesIO(columns[name]["bytes"]))
        for name in ("person_image", "agnostic_image", "garment_image", "target_image")
        if columns.get(name) is not None
    }
    person_pose, garment_pose = (np.asarray(columns[name], np.float32) for name in ("person_pose", "garment_pose"))
    panels = [
        Panel(images["person_image"], columns["id"], person_pose),
        Panel(images["agnostic_image"], f"{columns['category']}, agnostic"),
        Panel(images["garment_image"], f"garment, {columns['garment_type']}", garment_pose),
    ]
    if "target_image" in images:
        panels.append(Panel(images["target_image"], "target"))
    return panels


def rows_sheet(parts: list[Part], chosen: dict[str, list[int]]) -> Image.Image:
    """A contact sheet of rows without problems.

    Args:
        parts (`list[Part]`): the files of a data set.
        chosen (`dict[str, list[int]]`): numbers of the rows to show by the file's name, see
            `ValidationReport.draw_good_rows`.
    """
    panels = []
    for part in parts:
        numbers = set(chosen.get(part.name, ()))
        if numbers:
            panels += [row_panels(row) for row in part.rows() if row.number in numbers]
    return contact_sheet(panels)
