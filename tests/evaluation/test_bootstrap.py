# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Intervals of means, shares and other statistics: closed forms, enumeration of all samples, published examples."""

from collections import Counter
from itertools import product

import numpy as np
import pytest
from scipy import stats

from diffusers_tryon.evaluation import bootstrap
from diffusers_tryon.evaluation.bootstrap import (
    crossed_interval,
    mean_interval,
    resampled_sums,
    share_interval,
    statistic_interval,
)


def test_of_many_cases_the_interval_is_that_of_normal_theory():
    values = np.random.default_rng(1).exponential(3.0, 4000)
    half_width = 1.959964 * values.std() / np.sqrt(len(values))
    found = mean_interval(values, num_resamples=8000)
    assert found.mean == pytest.approx(values.mean(), rel=1e-12) and found.count == 4000
    assert found.low == pytest.approx(values.mean() - half_width, abs=0.06 * half_width)
    assert found.high == pytest.approx(values.mean() + half_width, abs=0.06 * half_width)
    narrower = mean_interval(values, confidence=0.5, num_resamples=8000)
    assert narrower.high - narrower.low == pytest.approx(2 * half_width * 0.67449 / 1.959964, rel=0.06)


def test_intervals_hold_the_true_mean_as_often_as_they_say():
    rng = np.random.default_rng(2)
    found = [mean_interval(rng.normal(5.0, 2.0, 60), num_resamples=400, seed=number) for number in range(400)]
    held = np.mean([interval.low <= 5.0 <= interval.high for interval in found])
    # Two standard deviations of the share, and the little that a bootstrap of 60 cases is too narrow.
    assert 0.91 < held < 0.975


def test_samples_are_those_that_enumeration_gives():
    values = np.array([1.0, 10.0, 100.0])
    exact = Counter(sum(sample) for sample in product(values, repeat=3))
    found = Counter(resampled_sums(values, 27_000, seed=0).tolist())
    assert found.keys() == exact.keys() and len(exact) == 10
    for total, ways in exact.items():
        assert found[total] == pytest.approx(1000 * ways, rel=0.15)
    # 1/27 of the means are 1, so the 2.5 % quantile is 1 and that of 5 % is 4; above it is the same.
    assert mean_interval(values, num_resamples=27_000)[:3] == (37.0, 1.0, 100.0)
    assert mean_interval(values, confidence=0.9, num_resamples=27_000)[1:3] == pytest.approx((4.0, 70.0))


def test_scipy_finds_the_same_interval():
    values = np.random.default_rng(3).gamma(2.0, 1.5, 80)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=0).confidence_interval
    ours = mean_interval(values, num_resamples=20_000)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=0.01)


def test_constant_values_have_no_width():
    assert mean_interval(np.full(50, 0.1)) == pytest.approx((0.1, 0.1, 0.1, 50))


def test_missing_figures_are_left_out_and_counted():
    values = np.array([3.0, np.nan, 1.0, 2.0, np.nan])
    assert mean_interval(values) == mean_interval(np.array([3.0, 1.0, 2.0]))
    assert mean_interval(values).count == 3


@pytest.mark.parametrize("values", [[], [np.nan], [7.0]])
def test_fewer_than_two_cases_have_no_interval(values):
    found = mean_interval(np.array(values))
    assert found.count == (values == [7.0])
    assert found.mean == 7.0 if values == [7.0] else np.isnan(found.mean)
    assert np.isnan(found.low) and np.isnan(found.high)


def test_the_same_seed_gives_the_same_interval_whatever_is_drawn_at_once(monkeypatch):
    values = np.random.default_rng(4).normal(size=37)
    whole = mean_interval(values)
    monkeypatch.setattr(bootstrap, "_DRAWN_AT_ONCE", 100)
    assert mean_interval(values) == whole
    assert mean_interval(values, seed=1) != whole


def test_a_statistic_of_sums_has_the_width_of_its_closed_form():
    right = np.random.default_rng(0).random(400) < 0.7
    groups = np.stack([right, ~right], axis=1).astype(float)

    def share(total: np.ndarray) -> float:
        return float(total[0] / total.sum())

    few, many = statistic_interval(share, groups[:40]), statistic_interval(share, groups)
    assert many[0] < share(groups.sum(axis=0)) < many[1]
    assert many[1] - many[0] == pytest.approx(2 * 1.96 * np.sqrt(0.7 * 0.3 / 400), rel=0.15)
    assert few[1] - few[0] > 2 * (many[1] - many[0])
    # A share is a mean.
    assert many == pytest.approx(mean_interval(right.astype(float))[1:3])


@pytest.mark.parametrize(("wins", "count"), [(0, 20), (1, 29), (15, 148), (81, 263), (20, 20)])
def test_shares_have_the_interval_of_wilson(wins, count):
    values = np.zeros(count)
    values[:wins] = 1
    theirs = stats.binomtest(wins, count).proportion_ci(method="wilson")
    assert share_interval(values) == pytest.approx((wins / count, theirs.low, theirs.high, count))


def test_shares_of_newcombe():
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3: 81 of 263.
    found = share_interval(np.repeat([1.0, 0.0], [81, 182]))
    assert (round(found.low, 4), round(found.high, 4)) == (0.2553, 0.3662)


def test_draws_count_half_and_missing_cases_not_at_all():
    assert share_interval(np.array([1, 0.5, 0.5, 0, np.nan])) == share_interval(np.array([1.0, 1, 0, 0]))
    assert share_interval(np.array([np.nan])).count == 0


# Runs and cases at once


def test_crossed_interval_is_that_of_the_components_of_variance():
    # By hand: mean 4; means of the runs 3 and 5, of the cases 2, 4, 6. Mean squares: runs 3 (1 + 1) / 1 = 6, cases
    # 2 (4 + 0 + 4) / 2 = 8, interaction (1 + 1 + 0 + 0 + 1 + 1) / 2 = 2; so 6 + 8 - 2 = 12 over six values.
    values = np.array([[2.0, 3.0, 4.0], [2.0, 5.0, 8.0]])
    freedom = 12**2 / (6**2 / 1 + 8**2 / 2 + 2**2 / 2)
    half_width = stats.t.ppf(0.975, freedom) * np.sqrt(12 / 6)
    assert crossed_interval(values) == pytest.approx((4, 4 - half_width, 4 + half_width, 3))
    with_gap = np.insert(values, 1, [np.nan, 7.0], axis=1)
    assert crossed_interval(with_gap) == crossed_interval(values)


def test_crossed_interval_of_one_run_is_student_s_of_its_cases():
    values = np.random.default_rng(0).normal(size=20)
    low, high = stats.t.interval(0.9, 19, values.mean(), stats.sem(values))
    assert crossed_interval(values[None], 0.9) == pytest.approx((values.mean(), low, high, 20))
    assert np.isnan(crossed_interval(values[None, :1]).low)
    assert crossed_interval(np.ones((3, 4))) == (1, 1, 1, 4)


@pytest.mark.parametrize("deviations", [(0.2, 1.0, 1.0), (0.05, 1.0, 0.3)], ids=["noisy runs", "quiet runs"])
def test_crossed_intervals_hold_the_truth_as_often_as_they_say(deviations):
    rng = np.random.default_rng(1)
    of_run, of_case, of_both = deviations
    held = []
    for _ in range(1000):
        values = (
            of_run * rng.normal(size=(3, 1)) + of_case * rng.normal(size=(1, 64)) + of_both * rng.normal(size=(3, 64))
        )
        low, high = crossed_interval(values)[1:3]
        held.append(low <= 0 <= high)
    assert 0.92 < np.mean(held) < 0.98
