# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Checkpoint folders."""

import pytest

from diffusers_tryon.training.checkpoints import list_checkpoints, save_checkpoint
from diffusers_tryon.training.configuration import TrainingConfig


CONFIG = TrainingConfig(preset="tiny-base", dataset="unused", output_dir="unused", max_steps=10, global_batch_size=4)


def test_checkpoints_are_renamed_when_complete_and_old_ones_removed(tmp_path):
    for step in (3, 6, 9, 12):
        save_checkpoint(tmp_path, step, lambda folder: (folder / "state.pt").write_text("x"), keep=2)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-00000009", "step-00000012"]

    def fail(folder):
        (folder / "state.pt").write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(tmp_path, 15, fail, keep=2)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-00000009", "step-00000012"]
