# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What the pipelines return."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import PIL.Image
import torch
from diffusers.utils import BaseOutput

from diffusers_tryon.models.unet_parallel import GarmentFeatures
from diffusers_tryon.preprocessing.prepared import PreparedTryOn


@dataclass
class TryOnCascadePipelineOutput(BaseOutput):
    """
    Args:
        images (`list[PIL.Image.Image]`, `np.ndarray` or `torch.Tensor`): the images of the last stage that ran, of the
            `output_type` of the call: PIL images, (B, H, W, 3) or (B, 3, H, W) in [0, 1], or for "latent" the float32
            tensor (B, 3, H, W) in [-1, 1] that the next stage would go on from.
        stages (`dict`): the images of each stage that ran, by its name ("base", "sr"), of the same type.
        seconds (`dict[str, float]`): how long each stage took.
    """

    images: list[PIL.Image.Image] | np.ndarray | torch.Tensor
    stages: dict[str, list[PIL.Image.Image] | np.ndarray | torch.Tensor]
    seconds: dict[str, float]


@dataclass
class TryOnPhotosOutput(BaseOutput):
    """
    Args:
        images (`list[PIL.Image.Image]`): the photographs of the people at their own size, in the new garments. Outside
            the hidden region they have every bit of the photographs.
        crops (`list[PIL.Image.Image]`): what the networks made, of the size of the last stage.
        stages (`dict[str, list[PIL.Image.Image]]`), seconds (`dict[str, float]`): as in
            [`TryOnCascadePipelineOutput`].
        prepared (`PreparedTryOn`): the conditions with all intermediates; `prepared.picture()` shows them.
    """

    images: list[PIL.Image.Image]
    crops: list[PIL.Image.Image]
    stages: dict[str, list[PIL.Image.Image]]
    seconds: dict[str, float]
    prepared: PreparedTryOn


class EncodedGarment(NamedTuple):
    """Garments that went through the garment streams once, to be tried on by many people.

    Attributes:
        features (`dict[str, GarmentFeatures]`): the features for each stage, by its name.
        sizes (`dict[str, tuple[int, int]]`): height and width of each stage that they were made for.
        pose (`torch.Tensor`, *optional*): (B, 18, 3), the garments' poses.
        noise_level (`int`, *optional*): the noise level of the garment images.
    """

    features: dict[str, GarmentFeatures]
    sizes: dict[str, tuple[int, int]]
    pose: torch.Tensor | None
    noise_level: int | None
