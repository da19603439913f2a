# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Checkpoint folders of a run: written beside and renamed, the newest found by its number, old ones removed last."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path


_PREFIX = "step-"


def list_checkpoints(run_dir: Path) -> list[Path]:
    """Complete checkpoints of a run, oldest first."""
    return sorted((run_dir / "checkpoints").glob(f"{_PREFIX}*"), key=checkpoint_step)


def checkpoint_step(path: Path) -> int:
    """The number of optimiser steps behind a checkpoint."""
    return int(path.name.removeprefix(_PREFIX))


def save_checkpoint(run_dir: Path, step: int, write: Callable[[Path], None], keep: int) -> Path:
    """Let `write` fill a temporary folder, rename it to its final name, then remove all but the `keep` newest."""
    folder = run_dir / "checkpoints"
    temporary, final = folder / f"tmp-{step:08d}", folder / f"{_PREFIX}{step:08d}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    write(temporary)
    os.replace(temporary, final)
    for old in list_checkpoints(run_dir)[:-keep]:
        shutil.rmtree(old)
    return final
