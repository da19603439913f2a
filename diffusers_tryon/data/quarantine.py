# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Bad rows taken out of a data set and kept beside it.

`FOLDER/__quarantine__/SPLIT.jsonl` lists them with what is wrong; the rows themselves lie beside that list in files
named after the ones they were taken from. `datasets` passes over folders with such a name.
"""

import json
import os
import shutil
import tarfile
from collections import defaultdict
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as parquet

from .parts import ImageFolderPart, ParquetPart, WebDatasetPart, members_by_key
from .shards import replacing, write_table
from .validation import Finding, ValidationReport


QUARANTINE_FOLDER = "__quarantine__"

FilePart = ParquetPart | ImageFolderPart | WebDatasetPart


def quarantine(folder: str | Path, parts: list[FilePart], report: ValidationReport) -> int:
    """Take every row that `report` names out of its file. Pictures of the imagefolder layout stay where they are.

    Each file is written anew beside its place and renamed, after its bad rows are safe in the quarantine; a call that
    was interrupted can be repeated after validating again.

    Args:
        folder (`str` or `Path`): the data set's folder.
        parts (`list[Part]`): its files, from `parts.list_parts(folder)`.
        report (`ValidationReport`): of these parts.

    Returns:
        `int`: number of rows (and of files that cannot be read at all) taken out.
    """
    room = Path(folder) / QUARANTINE_FOLDER
    findings: dict[str, dict[int | None, list[Finding]]] = defaultdict(lambda: defaultdict(list))
    for finding in report.findings:
        findings[finding.part][finding.row].append(finding)
    taken_out = 0
    for part in parts:
        by_row = findings.get(part.name)
        if not by_row:
            continue
        room.mkdir(exist_ok=True)
        place = _free_place(room, part.name)
        _append_to_list(room / f"{part.split}.jsonl", by_row, place.name)
        if None in by_row:
            shutil.move(part.path, place)
        else:
            _SPLITTERS[type(part)](part.path, set(by_row), place)
        taken_out += len(by_row)
    return taken_out


def _free_place(room: Path, name: str) -> Path:
    """Where the rows taken out of the file `name` go; an earlier call may have taken others out of it."""
    name = Path(name.replace(os.sep, "-"))
    number = 1
    while (place := room / f"{name.stem}.{number}{name.suffix}").exists():
        number += 1
    return place


def _append_to_list(path: Path, by_row: dict[int | None, list[Finding]], rows_in: str) -> None:
    with open(path, "a", encoding="utf-8") as file:
        for row, findings in by_row.items():
            problems = [{"kind": finding.kind, "message": finding.message} for finding in findings]
            entry = {"id": findings[0].id, "file": findings[0].part, "row": row, "problems": problems}
            file.write(json.dumps(entry | {"rows_in": rows_in}) + "\n")


def _split_parquet(path: Path, bad: set[int], place: Path) -> None:
    table = parquet.ParquetFile(path).read()
    is_bad = pa.array([number in bad for number in range(len(table))])
    # The shard stays even without rows, so that an import that is called again counts it as done.
    for rows, target in ((table.filter(is_bad), place), (table.filter(pc.invert(is_bad)), path)):
        with replacing(target) as file:
            write_table(file, rows)


def _split_metadata(path: Path, bad: set[int], place: Path) -> None:
    with open(path, "rb") as file:
        lines = list(file)
    for wanted, target in ((True, place), (False, path)):
        with replacing(target) as file:
            file.writelines(line for number, line in enumerate(lines) if (number in bad) == wanted)


def _split_tar(path: Path, bad: set[int], place: Path) -> None:
    for wanted, target in ((True, place), (False, path)):
        with (
            replacing(target) as file,
            tarfile.open(path) as source,
            tarfile.open(fileobj=file, mode="w") as copy,
        ):
            for number, members in enumerate(members_by_key(source)):
                for member in members if (number in bad) == wanted else ():
                    copy.addfile(member, source.extractfile(member))


_SPLITTERS = {ParquetPart: _split_parquet, ImageFolderPart: _split_metadata, WebDatasetPart: _split_tar}
