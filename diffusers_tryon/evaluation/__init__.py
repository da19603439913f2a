# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Measuring try-on: named protocols, baselines, confidence intervals."""
