# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""For `ModularPipeline.from_pretrained(..., trust_remote_code=True)`: the blocks are those of the package."""

from diffusers_tryon.modular import TryOnBlocks


__all__ = ["TryOnBlocks"]
