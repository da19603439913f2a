# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The blocks of one stage: from noise, its inputs and the picture of the stage before to its own picture."""

from typing import Any

import torch
from diffusers import ClassifierFreeGuidance
from diffusers.configuration_utils import FrozenDict
from diffusers.modular_pipelines import (
    BlockState,
    LoopSequentialPipelineBlocks,
    ModularPipeline,
    ModularPipelineBlocks,
    PipelineState,
)
from diffusers.modular_pipelines.modular_pipeline_utils import ComponentSpec, InputParam, OutputParam
from diffusers.schedulers.scheduling_utils import SchedulerMixin

from diffusers_tryon.models.unet_parallel import ParallelUNetModel
from diffusers_tryon.modular.prepare import MODEL_NAME, cascade_of
from diffusers_tryon.pipelines.guidance import (
    DEFAULT_GUIDANCE_SCALE,
    network_pass,
    predict_rows,
    step_garment_features,
)
from diffusers_tryon.pipelines.inputs import StageInputs, StagePlan
from diffusers_tryon.pipelines.noise_streams import NoiseStreams


class StageBlock(ModularPipelineBlocks):
    """A block of one stage, "base" or "sr"."""

    model_name = MODEL_NAME

    def __init__(self, stage: str):
        super().__init__()
        self.stage = stage

    def of_stage(self, block_state: BlockState, name: str) -> Any:
        """The plan or the inputs of this block's stage."""
        return block_state[f"{self.stage}_{name}"]


class TryOnLoopBeforeDenoiser(StageBlock):
    @property
    def description(self) -> str:
        return "Scales the latents as the scheduler wants the network to see them."

    @torch.no_grad()
    def __call__(
        self, components: ModularPipeline, block_state: BlockState, i: int, t: torch.Tensor
    ) -> tuple[ModularPipeline, BlockState]:
        block_state.model_input = self.of_stage(block_state, "plan").scheduler.scale_model_input(
            block_state.stage_latents, t
        )
        return components, block_state


class TryOnLoopDenoiser(StageBlock):
    @property
    def description(self) -> str:
        return "Predicts with the stage's network, once for each part that the guider asks for."

    @property
    def expected_components(self) -> list[ComponentSpec]:
        return [
            ComponentSpec(
                f"{self.stage}_guider",
                ClassifierFreeGuidance,
                config=FrozenDict({"guidance_scale": DEFAULT_GUIDANCE_SCALE}),
                default_creation_method="from_config",
            ),
            ComponentSpec(f"{self.stage}_unet", ParallelUNetModel),
        ]

    @torch.no_grad()
    def __call__(
        self, components: ModularPipeline, block_state: BlockState, i: int, t: torch.Tensor
    ) -> tuple[ModularPipeline, BlockState]:
        guider = getattr(components, f"{self.stage}_guider")
        plan, inputs = self.of_stage(block_state, "plan"), self.of_stage(block_state, "inputs")
        features = step_garment_features(plan.unet, t.float(), inputs)
        nothing = torch.zeros(len(block_state.model_input), dtype=torch.bool, device=block_state.model_input.device)
        guider.set_state(step=i, num_inference_steps=len(plan.scheduler.timesteps), timestep=t)
        # Of each pair the first is for the conditional rows, the second for the null rows.
        parts = guider.prepare_inputs(
            {"features": (features, plan.unet.null_features(features)), "keep": (None, nothing)}
        )
        for part in parts:
            guider.prepare_models(plan.unet)
            rows = network_pass(plan.unet, inputs, part.keep)
            (prediction,) = predict_rows(plan.unet, block_state.model_input, t.float(), rows, part.features)
            part.noise_pred = prediction.float()
            guider.cleanup_models(plan.unet)
        block_state.prediction = guider(parts).pred
        return components, block_state


class TryOnLoopAfterDenoiser(StageBlock):
    @property
    def description(self) -> str:
        return "Takes the scheduler's step."

    @property
    def expected_components(self) -> list[ComponentSpec]:
        return [ComponentSpec(f"{self.stage}_scheduler", SchedulerMixin)]

    @torch.no_grad()
    def __call__(
        self, components: ModularPipeline, block_state: BlockState, i: int, t: torch.Tensor
    ) -> tuple[ModularPipeline, BlockState]:
        block_state.stage_latents = self.of_stage(block_state, "plan").scheduler.step(
            block_state.prediction, t, block_state.stage_latents, **block_state.step_kwargs, return_dict=False
        )[0]
        return components, block_state


class TryOnDenoiseStep(LoopSequentialPipelineBlocks):
    """A stage's loop over the timesteps."""

    model_name = MODEL_NAME
    block_names = ["before_denoiser", "denoiser", "after_denoiser"]

    def __init__(self, stage: str):
        self.stage = stage
        self.block_classes = [
            TryOnLoopBeforeDenoiser(stage),
            TryOnLoopDenoiser(stage),
            TryOnLoopAfterDenoiser(stage),
        ]
        super().__init__()

    @property
    def description(self) -> str:
        return "The loop over the timesteps of the stage."

    @property
    def loop_inputs(self) -> list[InputParam]:
        return [
            InputParam(f"{self.stage}_plan", type_hint=StagePlan, required=True),
            InputParam(f"{self.stage}_inputs", type_hint=StageInputs, required=True),
            InputParam("stage_latents", type_hint=torch.Tensor, required=True),
            InputParam("noise_streams", type_hint=NoiseStreams, required=True),
            InputParam("eta", type_hint=float, default=0.0),
        ]

    @property
    def loop_intermediate_outputs(self) -> list[OutputParam]:
        return [OutputParam("stage_latents", type_hint=torch.Tensor)]

    @torch.no_grad()
    def __call__(self, components: ModularPipeline, state: PipelineState) -> tuple[ModularPipeline, PipelineState]:
        block_state = self.get_block_state(state)
        scheduler = block_state[f"{self.stage}_plan"].scheduler
        generator = block_state.noise_streams.generator(f"{self.stage}.steps")
        block_state.step_kwargs = cascade_of(components).prepare_extra_step_kwargs(
            scheduler, generator, block_state.eta
        )
        with self.progress_bar(total=len(scheduler.timesteps)) as progress_bar:
            progress_bar.set_description(self.stage)
            for i, t in enumerate(scheduler.timesteps):
                components, block_state = self.loop_step(components, block_state, i=i, t=t)
                progress_bar.update()
        self.set_block_state(state, block_state)
        return components, state


class TryOnStartStageStep(StageBlock):
    @property
    def description(self) -> str:
        return "Sets the timesteps, draws the noise to start from, and adds the picture of the stage before."

    @property
    def expected_components(self) -> list[ComponentSpec]:
        return [ComponentSpec(f"{self.stage}_scheduler", SchedulerMixin)]

    @property
    def inputs(self) -> list[InputParam]:
        return [
            InputParam(f"{self.stage}_plan", type_hint=StagePlan, required=True),
            InputParam(f"{self.stage}_inputs", type_hint=StageInputs, required=True),
            InputParam("noise_streams", type_hint=NoiseStreams, required=True),
            InputParam("stage_images", type_hint=torch.Tensor),
            InputParam("low_res_noise_level", type_hint=int),
        ]

    @property
    def intermediate_outputs(self) -> list[OutputParam]:
        return [OutputParam("stage_latents", type_hint=torch.Tensor)]

    @torch.no_grad()
    def __call__(self, components: ModularPipeline, state: PipelineState) -> tuple[ModularPipeline, PipelineState]:
        block_state = self.get_block_state(state)
        cascade, streams = cascade_of(components), block_state.noise_streams
        plan, inputs = self.of_stage(block_state, "plan"), self.of_stage(block_state, "inputs")
        cascade.set_timesteps(plan)
        if block_state.stage_images is not None:
            inputs = cascade.add_low_res(
                block_state.stage_images, plan, inputs, block_state.low_res_noise_level, streams
            )
            block_state[f"{self.stage}_inputs"] = inputs
        block_state.stage_latents = cascade.prepare_latents(
            plan, len(inputs.agnostic_image), streams, inputs.agnostic_image.device
        )
        self.set_block_state(state, block_state)
        return components, state


class TryOnFinishStageStep(StageBlock):
    @property
    def description(self) -> str:
        return "Brings the stage's picture into the range and puts back what must not change."

    @property
    def inputs(self) -> list[InputParam]:
        return [
            InputParam(f"{self.stage}_inputs", type_hint=StageInputs, required=True),
            InputParam("stage_latents", type_hint=torch.Tensor, required=True),
        ]

    @property
    def intermediate_outputs(self) -> list[OutputParam]:
        return [
            OutputParam(f"{self.stage}_images", type_hint=torch.Tensor, description="(B, 3, H, W) in [-1, 1]."),
            OutputParam("stage_images", type_hint=torch.Tensor, description="The same, for the next stage."),
        ]

    @torch.no_grad()
    def __call__(self, components: ModularPipeline, state: PipelineState) -> tuple[ModularPipeline, PipelineState]:
        block_state = self.get_block_state(state)
        inputs = self.of_stage(block_state, "inputs")
        block_state.stage_images = cascade_of(components).finish_stage(block_state.stage_latents, inputs)
        block_state[f"{self.stage}_images"] = block_state.stage_images
        self.set_block_state(state, block_state)
        return components, state
