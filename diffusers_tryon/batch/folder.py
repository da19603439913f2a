# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The folder that a batch works in: what lies where, and what is finished.

| path | what |
|---|---|
| `pictures/ID.png` | the pictures |
| `results.csv` | a line for each picture: id, person, garment, file, seed, seconds |
| `failures.csv` | a line for each row of the manifest that no picture could be made of, and why |
| `settings.json` | how the pictures were made; a folder is never continued with others |
| `done/ID.json`, `failed/ID.json` | the same lines as they came to be |
| `prepared/` | what was made of photographs |

Every file is written beside and renamed, a record after its picture: what has a record is finished, and an interrupted
batch goes on. Tables follow from the records, so that several processes may work in one folder.
"""

import csv
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ..files import written_beside
from ..image_files import write_image
from .manifest import BatchRow, Manifest


_RESULT_COLUMNS = ("id", "person_id", "garment_id", "picture", "seed", "seconds", "warnings")
_FAILURE_COLUMNS = ("id", "person_id", "garment_id", "error")


class BatchFolder:
    """
    Args:
        path (`Path`): of the folder; it need not exist.
    """

    def __init__(self, path: Path):
        self.path = path
        self.prepared = path / "prepared"
        self._pictures, self._done, self._failed = path / "pictures", path / "done", path / "failed"

    def is_done(self, row: BatchRow) -> bool:
        """Whether the row's picture is there, made of what the manifest now says."""
        record = self._done / f"{row.id}.json"
        if not record.is_file() or not self._picture(row).is_file():
            return False
        return json.loads(record.read_text())["inputs"] == row.inputs()

    def begin(self, pending: Iterable[BatchRow]) -> None:
        """Forget what earlier calls recorded of rows that are to be done (again). One process does this for all."""
        shutil.rmtree(self._failed, ignore_errors=True)
        for row in pending:
            (self._done / f"{row.id}.json").unlink(missing_ok=True)
        for folder in (self._done, self._failed):
            folder.mkdir(parents=True, exist_ok=True)

    def write_result(self, row: BatchRow, picture: Image.Image, **record: Any) -> None:
        """Keep a picture and what there is to say about it."""
        path = self._picture(row)
        write_image(picture, path)
        record = {**_names(row), "picture": path.relative_to(self.path).as_posix(), **record, "inputs": row.inputs()}
        _write_json(self._done / f"{row.id}.json", record)

    def write_failure(self, row: BatchRow, error: Exception) -> None:
        """Note that no picture could be made of a row."""
        message = " ".join(str(error).split()) or type(error).__name__
        _write_json(self._failed / f"{row.id}.json", {**_names(row), "error": message})

    def count_finished(self) -> int:
        """Records of this call and earlier ones."""
        # A hidden file is just being written.
        return sum(
            not entry.name.startswith(".") for folder in (self._done, self._failed) for entry in os.scandir(folder)
        )

    def write_tables(self, manifest: Manifest) -> tuple[int, int]:
        """Write `results.csv` and `failures.csv` of what there is by now; returns how many lines each has."""
        results, failures = [], []
        for row in manifest.rows:
            results += self._read(self._done, row)
            failures += self._read(self._failed, row)
        failures += [{"id": entry.id, "error": entry.reason} for entry in manifest.unusable]
        for result in results:
            result["warnings"] = "; ".join(result["warnings"])
        _write_csv(self.path / "results.csv", _RESULT_COLUMNS, results)
        _write_csv(self.path / "failures.csv", _FAILURE_COLUMNS, failures)
        return len(results), len(failures)

    def _picture(self, row: BatchRow) -> Path:
        return self._pictures / f"{row.id}.png"

    @staticmethod
    def _read(folder: Path, row: BatchRow) -> list[dict[str, Any]]:
        path = folder / f"{row.id}.json"
        return [json.loads(path.read_text())] if path.is_file() else []


def _names(row: BatchRow) -> dict[str, str]:
    return {"id": row.id, "person_id": row.person_id, "garment_id": row.garment_id}


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with written_beside(path) as partial:
        partial.write_text(json.dumps(content) + "\n")


def _write_csv(path: Path, columns: Sequence[str], lines: list[dict[str, Any]]) -> None:
    with written_beside(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(lines)
