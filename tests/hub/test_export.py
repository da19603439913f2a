# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The folder that a run leaves: it loads, says nothing of this machine, and is never half written."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_cascade import BASE_SIZE, SR_SIZE, cascade_inputs, random_unet, tiny_cascade

from diffusers_tryon import ParallelUNetModel, TryOnCascadePipeline
from diffusers_tryon.hub.export import check_base_model, load_components, save_pipeline
from diffusers_tryon.schedules import create_scheduler, reference_linear_betas, shifted_cosine_betas


ROOT = Path(__file__).parents[2]
NOISING = create_scheduler("ddpm")


def network(stage: str) -> ParallelUNetModel:
    size = BASE_SIZE if stage == "base" else SR_SIZE
    return random_unet(f"tiny-{stage}", 7, sample_size=size)


def save(folder: Path, stage: str, base_model: str | None = None, **changes) -> bool:
    arguments = {
        "unet": network(stage),
        "betas": None,
        "prediction_type": "v_prediction",
        "image_noising_scheduler": NOISING,
        **changes,
    }
    return save_pipeline(folder, stage, base_model=base_model, **arguments)


@pytest.fixture(scope="module")
def base_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base") / "model"
    assert save(folder, "base", betas=shifted_cosine_betas(32), prediction_type="sample")
    return folder


def test_a_base_stage_is_a_pipeline_with_the_schedule_and_prediction_of_the_run(base_folder):
    pipeline = TryOnCascadePipeline.from_pretrained(base_folder)
    assert pipeline.base_scheduler.config.trained_betas == shifted_cosine_betas(32)
    assert pipeline.base_scheduler.config.prediction_type == "sample"
    assert pipeline.sr_unet is None
    pipeline.set_progress_bar_config(disable=True)
    inputs = cascade_inputs(1, height=BASE_SIZE, width=BASE_SIZE)
    image = pipeline(**{**inputs, "output_type": "pil", "sr_num_inference_steps": None}).images[0]
    assert image.size == (BASE_SIZE, BASE_SIZE)


def test_the_noise_of_conditioning_images_is_that_of_the_run(tmp_path):
    noising = create_scheduler("ddpm", trained_betas=reference_linear_betas())
    save(tmp_path / "model", "base", image_noising_scheduler=noising)
    pipeline = TryOnCascadePipeline.from_pretrained(tmp_path / "model")
    assert torch.equal(pipeline.image_noising_scheduler.alphas_cumprod, noising.alphas_cumprod)


def test_a_super_resolution_stage_with_its_base_stage_is_a_cascade(base_folder, tmp_path):
    assert save(tmp_path / "model", "sr", str(base_folder), betas=shifted_cosine_betas(64))
    pipeline = TryOnCascadePipeline.from_pretrained(tmp_path / "model")
    assert pipeline.base_scheduler.config.trained_betas == shifted_cosine_betas(32)
    assert pipeline.sr_scheduler.config.trained_betas == shifted_cosine_betas(64)
    for name, stage in (("base_unet", "base"), ("sr_unet", "sr")):
        expected = network(stage).state_dict()
        assert all(torch.equal(value, expected[key]) for key, value in getattr(pipeline, name).state_dict().items())
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline(**cascade_inputs(1)).images.shape == (1, 3, SR_SIZE, SR_SIZE)


def test_only_the_base_stage_is_taken_of_a_whole_cascade_on_the_hub(fake_hub, tmp_path):
    tiny_cascade().save_pretrained(tmp_path / "cascade")
    fake_hub.upload_folder("me/cascade", tmp_path / "cascade")
    assert save(tmp_path / "model", "sr", "me/cascade")
    assert not any(path.startswith("sr_") for path in fake_hub.downloaded())
    pipeline = TryOnCascadePipeline.from_pretrained(tmp_path / "model")
    expected = network("sr").state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in pipeline.sr_unet.state_dict().items())


def test_a_super_resolution_stage_alone_is_joined_later(base_folder, tmp_path):
    assert not save(tmp_path / "run" / "model", "sr")
    assert sorted(path.name for path in (tmp_path / "run" / "model").iterdir()) == [
        "image_noising_scheduler",
        "scheduler",
        "unet",
    ]
    ParallelUNetModel.from_pretrained(tmp_path / "run" / "model", subfolder="unet")
    result = export("--base", base_folder, "--sr", tmp_path / "run", "--out", tmp_path / "both", "--dtype", "bfloat16")
    assert result.returncode == 0, result.stderr
    pipeline = TryOnCascadePipeline.from_pretrained(tmp_path / "both", dtype=torch.bfloat16)
    expected = network("sr").to(torch.bfloat16).state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in pipeline.sr_unet.state_dict().items())
    weights = tmp_path / "both" / "sr_unet" / "diffusion_pytorch_model.safetensors"
    assert weights.stat().st_size < 0.6 * (tmp_path / "run/model/unet" / weights.name).stat().st_size


def export(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "training" / "export_pipeline.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_export_script_ends_with_one_line_if_a_run_has_no_model(tmp_path):
    script = runpy.run_path(str(ROOT / "training" / "export_pipeline.py"))
    with pytest.raises(SystemExit, match="holds no base stage: neither a pipeline nor the folder `model`"):
        script["main"](base=tmp_path, out=tmp_path / "both")
    assert not (tmp_path / "both").exists()


def test_no_configuration_names_a_folder_of_this_machine(base_folder, tmp_path):
    unet = ParallelUNetModel.from_pretrained(base_folder, subfolder="base_unet")
    save(tmp_path / "again", "base", unet=unet)
    save(tmp_path / "cascade", "sr", str(tmp_path / "again"))
    texts = [path.read_text() for path in tmp_path.rglob("*.json")]
    assert len(texts) >= 10
    assert not any(str(tmp_path) in text or str(base_folder) in text for text in texts)


def test_stages_whose_conditioning_images_were_noised_differently_are_refused_and_nothing_is_lost(
    base_folder, tmp_path
):
    save(tmp_path / "model", "sr")
    noising = create_scheduler("ddpm", trained_betas=reference_linear_betas())
    with pytest.raises(ValueError, match="different `image_noising_scheduler`s"):
        save(tmp_path / "model", "sr", str(base_folder), image_noising_scheduler=noising)
    assert (tmp_path / "model" / "unet").is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_base_model_that_cannot_be_joined_is_refused_before_training(base_folder, tmp_path):
    check_base_model(str(base_folder), NOISING)
    with pytest.raises(ValueError, match="different `image_noising_scheduler`s"):
        check_base_model(str(base_folder), create_scheduler("ddpm", trained_betas=reference_linear_betas()))
    with pytest.raises(ValueError, match="`base_model` must be a pipeline, got"):
        check_base_model(str(tmp_path), NOISING)


def test_a_write_that_fails_leaves_the_folder_as_it_was(tmp_path, monkeypatch):
    save(tmp_path / "model", "base")
    before = (tmp_path / "model" / "base_unet" / "config.json").read_text()

    def full(*arguments, **keywords):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ParallelUNetModel, "save_pretrained", full)
    with pytest.raises(OSError, match="No space left"):
        save(tmp_path / "model", "base", prediction_type="sample")
    assert (tmp_path / "model" / "base_unet" / "config.json").read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_saving_again_replaces_the_folder(tmp_path):
    save(tmp_path / "model", "sr")
    (tmp_path / "model" / "old.txt").write_text("")
    save(tmp_path / "model", "base", prediction_type="epsilon")
    assert not (tmp_path / "model" / "old.txt").exists() and not (tmp_path / "model" / "unet").exists()
    config = json.loads((tmp_path / "model" / "base_scheduler" / "scheduler_config.json").read_text())
    assert config["prediction_type"] == "epsilon"


def test_a_stage_that_a_pipeline_does_not_have_is_named(base_folder):
    with pytest.raises(ValueError, match="has no sr stage"):
        load_components(base_folder, "sr")
