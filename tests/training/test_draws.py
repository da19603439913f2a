# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What is drawn for a batch: its statistics, and that it is a function of seed, step and index alone."""

import dataclasses

import numpy as np
import pytest
import torch

from diffusers_tryon.training.configuration import TrainingConfig
from diffusers_tryon.training.order import Sample, ShardOrder, ShuffledOrder, local_indices
from diffusers_tryon.training.randomness import TrainingDraw, augmentation_generator, draw_batch


CONFIG = TrainingConfig(
    preset="tiny-sr",
    dataset="unused",
    output_dir="unused",
    stage="sr",
    low_res_size=16,
    base_model="unused",
    global_batch_size=4,
)
LARGE = dataclasses.replace(CONFIG, global_batch_size=4000)


@pytest.fixture(scope="module")
def large_draw() -> TrainingDraw:
    config = dataclasses.replace(LARGE, condition_dropout=0.1, max_garment_noise_level=9)
    return draw_batch(config, 0, list(range(4000)), (1, 1))


def assert_row_of(draw: TrainingDraw, row: int, single: TrainingDraw) -> None:
    for field in dataclasses.fields(draw):
        assert torch.equal(getattr(draw, field.name)[row : row + 1], getattr(single, field.name)), field.name


def test_a_draw_depends_on_seed_step_and_index_alone():
    whole = draw_batch(CONFIG, 3, [0, 1, 2, 3], (4, 6))
    assert_row_of(whole, 2, draw_batch(CONFIG, 3, [2], (4, 6)))
    assert_row_of(draw_batch(CONFIG, 3, [3, 2], (4, 6)), 1, draw_batch(CONFIG, 3, [2], (4, 6)))


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(TrainingDraw) if field.name != "indices"])
def test_every_part_of_a_draw_changes_with_seed_step_and_index(name):
    def part(config, step, first):
        return getattr(draw_batch(config, step, list(range(first, first + 100)), (2, 2)), name)

    config = dataclasses.replace(LARGE, condition_dropout=0.5, base_output_probability=0.5)
    one = part(config, 3, 0)
    assert not torch.equal(one, part(config, 4, 0))
    assert not torch.equal(one, part(config, 3, 100))
    assert not torch.equal(one, part(dataclasses.replace(config, seed=1), 3, 0))


def test_noises_are_independent(large_draw):
    names = ("noise", "agnostic_noise", "garment_noise", "low_res_noise")
    noises = torch.stack([getattr(large_draw, name).flatten() for name in names])  # (4, 12000)
    torch.testing.assert_close(noises @ noises.T / noises.shape[1], torch.eye(4), rtol=0, atol=0.05)
    assert noises.mean(dim=1).abs().max() < 0.04
    along = noises[:, :-1] * noises[:, 1:]
    assert along.mean().abs() < 0.02, "neighbouring samples"


def test_a_base_stage_draws_what_a_second_stage_does_but_for_its_picture():
    base = dataclasses.replace(CONFIG, stage="base", low_res_size=None, base_model=None)
    draw = draw_batch(base, 3, [0, 1], (4, 6))
    assert draw.low_res_noise is None and draw.noise.shape == draw.garment_noise.shape == (2, 3, 4, 6)
    assert torch.equal(draw.timesteps, draw_batch(CONFIG, 3, [0, 1], (4, 6)).timesteps)


def test_no_two_uses_share_random_numbers(monkeypatch):
    states = []

    def recorded(function):
        def call(words):
            states.append(tuple(sequence_class(words).generate_state(4)))
            return function(words)

        return call

    sequence_class = np.random.SeedSequence
    monkeypatch.setattr(np.random, "default_rng", recorded(np.random.default_rng))
    monkeypatch.setattr(np.random, "SeedSequence", recorded(sequence_class))
    table, stream = ShuffledOrder(4, CONFIG), ShardOrder([2, 2], CONFIG)
    for step in range(4):
        draw_batch(CONFIG, step, [0, 1, 2, 3], (1, 1))
        for index in range(4):
            augmentation_generator(CONFIG, Sample(0, step, index))
            table.row(step, index)
            stream.row(step, index)
    # By step: a table, a lane, two shards, the strata, and four things of each sample.
    assert len(states) == 1 + 4 * (1 + 1 + 2 + 1 + 4 * 4)
    assert len(set(states)) == len(states)


def test_levels_are_uniform_up_to_their_limit(large_draw):
    assert large_draw.garment_levels.bincount().tolist() == pytest.approx([400] * 10, abs=80)
    quarters = (large_draw.agnostic_levels // 250).bincount().tolist()
    assert quarters == pytest.approx([1000] * 4, abs=110)
    assert large_draw.low_res_levels.max() > 990 and large_draw.low_res_levels.min() < 10
    correlation = torch.corrcoef(torch.stack([large_draw.agnostic_levels, large_draw.low_res_levels]).float())
    assert abs(correlation[0, 1]) < 0.06, "each image has a level of its own"


def test_dropout_is_joint_by_default(large_draw):
    assert large_draw.conditioning_mask.shape == (4000,) and large_draw.conditioning_mask.dtype == torch.bool
    assert (~large_draw.conditioning_mask).float().mean() == pytest.approx(0.1, abs=0.02)
    others = [getattr(large_draw, f"{name}_levels") for name in ("agnostic", "garment", "low_res")]
    table = torch.stack([large_draw.conditioning_mask, large_draw.timesteps, *others]).float()
    assert torch.corrcoef(table)[0, 1:].abs().max() < 0.06, "of all samples alike"


def test_dropout_of_each_condition_by_itself():
    config = dataclasses.replace(LARGE, condition_dropout=0.3, condition_dropout_mode="independent")
    dropped = ~draw_batch(config, 0, list(range(4000)), (1, 1)).conditioning_mask
    assert dropped.shape == (4000, 4)
    assert dropped.float().mean(dim=0).tolist() == pytest.approx([0.3] * 4, abs=0.03)
    assert dropped.all(dim=1).float().mean() == pytest.approx(0.3**4, abs=0.006)
    correlation = torch.corrcoef(dropped.float().T) - torch.eye(4)
    assert correlation.abs().max() < 0.06


def test_how_often_the_base_stage_is_asked(large_draw):
    assert not large_draw.takes_base_output.any()
    config = dataclasses.replace(LARGE, base_output_probability=0.25)
    draw = draw_batch(config, 0, list(range(4000)), (1, 1))
    assert draw.takes_base_output.float().mean() == pytest.approx(0.25, abs=0.025)
    assert len(draw.base_output_seeds.unique()) == 4000 and (draw.base_output_seeds >= 0).all()
    # Asking the base stage changes nothing else about a sample.
    assert torch.equal(draw.noise, large_draw.noise) and torch.equal(draw.timesteps, large_draw.timesteps)


def test_what_is_decided_for_a_sample_does_not_depend_on_its_timestep():
    config = dataclasses.replace(
        CONFIG,
        global_batch_size=1,
        condition_dropout=0.5,
        condition_dropout_mode="independent",
        base_output_probability=0.5,
    )
    draws = [draw_batch(config, step, [0], (1, 1)) for step in range(800)]
    timesteps = torch.cat([draw.timesteps for draw in draws]).double()
    decisions = torch.cat([torch.cat([draw.conditioning_mask[0], draw.takes_base_output]) for draw in draws])
    levels = torch.stack(
        [torch.cat([draw.agnostic_levels, draw.garment_levels, draw.low_res_levels]) for draw in draws]
    )
    table = torch.cat([timesteps[:, None], decisions.view(800, 5), levels], dim=1)
    correlations = torch.corrcoef(table.T) - torch.eye(9)
    assert correlations.abs().max() < 0.13


@pytest.mark.parametrize("step", [0, 7])
@pytest.mark.parametrize("world_size,micro_batch_size", [(1, None), (2, 2), (3, 4), (4, 1)])
def test_timesteps_cover_the_global_batch_whatever_the_split(step, world_size, micro_batch_size):
    config = dataclasses.replace(CONFIG, global_batch_size=24, micro_batch_size=micro_batch_size)
    timesteps = []
    for rank in range(world_size):
        for indices in local_indices(config, rank, world_size):
            timesteps += draw_batch(config, step, indices, (1, 1)).timesteps.tolist()
    # One timestep in each 24th of the thousand; the interval [k, k + 1) / 24 holds these whole timesteps.
    for stratum, timestep in enumerate(sorted(timesteps)):
        assert stratum * 1000 // 24 <= timestep <= (stratum + 1) * 1000 // 24


def test_every_index_sees_all_timesteps_over_the_steps():
    # Were sample i always in the i-th interval, a row that always comes at the same index would see one noise level.
    timesteps = torch.cat([draw_batch(CONFIG, step, [0], (1, 1)).timesteps for step in range(801)])
    quarters = timesteps // 250
    assert quarters.bincount().tolist() == pytest.approx([200] * 4, abs=50)
    after_each_other = 4 * quarters[:-1] + quarters[1:]
    assert after_each_other.bincount(minlength=16).tolist() == pytest.approx([50] * 16, abs=25)
