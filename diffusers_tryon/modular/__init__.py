# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The cascade as blocks for Modular Diffusers."""

from .encode_garment import TryOnGarmentFeaturesStep
from .modular_blocks_tryon import TryOnAutoBaseStep, TryOnAutoSuperResolutionStep, TryOnBlocks


__all__ = ["TryOnAutoBaseStep", "TryOnAutoSuperResolutionStep", "TryOnBlocks", "TryOnGarmentFeaturesStep"]
