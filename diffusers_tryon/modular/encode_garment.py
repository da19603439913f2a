# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The garments' features: within a call, and alone, to be tried on by many people."""

import torch
from diffusers.modular_pipelines import ModularPipeline, ModularPipelineBlocks, PipelineState
from diffusers.modular_pipelines.modular_pipeline_utils import ComponentSpec, InputParam, OutputParam

from diffusers_tryon.models.unet_parallel import ParallelUNetModel
from diffusers_tryon.modular.prepare import MODEL_NAME, REQUIREMENTS, cascade_of, component_specs
from diffusers_tryon.pipelines.inputs import StageInputs, StagePlan
from diffusers_tryon.pipelines.pipeline_output import EncodedGarment
from diffusers_tryon.pipelines.stages import STAGES


class TryOnEncodeGarmentStep(ModularPipelineBlocks):
    """Runs the garment streams that do not see the timestep, once for each stage."""

    model_name = MODEL_NAME

    @property
    def description(self) -> str:
        return "Runs the garment streams of the stages once, where they do not see the timestep."

    @property
    def expected_components(self) -> list[ComponentSpec]:
        return [ComponentSpec(f"{name}_unet", ParallelUNetModel) for name in STAGES]

    @property
    def inputs(self) -> list[InputParam]:
        return [
            *(InputParam(f"{name}_plan", type_hint=StagePlan) for name in STAGES),
            *(InputParam(f"{name}_inputs", type_hint=StageInputs) for name in STAGES),
        ]

    @torch.no_grad()
    def __call__(self, components: ModularPipeline, state: PipelineState) -> tuple[ModularPipeline, PipelineState]:
        block_state = self.get_block_state(state)
        cascade = cascade_of(components)
        for name in STAGES:
            plan, inputs = block_state[f"{name}_plan"], block_state[f"{name}_inputs"]
            if plan is not None:
                block_state[f"{name}_inputs"] = cascade.encode_once(plan, inputs)
        self.set_block_state(state, block_state)
        return components, state


class TryOnGarmentFeaturesStep(ModularPipelineBlocks):
    """Encodes garments alone: `TryOnGarmentFeaturesStep().init_pipeline("user/name")`.

    Its output `garment_features` goes into a call of `TryOnBlocks` or of `TryOnCascadePipeline`, in place of the garment
    image, its pose and its noise level.
    """

    model_name = MODEL_NAME
    _requirements = REQUIREMENTS

    @property
    def description(self) -> str:
        return "Runs the garment streams of all stages once, without a person."

    @property
    def expected_components(self) -> list[ComponentSpec]:
        return component_specs()

    @property
    def inputs(self) -> list[InputParam]:
        return [
            InputParam("garment_image", required=True, description="The garment cut out, on white."),
            InputParam("garment_pose", description="The pose in the garment's photograph; none for a flat garment."),
            InputParam("garment_noise_level", type_hint=int, description="0 to 999, of noise added to the image."),
            InputParam("height", type_hint=int, description="Of the last stage's images, in pixels."),
            InputParam("width", type_hint=int, description="Of the last stage's images, in pixels."),
            InputParam("last_stage", type_hint=str, description='"base" or "sr", the last stage to encode for.'),
            InputParam("generator", description="One generator, or one for each image; only noise needs it."),
        ]

    @property
    def intermediate_outputs(self) -> list[OutputParam]:
        return [OutputParam("garment_features", type_hint=EncodedGarment, description="For `garment_features`.")]

    @torch.no_grad()
    def __call__(self, components: ModularPipeline, state: PipelineState) -> tuple[ModularPipeline, PipelineState]:
        block_state = self.get_block_state(state)
        block_state.garment_features = cascade_of(components).encode_garment(
            **{name: block_state[name] for name in self.input_names}
        )
        self.set_block_state(state, block_state)
        return components, state
