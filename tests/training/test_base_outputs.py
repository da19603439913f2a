# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The base stage's outputs in the super-resolution stage's training: those of the pipeline, for the rows drawn."""

import dataclasses

import pytest
import torch
from tiny_cascade import BASE_SIZE, SR_SIZE, random_unet, tiny_cascade

from diffusers_tryon import TryOnCascadePipeline
from diffusers_tryon.schedules import create_scheduler
from diffusers_tryon.training.base_outputs import BaseOutputs
from diffusers_tryon.training.configuration import TrainingConfig
from diffusers_tryon.training.randomness import draw_batch
from diffusers_tryon.training.stage import TrainingStage


CPU = torch.device("cpu")
CONFIG = TrainingConfig(
    preset="tiny-sr",
    dataset="unused",
    output_dir="unused",
    stage="sr",
    low_res_size=BASE_SIZE,
    base_model="set by the tests",
    base_output_probability=0.5,
    base_output_steps=3,
    global_batch_size=8,
)


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> TrainingConfig:
    folder = tmp_path_factory.mktemp("pipeline")
    tiny_cascade(with_sr=False).save_pretrained(folder)
    return dataclasses.replace(CONFIG, base_model=str(folder))


@pytest.fixture(scope="module")
def stage(config) -> TrainingStage:
    unet = random_unet("tiny-sr", 1, sample_size=SR_SIZE)
    return TrainingStage(config, unet, CPU, None, create_scheduler("ddpm"), BaseOutputs(config, CPU))


@pytest.fixture(scope="module")
def batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (3, 8, 3, SR_SIZE, SR_SIZE), generator=generator, dtype=torch.uint8)
    poses = torch.rand(2, 8, 18, 3, generator=generator)
    poses[1, 3] = 0  # a flat garment
    names = ("person_image", "agnostic_image", "garment_image", "person_pose", "garment_pose")
    return dict(zip(names, (*images, *poses))) | {"row": torch.arange(8)}


def test_a_chosen_row_gets_what_the_pipeline_makes_of_it(config, stage, batch):
    draw = draw_batch(config, 5, list(range(8)), stage.size)
    assert 0 < draw.takes_base_output.sum() < 8
    _, from_photos = stage.prepare(batch)
    _, found = stage.prepare(batch, draw)
    pipeline = TryOnCascadePipeline.from_pretrained(config.base_model)
    for row in range(8):
        if not draw.takes_base_output[row]:
            assert torch.equal(found[row], from_photos[row])
            continue
        generator = torch.Generator().manual_seed(int(draw.base_output_seeds[row]))
        small = pipeline(
            agnostic_image=batch["agnostic_image"][row],
            garment_image=batch["garment_image"][row],
            person_pose=batch["person_pose"][row],
            garment_pose=batch["garment_pose"][row] if row != 3 else None,
            num_inference_steps=3,
            guidance_scale=1.0,
            generator=generator,
            output_type="latent",
        ).images
        expected = stage.processor.upsample_low_res(small, SR_SIZE, SR_SIZE, "bilinear")[0]
        torch.testing.assert_close(found[row], expected, rtol=0, atol=1e-5)
        assert (found[row] - from_photos[row]).abs().mean() > 0.1
