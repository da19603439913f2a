# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The base stage's own outputs as low-resolution pictures of the super-resolution stage's training.

Downsampled photographs are sharper and truer than what a base stage makes; a second stage that has seen both mends
the mistakes of the first instead of enlarging them (compare arXiv 2106.15282, section 3, on conditioning augmentation).
"""

import torch

from diffusers_tryon.pipelines.pipeline_tryon_cascade import TryOnCascadePipeline
from diffusers_tryon.training.configuration import TrainingConfig
from diffusers_tryon.training.randomness import TrainingDraw


class BaseOutputs:
    """Makes pictures with the base stage of `config.base_model`, by a call of that pipeline, without guidance.

    Args:
        config: `base_model`, `base_output_steps`, `low_res_size` and `mixed_precision` are read.
        device: where the base stage runs.

    Raises:
        ValueError: there is no such pipeline, or its base stage makes pictures of another size than `low_res_size`.
    """

    def __init__(self, config: TrainingConfig, device: torch.device):
        self.config = config
        dtype = torch.bfloat16 if config.mixed_precision == "bf16" else torch.float32
        try:
            pipeline = TryOnCascadePipeline.from_pretrained(
                config.base_model, dtype=dtype, sr_unet=None, sr_scheduler=None
            )
        except (OSError, ValueError) as error:
            raise ValueError(f"`base_model` must be a pipeline, got {config.base_model!r}: {error}") from error
        self.pipeline = pipeline.to(device)
        self.pipeline.base_unet.requires_grad_(False)
        self.pipeline.set_progress_bar_config(disable=True)
        self.size = self.pipeline.stage_sizes("base")["base"]

    def check_size(self, size: tuple[int, int]) -> None:
        """Raise a `ValueError` unless the base stage makes pictures of `size`, height and width."""
        if self.size != size:
            raise ValueError(
                f"`base_model` makes pictures of {self.size[0]} x {self.size[1]} pixels, and with `low_res_size` "
                f"{self.config.low_res_size} those to enlarge have {size[0]} x {size[1]}."
            )

    def put_into(self, images: torch.Tensor, batch: dict[str, torch.Tensor], draw: TrainingDraw) -> torch.Tensor:
        """`images` with the base stage's output in the rows that `draw` chose.

        Args:
            images (`torch.Tensor`): (B, 3, h, w) in [-1, 1], of the base stage's size.
            batch: the rows as the data set has them: images uint8, poses (B, 18, 3).
        """
        rows = draw.takes_base_output.nonzero().flatten().tolist()
        if not rows:
            return images
        images = images.clone()
        images[rows] = self.sample({name: value[rows] for name, value in batch.items()}, draw.base_output_seeds[rows])
        return images

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
