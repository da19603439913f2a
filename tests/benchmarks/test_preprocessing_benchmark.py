# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The benchmark of preprocessing runs and its figures add up; how fast anything is, no test asserts."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


SCRIPT = Path(__file__).parents[2] / "benchmarks" / "preprocessing.py"


@pytest.mark.slow
def test_the_benchmark_measures_every_stage_of_every_photograph(tmp_path):
    options = ("--sides", "256", "--repeats", "2", "--threads", "1", "--json", str(tmp_path / "figures.json"))
    result = subprocess.run([sys.executable, str(SCRIPT), *options], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    written = json.loads((tmp_path / "figures.json").read_text())
    assert "1 threads" in written["machine"] and written["machine"] in result.stdout
    figures = written["figures"]["rendered, 256 x 256 pixels"]
    assert list(figures) == ["person", "worn garment", "flat garment", "both"]
    assert len(figures["both"]["whole call"]) == 2
    for kind in ("person", "worn garment", "flat garment"):
        *stages, total = figures[kind].values()
        for repeat in range(2):
            seconds, busy = total[repeat]
            assert seconds > 0 and busy > 0
            assert sum(costs[repeat][0] for costs in stages) == pytest.approx(seconds)
        assert f"{kind:13} total" in result.stdout


@pytest.mark.slow
def test_one_photograph_alone_is_refused():
    options = ("--person-photo", "person.jpg")
    result = subprocess.run([sys.executable, str(SCRIPT), *options], capture_output=True, text=True)
    assert result.returncode == 2
    assert "--garment-photo" in result.stderr and "neither" in result.stderr
