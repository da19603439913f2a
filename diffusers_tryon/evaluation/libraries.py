# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Libraries that compute figures, imported when they are needed, with a clear reason where they cannot be."""

from importlib import import_module
from types import ModuleType

import torch

from .errors import UnavailableError


def imported(name: str, library: str, extra: str) -> ModuleType:
    """A module of a library that an extra of this package brings.

    Args:
        name (`str`): The module.
        library (`str`): What messages call it.
        extra (`str`): Whose installation is proposed where it is missing.

    Raises:
        UnavailableError: it, or what it imports, is not installed or does not load.
    """
    command = f'pip install "diffusers-tryon[{extra}]"'
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name.partition(".")[0] == name.partition(".")[0]:
            raise UnavailableError(f"{library} is not installed: {command}") from error
        raise UnavailableError(f"{library} needs {error.name}, which is not installed: {command}") from error
    # A torchvision for another torch raises RuntimeError or AttributeError, one whose libraries are missing OSError.
    except (ImportError, RuntimeError, AttributeError, OSError) as error:
        raise UnavailableError(
            f"{library} cannot be loaded beside torch {torch.__version__} ({error}): if there is a torchvision, it "
            "must be of the same release and build as torch"
        ) from error
