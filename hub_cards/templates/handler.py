# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""For Hugging Face Inference Endpoints, which look for this file and install requirements.txt beside it.

Requests and answers are described at `diffusers_tryon.hub.endpoint.EndpointHandler`.
"""

from diffusers_tryon.hub.endpoint import EndpointHandler


__all__ = ["EndpointHandler"]
