# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""`python -m diffusers_tryon`, the same as the command `diffusers-tryon`."""

from .cli import main


main()
