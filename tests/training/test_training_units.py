# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The pure pieces of training against closed forms."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from diffusers_tryon import create_unet
from diffusers_tryon.data.augmentation import AugmentationSettings
from diffusers_tryon.image_processor import TryOnImageProcessor
from diffusers_tryon.schedules import create_scheduler
from diffusers_tryon.training.batches import collate, low_res_condition
from diffusers_tryon.training.checkpoints import list_checkpoints, save_checkpoint
from diffusers_tryon.training.configuration import TrainingConfig, parse_config
from diffusers_tryon.training.objective import min_snr_weights, prediction_target, weighted_loss
from diffusers_tryon.training.randomness import StepSampler, draw_batch, local_indices
from diffusers_tryon.training.stage import learning_rate


ROOT = Path(__file__).parents[2]
CONFIG = TrainingConfig(preset="tiny-base", dataset="unused", output_dir="unused", max_steps=10, global_batch_size=4)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_min_snr_weights_measure_the_error_of_the_clean_image(prediction_type):
    # An error in the clean image causes a known error in each prediction; weight times that error must be the same.
    scheduler = create_scheduler("ddpm", prediction_type=prediction_type)
    alphas_cumprod = scheduler.alphas_cumprod.double()
    timesteps = torch.tensor([10, 300, 700, 950])
    signal, sigma = alphas_cumprod[timesteps].sqrt(), (1 - alphas_cumprod[timesteps]).sqrt()
    sample = torch.tensor(0.7, dtype=torch.float64)

    def predict(clean):
        noise = (sample - signal * clean) / sigma
        return {"epsilon": noise, "v_prediction": signal * noise - sigma * clean, "sample": clean}[prediction_type]

    error = (predict(torch.tensor(0.3).double()) - predict(torch.tensor(0.4).double())) ** 2
    weights = min_snr_weights(scheduler.alphas_cumprod, 5.0, prediction_type)[timesteps].double()
    expected = (signal / sigma).square().clamp(max=5.0) * 0.1**2
    torch.testing.assert_close(weights * error, expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_target_recovers_the_clean_image(prediction_type):
    scheduler = create_scheduler("ddpm", prediction_type=prediction_type)
    image, noise = torch.rand(3, 3, 4, 4), torch.randn(3, 3, 4, 4)
    timesteps = torch.tensor([5, 400, 800])
    noisy = scheduler.add_noise(image, noise, timesteps)
    target = prediction_target(scheduler, image, noise, timesteps)
    signal = scheduler.alphas_cumprod[timesteps].sqrt().view(-1, 1, 1, 1)
    sigma = (1 - scheduler.alphas_cumprod[timesteps]).sqrt().view(-1, 1, 1, 1)
    recovered = {
        "epsilon": (noisy - sigma * target) / signal,
        "v_prediction": signal * noisy - sigma * target,
        "sample": target,
    }[prediction_type]
    torch.testing.assert_close(recovered, image, rtol=1e-3, atol=1e-3)


def test_weighted_loss_is_float32_per_sample():
    prediction = torch.zeros(2, 3, 2, 2, dtype=torch.bfloat16)
    target = torch.stack([torch.full((3, 2, 2), 2.0), torch.full((3, 2, 2), 3.0)])
    loss = weighted_loss(prediction, target, torch.tensor([0.5, 10.0]), torch.tensor([0, 1]))
    assert loss.dtype == torch.float32
    assert loss.tolist() == [2.0, 90.0]


def test_draw_depends_on_seed_step_and_index_alone():
    whole = draw_batch(CONFIG, 3, [0, 1, 2, 3], (4, 6))
    part = draw_batch(CONFIG, 3, [2], (4, 6))
    for field in dataclasses.fields(whole):
        assert torch.equal(getattr(whole, field.name)[2:3], getattr(part, field.name)), field.name
    other_step = draw_batch(CONFIG, 4, [2], (4, 6))
    assert not torch.equal(part.noise, other_step.noise)
    other_seed = draw_batch(dataclasses.replace(CONFIG, seed=1), 3, [2], (4, 6))
    assert not torch.equal(part.noise, other_seed.noise)
    assert not torch.equal(whole.noise[0], whole.noise[1])
    assert not torch.equal(whole.noise[0], whole.agnostic_noise[0])


def test_draw_statistics():
    config = dataclasses.replace(CONFIG, global_batch_size=2000, condition_dropout=0.1, max_garment_noise_level=9)
    draw = draw_batch(config, 0, list(range(2000)), (1, 1))
    assert torch.equal(draw.timesteps // 100, torch.arange(2000) * 1000 // 2000 // 100)
    assert abs((~draw.conditioning_mask).float().mean().item() - 0.1) < 0.03
    assert draw.garment_levels.unique().tolist() == list(range(10))
    assert draw.low_res_levels.max() > 990 and draw.low_res_levels.min() < 10
    assert abs(draw.noise.mean().item()) < 0.05 and abs(draw.noise.std().item() - 1) < 0.05


def test_sampler_resumes_where_it_stopped_and_covers_each_epoch():
    config = dataclasses.replace(CONFIG, max_steps=6)
    whole = list(StepSampler(8, config, 0, 0, 1))
    assert list(StepSampler(8, config, 4, 0, 1)) == whole[4:]
    for epoch in range(3):
        assert sorted(sample.row for sample in whole[2 * epoch] + whole[2 * epoch + 1]) == list(range(8))
    assert [sample.row for sample in whole[0] + whole[1]] != [sample.row for sample in whole[2] + whole[3]]


def test_two_processes_and_accumulation_see_the_same_global_batch():
    config = dataclasses.replace(CONFIG, gradient_accumulation_steps=2, max_steps=2)
    single = list(StepSampler(8, CONFIG, 0, 0, 1))[:2]
    ranks = [list(StepSampler(8, config, 0, rank, 2)) for rank in range(2)]
    for step in range(2):
        samples = [sample for batches in ranks for batch in batches[2 * step : 2 * step + 2] for sample in batch]
        assert sorted(samples) == sorted(single[step])
    indices = [local_indices(config, rank, 2) for rank in range(2)]
    assert sorted(index for batches in indices for batch in batches for index in batch) == [0, 1, 2, 3]


def test_learning_rate_warms_up_and_decays():
    config = dataclasses.replace(CONFIG, warmup_steps=10, max_steps=100, learning_rate=1.0)
    assert learning_rate(config, 0) == pytest.approx(0.1)
    assert learning_rate(config, 50) == pytest.approx(0.5)
    assert learning_rate(dataclasses.replace(config, lr_schedule="constant"), 99) == 1.0


def test_checkpoints_are_renamed_when_complete_and_old_ones_removed(tmp_path):
    for step in (3, 6, 9, 12):
        save_checkpoint(tmp_path, step, lambda folder: (folder / "state.pt").write_text("x"), keep=2)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-00000009", "step-00000012"]

    def fail(folder):
        (folder / "state.pt").write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(tmp_path, 15, fail, keep=2)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-00000009", "step-00000012"]


def test_low_res_condition_of_a_plain_image_is_that_image():
    # The range stays [-1, 1] and no colour shifts: the reference's tint came from a second range here.
    colours = torch.tensor([-1.0, -0.2, 1.0]).view(1, 3, 1, 1).expand(1, 3, 32, 32)
    condition = low_res_condition(colours, TryOnImageProcessor(), 16, "bilinear")
    torch.testing.assert_close(condition, colours, rtol=0, atol=1e-6)


def test_settings_of_yaml_and_command_line(tmp_path, capsys):
    path = tmp_path / "run.yaml"
    path.write_text(
        "preset: tiny-base\ndataset: d\noutput_dir: o\nlearning_rate: 1e-4\nunet_overrides: {patch_size: 1}\n"
    )
    config = parse_config(["--config", str(path), "--max_steps", "7"])
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
    config = parse_config(
        ["--preset", "tiny-base", "--dataset", "d", "--output_dir", "o", "--augmentation.scale", "0.3"]
    )
    assert config.augmentation == AugmentationSettings(scale=0.3)
    assert TrainingConfig.from_dict(json.loads(json.dumps(dataclasses.asdict(config)))) == config
    assert TrainingConfig.from_dict(json.loads(json.dumps(dataclasses.asdict(CONFIG)))) == CONFIG


@pytest.mark.parametrize("path", sorted((ROOT / "training" / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_config_names_settings_and_a_network_that_exist(path):
    config = parse_config(["--config", str(path)])
    unet = create_unet(config.preset, **config.unet_overrides)
    assert (config.low_res_size < unet.config.sample_size) == unet.config.low_res_conditioning


def test_rows_of_several_sizes_are_refused_with_what_to_do():
    def row(height: int, width: int) -> dict[str, np.ndarray]:
        poses = {name: np.zeros((18, 3), np.float32) for name in ("person_pose", "garment_pose")}
        images = {name: np.zeros((16, 16, 3), np.uint8) for name in ("person_image", "agnostic_image")}
        return images | poses | {"garment_image": np.zeros((height, width, 3), np.uint8)}

    assert collate([row(16, 16), row(16, 16)])["garment_image"].shape == (2, 3, 16, 16)
    with pytest.raises(ValueError, match="`garment_image` must have one size.*16 x 16 and 24 x 16 pixels.*--size"):
        collate([row(16, 16), row(16, 24)])


@pytest.mark.parametrize("name", ["max_steps", "log_every", "checkpoint_every", "sample_every"])
def test_counts_are_at_least_one(name):
    with pytest.raises(ValueError, match=f"`{name}` must be at least 1, got 0"):
        dataclasses.replace(CONFIG, **{name: 0})


def test_a_batch_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="global_batch_size.*multiple of.*2 x 3.*got 4"):
        local_indices(dataclasses.replace(CONFIG, gradient_accumulation_steps=2), 0, 3)
