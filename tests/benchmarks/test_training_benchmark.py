# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The benchmark of training runs and prints its figures; how fast anything is, no test asserts."""

import re
import subprocess
import sys
from pathlib import Path

import pytest


SCRIPT = Path(__file__).parents[2] / "benchmarks" / "training.py"


@pytest.mark.slow
def test_the_benchmark_prints_a_line_per_option():
    options = ("--options", "two micro-batches", "--options", "together, channels_last")
    result = subprocess.run(
        [sys.executable, str(SCRIPT), "--preset", "tiny-sr", "--batch-size", "2", "--steps", "1", "--repeats", "1"]
        + ["--threads", "1", *options],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    number = r"\d+\.\d\d"
    rows = re.findall(
        rf"^(\S.*?) +{number} +\({number} to {number}\) +({number}) +\d+\.\d +({number}) +({number}) +(\d+) +({number})$",
        result.stdout,
        re.M,
    )
    assert [row[0] for row in rows] == ["plain", "two micro-batches", "together, channels_last"]
    # The plain run is its own baseline; every run takes memory and does something.
    assert (rows[0][1], rows[0][2], rows[0][5]) == ("1.00", "1.00", "1.00")
    assert all(int(row[4]) > 0 and float(row[3]) > 0 for row in rows)


def test_an_option_that_does_not_exist_is_named():
    result = subprocess.run([sys.executable, str(SCRIPT), "--options", "fp8"], capture_output=True, text=True)
    assert result.returncode == 2
    assert "fp8" in result.stderr and "channels_last" in result.stderr
