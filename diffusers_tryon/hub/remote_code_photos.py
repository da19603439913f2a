# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What stands in repositories with remote code for the part of the pipeline that works from photographs."""

from typing import Any


class PhotosMixin:
    """`try_on` needs the preprocessing of photographs, which is not in this repository."""

    def try_on(self, *arguments: Any, **options: Any) -> None:
        """Say where the preprocessing of photographs is.

        Raises:
            ImportError: always.
        """
        raise ImportError(
            "`try_on` prepares photographs, and the code in this repository has no part for that. Install the package "
            "with `pip install diffusers-tryon`, and load this repository with its `TryOnCascadePipeline`."
        )
