# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The card of a run: its code runs on what was pushed, its front matter is valid, and it invents nothing."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from PIL import Image
from tiny_cascade import BASE_SIZE, SR_SIZE, cascade_inputs, random_unet, tiny_cascade

from diffusers_tryon import ParallelUNetModel, TryOnCascadePipeline
from diffusers_tryon.hub.export import save_pipeline
from diffusers_tryon.hub.push import BackgroundPush
from diffusers_tryon.hub.run_record import RunRecord
from diffusers_tryon.hub.training_card import write_training_card
from diffusers_tryon.schedules import create_scheduler
from diffusers_tryon.training.configuration import TrainingConfig


SAMPLE = Path(__file__).parents[2] / "samples" / "rendered"


def make_record(**settings) -> RunRecord:
    """A finished run of the base stage; keywords are settings."""
    settings = {"dataset": "rendered", "output_dir": "runs/first", "preset": "tiny-base", "max_steps": 10, **settings}
    if settings.get("initial_model"):
        settings["preset"] = None
    return RunRecord(
        config=TrainingConfig(**settings).to_dict(),
        step=10,
        images=160,
        seconds=5400.0,
        num_processes=1,
        unet_class="ParallelUNetModel",
        num_parameters=1234567,
        num_trained_parameters=4321,
        sample_size=(SR_SIZE if settings.get("stage") == "sr" else BASE_SIZE,) * 2,
        metrics={
            "loss": 0.5,
            "validation_loss": 0.25,
            "validation_loss_q1": 0.9,
            "validation_loss_ema": 0.125,
            "validation_loss_ema_q4": 0.8,
            "sample_psnr": 17.254,
            "sample_psnr_guided": float("nan"),
            "images_per_second": 24.04,
        },
        environment={"git": {"commit": "abc123", "is_dirty": False}, "device": None, "versions": {"torch": "2.13.0"}},
        dataset_fingerprint="rendered, version 3, 64 px, seed 0",
        dataset_license="apache-2.0",
    )


def save_stage(folder: Path, stage: str = "base", base_model: str | None = None) -> None:
    unet = random_unet(f"tiny-{stage}", 7, sample_size=BASE_SIZE if stage == "base" else SR_SIZE)
    save_pipeline(folder, stage, unet, None, "v_prediction", create_scheduler("ddpm"), base_model)


def push(folder: Path, tmp_path: Path, repo_id: str = "me/run", path_in_repo: str = "") -> None:
    background = BackgroundPush(repo_id, False, tmp_path / "staging", pauses=())
    background.push(folder, path_in_repo, "step 10")
    assert background.close(60) == []


def run_code_of_card(card: str, tmp_path: Path, monkeypatch) -> Image.Image:
    """Run the card's examples one after another beside their inputs, and return the picture that they save."""
    code = "\n".join(re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL))
    (tmp_path / "work").mkdir()
    for name in ("agnostic.png", "garment.png", "person_pose.json", "garment_pose.json"):
        (tmp_path / "work" / name).symlink_to(SAMPLE / name)
    monkeypatch.chdir(tmp_path / "work")
    exec(compile(code, "README.md", "exec"), {})
    return Image.open("tryon.png")


def front_matter(card: str) -> dict:
    return yaml.safe_load(card.split("---\n")[1])


@pytest.mark.parametrize("path_in_repo", ["", "checkpoints/latest"])
def test_the_code_of_a_base_stages_card_runs_on_what_was_pushed(fake_hub, tmp_path, monkeypatch, path_in_repo):
    save_stage(tmp_path / "model")
    record = make_record(hub_model_id="me/run")
    card = write_training_card(tmp_path / "model", record, path_in_repo=path_in_repo).read_text()
    push(tmp_path / "model", tmp_path, path_in_repo=path_in_repo)
    assert run_code_of_card(card, tmp_path, monkeypatch).size == (BASE_SIZE, BASE_SIZE)


def test_the_code_of_a_cascades_card_runs(fake_hub, tmp_path, monkeypatch):
    save_stage(tmp_path / "base")
    push(tmp_path / "base", tmp_path, "me/base")
    save_stage(tmp_path / "model", "sr", "me/base")
    record = make_record(hub_model_id="me/run", stage="sr", low_res_size=BASE_SIZE, base_model="me/base")
    card = write_training_card(tmp_path / "model", record).read_text()
    push(tmp_path / "model", tmp_path)
    assert front_matter(card)["base_model"] == ["me/base"]
    assert "the base stage of me/base, and a super-resolution stage trained with" in card
    assert run_code_of_card(card, tmp_path, monkeypatch).size == (SR_SIZE, SR_SIZE)


@pytest.mark.parametrize("path_in_repo", ["", "checkpoints/latest"])
def test_the_code_of_a_lone_super_resolution_stage_runs_with_a_base_stage(
    fake_hub, tmp_path, monkeypatch, path_in_repo
):
    save_stage(tmp_path / "base")
    push(tmp_path / "base", tmp_path, "me/base")
    save_stage(tmp_path / "model", "sr")
    record = make_record(hub_model_id="me/run", stage="sr", low_res_size=BASE_SIZE)
    card = write_training_card(tmp_path / "model", record, path_in_repo=path_in_repo).read_text()
    push(tmp_path / "model", tmp_path, path_in_repo=path_in_repo)
    ParallelUNetModel.from_pretrained("me/run", subfolder=f"{path_in_repo}/unet".strip("/"))
    assert "without the base stage" in card and f"makes pictures of {BASE_SIZE} pixels" in card
    image = run_code_of_card(card.replace("path/to/base", "me/base"), tmp_path, monkeypatch)
    assert image.size == (SR_SIZE, SR_SIZE)


@pytest.mark.parametrize("path_in_repo", ["", "checkpoints/latest"])
def test_the_code_of_the_card_of_adapters_runs_and_changes_the_picture(fake_hub, tmp_path, monkeypatch, path_in_repo):
    peft = pytest.importorskip("peft")
    pipeline = tiny_cascade(with_sr=False)
    pipeline.save_pretrained(tmp_path / "base")
    push(tmp_path / "base", tmp_path, "me/base")
    unet = pipeline.base_unet
    unet.add_adapter(peft.LoraConfig(r=2, target_modules=["to_q", "to_v"], init_lora_weights=False))
    TryOnCascadePipeline.save_lora_weights(
        tmp_path / "model",
        base_unet_lora_layers=peft.get_peft_model_state_dict(unet),
        base_unet_lora_adapter_metadata=unet.peft_config["default"].to_dict(),
    )
    settings = {"initial_model": "me/base", "lora_rank": 2, "lora_target_modules": ("to_q", "to_v")}
    record = make_record(hub_model_id="me/run", **settings)
    card = write_training_card(tmp_path / "model", record, path_in_repo=path_in_repo).read_text()
    push(tmp_path / "model", tmp_path, path_in_repo=path_in_repo)
    data = front_matter(card)
    assert (data["base_model"], data["base_model_relation"]) == (["me/base"], "adapter") and "lora" in data["tags"]
    assert "rank 2 on to_q, to_v: 4,321 parameters" in card
    with_adapters = run_code_of_card(card, tmp_path, monkeypatch)
    (tmp_path / "work").rename(tmp_path / "first")
    without = run_code_of_card(re.sub(r"pipe.load_lora.*", "", card), tmp_path, monkeypatch)
    assert not np.array_equal(np.asarray(with_adapters), np.asarray(without))


def test_the_front_matter_is_what_the_hub_wants(fake_hub, tmp_path):
    save_stage(tmp_path / "model")
    record = make_record(
        hub_model_id="me/run", dataset="shop/catalogue", validation_dataset="rendered", hub_license="openrail"
    )
    path = write_training_card(tmp_path / "model", record)
    ModelCard.load(path).validate()
    data = front_matter(path.read_text())
    assert {name: data[name] for name in ("library_name", "pipeline_tag", "license", "datasets")} == {
        "library_name": "diffusers",
        "pipeline_tag": "image-to-image",
        "license": "openrail",
        "datasets": ["shop/catalogue"],
    }
    (model,) = data["model-index"]
    assert model["name"] == "run"
    results = {metric["name"]: metric["value"] for result in model["results"] for metric in result["metrics"]}
    assert results == {"validation_loss": 0.25, "validation_loss_ema": 0.125, "sample_psnr": 17.254}
    assert {result["dataset"]["split"] for result in model["results"]} == {"test"}


def test_the_card_says_what_is_known(tmp_path):
    save_stage(tmp_path / "model")
    for name in ("curves", "sheet"):
        Image.new("RGB", (2, 2)).save(tmp_path / f"{name}.png")
    card = write_training_card(
        tmp_path / "model", make_record(seed=1234), tmp_path / "curves.png", tmp_path / "sheet.png"
    ).read_text()
    assert "| `sample_psnr` | 17.25 dB |" in card and "| `validation_loss_ema` | 0.125 |" in card
    assert "averaged weights |" in card and "raw weights |" in card
    assert "rendered, version 3, 64 px, seed 0" in card and "| git.commit | abc123 |" in card
    assert "1.50 hours" in card and "1,234,567 parameters" in card and "24.0" in card
    assert "](samples.png)" in card and "](curves.png)" in card
    assert "rows that it was trained on" in card and "never seen a photograph" in card
    assert "sample_psnr_guided" not in card
    assert {"samples.png", "curves.png"} <= {path.name for path in (tmp_path / "model").iterdir()}
    (settings,) = re.findall(r"```yaml\n(.*?)```", card, flags=re.DOTALL)
    assert yaml.safe_load(settings)["seed"] == 1234


def test_what_is_unknown_is_said_and_not_invented(tmp_path):
    save_stage(tmp_path / "model")
    record = replace(
        make_record(dataset="shop/catalogue"),
        metrics={},
        environment={},
        seconds=None,
        dataset_license=None,
        dataset_fingerprint=None,
        step=4,
    )
    card = write_training_card(tmp_path / "model", record).read_text()
    assert front_matter(card)["license"] == "unknown" and "model-index" not in front_matter(card)
    assert "| licence of the weights | not stated" in card
    for row in ("time", "licence of the data", "fingerprint"):
        assert f"| {row} | unknown |" in card
    assert "None were measured." in card and "**not finished**" in card
    assert "weights after 4 steps" in card and "newest that were measured" not in card and ".png)" not in card
    assert "| None" not in card and "model_name" not in front_matter(card)


def test_folders_of_this_machine_appear_by_name_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("secret/catalogue").mkdir(parents=True)
    save_stage(tmp_path / "model")
    record = make_record(
        dataset="secret/catalogue",
        validation_dataset=str(tmp_path / "secret" / "catalogue"),
        initial_model="../secret/cascade",
        output_dir=str(tmp_path / "run"),
    )
    card = write_training_card(tmp_path / "model", record).read_text()
    text = card + (tmp_path / "model" / "run.json").read_text()
    assert "secret" not in text and str(tmp_path) not in text
    assert "| source | `catalogue` |" in card and "| started from | cascade |" in card
    assert "datasets" not in front_matter(card) and "base_model" not in front_matter(card)


def test_the_record_beside_the_card_makes_the_same_card_again(tmp_path):
    save_stage(tmp_path / "model")
    Image.new("RGB", (2, 2)).save(tmp_path / "curves.png")
    path = write_training_card(tmp_path / "model", make_record(output_dir=str(tmp_path)), tmp_path / "curves.png")
    card = path.read_text()
    path.unlink()
    record = RunRecord.read(tmp_path / "model")
    assert write_training_card(tmp_path / "model", record).read_text() == card


def test_a_run_of_a_push_loads_from_the_hub_and_makes_a_picture(fake_hub, tmp_path):
    save_stage(tmp_path / "model")
    write_training_card(tmp_path / "model", make_record(hub_model_id="me/run"))
    push(tmp_path / "model", tmp_path)
    push(tmp_path / "model", tmp_path, path_in_repo="checkpoints/latest")
    pipeline = TryOnCascadePipeline.from_pretrained("me/run")
    pipeline.set_progress_bar_config(disable=True)
    arguments = {**cascade_inputs(1, height=BASE_SIZE, width=BASE_SIZE), "sr_num_inference_steps": None}
    assert pipeline(**arguments).images.shape == (1, 3, BASE_SIZE, BASE_SIZE)
    unet = ParallelUNetModel.from_pretrained("me/run", subfolder="checkpoints/latest/base_unet")
    expected = pipeline.base_unet.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in unet.state_dict().items())
