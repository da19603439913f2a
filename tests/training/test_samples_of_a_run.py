# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Which rows a run is made of and how they are augmented: the same for any number of workers and processes."""

import dataclasses
import re
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch

from diffusers_tryon.data.augmentation import AugmentationSettings
from diffusers_tryon.data.repack import repack
from diffusers_tryon.rendering.samples import row_id
from diffusers_tryon.rendering.writer import write_pairs
from diffusers_tryon.training.configuration import TrainingConfig
from diffusers_tryon.training.dataset import SampleRows, TryOnRows, collate, open_training_rows, open_validation_rows
from diffusers_tryon.training.loader import TrainingBatches
from diffusers_tryon.training.order import RenderedOrder, Sample, StepSampler, local_indices
from diffusers_tryon.training.randomness import augmentation_generator


CONFIG = TrainingConfig(
    preset="tiny-base",
    dataset="rendered",
    output_dir="unused",
    rendered_size=16,
    augmentation=AugmentationSettings(),
    max_steps=3,
    global_batch_size=4,
)


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pool")
    write_pairs(folder, 12, 16, seed=CONFIG.seed)
    return str(folder)


def samples_by_place(config: TrainingConfig, rank: int, world_size: int, num_workers: int) -> dict:
    """What a process trains on: (step, index) -> the sample's tensors."""
    rows = open_training_rows(config)
    batches = TrainingBatches(rows, dataclasses.replace(config, num_workers=num_workers), 0, rank, world_size)
    found = {}
    for step in range(config.max_steps):
        for indices in local_indices(config, rank, world_size):
            batch = next(batches)
            for place, index in enumerate(indices):
                found[step, index] = {name: values[place] for name, values in batch.items()}
    batches.close()
    return found


def assert_same_samples(one: dict, other: dict) -> None:
    assert one.keys() == other.keys()
    for place, sample in one.items():
        for name, value in sample.items():
            assert torch.equal(value, other[place][name]), (place, name)


def test_two_processes_with_accumulation_see_the_samples_of_one():
    alone = samples_by_place(CONFIG, 0, 1, num_workers=0)
    assert len(alone) == 12
    accumulating = dataclasses.replace(CONFIG, micro_batch_size=1)
    shared = samples_by_place(accumulating, 0, 2, num_workers=2) | samples_by_place(accumulating, 1, 2, num_workers=0)
    assert_same_samples(alone, shared)


def test_rendering_while_training_equals_the_pool_on_disk(pool):
    # The pool is read in a shuffled order; sample by sample it holds what is rendered for that row.
    on_disk = dataclasses.replace(CONFIG, dataset=pool)
    from_disk = SampleRows(open_training_rows(on_disk), on_disk)
    rendered = SampleRows(open_training_rows(CONFIG), CONFIG)
    for row in range(12):
        sample = Sample(row, 5, row % 4)
        one, other = collate([from_disk[sample]]), collate([rendered[sample]])
        assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_rendered_rows_never_come_twice():
    samples = [sample for batch in StepSampler(RenderedOrder(CONFIG), CONFIG, 0, 0, 1) for sample in batch]
    assert [sample.row for sample in samples] == list(range(12))
    assert list(StepSampler(RenderedOrder(CONFIG), CONFIG, 2, 0, 1))[0] == samples[8:]


def test_augmentation_depends_on_seed_step_and_index_alone():
    def numbers(sample, config=CONFIG):
        return augmentation_generator(config, sample).random(4).tolist()

    assert numbers(Sample(0, 3, 1)) == numbers(Sample(9, 3, 1))
    others = [
        numbers(Sample(0, 3, 2)),
        numbers(Sample(0, 1, 3)),
        numbers(Sample(0, 3, 1), dataclasses.replace(CONFIG, seed=1)),
    ]
    assert numbers(Sample(0, 3, 1)) not in others


def test_a_row_is_augmented_anew_whenever_it_comes(pool):
    config = dataclasses.replace(CONFIG, dataset=pool)
    plain = SampleRows(open_training_rows(config), dataclasses.replace(config, augmentation=None))
    samples = SampleRows(open_training_rows(config), config)
    first, second, bare = samples[Sample(3, 0, 0)], samples[Sample(3, 7, 0)], plain[Sample(3, 0, 0)]
    for name in ("person_image", "garment_image", "agnostic_image"):
        assert (first[name] != second[name]).any() and (first[name] != bare[name]).any(), name
    np.testing.assert_array_equal(bare["person_image"], plain[Sample(3, 7, 0)]["person_image"])


def test_validation_rows_are_of_the_test_split(pool, tmp_path):
    config = dataclasses.replace(CONFIG, validation_dataset="rendered")
    assert open_validation_rows(config)[1]["id"] == row_id(1, "test", False)
    # Without a dataset for it, the first training rows.
    assert open_validation_rows(CONFIG)[1]["id"] == row_id(1, "train", False)
    fallback = open_validation_rows(dataclasses.replace(CONFIG, dataset=pool))
    np.testing.assert_array_equal(fallback[2]["person_image"], TryOnRows(pool)[2]["person_image"])
    rows = datasets.load_dataset(pool, split="train").remove_columns("garment_parse")
    rows.to_parquet(tmp_path / "test-00000.parquet")
    assert len(open_validation_rows(dataclasses.replace(CONFIG, validation_dataset=str(tmp_path)))) == 12


@pytest.mark.parametrize("layout", ["imagefolder", "webdataset"])
def test_rows_are_the_same_in_every_layout(pool, tmp_path, layout):
    repack(pool, tmp_path / "rows", layout)
    expected, found = TryOnRows(pool, with_masks=True), TryOnRows(str(tmp_path / "rows"), with_masks=True)
    assert len(found) == len(expected)
    for index in (0, 7, 11):
        for name, value in expected[index].items():
            assert np.array_equal(found[index][name], value), name


def test_rows_bring_the_masks_only_to_augmentation(pool):
    assert "agnostic_mask" not in TryOnRows(str(pool))[0]
    assert {"agnostic_mask", "garment_parse"} <= set(open_training_rows(dataclasses.replace(CONFIG, dataset=pool))[0])


def test_the_example_of_the_readme_runs(capsys):
    readme = (Path(__file__).parents[2] / "training" / "README.md").read_text()
    example = re.search(r"```python\n(.*?)```", readme, flags=re.S)[1]
    exec(example.replace("size=128", "size=16").replace("batch_size=16", "batch_size=2"), {})
    assert "'person_image': (2, 3, 16, 16)" in capsys.readouterr().out
