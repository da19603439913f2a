# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What a call of the cascade returns: reproducible, the same in batches, in stages and from encoded garments."""

import numpy as np
import pytest
import torch
from diffusers.callbacks import PipelineCallback
from PIL import Image
from tiny_cascade import BASE_SIZE, SR_SIZE, TINY_REFERENCE, cascade_inputs, generators, random_unet, tiny_cascade

from diffusers_tryon import ReferenceParallelUNetModel, TryOnCascadePipeline
from diffusers_tryon.pipelines.guidance import rescale_guidance
from diffusers_tryon.pipelines.noise_streams import NoiseStreams
from diffusers_tryon.schedules import create_scheduler, reference_cosine_betas, reference_linear_betas


# Other batch sizes round differently.
BATCH_TOLERANCE = {"rtol": 0, "atol": 1e-4}
NOISE_LEVELS = {"agnostic_noise_level": 100, "garment_noise_level": 200, "low_res_noise_level": 50}


@pytest.fixture(scope="module")
def networks() -> TryOnCascadePipeline:
    pipe = tiny_cascade()
    for unet in (pipe.base_unet, pipe.sr_unet):
        # Random networks blow rounding up from step to step; in float64 there is next to none.
        unet.double().conv_out.weight.data.mul_(0.1)
    return pipe


@pytest.fixture
def pipe(networks) -> TryOnCascadePipeline:
    """A pipeline of its own for each test around the same networks."""
    pipe = TryOnCascadePipeline(
        base_unet=networks.base_unet,
        base_scheduler=create_scheduler("dpmsolver++"),
        image_noising_scheduler=create_scheduler("ddpm"),
        sr_unet=networks.sr_unet,
        sr_scheduler=create_scheduler("dpmsolver++"),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def calls(pipe):
    """The arguments of each forward of both networks, in order, as (stage, arguments)."""
    recorded = []
    handles = [
        unet.register_forward_pre_hook(
            lambda module, args, kwargs, name=name: recorded.append((name, kwargs)), with_kwargs=True
        )
        for name, unet in (("base", pipe.base_unet), ("sr", pipe.sr_unet))
    ]
    yield recorded
    for handle in handles:
        handle.remove()


def row(inputs: dict, number: int) -> dict:
    """One entry of a batch of inputs, with its own generator."""
    images = ("agnostic_image", "garment_image", "person_pose", "garment_pose", "agnostic_mask")
    single = {name: inputs[name][number] for name in images if name in inputs}
    return {**inputs, **single, "generator": generators(1, 100 + number)[0]}


# Reproducibility


@pytest.mark.parametrize("scheduler", ["dpmsolver++", "ddpm"])
def test_a_seed_gives_the_same_finite_images_every_time(scheduler):
    pipe = tiny_cascade(scheduler=scheduler)
    first = pipe(**cascade_inputs(), **NOISE_LEVELS)
    again = pipe(**cascade_inputs(), **NOISE_LEVELS)
    other = pipe(**{**cascade_inputs(), "generator": torch.Generator().manual_seed(5)}, **NOISE_LEVELS)
    assert torch.isfinite(first.images).all() and first.images.abs().max() <= 1
    assert torch.equal(first.images, again.images) and torch.equal(first.stages["base"], again.stages["base"])
    assert not torch.equal(first.images, other.images)


def test_a_generator_goes_on_from_call_to_call(pipe):
    inputs = cascade_inputs()
    inputs["generator"] = torch.Generator().manual_seed(0)
    first, second = pipe(**inputs).images, pipe(**inputs).images
    assert not torch.equal(first, second)


def test_without_a_generator_torchs_seed_rules(pipe):
    inputs = {**cascade_inputs(), "generator": None}
    torch.manual_seed(3)
    first = pipe(**inputs).images
    torch.manual_seed(3)
    assert torch.equal(first, pipe(**inputs).images)
    assert not torch.equal(first, pipe(**inputs).images)


def test_a_list_of_one_generator_is_that_generator(pipe):
    images = [pipe(**{**cascade_inputs(), "generator": one}).images for one in (generators(1), generators(1)[0])]
    assert torch.equal(*images)


def test_noise_streams_are_independent_of_each_other_and_of_their_order():
    first, second = NoiseStreams(generators(2)), NoiseStreams(generators(2))
    shape = (2, 3, 32, 32)
    a, b = first.normal("a", shape, torch.device("cpu")), first.normal("b", shape, torch.device("cpu"))
    assert torch.equal(second.normal("b", shape, torch.device("cpu")), b)
    assert torch.equal(first.normal("a", shape, torch.device("cpu")), a)
    correlations = torch.corrcoef(torch.cat([a, b]).flatten(1))
    assert (correlations - torch.eye(4)).abs().max() < 0.08
    alone = NoiseStreams(generators(2)[1]).normal("a", (1, 3, 32, 32), torch.device("cpu"))
    assert torch.equal(alone, a[1:])


# Batches


@pytest.mark.parametrize("scheduler", ["dpmsolver++", "ddpm"])
def test_batches_equal_single_images(pipe, scheduler):
    pipe.base_scheduler, pipe.sr_scheduler = create_scheduler(scheduler), create_scheduler(scheduler)
    inputs = cascade_inputs(batch=3)
    batch = pipe(**inputs, **NOISE_LEVELS)
    inputs["generator"] = generators(3)
    for number in range(3):
        single = pipe(**row(inputs, number), **NOISE_LEVELS)
        torch.testing.assert_close(batch.images[number : number + 1], single.images, **BATCH_TOLERANCE)


def test_one_garment_serves_a_batch_of_people(pipe):
    inputs = cascade_inputs(batch=2)
    shared = {**inputs, "garment_image": inputs["garment_image"][0], "garment_pose": inputs["garment_pose"][0]}
    repeated = {
        **inputs,
        "garment_image": inputs["garment_image"][[0, 0]],
        "garment_pose": inputs["garment_pose"][[0, 0]],
        "generator": generators(2),
    }
    torch.testing.assert_close(pipe(**shared).images, pipe(**repeated).images)


def test_more_images_for_each_entry_stand_side_by_side(pipe):
    inputs = {**cascade_inputs(batch=2), "generator": generators(4), "num_images_per_prompt": 2}
    images = pipe(**inputs).images
    assert images.shape == (4, 3, SR_SIZE, SR_SIZE)
    for number in range(4):
        single = {**row(cascade_inputs(batch=2), number // 2), "generator": generators(1, 100 + number)}
        torch.testing.assert_close(images[number : number + 1], pipe(**single).images, **BATCH_TOLERANCE)
    assert not torch.allclose(images[0], images[1], atol=0.1)


# Stages


@pytest.mark.parametrize("scheduler", ["dpmsolver++", "ddpm", "heun"])
def test_base_and_then_the_rest_equal_the_whole_cascade(pipe, scheduler):
    pipe.base_scheduler, pipe.sr_scheduler = create_scheduler(scheduler), create_scheduler(scheduler)
    whole = pipe(**cascade_inputs(batch=2), **NOISE_LEVELS)
    base = pipe(**cascade_inputs(batch=2), **NOISE_LEVELS, last_stage="base")
    assert list(base.stages) == ["base"] and base.images.shape == (2, 3, BASE_SIZE, BASE_SIZE)
    assert torch.equal(base.images, whole.stages["base"])
    rest = pipe(**cascade_inputs(batch=2), **NOISE_LEVELS, low_res_latents=base.images)
    assert list(rest.stages) == ["sr"]
    assert torch.equal(rest.images, whole.images)


def test_going_on_with_several_images_for_each_entry(pipe):
    several = {"num_images_per_prompt": 2, "generator": generators(2)}
    whole = pipe(**{**cascade_inputs(), **several})
    rest = pipe(**{**cascade_inputs(), **several, "generator": generators(2)}, low_res_latents=whole.stages["base"])
    assert torch.equal(rest.images, whole.images)


def test_a_picture_can_stand_in_for_the_base_stage(pipe, calls):
    picture = np.random.default_rng(2).integers(0, 256, (SR_SIZE, SR_SIZE, 3), dtype=np.uint8)
    output = pipe(**cascade_inputs(), low_res_image=Image.fromarray(picture))
    assert list(output.stages) == ["sr"] and {stage for stage, _ in calls} == {"sr"}
    processor = pipe.image_processor
    # The super-resolution network was trained on images that had the base stage's size.
    small = processor.preprocess(picture, BASE_SIZE, BASE_SIZE)
    expected = processor.upsample_low_res(small, SR_SIZE, SR_SIZE, "bilinear")
    torch.testing.assert_close(calls[0][1]["low_res_image"][:1].float(), expected)


def test_every_stage_is_in_the_output_with_its_seconds(pipe):
    output = pipe(**{**cascade_inputs(), "output_type": "pil"})
    assert list(output.stages) == list(output.seconds) == ["base", "sr"]
    assert output.stages["base"][0].size == (BASE_SIZE, BASE_SIZE) and output.images[0].size == (SR_SIZE, SR_SIZE)
    assert output.images is output.stages["sr"] and min(output.seconds.values()) > 0
    images, stages = pipe(**{**cascade_inputs(), "output_type": "pil"}, return_dict=False)
    assert np.array_equal(np.asarray(images[0]), np.asarray(output.images[0])) and list(stages) == ["base", "sr"]


def test_there_is_a_progress_bar_for_each_stage(capsys):
    pipe = tiny_cascade()
    pipe.set_progress_bar_config(disable=False)
    pipe(**cascade_inputs())
    errors = capsys.readouterr().err
    assert "base (1/2): 100%" in errors and "sr (2/2): 100%" in errors and capsys.readouterr().out == ""


# Sizes and types


def test_images_need_not_be_square(pipe):
    inputs = cascade_inputs(height=48, width=32)
    output = pipe(**inputs, height=48, width=32)
    assert output.images.shape == (1, 3, 48, 32) and output.stages["base"].shape == (1, 3, 24, 16)
    assert pipe(**{**inputs, "generator": generators(1)}, height=24, width=16, last_stage="base").images.shape[2:] == (
        24,
        16,
    )


def test_networks_for_images_that_are_not_square_are_run_at_their_size():
    pipe = tiny_cascade()
    pipe.base_unet = random_unet("tiny-base", 0, sample_size=(24, 16))
    pipe.sr_unet = random_unet("tiny-sr", 1, sample_size=(48, 32))
    output = pipe(**cascade_inputs(height=48, width=32))
    assert output.images.shape == (1, 3, 48, 32) and output.stages["base"].shape == (1, 3, 24, 16)


def test_output_types_agree(pipe):
    latent, pt, array, pil = (
        pipe(**{**cascade_inputs(), "output_type": output_type}).images
        for output_type in ("latent", "pt", "np", "pil")
    )
    assert latent.dtype == pt.dtype == torch.float32 and array.dtype == np.float32
    torch.testing.assert_close(pt, latent / 2 + 0.5)
    np.testing.assert_array_equal(array, pt.permute(0, 2, 3, 1).numpy())
    assert np.array_equal(np.asarray(pil[0]), (array[0] * 255).round().astype(np.uint8))


def test_input_types_agree(pipe):
    inputs = cascade_inputs(batch=2)
    expected = pipe(**inputs).images
    for convert in (
        lambda images: [Image.fromarray(image) for image in images],
        lambda images: images.astype(np.float32) / 255,
        lambda images: torch.from_numpy(images).permute(0, 3, 1, 2),
        lambda images: list((torch.from_numpy(images).permute(0, 3, 1, 2) / 255).unbind()),
    ):
        images = {name: convert(inputs[name]) for name in ("agnostic_image", "garment_image")}
        torch.testing.assert_close(
            pipe(**{**inputs, **images, "generator": generators(2)}).images, expected, **BATCH_TOLERANCE
        )
    poses = {
        "person_pose": inputs["person_pose"].tolist(),
        "garment_pose": list(torch.from_numpy(inputs["garment_pose"])),
    }
    assert torch.equal(pipe(**{**inputs, **poses, "generator": generators(2)}).images, expected)


def test_no_garment_pose_is_a_pose_without_points(pipe):
    hidden = np.zeros((18, 3), dtype=np.float32)
    images = [pipe(**{**cascade_inputs(), "garment_pose": pose}).images for pose in (None, hidden)]
    assert torch.equal(*images)
    assert not torch.equal(images[0], pipe(**cascade_inputs()).images)


# Garments encoded ahead


@pytest.mark.parametrize("noise", [None, 150])
@pytest.mark.parametrize("guidance_scale", [1.0, 2.5])
def test_encoded_garments_give_the_same_images(pipe, noise, guidance_scale):
    inputs = {**cascade_inputs(batch=2), "guidance_scale": guidance_scale}
    plain = pipe(**inputs, garment_noise_level=noise)
    garment = {name: inputs.pop(name) for name in ("garment_image", "garment_pose")}
    encoded = pipe.encode_garment(**garment, garment_noise_level=noise, generator=generators(2))
    inputs["generator"] = generators(2)
    cached = pipe(**inputs, garment_features=encoded)
    assert torch.equal(plain.images, cached.images) and torch.equal(plain.stages["base"], cached.stages["base"])
    inputs["generator"] = generators(2)
    rest = pipe(**inputs, garment_features=encoded, low_res_latents=plain.stages["base"])
    assert torch.equal(plain.images, rest.images)


def test_one_encoded_garment_serves_many_people(pipe):
    inputs = cascade_inputs(batch=3)
    garment = {name: inputs.pop(name)[:1] for name in ("garment_image", "garment_pose")}
    encoded = pipe.encode_garment(**garment)
    cached = pipe(**inputs, garment_features=encoded)
    plain = pipe(**{**inputs, "generator": generators(3)}, **garment)
    torch.testing.assert_close(cached.images, plain.images, **BATCH_TOLERANCE)


def test_the_garment_stream_runs_once_for_each_stage_unless_it_sees_the_timestep(pipe, monkeypatch):
    for conditioned, expected in ((False, [1, 1]), (True, [3, 2])):
        pipe = tiny_cascade(garment_time_conditioning=conditioned)
        counts = []
        for unet in (pipe.base_unet, pipe.sr_unet):
            rows = []
            counts.append(rows)
            original = unet.encode_garment

            def encode(image, *args, rows=rows, original=original, **kwargs):
                rows.append(len(image))
                return original(image, *args, **kwargs)

            monkeypatch.setattr(unet, "encode_garment", encode)
        pipe(**cascade_inputs(batch=2), guidance_scale=3.0)
        assert [len(rows) for rows in counts] == expected
        assert all(number == 2 for rows in counts for number in rows), "null rows need no garment stream"


def test_garments_that_see_the_timestep_cannot_be_encoded_ahead():
    pipe = tiny_cascade(garment_time_conditioning=True)
    with pytest.raises(ValueError, match="`base_unet` sees the timestep"):
        pipe.encode_garment(cascade_inputs()["garment_image"])


def test_encoding_ahead_equals_the_network_run_whole(pipe):
    pipe = tiny_cascade(with_sr=False, garment_time_conditioning=True)
    inputs = cascade_inputs()
    calls = []
    pipe.base_unet.register_forward_pre_hook(lambda module, args, kwargs: calls.append(kwargs), with_kwargs=True)
    outputs = []
    pipe.base_unet.register_forward_hook(lambda module, args, output: outputs.append(output[0]))
    pipe(**inputs, guidance_scale=2.0)
    call, predicted = calls[0], outputs[0]
    garment = pipe.image_processor.preprocess(inputs["garment_image"], BASE_SIZE, BASE_SIZE).expand(2, -1, -1, -1)
    poses = {name: torch.from_numpy(inputs[name]).expand(2, -1, -1) for name in ("person_pose", "garment_pose")}
    plain = {"garment_features": None, "garment_image": garment, "encoded_conditions": None, **poses}
    with torch.no_grad():
        whole = pipe.base_unet(**{**call, **plain})[0]
    torch.testing.assert_close(predicted, whole, rtol=1e-4, atol=1e-5)


# The reference's networks


def reference_unet(sample_size: int, seed: int, low_res_conditioning: bool) -> ReferenceParallelUNetModel:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = {**TINY_REFERENCE, "layers_per_block": (1, 1), "low_res_conditioning": low_res_conditioning}
        return ReferenceParallelUNetModel(sample_size=sample_size, **config).eval()


def test_networks_of_the_reference_run_are_saved_and_batch_alike(tmp_path):
    pipe = TryOnCascadePipeline(
        base_unet=reference_unet(BASE_SIZE, 0, False).double(),
        base_scheduler=create_scheduler("ddpm", trained_betas=reference_cosine_betas(), prediction_type="epsilon"),
        image_noising_scheduler=create_scheduler("ddpm", trained_betas=reference_linear_betas()),
        sr_unet=reference_unet(SR_SIZE, 1, True).double(),
        sr_scheduler=create_scheduler("ddpm", trained_betas=reference_cosine_betas(), prediction_type="epsilon"),
    )
    pipe.set_progress_bar_config(disable=True)
    inputs = {**cascade_inputs(batch=2), **NOISE_LEVELS, "guidance_scale": 3.0}
    batch = pipe(**inputs).images
    assert torch.isfinite(batch).all()
    for number in range(2):
        torch.testing.assert_close(pipe(**row(inputs, number)).images, batch[number : number + 1], **BATCH_TOLERANCE)
    pipe.save_pretrained(tmp_path)
    loaded = TryOnCascadePipeline.from_pretrained(tmp_path, dtype=torch.float64)
    torch.testing.assert_close(loaded(**{**inputs, "generator": generators(2)}).images, batch)
    assert isinstance(loaded.sr_unet, ReferenceParallelUNetModel)


def test_the_networks_of_a_cascade_may_be_of_two_kinds(pipe):
    pipe.sr_unet = reference_unet(SR_SIZE, 1, True)
    assert pipe(**cascade_inputs()).images.shape == (1, 3, SR_SIZE, SR_SIZE)


# Guidance


def test_up_to_one_there_is_no_guidance_and_no_null_row(pipe, calls):
    images = [pipe(**cascade_inputs(), guidance_scale=scale).images for scale in (1.0, 0.5)]
    assert torch.equal(*images)
    assert all(len(arguments["sample"]) == 1 and arguments["conditioning_mask"] is None for _, arguments in calls)


def test_null_rows_have_every_condition_dropped_and_no_garment(pipe, calls):
    pipe(**cascade_inputs(batch=2), guidance_scale=2.0)
    for _, arguments in calls:
        assert arguments["conditioning_mask"].tolist() == [False, False, True, True]
        for feature in (*arguments["garment_features"].down, *arguments["garment_features"].up):
            assert (feature[:2] == 0).all() and (feature[2:] != 0).any()


@pytest.mark.parametrize(
    "interval, guided",
    [
        ({"guidance_start": 0.25, "guidance_stop": 0.75}, {"base": [0, 1, 1, 0], "sr": [0, 1, 1, 0]}),
        ({"guidance_stop": 0.5, "sr_guidance_stop": 0.0}, {"base": [1, 1, 0, 0], "sr": [0, 0, 0, 0]}),
        ({"guidance_start": 1.0, "sr_guidance_start": 0.5}, {"base": [0, 0, 0, 0], "sr": [0, 0, 1, 1]}),
        ({"sr_guidance_scale": 1.0}, {"base": [1, 1, 1, 1], "sr": [0, 0, 0, 0]}),
        ({"guidance_scale": 1.0, "sr_guidance_scale": 2.0}, {"base": [0, 0, 0, 0], "sr": [1, 1, 1, 1]}),
    ],
)
def test_guidance_is_on_in_its_interval_only(pipe, calls, interval, guided):
    pipe.base_scheduler, pipe.sr_scheduler = create_scheduler("ddim"), create_scheduler("ddim")
    pipe(**{**cascade_inputs(), "num_inference_steps": 4, "sr_num_inference_steps": 4, **interval})
    for stage in ("base", "sr"):
        seen = [int(arguments["conditioning_mask"] is not None) for name, arguments in calls if name == stage]
        assert seen == guided[stage]


@pytest.mark.parametrize("batch", [1, 2])
def test_sequential_guidance_runs_the_halves_apart_and_gives_the_same_images(pipe, calls, batch):
    inputs = {**cascade_inputs(batch=batch), **NOISE_LEVELS, "guidance_scale": 3.0, "guidance_rescale": 0.5}
    together = pipe(**inputs).images
    calls.clear()
    apart = pipe(**{**inputs, "generator": generators(batch)}, sequential_guidance=True).images
    assert {len(arguments["sample"]) for _, arguments in calls} == {batch}
    assert len(calls) == 2 * (inputs["num_inference_steps"] + inputs["sr_num_inference_steps"])
    torch.testing.assert_close(apart, together, rtol=0, atol=1e-5)


def test_rescaled_guidance_has_the_deviation_of_the_conditional_prediction():
    generator = torch.Generator().manual_seed(0)
    guided = 3 * torch.randn(2, 3, 8, 8, generator=generator) + 1
    conditional = torch.randn(2, 3, 8, 8, generator=generator)
    assert torch.equal(rescale_guidance(guided, conditional, 0.0), guided)
    whole = rescale_guidance(guided, conditional, 1.0)
    torch.testing.assert_close(whole.flatten(1).std(dim=1), conditional.flatten(1).std(dim=1))
    torch.testing.assert_close(rescale_guidance(guided, conditional, 0.25), 0.75 * guided + 0.25 * whole)


def test_rescaling_reaches_the_images(pipe):
    plain = pipe(**cascade_inputs(), guidance_scale=4.0).images
    assert not torch.equal(plain, pipe(**cascade_inputs(), guidance_scale=4.0, guidance_rescale=0.7).images)


# Noise on the conditioning images


def test_levels_and_noised_images_reach_the_networks(pipe, calls):
    inputs = cascade_inputs()
    levels = []
    for unet in (pipe.base_unet, pipe.sr_unet):
        encode = unet.encode_conditions
        unet.encode_conditions = lambda *arguments, encode=encode: levels.append(arguments[2:5]) or encode(*arguments)
    pipe(**inputs, agnostic_noise_level=400, low_res_noise_level=300, guidance_scale=1.0)
    assert levels == [(400, None, None), (400, None, 300)]
    schedule = create_scheduler("ddpm").alphas_cumprod
    for stage, arguments in calls:
        size = BASE_SIZE if stage == "base" else SR_SIZE
        clean = pipe.image_processor.preprocess(inputs["agnostic_image"], size, size)
        noise = (arguments["agnostic_image"] - schedule[400] ** 0.5 * clean) / (1 - schedule[400]) ** 0.5
        assert abs(noise.mean()) < 0.15 and abs(noise.std() - 1) < 0.1


def test_no_level_leaves_the_images_as_they_are(pipe, calls):
    inputs = cascade_inputs()
    pipe(**inputs)
    clean = pipe.image_processor.preprocess(inputs["agnostic_image"], SR_SIZE, SR_SIZE)
    assert torch.equal(calls[-1][1]["agnostic_image"][:1].float(), clean)


def test_timesteps_reach_the_networks_as_float32_tensors(pipe, calls):
    pipe(**cascade_inputs(batch=2), guidance_scale=2.0)
    for _, arguments in calls:
        assert arguments["timestep"].dtype == torch.float32 and arguments["timestep"].shape == (4,)
        assert 0 <= arguments["timestep"].min() and arguments["timestep"].max() <= 999


# The mask


@pytest.mark.parametrize("size", [(SR_SIZE, SR_SIZE), (64, 48)])
def test_outside_the_mask_every_pixel_is_the_agnostic_image(pipe, size):
    height, width = size
    inputs = cascade_inputs(batch=2, height=height, width=width)
    mask = np.zeros((2, height, width), dtype=bool)
    mask[0, 4 : height // 2, 6:20] = True
    mask[1, 10:30, : width // 2] = True
    call = {
        **inputs,
        "agnostic_mask": mask,
        "height": SR_SIZE,
        "width": SR_SIZE * width // height,
        "output_type": "pil",
    }
    output = pipe(**call)
    plain = pipe(**{**call, "agnostic_mask": None, "generator": generators(2)})
    processor = pipe.image_processor
    for stage, scale in (("base", 2), ("sr", 1)):
        stage_size = SR_SIZE // scale, SR_SIZE * width // height // scale
        agnostic = processor.postprocess(processor.preprocess(inputs["agnostic_image"], *stage_size))
        inside = processor.preprocess_mask(mask, *stage_size)[:, 0].numpy()
        for number in range(2):
            got, expected = np.asarray(output.stages[stage][number]), np.asarray(agnostic[number])
            assert np.array_equal(got[~inside[number]], expected[~inside[number]])
            assert not np.array_equal(got[inside[number]], expected[inside[number]])
    if size == (SR_SIZE, SR_SIZE):
        unchanged = np.asarray(output.images[0])[~mask[0]]
        assert np.array_equal(unchanged, inputs["agnostic_image"][0][~mask[0]])
    changed = np.asarray(output.stages["base"][0]) != np.asarray(plain.stages["base"][0])
    assert changed.any(), "without the mask the surroundings change"


# Callbacks


def test_callbacks_count_one_index_over_all_stages(pipe):
    seen = []

    def callback(pipeline, step, timestep, tensors):
        seen.append((step, pipeline.num_timesteps, tuple(tensors["latents"].shape), sorted(tensors)))
        assert pipeline.current_timestep == timestep
        return tensors

    names = ["latents", "low_res_image"]
    pipe(**cascade_inputs(), callback_on_step_end=callback, callback_on_step_end_tensor_inputs=names)
    assert [step for step, *_ in seen] == list(range(5)) and {total for _, total, *_ in seen} == {5}
    assert [shape[-1] for *_, shape, _ in seen] == [BASE_SIZE] * 3 + [SR_SIZE] * 2
    assert all(given == names for *_, given in seen)


@pytest.mark.parametrize("name", TryOnCascadePipeline._callback_tensor_inputs)
def test_what_a_callback_changes_is_used(pipe, name):
    def callback(pipeline, step, timestep, tensors):
        if tensors[name] is not None:
            tensors[name] = tensors[name] * 0.5
        return tensors

    changed = pipe(**cascade_inputs(), callback_on_step_end=callback, callback_on_step_end_tensor_inputs=[name]).images
    assert not torch.equal(changed, pipe(**cascade_inputs()).images)


def test_latents_of_the_last_step_are_the_image(pipe):
    def callback(pipeline, step, timestep, tensors):
        if step == pipeline.num_timesteps - 1:
            tensors["latents"] = torch.zeros_like(tensors["latents"])
        return tensors

    assert (pipe(**cascade_inputs(), callback_on_step_end=callback).images == 0).all()


def test_a_callback_may_change_the_guidance(pipe, calls):
    class Stop(PipelineCallback):
        tensor_inputs = ["latents"]

        def callback_fn(self, pipeline, step_index, timestep, callback_kwargs):
            if step_index == self.config.cutoff_step_index:
                pipeline._guidance_scale = 0.0
            return callback_kwargs

    pipe(**cascade_inputs(), callback_on_step_end=Stop(cutoff_step_ratio=None, cutoff_step_index=1))
    assert [len(arguments["sample"]) for _, arguments in calls] == [2, 2, 1, 1, 1]


def test_interrupting_returns_the_running_stage_as_it_is(pipe, calls):
    def callback(pipeline, step, timestep, tensors):
        pipeline._interrupt = step == 1
        return tensors

    output = pipe(**cascade_inputs(), callback_on_step_end=callback)
    assert len(calls) == 2 and list(output.stages) == ["base"]
    assert output.images.shape == (1, 3, BASE_SIZE, BASE_SIZE) and torch.isfinite(output.images).all()
    assert list(pipe(**cascade_inputs()).stages) == ["base", "sr"], "the next call runs again"


# Given start noise


def test_given_latents_are_the_start_noise(pipe, calls):
    latents = torch.randn(1, 3, BASE_SIZE, BASE_SIZE, generator=torch.Generator().manual_seed(0))
    sr_latents = torch.randn(1, 3, SR_SIZE, SR_SIZE, generator=torch.Generator().manual_seed(1))
    pipe(**cascade_inputs(), latents=latents, sr_latents=sr_latents, guidance_scale=1.0)
    first = {stage: arguments["sample"].float() for stage, arguments in reversed(calls)}
    assert torch.equal(first["base"], latents) and torch.equal(first["sr"], sr_latents)


def test_a_call_leaves_the_components_as_they_were(pipe):
    before = {name: {**component.config} for name, component in pipe.components.items()}
    weights = {key: tensor.clone() for key, tensor in pipe.sr_unet.state_dict().items()}
    pipe(**cascade_inputs(), **NOISE_LEVELS, guidance_scale=2.0)
    assert before == {name: {**component.config} for name, component in pipe.components.items()}
    assert all(torch.equal(tensor, weights[key]) for key, tensor in pipe.sr_unet.state_dict().items())
