# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The cascade assembled of its blocks."""

from typing import Any

from diffusers.modular_pipelines import AutoPipelineBlocks, SequentialPipelineBlocks

from diffusers_tryon.modular.decode import TryOnDecodeStep
from diffusers_tryon.modular.denoise import TryOnDenoiseStep, TryOnFinishStageStep, TryOnStartStageStep
from diffusers_tryon.modular.encode_garment import TryOnEncodeGarmentStep
from diffusers_tryon.modular.prepare import MODEL_NAME, TryOnPrepareStep


class _StageStep(SequentialPipelineBlocks):
    model_name = MODEL_NAME
    block_names = ["start", "denoise", "finish"]
    stage: str

    def __init__(self):
        self.block_classes = [
            TryOnStartStageStep(self.stage),
            TryOnDenoiseStep(self.stage),
            TryOnFinishStageStep(self.stage),
        ]
        super().__init__()

    def set_progress_bar_config(self, **config: Any) -> None:
        """Settings of tqdm for the stage's bar."""
        self.sub_blocks["denoise"].set_progress_bar_config(**config)


class TryOnBaseStep(_StageStep):
    """The base stage: a small picture from noise."""

    stage = "base"

    @property
    def description(self) -> str:
        return "The base stage: a small picture from noise."


class TryOnSuperResolutionStep(_StageStep):
    """The super-resolution stage: a larger picture from noise and the small one."""

    stage = "sr"

    @property
    def description(self) -> str:
        return "The super-resolution stage: a larger picture from noise and the small one."


class _AutoStageStep(AutoPipelineBlocks):
    block_names = ["stage"]

    def set_progress_bar_config(self, **config: Any) -> None:
        """Settings of tqdm for the stage's bar."""
        self.sub_blocks["stage"].set_progress_bar_config(**config)


class TryOnAutoBaseStep(_AutoStageStep):
    """The base stage, unless the call starts above it."""

    block_classes = [TryOnBaseStep]
    block_trigger_inputs = ["base_plan"]

    @property
    def description(self) -> str:
        return "The base stage; left out when a low-resolution picture is given."


class TryOnAutoSuperResolutionStep(_AutoStageStep):
    """The super-resolution stage, where there is one and the call does not stop before it."""

    block_classes = [TryOnSuperResolutionStep]
    block_trigger_inputs = ["sr_plan"]

    @property
    def description(self) -> str:
        return "The super-resolution stage; left out without its network, and when `last_stage` is base."


class TryOnBlocks(SequentialPipelineBlocks):
    """The whole cascade for Modular Diffusers: `TryOnBlocks().init_pipeline("user/name")`.

    Guidance is a component of each stage, `base_guider` and `sr_guider`: classifier-free guidance of scale 2 unless
    another of Diffusers' guiders takes its place. The images are those of `TryOnCascadePipeline` with
    `sequential_guidance`.
    """

    model_name = MODEL_NAME
    block_classes = [
        TryOnPrepareStep,
        TryOnEncodeGarmentStep,
        TryOnAutoBaseStep,
        TryOnAutoSuperResolutionStep,
        TryOnDecodeStep,
    ]
    block_names = ["prepare", "encode_garment", "base", "sr", "decode"]

    @property
    def description(self) -> str:
        return "Shows a person in a garment: a cascade of a base and a super-resolution stage in pixel space."
