# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What a run starts from: presets, folders and repositories of pipelines, networks and runs, and what is refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_cascade import random_unet, tiny_cascade

from diffusers_tryon import ReferenceParallelUNetModel, TryOnCascadePipeline
from diffusers_tryon.conversion import convert_checkpoint
from diffusers_tryon.hub.export import save_pipeline
from diffusers_tryon.schedules import create_scheduler, reference_linear_betas, shifted_cosine_betas
from diffusers_tryon.training.configuration import TrainingConfig
from diffusers_tryon.training.initial import load_initial, trainable_parameters


PARITY = Path(__file__).parents[1] / "parity"
PRESET = TrainingConfig(dataset="unused", output_dir="unused", preset="tiny-base", seed=3)
WEIGHTS = "diffusion_pytorch_model.safetensors"


def further(source: str | Path, **settings) -> TrainingConfig:
    """Settings of a run that goes on from `source`."""
    return TrainingConfig(dataset="unused", output_dir="unused", initial_model=str(source), **settings)


def super_resolution(source: str | Path, **settings) -> TrainingConfig:
    return further(source, stage="sr", low_res_size=16, **settings)


def assert_same_weights(unet: torch.nn.Module, expected: torch.nn.Module) -> None:
    assert type(unet) is type(expected)
    actual, expected = unet.state_dict(), expected.state_dict()
    assert actual.keys() == expected.keys()
    assert all(torch.equal(actual[name], expected[name]) for name in expected)


@pytest.fixture(scope="module")
def cascade() -> TryOnCascadePipeline:
    pipe = tiny_cascade()
    pipe.sr_scheduler = create_scheduler("euler", trained_betas=shifted_cosine_betas(32), prediction_type="epsilon")
    return pipe


@pytest.fixture(scope="module")
def pipeline_folder(cascade, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("initial") / "pipeline"
    cascade.save_pretrained(folder)
    return folder


# Presets


def test_a_preset_has_the_weights_of_the_seed_whatever_was_drawn_before():
    torch.manual_seed(0)
    first = load_initial(PRESET)
    after = torch.rand(3)
    torch.manual_seed(0)
    assert torch.equal(torch.rand(3), after)
    assert_same_weights(load_initial(PRESET).unet, first.unet)
    other = load_initial(replace(PRESET, seed=4)).unet
    assert not torch.equal(other.conv_in.weight, first.unet.conv_in.weight)
    assert (first.betas, first.prediction_type, first.unet.training) == (None, None, True)
    assert torch.equal(first.image_noising_scheduler.betas, create_scheduler("ddpm").betas)


def test_a_preset_with_overrides_has_the_noise_schedule_of_its_size():
    config = replace(PRESET, unet_overrides={"sample_size": 16}, noise_schedule="shifted_cosine")
    assert load_initial(config).betas == shifted_cosine_betas(16)


def test_a_preset_of_the_other_stage_is_refused():
    with pytest.raises(
        ValueError, match="`stage` is 'base', and the network of `preset` tiny-sr is one for super-res"
    ):
        load_initial(replace(PRESET, preset="tiny-sr"))


# Pipelines


def test_a_pipeline_gives_the_network_and_the_schedules_of_its_stage(cascade, pipeline_folder):
    base = load_initial(further(pipeline_folder))
    assert_same_weights(base.unet, cascade.base_unet)
    assert (base.betas, base.prediction_type, base.unet.training) == (None, "v_prediction", True)

    sr = load_initial(super_resolution(pipeline_folder, noise_schedule="shifted_cosine", prediction_type="epsilon"))
    assert_same_weights(sr.unet, cascade.sr_unet)
    assert (sr.betas, sr.prediction_type) == (shifted_cosine_betas(32), "epsilon")


def test_the_schedule_of_a_pipeline_can_be_taken_over(pipeline_folder):
    config = super_resolution(pipeline_folder, noise_schedule="initial", prediction_type="epsilon")
    torch.testing.assert_close(load_initial(config).betas, shifted_cosine_betas(32), rtol=1e-6, atol=1e-9)
    assert load_initial(further(pipeline_folder, noise_schedule="initial")).betas is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noise_schedule": "cosine", "prediction_type": "epsilon"}, "'cosine', and that of .* is 'shifted_cosine'"),
        ({"noise_schedule": "initial"}, "`prediction_type` is 'v_prediction', and the network .* predicts 'epsilon'"),
    ],
)
def test_settings_that_are_not_the_pipelines_are_refused(pipeline_folder, settings, message):
    with pytest.raises(ValueError, match=message):
        load_initial(super_resolution(pipeline_folder, **settings))


def test_a_pipeline_without_the_stage_is_refused(pipeline_folder, tmp_path):
    folder = tmp_path / "pipeline"
    shutil.copytree(pipeline_folder, folder, ignore=shutil.ignore_patterns("sr_*"))
    with pytest.raises(ValueError, match="has no sr_unet/config.json that can be read"):
        load_initial(super_resolution(folder))
    for component in ("unet", "scheduler"):
        shutil.copytree(folder / f"base_{component}", folder / f"sr_{component}")
    with pytest.raises(ValueError, match="`stage` is 'sr', and the network of `initial_model` .* the base stage"):
        load_initial(super_resolution(folder))


def test_a_scheduler_of_another_kind_of_diffusion_is_refused(pipeline_folder, tmp_path):
    folder = tmp_path / "pipeline"
    shutil.copytree(pipeline_folder, folder)
    for name, message in (
        ("FlowMatchEulerDiscreteScheduler", "is a FlowMatchEulerDiscreteScheduler, which cannot be used"),
        ("OurScheduler", "is a OurScheduler, which Diffusers does not have"),
    ):
        (folder / "base_scheduler" / "scheduler_config.json").write_text(json.dumps({"_class_name": name}))
        with pytest.raises(ValueError, match=message):
            load_initial(further(folder))


def test_a_converted_reference_checkpoint_is_trained_on_its_own_schedules(tmp_path):
    configs = [PARITY / "trainer_base.json", PARITY / "trainer_sr.json"]
    convert_checkpoint(PARITY / "trainer_checkpoint.pt", tmp_path / "converted", configs)
    pipe = TryOnCascadePipeline.from_pretrained(tmp_path / "converted")
    settings = {"prediction_type": "epsilon", "noise_schedule": "initial"}
    for initial, expected in (
        (load_initial(further(tmp_path / "converted", **settings)), pipe.base_unet),
        (load_initial(super_resolution(tmp_path / "converted", **settings)), pipe.sr_unet),
    ):
        assert isinstance(initial.unet, ReferenceParallelUNetModel)
        assert_same_weights(initial.unet, expected)
        scheduler = create_scheduler("ddpm", trained_betas=initial.betas)
        assert torch.equal(scheduler.alphas_cumprod, pipe.base_scheduler.alphas_cumprod)
        noising = create_scheduler("ddpm", trained_betas=reference_linear_betas())
        assert torch.equal(initial.image_noising_scheduler.alphas_cumprod, noising.alphas_cumprod)
        # The layer that nothing reads does not train, as in a new network.
        frozen = set(dict(initial.unet.named_parameters())) - set(trainable_parameters(initial.unet))
        assert frozen and all(name.startswith("garment_upsamplers.") for name in frozen)
    # Its network alone, too, knows noise in conditioning images by the reference's law only.
    alone = load_initial(further(tmp_path / "converted" / "base_unet", prediction_type="epsilon"))
    assert torch.equal(alone.image_noising_scheduler.alphas_cumprod, noising.alphas_cumprod)
    with pytest.raises(ValueError, match="`noise_schedule` is 'cosine', and that .* the cosine of the reference code"):
        load_initial(further(tmp_path / "converted", prediction_type="epsilon"))


# Networks and runs


def test_a_network_is_loaded_in_float32_from_halves(tmp_path):
    unet = random_unet("tiny-base", 0)
    unet.half().save_pretrained(tmp_path / "network")
    initial = load_initial(further(tmp_path / "network", noise_schedule="shifted_cosine"))
    assert_same_weights(initial.unet, unet.float())
    assert {value.dtype for value in initial.unet.state_dict().values()} == {torch.float32}
    assert (initial.betas, initial.prediction_type) == (shifted_cosine_betas(32), None)
    with pytest.raises(ValueError, match="`noise_schedule: initial` needs a pipeline in `initial_model`"):
        load_initial(further(tmp_path / "network", noise_schedule="initial"))
    # The trained network must not name a folder of this machine.
    initial.unet.save_pretrained(tmp_path / "trained")
    assert str(tmp_path) not in (tmp_path / "trained" / "config.json").read_text()


def test_a_checkpoint_gives_its_averaged_network(tmp_path):
    averaged = random_unet("tiny-base", 1)
    random_unet("tiny-base", 0).save_pretrained(tmp_path / "unet")
    averaged.save_pretrained(tmp_path / "ema")
    assert_same_weights(load_initial(further(tmp_path)).unet, averaged)


@pytest.mark.parametrize("stage", ["base", "sr"])
def test_a_finished_run_gives_its_model_and_is_held_to_its_schedule(cascade, tmp_path, stage):
    unet = getattr(cascade, f"{stage}_unet")
    noising = create_scheduler("ddpm", trained_betas=reference_linear_betas())
    save_pipeline(tmp_path / "model", stage, unet, shifted_cosine_betas(32), "epsilon", noising)
    assert (tmp_path / "model" / "model_index.json").exists() == (stage == "base")
    source = further if stage == "base" else super_resolution
    settings = {"noise_schedule": "initial", "prediction_type": "epsilon"}
    for folder in (tmp_path, tmp_path / "model"):
        initial = load_initial(source(folder, **settings))
        assert_same_weights(initial.unet, unet)
        torch.testing.assert_close(initial.betas, shifted_cosine_betas(32), rtol=1e-6, atol=1e-9)
        assert torch.equal(initial.image_noising_scheduler.betas, noising.betas)
    with pytest.raises(ValueError, match="`prediction_type` is 'v_prediction', and .* predicts 'epsilon'"):
        load_initial(source(tmp_path, noise_schedule="initial"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("missing file", "cannot be read, or do not fit its configuration"),
        ("truncated", "cannot be read, or do not fit its configuration"),
        ("missing key", "do not fit its configuration: 1 missing, conv_in.weight"),
        ("unexpected key", "do not fit its configuration: 1 unexpected, conv_extra.weight"),
        ("other shape", "conv_in.weight expected shape .*16, 42, 3, 3.*, but got .*1"),
        ("other class", "must hold a network of ParallelUNetModel or ReferenceParallelUNetModel, got UNet2DModel"),
        ("broken settings", "has no network/config.json that can be read"),
    ],
)
def test_networks_that_do_not_load_are_refused(tmp_path, damage, message):
    folder = tmp_path / "network"
    random_unet("tiny-base", 0).save_pretrained(folder)
    weights = load_file(folder / WEIGHTS)
    if damage == "missing file":
        (folder / WEIGHTS).unlink()
    elif damage == "truncated":
        (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:2000])
    elif damage == "other class":
        (folder / "config.json").write_text(json.dumps({"_class_name": "UNet2DModel"}))
    elif damage == "broken settings":
        (folder / "config.json").write_text("{")
    else:
        if damage != "unexpected key":
            del weights["conv_in.weight"]
        extra = {"unexpected key": "conv_extra.weight", "other shape": "conv_in.weight"}.get(damage)
        save_file(weights | ({extra: torch.zeros(1)} if extra else {}), folder / WEIGHTS)
    with pytest.raises(ValueError, match=message):
        load_initial(further(folder))


def test_a_folder_that_is_none_of_these_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("a file")
    for source in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(ValueError, match="`initial_model` must be a pipeline .*, a network .*, a finished run"):
            load_initial(further(source))


def test_overrides_of_an_initial_model_are_refused():
    with pytest.raises(ValueError, match="`unet_overrides` needs `preset`"):
        further("me/network", unet_overrides={"sample_size": 16})


# The Hub


def test_pipelines_networks_and_checkpoints_come_from_the_hub_without_what_is_not_needed(
    cascade, pipeline_folder, fake_hub, tmp_path
):
    fake_hub.upload_folder("me/pipeline", pipeline_folder)
    config = super_resolution("me/pipeline", noise_schedule="initial", prediction_type="epsilon")
    initial = load_initial(config)
    assert_same_weights(initial.unet, cascade.sr_unet)
    assert not any("base_unet" in path for path in fake_hub.downloaded())

    random_unet("tiny-base", 5).save_pretrained(tmp_path / "checkpoint" / "ema")
    (tmp_path / "checkpoint" / "optimizer.pt").write_bytes(b"large")
    fake_hub.upload_folder("me/network", tmp_path / "checkpoint" / "ema")
    fake_hub.upload_folder("me/checkpoint", tmp_path / "checkpoint")
    for source in ("me/network", "me/checkpoint"):
        assert_same_weights(load_initial(further(source)).unet, random_unet("tiny-base", 5))
    assert "optimizer.pt" not in fake_hub.downloaded()


@pytest.mark.parametrize("source", ["me/nothing", "runs/that/is/not/there"])
def test_what_is_neither_a_folder_nor_on_the_hub_is_refused(fake_hub, source):
    with pytest.raises(ValueError, match=f"a folder or the id of a repository on the Hub, {source} is neither"):
        load_initial(further(source))


def test_a_hub_that_cannot_be_reached_is_named(fake_hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(OSError, match="`initial_model` me/nothing is no folder here, and it cannot be read"):
        load_initial(further("me/nothing"))
