# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What a camera does to a picture after the lens: exposure, contrast, white balance, softness, noise."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter


@dataclass(frozen=True)
class Finish:
    """The finish of one photograph. It depends on nothing in the picture, so pictures of one shot compare exactly.

    Attributes:
        gain: (3,) factors on red, green and blue.
        contrast: slope of the tone curve in the middle greys, 1 changes nothing.
        softness: share of a pixel's colour that comes from its eight neighbours, 0 to 0.5.
        noise: standard deviation of the noise, in steps of 1/255.
        noise_seed: of the noise.
    """

    gain: np.ndarray
    contrast: float
    softness: float
    noise: float
    noise_seed: int

    @property
    def reach(self) -> int:
        """Pixels by which the colour of one pixel spreads."""
        return 1 if self.softness else 0

    def apply(self, image: np.ndarray) -> np.ndarray:
        """The finished picture (S, S, 3) uint8 of a rendered one (S, S, 3) uint8."""
        tones = np.arange(256)[:, None] / 255 * self.gain
        # A tone curve through black and white that is steeper or flatter between them.
        tones = tones + (self.contrast - 1) * np.sin(2 * np.pi * (tones - 0.5)) / (2 * np.pi)
        table = np.round(255 * np.clip(tones, 0, 1)).astype(np.uint8)
        picture = Image.fromarray(image).point([int(value) for value in table.T.ravel()])
        if self.softness:
            side = self.softness / 12
            kernel = [side, 2 * side, side, 2 * side, 1 - 12 * side, 2 * side, side, 2 * side, side]
            picture = picture.filter(ImageFilter.Kernel((3, 3), kernel, scale=1))
        if not self.noise:
            return np.asarray(picture)
        rng = np.random.default_rng(self.noise_seed)
        noise = self.noise * rng.standard_normal(image.shape, dtype=np.float32)
        return np.clip(np.asarray(picture) + noise + 0.5, 0, 255).astype(np.uint8)


# Shares of the pictures that are slightly soft, and that are noisy.
_SOFT_SHARE = 0.4
_NOISY_SHARE = 0.5


def draw_finish(rng: np.random.Generator) -> Finish:
    """Draw a mild finish; half of the pictures have no noise, most are sharp."""
    soft, noisy = rng.random(2) < (_SOFT_SHARE, _NOISY_SHARE)
    return Finish(
        gain=rng.normal(1.0, 0.04) * (1 + rng.normal(0, 0.015, 3)),
        contrast=rng.uniform(0.85, 1.25),
        softness=rng.uniform(0.1, 0.5) if soft else 0.0,
        noise=rng.uniform(0.5, 4.0) if noisy else 0.0,
        noise_seed=int(rng.integers(2**32)),
    )
