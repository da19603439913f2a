# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The loading processes of a run: what they survive, what they say, and that none is left behind."""

import dataclasses
import multiprocessing
import os
import signal
from pathlib import Path

import pytest
import torch
from waiting import PATIENCE_SECONDS, is_running, wait_until

from diffusers_tryon.data.rows import RowError
from diffusers_tryon.rendering.writer import write_pairs
from diffusers_tryon.training.configuration import TrainingConfig
from diffusers_tryon.training.dataset import TryOnRows, open_training_rows
from diffusers_tryon.training.loader import TrainingBatches, places_by_lane


CONFIG = TrainingConfig(
    preset="tiny-base", dataset="to be given", output_dir="unused", max_steps=40, global_batch_size=4, num_workers=2
)


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> TrainingConfig:
    folder = tmp_path_factory.mktemp("pool")
    write_pairs(folder, 6, 16)
    return dataclasses.replace(CONFIG, dataset=str(folder))


def open_batches(config: TrainingConfig) -> TrainingBatches:
    return TrainingBatches(open_training_rows(config), config, 0, 0, 1)


def workers() -> list[multiprocessing.Process]:
    return multiprocessing.active_children()


def assert_ends(pids: list[int]) -> None:
    wait_until(lambda: not any(map(is_running, pids)))


def test_workers_leave_signals_to_the_main_process_and_end_with_close(config):
    batches = open_batches(config)
    expected = list(open_batches(dataclasses.replace(config, num_workers=0)))
    found = [next(batches)]
    pids = [worker.pid for worker in workers()]
    assert len(pids) == 2
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
        for pid in pids:
            os.kill(pid, number)
        found.append(next(batches))
    found += batches
    assert len(found) == len(expected) == 40
    for one, other in zip(found, expected):
        assert all(torch.equal(value, other[name]) for name, value in one.items())

    batches = open_batches(config)
    next(batches)
    pids = [worker.pid for worker in workers()]
    batches.close()
    assert_ends(pids)


def load_and_wait(config: TrainingConfig, connection) -> None:
    batches = open_batches(config)
    connection.batches = batches  # still referred to when Python exits
    next(batches)
    connection.send([worker.pid for worker in workers()])
    connection.recv()  # and leave without `close`


@pytest.mark.parametrize("end", ["killed", "returns"])
def test_workers_end_with_the_process_that_started_them(config, end):
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=load_and_wait, args=(config, there))
    process.start()
    pids = here.recv()
    assert len(pids) == 2 and all(map(is_running, pids))
    if end == "killed":
        process.kill()
    else:
        here.send("go")
    process.join(PATIENCE_SECONDS)
    # At its exit Python terminates the workers, which torch may just notice and take for a failure of theirs.
    assert process.exitcode in ((-signal.SIGKILL,) if end == "killed" else (0, 1))
    assert_ends(pids)


def test_workers_may_be_started_anew_instead_of_forked(config):
    config = dataclasses.replace(config, streaming=True)
    before = multiprocessing.get_start_method()
    multiprocessing.set_start_method("spawn", force=True)
    try:
        batches = open_batches(dataclasses.replace(config, num_workers=1))
        found = next(batches)
        batches.close()
    finally:
        multiprocessing.set_start_method(before, force=True)
    expected = next(open_batches(dataclasses.replace(config, num_workers=0)))
    assert all(torch.equal(value, expected[name]) for name, value in found.items())


def test_batches_know_their_rows_and_how_long_they_took(config):
    batches = open_batches(dataclasses.replace(config, num_workers=0))
    rows = TryOnRows(config.dataset)
    batch = next(batches)
    assert batch["row"].dtype == torch.int64
    for place, row in enumerate(batch["row"]):
        expected = torch.tensor(rows[int(row)]["person_image"]).permute(2, 0, 1)
        assert torch.equal(batch["person_image"][place], expected)
    assert batches.take_wait_seconds() > 0
    assert batches.take_wait_seconds() == 0
    next(batches)
    assert batches.take_wait_seconds() > 0


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_broken_row_is_named_without_a_traceback(config, tmp_path, num_workers):
    content = bytearray(next(Path(config.dataset).glob("*.parquet")).read_bytes())
    start = content.index(b"\x89PNG", 100)
    content[start : start + 8] = b"no image"
    (tmp_path / "train-00000.parquet").write_bytes(content)
    batches = open_batches(dataclasses.replace(config, dataset=str(tmp_path), num_workers=num_workers))
    with pytest.raises(RowError, match=r"^Row \d of the dataset .* cannot be read: `.*_image` is no picture") as error:
        list(batches)
    assert "Traceback" not in str(error.value)
    batches.close()


def test_lanes_are_shared_out_among_workers():
    indices = [[0, 2, 4, 6], [8, 10, 12, 14]]  # of the first of two processes, in eight lanes
    assert places_by_lane(indices, 8, 2) == [[[0, 2], [1, 3]], [[0, 2], [1, 3]]]
    assert places_by_lane(indices, 8, 9) == [[[0], [1], [2], [3]]] * 2
    assert places_by_lane([[0, 1], [2, 3]], 4, 2) == [[[0], [1]], [[0], [1]]]
    assert places_by_lane([[0], [1]], 2, 2) == [[[0], []], [[], [0]]]
    assert places_by_lane([[0, 1, 2, 3]], 1, 4) == [[[0, 1, 2, 3]]]
