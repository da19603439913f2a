# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Power-function averages of weights (arXiv 2312.02696, section 3.1): widths, exponents and decays.

At step t the average has the weight p(tau) = (gamma + 1) tau^gamma / t^(gamma + 1) for the time tau in [0, t], and the
weights after step k stand for the time between k - 1 and k.
"""

import numpy as np


# The width of gamma = 0, the plain mean of all steps; wider profiles would weigh the first steps most.
MAX_WIDTH = 12**-0.5


def exponent_of_width(sigma: float) -> float:
    """The exponent gamma of the profile whose standard deviation is `sigma` times the length of the run.

    The variance of p relative to t^2 is (gamma + 1) / ((gamma + 2)^2 (gamma + 3)), so gamma is the largest root of
    gamma^3 + 7 gamma^2 + (16 - sigma^-2) gamma + 12 - sigma^-2.

    Raises:
        ValueError: `sigma` is not in 0 (exclusive) to 0.2887.
    """
    if not 0 < sigma <= MAX_WIDTH:
        raise ValueError(f"`ema_power_sigmas` must be above 0 and at most {MAX_WIDTH:.4f}, got {sigma}.")
    roots = np.roots([1, 7, 16 - sigma**-2, 12 - sigma**-2])
    return max(float(roots.real.max()), 0.0)


def power_decay(step: int, exponent: float) -> float:
    """The decay (1 - 1/t)^(gamma + 1) at step t, counted from 1: zero at the first step."""
    return (1 - 1 / step) ** (exponent + 1)
