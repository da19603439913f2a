# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The processes of an evaluation, which wait for each other between producing, judging and reporting."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from accelerate import PartialState


# A process whose share is done waits for the others, however long these need.
_PATIENCE = timedelta(days=7)


@contextmanager
def joined_processes() -> Iterator[PartialState]:
    """Join the other processes of `accelerate launch` or torchrun, if there are any, and part from them in the end.

    After an error the launcher ends the others, which may be waiting for this process.
    """
    # Without `cpu`, processes on a machine that has CPUs only would not know of each other.
    state = PartialState(cpu=not torch.accelerator.is_available(), timeout=_PATIENCE)
    yield state
    state.wait_for_everyone()
    state.destroy_process_group()
