# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""From a photograph of a person and one of a garment to what the networks are given."""
