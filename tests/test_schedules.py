# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Beta lists against the laws they state, and which schedulers are made, swapped and refused."""

import json
import math

import diffusers
import numpy as np
import pytest
import torch

from diffusers_tryon.schedules import (
    DEFAULT_SCHEDULER,
    DEFAULT_STEPS,
    PAPER_STEPS,
    SCHEDULERS,
    check_scheduler,
    check_steps,
    cosine_betas,
    create_scheduler,
    log_snr,
    reference_cosine_betas,
    reference_linear_betas,
    shifted_cosine_betas,
    swap_scheduler,
)


NO_SAMPLE_PREDICTION = ("euler-ancestral", "kdpm2", "kdpm2-ancestral", "dpm-sde", "pndm")


def alphas_cumprod(betas: list[float]) -> np.ndarray:
    return np.cumprod(1 - np.asarray(betas, dtype=np.float64))


def test_cosine_betas_are_the_cosine_schedule_of_diffusers():
    ours = create_scheduler("ddpm", trained_betas=cosine_betas())
    theirs = diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2")
    torch.testing.assert_close(ours.alphas_cumprod, theirs.alphas_cumprod, rtol=1e-5, atol=0)


@pytest.mark.parametrize("image_size", [64, 128, 256, (128, 96), 32])
def test_shifted_cosine_moves_the_log_snr_by_twice_the_log_of_the_ratio(image_size):
    side = image_size if isinstance(image_size, int) else math.sqrt(image_size[0] * image_size[1])
    times = np.arange(1, 1000) / 1000
    expected = -2 * np.log(np.tan(np.pi * times / 2)) + 2 * np.log(64 / side)
    levels = alphas_cumprod(shifted_cosine_betas(image_size))[:-1]
    np.testing.assert_allclose(np.log(levels / (1 - levels)), expected, atol=1e-6)


def test_betas_stay_between_zero_and_their_cap():
    for betas in (cosine_betas(), shifted_cosine_betas(256), reference_cosine_betas(), reference_linear_betas()):
        assert len(betas) == 1000
        assert min(betas) > 0 and max(betas) <= 0.999


@pytest.mark.parametrize("image_size, base_size", [(0, 64), (64, 0), (-8, 64)])
def test_shifted_cosine_refuses_sizes_that_are_not_positive(image_size, base_size):
    with pytest.raises(ValueError, match="must be positive"):
        shifted_cosine_betas(image_size, base_size)


@pytest.mark.parametrize(
    "betas, law",
    [
        (
            reference_cosine_betas,
            lambda t: -np.log(np.maximum(np.cos((t + 0.008) / 1.008 * np.pi / 2) ** -2 - 1, 1e-5)),
        ),
        (reference_linear_betas, lambda t: -np.log(np.expm1(1e-4 + 10 * t**2))),
    ],
)
def test_reference_betas_give_a_scheduler_the_continuous_law_at_every_timestep(betas, law):
    scheduler = create_scheduler("ddpm", trained_betas=betas())
    expected = law(np.arange(1000) / 1000)
    # The scheduler multiplies 1000 float32 factors; the first levels are so near 1 that this costs the most there.
    np.testing.assert_allclose(log_snr(scheduler.alphas_cumprod).numpy(), expected, atol=2e-3)
    levels = alphas_cumprod(betas())
    np.testing.assert_allclose(np.log(levels / (1 - levels)), expected, atol=1e-9)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_name_gives_its_class_with_the_betas_and_a_json_round_trip(name, prediction_type, tmp_path):
    betas = shifted_cosine_betas(128)
    if prediction_type == "sample" and name in NO_SAMPLE_PREDICTION:
        with pytest.raises(ValueError, match="no formula for `prediction_type` 'sample'"):
            create_scheduler(name, trained_betas=betas, prediction_type=prediction_type)
        return
    scheduler = create_scheduler(name, trained_betas=betas, prediction_type=prediction_type)
    assert type(scheduler).__name__ == SCHEDULERS[name].class_name
    assert scheduler.config.prediction_type == prediction_type
    scheduler.save_pretrained(tmp_path)
    loaded = type(scheduler).from_pretrained(tmp_path)
    assert torch.equal(loaded.betas, torch.tensor(betas))
    for key, value in scheduler.config.items():
        assert key.startswith("_") or loaded.config[key] == value
    assert json.loads((tmp_path / "scheduler_config.json").read_text())["trained_betas"] == betas


def test_configuration_given_by_the_caller_wins():
    assert create_scheduler("ddpm", clip_sample=False).config.clip_sample is False
    assert create_scheduler("euler", use_karras_sigmas=True).config.use_karras_sigmas is True


@pytest.mark.parametrize("name", SCHEDULERS)
def test_swapping_keeps_schedule_and_prediction_type_and_leaves_the_original(name):
    original = create_scheduler("ddpm", trained_betas=shifted_cosine_betas(96), prediction_type="v_prediction")
    before = dict(original.config)
    swapped = swap_scheduler(original, name)
    assert type(swapped).__name__ == SCHEDULERS[name].class_name
    assert swapped.config.prediction_type == "v_prediction"
    assert torch.equal(swapped.betas, original.betas)
    assert swapped is not original and dict(original.config) == before
    for key, value in SCHEDULERS[name].config.items():
        assert swapped.config[key] == value
    back = swap_scheduler(swapped, "ddpm")
    assert torch.equal(back.betas, original.betas)


def test_swapping_to_a_scheduler_without_the_prediction_type_is_refused():
    original = create_scheduler("ddpm", prediction_type="sample")
    with pytest.raises(ValueError, match="EulerAncestralDiscreteScheduler, which cannot be used: it has no formula"):
        swap_scheduler(original, "euler-ancestral")


@pytest.mark.parametrize("make", [create_scheduler, lambda name: swap_scheduler(create_scheduler("ddpm"), name)])
def test_unknown_names_list_the_known_ones(make):
    with pytest.raises(ValueError, match="must be one of ddpm, .*got 'euler-a'"):
        make("euler-a")


@pytest.mark.parametrize(
    "make, reason",
    [
        (diffusers.FlowMatchEulerDiscreteScheduler, "flow-matching"),
        (diffusers.FlowMatchHeunDiscreteScheduler, "flow-matching"),
        (lambda: diffusers.UniPCMultistepScheduler(use_flow_sigmas=True), "flow-matching"),
        (lambda: diffusers.DPMSolverMultistepScheduler(prediction_type="flow_prediction"), "flow_prediction"),
        (diffusers.EDMEulerScheduler, "EDM"),
        (diffusers.EDMDPMSolverMultistepScheduler, "EDM"),
        (diffusers.IPNDMScheduler, "parametrisation of its own"),
        (diffusers.CMStochasticIterativeScheduler, "parametrisation of its own"),
        (diffusers.UnCLIPScheduler, "previous timestep"),
        (diffusers.CogVideoXDDIMScheduler, "video"),
        (diffusers.CogVideoXDPMScheduler, "needs more than"),
        (diffusers.RePaintScheduler, "needs more than"),
        (diffusers.DDIMInverseScheduler, "image to the noise"),
        (diffusers.DPMSolverMultistepInverseScheduler, "image to the noise"),
        (lambda: diffusers.DDPMScheduler(num_train_timesteps=500), "is 500"),
        (lambda: diffusers.DDPMScheduler(variance_type="learned_range"), "predicts no variance"),
        (lambda: diffusers.DDIMScheduler(rescale_betas_zero_snr=True), "no signal"),
        (
            lambda: diffusers.EulerDiscreteScheduler(prediction_type="v_prediction", timestep_type="continuous"),
            "'continuous'",
        ),
        (lambda: diffusers.KDPM2DiscreteScheduler(prediction_type="sample"), "no formula"),
        (lambda: diffusers.PNDMScheduler(prediction_type="epsilon"), "skip_prk_steps"),
    ],
)
def test_schedulers_that_cannot_work_are_refused_with_the_reason(make, reason):
    with pytest.raises(ValueError, match=rf"`sr_scheduler` is a \w+, which cannot be used: .*{reason}"):
        check_scheduler(make(), name="sr_scheduler")


def test_a_scheduler_set_to_another_prediction_type_is_refused():
    with pytest.raises(ValueError, match="'epsilon', and the network's 'v_prediction'"):
        check_scheduler(create_scheduler("ddim", prediction_type="epsilon"), "v_prediction")


def test_the_stated_steps():
    assert PAPER_STEPS == {"base": 256, "sr": 128}
    assert DEFAULT_SCHEDULER in SCHEDULERS and DEFAULT_STEPS.keys() == PAPER_STEPS.keys()


@pytest.mark.parametrize("name", ["euler-ancestral", "kdpm2-ancestral"])
@pytest.mark.parametrize("image_size", [64, 128, 256])
def test_numbers_of_steps_are_refused_exactly_where_the_samples_become_nan(name, image_size):
    refused = []
    scheduler = create_scheduler(name, trained_betas=shifted_cosine_betas(image_size))
    for steps in (*range(1, 17), 20, 25, 50):
        scheduler.set_timesteps(steps)
        try:
            check_steps(scheduler, steps)
        except ValueError as error:
            assert f"cannot take {steps} steps" in str(error)
            refused.append(steps)
        sample = torch.ones(1, 1, 2, 2) * scheduler.init_noise_sigma
        for timestep in scheduler.timesteps:
            scheduler.scale_model_input(sample, timestep)
            sample = scheduler.step(torch.zeros_like(sample), timestep, sample).prev_sample
        assert torch.isfinite(sample).all() == (steps not in refused)
    assert max(refused, default=0) < 20


@pytest.mark.parametrize(
    "name, steps, is_warned",
    [("ddim", 250, False), ("ddim", 30, False), ("ddim", 256, True), ("pndm", 128, True), ("dpmsolver++", 256, False)],
)
def test_uneven_steps_are_warned_of_where_they_harm(name, steps, is_warned, caplog):
    scheduler = create_scheduler(name)
    scheduler.set_timesteps(steps)
    check_steps(scheduler, steps)
    assert ("leaves noise after" in caplog.text) == is_warned
    assert not is_warned or "Take 250 or 333." in caplog.text or "Take 125 or 142." in caplog.text


@pytest.mark.parametrize("steps", [10, 20, 30])
def test_heun_by_name_takes_no_giant_first_step(steps):
    # Evenly in time its first step is a factor of hundreds, behind which images were wrong.
    scheduler = create_scheduler("heun", prediction_type="sample")
    scheduler.set_timesteps(steps)
    sigmas = scheduler.sigmas[scheduler.sigmas > 0].unique().flip(0)
    torch.testing.assert_close(
        sigmas[:-1] / sigmas[1:], (sigmas[0] / sigmas[1]).expand(len(sigmas) - 1), rtol=1e-2, atol=0
    )


def test_a_refusal_lists_only_what_would_be_taken():
    scheduler = create_scheduler("dpmsolver++", prediction_type="sample")
    with pytest.raises(ValueError) as refusal:
        swap_scheduler(scheduler, "euler-ancestral")
    usable = str(refusal.value).split("These can: ")[1].split(" (")[0].split(", ")
    assert "heun" in usable and "euler" in usable
    assert not {"euler-ancestral", "kdpm2", "kdpm2-ancestral", "dpm-sde", "pndm"} & set(usable)
    for name in usable:
        swap_scheduler(scheduler, name)
