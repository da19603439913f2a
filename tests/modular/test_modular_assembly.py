# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Blocks put in, taken out, used alone and saved, and other guiders."""

import pytest
import torch
from diffusers import guiders
from diffusers.modular_pipelines import InputParam, ModularPipeline, ModularPipelineBlocks, OutputParam
from tiny_cascade import BASE_SIZE, SR_SIZE, cascade_inputs, generators, tiny_cascade

from diffusers_tryon import TryOnBlocks, TryOnCascadePipeline
from diffusers_tryon.hub.modular_files import write_modular_files
from diffusers_tryon.modular import TryOnGarmentFeaturesStep
from diffusers_tryon.pipelines.pipeline_output import EncodedGarment


@pytest.fixture(scope="module")
def cascade() -> TryOnCascadePipeline:
    return tiny_cascade()


def modular(cascade: TryOnCascadePipeline, blocks: ModularPipelineBlocks, **others) -> ModularPipeline:
    pipe = blocks.init_pipeline()
    pipe.update_components(**cascade.components, **others)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.mark.parametrize("level", [None, 300])
def test_garments_encoded_alone_are_those_of_the_pipeline(cascade, level):
    inputs = cascade_inputs()
    garment = {name: inputs.pop(name) for name in ("garment_image", "garment_pose")}
    encoder = modular(cascade, TryOnGarmentFeaturesStep())
    encoded = encoder(**garment, garment_noise_level=level, generator=generators(1), output="garment_features")
    assert isinstance(encoded, EncodedGarment) and encoded.sizes["sr"] == (SR_SIZE, SR_SIZE)
    inputs["garment_features"] = encoded
    found = modular(cascade, TryOnBlocks())(**inputs, output="images")
    call = {**inputs, "garment_features": None, "generator": generators(1), "sequential_guidance": True}
    assert torch.equal(found, cascade(**call, **garment, garment_noise_level=level).images)


def test_garments_that_cannot_be_encoded_alone_are_refused():
    encoder = modular(tiny_cascade(garment_time_conditioning=True), TryOnGarmentFeaturesStep())
    with pytest.raises(ValueError, match="sees the timestep .* pass `garment_image` to the call"):
        encoder(garment_image=cascade_inputs()["garment_image"])


class Halve(ModularPipelineBlocks):
    """Somebody's own block: less contrast between the stages."""

    model_name = "tryon"

    @property
    def inputs(self) -> list[InputParam]:
        return [InputParam("stage_images", required=True)]

    @property
    def intermediate_outputs(self) -> list[OutputParam]:
        return [OutputParam("stage_images")]

    def __call__(self, components, state):
        block_state = self.get_block_state(state)
        block_state.stage_images = block_state.stage_images / 2
        self.set_block_state(state, block_state)
        return components, state


def test_a_block_is_put_between_the_stages(cascade):
    blocks = TryOnBlocks()
    blocks.sub_blocks.insert("halve", Halve(), 3)
    stages = modular(cascade, blocks)(**cascade_inputs(), output="stages")
    base = cascade(**cascade_inputs(), last_stage="base", sequential_guidance=True).images
    expected = cascade(**cascade_inputs(), low_res_latents=base / 2, sequential_guidance=True).images
    assert torch.equal(stages["base"], base) and torch.equal(stages["sr"], expected)


def test_the_networks_may_be_of_another_type(cascade):
    half = tiny_cascade().to(torch.bfloat16)
    found = modular(half, TryOnBlocks())(**cascade_inputs(), output="images")
    assert torch.equal(found, half(**cascade_inputs(), sequential_guidance=True).images)
    pipe = modular(tiny_cascade(), TryOnBlocks())
    pipe.to(torch.bfloat16)
    assert torch.equal(pipe(**cascade_inputs(), output="images"), found)
    assert not torch.equal(found, cascade(**cascade_inputs(), sequential_guidance=True).images)


@pytest.mark.parametrize(
    "make",
    [
        lambda: guiders.AdaptiveProjectedGuidance(guidance_scale=2.0, adaptive_projected_guidance_momentum=-0.5),
        lambda: guiders.AdaptiveProjectedMixGuidance(guidance_scale=2.0),
        lambda: guiders.ClassifierFreeZeroStarGuidance(guidance_scale=2.0),
        lambda: guiders.TangentialClassifierFreeGuidance(guidance_scale=2.0),
    ],
)
def test_guiders_that_read_both_predictions_work(cascade, make):
    pipe = modular(cascade, TryOnBlocks(), base_guider=make(), sr_guider=make())
    first = pipe(**cascade_inputs(), output="images")
    assert torch.isfinite(first).all() and torch.equal(first, pipe(**cascade_inputs(), output="images"))
    unguided = cascade(**cascade_inputs(), guidance_scale=1.0).images
    assert not torch.allclose(first, unguided, atol=0.1)


def test_what_a_modular_pipeline_saves_is_loaded_by_all(cascade, tmp_path):
    pipe = modular(cascade, TryOnBlocks())
    folder = tmp_path / "saved"
    pipe.save_pretrained(str(folder), overwrite_modular_index=True)
    again = TryOnBlocks().init_pipeline(str(folder))
    again.load_components()
    again.set_progress_bar_config(disable=True)
    expected = cascade(**cascade_inputs(), sequential_guidance=True).images
    assert torch.equal(again(**cascade_inputs(), output="images"), expected)
    # The pipeline's own index is what makes it one for everybody.
    cascade.save_pretrained(folder)
    write_modular_files(folder)
    assert (folder / "modular_model_index.json").read_text().count(str(tmp_path)) == 0
    code = ModularPipeline.from_pretrained(folder, trust_remote_code=True)
    code.load_components()
    code.set_progress_bar_config(disable=True)
    assert type(code.blocks) is TryOnBlocks
    state = code(**cascade_inputs())
    assert torch.equal(state.get("images"), expected)
    assert state.get("base_images").shape == (1, 3, BASE_SIZE, BASE_SIZE)
