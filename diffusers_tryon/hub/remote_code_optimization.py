# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What stands in repositories with remote code for the part of the pipeline that sets the fastest options."""

from typing import Any


class OptimizationMixin:
    """`optimize` needs modules that are not in this repository."""

    def optimize(self, *arguments: Any, **options: Any) -> None:
        """Say where the fast paths are.

        Raises:
            ImportError: always.
        """
        raise ImportError(
            "`optimize` needs modules that the code in this repository leaves out. Install the package with "
            "`pip install diffusers-tryon`, and load this repository with its `TryOnCascadePipeline`."
        )
