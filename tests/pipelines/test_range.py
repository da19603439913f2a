# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""One value range everywhere: the super-resolution network sees in the pipeline what it saw in training.

The reference implementation hands images in [0, 1] to a second stage that was trained on [-1, 1], and its results are
tinted.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from gaussian_unet import GaussianUNet
from tiny_cascade import random_unet, tiny_cascade

from diffusers_tryon import TryOnCascadePipeline, TryOnImageProcessor
from diffusers_tryon.schedules import create_scheduler
from diffusers_tryon.training.base_outputs import BaseOutputs
from diffusers_tryon.training.batches import downsampled_image, prepare_images
from diffusers_tryon.training.configuration import TrainingConfig
from diffusers_tryon.training.randomness import draw_batch
from diffusers_tryon.training.stage import TrainingStage


IMAGE_COLUMNS = ("person_image", "agnostic_image", "garment_image")

COLORS = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "red": (255, 0, 0),
    "dark blue": (10, 20, 90),
    "grey": (128, 128, 128),
}


class PictureUNet(GaussianUNet):
    """A base network that knows the picture it has to make."""

    def __init__(self, picture: torch.Tensor):
        super().__init__(sample_size=16)
        self.deviation.data.fill_(1e-3)
        self.picture = picture

    def mean(self, garment_features, low_res_image, conditioning_mask):
        return self.picture


def photo() -> np.ndarray:
    """A person image that has every colour of `COLORS` in it, and gradients and stripes beside them."""
    image = np.zeros((32, 32, 3), dtype=np.uint8)
    image[:16] = np.linspace(0, 255, 32, dtype=np.uint8)[None, :, None]
    image[8:16, ::2] = 255
    for number, color in enumerate(COLORS.values()):
        image[16:, 6 * number : 6 * number + 8] = color
    return image


def seen_in_training(image: np.ndarray, mode: str) -> torch.Tensor:
    """The low-resolution condition that the training loop makes of a person image of a data set."""
    batch = {name: torch.from_numpy(image).permute(2, 0, 1)[None] for name in IMAGE_COLUMNS}
    batch |= {name: torch.zeros(1, 18, 3) for name in ("person_pose", "garment_pose")}
    processor = TryOnImageProcessor()
    images = prepare_images(batch, processor, (32, 32))
    small = downsampled_image(images["person_image"], processor, 16)
    return processor.upsample_low_res(small, 32, 32, mode)


def seen_after_a_base_output(image: np.ndarray, pipe: TryOnCascadePipeline, folder: Path) -> torch.Tensor:
    """The condition that the training loop makes of the base stage's picture of that data set's row."""
    tiny_cascade(with_sr=False).save_pretrained(folder)
    config = TrainingConfig(
        preset="tiny-sr",
        dataset="unused",
        output_dir="unused",
        stage="sr",
        low_res_size=16,
        base_model=str(folder),
        base_output_probability=1.0,
        base_output_steps=20,
        global_batch_size=1,
    )
    base_outputs = BaseOutputs(config, torch.device("cpu"))
    base_outputs.pipeline.base_unet, base_outputs.pipeline.base_scheduler = pipe.base_unet, pipe.base_scheduler
    stage = TrainingStage(config, pipe.sr_unet, torch.device("cpu"), None, pipe.image_noising_scheduler, base_outputs)
    batch = {name: torch.from_numpy(image).permute(2, 0, 1)[None] for name in IMAGE_COLUMNS}
    batch |= {name: torch.full((1, 18, 3), 0.5) for name in ("person_pose", "garment_pose")}
    return stage.prepare(batch, draw_batch(config, 0, [0], stage.size))[1]


def seen_in_the_pipeline(image: np.ndarray, scheduler: str, **arguments) -> tuple[torch.Tensor, TryOnCascadePipeline]:
    """The condition that the super-resolution network gets after a base stage that makes the small `image`."""
    processor = TryOnImageProcessor()
    small = processor.downsample(processor.preprocess(image, 32, 32), 16, 16)
    pipe = TryOnCascadePipeline(
        base_unet=PictureUNet(small),
        base_scheduler=create_scheduler(scheduler),
        image_noising_scheduler=create_scheduler("ddpm"),
        sr_unet=random_unet("tiny-sr", 1, sample_size=32),
        sr_scheduler=create_scheduler("dpmsolver++"),
    )
    pipe.set_progress_bar_config(disable=True)
    conditions = []
    pipe.sr_unet.register_forward_pre_hook(
        lambda module, args, kwargs: conditions.append(kwargs["low_res_image"]), with_kwargs=True
    )
    pose = np.full((18, 3), 0.5, dtype=np.float32)
    pipe(
        image,
        image,
        pose,
        num_inference_steps=20,
        sr_num_inference_steps=1,
        guidance_scale=1.0,
        generator=torch.Generator().manual_seed(0),
        **arguments,
    )
    return conditions[0], pipe


@pytest.mark.parametrize("scheduler", ["dpmsolver++", "euler", "ddpm", "unipc"])
def test_the_second_stage_sees_what_it_was_trained_on(scheduler):
    image = photo()
    in_training = seen_in_training(image, "bilinear")
    in_pipeline, _ = seen_in_the_pipeline(image, scheduler)
    assert in_training.min() < -0.99 and in_training.max() > 0.99, "the picture has black and white in it"
    torch.testing.assert_close(in_pipeline, in_training, rtol=0, atol=0.02)
    torch.testing.assert_close(in_pipeline.mean((2, 3)), in_training.mean((2, 3)), rtol=0, atol=0.005)
    torch.testing.assert_close(in_pipeline.std((2, 3)), in_training.std((2, 3)), rtol=0, atol=0.005)
    assert abs(in_pipeline.min() - in_training.min()) < 0.02 and abs(in_pipeline.max() - in_training.max()) < 0.02


@pytest.mark.parametrize("scheduler", ["dpmsolver++", "euler"])
def test_training_after_a_base_output_sees_what_the_pipeline_does(tmp_path, scheduler):
    in_pipeline, pipe = seen_in_the_pipeline(photo(), scheduler)
    in_training = seen_after_a_base_output(photo(), pipe, tmp_path)
    assert in_training.dtype == in_pipeline.dtype == torch.float32
    assert in_training.min() < -0.98 and in_training.max() > 0.98, "the picture has black and white in it"
    torch.testing.assert_close(in_training, in_pipeline, rtol=0, atol=0.02)
    torch.testing.assert_close(in_training.mean((2, 3)), in_pipeline.mean((2, 3)), rtol=0, atol=0.005)
    torch.testing.assert_close(in_training.std((2, 3)), in_pipeline.std((2, 3)), rtol=0, atol=0.005)


@pytest.mark.parametrize("color", COLORS)
def test_a_color_stays_that_color(color):
    image = np.full((32, 32, 3), COLORS[color], dtype=np.uint8)
    expected = torch.tensor(COLORS[color]) / 127.5 - 1
    for seen in (seen_in_training(image, "nearest"), seen_in_the_pipeline(image, "dpmsolver++")[0]):
        torch.testing.assert_close(seen, expected[None, :, None, None].expand(1, 3, 32, 32), rtol=0, atol=0.01)


def test_the_network_says_how_its_low_resolution_image_is_enlarged(monkeypatch):
    monkeypatch.setattr(type(random_unet("tiny-sr", 1)), "low_res_interpolation", "nearest")
    in_pipeline, _ = seen_in_the_pipeline(photo(), "dpmsolver++")
    torch.testing.assert_close(in_pipeline, seen_in_training(photo(), "nearest"), rtol=0, atol=0.02)


def test_a_base_image_that_leaves_the_range_is_brought_back(tmp_path):
    # Euler has no clipping, and this network wants brighter than white.
    conditions = []
    pipe = TryOnCascadePipeline(
        base_unet=PictureUNet(torch.tensor([1.7, -2.0, 0.0])[None, :, None, None].expand(1, 3, 16, 16)),
        base_scheduler=create_scheduler("euler"),
        image_noising_scheduler=create_scheduler("ddpm"),
        sr_unet=random_unet("tiny-sr", 1, sample_size=32),
        sr_scheduler=create_scheduler("dpmsolver++"),
    )
    pipe.set_progress_bar_config(disable=True)
    pipe.sr_unet.register_forward_pre_hook(
        lambda module, args, kwargs: conditions.append(kwargs["low_res_image"]), with_kwargs=True
    )
    image = np.zeros((32, 32, 3), np.uint8)
    output = pipe(
        image, image, np.full((18, 3), 0.5), num_inference_steps=10, sr_num_inference_steps=1, output_type="np"
    )
    seen = conditions[0][0].mean((1, 2))
    torch.testing.assert_close(seen, torch.tensor([1.0, -1.0, 0.0]), rtol=0, atol=0.01)
    np.testing.assert_allclose(output.stages["base"].mean((0, 1, 2)), [1.0, 0.0, 0.5], atol=0.01)
    in_training = seen_after_a_base_output(image, pipe, tmp_path)[0].mean((1, 2))
    torch.testing.assert_close(in_training, torch.tensor([1.0, -1.0, 0.0]), rtol=0, atol=0.01)


@pytest.mark.parametrize("output_type", ["pil", "np", "pt"])
def test_a_base_image_handed_on_by_the_user_keeps_its_range(output_type):
    """The reference's mistake, made by hand, is impossible: images in [0, 1] are always taken for what they are."""
    image = photo()
    expected, pipe = seen_in_the_pipeline(image, "dpmsolver++")
    arguments = {
        "agnostic_image": image,
        "garment_image": image,
        "person_pose": np.full((18, 3), 0.5),
        "num_inference_steps": 20,
        "sr_num_inference_steps": 1,
        "guidance_scale": 1.0,
    }
    base = pipe(
        **arguments, last_stage="base", output_type=output_type, generator=torch.Generator().manual_seed(0)
    ).images
    conditions = []
    pipe.sr_unet.register_forward_pre_hook(
        lambda module, args, kwargs: conditions.append(kwargs["low_res_image"]), with_kwargs=True
    )
    pipe(**arguments, low_res_image=base)
    torch.testing.assert_close(conditions[0], expected, rtol=0, atol=0.005)


def test_raw_images_are_refused_where_others_are_expected():
    _, pipe = seen_in_the_pipeline(photo(), "dpmsolver++")
    raw = torch.rand(1, 3, 16, 16) * 2 - 1
    arguments = {"agnostic_image": photo(), "garment_image": photo(), "person_pose": np.full((18, 3), 0.5)}
    with pytest.raises(ValueError, match=r"`low_res_image` .* must lie in \[0, 1\]"):
        pipe(**arguments, low_res_image=raw)
    with pytest.raises(ValueError, match=r"`agnostic_image` .* must lie in \[0, 1\]"):
        pipe(**{**arguments, "agnostic_image": raw})
    with pytest.raises(ValueError, match=r"`low_res_latents` must lie in \[-1, 1\]"):
        pipe(**arguments, low_res_latents=raw * 2)
