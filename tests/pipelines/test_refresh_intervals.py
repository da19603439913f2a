# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Features that are kept for some steps: an interval of one changes nothing, a longer one does what a bare loop does."""

import pytest
import torch
from tiny_cascade import TINY_REFERENCE, cascade_inputs, random_unet, tiny_cascade

from diffusers_tryon import TryOnCascadePipeline
from diffusers_tryon.schedules import create_scheduler


STEPS = 7


def timestep_cascade() -> TryOnCascadePipeline:
    return tiny_cascade(with_sr=False, garment_time_conditioning=True)


def reference_cascade() -> TryOnCascadePipeline:
    pipe = TryOnCascadePipeline(
        base_unet=random_unet("reference-128", 0, **{**TINY_REFERENCE, "sample_size": 16}),
        base_scheduler=create_scheduler("dpmsolver++"),
        image_noising_scheduler=create_scheduler("ddpm"),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def start_noise() -> torch.Tensor:
    return torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(3))


def run(pipe: TryOnCascadePipeline, **arguments) -> torch.Tensor:
    call = {**cascade_inputs(), "num_inference_steps": STEPS, "latents": start_noise(), "last_stage": "base"}
    return pipe(**{**call, **arguments}).images


@torch.no_grad()
def bare_loop(pipe: TryOnCascadePipeline, garment_interval: int = 1, encoder_interval: int = 1) -> torch.Tensor:
    """What `run` should make: the halves of guidance apart, and what is kept written out."""
    inputs = cascade_inputs()
    unet, scheduler, processor = pipe.base_unet, pipe.base_scheduler, pipe.image_processor
    agnostic = processor.preprocess(inputs["agnostic_image"], 16, 16, "agnostic_image")
    garment = processor.preprocess(inputs["garment_image"], 16, 16, "garment_image")
    poses = {name: torch.from_numpy(inputs[name]) for name in ("person_pose", "garment_pose")}
    scheduler.set_timesteps(STEPS)
    latents = start_noise() * scheduler.init_noise_sigma
    kept = {}
    for number, timestep in enumerate(scheduler.timesteps):
        if number % garment_interval == 0:
            features = unet.encode_garment(garment, timestep=timestep.float(), **poses)
        samples = {}
        for half in (False, True):
            output = unet(
                scheduler.scale_model_input(latents, timestep),
                timestep.float(),
                agnostic,
                garment_features=features,
                conditioning_mask=torch.tensor([half]),
                person_features=None if number % encoder_interval == 0 else kept[half],
                return_person_features=True,
                **poses,
            )
            kept[half], samples[half] = output.person_features, output.sample
        guided = samples[False] + 2.0 * (samples[True] - samples[False])
        latents = scheduler.step(guided, timestep, latents, return_dict=False)[0]
    return latents.clamp(-1, 1)


@pytest.fixture(params=[tiny_cascade, timestep_cascade, reference_cascade], ids=["cached", "timestep", "reference"])
def pipe(request):
    return request.param()


@pytest.mark.parametrize("sequential", [False, True])
def test_an_interval_of_one_changes_nothing(pipe, sequential):
    plain = run(pipe, sequential_guidance=sequential)
    intervals = {"garment_refresh_interval": 1, "encoder_refresh_interval": 1}
    assert torch.equal(run(pipe, sequential_guidance=sequential, **intervals), plain)


@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize("garment_interval, encoder_interval", [(1, 1), (3, 1), (1, 2), (1, 5), (2, 3)])
def test_the_loop_keeps_what_a_bare_loop_keeps(pipe, garment_interval, encoder_interval, sequential):
    result = run(
        pipe,
        sequential_guidance=sequential,
        garment_refresh_interval=garment_interval,
        encoder_refresh_interval=encoder_interval,
    )
    torch.testing.assert_close(result, bare_loop(pipe, garment_interval, encoder_interval), rtol=1e-3, atol=1e-4)


def test_a_longer_interval_is_an_approximation():
    pipe = timestep_cascade()
    plain = run(pipe)
    assert not torch.allclose(run(pipe, garment_refresh_interval=3), plain, atol=1e-4)
    assert not torch.allclose(run(pipe, encoder_refresh_interval=3), plain, atol=1e-4)


def test_a_garment_stream_without_the_timestep_stays_exact():
    pipe = tiny_cascade()
    assert torch.equal(run(pipe, garment_refresh_interval=4), run(pipe))


@pytest.mark.parametrize("sequential", [False, True])
def test_where_guidance_ends_the_way_down_runs_anew(sequential):
    pipe = tiny_cascade(with_sr=False)
    calls = []
    pipe.base_unet.register_forward_pre_hook(
        lambda module, args, kwargs: calls.append((len(kwargs["sample"]), kwargs["person_features"] is None)),
        with_kwargs=True,
    )
    run(pipe, guidance_stop=4 / STEPS, encoder_refresh_interval=3, sequential_guidance=sequential)
    fresh = [True, False, False, True, True, False, True]
    if sequential:
        assert calls == [(1, new) for new in fresh[:4] for _ in range(2)] + [(1, new) for new in fresh[4:]]
    else:
        assert calls == [(2, new) for new in fresh[:4]] + [(1, new) for new in fresh[4:]]


def test_a_callback_that_changes_the_pose_is_heard():
    pipe = tiny_cascade(with_sr=False)
    other = torch.rand(1, 18, 3)
    changed = run(
        pipe,
        callback_on_step_end=lambda pipe, step, timestep, tensors: {"person_pose": other},
        callback_on_step_end_tensor_inputs=["person_pose"],
    )
    assert not torch.equal(changed, run(pipe))


def test_a_garment_stream_that_sees_the_pose_hears_a_callback_between_its_steps():
    pipe, other = timestep_cascade(), torch.rand(1, 18, 3)
    encode, poses = pipe.base_unet.encode_garment, []
    pipe.base_unet.encode_garment = lambda *args, **kwargs: (
        poses.append(kwargs["person_pose"]) or encode(*args, **kwargs)
    )
    run(
        pipe,
        garment_refresh_interval=STEPS,
        callback_on_step_end=lambda pipe, step, timestep, tensors: {"person_pose": other} if step == 2 else {},
        callback_on_step_end_tensor_inputs=["person_pose"],
    )
    assert [torch.equal(pose, other) for pose in poses] == [False, True]


@pytest.mark.parametrize("name", ["garment_refresh_interval", "encoder_refresh_interval"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True])
def test_intervals_are_whole_numbers_from_one_on(name, value):
    with pytest.raises(ValueError, match=name):
        run(tiny_cascade(), **{name: value})
