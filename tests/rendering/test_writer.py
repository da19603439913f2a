# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Pools on disk: loadable, the same from any number of workers, resumable."""

import json

import numpy as np
import pytest
from datasets import load_dataset

from diffusers_tryon.data.schema import dataset_features
from diffusers_tryon.rendering.samples import PAIR_COLUMNS, render_pair
from diffusers_tryon.rendering.writer import _render_together, row_seed, write_pairs


SIZE = 16


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pool")
    write_pairs(folder, count=7, size=SIZE, seed=2, rows_per_shard=3)
    return folder


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.parquet")}


def test_a_pool_loads_with_datasets_and_holds_the_rendered_rows(pool, tmp_path):
    loaded = load_dataset(str(pool), split="train", cache_dir=str(tmp_path))
    assert loaded.features == dataset_features(PAIR_COLUMNS)
    assert len(loaded) == 7 and len(set(loaded["id"])) == 7
    for index in (0, 3, 6):
        row, expected = loaded[index], render_pair(row_seed(2, index), SIZE)
        for name, value in expected.items():
            if name in ("garment_type", "category"):
                assert loaded.features[name].int2str(row[name]) == value
            elif isinstance(value, np.ndarray):
                assert np.array_equal(np.asarray(row[name], dtype=value.dtype), value), name
            else:
                assert row[name] == value


def test_streaming_reads_the_images_from_inside_the_shards(pool):
    rows = list(load_dataset(str(pool), split="train", streaming=True))
    assert len(rows) == 7 and rows[0]["person_image"].size == (SIZE, SIZE)


def test_rows_made_together_are_those_made_one_by_one():
    """What `write_pairs` does where there is a GPU, here on the CPU."""
    arguments = {"seed": 2, "size": SIZE, "split": "train", "unpaired": False, "category": None}
    for index, (row, _, _) in zip((4, 1), _render_together([4, 1], device="cpu", **arguments), strict=True):
        for name, value in render_pair(row_seed(2, index), SIZE).items():
            assert np.array_equal(row[name], value), name


def test_two_workers_write_the_same_bytes_as_one(pool, tmp_path):
    write_pairs(tmp_path, count=7, size=SIZE, seed=2, rows_per_shard=3, workers=2)
    assert contents(tmp_path) == contents(pool)


def test_a_deleted_shard_is_written_again_and_the_others_are_left_alone(pool):
    before, times = contents(pool), {path.name: path.stat().st_mtime_ns for path in pool.glob("*.parquet")}
    (pool / "train-00001.parquet").unlink()
    write_pairs(pool, count=7, size=SIZE, seed=2, rows_per_shard=3)
    assert contents(pool) == before
    for name in ("train-00000.parquet", "train-00002.parquet"):
        assert (pool / name).stat().st_mtime_ns == times[name]


def test_a_pool_is_extended_and_never_shortened(tmp_path):
    write_pairs(tmp_path, count=2, size=SIZE, rows_per_shard=2)
    first_shard = (tmp_path / "train-00000.parquet").read_bytes()
    write_pairs(tmp_path, count=3, size=SIZE, rows_per_shard=2)
    write_pairs(tmp_path, count=1, size=SIZE, rows_per_shard=2)
    assert sorted(contents(tmp_path)) == ["train-00000.parquet", "train-00001.parquet"]
    assert contents(tmp_path)["train-00000.parquet"] == first_shard
    # The last shard held one row; with one more it is rendered anew.
    write_pairs(tmp_path, count=4, size=SIZE, rows_per_shard=2)
    assert len(load_dataset(str(tmp_path), split="train", streaming=False, cache_dir=str(tmp_path / "cache"))) == 4


def test_two_processes_render_the_shards_of_the_pool_between_them(pool, tmp_path):
    for index, names in ((1, ["train-00001"]), (0, ["train-00000", "train-00001", "train-00002"])):
        arguments = {"seed": 2, "rows_per_shard": 3, "process_index": index, "num_processes": 2}
        write_pairs(tmp_path, 7, SIZE, **arguments)
        assert [path.stem for path in sorted(tmp_path.glob("*.parquet"))] == names
    assert contents(tmp_path) == contents(pool)


def test_unpaired_rows_of_the_test_split(tmp_path):
    write_pairs(tmp_path / "pool", count=2, size=SIZE, split="test", unpaired=True)
    loaded = load_dataset(str(tmp_path / "pool"), split="test", cache_dir=str(tmp_path / "cache"))
    assert loaded[0]["target_image"].size == (SIZE, SIZE)
    assert loaded["id"][0].startswith("test-unpaired-")


def test_a_pool_of_one_category(tmp_path):
    write_pairs(tmp_path, count=3, size=SIZE, category="dress")
    rows = list(load_dataset(str(tmp_path), split="train", streaming=True))
    names = dataset_features()["category"].names
    assert [names[row["category"]] for row in rows] == ["dress"] * 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0}, "`count` must be an integer of at least 1, got 0"),
        ({"size": 4}, "`size` must be an integer from 16 to 1024 pixels, got 4"),
        ({"workers": 0}, "`workers` must be an integer of at least 1, got 0"),
        ({"workers": 1.5}, "`workers` must be an integer of at least 1, got 1.5"),
        ({"seed": -3}, "`seed` must be an integer of at least 0, got -3"),
        ({"split": "all"}, "`split` must be one of train, test, got 'all'"),
        ({"category": "hat"}, "`category` must be one of upper, lower, dress"),
        ({"process_index": 1}, "`process_index` must be from 0 to 0, got 1"),
        ({"rows_per_shard": 0}, "`rows_per_shard` must be an integer of at least 1"),
    ],
)
def test_bad_arguments_are_named_before_anything_is_written(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        write_pairs(**{"out_dir": tmp_path / "pool", "count": 1, "size": SIZE, "rows_per_shard": 2} | arguments)
    assert not (tmp_path / "pool").exists()


@pytest.mark.parametrize("change", [{"seed": 3}, {"size": 32}, {"unpaired": True}, {"category": "upper"}])
def test_another_pool_in_the_folder_is_not_mixed_in(pool, change):
    before = contents(pool)
    with pytest.raises(ValueError, match="`out_dir` already holds other rows: .*train.json says"):
        write_pairs(pool, **{"count": 7, "size": SIZE, "seed": 2, "rows_per_shard": 3} | change)
    assert contents(pool) == before


def test_a_pool_of_another_renderer_is_not_extended(tmp_path):
    write_pairs(tmp_path, count=1, size=SIZE)
    settings = tmp_path / "__source__" / "train.json"
    content = json.loads(settings.read_text())
    content["source"]["renderer_version"] -= 1
    settings.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="`out_dir` already holds other rows"):
        write_pairs(tmp_path, count=2, size=SIZE)
