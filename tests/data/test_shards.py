# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Shards: the same bytes from any number of workers and processes, resumable, rejects listed, nothing half-written."""

import json
import os
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from datasets import load_dataset
from rows_of_noise import EXTRA, noise_id, noise_row
from test_rows import assert_same_row

from diffusers_tryon.data.rows import RowError, decode_row
from diffusers_tryon.data.schema import dataset_features
from diffusers_tryon.data.shards import BuiltRow, hash_ids, process_position, write_shards


SOURCE = {"name": "noise", "size": 8}


def write(out_dir: Path, count: int = 7, build_row=noise_row, **arguments):
    tasks = range(count)
    return write_shards(
        *(out_dir, "train", tasks, build_row, EXTRA, noise_id),
        **{"source": SOURCE, "rows_per_shard": 3} | arguments,
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rejected(folder: Path, number: int) -> list[dict]:
    lines = (folder / "__rejected__" / f"train-{number:05d}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


# What a worker builds must be found by name in a fresh process.
def row_unless(number: int, bad: tuple[int, ...], error: type[Exception]) -> dict:
    if number in bad:
        raise error(f"no row {number}")
    return noise_row(number)


def row_or_death(number: int, deadly: int, flag: Path) -> dict:
    """Kill the process that builds row `deadly`, once."""
    if number == deadly and not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return noise_row(number)


def row_with_a_bad_column(number: int) -> dict:
    changes = {1: {"category": "shoes"}, 2: {"person_pose": np.zeros((17, 3))}, 4: {"garment_image": b""}}
    return noise_row(number) | changes.get(number, {})


def row_with_threads(number: int) -> dict:
    return noise_row(number) | {"source": os.environ.get("OMP_NUM_THREADS", "unset")}


def noise_rows(numbers: list[int]) -> list[BuiltRow]:
    return [BuiltRow(noise_row(number)) for number in numbers]


def rows_doubted_and_rejected(numbers: list[int]) -> list[BuiltRow]:
    """Row 1 is rejected, 2 and 4 are doubtful, 5 is rejected and doubtful."""
    errors, warnings = {1: "no row 1", 5: "no row 5"}, {2: ("blurred",), 4: ("small", "dark"), 5: ("blurred",)}
    return [BuiltRow(None if n in errors else noise_row(n), errors.get(n), warnings.get(n, ())) for n in numbers]


def tell_what_is_together(numbers: list[int], told: list[list[int]]) -> list[BuiltRow]:
    told.append(list(numbers))
    return noise_rows(numbers)


def rows_or_a_bug(numbers: list[int]) -> list[BuiltRow]:
    return [BuiltRow({"id": noise_id(number)}) for number in numbers]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, bytes]:
    """What an undisturbed call in one process writes."""
    folder = tmp_path_factory.mktemp("whole")
    report = write(folder)
    assert (report.rows_written, report.rows_rejected, report.shards_written, report.shards_skipped) == (7, 0, 3, 0)
    return contents(folder)


def test_the_rows_are_those_of_the_tasks_in_order(tmp_path):
    write(tmp_path)
    loaded = load_dataset(str(tmp_path), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.features == dataset_features(EXTRA)
    assert len(loaded) == 7
    for number, row in enumerate(loaded):
        assert_same_row(decode_row(row), noise_row(number))


def test_datasets_finds_the_rows_beside_the_lists_of_rejected_ones(tmp_path):
    write(tmp_path, build_row=partial(row_unless, bad=(0, 3, 6), error=RowError))
    rows = load_dataset(str(tmp_path), split="train", streaming=True)
    assert [row["id"] for row in rows] == [noise_id(number) for number in (1, 2, 4, 5)]


def test_workers_write_the_same_bytes_as_one_process(whole, tmp_path):
    write(tmp_path, workers=2)
    assert contents(tmp_path) == whole


@pytest.mark.parametrize("workers", [1, 2])
def test_rows_built_together_give_the_same_bytes(workers, whole, tmp_path):
    write(tmp_path, build_row=None, build_rows=noise_rows, workers=workers)
    assert contents(tmp_path) == whole


def test_rows_built_together_are_rejected_one_by_one_and_doubts_are_listed(whole, tmp_path):
    arguments = {"build_row": None, "build_rows": rows_doubted_and_rejected}
    report = write(tmp_path, **arguments)
    assert (report.rows_written, report.rows_rejected) == (5, 2)
    loaded = load_dataset(str(tmp_path), split="train", streaming=True)
    assert [row["id"] for row in loaded] == [noise_id(number) for number in (0, 2, 3, 4, 6)]
    assert rejected(tmp_path, 0) == [{"id": "row/1", "error": "no row 1"}]
    lists = sorted((tmp_path / "__warnings__").iterdir())
    assert [path.name for path in lists] == ["train-00000.jsonl", "train-00001.jsonl"]
    assert [json.loads(line) for path in lists for line in path.read_text().splitlines()] == [
        {"id": "row/2", "warnings": ["blurred"]},
        {"id": "row/4", "warnings": ["small", "dark"]},
        {"id": "row/5", "warnings": ["blurred"]},
    ]
    # Whoever writes the shards, and when.
    for index in (1, 0):
        write(tmp_path / "two", process_index=index, num_processes=2, tasks_together=1, **arguments)
    assert contents(tmp_path / "two") == {
        name: data for name, data in contents(tmp_path).items() if not name.startswith("two/")
    }
    # Mended rows leave the lists.
    for path in tmp_path.glob("*.parquet"):
        path.unlink()
    write(tmp_path, build_row=None, build_rows=noise_rows)
    assert {name: data for name, data in contents(tmp_path).items() if not name.startswith("two/")} == whole


def test_what_is_built_together_is_of_one_shard(whole, tmp_path):
    told: list[list[int]] = []
    write(tmp_path, build_row=None, build_rows=partial(tell_what_is_together, told=told), tasks_together=2)
    assert told == [[0, 1], [2], [3, 4], [5], [6]]
    assert contents(tmp_path) == whole


def test_an_exception_while_rows_are_built_together_names_them(tmp_path):
    with pytest.raises(KeyError) as caught:
        write(tmp_path, build_row=None, build_rows=rows_or_a_bug)
    assert caught.value.__notes__ == ["The rows that were being made: row/0 to row/2"]
    assert list(contents(tmp_path)) == ["__source__/train.json"]


def test_a_worker_has_one_thread(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    write(tmp_path, count=2, build_row=row_with_threads, workers=2)
    rows = load_dataset(str(tmp_path), split="train", streaming=True)
    assert {row["source"] for row in rows} == {"1"}
    assert os.environ["OMP_NUM_THREADS"] == "5"


def test_processes_write_shards_of_their_own_that_together_are_the_whole(whole, tmp_path):
    reports = [write(tmp_path, process_index=index, num_processes=2) for index in (1, 0)]
    assert [(report.rows_written, report.shards_written) for report in reports] == [(3, 1), (4, 2)]
    assert contents(tmp_path) == whole


def test_more_processes_than_shards(whole, tmp_path):
    reports = [write(tmp_path, process_index=index, num_processes=5) for index in range(5)]
    assert [report.rows_written for report in reports] == [3, 3, 1, 0, 0]
    assert contents(tmp_path) == whole


def test_a_missing_shard_is_written_again_and_the_others_are_left_alone(whole, tmp_path):
    write(tmp_path)
    (tmp_path / "train-00001.parquet").unlink()
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.parquet")}
    report = write(tmp_path, build_row=partial(row_unless, bad=(0, 1, 2, 6), error=KeyError))
    assert (report.rows_written, report.shards_skipped) == (3, 2)
    assert contents(tmp_path) == whole
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in before} == before


def test_tasks_are_added_at_the_end_and_never_taken_away(whole, tmp_path):
    write(tmp_path, count=4)
    first = (tmp_path / "train-00000.parquet").stat().st_mtime_ns
    write(tmp_path, count=7)
    assert contents(tmp_path) == whole
    assert (tmp_path / "train-00000.parquet").stat().st_mtime_ns == first
    assert write(tmp_path, count=5).shards_skipped == 2
    assert contents(tmp_path) == whole


def test_rows_that_cannot_be_made_are_listed_and_the_rest_is_written(tmp_path):
    for error in (RowError, ValueError, FileNotFoundError):
        folder = tmp_path / error.__name__
        report = write(folder, build_row=partial(row_unless, bad=(1, 5, 6), error=error))
        assert (report.rows_written, report.rows_rejected) == (4, 3)
        assert rejected(folder, 0) == [{"id": "row/1", "error": "no row 1"}]
        assert rejected(folder, 2) == [{"id": "row/6", "error": "no row 6"}]
        assert "3 rows rejected" in str(report)


def test_a_row_that_does_not_fit_the_schema_is_rejected_alone(tmp_path):
    report = write(tmp_path, count=4, build_row=row_with_a_bad_column)
    assert (report.rows_written, report.rows_rejected) == (2, 2)
    errors = [entry["error"] for entry in rejected(tmp_path, 0)]
    assert "shoes" in errors[0] and "`person_pose` must hold 18" in errors[1]


def test_workers_list_the_same_rejected_rows(tmp_path):
    build_row = partial(row_unless, bad=(1, 3, 4, 5), error=ValueError)
    for workers in (1, 2):
        write(tmp_path / str(workers), build_row=build_row, workers=workers)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_a_shard_without_any_row_is_read_and_tried_again(whole, tmp_path):
    build_row = partial(row_unless, bad=(1, 3, 4, 5), error=ValueError)
    write(tmp_path, build_row=build_row)
    assert len(rejected(tmp_path, 1)) == 3
    report = write(tmp_path, build_row=build_row)
    assert (report.shards_skipped, report.rows_rejected) == (2, 3)
    loaded = load_dataset(str(tmp_path), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded["id"][:] == [noise_id(number) for number in (0, 2, 6)]
    # A wrong folder was named at first, say: what can be made now is made, and the other shards are left alone.
    report = write(tmp_path)
    assert (report.rows_written, report.shards_skipped) == (3, 2)
    assert (tmp_path / "train-00001.parquet").read_bytes() == whole["train-00001.parquet"]
    assert not (tmp_path / "__rejected__" / "train-00001.jsonl").exists()
    assert len(rejected(tmp_path, 0)) == 1


def test_a_rejected_row_that_can_be_made_later_leaves_the_list(whole, tmp_path):
    write(tmp_path, build_row=partial(row_unless, bad=(4,), error=OSError))
    (tmp_path / "train-00001.parquet").unlink()
    write(tmp_path)
    assert contents(tmp_path) == whole


@pytest.mark.parametrize("workers", [1, 2])
def test_another_exception_names_the_row_and_keeps_finished_shards(whole, tmp_path, workers):
    with pytest.raises(KeyError, match="no row 4") as caught:
        write(tmp_path, build_row=partial(row_unless, bad=(4,), error=KeyError), workers=workers)
    assert caught.value.__notes__ == ["The row that was being made: row/4"]
    assert set(contents(tmp_path)) == {"__source__/train.json", "train-00000.parquet"}
    write(tmp_path)
    assert contents(tmp_path) == whole


def test_a_killed_worker_is_an_error_and_the_call_can_be_repeated(tmp_path):
    build_row = partial(row_or_death, deadly=50, flag=tmp_path / "flag")
    with pytest.raises(ChildProcessError, match="A worker process was killed"):
        write(tmp_path / "rows", count=60, build_row=build_row, workers=2)
    written = contents(tmp_path / "rows")
    assert "train-00019.parquet" not in written and not any(name.endswith(".tmp") for name in written)
    write(tmp_path / "rows", count=60, build_row=build_row, workers=2)
    write(tmp_path / "undisturbed", count=60)
    assert contents(tmp_path / "rows") == contents(tmp_path / "undisturbed")


def test_what_killed_runs_left_is_removed_by_the_process_whose_shard_it_is(tmp_path):
    for folder in ("__rejected__", "__warnings__"):
        (tmp_path / folder).mkdir()
    leftovers = [
        ".train-00000.parquet.0a.tmp",
        ".train-00001.parquet.0a.tmp",
        "__rejected__/.train-00003.jsonl.0a.tmp",
        "__warnings__/.train-00003.jsonl.0a.tmp",
    ]
    others = [".test-00000.parquet.0a.tmp", ".train-notes.tmp", "notes.txt"]
    for name in leftovers + others:
        (tmp_path / name).write_bytes(b"half")
    write(tmp_path, process_index=1, num_processes=2)
    assert {name for name in leftovers if (tmp_path / name).exists()} == {leftovers[0]}
    write(tmp_path, process_index=0, num_processes=2)
    assert not any((tmp_path / name).exists() for name in leftovers)
    assert all((tmp_path / name).read_bytes() == b"half" for name in others)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": {"name": "noise", "size": 16}}, 'train.json says {"source": {"name": "noise", "size": 8}}, expec'),
        ({"rows_per_shard": 4}, 'says {"rows_per_shard": 3}, expected {"rows_per_shard": 4}'),
        ({"extra_columns": ()}, "already holds other rows"),
        ({"tasks": range(1, 8)}, r"train-00000.parquet does not have the rows from row/1 to row/3"),
    ],
)
def test_other_rows_are_not_mixed_in(whole, tmp_path, change, message):
    write(tmp_path)
    arguments = {
        "tasks": range(7),
        "build_row": noise_row,
        "extra_columns": EXTRA,
        "task_id": noise_id,
        "source": SOURCE,
        "rows_per_shard": 3,
    }
    with pytest.raises(ValueError, match=message):
        write_shards(tmp_path, "train", **arguments | change)
    assert contents(tmp_path) == whole


def test_two_splits_share_a_folder(tmp_path):
    write(tmp_path, count=2)
    write_shards(tmp_path, "test", range(5), noise_row, (), noise_id, {"name": "other"})
    assert {"__source__/train.json", "__source__/test.json"} <= set(contents(tmp_path))
    assert len(list(load_dataset(str(tmp_path), split="test", streaming=True))) == 5


@pytest.mark.parametrize("content", [b"PAR1 and then nothing", b"", "cut"])
def test_a_broken_shard_is_named_and_kept(whole, tmp_path, content):
    write(tmp_path)
    path = tmp_path / "train-00001.parquet"
    content = path.read_bytes()[:-100] if content == "cut" else content
    path.write_bytes(content)
    with pytest.raises(ValueError, match="train-00001.parquet, which is no complete shard"):
        write(tmp_path)
    assert contents(tmp_path) == whole | {path.name: content}


def test_shards_of_something_else_are_not_continued(tmp_path):
    path = tmp_path / "train-00000.parquet"
    path.write_bytes(b"another one's data")
    with pytest.raises(ValueError, match="train-00000.parquet, which does not belong to a dataset .* Choose another"):
        write(tmp_path)
    assert contents(tmp_path) == {path.name: b"another one's data"}


@pytest.mark.parametrize("content", ["[]", "{", '"text"'])
def test_a_foreign_settings_file_is_named_and_kept(tmp_path, content):
    (tmp_path / "__source__").mkdir()
    (tmp_path / "__source__" / "train.json").write_text(content)
    with pytest.raises(ValueError, match="train.json, which does not describe a dataset"):
        write(tmp_path)
    assert (tmp_path / "__source__" / "train.json").read_text() == content


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0}, "`tasks` must not be empty"),
        ({"rows_per_shard": 0}, "`rows_per_shard` must be an integer of at least 1, got 0"),
        ({"tasks_together": 0}, "`tasks_together` must be an integer of at least 1, got 0"),
        ({"workers": 1.5}, "`workers` must be an integer of at least 1, got 1.5"),
        ({"num_processes": 0}, "`num_processes` must be an integer of at least 1, got 0"),
        ({"process_index": 2, "num_processes": 2}, "`process_index` must be from 0 to 1, got 2"),
        ({"extra_columns": ("depth",)}, "`extra_columns` may hold"),
    ],
)
def test_bad_arguments_are_named_before_anything_is_written(tmp_path, arguments, message):
    tasks = range(arguments.pop("count", 2))
    with pytest.raises(ValueError, match=message):
        write_shards(
            *(tmp_path / "rows", "train", tasks, noise_row),
            **{"extra_columns": (), "task_id": noise_id, "source": SOURCE} | arguments,
        )
    assert not (tmp_path / "rows").exists()


def test_a_file_in_the_folders_place_is_named_and_kept(tmp_path):
    (tmp_path / "rows").write_text("something")
    with pytest.raises(ValueError, match="`out_dir` must be a folder, .*rows is a file"):
        write(tmp_path / "rows")
    assert (tmp_path / "rows").read_text() == "something"


def test_a_split_is_a_word(tmp_path):
    with pytest.raises(ValueError, match="`split` must be a word such as train or test, got '../train'"):
        write_shards(tmp_path, "../train", range(2), noise_row, (), noise_id, SOURCE)


def test_the_hash_of_ids_tells_lists_apart():
    lists = [["a", "b"], ["b", "a"], ["ab"], ["a", "b", ""], ['a"\n"b'], []]
    assert len({hash_ids(ids) for ids in lists}) == len(lists)
    assert hash_ids(iter(["a", "b"])) == hash_ids(["a", "b"])


@pytest.mark.parametrize("names", [("RANK", "WORLD_SIZE"), ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE")])
def test_the_position_is_the_launchers(monkeypatch, names):
    for name in ("RANK", "WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "PMI_RANK", "PMI_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert process_position() == (0, 1)
    monkeypatch.setenv(names[0], "3")
    assert process_position() == (0, 1)
    monkeypatch.setenv(names[1], "8")
    assert process_position() == (3, 8)
