# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Writes rows as Parquet shards with the images inside: on several processes, resumable, each shard whole or not at
all.

A folder holds `<split>-00000.parquet` and so on; `__source__/<split>.json`, which says what the rows are made of, so
that rows of another source are never mixed in; `__rejected__/<split>-00000.jsonl` where rows of a shard could not be
made; and `__warnings__/<split>-00000.jsonl` where something about them is doubtful.
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
from typing import Any, BinaryIO, NamedTuple, TypeVar

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
WARNINGS_FOLDER = "__warnings__"
SOURCE_FOLDER = "__source__"
# Streaming reads whole row groups.
_ROWS_PER_GROUP = 100
# What a worker is handed at a time, and how much of it waits, so that a worker never idles while a shard is written.
_TASKS_PER_CHUNK = 4
_CHUNKS_AHEAD_PER_WORKER = 8
_METADATA_KEY = b"diffusers_tryon"
# What torchrun (and accelerate with it), Open MPI and MPICH tell a process: its number and how many there are.
_LAUNCHER_VARIABLES = (
    ("RANK", "WORLD_SIZE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
)


class BuiltRow(NamedTuple):
    """What became of a task.

    Attributes:
        row: a row for `rows.encode_row`, or None.
        error: why there is none.
        warnings: what is doubtful about the row.
    """

    row: dict[str, Any] | None
    error: str | None = None
    warnings: tuple[str, ...] = ()


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
    build_row: Callable[[Task], dict[str, Any]] | None,
    extra_columns: tuple[str, ...],
    task_id: Callable[[Task], str],
    source: dict[str, Any],
    rows_per_shard: int = 1000,
    workers: int = 1,
    process_index: int = 0,
    num_processes: int = 1,
    build_rows: Callable[[list[Task]], list[BuiltRow]] | None = None,
    tasks_together: int = 16,
) -> ShardReport:
    """Build a row from every task and write `out_dir/<split>-<number>.parquet`.

    Shard k holds the tasks k * rows_per_shard and on, in order; its bytes depend on these tasks and `build_row` alone.
    Finished shards are not built again, so that a call can be repeated after a crash, or with tasks added at the end;
    but for those whose rows were all rejected.
    Fewer tasks than a folder has leave the folder as it is. Two runs must not write the same shards at the same time.

    A task whose row cannot be made (`ValueError`, `OSError`) is left out and listed with its id and the error in
    `out_dir/__rejected__/<split>-<number>.jsonl`. Any other exception stops the call; finished shards stay. Warnings
    of `build_rows` are listed in `out_dir/__warnings__/<split>-<number>.jsonl`.

    Args:
        tasks (`Sequence`): small picklable values.
        build_row (`Callable` or `None`): makes a row for `rows.encode_row` out of a task; a function of a module or a
            `functools.partial` of one. With more than one worker the caller's script needs the usual
            `if __name__ == "__main__"`.
        extra_columns (`tuple[str, ...]`): see `schema.dataset_features`.
        task_id (`Callable`): names a task; the names of a shard are compared when it is found finished.
        source (`dict`): what the rows are made of and how, small and fit for JSON. It must not change between calls
            for one split of a folder.
        workers (`int`): processes, one thread each; 1 builds the rows in this one.
        process_index, num_processes (`int`): this process writes the shards with k % num_processes == process_index,
            see `process_position`.
        build_rows (`Callable`, *optional*): makes the rows of a few tasks together, where that is faster, and is used
            instead of `build_row`. It rejects a row by its `BuiltRow`, not by an exception.
        tasks_together (`int`): how many tasks `build_rows` is given at once, all of one shard, so that what it is
            given does not depend on processes and interruptions either.

    Raises:
        ValueError: a bad argument, or `out_dir` holds other rows or a broken shard.
        ChildProcessError: a worker was killed, for instance because memory ran out.
    """
    _check_arguments(split, tasks, rows_per_shard, workers, process_index, num_processes, tasks_together)
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
    total = sum(map(len, to_write.values()))
    if build_rows is None:
        build, chunk_size = partial(_build, build_row, features, task_id), 1 if workers == 1 else _TASKS_PER_CHUNK
    else:
        build, chunk_size = partial(_build_together, build_rows, features, task_id), tasks_together
    chunks = (
        of_shard[start : start + chunk_size]
        for of_shard in to_write.values()
        for start in range(0, len(of_shard), chunk_size)
    )
    with (
        tqdm(total=total, unit="row", desc=split, disable=process_index != 0 or not total) as bar,
        _results(build, chunks, workers if total else 1) as results,
    ):
        for path, of_shard in to_write.items():
            ids, built = list(map(task_id, of_shard)), []
            for result in islice(results, len(ids)):
                built.append(result)
                bar.update()
            _write_shard(path, ids, built, features)
            rejected_of_shard = sum(row.error is not None for row in built)
            num_rows += len(built) - rejected_of_shard
            num_rejected += rejected_of_shard
            if num_rejected:
                bar.set_postfix(rejected=num_rejected)
    return ShardReport(
        num_rows, num_rejected, len(to_write), len(shards) - len(to_write), max(time.perf_counter() - began, 1e-9)
    )


def _check_arguments(
    split: str,
    tasks: Sequence,
    rows_per_shard: int,
    workers: int,
    process_index: int,
    num_processes: int,
    tasks_together: int,
) -> None:
    if not split.isidentifier():
        raise ValueError(f"`split` must be a word such as train or test, got {split!r}.")
    if len(tasks) == 0:
        raise ValueError("`tasks` must not be empty.")
    for name, value in (
        ("rows_per_shard", rows_per_shard),
        ("workers", workers),
        ("num_processes", num_processes),
        ("tasks_together", tasks_together),
    ):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"`{name}` must be an integer of at least 1, got {value!r}.")
    if process_index not in range(num_processes):
        raise ValueError(f"`process_index` must be from 0 to {num_processes - 1}, got {process_index!r}.")


def _list_path(shard_path: Path, folder: str) -> Path:
    return shard_path.parent / folder / f"{shard_path.stem}.jsonl"


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
    lists = ((out_dir / folder, ".jsonl") for folder in (REJECTED_FOLDER, WARNINGS_FOLDER))
    for folder, suffix in ((out_dir, ".parquet"), *lists):
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
    path = _list_path(shard_path, REJECTED_FOLDER)
    return len(path.read_bytes().splitlines()) if path.exists() else 0


def _write_shard(path: Path, ids: list[str], built: list[BuiltRow], features: Features) -> None:
    rejected = [{"id": name, "error": row.error} for name, row in zip(ids, built) if row.error is not None]
    doubtful = [{"id": name, "warnings": row.warnings} for name, row in zip(ids, built) if row.warnings]
    # The lists come first: with the shard in its place the work counts as done.
    _write_list(_list_path(path, REJECTED_FOLDER), rejected)
    _write_list(_list_path(path, WARNINGS_FOLDER), doubtful)
    rows = [row.row for row in built if row.error is None]
    about_tasks = json.dumps({"tasks": len(ids), "task_ids": hash_ids(ids)}).encode()
    with replacing(path) as file:
        write_parquet(file, rows, features, {_METADATA_KEY: about_tasks})


def _write_list(path: Path, entries: list[dict[str, Any]]) -> None:
    if not entries:
        path.unlink(missing_ok=True)
        return
    with replacing(path) as file:
        file.write("".join(json.dumps(entry) + "\n" for entry in entries).encode())


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


def _encode(row: dict[str, Any], features: Features) -> dict[str, Any]:
    row = encode_row(row)
    return features.encode_example({name: row[name] for name in features})


def _build(
    build_row: Callable[[Task], dict], features: Features, task_id: Callable[[Task], str], tasks: list[Task]
) -> list[BuiltRow]:
    """For each task its encoded row, or why there is none."""
    results = []
    for task in tasks:
        try:
            results.append(BuiltRow(_encode(build_row(task), features)))
        except (ValueError, OSError) as error:
            results.append(BuiltRow(None, str(error)))
        except Exception as error:
            error.add_note(f"The row that was being made: {task_id(task)}")
            raise
    return results


def _build_together(
    build_rows: Callable[[list[Task]], list[BuiltRow]],
    features: Features,
    task_id: Callable[[Task], str],
    tasks: list[Task],
) -> list[BuiltRow]:
    """The same for tasks whose rows are made together."""
    try:
        built = build_rows(tasks)
        return [
            result if result.row is None else result._replace(row=_encode(result.row, features)) for result in built
        ]
    except Exception as error:
        error.add_note(f"The rows that were being made: {task_id(tasks[0])} to {task_id(tasks[-1])}")
        raise


@contextmanager
def _results(
    build: Callable[[list[Task]], list[BuiltRow]], chunks: Iterator[list[Task]], workers: int
) -> Iterator[Iterator[BuiltRow]]:
    """The results of `build` in the order of the tasks, made in this process or by workers a little ahead."""
    if workers == 1:
        yield (result for chunk in chunks for result in build(chunk))
        return
    with worker_processes(
        workers, "Finished shards are kept: the same call goes on where this one stopped"
    ) as executor:

        def in_order() -> Iterator[BuiltRow]:
            pending = deque()
            for chunk in chunks:
                pending.append(executor.submit(build, chunk))
                if len(pending) >= workers * _CHUNKS_AHEAD_PER_WORKER:
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()

        yield in_order()
