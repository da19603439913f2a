# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The script that measures the shipped cascade: its own figures, and the cases that it shows."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_cascade import BASE_SIZE, SR_SIZE, tiny_cascade

from diffusers_tryon.evaluation.cases import rendered_cases
from diffusers_tryon.evaluation.figures import write_figures


SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "training" / "evaluate_cascade.py"))


def test_mean_differences_are_signed_and_of_the_region_alone():
    truth = torch.rand(4, 6, 3) / 2
    region = torch.zeros(4, 6, 1)
    region[:2, 1:4] = 1
    shift = torch.tensor([0.1, -0.2, 0.0])
    image = torch.where(region > 0, truth + shift, torch.tensor(0.9))
    assert SCRIPT["mean_difference"](image, truth, region) == pytest.approx([25.5, -51.0, 0.0], abs=1e-4)


def test_shrinking_takes_means_of_blocks():
    image = torch.arange(24.0).reshape(4, 6, 1)
    assert SCRIPT["shrunk"](image, (2, 3))[..., 0].tolist() == [[3.5, 5.5, 7.5], [15.5, 17.5, 19.5]]


def test_the_worst_cases_come_first_and_no_case_twice(tmp_path):
    ids = [f"case-{number}" for number in range(40)]
    psnr = np.random.default_rng(1).permutation(40).astype(float)
    for case_id, value in zip(ids, psnr):
        write_figures(tmp_path, "model", case_id, {"psnr_region": value})
    chosen = SCRIPT["choose"](tmp_path, ids)
    assert psnr[chosen[:6]].tolist() == [0, 1, 2, 3, 4, 5]
    assert len(set(chosen)) == 24 and chosen[6:] == sorted(chosen[6:])
    assert chosen == SCRIPT["choose"](tmp_path, ids)


def test_stages_are_compared_with_truth_and_with_each_other():
    pipe = tiny_cascade()
    cases = rendered_cases(2, 0, SR_SIZE, "upper")
    tint, pictures = SCRIPT["compare_stages"](pipe, cases)
    assert set(tint) == {"base - truth", "sr - truth", "sr - base"}
    expected = []
    for case, of_case in zip((cases[0], cases[1]), pictures):
        assert of_case["base"].shape == (BASE_SIZE, BASE_SIZE, 3)
        assert of_case["sr"].shape == (SR_SIZE, SR_SIZE, 3)
        inside = case.agnostic_mask > 0
        expected.append((of_case["sr"][inside].astype(float) - case.reference[inside]).mean(axis=0))
    means = [tint["sr - truth"][channel]["mean"] for channel in ("red", "green", "blue")]
    assert means == pytest.approx(np.mean(expected, axis=0).tolist(), abs=0.1)  # pictures are rounded to 8 bits
    sheet = SCRIPT["draw"](cases, [1, 0], pictures)
    assert sheet.width > 5 * 192


@pytest.mark.slow
def test_baselines_are_measured_without_a_model(tmp_path):
    names = SCRIPT["main"].__globals__
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(names, "SIZE", 32)
        patch.setitem(names, "EVALUATIONS", {"_flat": [*SCRIPT["EVALUATIONS"]["_flat"], "--count", "2"]})
        SCRIPT["main"](tmp_path, baselines_only=True)
    result = json.loads((tmp_path / "baselines_flat.json").read_text())
    assert result["methods"].keys() == {"agnostic", "pasted", "reference"} and result["data"]["count"] == 2
    assert result["data"]["garment_type"] == "flat" and result["data"]["category"] == "upper"
    assert (tmp_path / "baselines_flat.md").read_text().startswith("# baselines alone")
    assert not (tmp_path / "tint.json").exists()


def test_a_model_or_baselines_alone():
    for arguments in ({}, {"model": "x", "baselines_only": True}):
        with pytest.raises(SystemExit, match="either --model or --baselines_only"):
            SCRIPT["main"]("out", **arguments)
