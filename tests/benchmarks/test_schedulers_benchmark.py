# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The benchmark of schedulers compares runs case by case, keeps them, and its rule finds the fewest steps."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from diffusers_tryon.evaluation.cases import rendered_cases
from tests.tiny_cascade import tiny_cascade


sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import sampling_runs  # noqa: E402
import schedulers  # noqa: E402


def outcome_of(**figures) -> sampling_runs.Outcome:
    everything = {name: np.zeros(20) for name in sampling_runs.FIGURES}
    return sampling_runs.Outcome(np.zeros((20, 2, 2, 3), dtype=np.uint8), everything | figures, 1)


def test_a_loss_counts_if_the_cases_do_not_exclude_that_it_passes_the_margin():
    noise = np.random.default_rng(0).normal(size=20)
    converged = outcome_of(psnr_region=noise)
    assert schedulers.losses(outcome_of(psnr_region=noise - 0.09), converged) == []
    assert schedulers.losses(outcome_of(psnr_region=noise - 0.11), converged) == ["psnr_region"]
    assert schedulers.losses(outcome_of(psnr_region=noise + 1, garment_colour=noise * 0 - 1), converged) == []
    assert schedulers.losses(outcome_of(psnr_region=noise, garment_colour=noise * 0 + 1), converged) == [
        "garment_colour"
    ]
    # On average not worse at all, but cases differ by so much that it could be.
    vague = outcome_of(psnr_region=noise + 2 * (np.roll(noise, 1) - noise.mean()))
    assert schedulers.losses(vague, converged) == ["psnr_region"]


def test_the_fewest_steps_are_those_from_which_on_nothing_falls_short():
    assert schedulers.fewest_steps({3: ["PSNR"], 5: [], 8: []}) == 5
    # What 3 steps have by luck, 5 have not, so 3 are not enough.
    assert schedulers.choice_columns({3: [], 5: ["SSIM", "distance"], 8: []}) == {
        "fewest steps": 8,
        "next fewer fall short in": "5: SSIM, distance",
    }
    assert schedulers.choice_columns({3: [], 8: ["PSNR"]})["fewest steps"] is None


def test_detail_is_the_mean_step_between_neighbours_within_the_region():
    picture = np.zeros((3, 4, 3), dtype=np.uint8)
    picture[:, 2:] = 12
    region = np.ones((3, 4), dtype=bool)
    # Of 8 pairs down and 9 to the right, 3 differ, by 12.
    assert sampling_runs.detail(picture, region) == pytest.approx(12 * 3 / 17)
    region[:, 2:] = False
    assert sampling_runs.detail(picture, region) == 0


def test_runs_are_made_kept_and_reported(tmp_path, monkeypatch):
    pipe = tiny_cascade()
    pipe.save_pretrained(tmp_path / "model")
    monkeypatch.setattr(schedulers, "INTERVALS", ((0.0, 0.5),))
    monkeypatch.setattr(schedulers, "SCALES", (1.0,))
    arguments = {
        "model": tmp_path / "model",
        "work": tmp_path / "work",
        "cases": 2,
        "scheduler": ["dpmsolver++", "heun"],
        "steps": [3, 5],
        "other_steps": [3, 5],
        "converged_steps": 6,
        "guidance_steps": 3,
        "pair": ["3+5"],
        "results": tmp_path,
    }
    schedulers.main(**arguments)
    report = json.loads((tmp_path / "schedulers.json").read_text())
    tables = {table["title"]: table["rows"] for table in report["tables"]}
    # Heun's calls the network twice a step but for the last: 2 and 3 steps for 3 and 5 calls.
    calls = {(row["scheduler"], row["steps"]): row["network calls"] for row in tables["Base stage"]}
    assert calls == {("dpmsolver++", 3): 3, ("dpmsolver++", 5): 5, ("dpmsolver++", 6): 6} | {
        ("heun", 2): 3,
        ("heun", 3): 5,
    }
    choices = tables["How few steps are enough"]
    assert [row["scheduler"] for row in choices] == ["dpmsolver++", "heun"] * 2
    assert all(row["noises apart"] > 0 for row in choices)
    assert tables["Base stage"][-1]["Distance"] == 0 < tables["Base stage"][0]["Distance"]
    assert [(row["base steps"], row["SR steps"]) for row in tables["Both stages"]] == [(6, 5), (3, 5), (6, 6)]
    assert (tmp_path / "schedulers.png").stat().st_size > 0

    # What must not change is the person's, in a run's pictures too; no run is made twice.
    case = rendered_cases(2, size=32)[1]
    made = np.load(tmp_path / "work" / "base-dpmsolver++-3-2_0_1.npz")["pictures"][1]
    outside = ~pipe.image_processor.preprocess_mask(case.agnostic_mask, 16, 16)[0, 0].numpy()
    agnostic = pipe.image_processor.preprocess(case.agnostic_image, 16, 16, "agnostic")
    expected = np.asarray(pipe.image_processor.postprocess(agnostic)[0])
    assert outside.any() and (made[~outside] != expected[~outside]).any()
    np.testing.assert_array_equal(made[outside], expected[outside])
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").iterdir()}
    schedulers.main(**arguments, report_only=True)
    assert files == {path: path.stat().st_mtime_ns for path in (tmp_path / "work").iterdir()}
    with pytest.raises(ValueError, match="holds pictures that were made otherwise"):
        schedulers.main(**{**arguments, "cases": 3})
