# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The comparison of designs: variants that differ in one thing, figures of cases and seeds, runs that are kept."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from diffusers_tryon import create_unet
from diffusers_tryon.rendering.writer import write_pairs
from diffusers_tryon.training.configuration import TrainingConfig


sys.path.insert(0, str(Path(__file__).parents[2] / "training"))

import compare_designs  # noqa: E402


TINY = compare_designs.Budget("tiny-base", 32, 2, 2, 2, 1e-3, 2)
# What each variant changes, the seed and the folder aside.
CHANGES = {
    "concatenation": {"garment_fusion"},
    "garment-sees-timestep": {"garment_time_conditioning"},
    "independent-dropout": {"condition_dropout_mode"},
    "no-pose-maps": {"pose_maps"},
    "sr-epsilon-shifted-cosine": {"noise_schedule"},
    "sr-v-prediction-cosine": {"prediction_type"},
    "sr-v-prediction-shifted-cosine": {"prediction_type", "noise_schedule"},
    "sr-sample-cosine": {"prediction_type"},
    "sr-sample-shifted-cosine": {"prediction_type", "noise_schedule"},
}


def run_of(name: str, variant: str, out: Path = Path("out"), data: Path = Path("data")) -> compare_designs.Run:
    return compare_designs.Run(out, data, TINY, compare_designs.EXPERIMENTS[name], variant, 0)


def everything(run: compare_designs.Run) -> dict:
    """Settings and the network's configuration in one."""
    config = TrainingConfig.from_dict(run.settings())
    with torch.device("meta"):
        unet = create_unet(config.preset, **config.unet_overrides)
    values = config.to_dict() | dict(unet.config)
    return {name: value for name, value in values.items() if name not in ("output_dir", "unet_overrides")}


def test_variants_differ_from_the_first_in_what_they_are_named_after():
    found = {}
    for name, experiment in compare_designs.EXPERIMENTS.items():
        first, *others = experiment.variants
        reference = everything(run_of(name, first))
        for variant in others:
            values = everything(run_of(name, variant))
            found[variant] = {field for field in values if values[field] != reference[field]}
    assert found == CHANGES


def test_differences_are_taken_case_by_case_and_seed_by_seed():
    experiment = compare_designs.Experiment("A or B", "base", {"a": {}, "b": {}})
    # The variants differ by 1 dB with each seed and on each case, whose own differences are much larger.
    psnr = {"a": [[10.0, 30.0], [12.0, 33.0]], "b": [[11.0, 31.0], [13.0, 34.0]]}

    def case(value: float) -> dict:
        return {"psnr_region": value, "ssim_region": 0.5, "garment_colour": 3.0, "garment_pattern": None}

    figures = {
        (variant, seed): {
            "seconds_per_step": 0.5 + seed,
            "1": [case(value) for value in values],
            "2": [case(-value) for value in values],
        }
        for variant, of_seeds in psnr.items()
        for seed, values in enumerate(of_seeds)
    }
    result = compare_designs.compare(experiment, figures, seeds=2)
    assert result["seconds_per_step"] == {"a": 1.0, "b": 1.0}
    of_b = result["guidance"]["1"]["b"]["psnr_region"]
    assert of_b["mean"] == 22.25 and of_b["difference"] == {"mean": 1.0, "low": 1.0, "high": 1.0}
    assert result["guidance"]["2"]["b"]["psnr_region"]["difference"]["mean"] == -1.0
    page = compare_designs.as_markdown({"budget": TINY._asdict(), "seeds": 2, "experiments": {"one": result}})
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("|")]
    assert lines[0][:2] == ["variant", "PSNR, edited region (dB) ↑"]
    assert lines[2] == ["a", "21.25", "0.5000", "3.00", "–", "1.000"]
    assert lines[3][:2] == ["b", "22.25, +1.00 [+1.00, +1.00]"] and lines[3][4] == "–, – [–, –]"


def test_figures_of_a_picture_are_signed_errors_and_those_of_the_edited_region():
    (case,) = compare_designs.held_out_cases(1, 32)
    figures = compare_designs.judge(case.reference, case)
    assert figures["psnr_region"] == 100 and figures["garment_colour"] == 0
    assert [figures[name] for name in compare_designs.TINTS] == [0, 0, 0]
    redder = case.reference.astype(int)
    redder[..., 0] = np.minimum(redder[..., 0], 200)
    redder = (redder + [7, 0, 0]).astype(np.uint8)
    figures = compare_designs.judge(redder, case)
    expected = (redder[..., 0].astype(float) - case.reference[..., 0]).mean()
    assert figures["tint_red"] == pytest.approx(expected, rel=1e-4) and figures["tint_blue"] == 0
    assert figures["garment_colour"] > 0


def test_an_unknown_experiment_and_another_budget_are_refused(tmp_path):
    with pytest.raises(SystemExit, match="`--experiment` must be one of garment, timestep, .* got 'colour'"):
        compare_designs.main(Path("data"), tmp_path / "out", ["colour"])
    assert not (tmp_path / "out").exists()
    settings = TINY._asdict() | {"data": "data"}
    compare_designs.claim_folder(tmp_path / "out", settings)
    with pytest.raises(SystemExit, match="folder. must be new, .* runs that were trained otherwise: .*steps"):
        compare_designs.main(Path("data"), tmp_path / "out", preset="tiny-base", size=32)


@pytest.mark.slow
def test_runs_are_trained_measured_and_kept(tmp_path):
    write_pairs(tmp_path / "pool", 4, 64, category="upper")
    run = run_of("objective", "sr-v-prediction-shifted-cosine", tmp_path, tmp_path / "pool")
    figures = compare_designs.train_and_measure(run)
    assert figures["seconds_per_step"] > 0
    assert all(len(figures[scale]) == 2 and figures[scale][0]["psnr_region"] > 0 for scale in ("1", "2"))
    assert figures["1"] != figures["2"]
    # Neither trained nor measured again.
    files = [run.folder / "metrics.jsonl", run.folder / "figures.json"]
    times = [file.stat().st_mtime_ns for file in files]
    assert compare_designs.train_and_measure(run) == figures
    assert [file.stat().st_mtime_ns for file in files] == times
    # One that cannot be trained is named, and where to look.
    broken = run_of("objective", "sr-sample-cosine", tmp_path, tmp_path / "nothing")
    with pytest.raises(compare_designs.RunError, match="sr-sample-cosine-seed0 did not finish"):
        compare_designs.train(broken)
    assert "nothing" in (broken.folder / "log.txt").read_text()
