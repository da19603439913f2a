# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What goes to the Hugging Face Hub: pipeline folders, model cards, and pushes while training goes on."""
