# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The last block: from the stages' tensors to pictures."""

import torch
from diffusers.modular_pipelines import ModularPipeline, ModularPipelineBlocks, PipelineState
from diffusers.modular_pipelines.modular_pipeline_utils import InputParam, OutputParam

from diffusers_tryon.modular.prepare import MODEL_NAME, cascade_of
from diffusers_tryon.pipelines.stages import STAGES


class TryOnDecodeStep(ModularPipelineBlocks):
    """Makes pictures of the tensors of every stage that ran. Everything is in pixels: nothing is decoded by a network."""

    model_name = MODEL_NAME

    @property
    def description(self) -> str:
        return "Makes pictures of the type `output_type` of what the stages made."

    @property
    def inputs(self) -> list[InputParam]:
        return [
            *(InputParam(f"{name}_images", type_hint=torch.Tensor) for name in STAGES),
            InputParam("output_type", type_hint=str, default="pil"),
        ]

    @property
    def intermediate_outputs(self) -> list[OutputParam]:
        return [
            OutputParam("images", description="Of the last stage that ran."),
            OutputParam("stages", type_hint=dict, description="Of every stage that ran, by its name."),
        ]

    @torch.no_grad()
    def __call__(self, components: ModularPipeline, state: PipelineState) -> tuple[ModularPipeline, PipelineState]:
        block_state = self.get_block_state(state)
        processor = cascade_of(components).image_processor
        made = {name: block_state[f"{name}_images"] for name in STAGES}
        block_state.stages = {
            name: processor.postprocess(images, block_state.output_type)
            for name, images in made.items()
            if images is not None
        }
        block_state.images = block_state.stages[list(block_state.stages)[-1]]
        self.set_block_state(state, block_state)
        return components, state
