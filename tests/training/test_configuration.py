# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Settings of a run."""

import dataclasses
import json
from pathlib import Path

import pytest

from diffusers_tryon import create_unet
from diffusers_tryon.data.augmentation import AugmentationSettings
from diffusers_tryon.training.configuration import TrainingConfig, parse_config


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
        (["--learning_rate", "fast"], "learning_rate"),
        (["--max_steps", "0"], "max_steps"),
        (["--prediction_type", "flow"], "prediction_type"),
        (["--max_low_res_noise_level", "1000"], "max_low_res_noise_level"),
        (["--augmentation.flip", "2"], "`flip` of the augmentation must be in [0, 1], got 2"),
        (["--augmentation.flop", "1"], "flop"),
        (["--rendered_size", "8"], "rendered_size"),
    ):
        with pytest.raises(SystemExit):
            parse_config(["--config", str(path), *arguments])
        assert message in capsys.readouterr().err


def test_settings_survive_their_file():
    config, _ = parse_config(
        ["--preset", "tiny-base", "--dataset", "d", "--output_dir", "o", "--augmentation.scale", "0.3"]
    )
    assert config.augmentation == AugmentationSettings(scale=0.3)
    assert TrainingConfig.from_dict(json.loads(json.dumps(dataclasses.asdict(config)))) == config
    assert TrainingConfig.from_dict(json.loads(json.dumps(dataclasses.asdict(CONFIG)))) == CONFIG


@pytest.mark.parametrize("path", sorted((ROOT / "training" / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_config_names_settings_and_a_network_that_exist(path):
    config, _ = parse_config(["--config", str(path)])
    unet = create_unet(config.preset, **config.unet_overrides)
    assert (config.stage == "sr") == unet.config.low_res_conditioning


@pytest.mark.parametrize("name", ["max_steps", "log_every", "checkpoint_every", "sample_every"])
def test_counts_are_at_least_one(name):
    with pytest.raises(ValueError, match=f"`{name}` must be at least 1, got 0"):
        dataclasses.replace(CONFIG, **{name: 0})
