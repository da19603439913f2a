# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What is written of a batch whose loss is not finite can be looked at and repeated."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_cascade import random_unet

from diffusers_tryon.rendering.stream import RenderedRows
from diffusers_tryon.schedules import create_scheduler
from diffusers_tryon.training.configuration import TrainingConfig
from diffusers_tryon.training.dataset import collate
from diffusers_tryon.training.guards import read_failed_batch, write_failed_batch
from diffusers_tryon.training.stage import TrainingStage


CONFIG = TrainingConfig(
    preset="tiny-sr", dataset="rendered", output_dir="unused", stage="sr", low_res_size=16, global_batch_size=8
)
INDICES = [3, 5]


@pytest.fixture(scope="module")
def batch() -> dict[str, torch.Tensor]:
    rows = RenderedRows(32, 0)
    return collate([rows[number] for number in (40, 41)]) | {"row": torch.tensor([40, 41])}


@pytest.fixture(scope="module")
def unet() -> torch.nn.Module:
    return random_unet("tiny-sr", 0, sample_size=32)


@pytest.fixture(scope="module")
def stage(unet) -> TrainingStage:
    return TrainingStage(CONFIG, unet, torch.device("cpu"), None, create_scheduler("ddpm"))


def test_a_failed_batch_can_be_repeated(tmp_path, unet, stage, batch):
    output = stage.loss(unet, batch, 12, INDICES)
    path = write_failed_batch(tmp_path / "failed", 12, 1, batch, output.draw, output.loss)
    failed = read_failed_batch(path)
    assert failed.step == 12 and failed.indices == INDICES
    for name, value in batch.items():
        assert torch.equal(failed.batch[name], value) and failed.batch[name].dtype == value.dtype, name
    again = stage.loss(unet, *failed)
    assert torch.equal(again.loss, output.loss)


def test_the_record_says_what_was_drawn(tmp_path, unet, stage, batch):
    output = stage.loss(unet, batch, 12, INDICES)
    losses = torch.tensor([float("nan"), float("inf")])
    path = write_failed_batch(tmp_path, 12, 1, batch, output.draw, losses)

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    record = json.loads(path.read_text(), parse_constant=refuse)
    assert (record["step"], record["rank"]) == (12, 1)
    for place, sample in enumerate(record["samples"]):
        assert sample["index"] == INDICES[place] and sample["row"] == 40 + place
        assert sample["timestep"] == output.timesteps[place]
        for name in ("agnostic", "garment", "low_res"):
            assert sample[f"{name}_noise_level"] == getattr(output.draw, f"{name}_levels")[place]
        assert sample["conditioning_mask"] == output.draw.conditioning_mask[place]
    assert [sample["loss"] for sample in record["samples"]] == ["nan", "inf"]


def test_the_picture_shows_the_rows(tmp_path, unet, stage, batch):
    output = stage.loss(unet, batch, 12, INDICES)
    path = write_failed_batch(tmp_path, 12, 1, batch, output.draw, output.loss)
    sheet = np.asarray(Image.open(path.with_suffix(".png")))
    assert sheet.shape == (64, 96, 3)
    for column, name in enumerate(("person_image", "agnostic_image", "garment_image")):
        for row in range(2):
            shown = sheet[32 * row : 32 * row + 32, 32 * column : 32 * column + 32]
            np.testing.assert_array_equal(shown, batch[name][row].permute(1, 2, 0).numpy())


def test_batches_of_one_step_do_not_overwrite_each_other(tmp_path, unet, stage, batch):
    for rank, indices in ((0, [0, 2]), (0, [4, 6]), (1, [1, 3])):
        output = stage.loss(unet, batch, 12, indices)
        write_failed_batch(tmp_path, 12, rank, batch, output.draw, output.loss)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 9 and not any("partial" in name for name in names)
