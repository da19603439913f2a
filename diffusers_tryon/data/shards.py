# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Writes rows as Parquet shards with the images inside: on several processes, resumable, each shard whole or not at
all.

A folder holds `<split>-00000.parquet` and so on; `__source__/<split>.json`, which says what the rows are made of, so
that rows of another source are never mixed in; and `__rejected__/<split>-00000.jsonl` where rows of a shard could not
be made.
"""

import hashlib
import json
import os
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import pyarrow as pa
import pyarrow.parquet as parquet
from datasets import Dataset, Features
from pyarrow import ArrowException
from tqdm.auto import tqdm

from .processes import worker_processes
from .rows import encode_row
from .schema import SCHEMA_VERSION, dataset_features


Task = TypeVar("Task")

# `datasets` passes over folders with such names; anything else it may take for data of the split.
REJECTED_FOLDER = "__rejected__"
SOURCE_FOLDER = "__source__"
# Streaming reads whole row groups.
_ROWS_PER_GROUP = 100
# What a worker is handed at a time, and how much of it waits, so that a worker never idles while a shard is written.
_TASKS_PER_CHUNK = 4
_TASKS_TOGETHER = 16
_CHUNKS_AHEAD_PER_WORKER = 8
_METADATA_KEY = b"diffusers_tryon"
# What torchrun (and accelerate with it), Open MPI and MPICH tell a process: its number and how many there are.
_LAUNCHER_VARIABLES = (
    ("RANK", "WORLD_SIZE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
)


@dataclass(frozen=True)
class ShardReport:
    """What one call of `write_shards` did in this process."""

    rows_written: int
    rows_rejected: int
    shards_written: int
    shards_skipped: int
    seconds: float

    def __str__(self) -> str:
        rate = (self.rows_written + self.rows_rejected) / self.seconds
        text = (
            f"{_count(self.rows_written, 'row')} in {_count(self.shards_written, 'shard')}, {rate:.1f} rows per second"
        )
        if self.shards_skipped:
            text += f"; {_count(self.shards_skipped, 'shard')} found finished"
        if self.rows_rejected:
            text += f"; {_count(self.rows_rejected, 'row')} rejected, see the folder {REJECTED_FOLDER}"
        return text


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def hash_ids(ids: Iterable[str]) -> str:
    """A short name for a list of ids in its order, e.g. for `source` of `write_shards`."""
    digest = hashlib.sha256()
    for value in ids:
        digest.update(json.dumps(value).encode() + b"\n")
    return digest.hexdigest()[:32]


def process_position() -> tuple[int, int]:
    """`(process_index, num_processes)` under `accelerate launch`, torchrun or mpirun, else `(0, 1)`.

    Read from the variables that these launchers set, as accelerate does, but without a process group: processes that
    write shards of their own have nothing to say to each other, and one that is done first need not wait.
    """
    for index_name, count_name in _LAUNCHER_VARIABLES:
        if index_name in os.environ and count_name in os.environ:
            return int(os.environ[index_name]), int(os.environ[count_name])
    return 0, 1


def write_shards(
    out_dir: str | Path,
    split: str,
    tasks: Sequence[Task],
    build_row: Callable[[Task], dict[str, Any]],
    extra_columns: tuple[str, ...],
    task_id: Callable[[Task], str],
    source: dict[str, Any],
    rows_per_shard: int = 1000,
    workers: int = 1,
    process_index: int = 0,
    num_processes: int = 1,
    build_rows: Callable[[list[Task]], list[dict[str, Any]]] | None = None,
) -> ShardReport:
    """Build a row from every task and write `out_dir/<split>-<number>.parquet`.

    Shard k holds the tasks k * rows_per_shard and on, in order; its bytes depend on these tasks and `build_row` alone.
    Finished shards are not built again, so that a call can be repeated after a crash, or with tasks added at the end;
    but for those whose rows were all rejected.
    Fewer tasks than a folder has leave the folder as it is. Two runs must not write the same shards at the same time.

    A task whose row cannot be made (`ValueError`, `OSError`) is left out and listed with its id and the error in
    `out_dir/__rejected__/<split>-<number>.jsonl`. Any other exception stops the call; finished shards stay.

    Args:
        tasks (`Sequence`): small picklable values.
        build_row (`Callable`): makes a row for `rows.encode_row` out of a task; a function of a module or a
            `functools.partial` of one. With more than one worker the caller's script needs the usual
            `if __name__ == "__main__"`.
        extra_columns (`tuple[str, ...]`): see `schema.dataset_features`.
        task_id (`Callable`): names a task; the names of a shard are compared when it is found finished.
        source (`dict`): what the rows are made of and how, small and fit for JSON. It must not change between calls
            for one split of a folder.
        workers (`int`): processes, one thread each; 1 builds the rows in this one.
        process_index, num_processes (`int`): this process writes the shards with k % num_processes == process_index,
            see `process_position`.
        build_rows (`Callable`, *optional*): makes the rows of a few tasks together, where that is faster; it rejects
            none, and is used instead of `build_row`.

    Raises:
        ValueError: a bad argument, or `out_dir` holds other rows or a broken shard.
        ChildProcessError: a worker was killed, for instance because memory ran out.
    """
    _check_arguments(split, tasks, rows_per_shard, workers, process_index, num_processes)
    out_dir = Path(out_dir)
    features = dataset_features(extra_columns)
    if out_dir.exists() and not out_dir.is_dir():
        raise ValueError(f"`out_dir` must be a folder, {out_dir} is a file.")
    out_dir.mkdir(parents=True, exist_ok=True)
    settings = {
        "source": source,
        "extra_columns": list(extra_columns),
        "rows_per_shard": rows_per_shard,
        "schema_version": SCHEMA_VERSION,
    }
    _claim_split(out_dir, split, settings)
    _remove_leftovers(out_dir, split, process_index, num_processes)

    num_shards = -(-len(tasks) // rows_per_shard)
    shards = {
        out_dir / f"{split}-{number:05d}.parquet": tasks[number * rows_per_shard : (number + 1) * rows_per_shard]
        for number in range(process_index, num_shards, num_processes)
    }
    to_write = {
        path: of_shard for path, of_shard in shards.items() if not _is_finished(path, list(map(task_id, of_shard)))
    }

    began = time.perf_counter()
    num_rows = num_rejected = 0
    remaining = (task for of_shard in to_write.values() for task in of_shard)
    total = sum(map(len, to_write.values()))
    if build_rows is None:
        build, chunk_size = partial(_build, build_row, features, task_id), 1 if workers == 1 else _TASKS_PER_CHUNK
    else:
        build, chunk_size = partial(_build_together, build_rows, features), _TASKS_TOGETHER
    with (
        tqdm(total=total, unit="row", desc=split, disable=process_index != 0 or not total) as bar,
        _results(build, remaining, chunk_size, workers if total else 1) as results,
    ):
        for path, of_shard in to_write.items():
            ids, rows, rejected = list(map(task_id, of_shard)), [], []
            for name, (row, error) in zip(ids, islice(results, len(ids))):
                if error is None:
                    rows.append(row)
                else:
                    rejected.append({"id": name, "error": error})
                bar.update()
            _write_shard(path, ids, rows, rejected, features)
            num_rows += len(rows)
            num_rejected += len(rejected)
            if num_rejected:
                bar.set_postfix(rejected=num_rejected)
    return ShardReport(
        num_rows, num_rejected, len(to_write), len(shards) - len(to_write), max(time.perf_counter() - began, 1e-9)
    )


def _check_arguments(
    split: str, tasks: Sequence, rows_per_shard: int, workers: int, process_index: int, num_processes: int
) -> None:
    if not split.isidentifier():
        raise ValueError(f"`split` must be a word such as train or test, got {split!r}.")
    if len(tasks) == 0:
        raise ValueError("`tasks` must not be empty.")
    for name, value in (("rows_per_shard", rows_per_shard), ("workers", workers), ("num_processes", num_processes)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"`{name}` must be an integer of at least 1, got {value!r}.")
    if process_index not in range(num_processes):
        raise ValueError(f"`process_index` must be from 0 to {num_processes - 1}, got {process_index!r}.")


def _rejected_path(shard_path: Path) -> Path:
    return shard_path.parent / REJECTED_FOLDER / f"{shard_path.stem}.jsonl"


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes its place at the end of the block; until then it is hidden beside it."""
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    with open(temporary, "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _claim_split(out_dir: Path, split: str, settings: dict[str, Any]) -> None:
    """Write what the rows of the split are made of, or compare it with what the folder's rows are made of."""
    path = out_dir / SOURCE_FOLDER / f"{split}.json"
    settings = json.loads(json.dumps(settings))
    # Looked for first: of a process that starts at the same time, the settings are there before its shards.
    foreign = next(out_dir.glob(f"{split}-*.parquet"), None)
    if not path.exists():
        if foreign is not None:
            raise ValueError(
                f"`out_dir` holds {foreign}, which does not belong to a dataset that can be continued ({path.name} is "
                "missing). Choose another folder or remove it."
            )
        with replacing(path) as file:
            file.write(json.dumps(settings, indent=2).encode() + b"\n")
        return
    try:
        found = json.loads(path.read_bytes())
        differing = [name for name in settings if found.get(name) != settings[name]]
    except (AttributeError, ValueError) as error:
        raise ValueError(f"`out_dir` holds {path}, which does not describe a dataset: {error}") from error
    if differing:
        wanted, there = ({name: values.get(name) for name in differing} for values in (settings, found))
        raise ValueError(
            f"`out_dir` already holds other rows: {path} says {json.dumps(there)}, expected {json.dumps(wanted)}. "
            "Choose another folder or remove this one."
        )


def _remove_leftovers(out_dir: Path, split: str, process_index: int, num_processes: int) -> None:
    """Remove what killed runs left unfinished of the shards that this process writes."""
    for folder, suffix in ((out_dir, ".parquet"), (out_dir / REJECTED_FOLDER, ".jsonl")):
        for path in folder.glob(f".{split}-*{suffix}.*.tmp"):
            number = path.name.removeprefix(f".{split}-").split(".")[0]
            if number.isdecimal() and int(number) % num_processes == process_index:
                path.unlink()


def _is_finished(path: Path, ids: list[str]) -> bool:
    """Whether the shard is there with the tasks `ids`; raises if the file is broken or holds other tasks."""
    if not path.exists():
        return False
    try:
        metadata = json.loads(parquet.read_metadata(path).metadata[_METADATA_KEY])
        num_tasks, found = metadata["tasks"], metadata["task_ids"]
    except (ArrowException, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"`out_dir` holds {path}, which is no complete shard of this package ({error}). Remove it to have "
            "it written again, or choose another folder."
        ) from error
    # A longer shard than asked for is of the same source, as the split's settings file says.
    if num_tasks <= len(ids) and hash_ids(ids[:num_tasks]) != found:
        raise ValueError(
            f"`out_dir` already holds other rows: {path} does not have the rows from {ids[0]} to "
            f"{ids[num_tasks - 1]}. Choose another folder or remove the file."
        )
    # With all its rows rejected a shard is tried again: a wrong folder may have been named.
    return num_tasks >= len(ids) and num_tasks > _num_rejected(path)


def _num_rejected(shard_path: Path) -> int:
    path = _rejected_path(shard_path)
    return len(path.read_bytes().splitlines()) if path.exists() else 0


def _write_shard(path: Path, ids: list[str], rows: list[dict], rejected: list[dict], features: Features) -> None:
    # The list of rejected rows comes first: with the shard in its place the work counts as done.
    if rejected:
        with replacing(_rejected_path(path)) as file:
            file.write("".join(json.dumps(entry) + "\n" for entry in rejected).encode())
    else:
        _rejected_path(path).unlink(missing_ok=True)
    about_tasks = json.dumps({"tasks": len(ids), "task_ids": hash_ids(ids)}).encode()
    with replacing(path) as file:
        write_parquet(file, rows, features, {_METADATA_KEY: about_tasks})


def write_parquet(
    file: BinaryIO, rows: list[dict[str, Any]], features: Features, metadata: dict[bytes, bytes] | None = None
) -> None:
    """Write encoded rows as a Parquet file with the images inside; `metadata` goes beside what `datasets` writes."""
    table = Dataset.from_dict({name: [row[name] for row in rows] for name in features}, features=features).data.table
    table = table.replace_schema_metadata(table.schema.metadata | (metadata or {}))
    write_table(file, table)


def write_table(file: BinaryIO, table: pa.Table) -> None:
    """Write a table as a shard that `datasets` reads, also one without rows."""
    with parquet.ParquetWriter(file, table.schema) as writer:
        if len(table):  # a row group without rows is what `datasets` does not read
            writer.write_table(table, row_group_size=_ROWS_PER_GROUP)


def _build(
    build_row: Callable[[Task], dict], features: Features, task_id: Callable[[Task], str], tasks: list[Task]
) -> list[tuple[dict | None, str | None]]:
    """For each task its encoded row, or why there is none."""
    results = []
    for task in tasks:
        try:
            row = encode_row(build_row(task))
            results.append((features.encode_example({name: row[name] for name in features}), None))
        except (ValueError, OSError) as error:
            results.append((None, str(error)))
        except Exception as error:
            error.add_note(f"The row that was being made: {task_id(task)}")
            raise
    return results


def _build_together(
    build_rows: Callable[[list[Task]], list[dict]], features: Features, tasks: list[Task]
) -> list[tuple[dict, None]]:
    """The encoded rows of the tasks."""
    rows = map(encode_row, build_rows(tasks))
    return [(features.encode_example({name: row[name] for name in features}), None) for row in rows]


@contextmanager
def _results(
    build: Callable[[list[Task]], list[tuple[dict | None, str | None]]],
    tasks: Iterator[Task],
    chunk_size: int,
    workers: int,
) -> Iterator[Iterator[tuple[dict | None, str | None]]]:
    """The results of `build` in the order of the tasks, made in this process or by workers a little ahead."""
    chunks = iter(lambda: list(islice(tasks, chunk_size)), [])
    if workers == 1:
        yield (result for chunk in chunks for result in build(chunk))
        return
    with worker_processes(
        workers, "Finished shards are kept: the same call goes on where this one stopped"
    ) as executor:

        def in_order() -> Iterator[tuple[dict | None, str | None]]:
            pending = deque()
            for chunk in chunks:
                pending.append(executor.submit(build, chunk))
                if len(pending) >= workers * _CHUNKS_AHEAD_PER_WORKER:
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()

        yield in_order()
