# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""TryOnDiffusion ("A Tale of Two UNets") as a Diffusers package.

The public names are imported on first use, so that `import diffusers_tryon` and the command line's help stay fast.
"""

from importlib import import_module


__version__ = "0.1.0"

_EXPORTS = {
    "GarmentFeatures": "diffusers_tryon.models.unet_parallel",
    "ParallelUNetModel": "diffusers_tryon.models.unet_parallel",
    "ParallelUNetOutput": "diffusers_tryon.models.unet_parallel",
    "ReferenceParallelUNetModel": "diffusers_tryon.models.unet_parallel_reference",
    "TryOnBlocks": "diffusers_tryon.modular.modular_blocks_tryon",
    "TryOnCascadePipeline": "diffusers_tryon.pipelines.pipeline_tryon_cascade",
    "TryOnCascadePipelineOutput": "diffusers_tryon.pipelines.pipeline_output",
    "TryOnImageProcessor": "diffusers_tryon.image_processor",
    "TryOnPhotosOutput": "diffusers_tryon.pipelines.pipeline_output",
    "TryOnPreprocessor": "diffusers_tryon.preprocessing.preprocessor",
    "create_unet": "diffusers_tryon.models.presets",
    "list_presets": "diffusers_tryon.models.presets",
}

__all__ = [*_EXPORTS, "__version__"]


def __getattr__(name: str):
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
