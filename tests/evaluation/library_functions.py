# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Functions of clean-fid and torch-fidelity for comparison, where these packages can be imported.

Both import torchvision, which has no build beside the CPU build of torch that the suite runs with.
"""

from collections.abc import Callable
from importlib import import_module
from types import ModuleType

import pytest


def clean_fid_function(name: str) -> Callable:
    return getattr(_imported("cleanfid.fid"), name)


def torch_fidelity_module(name: str) -> ModuleType:
    return _imported(f"torch_fidelity.{name}")


def _imported(name: str) -> ModuleType:
    try:
        return import_module(name)
    # A torchvision for another torch raises RuntimeError, one without its libraries OSError.
    except (ImportError, RuntimeError, OSError) as error:
        pytest.skip(f"{name} cannot be imported: {error}")
