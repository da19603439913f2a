# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Figures of benchmarks are measured in turns, and reports hold all of them."""

import json
import sys
from pathlib import Path

import pytest


sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import reporting  # noqa: E402


def test_options_take_turns_and_the_first_turn_does_not_count():
    called = []

    def measure(name: str) -> float:
        called.append(name)
        return float(len(called))

    figures = reporting.take_turns({name: lambda name=name: measure(name) for name in "ab"}, repeats=2)
    assert called == ["a", "b", "a", "b", "a", "b"]
    assert figures == {"a": [3.0, 5.0], "b": [4.0, 6.0]}


def test_a_row_compares_medians():
    row = reporting.timing_row("fast", [1.0, 9.0, 2.0], [8.0, 7.0, 90.0], note="x")
    assert row == {
        "option": "fast",
        "seconds": 2.0,
        "least": 1.0,
        "most": 9.0,
        "times faster": 4.0,
        "note": "x",
        "measurements": [1.0, 9.0, 2.0],
    }


def test_a_report_is_written_whole_to_both_files(tmp_path, capsys):
    rows = [
        reporting.timing_row("plain", [2.0], [2.0]),
        reporting.timing_row("fast", [0.123456], [2.0], exact=True),
    ]
    machine = reporting.describe_machine()
    report = reporting.Report(
        "steps",
        "How long is a step?",
        machine,
        {"preset": "x"},
        [reporting.Table("Steps", rows, "A note.")],
        ["Mind."],
    )
    report.write(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["steps.json", "steps.md"]
    written = json.loads((tmp_path / "steps.json").read_text())
    assert written["tables"][0]["rows"] == rows
    assert written["machine"] == machine and written["notes"] == ["Mind."]
    text = (tmp_path / "steps.md").read_text()
    assert text in capsys.readouterr().out
    lines = text.splitlines()
    assert "| option | seconds | least | most | times faster | exact |" in lines
    assert "| plain | 2 | 2 | 2 | 1 |  |" in lines
    assert "| fast | 0.123 | 0.123 | 0.123 | 16.2 | yes |" in lines
    assert {"A note.", "- Mind.", "# How long is a step?"} <= set(lines)


def test_the_machine_is_described():
    machine = reporting.describe_machine()
    assert machine["cores"] >= 1 and machine["memory_gib"] > 0
    assert machine["processor"] and machine["torch"] and machine["threads"] >= 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, ""), (True, "yes"), (3, "3"), (0.00012345, "0.000123"), (12345.6, "12346"), ([1, "a"], "1, a")],
)
def test_values_become_short_text(value, expected):
    assert reporting.format_value(value) == expected
