# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The scripts that render, train and measure the small networks, at tiny size."""

import json
import runpy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_small_networks import TINY

from diffusers_tryon.preprocessing.loading import SHIPPED_PARSER, SHIPPED_POSE_ESTIMATOR
from diffusers_tryon.rendering.labelled_pool import write_labelled_pool


SCRIPTS = Path(__file__).parents[2] / "training"


@pytest.fixture(scope="module")
def pool(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pool")
    for split in ("train", "test"):
        write_labelled_pool(folder, 2, 64, split)
    return folder


@pytest.fixture(scope="module")
def script() -> dict:
    return runpy.run_path(str(SCRIPTS / "train_parser.py"))


def run(script: dict, pool: Path, out: Path, phases: list[tuple[int, int, int]]) -> None:
    # Few backdrops: they are drawn anew by every run.
    script["train"].__globals__["_BACKDROPS"] = 4
    phases = [script["Phase"](*phase) for phase in phases]
    script["train"](pool, out, phases, checkpoint_every=2, architecture=TINY)


def test_a_run_that_was_killed_ends_as_one_that_was_not(script, pool, tmp_path, monkeypatch):
    phases = [(3, 32, 4), (3, 64, 2)]
    run(script, pool, tmp_path / "whole", phases)

    class Killed(Exception):
        pass

    make, steps = script["training_batch"], []

    def dying(*arguments):
        steps.append(arguments[5])
        if len(steps) == 4:
            raise Killed
        return make(*arguments)

    monkeypatch.setitem(script["train"].__globals__, "training_batch", dying)
    with pytest.raises(Killed):
        run(script, pool, tmp_path / "killed", phases)
    run(script, pool, tmp_path / "killed", phases)
    # The step after the last checkpoint is done again.
    assert steps == [0, 1, 2, 3, 2, 3, 4, 5]
    states = [torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in ("whole", "killed")]
    for part in ("network", "averages"):
        for name, value in states[0][part].items():
            assert torch.equal(value, states[1][part][name]), name
    for folder in (SHIPPED_PARSER, SHIPPED_POSE_ESTIMATOR):
        whole, killed = (load_file(tmp_path / name / folder / "model.safetensors") for name in ("whole", "killed"))
        assert all(torch.equal(value, killed[name]) for name, value in whole.items())
    lines = [json.loads(line) for line in (tmp_path / "killed" / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == 6 and lines[-1]["size"] == 64
    assert {"parsing", "heat_maps"} <= set(lines[-1])


def test_training_makes_the_losses_smaller(script, pool, tmp_path):
    script["train"].__globals__.update({"_LOG_EVERY": 1, "_WARM_UP": 5})
    run(script, pool, tmp_path, [(50, 32, 8)])
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    # The least loss of heat maps that are no zeros or ones is not zero.
    for name, share in (("parsing", 0.85), ("heat_maps", 0.92)):
        first, last = (sum(line[name] for line in part) / 5 for part in (lines[:5], lines[-5:]))
        assert last < share * first, (name, first, last)


def test_the_scripts_work_one_after_the_other(script, pool, tmp_path):
    run(script, pool, tmp_path / "run", [(2, 32, 2)])
    evaluate = runpy.run_path(str(SCRIPTS / "evaluate_parser.py"))["evaluate"]
    photo = Path(__file__).parents[2] / "samples" / "astronaut" / "person.png"
    evaluate(tmp_path / "run", pool, tmp_path / "figures.json", tmp_path / "sheet.png", sheet_count=3, photo=[photo])
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["photographs"] == 8 and figures["people"] == 2
    low, high = figures["parser"]["pixel_accuracy_95"]
    assert 0 <= low <= figures["parser"]["pixel_accuracy"] <= high <= 1
    assert (tmp_path / "sheet.png").stat().st_size > 1000
