# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The benchmark of memory measures processes, and its arithmetic counts what operations hold."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn


sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import memory  # noqa: E402
import random_cascade  # noqa: E402


def test_live_bytes_are_those_of_results_that_are_still_held():
    with memory.LiveBytes() as live:
        kept = torch.empty(1000, device="meta") + 1  # 4000 bytes, and as many for what is added to
        for _ in range(3):
            kept = kept * 2  # old and new at a time
        kept.view(10, 100)  # a view is no memory
        kept[:500].clone()
    assert live.peak == 8000
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Identity(), nn.Conv2d(8, 4, 3, padding=1)).to("meta")
    image = torch.empty(2, 3, 16, 16, device="meta")
    with torch.no_grad(), memory.LiveBytes() as live:
        network(image)
    assert live.peak == 2 * (8 + 4) * 16 * 16 * 4


@pytest.mark.skipif(sys.platform != "linux", reason="figures come from /proc")
def test_a_random_cascade_is_written_and_measured(tmp_path):
    random_cascade.write_random_cascade(tmp_path, {"base_unet": "tiny-base", "sr_unet": "tiny-sr"})
    assert all(parameter.any() for parameter in memory.load(memory.OPTIONS["whole"], tmp_path).sr_unet.parameters())
    pictures = []
    for name in ("whole", "in turn"):
        row, picture = memory.measure(name, tmp_path, steps=2)
        assert 0 < row["private GB"] <= row["peak GB"] + 0.01 and 0 < row["file GB"] < row["peak GB"]
        pictures.append(picture)
    assert np.array_equal(*pictures) and np.isfinite(pictures[0]).all()
