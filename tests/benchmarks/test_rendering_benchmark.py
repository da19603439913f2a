# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The benchmark of the renderer runs and prints its figures; how fast anything is, no test asserts."""

import re
import subprocess
import sys
from pathlib import Path


SCRIPT = Path(__file__).parents[2] / "benchmarks" / "rendering.py"


def test_the_benchmark_prints_a_line_per_size_and_number_of_workers():
    options = ("--sizes", "16", "--workers", "1", "--workers", "2", "--rows", "2", "--repeats", "1")
    result = subprocess.run(
        [sys.executable, str(SCRIPT), *options, "--batch-size", "2"], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    number = r"\d+\.\d"
    rows = re.findall(
        rf"^ +(\d+) +(\d) +{number} +\({number} to {number}\) +({number}\d) +{number}$", result.stdout, re.M
    )
    assert [(size, workers) for size, workers, _ in rows] == [("16", "1"), ("16", "2")]
    # One worker is its own baseline.
    assert [ratio for _, workers, ratio in rows if workers == "1"] == ["1.00"]
    drawn = re.findall(rf"^ +(\d+) +(one by one|batch on cpu) +{number} +\(.*\) +({number}\d)$", result.stdout, re.M)
    assert [line[:2] for line in drawn] == [("16", "one by one"), ("16", "batch on cpu")]
    assert [ratio for _, name, ratio in drawn if name == "one by one"] == ["1.00"]
