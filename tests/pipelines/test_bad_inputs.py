# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Everything that a call refuses, each with an error that names the argument, what came and what was expected."""

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_cascade import cascade_inputs, generators, random_unet, tiny_cascade

from diffusers_tryon import TryOnCascadePipeline
from diffusers_tryon.schedules import create_scheduler


@pytest.fixture(scope="module")
def pipe() -> TryOnCascadePipeline:
    return tiny_cascade()


@pytest.fixture(scope="module")
def base_only() -> TryOnCascadePipeline:
    return tiny_cascade(with_sr=False)


def poses(shape=(1, 18, 3), value=0.5, **places) -> np.ndarray:
    array = np.full(shape, value, dtype=np.float32)
    for place, number in places.items():
        array[..., 3, {"x": 0, "y": 1, "visibility": 2}[place]] = number
    return array


PICTURE = np.zeros((32, 32, 3), np.uint8)

BAD = [
    # images
    ({"agnostic_image": PICTURE - 1.0}, r"`agnostic_image` .*\[0, 1\], got values from -1"),
    ({"agnostic_image": PICTURE + 200.0}, r"`agnostic_image` .*got values from 200 to 200"),
    ({"agnostic_image": np.full((32, 32, 3), np.nan)}, "`agnostic_image` holds NaN"),
    ({"agnostic_image": np.zeros((32, 32, 4), np.uint8)}, r"`agnostic_image` must be an array .*\(32, 32, 4\)"),
    ({"agnostic_image": torch.zeros(1, 32, 32)}, r"`agnostic_image` must be a tensor .*\(1, 32, 32\)"),
    ({"agnostic_image": None}, "`agnostic_image` must be a PIL image.*NoneType"),
    ({"agnostic_image": np.zeros((32, 64, 3), np.uint8)}, "`agnostic_image` of height 32 and width 64"),
    ({"garment_image": torch.rand(3, 32, 32) * 2 - 1}, r"`garment_image` .*\[0, 1\]"),
    ({"garment_image": Image.new("I;16", (32, 32))}, "`garment_image` .*'I;16'"),
    ({"garment_image": []}, "`garment_image` is an empty list"),
    ({"garment_image": None}, "Exactly one of `garment_image` and `garment_features`"),
    ({"garment_features": "x"}, "Exactly one of `garment_image` and `garment_features`"),
    ({"garment_image": None, "garment_features": {"base": None}}, "`garment_features` must come from `encode_garment`"),
    ({"agnostic_mask": np.zeros((2, 32, 32, 3), np.uint8)}, r"`agnostic_mask` must have one channel"),
    ({"agnostic_mask": np.full((32, 32), 3.0)}, r"`agnostic_mask` .*\[0, 1\]"),
    # poses
    ({"person_pose": None}, "`person_pose` must be given"),
    ({"person_pose": poses((1, 17, 3))}, r"`person_pose` must hold 18 .*\(1, 17, 3\)"),
    ({"person_pose": poses((1, 18, 2))}, r"`person_pose` must hold 18 .*\(1, 18, 2\)"),
    ({"person_pose": poses((1, 1, 18, 3))}, r"`person_pose` must have shape .*\(1, 1, 18, 3\)"),
    ({"person_pose": poses(x=float("nan"))}, "`person_pose` holds NaN"),
    ({"person_pose": poses(x=120.0)}, r"`person_pose` must have x and y in \[0, 1\]"),
    ({"person_pose": poses(visibility=2.0)}, "`person_pose` must have visibilities"),
    ({"person_pose": poses(value=0.0)}, "`person_pose` must have a visible keypoint, pose 0 has none"),
    ({"person_pose": [[0.0, 1.0], [0.5]]}, "`person_pose` must hold numbers"),
    ({"person_pose": "pose.json"}, "`person_pose` must hold numbers"),
    ({"garment_pose": poses((1, 25, 3))}, r"`garment_pose` must hold 18"),
    # batches
    ({"person_pose": poses((3, 18, 3)), "garment_pose": poses((2, 18, 3))}, "`garment_pose` must hold one or 3 .*got 2"),
    ({"agnostic_image": [PICTURE] * 2, "garment_image": [PICTURE] * 3}, "`agnostic_image` must hold one or 3 .*got 2"),
    ({"generator": generators(2)}, "`generator` must be a list of one generator for each of 1 images, got 2"),
    ({"generator": generators(1), "num_images_per_prompt": 3}, "for each of 3 images, got 1"),
    ({"generator": 42}, "`generator` must be a torch.Generator .*42"),
    ({"num_images_per_prompt": 0}, "`num_images_per_prompt` must be an integer from 1.*0"),
    # sizes
    ({"height": 36, "width": 36}, "`height` must be a multiple of 8 for the stage 'base', got 36"),
    ({"height": 32, "width": 34}, "`width` must be a multiple of .* got 34"),
    ({"height": 0}, "`height` must be an integer from 1"),
    ({"height": 32.0}, "`height` must be an integer from 1.*32.0"),
    ({"latents": torch.zeros(1, 3, 32, 32)}, r"`latents` must have shape \(1, 3, 16, 16\), got \(1, 3, 32, 32\)"),
    ({"sr_latents": torch.zeros(2, 3, 32, 32)}, r"`sr_latents` must have shape \(1, 3, 32, 32\)"),
    ({"last_stage": "base", "sr_latents": torch.zeros(1, 3, 32, 32)}, "`sr_latents` are given, but the stage 'sr'"),
    # the low-resolution image
    ({"low_res_image": PICTURE, "low_res_latents": torch.zeros(1, 3, 16, 16)}, "Only one of `low_res_image`"),
    ({"low_res_latents": torch.zeros(1, 3, 32, 32)}, r"`low_res_latents` must have shape \(B, 3, 16, 16\)"),
    ({"low_res_latents": torch.full((1, 3, 16, 16), 1.5)}, r"`low_res_latents` must lie in \[-1, 1\], got values from 1.5"),
    ({"low_res_latents": torch.full((1, 3, 16, 16), float("nan"))}, r"`low_res_latents` must lie in \[-1, 1\]"),
    ({"low_res_latents": np.zeros((1, 3, 16, 16))}, "`low_res_latents` must be a floating point tensor"),
    ({"low_res_latents": torch.zeros(3, 3, 16, 16)}, "low-resolution image must hold one, .*got 3"),
    ({"low_res_image": np.zeros((32, 8, 3), np.uint8)}, "`low_res_image` of height 32 and width 8"),
    ({"low_res_image": PICTURE, "last_stage": "base"}, "`last_stage` is 'base', but"),
    ({"low_res_image": PICTURE, "latents": torch.zeros(1, 3, 16, 16)}, "`latents` are given, but the stage 'base'"),
    # numbers
    ({"num_inference_steps": 0}, "`num_inference_steps` must be an integer from 1 to 1000, got 0"),
    ({"num_inference_steps": 2000}, "`num_inference_steps` must be an integer from 1 to 1000, got 2000"),
    ({"sr_num_inference_steps": 1.5}, "`sr_num_inference_steps` must be an integer"),
    ({"guidance_scale": -1.0}, "`guidance_scale` must be a number from 0"),
    ({"guidance_scale": float("nan")}, "`guidance_scale` must be a number from 0"),
    ({"guidance_scale": None}, "`guidance_scale` must be a number from 0"),
    ({"sr_guidance_scale": "2"}, "`sr_guidance_scale` must be a number from 0"),
    ({"guidance_rescale": 1.5}, "`guidance_rescale` must be a number from 0 to 1"),
    ({"guidance_start": -0.1}, "`guidance_start` must be a number from 0 to 1"),
    ({"guidance_start": 0.8, "guidance_stop": 0.2}, "`guidance_stop` must be a number from 0.8 to 1, got 0.2"),
    ({"sr_guidance_stop": 1.1}, "`sr_guidance_stop` must be a number from 0.0 to 1, got 1.1"),
    ({"eta": 2.0}, "`eta` must be a number from 0 to 1"),
    ({"agnostic_noise_level": 1000}, "`agnostic_noise_level` must be an integer from 0 to 999 or None, got 1000"),
    ({"garment_noise_level": -1}, "`garment_noise_level` must be an integer"),
    ({"low_res_noise_level": 0.2}, "`low_res_noise_level` must be an integer .*got 0.2"),
    ({"agnostic_noise_level": True}, "`agnostic_noise_level` must be an integer .*got True"),
    # choices
    ({"last_stage": "hr"}, "`last_stage` must be one of base, sr, got 'hr'"),
    ({"output_type": "jpeg"}, "`output_type` must be one of pil, np, pt, latent, got 'jpeg'"),
    (
        {"callback_on_step_end_tensor_inputs": ["latents", "prompt_embeds"]},
        "`callback_on_step_end_tensor_inputs` must be among latents, .*got prompt_embeds",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    "changes, message", BAD, ids=[f"{number}-{'-'.join(bad[0])}" for number, bad in enumerate(BAD)]
)
def test_bad_input_is_refused_before_a_network_runs(pipe, changes, message):
    def run(module, args):
        raise AssertionError("a network ran")

    handles = [unet.register_forward_pre_hook(run) for unet in (pipe.base_unet, pipe.sr_unet)]
    try:
        with pytest.raises(ValueError, match=message):
            pipe(**{**cascade_inputs(), **changes})
    finally:
        for handle in handles:
            handle.remove()


def test_the_good_input_that_the_bad_ones_differ_from_runs(pipe):
    assert pipe(**cascade_inputs()).images.shape == (1, 3, 32, 32)


@pytest.mark.parametrize(
    "changes", [{"last_stage": "sr"}, {"low_res_image": PICTURE}, {"low_res_latents": torch.zeros(1, 3, 16, 16)}]
)
def test_a_stage_that_is_not_loaded_is_named(base_only, changes):
    with pytest.raises(ValueError, match="The stage 'sr' is not loaded: the pipeline has no `sr_unet`"):
        base_only(**{**cascade_inputs(), **changes})


def test_a_stage_without_its_scheduler_is_named():
    pipe = tiny_cascade()
    pipe.sr_scheduler = None
    with pytest.raises(ValueError, match="no `sr_scheduler`"):
        pipe(**cascade_inputs())


def test_networks_in_each_others_place_are_named():
    pipe = tiny_cascade()
    pipe.sr_unet = random_unet("tiny-base", 0)
    with pytest.raises(ValueError, match="`sr_unet` is a network for the first stage"):
        pipe(**cascade_inputs())
    pipe = tiny_cascade(with_sr=False)
    pipe.base_unet = random_unet("tiny-sr", 0)
    with pytest.raises(ValueError, match="`base_unet` is a network for super-resolution"):
        pipe(**cascade_inputs())


def test_noise_needs_a_ddpm_schedule():
    pipe = tiny_cascade()
    pipe.image_noising_scheduler = create_scheduler("euler")
    with pytest.raises(ValueError, match="`agnostic_noise_level` needs a DDPMScheduler .*EulerDiscreteScheduler"):
        pipe(**cascade_inputs(), agnostic_noise_level=10)
    with pytest.raises(ValueError, match="`garment_noise_level` needs a DDPMScheduler"):
        pipe.encode_garment(PICTURE, garment_noise_level=10)


def test_encoded_garments_must_fit_the_call(pipe):
    inputs = cascade_inputs()
    garment, pose = inputs.pop("garment_image"), inputs.pop("garment_pose")
    encoded = pipe.encode_garment(garment, pose, last_stage="base")
    assert pipe(**inputs, garment_features=encoded, last_stage="base").images.shape[-1] == 16
    with pytest.raises(ValueError, match="`garment_features` were encoded without this stage, but the stage 'sr'"):
        pipe(**inputs, garment_features=pipe.encode_garment(garment, pose, last_stage="base", height=16), height=32)
    with pytest.raises(ValueError, match="encoded of 16 x 16 pixels, but the stage 'base' makes 32 x 32"):
        pipe(**inputs, garment_features=encoded, height=32, width=32, last_stage="base")
    with pytest.raises(ValueError, match="`garment_pose` and `garment_noise_level` are part of `garment_features`"):
        pipe(**inputs, garment_features=encoded, garment_pose=pose)
    encoded = pipe.encode_garment(np.stack([garment[0]] * 3), pose)
    with pytest.raises(ValueError, match="`person_pose` must hold one or 3 .*got 2"):
        pipe(**{**inputs, "person_pose": poses((2, 18, 3))}, garment_features=encoded)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"garment_image": np.zeros((32, 32), np.uint8)}, "`garment_image` must be an array"),
        ({"garment_pose": poses((1, 17, 3))}, "`garment_pose` must hold 18"),
        ({"garment_noise_level": 5000}, "`garment_noise_level` must be an integer"),
        ({"height": 30}, "`height` must be a multiple of"),
        ({"last_stage": "hr"}, "`last_stage` must be one of"),
        ({"generator": generators(2)}, "`generator` must be a list"),
        ({"garment_image": [PICTURE] * 3, "garment_pose": poses((2, 18, 3))}, "`garment_pose` must hold one or 3"),
    ],
)
def test_bad_garments_are_refused_when_they_are_encoded(pipe, changes, message):
    with pytest.raises(ValueError, match=message):
        pipe.encode_garment(**{"garment_image": PICTURE, "garment_pose": poses(), **changes})


@pytest.mark.parametrize(
    "changes", [{"person_pose": torch.full((18, 3), 0.5)}, {"person_pose": poses()[0].tolist()}, {"height": None}]
)
def test_near_misses_that_are_fine(pipe, changes):
    assert torch.isfinite(pipe(**{**cascade_inputs(), **changes}).images).all()


def test_a_callback_without_a_result_is_refused():
    with pytest.raises(ValueError, match="`callback_on_step_end` must return a dict of tensors, got None"):
        tiny_cascade()(**cascade_inputs(), callback_on_step_end=lambda *arguments: None)


@pytest.mark.parametrize("name", ["lcm", "tcd"])
def test_more_steps_than_a_distilled_scheduler_has_are_refused(name):
    pipe = tiny_cascade()
    pipe.base_scheduler = create_scheduler(name, prediction_type=pipe.base_scheduler.config.prediction_type)
    with pytest.raises(ValueError, match="`num_inference_steps` must be at most 50, .* got 51"):
        pipe(**{**cascade_inputs(), "num_inference_steps": 51})
