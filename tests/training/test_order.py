# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Which row is which sample, in which process."""

import dataclasses

import numpy as np
import pytest

from diffusers_tryon.training.configuration import TrainingConfig
from diffusers_tryon.training.dataset import collate
from diffusers_tryon.training.order import StepSampler, local_indices


CONFIG = TrainingConfig(preset="tiny-base", dataset="unused", output_dir="unused", max_steps=10, global_batch_size=4)


def test_sampler_resumes_where_it_stopped_and_covers_each_epoch():
    config = dataclasses.replace(CONFIG, max_steps=6)
    whole = list(StepSampler(8, config, 0, 0, 1))
    assert list(StepSampler(8, config, 4, 0, 1)) == whole[4:]
    for epoch in range(3):
        assert sorted(sample.row for sample in whole[2 * epoch] + whole[2 * epoch + 1]) == list(range(8))
    assert [sample.row for sample in whole[0] + whole[1]] != [sample.row for sample in whole[2] + whole[3]]


def test_two_processes_and_accumulation_see_the_same_global_batch():
    config = dataclasses.replace(CONFIG, micro_batch_size=1, max_steps=2)
    single = list(StepSampler(8, CONFIG, 0, 0, 1))[:2]
    ranks = [list(StepSampler(8, config, 0, rank, 2)) for rank in range(2)]
    for step in range(2):
        samples = [sample for batches in ranks for batch in batches[2 * step : 2 * step + 2] for sample in batch]
        assert sorted(samples) == sorted(single[step])
    indices = [local_indices(config, rank, 2) for rank in range(2)]
    assert sorted(index for batches in indices for batch in batches for index in batch) == [0, 1, 2, 3]


def test_rows_of_several_sizes_are_refused_with_what_to_do():
    def row(height: int, width: int) -> dict[str, np.ndarray]:
        poses = {name: np.zeros((18, 3), np.float32) for name in ("person_pose", "garment_pose")}
        images = {name: np.zeros((16, 16, 3), np.uint8) for name in ("person_image", "agnostic_image")}
        return images | poses | {"garment_image": np.zeros((height, width, 3), np.uint8)}

    assert collate([row(16, 16), row(16, 16)])["garment_image"].shape == (2, 3, 16, 16)
    with pytest.raises(ValueError, match="`garment_image` must have one size.*16 x 16 and 24 x 16 pixels.*--size"):
        collate([row(16, 16), row(16, 24)])


def test_a_batch_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="global_batch_size.*multiple of.*2 x 2.*got 6"):
        local_indices(dataclasses.replace(CONFIG, global_batch_size=6, micro_batch_size=2), 0, 2)
