# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The benchmark of a cascade measures every option, and its figures add up; no test asserts how fast."""

import sys
from pathlib import Path
from statistics import median

import numpy as np
import pytest
import torch


sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import cascade  # noqa: E402


SETTINGS = cascade.Settings(
    model="tiny-base+tiny-sr",
    device="cpu",
    steps_as_reference=True,
    plain=False,
    approximate=True,
    repeats=1,
    longest=1e9,
    threads=1,
    reference=None,
)


@pytest.fixture(scope="module")
def options() -> list:
    threads = torch.get_num_threads()
    measured = cascade.measure_model(SETTINGS)
    torch.set_num_threads(threads)
    return measured


def test_every_option_is_measured_and_calls_of_pipelines_are(options):
    approximate = "way down at every 2nd step (approximate)"
    names = ["two passes", "two passes, bf16 autocast", "optimize()", f"optimize(), {approximate}"]
    assert [option.name for option in options] == [f"tiny-base+tiny-sr, {name}" for name in names]
    assert [option.default_steps for option in options] == [{"base": 256, "sr": 128}] * 2 + [cascade.DEFAULT_STEPS] * 2
    assert [len(option.calls) for option in options] == [0, 0, 1, 1]
    assert all(stage.guided > 0 for option in options for stage in option.times)
    assert all(stage.unguided > 0 for option in options[:3] for stage in option.times)
    (call,) = options[2].calls
    assert 0 < call.base + call.sr < call.seconds


def option_of(name: str, guided: float, steps: dict[str, int], calls: list) -> cascade.Measured:
    """An option whose stages have the same times: half a guided step's without guidance, a second before them."""
    before = 0.0 if steps == cascade.PAPER_STEPS else 1.0
    times = cascade.CascadeTimes(*2 * (cascade.StageTimes(guided, guided / 2, before),))
    return cascade.Measured(name, "", steps, [times], False, calls, (8, 4), np.zeros((8, 4, 3)))


def test_three_ratios_follow_from_the_medians(monkeypatch):
    monkeypatch.setattr(cascade, "DEFAULT_STEPS", {"base": 30, "sr": 20})
    first = option_of("first", 8.0, cascade.PAPER_STEPS, [])
    calls = [cascade.WholeCall(seconds, 1.0, 1.0) for seconds in (64.0, 1.0, 96.0)]
    ours = option_of("ours", 2.0, {"base": 30, "sr": 20}, calls)
    one, other = cascade.ratios_table([first, ours]).rows
    assert set(one.values()) == {"first", 1.0}
    assert (other["base step"], other["sr step"]) == (4.0, 4.0)
    assert other["at our default steps"] == pytest.approx(50 * 8 / (50 * 2 + 2))
    assert other["at the reference's steps"] == pytest.approx(384 * 8 / (384 * 2 + 2))
    assert other["at each one's default steps"] == pytest.approx(384 * 8 / 64)


def test_pictures_say_how_their_seconds_came_about():
    calls = [cascade.WholeCall(seconds, 1.0, 2.0) for seconds in (5.0, 3.0, 4.0)]
    steps = {"base": 30, "sr": 20}
    rows = cascade.pictures_table([option_of("ours", 2.0, steps, calls)]).rows
    assert [(row["way"], row["steps"], row["seconds"], row["how"]) for row in rows] == [
        ("default", "30 + 20", 4.0, "measured"),
        ("default", "30 + 20", 102.0, "extrapolated"),
        ("guidance in the first half (approximate)", "30 + 20", 77.0, "extrapolated"),
        ("the reference's steps", "256 + 128", 770.0, "extrapolated"),
    ]
    assert (rows[0]["least"], rows[0]["most"], rows[0]["base"], rows[0]["sr"]) == (3.0, 5.0, 1.0, 2.0)


def test_times_are_medians_over_the_turns():
    turns = [cascade.CascadeTimes(*2 * (cascade.StageTimes(*times),)) for times in ((1, 9, 2), (3, 8, 4), (2, 7, 6))]
    option = cascade.Measured("x", "", {}, turns, False, [], (8, 8))
    assert option.times == cascade.CascadeTimes(*2 * (cascade.StageTimes(median((1, 3, 2)), 8, 4),))


def test_the_report_holds_all_tables(options, tmp_path):
    tables = [table(options) for table in (cascade.ratios_table, cascade.pictures_table, cascade.steps_table)]
    cascade.Report("cascade", "How long?", cascade.describe_machine(), {}, tables).write(tmp_path)
    text = (tmp_path / "cascade.md").read_text()
    assert all(f"## {table.title}" in text for table in tables)
    assert text.count("tiny-base+tiny-sr, optimize()") == (1 + 4 + 1) + (1 + 2 + 1)
    exact, approximate = (row for row in tables[1].rows if row["how"] == "measured")
    assert exact["difference"] is None and approximate["difference"] > 0
    assert "nan" not in text
