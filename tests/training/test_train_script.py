# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The training script as a user runs it: it learns, resumes bit for bit, and leaves a pipeline that makes a
picture."""

import json
import os
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from diffusers.training_utils import EMAModel
from PIL import Image

from diffusers_tryon import ParallelUNetModel, TryOnCascadePipeline, create_unet
from diffusers_tryon.rendering.writer import write_pairs
from diffusers_tryon.training.checkpoints import CheckpointWriter, list_checkpoints
from diffusers_tryon.training.dataset import TryOnRows


ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pool")
    write_pairs(folder, 8, 64)
    return folder


def run_script(name: str, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "training" / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def train(pool: Path, output_dir: Path, preset: str, max_steps: int, **settings) -> list[dict]:
    settings = {
        "dataset": pool,
        "output_dir": output_dir,
        "preset": preset,
        "max_steps": max_steps,
        "global_batch_size": 4,
        "lr_schedule": "constant",
        "warmup_steps": 1,
        **({"stage": "sr", "low_res_size": 32} if preset == "tiny-sr" else {}),
        "num_workers": 0,
        "log_every": 1,
        **settings,
    }
    arguments = [text for name, value in settings.items() for text in (f"--{name}", str(value))]
    result = run_script("train_tryon.py", *arguments)
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in (output_dir / "metrics.jsonl").read_text().splitlines()]


def weights(run_dir: Path) -> dict[str, torch.Tensor]:
    return ParallelUNetModel.from_pretrained(run_dir / "unet").state_dict()


@pytest.mark.parametrize(
    ("preset", "settings"),
    [("tiny-base", {"augmentation": {}}), ("tiny-sr", {"dataset": "rendered", "rendered_size": 64, "num_workers": 1})],
)
def test_resumed_run_equals_uninterrupted_run_bit_for_bit(pool, tmp_path, preset, settings):
    train(pool, tmp_path / "whole", preset, 4, **settings)
    train(pool, tmp_path / "halves", preset, 2, **settings)
    metrics = train(pool, tmp_path / "halves", preset, 4, **settings)
    assert [entry["step"] for entry in metrics] == [1, 2, 3, 4]
    whole, halves = weights(tmp_path / "whole"), weights(tmp_path / "halves")
    assert all(torch.equal(whole[name], halves[name]) for name in whole)
    assert any(value.abs().max() > 0 for name, value in whole.items() if "conv_out" in name)


def test_runs_become_a_cascade_that_makes_a_picture(pool, tmp_path):
    for preset in ("tiny-base", "tiny-sr"):
        train(pool, tmp_path / preset, preset, 2, noise_schedule="shifted_cosine" if preset == "tiny-sr" else "cosine")
    sheet = Image.open(tmp_path / "tiny-sr" / "samples" / "step-00000002.png")
    assert sheet.size == (5 * 64, 8 * 64)
    result = run_script(
        "export_pipeline.py",
        *(
            "--base",
            str(tmp_path / "tiny-base"),
            "--sr",
            str(tmp_path / "tiny-sr"),
            "--out",
            str(tmp_path / "cascade"),
        ),
    )
    assert result.returncode == 0, result.stderr
    assert str(tmp_path) not in (tmp_path / "cascade" / "base_unet" / "config.json").read_text()
    pipeline = TryOnCascadePipeline.from_pretrained(tmp_path / "cascade")
    assert pipeline.base_scheduler.config.beta_schedule == "squaredcos_cap_v2"
    # Shifting 64 pixels relative to 64 pixels changes nothing but where the last betas are capped.
    torch.testing.assert_close(
        pipeline.sr_scheduler.alphas_cumprod[:990], pipeline.base_scheduler.alphas_cumprod[:990], rtol=0, atol=1e-2
    )
    pipeline.set_progress_bar_config(disable=True)
    pose = np.full((18, 3), 0.5, dtype=np.float32)
    image = pipeline(
        agnostic_image=Image.new("RGB", (64, 64), "gray"),
        garment_image=Image.new("RGB", (64, 64), "red"),
        person_pose=pose,
        num_inference_steps=2,
        sr_num_inference_steps=2,
        generator=torch.Generator().manual_seed(0),
    ).images[0]
    assert image.size == (64, 64)


def test_loss_falls_when_few_pairs_are_repeated(pool, tmp_path):
    metrics = train(
        *(pool, tmp_path / "run", "tiny-base", 200),
        learning_rate=3e-3,
        global_batch_size=8,
        sample_every=1000,
        checkpoint_every=1000,
    )
    losses = [entry["loss"] for entry in metrics]
    assert np.mean(losses[-20:]) < 0.65 * np.mean(losses[:5])


def test_missing_columns_are_named_before_the_first_step(tmp_path):
    (tmp_path / "data").mkdir()
    datasets.Dataset.from_dict({"person_pose": [[0.0]]}).to_parquet(tmp_path / "data" / "train-00000-of-00001.parquet")
    result = run_script(
        "train_tryon.py",
        *("--preset", "tiny-base", "--dataset", str(tmp_path / "data"), "--output_dir", str(tmp_path / "run")),
    )
    assert result.returncode != 0
    assert "person_image, agnostic_image, agnostic_mask, garment_image, garment_pose" in result.stderr


def broken_pool(tmp_path: Path, change) -> Path:
    """A pool of four rows of which `change` spoils one."""
    write_pairs(tmp_path / "good", 4, 64)
    rows = datasets.Dataset.from_parquet(str(next((tmp_path / "good").glob("*.parquet"))))
    spoiled = [dict(row) for row in rows.cast_column("person_image", datasets.Image(decode=False))]
    change(spoiled[2])
    (tmp_path / "bad").mkdir()
    datasets.Dataset.from_list(spoiled, features=rows.features).to_parquet(tmp_path / "bad" / "train-0.parquet")
    return tmp_path / "bad"


def test_a_truncated_image_is_named_with_its_row(tmp_path):
    def truncate(row):
        row["person_image"]["bytes"] = row["person_image"]["bytes"][:300]

    rows = TryOnRows(str(broken_pool(tmp_path, truncate)))
    assert rows[1]["person_image"].shape == (64, 64, 3)
    with pytest.raises(ValueError, match="Row 2 of the dataset .* cannot be read: `person_image` is no picture"):
        rows[2]


def test_a_pose_in_pixels_is_named_with_its_row(tmp_path):
    def in_pixels(row):
        row["person_pose"] = (np.asarray(row["person_pose"]) * [64, 64, 1]).tolist()

    rows = TryOnRows(str(broken_pool(tmp_path, in_pixels)))
    with pytest.raises(ValueError, match="Row 2 of the dataset .*person_pose.* must have x and y in \\[0, 1\\]"):
        rows[2]


def test_a_gradient_that_is_not_finite_stops_before_the_weights_change(pool, tmp_path):
    train(pool, tmp_path, "tiny-base", 2, checkpoint_every=1)
    good = (tmp_path / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()
    settings = {"dataset": pool, "output_dir": tmp_path, "preset": "tiny-base", "global_batch_size": 4}
    settings |= {"max_steps": 6, "checkpoint_every": 1, "learning_rate": 1e30, "num_workers": 0}
    result = run_script(
        "train_tryon.py", *(text for name, value in settings.items() for text in (f"--{name}", str(value)))
    )
    assert result.returncode != 0
    assert "The gradient is not finite at step" in result.stderr
    assert (tmp_path / "unet" / "diffusion_pytorch_model.safetensors").read_bytes() == good
    newest = list_checkpoints(tmp_path)[-1]
    state = torch.load(newest / "state.pt", weights_only=True)
    assert all(torch.isfinite(value).all() for value in state["optimizer"]["state"][0].values())


@pytest.mark.slow
def test_two_processes_equal_one(pool, tmp_path):
    train(pool, tmp_path / "one", "tiny-base", 3, micro_batch_size=2, augmentation={})
    settings = {"dataset": pool, "output_dir": tmp_path / "two", "preset": "tiny-base", "global_batch_size": 4}
    settings |= {"max_steps": 3, "lr_schedule": "constant", "warmup_steps": 1, "num_workers": 0, "log_every": 1}
    settings |= {"augmentation": {}}
    # On CPUs `accelerate launch` starts one process whatever it is told.
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29517"]
    arguments = [text for name, value in settings.items() for text in (f"--{name}", str(value))]
    result = subprocess.run(
        [sys.executable, *launch, str(ROOT / "training" / "train_tryon.py"), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "ACCELERATE_USE_CPU": "true"},
    )
    assert result.returncode == 0, result.stderr
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=0, atol=1e-5, msg=name)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("truncated", "`output_dir` has checkpoints, but none is whole"),
        ("of another network", "`output_dir` has a checkpoint that this run cannot resume from"),
    ],
)
def test_a_checkpoint_that_cannot_be_resumed_is_named(tmp_path, damage, message):
    unet = create_unet("tiny-sr" if damage == "of another network" else "tiny-base")
    ema, optimizer = EMAModel(unet.parameters()), torch.optim.AdamW(unet.parameters())
    state = {"unet": unet.state_dict(), "ema": ema.state_dict(), "optimizer": optimizer.state_dict(), "step": 4}
    CheckpointWriter(tmp_path, keep=1).save(4, lambda folder: torch.save(state, folder / "state.pt"))
    if damage == "truncated":
        path = tmp_path / "checkpoints" / "step-00000004" / "state.pt"
        os.truncate(path, path.stat().st_size // 2)
    result = run_script(
        "train_tryon.py", "--preset", "tiny-base", "--dataset", "unused", "--output_dir", str(tmp_path)
    )
    assert result.returncode != 0
    assert f"ValueError: {message}" in result.stderr
    assert "step-00000004" in result.stderr
