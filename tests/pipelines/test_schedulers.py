# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Every usable scheduler in either stage: against a sampling loop written out here, and against the known result.

The known result is that of a network that is the exact denoiser of normal pixels (`gaussian_unet.py`): solvers of the
probability-flow equation must turn the start noise into mean + deviation * noise, pixel by pixel; those that add noise
must end in pixels of that mean and deviation.
"""

import copy
import functools
import inspect
import math
from typing import NamedTuple

import diffusers
import numpy as np
import pytest
import torch
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from gaussian_unet import DEVIATION, SHARE, GaussianUNet
from tiny_cascade import cascade_inputs, tiny_cascade

from diffusers_tryon import TryOnCascadePipeline
from diffusers_tryon.pipelines.noise_streams import NoiseStreams
from diffusers_tryon.schedules import SCHEDULERS, check_scheduler, create_scheduler, swap_scheduler


POSE = np.full((18, 3), 0.5, dtype=np.float32)
GARMENT = np.broadcast_to(np.array([0.9, 0.0, 0.2], dtype=np.float32), (32, 32, 3))
GARMENT_COLOR = torch.tensor([0.8, -1.0, -0.6])[None, :, None, None]


class Accuracy(NamedTuple):
    """What a right loop reaches in a number of steps, with some room, and a wrong one does not.

    Attributes:
        steps: denoising steps.
        pixels: root mean square error against the probability-flow result; None where noise is added.
        deviation: relative error of the pixels' standard deviation; None where the pixels are known.
    """

    steps: int
    pixels: float | None = None
    deviation: float | None = None


ACCURACY = {
    "ddpm": Accuracy(250, deviation=0.08),
    "ddpm-parallel": Accuracy(250, deviation=0.08),
    "ddim": Accuracy(100, pixels=0.0082),
    "ddim-parallel": Accuracy(100, pixels=0.0082),
    "dpmsolver++": Accuracy(100, pixels=0.0019),
    "dpmsolver++-sde": Accuracy(100, deviation=0.05),
    "dpmsolver++-singlestep": Accuracy(100, pixels=0.0045),
    "deis": Accuracy(100, pixels=0.0019),
    "unipc": Accuracy(100, pixels=0.0022),
    "sa-solver": Accuracy(100, deviation=0.05),
    "euler": Accuracy(100, pixels=0.0082),
    "euler-ancestral": Accuracy(500, deviation=0.06),
    "lms": Accuracy(100, pixels=0.0005),
    "heun": Accuracy(100, pixels=0.0022),
    "kdpm2": Accuracy(100, pixels=0.0025),
    "kdpm2-ancestral": Accuracy(100, deviation=0.04),
    "dpm-sde": Accuracy(100, deviation=0.05),
    "pndm": Accuracy(100, pixels=0.0040),
}
# Made for distilled networks, which jump to the image in each step: no sampler of the normal distribution.
DISTILLED = ("lcm", "tcd")

# Fewer end in NaN, and are refused.
FEW_STEPS = {"euler-ancestral": 8, "kdpm2-ancestral": 8}

NO_SAMPLE_PREDICTION = ("euler-ancestral", "kdpm2", "kdpm2-ancestral", "dpm-sde", "pndm")
CASES = [
    (name, prediction_type)
    for name in SCHEDULERS
    for prediction_type in ("epsilon", "v_prediction", "sample")
    if not (prediction_type == "sample" and name in NO_SAMPLE_PREDICTION)
]


@functools.cache
def first_scheduler(name: str, prediction_type: str) -> SchedulerMixin:
    # The noise of dpm-sde does not come from generators.
    config = {"noise_sampler_seed": 0} if name == "dpm-sde" else {}
    return create_scheduler(name, prediction_type=prediction_type, **config)


def make_scheduler(name: str, prediction_type: str = "v_prediction") -> SchedulerMixin:
    return copy.deepcopy(first_scheduler(name, prediction_type))


def gaussian_pipeline(name: str, prediction_type: str) -> TryOnCascadePipeline:
    pipe = TryOnCascadePipeline(
        base_unet=GaussianUNet(prediction_type, sample_size=16),
        base_scheduler=make_scheduler(name, prediction_type),
        image_noising_scheduler=create_scheduler("ddpm"),
        sr_unet=GaussianUNet(prediction_type, sample_size=32, low_res_conditioning=True),
        sr_scheduler=make_scheduler(name, prediction_type),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def bare_loop(unet, scheduler, noise, steps, generator, guidance_scale, mistake=None, **conditions) -> torch.Tensor:
    """Sampling as in a textbook, one pass for each kind of condition. `mistake` names what to do wrong."""
    keep_none = torch.zeros(len(noise), dtype=torch.bool)
    scheduler.set_timesteps(steps)
    accepted = inspect.signature(scheduler.step).parameters
    arguments = {key: value for key, value in (("generator", generator), ("eta", 0.0)) if key in accepted}
    sample = noise if mistake == "start noise not scaled" else noise * scheduler.init_noise_sigma
    for number, timestep in enumerate(scheduler.timesteps):
        scaled = scheduler.scale_model_input(sample, timestep)
        if mistake == "input not scaled":
            scaled = sample
        if mistake == "timestep of the step after":
            following = scheduler.timesteps[min(number + 1, len(scheduler.timesteps) - 1)]
            times = following.float().expand(len(noise))
        elif mistake == "number of the step for its timestep":
            times = torch.full((len(noise),), float(number))
        else:
            times = timestep.float().expand(len(noise))
        scaled = scaled.to(unet.dtype)
        prediction = unet(scaled, times, **conditions).sample.float()
        if guidance_scale > 1:
            null = unet(scaled, times, conditioning_mask=keep_none, **conditions).sample.float()
            prediction = null + guidance_scale * (prediction - null)
        sample = scheduler.step(prediction, timestep, sample, **arguments).prev_sample
        if mistake == "noise in half precision":
            sample = sample.half().float()
    return sample.clamp(-1, 1)


def test_the_cases_are_all_usable_schedulers():
    assert set(ACCURACY) | set(DISTILLED) == set(SCHEDULERS)
    usable = set()
    for name in (
        diffusers.schedulers.__all__ if hasattr(diffusers.schedulers, "__all__") else dir(diffusers.schedulers)
    ):
        if not name.endswith("Scheduler"):
            continue
        try:
            check_scheduler(getattr(diffusers, name)(prediction_type="v_prediction"))
        except (AttributeError, TypeError, ValueError, ImportError):
            continue
        usable.add(name)
    assert usable == {setup.class_name for setup in SCHEDULERS.values()}


@pytest.mark.parametrize("name, prediction_type", CASES)
def test_both_stages_equal_a_bare_loop(name, prediction_type):
    steps, noise = FEW_STEPS.get(name, 5), {16: normal(2, 3, 16, 16), 32: normal(2, 3, 32, 32)}
    low_res = normal(2, 3, 16, 16, seed=1).clamp(-1, 1)
    for guidance_scale in (1.0, 3.0):
        pipe = gaussian_pipeline(name, prediction_type)
        small, large = (
            pipe.image_processor.preprocess(GARMENT, size, size).expand(2, -1, -1, -1) for size in (16, 32)
        )
        common = {
            "agnostic_image": GARMENT,
            "garment_image": GARMENT,
            "person_pose": np.stack([POSE, POSE]),
            "guidance_scale": guidance_scale,
            "output_type": "latent",
        }
        output = pipe(
            **common,
            last_stage="base",
            num_inference_steps=steps,
            latents=noise[16],
            generator=torch.Generator().manual_seed(7),
        ).images
        streams = NoiseStreams(torch.Generator().manual_seed(7))
        expected = bare_loop(
            pipe.base_unet,
            make_scheduler(name, prediction_type),
            noise[16],
            steps,
            streams.generator("base.steps"),
            guidance_scale,
            agnostic_image=small,
            garment_image=small,
        )
        assert torch.equal(output, expected)
        output = pipe(
            **common,
            low_res_latents=low_res,
            sr_num_inference_steps=steps,
            sr_latents=noise[32],
            generator=torch.Generator().manual_seed(7),
        ).images
        expected = bare_loop(
            pipe.sr_unet,
            make_scheduler(name, prediction_type),
            noise[32],
            steps,
            streams.generator("sr.steps"),
            guidance_scale,
            agnostic_image=large,
            garment_image=large,
            low_res_image=low_res.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3),
        )
        assert torch.equal(output, expected)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_whole_cascade_of_networks_equals_bare_loops(name):
    pipe = tiny_cascade()
    for unet in (pipe.base_unet, pipe.sr_unet):
        # Random networks with large outputs blow up from step to step how one pass of two rows rounds differently from
        # two of one. The loop's own rounding, in float32, is the same.
        unet.double().conv_out.weight.data.mul_(0.1)
    pipe.base_scheduler, pipe.sr_scheduler = make_scheduler(name), make_scheduler(name)
    inputs = cascade_inputs(seed=3)
    inputs["num_inference_steps"] = FEW_STEPS.get(name, 3)
    inputs["sr_num_inference_steps"] = FEW_STEPS.get(name, 2)
    inputs["generator"] = torch.Generator().manual_seed(7)
    latents, sr_latents = normal(1, 3, 16, 16), normal(1, 3, 32, 32, seed=1)
    output = pipe(**inputs, latents=latents, sr_latents=sr_latents, guidance_scale=1.5)

    streams = NoiseStreams(torch.Generator().manual_seed(7))
    small, large = [
        {
            "agnostic_image": pipe.image_processor.preprocess(inputs["agnostic_image"], size, size).double(),
            "garment_image": pipe.image_processor.preprocess(inputs["garment_image"], size, size).double(),
            "person_pose": torch.from_numpy(inputs["person_pose"]),
            "garment_pose": torch.from_numpy(inputs["garment_pose"]),
        }
        for size in (16, 32)
    ]
    with torch.no_grad():
        base = bare_loop(
            pipe.base_unet,
            make_scheduler(name),
            latents,
            inputs["num_inference_steps"],
            streams.generator("base.steps"),
            1.5,
            **small,
        )
        torch.testing.assert_close(output.stages["base"], base, rtol=0, atol=1e-4)
        enlarged = torch.nn.functional.interpolate(output.stages["base"], size=(32, 32), mode="bilinear")
        large["low_res_image"] = enlarged.double()
        final = bare_loop(
            pipe.sr_unet,
            make_scheduler(name),
            sr_latents,
            inputs["sr_num_inference_steps"],
            streams.generator("sr.steps"),
            1.5,
            **large,
        )
    torch.testing.assert_close(output.images, final, rtol=0, atol=1e-4)


def assert_normal_result(images: torch.Tensor, noise: torch.Tensor, mean: torch.Tensor, accuracy: Accuracy) -> None:
    if accuracy.pixels is not None:
        expected = (mean + DEVIATION * noise).clamp(-1, 1)
        error = (images - expected).square().mean().sqrt().item()
        assert error < accuracy.pixels, f"root mean square error {error:.5f}"
        return
    residual = images - mean
    # Chance leaves the mean of 3072 pixels uncertain by DEVIATION / 55, their deviation by 1 in 78.
    assert abs(residual.mean()) < 3 * DEVIATION / math.sqrt(residual.numel()), f"mean {residual.mean():.5f}"
    assert abs(residual.std() / DEVIATION - 1) < accuracy.deviation, f"deviation {residual.std() / DEVIATION:.4f}"


@pytest.mark.parametrize("name, prediction_type", [case for case in CASES if case[0] not in DISTILLED])
def test_the_base_stage_ends_in_the_known_images(name, prediction_type):
    accuracy = ACCURACY[name]
    pipe = gaussian_pipeline(name, prediction_type)
    noise = normal(1, 3, 32, 32)
    guidance_scale = 2.0 if prediction_type == "v_prediction" else 1.0
    images = pipe(
        GARMENT,
        GARMENT,
        POSE,
        height=32,
        width=32,
        last_stage="base",
        num_inference_steps=accuracy.steps,
        guidance_scale=guidance_scale,
        latents=noise,
        generator=torch.Generator().manual_seed(0),
        output_type="latent",
    ).images
    # Guidance moves the mean: the null network's is 0.
    assert_normal_result(images, noise, guidance_scale * SHARE * GARMENT_COLOR, accuracy)


@pytest.mark.parametrize("name", ACCURACY)
def test_the_super_resolution_stage_ends_in_the_known_images(name):
    accuracy = ACCURACY[name]
    pipe = gaussian_pipeline(name, "v_prediction")
    noise, low_res = normal(1, 3, 32, 32), normal(1, 3, 16, 16, seed=1).clamp(-1, 1)
    images = pipe(
        GARMENT,
        GARMENT,
        POSE,
        low_res_latents=low_res,
        sr_num_inference_steps=accuracy.steps,
        guidance_scale=1.0,
        sr_latents=noise,
        generator=torch.Generator().manual_seed(0),
        output_type="latent",
    ).images
    large = low_res.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    assert_normal_result(images, noise, SHARE * (GARMENT_COLOR + large), accuracy)


@pytest.mark.parametrize(
    "name, mistake",
    [
        *((name, "timestep of the step after") for name, accuracy in ACCURACY.items() if accuracy.pixels),
        *(
            (name, "number of the step for its timestep")
            for name in ACCURACY
            if name not in ("ddpm", "ddpm-parallel", "dpm-sde")
        ),
        *((name, "input not scaled") for name in ("euler", "euler-ancestral", "heun", "lms", "kdpm2")),
        *((name, "start noise not scaled") for name in ("euler", "heun", "lms", "kdpm2")),
        *((name, "noise in half precision") for name in ("heun", "kdpm2")),
    ],
)
def test_the_accuracies_tell_a_wrong_loop(name, mistake):
    noise = normal(1, 3, 32, 32)
    garment = GARMENT_COLOR.expand(1, 3, 32, 32)
    images = bare_loop(
        GaussianUNet("v_prediction"),
        make_scheduler(name),
        noise,
        ACCURACY[name].steps,
        torch.Generator().manual_seed(0),
        1.0,
        mistake,
        agnostic_image=garment,
        garment_image=garment,
    )
    with pytest.raises(AssertionError):
        assert_normal_result(images, noise, SHARE * GARMENT_COLOR, ACCURACY[name])


@pytest.mark.parametrize("stage", ["base", "sr"])
@pytest.mark.parametrize(
    "make, reason",
    [
        (diffusers.FlowMatchEulerDiscreteScheduler, "flow-matching"),
        (diffusers.EDMEulerScheduler, "EDM"),
        (lambda: diffusers.KDPM2DiscreteScheduler(prediction_type="sample"), "no formula"),
    ],
)
def test_unusable_schedulers_are_refused_before_anything_runs(stage, make, reason):
    pipe = tiny_cascade()
    setattr(pipe, f"{stage}_scheduler", make())
    with pytest.raises(ValueError, match=rf"`{stage}_scheduler` is a \w+, which cannot be used: .*{reason}"):
        pipe(**cascade_inputs())


def test_one_scheduler_object_for_both_stages_is_refused():
    pipe = tiny_cascade()
    pipe.sr_scheduler = pipe.base_scheduler
    with pytest.raises(ValueError, match="`base_scheduler` and `sr_scheduler` are one object"):
        pipe(**cascade_inputs())
    pipe(**{**cascade_inputs(), "last_stage": "base"})


def test_the_progress_bar_counts_steps_for_every_order(capsys):
    for name in ("ddim", "heun", "kdpm2", "pndm"):
        pipe = tiny_cascade(with_sr=False)
        pipe.base_scheduler = swap_scheduler(pipe.base_scheduler, name)
        pipe.set_progress_bar_config(disable=False)
        pipe(**{**cascade_inputs(), "num_inference_steps": 4})
        last = capsys.readouterr().err.rstrip().split("\r")[-1]
        assert last.startswith("base (1/1): 100%") and " 4/4 " in last


def test_a_number_of_steps_that_would_end_in_nan_is_refused():
    pipe = tiny_cascade()
    pipe.sr_scheduler = swap_scheduler(pipe.sr_scheduler, "kdpm2-ancestral")
    with pytest.raises(ValueError, match="`sr_scheduler`, a KDPM2.* cannot take 2 steps"):
        pipe(**cascade_inputs())
