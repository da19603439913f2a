# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The block that comes before the stages: checks, sizes, rows and noise."""

import torch
from diffusers import DDPMScheduler
from diffusers.modular_pipelines import ModularPipeline, ModularPipelineBlocks, PipelineState
from diffusers.modular_pipelines.modular_pipeline_utils import ComponentSpec, InputParam, OutputParam
from diffusers.schedulers.scheduling_utils import SchedulerMixin

from diffusers_tryon.models.unet_parallel import ParallelUNetModel
from diffusers_tryon.pipelines.inputs import StageInputs, StagePlan
from diffusers_tryon.pipelines.noise_streams import NoiseStreams
from diffusers_tryon.pipelines.pipeline_tryon_cascade import TryOnCascadePipeline
from diffusers_tryon.pipelines.stages import STAGES
from diffusers_tryon.schedules import DEFAULT_STEPS


MODEL_NAME = "tryon"
REQUIREMENTS = {"diffusers-tryon": ">=0.1.0"}
_COMPONENTS = (
    ("base_unet", ParallelUNetModel),
    ("base_scheduler", SchedulerMixin),
    ("image_noising_scheduler", DDPMScheduler),
    ("sr_unet", ParallelUNetModel),
    ("sr_scheduler", SchedulerMixin),
)


def component_specs() -> list[ComponentSpec]:
    """What the standard pipeline consists of."""
    return [ComponentSpec(name, type_hint) for name, type_hint in _COMPONENTS]


def cascade_of(components: ModularPipeline) -> TryOnCascadePipeline:
    """The standard pipeline of a modular pipeline's components, whose methods the blocks call.

    Raises:
        ValueError: the components of the base stage are not loaded.
    """
    loaded = {name: getattr(components, name, None) for name, _ in _COMPONENTS}
    missing = [name for name in ("base_unet", "base_scheduler", "image_noising_scheduler") if loaded[name] is None]
    if missing:
        raise ValueError(
            f"`{missing[0]}` is not loaded: call `load_components()`, or give it to `update_components`. If a call of "
            f"`load_components()` loaded nothing, the repository's modular_model_index.json does not name it: see "
            f"`diffusers-tryon hub add-modular-files`."
        )
    return TryOnCascadePipeline(**loaded)


class TryOnPrepareStep(ModularPipelineBlocks):
    """Checks a call's inputs and brings them to the stages' sizes, rows and noise."""

    model_name = MODEL_NAME
    _requirements = REQUIREMENTS

    @property
    def description(self) -> str:
        return "Checks the inputs and brings them to the size of each stage; decides which stages run."

    @property
    def expected_components(self) -> list[ComponentSpec]:
        return component_specs()

    @property
    def inputs(self) -> list[InputParam]:
        return [
            InputParam("agnostic_image", required=True, description="The person, clothes painted over in grey (128)."),
            InputParam("garment_image", description="The garment cut out, on white; or give `garment_features`."),
            InputParam("person_pose", required=True, description="(18, 3) or (B, 18, 3) OpenPose keypoints."),
            InputParam("garment_pose", description="The pose in the garment's photograph; none for a flat garment."),
            InputParam("agnostic_mask", description="Where the picture may change; the rest is kept exactly."),
            InputParam("low_res_image", description="Start at the super-resolution stage with this image."),
            InputParam("low_res_latents", description="The same as a tensor in [-1, 1]."),
            InputParam("garment_features", description="From `TryOnCascadePipeline.encode_garment`."),
            InputParam("height", type_hint=int, description="Of the last stage's images, in pixels."),
            InputParam("width", type_hint=int, description="Of the last stage's images, in pixels."),
            InputParam("num_inference_steps", type_hint=int, default=DEFAULT_STEPS["base"]),
            InputParam("sr_num_inference_steps", type_hint=int, default=DEFAULT_STEPS["sr"]),
            InputParam("agnostic_noise_level", type_hint=int, description="0 to 999, of noise added to the image."),
            InputParam("garment_noise_level", type_hint=int, description="0 to 999, of noise added to the image."),
            InputParam("low_res_noise_level", type_hint=int, description="0 to 999, of noise added to the image."),
            InputParam("num_images_per_prompt", type_hint=int, default=1),
            InputParam("eta", type_hint=float, default=0.0, description="Of DDIM and TCD."),
            InputParam("generator", description="One generator, or one for each image."),
            InputParam("latents", type_hint=torch.Tensor, description="Noise that the base stage starts from."),
            InputParam("sr_latents", type_hint=torch.Tensor, description="Noise of the super-resolution stage."),
            InputParam("last_stage", type_hint=str, description='"base" or "sr", the stage to stop after.'),
            InputParam("output_type", type_hint=str, default="pil", description='"pil", "np", "pt" or "latent".'),
        ]

    @property
    def intermediate_outputs(self) -> list[OutputParam]:
        return [
            *(
                OutputParam(f"{name}_plan", type_hint=StagePlan, description="None if it does not run.")
                for name in STAGES
            ),
            *(OutputParam(f"{name}_inputs", type_hint=StageInputs) for name in STAGES),
            OutputParam("stage_images", type_hint=torch.Tensor, description="What the next stage goes on from."),
            *(
                OutputParam(f"{name}_images", type_hint=torch.Tensor, description="A stage's images.")
                for name in STAGES
            ),
            OutputParam("noise_streams", type_hint=NoiseStreams),
        ]

    @torch.no_grad()
    def __call__(self, components: ModularPipeline, state: PipelineState) -> tuple[ModularPipeline, PipelineState]:
        block_state = self.get_block_state(state)
        # Guidance is the guiders' matter.
        call = cascade_of(components).prepare_call(
            block_state.agnostic_image,
            block_state.garment_image,
            block_state.person_pose,
            block_state.garment_pose,
            block_state.agnostic_mask,
            block_state.low_res_image,
            block_state.low_res_latents,
            block_state.garment_features,
            block_state.height,
            block_state.width,
            {
                "base": (block_state.num_inference_steps, 1.0, 0.0, 1.0, block_state.latents),
                "sr": (block_state.sr_num_inference_steps, None, 0.0, 1.0, block_state.sr_latents),
            },
            0.0,
            {
                "agnostic_noise_level": block_state.agnostic_noise_level,
                "garment_noise_level": block_state.garment_noise_level,
                "low_res_noise_level": block_state.low_res_noise_level,
            },
            block_state.num_images_per_prompt,
            block_state.eta,
            block_state.generator,
            block_state.last_stage,
            block_state.output_type,
            [],
        )
        plans = {plan.name: plan for plan in call.plans}
        inputs = {plan.name: item for plan, item in zip(call.plans, call.inputs)}
        for name in STAGES:
            block_state[f"{name}_plan"], block_state[f"{name}_inputs"] = plans.get(name), inputs.get(name)
            block_state[f"{name}_images"] = None
        block_state.stage_images, block_state.noise_streams = call.low_res_image, call.streams
        self.set_block_state(state, block_state)
        return components, state
