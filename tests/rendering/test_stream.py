# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Rendered rows without a disk are those on the disk, whoever renders them and wherever a stream starts."""

from itertools import islice

import numpy as np
import pytest
from datasets import load_dataset
from torch.utils.data import DataLoader

from diffusers_tryon.rendering.samples import row_id
from diffusers_tryon.rendering.stream import RenderedRows, RenderedStream
from diffusers_tryon.rendering.writer import write_pairs


SIZE = 16


def row_ids(rows: list[dict]) -> list[str]:
    return [row["id"] for row in rows]


def test_rows_are_those_of_a_pool_on_disk(tmp_path):
    write_pairs(tmp_path, 3, SIZE, seed=2)
    written = load_dataset(str(tmp_path), split="train")
    rows = RenderedRows(SIZE, seed=2)
    streamed = list(islice(RenderedStream(SIZE, seed=2), 3))
    for index in range(3):
        for rendered in (rows[index], streamed[index]):
            for name, value in written[index].items():
                feature = written.features[name]
                if hasattr(feature, "int2str"):
                    value = feature.int2str(value)
                np.testing.assert_array_equal(rendered[name], np.asarray(value), err_msg=name)


@pytest.mark.parametrize("num_workers", [0, 1, 2])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_batches_and_their_order_do_not_depend_on_the_workers(num_workers, batch_size):
    stream = RenderedStream(SIZE, seed=1, start=5, batch_size=batch_size)
    loader = DataLoader(stream, batch_size=batch_size, num_workers=num_workers, collate_fn=row_ids)
    batches = list(islice(loader, 3))
    expected = [row_id(2**32 + index, "train", False) for index in range(5, 5 + 3 * batch_size)]
    assert [name for batch in batches for name in batch] == expected


def test_processes_share_the_rows_and_a_later_start_goes_on():
    def ids(start, count, rank=0, world_size=1):
        return row_ids(islice(RenderedStream(SIZE, start=start, rank=rank, world_size=world_size), count))

    whole = ids(0, 8)
    shares = [ids(0, 4, rank, 2) for rank in range(2)]
    assert shares[0] == whole[0::2] and shares[1] == whole[1::2]
    assert ids(3, 5) == whole[3:]
    assert ids(4, 2, rank=1, world_size=2) == shares[1][2:]


def test_workers_render_the_same_bytes():
    loader = DataLoader(RenderedStream(48), batch_size=None, num_workers=2)
    rows = RenderedRows(48)
    for index, row in enumerate(islice(loader, 4)):
        for name in ("person_image", "garment_image", "person_pose"):
            np.testing.assert_array_equal(row[name], rows[index][name], err_msg=name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 8}, "`size` must be"),
        ({"seed": -1}, "`seed` must be"),
        ({"split": "validation"}, "`split` must be"),
        ({"start": -1}, "`start` must be at least 0, got -1"),
        ({"batch_size": 0}, "`batch_size` must be at least 1, got 0"),
        ({"rank": 2, "world_size": 2}, "`rank` must be in 0 to 1 .*got 2"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        RenderedStream(**{"size": SIZE, **arguments})


def test_a_loader_gets_several_rows_at_once():
    rows = RenderedRows(SIZE, seed=3)
    loaded = next(iter(DataLoader(rows, batch_size=2, sampler=[5, 1], collate_fn=list)))
    assert [row["id"] for row in loaded] == [rows[5]["id"], rows[1]["id"]]


@pytest.mark.parametrize("index", [-1, 2**32])
def test_an_index_outside_the_seed_is_refused(index):
    with pytest.raises(IndexError, match=f"got {index}"):
        RenderedRows(SIZE)[index]
