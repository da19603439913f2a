# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Distances of feature sets against closed forms, plain loops and the libraries people know."""

from itertools import product

import numpy as np
import pytest
import torch
from library_functions import clean_fid_function, torch_fidelity_module

from diffusers_tryon.evaluation.distances import frechet_distance, kernel_distance, unbiased_kernel_distance


def with_moments(mean: np.ndarray, covariance: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Samples whose mean and sample covariance are exactly the ones asked for."""
    noise = np.random.default_rng(seed).normal(size=(count, len(mean)))
    noise -= noise.mean(axis=0)
    whitened = noise @ np.linalg.inv(np.linalg.cholesky(np.atleast_2d(np.cov(noise, rowvar=False)))).T
    values, vectors = np.linalg.eigh(covariance)
    return whitened @ (vectors * np.sqrt(values)).T + mean


def samples(count: int, dimensions: int, seed: int, shift: float = 0.0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.normal(size=(count, dimensions)) @ generator.normal(size=(dimensions, dimensions)) + shift


def test_frechet_distance_of_two_numbers_each_by_hand():
    # Means 1 and 4; variances (divided by N - 1) 2 and 8: 3^2 + (sqrt 8 - sqrt 2)^2 = 9 + 2 = 11.
    assert frechet_distance(np.array([[0.0], [2.0]]), np.array([[2.0], [6.0]])) == pytest.approx(11, rel=1e-12)


def test_frechet_distance_of_normal_distributions_on_a_line():
    first = with_moments(np.array([1.5]), np.array([[4.0]]), 20, seed=0)
    second = with_moments(np.array([-1.0]), np.array([[0.25]]), 30, seed=1)
    assert frechet_distance(first, second) == pytest.approx(2.5**2 + (2 - 0.5) ** 2, rel=1e-12)


@pytest.mark.parametrize("rotated", [False, True], ids=["diagonal", "commuting"])
def test_frechet_distance_of_commuting_covariances(rotated):
    variances_a, variances_b = np.array([1.0, 4.0, 9.0]), np.array([4.0, 1.0, 25.0])
    basis = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0] if rotated else np.eye(3)
    mean_a, mean_b = np.array([0.0, 1.0, 2.0]), np.array([1.0, 1.0, 0.0])
    first = with_moments(mean_a, basis * variances_a @ basis.T, 40, seed=4)
    second = with_moments(mean_b, basis * variances_b @ basis.T, 50, seed=5)
    # |(1, 0, 2)|^2 + (1 - 2)^2 + (2 - 1)^2 + (3 - 5)^2
    assert frechet_distance(first, second) == pytest.approx(5 + 1 + 1 + 4, rel=1e-10)


def test_frechet_distance_of_covariances_without_full_rank():
    # Both vary along one axis only: the variances 2 and 2 lie on different axes, so nothing is shared.
    first, second = np.array([[0.0, 0, 0], [2, 0, 0]]), np.array([[1.0, -1, 0], [1, 1, 0]])
    assert frechet_distance(first, second) == pytest.approx(0 + 2 + 2, rel=1e-12)
    assert frechet_distance(first, first + np.array([0, 3.0, 4.0])) == pytest.approx(25, rel=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_a_set_and_itself_in_another_order_have_no_distance(seed):
    features = samples(12, 40, seed)
    # Rounding goes both ways.
    assert 0 <= frechet_distance(features, features[::-1]) < 1e-9


def test_frechet_distance_does_not_care_which_comes_first():
    first, second = samples(30, 8, seed=7), samples(9, 8, seed=8, shift=1.0)
    assert frechet_distance(first, second) == pytest.approx(frechet_distance(second, first), rel=1e-12)


def test_more_samples_bring_the_biased_distance_of_one_distribution_down():
    generator = np.random.default_rng(9)
    distances = [frechet_distance(*generator.normal(size=(2, count, 16))) for count in (20, 200, 2000)]
    assert distances[0] > 5 * distances[1] > 25 * distances[2]


def plain_discrepancy(first, second, degree):
    def kernel(x, y):
        return (sum(a * b for a, b in zip(x, y)) / len(x) + 1) ** degree

    def different(features):
        return [kernel(features[i], features[j]) for i, j in product(range(len(features)), repeat=2) if i != j]

    across = [kernel(x, y) for x, y in product(first, second)]
    return np.mean(different(first)) + np.mean(different(second)) - 2 * np.mean(across)


def test_kernel_distance_of_tiny_sets_by_hand():
    # Kernel (xy + 1)^3 on a line: k(0, 1) = 1, k(2, 3) = 343; across k(0, .) = 1, k(1, 2) = 27, k(1, 3) = 64.
    first, second = np.array([[0.0], [1.0]]), np.array([[2.0], [3.0]])
    assert unbiased_kernel_distance(first, second) == pytest.approx(1 + 343 - 2 * (1 + 1 + 27 + 64) / 4, rel=1e-12)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_kernel_distance_against_a_double_loop(degree):
    first, second = samples(6, 5, seed=10), samples(4, 5, seed=11, shift=0.5)
    expected = plain_discrepancy(first, second, degree)
    assert unbiased_kernel_distance(first, second, degree) == pytest.approx(expected, rel=1e-12)


def test_subsets_as_large_as_the_sets_are_the_whole():
    first, second = samples(12, 5, seed=12), samples(12, 5, seed=13)
    mean, deviation = kernel_distance(first, second, subset_size=12, num_subsets=3)
    assert mean == pytest.approx(unbiased_kernel_distance(first, second), rel=1e-10)
    assert deviation == pytest.approx(0, abs=1e-9)


def test_kernel_distance_expects_nothing_of_one_distribution():
    generator = np.random.default_rng(14)
    estimates = [unbiased_kernel_distance(*generator.normal(size=(2, 10, 4))) for _ in range(2000)]
    error = np.std(estimates) / np.sqrt(len(estimates))
    assert abs(np.mean(estimates)) < 4 * error
    # The estimate with the diagonal, as it is known to be biased, would stand far off.
    assert error < 0.02


def test_the_seed_decides_the_subsets():
    first, second = samples(40, 5, seed=15), samples(40, 5, seed=16)
    chosen = {"subset_size": 10, "num_subsets": 4}
    assert kernel_distance(first, second, seed=1, **chosen) == kernel_distance(first, second, seed=1, **chosen)
    assert kernel_distance(first, second, seed=1, **chosen) != kernel_distance(first, second, seed=2, **chosen)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.zeros((1, 3)), "`features_b` must hold at least two samples, got 1"),
        (np.zeros(3), r"`features_b` must be a table \(samples, features\), got the shape \(3,\)"),
        (np.zeros((0, 3)), r"got the shape \(0, 3\)"),
        (
            np.array([[0.0, 0, 0], [0, np.nan, 0]]),
            "`features_b` must be finite, 1 samples are not, the first is number 1",
        ),
        (np.zeros((4, 2)), "must come from one network, got 3 and 2 features"),
    ],
)
@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance, unbiased_kernel_distance])
def test_bad_features_are_refused(distance, features, message):
    with pytest.raises(ValueError, match=message):
        distance(np.ones((4, 3)), features)


@pytest.mark.parametrize("size", [1, 5])
def test_subsets_that_cannot_be_drawn_are_refused(size):
    with pytest.raises(
        ValueError, match=f"`subset_size` must be from 2 to the size of the smaller set, 4, got {size}"
    ):
        kernel_distance(np.ones((4, 3)), np.ones((9, 3)), subset_size=size)


def test_no_subset_is_refused():
    with pytest.raises(ValueError, match="`num_subsets` must be at least 1, got 0"):
        kernel_distance(np.ones((4, 3)), np.ones((9, 3)), subset_size=2, num_subsets=0)


class PixelFeatures(torch.nn.Module):
    """For torchmetrics: the picture's first 24 numbers are its features."""

    num_features = 24

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)[:, : self.num_features].double()


def pictures(count: int, seed: int, low: int, high: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(low, high, size=(count, 3, 4, 4), dtype=np.uint8))


def test_frechet_distance_against_torchmetrics():
    from torchmetrics.image.fid import FrechetInceptionDistance

    first, second = pictures(50, 20, 0, 200), pictures(60, 21, 50, 255)
    metric = FrechetInceptionDistance(feature=PixelFeatures(), input_img_size=(3, 4, 4)).set_dtype(torch.float64)
    metric.update(first, real=True)
    metric.update(second, real=False)
    network = PixelFeatures()
    assert frechet_distance(network(first), network(second)) == pytest.approx(metric.compute().item(), rel=1e-8)


def test_kernel_distance_against_torchmetrics():
    from torchmetrics.image.kid import KernelInceptionDistance

    first, second = pictures(20, 22, 0, 200), pictures(20, 23, 50, 255)
    metric = KernelInceptionDistance(feature=PixelFeatures(), subsets=2, subset_size=20)
    metric.update(first, real=True)
    metric.update(second, real=False)
    mean, _ = metric.compute()
    network = PixelFeatures()
    assert unbiased_kernel_distance(network(first), network(second)) == pytest.approx(mean.item(), rel=1e-6)


def test_frechet_distance_against_clean_fid():
    first, second = samples(300, 20, seed=24), samples(250, 20, seed=25, shift=0.3)
    expected = clean_fid_function("fid_from_feats")(first, second)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-9)


def test_kernel_distance_against_clean_fid():
    first, second = samples(50, 20, seed=26), samples(50, 20, seed=27, shift=0.3)
    expected = clean_fid_function("kernel_distance")(first, second, num_subsets=1)
    assert unbiased_kernel_distance(first, second) == pytest.approx(expected, rel=1e-10)


def test_frechet_distance_against_torch_fidelity():
    module = torch_fidelity_module("metric_fid")
    first, second = samples(300, 20, seed=28), samples(250, 20, seed=29, shift=0.3)
    statistics = [module.fid_features_to_statistics(torch.from_numpy(features)) for features in (first, second)]
    expected = module.fid_statistics_to_metric(*statistics, verbose=False)[module.KEY_METRIC_FID]
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-9)


def test_kernel_distance_against_torch_fidelity():
    module = torch_fidelity_module("metric_kid")
    first, second = samples(50, 20, seed=30), samples(50, 20, seed=31, shift=0.3)
    settings = {"kid_subsets": 1, "kid_subset_size": 50, "verbose": False}
    expected = module.kid_features_to_metric(torch.from_numpy(first), torch.from_numpy(second), **settings)
    mean = expected[module.KEY_METRIC_KID_MEAN]
    assert unbiased_kernel_distance(first, second) == pytest.approx(mean, rel=1e-10)
