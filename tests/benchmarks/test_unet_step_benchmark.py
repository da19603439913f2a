# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The benchmark of a network's step measures every option, and its figures add up; no test asserts how fast."""

import sys
from pathlib import Path
from statistics import median

import pytest
import torch


sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import unet_step  # noqa: E402


SETTINGS = unet_step.Settings(
    preset="tiny-base",
    device="cpu",
    batch_sizes=[1, 2],
    repeats=2,
    threads=1,
    chosen=None,
    compiled=False,
    reference=None,
)


@pytest.fixture(scope="module")
def tables() -> list:
    threads = torch.get_num_threads()
    measured = unet_step.measure_network(SETTINGS)
    torch.set_num_threads(threads)
    return measured


def test_every_option_is_measured_in_every_batch_size(tables):
    options = unet_step.options_of(torch.device("cpu"), sees_time=False, has_reference=False, compiled=False)
    assert [table.title for table in tables] == ["tiny-base, batch of 1", "tiny-base, batch of 2"]
    for table in tables:
        assert [row["option"] for row in table.rows] == list(options)
        for row in table.rows:
            assert len(row["measurements"]) == 2 and min(row["measurements"]) > 0


def test_ratios_are_those_of_the_medians(tables):
    for batch_size, table in enumerate(tables, 1):
        first = median(table.rows[0]["measurements"])
        for row in table.rows:
            seconds = median(row["measurements"])
            assert row["seconds"] == seconds
            assert row["times faster"] == pytest.approx(first / seconds)
            assert row["images/s"] == pytest.approx(batch_size / seconds)


def test_only_rounding_tells_exact_options_from_float32(tables):
    rows = {row["option"]: row for row in tables[0].rows}
    assert rows["garment once a step"]["error"] == 0
    assert rows["two passes"]["error"] < 1e-5
    half = [row["error"] for name, row in rows.items() if "+" in name or "autocast" in name]
    assert len(half) >= 7 and all(1e-4 < error < 0.1 for error in half)
    assert rows["no guidance"]["error"] is None and rows["garment stream alone"]["error"] is None


def test_operations_are_those_of_the_streams_that_run(tables):
    flops = {row["option"]: row["TFLOP"] for row in tables[0].rows}
    garment, person = flops["garment stream alone"], flops["no guidance"]
    assert garment > 0
    assert flops["+ garment kept"] == pytest.approx(2 * person)
    assert flops["+ way down of another step (approximate)"] < 0.9 * flops["+ garment kept"]
    # Conditions are embedded in both streams, which is little.
    assert flops["garment once a step"] == pytest.approx(2 * person + garment, rel=0.01)
    assert flops["two passes"] == pytest.approx(2 * person + 2 * garment, rel=0.01)


def test_a_time_dependent_garment_is_kept_only_approximately():
    options = unet_step.options_of(torch.device("cpu"), sees_time=True, has_reference=True, compiled=False)
    assert {name for name, option in options.items() if not option.is_exact} == {
        name for name, option in options.items() if option.garment == "kept" or option.encoder_kept
    }
    assert options["reference implementation"].weights == "reference"
    assert options["no guidance"].garment == "once"


def test_a_twin_changes_without_its_original():
    unet = unet_step.create_unet("tiny-base")
    other = unet_step.twin(unet)
    weight = unet.conv_in.weight
    assert other.conv_in.weight.data_ptr() == weight.data_ptr()
    unet_step.cast(other, torch.bfloat16)
    assert weight.dtype == torch.float32 and other.conv_in.weight.dtype == torch.bfloat16


def test_the_summary_takes_the_fastest_exact_step(tables):
    def row(option: str, seconds: float, error: float | None, approximate: bool = False) -> dict:
        return unet_step.timing_row(option, [seconds], [8.0], error=error, approximate=approximate)

    rows = [row("a", 8.0, 0.1), row("b", 4.0, 0.1), row("c", 2.0, 0.2), row("d", 1.0, 0.3, True), row("e", 0.5, None)]
    (line,) = unet_step.summary([unet_step.Table("t", rows)]).rows
    assert (line["fastest exact option"], line["times faster than the first row"], line["than 'b'"]) == ("c", 4.0, 2.0)
