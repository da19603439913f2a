# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The base stage's outputs in the super-resolution stage's training: those of the pipeline, for the rows drawn."""

import dataclasses

import pytest
import torch
from safetensors.torch import load_file, save_file
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


def test_the_pictures_depend_on_seed_step_and_index_alone(stage, batch):
    draw = draw_batch(stage.config, 5, list(range(8)), stage.size)
    together = stage.prepare(batch, draw)[1]
    for row in draw.takes_base_output.nonzero().flatten().tolist():
        alone = {name: value[row : row + 1] for name, value in batch.items()}
        single = stage.prepare(alone, draw_batch(stage.config, 5, [row], stage.size))[1]
        torch.testing.assert_close(single[0], together[row], rtol=0, atol=1e-5)
    row = int(draw.takes_base_output.nonzero()[0])
    alone = {name: value[row : row + 1] for name, value in batch.items()}
    one, other = (stage.base_outputs.sample(alone, torch.tensor([seed])) for seed in (1, 2))
    assert (one - other).abs().mean() > 0.01


def test_the_loss_reaches_the_network_through_a_base_output_and_stops_there(stage, batch):
    unet = random_unet("tiny-sr", 1, sample_size=SR_SIZE)
    output = stage.loss(unet, batch, 5, list(range(8)))
    chosen = output.draw.takes_base_output
    photographs = dataclasses.replace(stage.config, base_output_probability=0.0)
    plain = TrainingStage(photographs, unet, CPU, None, create_scheduler("ddpm")).loss(unet, batch, 5, list(range(8)))
    assert chosen.any() and (output.squared_error[chosen] != plain.squared_error[chosen]).all()
    torch.testing.assert_close(output.squared_error[~chosen], plain.squared_error[~chosen], rtol=1e-5, atol=0)
    output.loss.mean().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in unet.parameters() if parameter.grad is not None)
    assert all(parameter.grad is None for parameter in stage.base_outputs.pipeline.base_unet.parameters())


def test_validation_always_enlarges_photographs(stage, batch):
    unet = random_unet("tiny-sr", 1, sample_size=SR_SIZE)
    plain = TrainingStage(stage.config, unet, CPU, None, create_scheduler("ddpm"))
    timesteps, noise = torch.arange(8) * 100, torch.zeros(8, 3, SR_SIZE, SR_SIZE)
    assert torch.equal(stage.loss_at(unet, batch, timesteps, noise), plain.loss_at(unet, batch, timesteps, noise))


def test_a_row_in_which_nobody_is_visible_keeps_its_photograph(stage, batch):
    # The pipeline refuses such a row, and one of them must not end a run.
    draw = draw_batch(stage.config, 5, list(range(8)), stage.size)
    row = int(draw.takes_base_output.nonzero()[0])
    poses = batch["person_pose"].clone()
    poses[row] = 0
    hidden = batch | {"person_pose": poses}
    found, expected = stage.prepare(hidden, draw)[1], stage.prepare(batch, draw)[1]
    assert torch.equal(found[row], stage.prepare(batch)[1][row])
    others = [number for number in range(8) if number != row]
    torch.testing.assert_close(found[others], expected[others], rtol=0, atol=1e-5)


def test_of_a_cascade_the_base_stage_alone_is_loaded_in_the_precision_of_the_run(config, stage, batch, tmp_path):
    tiny_cascade().save_pretrained(tmp_path)
    outputs = BaseOutputs(dataclasses.replace(config, base_model=str(tmp_path), mixed_precision="bf16"), CPU)
    assert outputs.pipeline.sr_unet is None and outputs.size == (BASE_SIZE, BASE_SIZE)
    assert outputs.pipeline.base_unet.dtype == torch.bfloat16
    seeds = torch.arange(8)
    with torch.autocast("cpu", torch.bfloat16):
        pictures = outputs.sample(batch, seeds)
    assert pictures.dtype == torch.float32 and pictures.abs().max() <= 1
    assert (pictures - stage.base_outputs.sample(batch, seeds)).abs().mean() < 0.05


def test_making_pictures_takes_nothing_of_the_run_s_random_numbers(stage, batch):
    before = torch.get_rng_state()
    stage.loss(random_unet("tiny-sr", 1, sample_size=SR_SIZE), batch, 5, list(range(8)))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_base_model_that_is_none_is_named(config, tmp_path):
    random_unet("tiny-base", 0).save_pretrained(tmp_path / "unet")
    for name in ("broken", "incomplete"):
        tiny_cascade().save_pretrained(tmp_path / name)
    weights = tmp_path / "broken" / "base_unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    for name in ("nowhere", "unet", "broken"):
        with pytest.raises(
            ValueError, match=f"`base_model` .*{name} cannot be loaded as a pipeline with a base stage"
        ):
            BaseOutputs(dataclasses.replace(config, base_model=str(tmp_path / name)), CPU)
    weights = tmp_path / "incomplete" / "base_unet" / "diffusion_pytorch_model.safetensors"
    save_file({name: value for name, value in load_file(weights).items() if name != "conv_out.weight"}, weights)
    with pytest.raises(ValueError, match="`base_model` .*incomplete lacks 1 of its weights, such as conv_out.weight"):
        BaseOutputs(dataclasses.replace(config, base_model=str(tmp_path / "incomplete")), CPU)


def test_a_base_model_of_another_size_is_named(config, tmp_path):
    with pytest.raises(ValueError, match="`low_res_size` is 12, but `base_model` makes pictures of 16 x 16 pixels"):
        BaseOutputs(dataclasses.replace(config, low_res_size=12), CPU)
    tall = random_unet("tiny-sr", 1, sample_size=(32, 16))
    outputs = BaseOutputs(config, CPU)
    with pytest.raises(ValueError, match="`base_model` makes .* 16 x 16 pixels, .* enlarges pictures of 16 x 8"):
        TrainingStage(config, tall, CPU, None, create_scheduler("ddpm"), outputs)


def test_a_base_scheduler_without_seeds_is_named(config, tmp_path):
    pytest.importorskip("torchsde")
    tiny_cascade(False, "dpm-sde").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="has a DPMSolverSDEScheduler .* does not follow from `seed`"):
        BaseOutputs(dataclasses.replace(config, base_model=str(tmp_path)), CPU)


def test_steps_that_the_base_scheduler_cannot_take_are_named(config, tmp_path):
    tiny_cascade(False, "lcm").save_pretrained(tmp_path)
    settings = dataclasses.replace(config, base_model=str(tmp_path), base_output_steps=60)
    with pytest.raises(ValueError, match="`base_output_steps` is 60, which `base_model` cannot take"):
        BaseOutputs(settings, CPU)
