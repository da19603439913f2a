# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Which row is which sample, in which process."""

import dataclasses
import time

import numpy as np
import pytest

from diffusers_tryon.training.configuration import TrainingConfig
from diffusers_tryon.training.dataset import collate
from diffusers_tryon.training.order import RenderedOrder, ShardOrder, ShuffledOrder, StepSampler, local_indices


CONFIG = TrainingConfig(preset="tiny-base", dataset="unused", output_dir="unused", max_steps=10, global_batch_size=4)
LANES = dataclasses.replace(CONFIG, streaming=True, stream_lanes=2, max_steps=50)
SHARD_SIZES = [3, 5, 1, 4, 2]
ORDERS = {
    "shuffled": ShuffledOrder(13, CONFIG),
    "rendered": RenderedOrder(CONFIG),
    "one lane": ShardOrder(SHARD_SIZES, dataclasses.replace(LANES, stream_lanes=1)),
    "two lanes": ShardOrder(SHARD_SIZES, LANES),
    "four lanes": ShardOrder(SHARD_SIZES, dataclasses.replace(LANES, stream_lanes=4)),
}


@pytest.fixture(params=list(ORDERS))
def order(request):
    return ORDERS[request.param]


def first_rows(order, count: int, batch_size: int = 4) -> list[int]:
    return [order.row(*divmod(position, batch_size)) for position in range(count)]


def test_shuffled_rows_come_once_in_each_epoch_in_another_order():
    rows = first_rows(ORDERS["shuffled"], 39)
    epochs = [rows[:13], rows[13:26], rows[26:]]
    assert all(sorted(epoch) == list(range(13)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert rows == first_rows(ShuffledOrder(13, CONFIG), 39)
    assert rows != first_rows(ShuffledOrder(13, dataclasses.replace(CONFIG, seed=1)), 39)


def test_epochs_do_not_depend_on_the_size_of_the_batch():
    batches_of_six = ShuffledOrder(13, dataclasses.replace(CONFIG, global_batch_size=6))
    assert first_rows(batches_of_six, 39, batch_size=6) == first_rows(ORDERS["shuffled"], 39)


def shard_of(row: int) -> int:
    return int(np.searchsorted(np.cumsum(SHARD_SIZES), row, side="right"))


@pytest.mark.parametrize("lanes", [1, 2, 4])
def test_a_lane_sees_its_rows_once_in_each_of_its_epochs_shard_by_shard(lanes):
    order = ShardOrder(SHARD_SIZES, dataclasses.replace(LANES, stream_lanes=lanes))
    rows_of_lane = [[] for _ in range(lanes)]
    for step in range(60):
        for index in range(4):
            rows_of_lane[index % lanes].append(order.row(step, index))
    seen = []
    for rows in rows_of_lane:
        own = sorted(set(rows))
        seen += own
        epochs = [rows[first : first + len(own)] for first in range(0, len(rows), len(own))][:-1]
        assert len(epochs) > 2 and all(sorted(epoch) == own for epoch in epochs)
        for epoch in epochs:
            shards = [shard_of(row) for row in epoch]
            changes = sum(one != other for one, other in zip(shards, shards[1:]))
            assert changes == len(set(shards)) - 1, "a shard is left before its rows are through"
        if len(own) > 3:
            assert len(set(map(tuple, epochs))) > 1
    assert sorted(seen) == list(range(sum(SHARD_SIZES)))


@pytest.mark.parametrize("lanes", [1, 2, 4])
def test_the_next_shard_of_a_lane_is_the_one_it_reads_next(lanes):
    order = ShardOrder(SHARD_SIZES, dataclasses.replace(LANES, stream_lanes=lanes))
    for lane in range(lanes):
        places = [(step, index) for step in range(30) for index in range(lane, 4, lanes)]
        shards = [shard_of(order.row(*place)) for place in places]
        for number, place in enumerate(places[:50]):
            others = [shard for shard in shards[number:] if shard != shards[number]]
            # An epoch may begin with the shard that the last one ended with, and a lane may have one alone.
            assert order.next_shard(*place) in (shards[number], *others[:1])
        announced = {order.next_shard(*place) for place in places}
        assert announced == set(shards)


def test_shards_are_dealt_by_the_seed():
    def lane_of_shards(seed: int) -> tuple[int, ...]:
        order = ShardOrder(SHARD_SIZES, dataclasses.replace(LANES, seed=seed))
        lanes = {shard_of(order.row(step, index)): index % 2 for step in range(10) for index in range(4)}
        return tuple(lanes[shard] for shard in range(5))

    assert lane_of_shards(0) == lane_of_shards(0)
    assert len({lane_of_shards(seed) for seed in range(5)}) > 1


def test_any_start_gives_what_an_uninterrupted_run_has(order):
    whole = list(StepSampler(order, CONFIG, 0, 0, 1))
    for start in (1, 4, 9, 10):
        assert list(StepSampler(order, CONFIG, start, 0, 1)) == whole[start:]


def test_any_division_gives_the_same_rows_to_the_same_places(order):
    config = dataclasses.replace(CONFIG, global_batch_size=4, max_steps=6)
    alone = {sample for batch in StepSampler(order, config, 0, 0, 1) for sample in batch}
    assert len(alone) == 24
    for world_size, micro_batch_size in ((1, 1), (1, 2), (2, 1), (2, 2), (4, 1)):
        divided = dataclasses.replace(config, micro_batch_size=micro_batch_size)
        samplers = [StepSampler(order, divided, 0, rank, world_size) for rank in range(world_size)]
        assert all(len(list(sampler)) == len(sampler) for sampler in samplers)
        samples = [sample for sampler in samplers for batch in sampler for sample in batch]
        assert len(samples) == 24 and set(samples) == alone
        indices = [
            index for rank in range(world_size) for of in local_indices(divided, rank, world_size) for index in of
        ]
        assert sorted(indices) == [0, 1, 2, 3]


def test_a_process_sees_lanes_of_its_own_where_they_are_a_multiple_of_the_processes():
    config = dataclasses.replace(LANES, global_batch_size=16, stream_lanes=4, micro_batch_size=2)
    for rank in range(2):
        lanes = {index % 4 for indices in local_indices(config, rank, 2) for index in indices}
        assert lanes == {rank, rank + 2}


@pytest.mark.parametrize("kind", ["shuffled", "shards"])
def test_a_late_step_is_found_at_once(kind):
    config = dataclasses.replace(CONFIG, global_batch_size=64, stream_lanes=8, max_steps=1_000_001)
    order = ShuffledOrder(100_000, config) if kind == "shuffled" else ShardOrder([1000] * 100, config)
    start = time.process_time()
    (late,) = StepSampler(order, config, 1_000_000, 0, 1)
    assert time.process_time() - start < 1
    assert len({sample.row for sample in late}) == 64


def test_lanes_that_do_not_fit_are_refused():
    with pytest.raises(
        ValueError, match="`stream_lanes` must be at most the number of shards of the dataset, 5, got 8"
    ):
        ShardOrder(SHARD_SIZES, dataclasses.replace(LANES, global_batch_size=16, stream_lanes=8))
    with pytest.raises(ValueError, match="`stream_lanes` must divide `global_batch_size`, 4, got 3"):
        ShardOrder(SHARD_SIZES, dataclasses.replace(LANES, stream_lanes=3))


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
