# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Many people in many garments: the command `diffusers-tryon batch`."""
