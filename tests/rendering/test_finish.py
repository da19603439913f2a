# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The finish of photographs."""

from dataclasses import replace

import numpy as np
import pytest

from diffusers_tryon.rendering.finish import Finish, draw_finish


PLAIN = Finish(gain=np.ones(3), contrast=1.0, softness=0.0, noise=0.0, noise_seed=1)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)


def test_a_plain_finish_changes_nothing(image):
    assert np.array_equal(PLAIN.apply(image), image)


def test_gain_and_contrast(image):
    warm = replace(PLAIN, gain=np.array([1.1, 1.0, 0.5])).apply(image).astype(int)
    expected = np.minimum(image * np.array([1.1, 1.0, 0.5]), 255)
    assert np.abs(warm - expected).max() <= 0.5 + 1e-9
    tones = np.array([0, 64, 128, 192, 255], np.uint8).reshape(5, 1, 1).repeat(3, axis=2)
    strong = replace(PLAIN, contrast=1.3).apply(tones)[:, 0, 0].astype(int)
    assert strong[0] == 0 and strong[4] == 255 and strong[1] < 60 and strong[3] > 196 and abs(strong[2] - 128) <= 1
    assert (np.diff(replace(PLAIN, contrast=0.8).apply(tones)[1:4, 0, 0].astype(int)) < 64).all()


def test_softness_spreads_a_pixel_over_its_neighbours_and_no_further():
    dot = np.zeros((7, 7, 3), np.uint8)
    dot[3, 3] = 240
    finish = replace(PLAIN, softness=0.5)
    soft = finish.apply(dot)[..., 0].astype(int)
    assert soft[3, 3] == 120 and soft[2, 3] == soft[3, 2] == 20 and soft[2, 2] == 10
    reached = np.nonzero(soft.any(axis=0))[0]
    assert reached.min() == 3 - finish.reach and reached.max() == 3 + finish.reach
    assert PLAIN.reach == 0


def test_noise_is_the_same_for_every_picture_of_a_shot():
    finish = replace(PLAIN, noise=3.0)
    grey, lighter = np.full((64, 64, 3), 100, np.uint8), np.full((64, 64, 3), 120, np.uint8)
    lighter[:32] = 100
    first, second = finish.apply(grey).astype(int), finish.apply(lighter).astype(int)
    assert np.array_equal(first[:32], second[:32]) and np.array_equal(first[32:] + 20, second[32:])
    assert first.std() == pytest.approx(3.0, rel=0.05) and first.mean() == pytest.approx(100, abs=0.2)
    assert not np.array_equal(first, replace(finish, noise_seed=2).apply(grey))


def test_drawn_finishes_are_mild_and_many_are_clean(image):
    finishes = [draw_finish(np.random.default_rng(seed)) for seed in range(100)]
    smooth = np.linspace(30, 220, 24).astype(np.uint8)[:, None, None].repeat(24, axis=1).repeat(3, axis=2)
    changes = [np.abs(finish.apply(smooth).astype(int) - smooth).mean() for finish in finishes]
    assert max(changes) < 40 and np.median(changes) < 12
    assert 0.3 < np.mean([finish.noise == 0 for finish in finishes]) < 0.7
    assert 0.4 < np.mean([finish.softness == 0 for finish in finishes]) < 0.8
    again = draw_finish(np.random.default_rng(3))
    assert np.array_equal(again.apply(image), finishes[3].apply(image))
