# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Streaming while training: the rows of the map-style dataset in an order that resumes exactly, shard by shard."""

import dataclasses
import shutil
import tarfile
import threading
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from datasets import Dataset, Image
from waiting import wait_until

from diffusers_tryon.data.augmentation import AugmentationSettings
from diffusers_tryon.data.repack import repack
from diffusers_tryon.data.rows import IMAGE_COLUMNS, RowError
from diffusers_tryon.data.shards import write_parquet
from diffusers_tryon.rendering.writer import write_pairs
from diffusers_tryon.training.configuration import TrainingConfig
from diffusers_tryon.training.dataset import SampleRows, TryOnRows, collate, open_training_rows, open_validation_rows
from diffusers_tryon.training.loader import TrainingBatches
from diffusers_tryon.training.order import Sample, local_indices
from diffusers_tryon.training.streaming import StreamedRows


COUNT, ROWS_PER_SHARD = 11, 3
LAYOUTS = ("parquet", "webdataset", "imagefolder")
CONFIG = TrainingConfig(
    preset="tiny-base",
    dataset="to be given",
    output_dir="unused",
    streaming=True,
    stream_lanes=2,
    augmentation=AugmentationSettings(),
    max_steps=7,
    global_batch_size=4,
    num_workers=0,
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("layouts")
    write_pairs(root / "parquet", COUNT, 16, rows_per_shard=ROWS_PER_SHARD)
    for layout in LAYOUTS[1:]:
        repack(root / "parquet", root / layout, layout, rows_per_shard=ROWS_PER_SHARD)
    return {layout: root / layout for layout in LAYOUTS}


@pytest.fixture
def hub(fake_hub, monkeypatch):
    """`datasets` has an address of the Hub of its own."""
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", fake_hub.url)
    return fake_hub


def assert_same(one: dict, other: dict) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert np.array_equal(value, other[name]), name


@pytest.mark.parametrize("layout", LAYOUTS)
def test_streamed_rows_are_those_of_the_map_style_dataset(folders, layout):
    expected = TryOnRows(str(folders["parquet"]), with_masks=True)
    rows = StreamedRows(str(folders[layout]), with_masks=True)
    assert rows.shard_sizes == ([COUNT] if layout == "imagefolder" else [3, 3, 3, 2])
    assert len(rows) == COUNT
    for number in (10, 0, 3, 2, 4, 9):
        assert_same(rows[number], expected[number])
    assert "agnostic_mask" not in StreamedRows(str(folders[layout]))[0]
    with pytest.raises(IndexError, match="has rows 0 to 10, got 11"):
        rows[11]


def samples_by_place(
    config: TrainingConfig, start_step: int = 0, rank: int = 0, world_size: int = 1, rows: StreamedRows | None = None
) -> dict:
    """(step, index) -> the sample's tensors."""
    batches = TrainingBatches(rows or open_training_rows(config), config, start_step, rank, world_size)
    found = {}
    for step in range(start_step, config.max_steps):
        for indices in local_indices(config, rank, world_size):
            batch = next(batches)
            for place, index in enumerate(indices):
                found[step, index] = {name: values[place] for name, values in batch.items()}
    assert next(batches, None) is None
    return found


def assert_same_samples(one: dict, other: dict) -> None:
    assert one.keys() == other.keys()
    for place, sample in one.items():
        for name, value in sample.items():
            assert torch.equal(value, other[place][name]), (place, name)


@pytest.fixture(scope="module")
def uninterrupted(folders) -> dict:
    return samples_by_place(dataclasses.replace(CONFIG, dataset=str(folders["parquet"])))


def test_a_stream_covers_the_epoch(uninterrupted):
    rows = [
        sorted(int(sample["row"]) for place, sample in uninterrupted.items() if place[1] % 2 == lane)
        for lane in (0, 1)
    ]
    assert len(rows[0]) == len(rows[1]) == 14  # of lanes with six and five rows
    assert set(rows[0]) | set(rows[1]) == set(range(COUNT)) and not set(rows[0]) & set(rows[1])
    assert all({lane.count(row) for row in lane} <= {2, 3} for lane in rows)


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("layout", ["parquet", "webdataset"])
def test_a_resumed_stream_goes_on_with_the_same_samples(folders, uninterrupted, layout, num_workers):
    config = dataclasses.replace(CONFIG, dataset=str(folders[layout]), num_workers=num_workers)
    first = samples_by_place(dataclasses.replace(config, max_steps=3))
    assert_same_samples(uninterrupted, first | samples_by_place(config, start_step=3))


def test_two_processes_with_accumulation_stream_the_samples_of_one(folders, uninterrupted):
    config = dataclasses.replace(CONFIG, dataset=str(folders["webdataset"]), micro_batch_size=1)
    both = samples_by_place(dataclasses.replace(config, num_workers=2), 0, 0, 2) | samples_by_place(config, 0, 1, 2)
    assert_same_samples(uninterrupted, both)


def test_streamed_samples_are_augmented_as_those_of_the_map_style_dataset(folders, uninterrupted):
    config = dataclasses.replace(CONFIG, dataset=str(folders["parquet"]), streaming=False)
    samples = SampleRows(open_training_rows(config), config)
    for (step, index), streamed in uninterrupted.items():
        expected = collate([samples[Sample(int(streamed["row"]), step, index)]])
        assert all(torch.equal(value, expected[name][0]) for name, value in streamed.items())


def test_a_lane_keeps_one_shard_and_no_more(folders, tmp_path):
    shutil.copytree(folders["parquet"], tmp_path / "rows")
    rows = StreamedRows(str(tmp_path / "rows"))
    rows.read(0, lane=0), rows.read(3, lane=1)
    for path in (tmp_path / "rows").glob("train-0000[01].parquet"):
        path.unlink()
    rows.read(2, lane=0), rows.read(5, lane=1)  # from memory
    rows.read(6, lane=0)
    with pytest.raises(OSError, match="train-00000.parquet cannot be read"):
        rows.read(0, lane=0)
    rows.read(4, lane=1)


def test_a_lane_reads_its_next_shard_ahead(folders, tmp_path):
    shutil.copytree(folders["parquet"], tmp_path / "rows")
    rows = StreamedRows(str(tmp_path / "rows"))
    rows.read(0, 0, lambda: 2)
    rows.read(3, 1, lambda: 1)  # a lane with one shard
    wait_until(lambda: not any("_keep" in thread.name for thread in threading.enumerate()))
    for path in (tmp_path / "rows").glob("train-*"):
        path.unlink()
    assert_same(rows.read(6, 0, lambda: 0), TryOnRows(str(folders["parquet"]))[6])
    rows.read(7, 0), rows.read(5, 1)
    with pytest.raises(OSError, match="train-00000.parquet cannot be read"):
        rows.read(0, 0)


# From the Hub


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_stream_from_the_hub(folders, hub, layout):
    hub.upload_folder("datasets/me/rows", folders[layout])
    expected, rows = TryOnRows(str(folders["parquet"])), StreamedRows("me/rows")
    for number in (0, 4, 10):
        assert_same(rows[number], expected[number])


def test_a_run_on_the_hub_resumes_and_reads_each_shard_in_one_worker(folders, hub, uninterrupted):
    hub.upload_folder("datasets/me/rows", folders["webdataset"])
    config = dataclasses.replace(CONFIG, dataset="me/rows", num_workers=2)
    first = samples_by_place(dataclasses.replace(config, max_steps=2))
    rows = open_training_rows(config)
    asked = len(hub.requests)
    later = samples_by_place(config, start_step=2, rows=rows)
    assert_same_samples(uninterrupted, first | later)

    lanes = [[int(sample["row"]) for place, sample in later.items() if place[1] % 2 == lane] for lane in (0, 1)]
    shards = [[row // ROWS_PER_SHARD for row in lane] for lane in lanes]
    times_opened = sum(1 + sum(one != other for one, other in zip(lane, lane[1:])) for lane in shards)
    downloads = [request for request in hub.requests[asked:] if request.endswith(".tar")]
    # A look at its first row, then all; at the end each lane is reading its next shard.
    assert 2 * times_opened <= len(downloads) <= 2 * (times_opened + 2)


# What is wrong


def spoil(folder: Path, rows: Path, number: int) -> Path:
    """A copy of Parquet rows with a person's image cut short."""
    shutil.copytree(rows, folder)
    path = folder / f"train-{number // ROWS_PER_SHARD:05d}.parquet"
    dataset = Dataset.from_parquet(str(path), cache_dir=str(folder / "__cache__"))
    features = dataset.features
    for name in set(IMAGE_COLUMNS) & set(features):
        dataset = dataset.cast_column(name, Image(decode=False))
    spoiled = [dict(row) for row in dataset]
    image = spoiled[number % ROWS_PER_SHARD]["person_image"]
    image["bytes"] = image["bytes"][:100]
    with open(path, "wb") as file:
        write_parquet(file, spoiled, features)
    return folder


@pytest.mark.parametrize("layout", ["parquet", "webdataset"])
def test_a_broken_row_is_named_with_its_shard(folders, tmp_path, layout):
    folder = spoil(tmp_path / "rows", folders["parquet"], 7)
    suffix = "parquet"
    if layout == "webdataset":
        repack(folder, tmp_path / "tars", layout, rows_per_shard=ROWS_PER_SHARD)
        folder, suffix = tmp_path / "tars", "tar"
    rows = StreamedRows(str(folder))
    assert rows[6]["person_image"].shape == (16, 16, 3)
    message = rf"Row 1 of .*train-00002.{suffix} \(row 7 of the dataset\) cannot be read: `person_image` is no picture"
    with pytest.raises(RowError, match=message):
        rows[7]


@pytest.mark.parametrize("layout", ["parquet", "webdataset"])
def test_a_shard_that_is_cut_short_is_named_before_the_first_step(folders, tmp_path, layout):
    shutil.copytree(folders[layout], tmp_path / "rows")
    path = sorted((tmp_path / "rows").glob("train-*"))[2]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=f"{path.name} is broken or cut short"):
        StreamedRows(str(tmp_path / "rows"))


def test_a_dataset_that_changes_while_it_is_trained_on_is_refused(folders, tmp_path):
    shutil.copytree(folders["parquet"], tmp_path / "rows")
    rows = StreamedRows(str(tmp_path / "rows"))
    shutil.copy(tmp_path / "rows" / "train-00003.parquet", tmp_path / "rows" / "train-00001.parquet")
    with pytest.raises(OSError, match="train-00001.parquet has 2 rows, and had 3 when the run started"):
        rows[3]


def test_shards_without_rows_belong_to_no_lane(folders, tmp_path):
    shutil.copytree(folders["parquet"], tmp_path / "rows")
    with open(tmp_path / "rows" / "train-00000.parquet", "wb") as file:
        write_parquet(file, [], Dataset.from_parquet(str(tmp_path / "rows" / "train-00001.parquet")).features)
    rows = StreamedRows(str(tmp_path / "rows"))
    assert rows.shard_sizes == [3, 3, 2]
    assert_same(rows[0], StreamedRows(str(folders["parquet"]))[3])


def test_more_lanes_than_shards_are_refused(folders):
    config = dataclasses.replace(CONFIG, dataset=str(folders["imagefolder"]))
    with pytest.raises(
        ValueError, match="`stream_lanes` must be at most the number of shards of the dataset, 1, got 2"
    ):
        TrainingBatches(open_training_rows(config), config, 0, 0, 1)


def test_missing_columns_and_missing_rows_are_named(tmp_path):
    (tmp_path / "columns").mkdir()
    Dataset.from_dict({"person_pose": [[0.0]]}).to_parquet(tmp_path / "columns" / "train-0.parquet")
    (tmp_path / "rows").mkdir()
    tarfile.open(tmp_path / "rows" / "train-0.tar", "w").close()
    for name, message in (("columns", "lacks the columns id, person_image"), ("rows", "has no rows")):
        with pytest.raises(ValueError, match=message):
            open_training_rows(dataclasses.replace(CONFIG, dataset=str(tmp_path / name)))


def test_validation_rows_are_streamed_too(folders, tmp_path):
    config = dataclasses.replace(CONFIG, dataset=str(folders["webdataset"]))
    assert_same(open_validation_rows(config)[3], TryOnRows(str(folders["parquet"]))[3])
    shutil.copytree(folders["parquet"], tmp_path / "test")
    for path in (tmp_path / "test").glob("train-*"):
        path.rename(path.with_name(path.name.replace("train", "test")))
    config = dataclasses.replace(config, validation_dataset=str(tmp_path / "test"))
    assert isinstance(open_validation_rows(config), StreamedRows) and len(open_validation_rows(config)) == COUNT
