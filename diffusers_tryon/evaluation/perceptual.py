# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""LPIPS ("The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", Zhang et al. 2018)."""

import numpy as np
import torch
from PIL import Image

from .errors import UnavailableError
from .libraries import imported
from .protocols import LpipsSettings


class LpipsMetric:
    """LPIPS by torchmetrics, whose network torchvision downloads when it is first used.

    Args:
        settings ([`LpipsSettings`]): network and size.

    Raises:
        UnavailableError: torchmetrics or torchvision is missing or does not load, or the weights cannot be fetched.
    """

    def __init__(self, settings: LpipsSettings):
        self.settings = settings
        # First: without it torchmetrics has no LPIPS, and with one that does not load there is no torchmetrics.
        imported("torchvision", "torchvision, which LPIPS needs,", "perceptual")
        library = imported("torchmetrics.image.lpip", "torchmetrics, which computes LPIPS,", "perceptual")
        try:
            self._metric = library.LearnedPerceptualImagePatchSimilarity(net_type=settings.backbone)
        # No connection is an OSError; a file that was cut short is a RuntimeError about its hash.
        except (OSError, RuntimeError) as error:
            raise UnavailableError(
                f"The weights of LPIPS' network ({settings.backbone}) cannot be fetched: {error}. torchvision keeps "
                f"them in {torch.hub.get_dir()}/checkpoints, where they may be put by hand."
            ) from error

    @torch.inference_mode()
    def __call__(self, image: np.ndarray, reference: np.ndarray) -> float:
        """The distance of two pictures, (H, W, 3) uint8 of one size; 0 for equal ones."""
        value = self._metric(self._prepared(image), self._prepared(reference))
        self._metric.reset()
        return float(value)

    def _prepared(self, image: np.ndarray) -> torch.Tensor:
        """(1, 3, h, w) float32 in [-1, 1], at the settings' size if they have one."""
        if self.settings.size is not None:
            height, width = self.settings.size
            image = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
        return torch.from_numpy(image.astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
