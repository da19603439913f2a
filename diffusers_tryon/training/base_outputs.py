# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The base stage's own outputs as low-resolution pictures of the super-resolution stage's training.

Downsampled photographs are sharper and truer than what a base stage makes. A second stage that has seen both learns to
mend the first one's mistakes, where noise in the low-resolution picture only hides them (arXiv 2106.15282).
"""

import torch

from diffusers_tryon.pipelines.pipeline_tryon_cascade import TryOnCascadePipeline
from diffusers_tryon.schedules import check_steps
from diffusers_tryon.training.configuration import TrainingConfig
from diffusers_tryon.training.randomness import TrainingDraw


class BaseOutputs:
    """Makes pictures with the base stage of `config.base_model`, by calls of that pipeline, without guidance.

    Args:
        config: `base_model`, `base_output_steps`, `low_res_size` and `mixed_precision` are read.
        device: where the base stage runs.

    Raises:
        ValueError: there is no such pipeline, its base stage makes pictures of another size than `low_res_size`, or
            its scheduler cannot take `base_output_steps` or draws noise that no generator fixes.
    """

    def __init__(self, config: TrainingConfig, device: torch.device):
        self.config = config
        pipeline = _load_pipeline(config)
        scheduler, steps = pipeline.base_scheduler, config.base_output_steps
        try:
            scheduler.set_timesteps(steps)
            check_steps(scheduler, steps, "base_scheduler")
        except ValueError as error:
            raise ValueError(f"`base_output_steps` is {steps}, which `base_model` cannot take: {error}") from error
        if type(scheduler).__name__ == "DPMSolverSDEScheduler":
            raise ValueError(
                f"`base_model` {config.base_model} has a DPMSolverSDEScheduler as `base_scheduler`, whose noise does "
                f"not follow from `seed`: a resumed run would be another one. Save the pipeline with another "
                "scheduler."
            )
        self.size = pipeline.stage_sizes("base")["base"]
        if max(self.size) != config.low_res_size:
            raise ValueError(
                f"`low_res_size` is {config.low_res_size}, but `base_model` makes pictures of {self.size[0]} x "
                f"{self.size[1]} pixels."
            )
        pipeline.set_progress_bar_config(disable=True)
        self.pipeline = pipeline.to(device)

    def check_size(self, size: tuple[int, int]) -> None:
        """Raise a `ValueError` unless the base stage makes pictures of `size`, height and width."""
        if self.size != size:
            raise ValueError(
                f"`base_model` makes pictures of {self.size[0]} x {self.size[1]} pixels, but the network to train "
                f"enlarges pictures of {size[0]} x {size[1]}."
            )

    def put_into(self, images: torch.Tensor, batch: dict[str, torch.Tensor], draw: TrainingDraw) -> torch.Tensor:
        """`images` with the base stage's output in the rows that `draw` chose and somebody is visible in.

        Args:
            images (`torch.Tensor`): (B, 3, h, w) in [-1, 1], of the base stage's size.
            batch: the rows as the dataset has them: images (B, 3, H, W) uint8, poses (B, 18, 3).
        """
        is_visible = (batch["person_pose"][..., 2] > 0).any(dim=1).cpu()
        rows = (draw.takes_base_output & is_visible).nonzero().flatten()
        if len(rows) == 0:
            return images
        chosen = rows.to(images.device)
        pictures = self.sample({name: value[chosen] for name, value in batch.items()}, draw.base_output_seeds[rows])
        return images.index_copy(0, chosen, pictures)

    def sample(self, batch: dict[str, torch.Tensor], seeds: torch.Tensor) -> torch.Tensor:
        """The base stage's pictures of a batch's people and garments, (B, 3, h, w) float32 in [-1, 1].

        Args:
            seeds (`torch.Tensor`): (B,) int64, each row's seed of all noise.
        """
        return self.pipeline(
            agnostic_image=batch["agnostic_image"],
            garment_image=batch["garment_image"],
            person_pose=batch["person_pose"],
            garment_pose=batch["garment_pose"],
            num_inference_steps=self.config.base_output_steps,
            guidance_scale=1.0,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds.tolist()],
            output_type="latent",
        ).images


def _load_pipeline(config: TrainingConfig) -> TryOnCascadePipeline:
    """The base stage of `config.base_model` on the CPU, in the type in which autocast would compute."""
    dtype = torch.bfloat16 if config.mixed_precision == "bf16" else torch.float32
    try:
        pipeline = TryOnCascadePipeline.from_pretrained(
            config.base_model, dtype=dtype, sr_unet=None, sr_scheduler=None
        )
        pipeline.stage_names(last_stage="base")
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        # Of several lines the first says what happened, the others what Diffusers would try.
        raise ValueError(
            f"`base_model` {config.base_model} cannot be loaded as a pipeline with a base stage: "
            f"{str(error).splitlines()[0]}"
        ) from error
    missing = [name for name, parameter in pipeline.base_unet.named_parameters() if parameter.is_meta]
    if missing:
        raise ValueError(
            f"The base stage of `base_model` {config.base_model} lacks {len(missing)} of its weights, such as "
            f"{missing[0]}."
        )
    return pipeline
