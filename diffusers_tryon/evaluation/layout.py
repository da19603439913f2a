# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The folder that an evaluation works in: what lies where, and how a case is described.

| path | what |
|---|---|
| `settings.json` | how the pictures were made; a folder is never continued with others |
| `cases/ID.json` | a [`CaseRecord`] |
| `reference/ID.png` | the true picture, where there is one |
| `real/ID.png` | in its place a photograph of the same person in their own clothes: a set for distances |
| `mask/ID.png` | grey, 255 where the picture may differ from the photograph (the edited region) |
| `garment/ID.png` | the garment as the network gets it |
| `parse/ID.png` | label map of the true picture, ids of `composition.PARSE_LABELS`, where it is known exactly |
| `model/ID.png`, `agnostic/ID.png`, `pasted/ID.png` | pictures to judge: the model's and the baselines' (`METHODS`) |
| `figures/METHOD/ID.json` | the figures of one picture; `figures/settings.json` says by which protocol |
| `features/` | features of whole folders for FID and KID, to be had again |
| `evaluation.json`, `evaluation.md`, `cases.png` | the result, see `report.py` |

Every file is written beside and renamed, so what is there is whole, and an interrupted evaluation goes on.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..files import written_beside


MODEL = "model"
# The person with the region left grey, and the garment pasted by the similarity of shoulders and hips.
BASELINES = ("agnostic", "pasted")
METHODS = (MODEL, *BASELINES)
SETTINGS_NAME = "settings.json"
RESULT_NAME = "evaluation.json"


@dataclass(frozen=True)
class CaseRecord:
    """What is known about a case beside its pictures.

    Attributes:
        id: name of the case and of its files.
        category: "upper", "lower" or "dress"; "unknown" for pictures from elsewhere.
        garment_type: "worn" or "flat"; "unknown" for pictures from elsewhere.
        person_pose, garment_pose: (18, 3) float32, the networks' format; zeros for a flat garment.
        noise_seed: of the noise that the model starts from.
    """

    id: str
    category: str
    garment_type: str
    person_pose: np.ndarray
    garment_pose: np.ndarray
    noise_seed: int

    def write(self, folder: Path) -> None:
        values = asdict(self)
        for name in ("person_pose", "garment_pose"):
            values[name] = [[round(float(number), 6) for number in point] for point in values[name]]
        with written_beside(folder / "cases" / f"{self.id}.json") as partial:
            partial.write_text(json.dumps(values))

    @classmethod
    def read(cls, folder: Path, case_id: str) -> "CaseRecord":
        values = json.loads((folder / "cases" / f"{case_id}.json").read_text())
        for name in ("person_pose", "garment_pose"):
            values[name] = np.array(values[name], dtype=np.float32)
        return cls(**values)


def case_ids(folder: Path) -> list[str]:
    """The cases of a folder, sorted by name."""
    # A hidden one was being written when its process ended.
    return sorted(path.stem for path in (folder / "cases").glob("*.json") if not path.name.startswith("."))


def picture_path(folder: Path, kind: str, case_id: str) -> Path:
    """Where a picture of a case lies; `kind` is a folder's name in the table above."""
    return folder / kind / f"{case_id}.png"


def claim_folder(
    folder: Path,
    settings: dict[str, Any],
    process_index: int = 0,
    contents: str = "pictures that were made",
    purpose: str = "an evaluation",
) -> None:
    """Write `settings.json`, or compare with the one that is there.

    Args:
        folder (`Path`): the evaluation's or the like, made if missing.
        settings (`dict`): JSON; how what it holds is made.
        process_index (`int`): this process, of those that claim the folder for the same settings.
        contents (`str`): what errors say that the folder holds.
        purpose (`str`): what they say that it is for.

    Raises:
        ValueError: the folder holds contents of other settings (every difference is named) or something else.
    """
    path = folder / SETTINGS_NAME
    # Looked at before the settings are: another process may just be writing these, and then what comes after them.
    is_used = folder.is_dir() and any(not file.name.startswith(".") for file in folder.iterdir())
    if path.is_file():
        differences = _differences(json.loads(path.read_text()), settings)
        if differences:
            raise ValueError(f"`folder` must be new, {folder} holds {contents} otherwise: {'; '.join(differences)}.")
        return
    if is_used:
        raise ValueError(f"`folder` must be new or hold {purpose}, {folder} has no {SETTINGS_NAME}.")
    folder.mkdir(parents=True, exist_ok=True)
    # Every process writes the same, whichever comes last.
    partial = folder / f".{SETTINGS_NAME}.{process_index}"
    partial.write_text(json.dumps(settings, indent=2) + "\n")
    os.replace(partial, path)


def _differences(there: Any, wanted: Any, name: str = "") -> list[str]:
    """Each value in which two JSON objects differ, in words."""
    if isinstance(there, dict) and isinstance(wanted, dict):
        keys = list(dict.fromkeys([*there, *wanted]))
        return [
            difference
            for key in keys
            for difference in _differences(there.get(key), wanted.get(key), f"{name}.{key}" if name else key)
        ]
    return [] if there == wanted else [f"{name} was {json.dumps(there)} and is now {json.dumps(wanted)}"]
