# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The blocks of Modular Diffusers make the pictures of the standard pipeline."""

import numpy as np
import pytest
import torch
from diffusers import AdaptiveProjectedGuidance, ClassifierFreeGuidance, FlowMatchEulerDiscreteScheduler
from diffusers.modular_pipelines import ComponentsManager, ModularPipeline
from tiny_cascade import BASE_SIZE, SR_SIZE, TINY_REFERENCE, cascade_inputs, generators, random_unet, tiny_cascade

from diffusers_tryon import TryOnCascadePipeline
from diffusers_tryon.modular import TryOnBlocks
from diffusers_tryon.schedules import create_scheduler, swap_scheduler


NOISE_LEVELS = {"agnostic_noise_level": 300, "garment_noise_level": 200, "low_res_noise_level": 100}


@pytest.fixture(scope="module")
def cascade() -> TryOnCascadePipeline:
    return tiny_cascade()


def modular_of(cascade: TryOnCascadePipeline, blocks: TryOnBlocks | None = None, **guiders) -> ModularPipeline:
    pipe = (blocks or TryOnBlocks()).init_pipeline()
    components = {name: value for name, value in cascade.components.items() if value is not None}
    pipe.update_components(**components, **guiders)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def both(cascade: TryOnCascadePipeline, inputs: dict, guiders: dict | None = None, **guidance) -> tuple[dict, dict]:
    """The stages of the blocks and those of the standard pipeline, of the same noise."""
    batch = len(inputs["person_pose"])
    inputs = {name: value for name, value in inputs.items() if name != "generator"}
    found = modular_of(cascade, **(guiders or {}))(**inputs, generator=generators(batch), output="stages")
    expected = cascade(**inputs, generator=generators(batch), **guidance).stages
    assert list(found) == list(expected)
    return found, expected


def equal(stages: tuple[dict, dict]) -> bool:
    return all(torch.equal(stages[0][name], stages[1][name]) for name in stages[1])


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("change", [{}, {"garment_pose": None}, NOISE_LEVELS, {"height": 48, "width": 48}])
def test_the_images_are_those_of_sequential_guidance_bit_for_bit(cascade, batch, change):
    assert equal(both(cascade, {**cascade_inputs(batch=batch), **change}, sequential_guidance=True))


def test_what_must_not_change_is_put_back(cascade):
    mask = np.zeros((SR_SIZE, SR_SIZE), bool)
    mask[8:24, 8:24] = True
    assert equal(both(cascade, {**cascade_inputs(), "agnostic_mask": mask}, sequential_guidance=True))


def test_garments_whose_stream_sees_the_timestep(cascade):
    assert equal(both(tiny_cascade(garment_time_conditioning=True), cascade_inputs(batch=2), sequential_guidance=True))


@pytest.mark.parametrize("scheduler", ["ddim", "heun", "unipc", "dpmsolver++-sde", "ddpm"])
def test_with_other_schedulers(scheduler):
    assert equal(both(tiny_cascade(scheduler=scheduler), cascade_inputs(), sequential_guidance=True))


def test_batched_guidance_differs_by_rounding_only(cascade):
    found, expected = both(cascade, cascade_inputs(batch=2))
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=0, atol=1e-5)


def guider(**settings) -> ClassifierFreeGuidance:
    return ClassifierFreeGuidance(**{"guidance_scale": 2.0, **settings})


@pytest.mark.parametrize(
    "base, sr, arguments",
    [
        ({"guidance_scale": 1.0}, {"guidance_scale": 1.0}, {"guidance_scale": 1.0}),
        ({"enabled": False}, {"guidance_scale": 3.0}, {"guidance_scale": 1.0, "sr_guidance_scale": 3.0}),
        ({"stop": 0.5}, {"start": 0.34}, {"guidance_stop": 0.5, "sr_guidance_start": 0.34, "sr_guidance_stop": 1.0}),
    ],
)
def test_guiders_are_the_guidance_arguments(cascade, base, sr, arguments):
    guiders = {"base_guider": guider(**base), "sr_guider": guider(**sr)}
    assert equal(both(cascade, cascade_inputs(), guiders, sequential_guidance=True, **arguments))


def test_rescaled_guidance_differs_by_rounding_only(cascade):
    guiders = {name: guider(guidance_scale=4.0, guidance_rescale=0.7) for name in ("base_guider", "sr_guider")}
    arguments = {"guidance_scale": 4.0, "guidance_rescale": 0.7, "sequential_guidance": True}
    found, expected = both(cascade, cascade_inputs(), guiders, **arguments)
    torch.testing.assert_close(found["sr"], expected["sr"], rtol=0, atol=1e-5)


def test_another_guider_takes_their_place(cascade):
    inputs = {**cascade_inputs(), "generator": None}
    plain = AdaptiveProjectedGuidance(guidance_scale=3.0, adaptive_projected_guidance_rescale=1e9, eta=1.0)
    guiders = {"base_guider": plain, "sr_guider": guider(guidance_scale=3.0)}
    # With eta 1 nothing is projected away, and a large enough radius rescales nothing: what is left is plain guidance.
    found, expected = both(cascade, inputs, guiders, guidance_scale=3.0)
    torch.testing.assert_close(found["base"], expected["base"], rtol=0, atol=1e-4)
    strong = {"base_guider": AdaptiveProjectedGuidance(guidance_scale=3.0, eta=0.0)}
    assert not torch.allclose(both(cascade, inputs, strong)[0]["base"], expected["base"], atol=1e-3)


def test_a_call_may_stop_after_the_base_stage_or_start_above_it(cascade):
    assert list(both(cascade, {**cascade_inputs(), "last_stage": "base"}, sequential_guidance=True)[0]) == ["base"]
    latents = torch.rand(1, 3, BASE_SIZE, BASE_SIZE) * 2 - 1
    above = both(cascade, {**cascade_inputs(), "low_res_latents": latents}, sequential_guidance=True)
    assert list(above[0]) == ["sr"] and equal(above)


def test_without_a_super_resolution_stage_it_is_left_out():
    stages = both(tiny_cascade(with_sr=False), cascade_inputs(), sequential_guidance=True)
    assert list(stages[0]) == ["base"] and equal(stages)


def test_encoded_garments_are_taken(cascade):
    inputs = cascade_inputs()
    encoded = cascade.encode_garment(inputs["garment_image"], inputs["garment_pose"])
    inputs = {**inputs, "garment_image": None, "garment_pose": None, "garment_features": encoded}
    assert equal(both(cascade, inputs, sequential_guidance=True))


def test_pictures_are_of_the_type_that_is_asked_for(cascade):
    inputs = {**cascade_inputs(), "output_type": "pil"}
    state = modular_of(cascade)(**inputs)
    assert state.get("images")[0].size == (SR_SIZE, SR_SIZE)
    assert state.get("stages")["base"][0].size == (BASE_SIZE, BASE_SIZE)
    expected = cascade(**{**inputs, "generator": generators(1)}, sequential_guidance=True).images[0]
    assert np.array_equal(np.asarray(state.get("images")[0]), np.asarray(expected))


def test_a_stage_can_be_taken_out(cascade):
    blocks = TryOnBlocks()
    blocks.sub_blocks.pop("sr")
    pipe = modular_of(cascade, blocks)
    assert "sr_guider" not in pipe.components
    found = pipe(**cascade_inputs(), output="images")
    expected = cascade(**cascade_inputs(), last_stage="base", sequential_guidance=True).images
    assert torch.equal(found, expected)


def test_the_garments_encoding_can_be_taken_out_for_networks_that_see_the_timestep():
    cascade = tiny_cascade(garment_time_conditioning=True)
    blocks = TryOnBlocks()
    blocks.sub_blocks.pop("encode_garment")
    found = modular_of(cascade, blocks)(**cascade_inputs(), output="images")
    assert torch.equal(found, cascade(**cascade_inputs(), sequential_guidance=True).images)


def test_schedulers_are_swapped_by_update_components(cascade):
    pipe = modular_of(cascade)
    pipe.update_components(base_scheduler=swap_scheduler(cascade.base_scheduler, "heun"))
    other = tiny_cascade()
    other.base_scheduler = swap_scheduler(cascade.base_scheduler, "heun")
    expected = other(**cascade_inputs(), sequential_guidance=True).images
    assert torch.equal(pipe(**cascade_inputs(), output="images"), expected)
    pipe.update_components(base_scheduler=FlowMatchEulerDiscreteScheduler())
    with pytest.raises(ValueError, match="flow-matching"):
        pipe(**cascade_inputs())


def test_two_calls_do_not_touch_each_other(cascade):
    pipe = modular_of(cascade)
    first = pipe(**cascade_inputs(seed=0), output="images")
    pipe(**cascade_inputs(seed=1), output="images")
    assert torch.equal(pipe(**cascade_inputs(seed=0), output="images"), first)


def test_a_components_manager_keeps_the_components(cascade):
    manager = ComponentsManager()
    pipe = TryOnBlocks().init_pipeline(components_manager=manager)
    pipe.update_components(**cascade.components)
    pipe.set_progress_bar_config(disable=True)
    assert manager.get_one(name="sr_unet") is cascade.sr_unet
    expected = cascade(**cascade_inputs(), sequential_guidance=True).images
    assert torch.equal(pipe(**cascade_inputs(), output="images"), expected)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"person_pose": None}, "person_pose"),
        ({"garment_image": None}, "Exactly one of `garment_image` and `garment_features`"),
        ({"height": 33}, "`height` must be a multiple"),
        ({"num_inference_steps": 0}, "`num_inference_steps` must be an integer"),
        ({"output_type": "jpg"}, "`output_type` must be one of"),
        ({"last_stage": "hr"}, "`last_stage` must be one of"),
        ({"agnostic_image": np.zeros((8, 8, 3))}, None),
        ({"generator": generators(3)}, "`generator` must be a list of one generator"),
        ({"low_res_noise_level": 1000}, "`low_res_noise_level` must be an integer from 0 to 999"),
    ],
)
def test_bad_inputs_are_refused_as_by_the_pipeline(cascade, change, message):
    inputs = {**cascade_inputs(), **change}
    if message is None:
        assert modular_of(cascade)(**inputs, output="images").shape == (1, 3, SR_SIZE, SR_SIZE)
    else:
        with pytest.raises(ValueError, match=message):
            modular_of(cascade)(**inputs)


def test_what_is_not_loaded_is_named(cascade):
    with pytest.raises(ValueError, match="`base_unet` is not loaded: call `load_components"):
        TryOnBlocks().init_pipeline()(**cascade_inputs())
    pipe = modular_of(tiny_cascade(with_sr=False))
    with pytest.raises(ValueError, match="'sr' is not loaded: the pipeline has no `sr_unet`"):
        pipe(**cascade_inputs(), last_stage="sr")


def test_one_scheduler_for_both_stages_is_refused(cascade):
    pipe = modular_of(cascade)
    pipe.update_components(sr_scheduler=pipe.base_scheduler)
    with pytest.raises(ValueError, match="one object"):
        pipe(**cascade_inputs())


def test_the_document_names_inputs_components_and_blocks():
    text = TryOnBlocks().doc
    for name in ("agnostic_image", "garment_features", "sr_num_inference_steps", "base_guider", "sr_unet", "images"):
        assert name in text
    for name in ("base_plan", "stage_latents", "noise_streams"):
        assert name not in [item.name for item in TryOnBlocks().inputs]
    assert list(TryOnBlocks().sub_blocks) == ["prepare", "encode_garment", "base", "sr", "decode"]


def test_networks_of_the_reference_go_through_the_blocks():
    reference = random_unet("reference-128", 0, sample_size=BASE_SIZE, **TINY_REFERENCE)
    pipe = TryOnCascadePipeline(reference, create_scheduler("ddim"), create_scheduler("ddpm"))
    pipe.set_progress_bar_config(disable=True)
    assert equal(both(pipe, cascade_inputs(), sequential_guidance=True))
