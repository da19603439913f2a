# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What `--dry-run` tells."""

import dataclasses
import re
from pathlib import Path

import pytest

from diffusers_tryon import create_unet
from diffusers_tryon.rendering.writer import write_pairs
from diffusers_tryon.training.configuration import TrainingConfig, parse_config
from diffusers_tryon.training.cost import estimate_memory, training_flops_per_image
from diffusers_tryon.training.dry_run import describe_run


CONFIG = TrainingConfig(
    preset="tiny-base",
    dataset="rendered",
    output_dir="unused",
    max_steps=400,
    warmup_steps=100,
    lr_schedule="constant",
    learning_rate=1e-3,
    global_batch_size=16,
    micro_batch_size=2,
)


def entry(text: str, name: str) -> str:
    return re.search(rf"^#   {name} +(.*)$", text, re.M)[1]


def test_the_settings_can_be_read_again(tmp_path):
    config = dataclasses.replace(
        *(CONFIG,),
        unet_overrides={"block_out_channels": (16, 64)},
        ema_power_sigmas=(0.05, 0.1),
        trackers=("tensorboard",),
    )
    text = describe_run(config)
    path = tmp_path / "run.yaml"
    path.write_text(text)
    again, _ = parse_config(["--config", str(path)])
    assert again == dataclasses.replace(config, unet_overrides={"block_out_channels": [16, 64]})


def test_costs_and_schedule():
    text = describe_run(CONFIG, num_processes=2)
    unet = create_unet("tiny-base")
    number = sum(parameter.numel() for parameter in unet.parameters())
    assert entry(text, "parameters") == f"{number:,}, of which {number:,} train"
    assert entry(text, "operations").startswith(f"{training_flops_per_image(unet) / 1e9:.2f} GFLOP per image")
    total = estimate_memory(unet, CONFIG, 2, "cuda").total
    assert float(entry(text, "sum").split()[0]) == pytest.approx(total / 2**30, abs=5e-4)
    assert entry(text, "a step") == "2 images x 4 micro-batches x 2 processes"
    assert entry(text, "images").startswith("6,400, ")
    assert entry(text, "learning rate") == "1e-05 in step 1, 0.001 in step 100, 0.001 in step 200, 0.001 in step 400"


def test_rows_of_a_folder_are_counted_and_of_a_missing_one_not(tmp_path):
    write_pairs(tmp_path, 5, 32)
    text = describe_run(dataclasses.replace(CONFIG, dataset=str(tmp_path)))
    assert f"1,280.00 times the 5 rows of {tmp_path}" in text
    assert "not on this disk, somebody/people" in describe_run(dataclasses.replace(CONFIG, dataset="somebody/people"))


def test_adapters_of_a_trained_network(tmp_path):
    pytest.importorskip("peft")
    create_unet("tiny-base").save_pretrained(tmp_path)
    config = dataclasses.replace(CONFIG, preset=None, initial_model=str(tmp_path), lora_rank=2)
    text = describe_run(config)
    total, trained = map(int, re.findall(r"\d+", entry(text, "parameters").replace(",", "")))
    assert 0 < trained < 0.1 * total
    assert entry(text, "gradients").startswith("0.000")


def test_a_batch_that_does_not_divide_is_named():
    with pytest.raises(ValueError, match="`global_batch_size` must be a multiple of the number of processes, 3"):
        describe_run(CONFIG, num_processes=3)


CONFIGS = sorted((Path(__file__).parents[2] / "training" / "configs").glob("*.yaml"))
# Networks of the paper's size take half a minute of a busy machine.
MARKS = {True: [pytest.mark.slow], False: []}


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=MARKS["preset: paper" in path.read_text()], id=path.stem) for path in CONFIGS],
)
def test_shipped_configs_are_described_without_their_data(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config, _ = parse_config(["--config", str(path)])
    text = describe_run(config)
    assert f"of {config.preset}, " in entry(text, "network")
    assert (config.dataset == "rendered") != ("not on this disk" in entry(text, "images"))
