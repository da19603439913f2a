# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Distances between two sets of features: Frechet's, and the kernel distance (squared maximum mean discrepancy).

On features of an Inception network they are called FID and KID. Here the features may come from anywhere; the named
protocols call the libraries whose figures people know, see `feature_extractors.py`.
"""

import numpy as np


def frechet_distance(features_a: np.ndarray, features_b: np.ndarray) -> float:
    """Squared Frechet distance of the normal distributions with the means and sample covariances of two sets.

    |mean_a - mean_b|^2 + Tr(A + B - 2 (A B)^(1/2)) (Dowson and Landau, 1982). With A = X^T X for the centred features
    X, and B = Y^T Y, the trace of the root is the sum of the singular values of X Y^T: no matrix root is taken, so
    covariances without full rank (fewer samples than features) cost no accuracy.

    The expectation falls with the number of samples: only figures of equal counts can be compared, and below the
    number of features they say more about the count than about the pictures.

    Args:
        features_a (`np.ndarray`): (N, D), N at least 2.
        features_b (`np.ndarray`): (M, D), M at least 2.

    Returns:
        `float`: not negative; 0 for equal means and covariances. Computed in float64.

    Raises:
        ValueError: a set is no table of finite numbers, has fewer than two samples, or the features' numbers differ.
    """
    features_a, features_b = _checked(features_a, features_b)
    difference = features_a.mean(axis=0) - features_b.mean(axis=0)
    root_a, root_b = _covariance_root(features_a), _covariance_root(features_b)
    shared = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    distance = difference @ difference + np.square(root_a).sum() + np.square(root_b).sum() - 2 * shared
    # Rounding leaves equal sets a hair below 0.
    return max(float(distance), 0.0)


def kernel_distance(
    features_a: np.ndarray,
    features_b: np.ndarray,
    subset_size: int = 1000,
    num_subsets: int = 100,
    seed: int = 0,
    degree: int = 3,
) -> tuple[float, float]:
    """Mean and standard deviation of `unbiased_kernel_distance` over random subsets, as KID is reported (not x1000).

    Args:
        features_a (`np.ndarray`): (N, D).
        features_b (`np.ndarray`): (M, D).
        subset_size (`int`): samples drawn from each set, without replacement, at least 2.
        num_subsets (`int`): how often they are drawn.
        seed (`int`): of the draws; the same seed gives the same figures.
        degree (`int`): of the polynomial kernel.

    Raises:
        ValueError: as `frechet_distance`; or the subsets are larger than a set.
    """
    features_a, features_b = _checked(features_a, features_b)
    smaller = min(len(features_a), len(features_b))
    if not 2 <= subset_size <= smaller:
        raise ValueError(
            f"`subset_size` must be from 2 to the size of the smaller set, {smaller}, got {subset_size}. Give more "
            "samples, or draw smaller subsets and state their size beside the figure."
        )
    if num_subsets < 1:
        raise ValueError(f"`num_subsets` must be at least 1, got {num_subsets}.")
    generator = np.random.default_rng(seed)
    values = []
    for _ in range(num_subsets):
        subset_a = features_a[generator.choice(len(features_a), subset_size, replace=False)]
        subset_b = features_b[generator.choice(len(features_b), subset_size, replace=False)]
        values.append(_unbiased_discrepancy(subset_a, subset_b, degree))
    return float(np.mean(values)), float(np.std(values))


def unbiased_kernel_distance(features_a: np.ndarray, features_b: np.ndarray, degree: int = 3) -> float:
    """Unbiased estimate of the squared maximum mean discrepancy under the kernel (x.y / D + 1)^degree, of all samples.

    Binkowski et al., 2018 (arXiv 1801.01401). Its expectation is 0 for two samples of one distribution, so single
    estimates are negative about half the time. Computed in float64.

    Args:
        features_a (`np.ndarray`): (N, D), N at least 2.
        features_b (`np.ndarray`): (M, D), M at least 2.
        degree (`int`): of the kernel.

    Raises:
        ValueError: as `frechet_distance`.
    """
    return _unbiased_discrepancy(*_checked(features_a, features_b), degree)


def _checked(features_a: np.ndarray, features_b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    checked = []
    for name, features in (("features_a", features_a), ("features_b", features_b)):
        features = np.asarray(features, dtype=np.float64)
        if features.ndim != 2 or not features.size:
            raise ValueError(f"`{name}` must be a table (samples, features), got the shape {features.shape}.")
        if len(features) < 2:
            raise ValueError(f"`{name}` must hold at least two samples, got {len(features)}: one has no covariance.")
        broken = np.flatnonzero(~np.isfinite(features).all(axis=1))
        if len(broken):
            raise ValueError(
                f"`{name}` must be finite, {len(broken)} samples are not, the first is number {broken[0]}."
            )
        checked.append(features)
    if checked[0].shape[1] != checked[1].shape[1]:
        raise ValueError(
            f"`features_a` and `features_b` must come from one network, got {checked[0].shape[1]} and "
            f"{checked[1].shape[1]} features a sample."
        )
    return checked[0], checked[1]


def _covariance_root(features: np.ndarray) -> np.ndarray:
    """R with at most D rows such that R^T R is the sample covariance (divided by N - 1)."""
    centred = (features - features.mean(axis=0)) / np.sqrt(len(features) - 1)
    return np.linalg.qr(centred, mode="r")


def _unbiased_discrepancy(features_a: np.ndarray, features_b: np.ndarray, degree: int) -> float:
    within_a, within_b = (_mean_kernel_of_different(features, degree) for features in (features_a, features_b))
    return float(within_a + within_b - 2 * _kernel(features_a, features_b, degree).mean())


def _mean_kernel_of_different(features: np.ndarray, degree: int) -> float:
    kernel = _kernel(features, features, degree)
    return (kernel.sum() - np.trace(kernel)) / (len(features) * (len(features) - 1))


def _kernel(features_a: np.ndarray, features_b: np.ndarray, degree: int) -> np.ndarray:
    return (features_a @ features_b.T / features_a.shape[1] + 1) ** degree
