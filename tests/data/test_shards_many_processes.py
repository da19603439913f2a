# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Shards written by real processes under `accelerate launch` and by pools of workers, and what is left when they
die."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pyarrow.parquet as parquet
import pytest
from test_shards import contents


TESTS = Path(__file__).parent
ROWS = 40
ROWS_PER_SHARD = 4
SCRIPT = f"""
import os, signal, sys, time
from pathlib import Path
from rows_of_noise import EXTRA, noise_id, noise_row
from diffusers_tryon.data.shards import process_position, write_shards


def build_row(number):
    deadly = os.environ.get("DEADLY_ROW")
    if deadly is not None and number == int(deadly):
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(float(os.environ.get("SECONDS_PER_ROW", 0)))
    if number % 7 == 5:
        raise ValueError(f"no row {{number}}")
    return noise_row(number)


if __name__ == "__main__":
    index, processes = process_position()
    print("process", index, "of", processes, flush=True)
    write_shards(
        sys.argv[1], "train", range({ROWS}), build_row, EXTRA, noise_id, {{"name": "noise"}},
        rows_per_shard={ROWS_PER_SHARD}, workers=int(sys.argv[2]), process_index=index, num_processes=processes,
    )
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("script") / "write_noise.py"
    path.write_text(SCRIPT)
    return path


@pytest.fixture(scope="module")
def whole(script, tmp_path_factory) -> dict[str, bytes]:
    """What one process on its own writes."""
    folder = tmp_path_factory.mktemp("whole")
    done = run([sys.executable, script, folder, "1"])
    assert done.returncode == 0, done.stderr
    assert len(contents(folder)) == ROWS // ROWS_PER_SHARD + len(range(5, ROWS, 7)) + 1
    return contents(folder)


def environment(**variables: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    return {**kept, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parents[1])]), **variables}


def run(command: list, **variables: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, env=environment(**variables)
    )


ACCELERATE = [
    *(Path(sys.executable).with_name("accelerate"), "launch", "--multi_gpu", "--num_processes", "2"),
    *("--main_process_port", "0"),
]


def launch(script: Path, folder: Path, workers: int = 1, **variables: str) -> subprocess.CompletedProcess:
    """Run the script on two processes as a user does."""
    return run([*ACCELERATE, script, folder, workers], **variables)


def assert_only_whole_shards(folder: Path, whole: dict[str, bytes]) -> None:
    for path in folder.glob("*.parquet"):
        assert path.read_bytes() == whole[path.name]
        parquet.ParquetFile(path).read()
        assert ((folder / "__rejected__" / f"{path.stem}.jsonl").exists()) == (
            f"__rejected__/{path.stem}.jsonl" in whole
        )


def test_two_launched_processes_write_together_what_one_writes(script, whole, tmp_path):
    done = launch(script, tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(line for line in done.stdout.splitlines() if "process" in line) == [
        "process 0 of 2",
        "process 1 of 2",
    ]
    assert contents(tmp_path) == whole


@pytest.mark.slow
def test_two_launched_renderers_write_the_pool_of_one(tmp_path):
    command = ["-m", "diffusers_tryon", "render", "--count", "7", "--size", "16", "--rows-per-shard", "2", "--out"]
    done = run([*ACCELERATE, *command, tmp_path / "two"])
    assert done.returncode == 0, done.stderr
    assert "process 0 of 2: 4 rows in 2 shards" in done.stdout and "process 1 of 2: 3 rows in 2 shards" in done.stdout
    assert run([sys.executable, *command, tmp_path / "one"]).returncode == 0
    assert contents(tmp_path / "two") == contents(tmp_path / "one")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_launched_process_killed_at_a_random_row_and_a_second_launch(script, whole, tmp_path, seed):
    deadly = random.Random(seed).randrange(ROWS)
    assert launch(script, tmp_path, workers=1 + seed % 2, DEADLY_ROW=str(deadly)).returncode != 0
    assert f"train-{deadly // ROWS_PER_SHARD:05d}.parquet" not in contents(tmp_path)
    assert_only_whole_shards(tmp_path, whole)
    assert launch(script, tmp_path).returncode == 0
    assert contents(tmp_path) == whole


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_a_pool_killed_at_a_random_moment_leaves_no_worker_and_can_be_resumed(script, whole, tmp_path, seed):
    moment = random.Random(seed).uniform(0, 0.8)
    command = [sys.executable, str(script), str(tmp_path), "2"]
    pool = subprocess.Popen(command, env=environment(SECONDS_PER_ROW="0.15"), stderr=subprocess.DEVNULL)
    while not list(tmp_path.glob("*.parquet")):
        time.sleep(0.01)
    time.sleep(moment)
    workers = psutil.Process(pool.pid).children()
    assert len(workers) >= 2
    pool.send_signal(signal.SIGKILL)
    pool.wait()
    assert len(list(tmp_path.glob("*.parquet"))) < ROWS // ROWS_PER_SHARD
    assert_only_whole_shards(tmp_path, whole)
    _, living = psutil.wait_procs(workers, timeout=5)
    assert not living, "a worker lives on without the process that started it"
    assert run([sys.executable, script, tmp_path, "2"]).returncode == 0
    assert contents(tmp_path) == whole
