# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The Space: the app of diffusers-tryon with the checkpoint that comes with the package."""

from diffusers_tryon.app import create_app, launch_app
from diffusers_tryon.app_generation import load_service


# `load_service("user/name")` runs a pipeline of the Hub.
app = create_app(load_service())

if __name__ == "__main__":
    launch_app(app)
    app.block_thread()
