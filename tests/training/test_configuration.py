# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Settings of a run."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
import torch

from diffusers_tryon import create_unet
from diffusers_tryon.data.augmentation import AugmentationSettings
from diffusers_tryon.training.configuration import TrainingConfig, parse_config
from diffusers_tryon.training.cost import estimate_memory
from diffusers_tryon.training.optimizers import learning_rate
from diffusers_tryon.training.order import local_indices


ROOT = Path(__file__).parents[2]
CONFIG = TrainingConfig(preset="tiny-base", dataset="unused", output_dir="unused", max_steps=10, global_batch_size=4)


def test_settings_of_yaml_and_command_line(tmp_path, capsys):
    path = tmp_path / "run.yaml"
    path.write_text(
        "preset: tiny-base\ndataset: d\noutput_dir: o\nlearning_rate: 1e-4\nunet_overrides: {patch_size: 1}\n"
    )
    config, _ = parse_config(["--config", str(path), "--max_steps", "7"])
    assert (config.learning_rate, config.max_steps, config.unet_overrides) == (1e-4, 7, {"patch_size": 1})
    for arguments, message in (
        (["--no_such_setting", "1"], "no_such_setting"),
        (["--learning_rat", "1"], "learning_rat"),
        (["--learning_rate", "fast"], "learning_rate"),
        (["--max_steps", "0"], "max_steps"),
        (["--prediction_type", "flow"], "prediction_type"),
        (["--max_low_res_noise_level", "1000"], "max_low_res_noise_level"),
        (["--augmentation.flip", "2"], "`flip` of the augmentation must be in [0, 1], got 2"),
        (["--augmentation.flop", "1"], "flop"),
        (["--rendered_size", "8"], "rendered_size"),
        (["--initial_model", "m"], "`--preset null`"),
    ):
        with pytest.raises(SystemExit):
            parse_config(["--config", str(path), *arguments])
        assert message in capsys.readouterr().err
    path.write_text("preset: tiny-base\ndataset: d\noutput_dir: o\n")
    config, _ = parse_config(["--config", str(path), "--preset", "null", "--initial_model", "m"])
    assert (config.preset, config.initial_model) == (None, "m")


def test_settings_survive_their_file():
    config, _ = parse_config(
        ["--preset", "tiny-base", "--dataset", "d", "--output_dir", "o", "--augmentation.scale", "0.3"]
    )
    assert config.augmentation == AugmentationSettings(scale=0.3)
    assert TrainingConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert TrainingConfig.from_dict(json.loads(json.dumps(CONFIG.to_dict()))) == CONFIG


CONFIGS = sorted((ROOT / "training" / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_names_settings_and_a_network_that_fit(path):
    config, _ = parse_config(["--config", str(path)])
    with torch.device("meta"):
        unet = create_unet(config.preset, **config.unet_overrides)
    assert (config.stage == "sr") == unet.config.low_res_conditioning
    assert unet.config.sample_size % unet.size_divisor == 0
    assert config.low_res_size is None or unet.config.sample_size % config.low_res_size == 0
    for num_processes in (1, 2, 8):
        batches = [local_indices(config, rank, num_processes) for rank in range(num_processes)]
        assert sorted(index for rank in batches for batch in rank for index in batch) == list(
            range(config.global_batch_size)
        )
    assert config.warmup_steps < config.max_steps
    assert config.max_steps >= max(config.validate_every, config.sample_every, config.checkpoint_every)
    assert Path(config.output_dir).name == path.stem or path.stem == "base-128-24gb"


@pytest.mark.parametrize("name", ["base-128", "sr-256", "base-128-24gb"])
def test_full_size_configs_are_the_papers(name):
    config, _ = parse_config(["--config", str(ROOT / "training" / "configs" / f"{name}.yaml")])
    assert config.preset == {"base-128": "paper-128", "sr-256": "paper-256"}[name.removesuffix("-24gb")]
    assert (config.global_batch_size, config.max_steps, config.condition_dropout) == (256, 500_000, 0.1)
    assert [learning_rate(config, step) for step in (0, 9_999, 499_999)] == pytest.approx([1e-8, 1e-4, 1e-4])
    # Adam, without decay; noise augmentation uniform over all levels.
    assert config.weight_decay == 0
    assert {config.max_agnostic_noise_level, config.max_garment_noise_level, config.max_low_res_noise_level} == {999}


def test_the_config_for_24_gb_fits():
    config, _ = parse_config(["--config", str(ROOT / "training" / "configs" / "base-128-24gb.yaml")])
    with torch.device("meta"):
        unet = create_unet(config.preset, **config.unet_overrides)
    memory = estimate_memory(unet, config, config.micro_batch_size, "cuda")
    # CUDA itself takes about 1 GB, and allocation leaves some memory unused.
    assert memory.total < 24e9 - 3e9
    # The arithmetic at the top of the file.
    text = (ROOT / "training" / "configs" / "base-128-24gb.yaml").read_text()
    stated = [float(amount) for amount in re.findall(r"^#   (?:\w+) +(\d+\.\d\d) ", text, re.M)]
    assert stated == [round(amount / 2**30, 2) for amount in (*memory, memory.total)]


@pytest.mark.parametrize("name", ["max_steps", "log_every", "checkpoint_every", "sample_every"])
def test_counts_are_at_least_one(name):
    with pytest.raises(ValueError, match=f"`{name}` must be at least 1, got 0"):
        dataclasses.replace(CONFIG, **{name: 0})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"preset": None}, "Exactly one of `preset` and `initial_model`"),
        ({"initial_model": "m"}, "Exactly one of `preset` and `initial_model`"),
        (
            {"preset": None, "initial_model": "m", "unet_overrides": {"patch_size": 1}},
            "`unet_overrides` needs `preset`",
        ),
        ({"lora_rank": 4}, "`lora_rank` needs `initial_model`"),
        ({"lora_alpha": 4.0}, "`lora_alpha` needs `lora_rank`"),
        ({"noise_schedule": "initial"}, "`noise_schedule: initial` needs `initial_model`"),
        ({"stage": "sr"}, "`stage: sr` needs `low_res_size`"),
        ({"low_res_size": 16}, "`low_res_size` is for `stage: sr`, got 16"),
        ({"base_model": "m"}, "`base_model` is for `stage: sr`, got 'm'"),
        ({"stage": "sr", "low_res_size": 16, "base_output_probability": 0.5}, "needs `base_model`"),
        ({"hub_strategy": "main"}, "`hub_strategy: main` needs `hub_model_id`"),
        ({"dataset": "rendered", "streaming": True}, "`streaming` is for datasets with shards"),
    ],
)
def test_settings_that_do_not_go_together_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIG, **changes)
