# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What goes wrong while judging and stops one figure, not the others."""


class UnavailableError(ImportError):
    """A figure cannot be computed here; the message says why (an extra is missing, weights cannot be fetched)."""
