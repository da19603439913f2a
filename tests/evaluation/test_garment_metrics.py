# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Colours as scikit-image has them; patterns that are right, faint, moved, absent, negative or another's."""

import numpy as np
import pytest
from scipy import ndimage
from skimage.color import deltaE_ciede2000, rgb2lab

from diffusers_tryon.evaluation.colours import ciede2000, cielab
from diffusers_tryon.evaluation.garment_metrics import garment_colour, garment_pattern


SIZE = 128


@pytest.fixture(scope="module")
def region() -> np.ndarray:
    region = np.zeros((SIZE, SIZE), bool)
    region[20:110, 30:100] = True
    return region


def checks(period: int, dark=(150, 30, 40), light=(230, 200, 90)) -> np.ndarray:
    """Oblique checks of a period in pixels."""
    rows, columns = np.indices((SIZE, SIZE))
    is_light = (((rows + columns // 2) // (period // 2)) + ((columns - rows // 3) // (period // 2))) % 2
    return np.where(is_light[..., None] > 0, np.array(light), np.array(dark)).astype(np.float64)


def as_picture(values: np.ndarray) -> np.ndarray:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


TRUTH = as_picture(checks(16))


def test_cielab_is_scikit_images():
    colours = np.random.default_rng(0).integers(0, 256, (500, 3), dtype=np.uint8)
    assert np.abs(cielab(colours) - rgb2lab(colours)).max() < 0.02
    greys = cielab(np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1))
    assert np.abs(greys[:, 1:]).max() < 1e-9 and greys[0, 0] == 0 and greys[255, 0] == pytest.approx(100)


def test_ciede2000_is_scikit_images():
    random = np.random.default_rng(1)
    first = random.uniform((0, -90, -90), (100, 90, 90), (2000, 3))
    far = random.uniform((0, -90, -90), (100, 90, 90), (2000, 3))
    for second in (far, first + random.normal(0, 2, first.shape), first, first * [1, 0, 0]):
        assert np.abs(ciede2000(first, second) - deltaE_ciede2000(first, second)).max() < 1e-6
    # The first pair of Sharma's test data.
    assert ciede2000(np.array([50, 2.6772, -79.7751]), np.array([50, 0, -82.7485])) == pytest.approx(2.0425, abs=1e-4)


def test_the_colour_of_the_garment_is_that_of_its_region_alone(region):
    image = np.where(region[..., None], TRUTH, 255 - TRUTH)
    assert garment_colour(image, TRUTH, region) == 0
    red, green = np.full_like(TRUTH, (200, 30, 30)), np.full_like(TRUTH, (30, 160, 40))
    expected = deltaE_ciede2000(rgb2lab(red[0, 0]), rgb2lab(green[0, 0]))
    assert garment_colour(red, green, region) == pytest.approx(expected, abs=0.02)
    # Where the colours are does not count.
    assert garment_colour(as_picture(np.roll(checks(16), 8, axis=1)), TRUTH, region) < 1
    assert np.isnan(garment_colour(red, green, np.zeros_like(region)))


def test_the_right_pattern_agrees_whatever_surrounds_it(region):
    assert garment_pattern(TRUTH, TRUTH, region) == pytest.approx(1)
    assert garment_pattern(np.where(region[..., None], TRUTH, 255 - TRUTH), TRUTH, region) == pytest.approx(1)


def test_no_pattern_does_not_agree(region):
    plain = np.full_like(TRUTH, TRUTH.mean(axis=(0, 1)).astype(np.uint8))
    assert garment_pattern(plain, TRUTH, region) == pytest.approx(0, abs=1e-6)
    noisy = as_picture(plain + np.random.default_rng(0).normal(0, 20, plain.shape))
    assert abs(garment_pattern(noisy, TRUTH, region)) < 0.05


def test_shading_and_another_light_change_little(region):
    shaded = as_picture(TRUTH * np.linspace(0.7, 1.05, SIZE)[None, :, None])
    assert garment_pattern(shaded, TRUTH, region) > 0.95
    assert garment_pattern(as_picture(0.7 * TRUTH), TRUTH, region) > 0.9


def test_a_pattern_may_be_two_pixels_off_but_not_half_a_period(region):
    stripes = np.zeros_like(TRUTH)
    stripes[:] = np.where(np.arange(SIZE)[:, None] % 16 < 8, (230, 200, 90), (150, 30, 40))
    moved = {pixels: garment_pattern(np.roll(stripes, pixels, axis=1), stripes, region) for pixels in (1, 2, 4, 8)}
    assert moved[1] > 0.98 and moved[2] > 0.95
    # By the tolerance 2 and 6 pixels are left, an eighth and three eighths of a period.
    assert 0.5 < moved[4] < 0.9 and moved[8] < -0.4


def test_a_fainter_and_a_blurred_pattern_agree_less(region):
    middle = TRUTH.mean(axis=(0, 1))
    half, quarter = (
        garment_pattern(as_picture(middle + share * (TRUTH - middle)), TRUTH, region) for share in (0.5, 0.25)
    )
    # 2 x / (1 + x^2) where the contrast is x, nearly: CIELAB is not linear.
    assert half == pytest.approx(0.8, abs=0.08) and quarter == pytest.approx(0.47, abs=0.08)
    blurred = [garment_pattern(ndimage.gaussian_filter(TRUTH, (s, s, 0)), TRUTH, region) for s in (1, 2, 4)]
    assert 1 > blurred[0] > blurred[1] > blurred[2] and blurred[2] < 0.4


def test_the_negative_disagrees(region):
    broad = as_picture(checks(32))
    negative = as_picture(checks(32, dark=(230, 200, 90), light=(150, 30, 40)))
    assert garment_pattern(negative, broad, region) < -0.3


def test_other_patterns_hardly_agree(region):
    random = np.random.default_rng(0)
    found = []
    for _ in range(10):
        spots = ndimage.gaussian_filter(random.normal(0, 1, (SIZE, SIZE)), 3) > 0
        found.append(
            garment_pattern(as_picture(np.where(spots[..., None], (230, 200, 90), (150, 30, 40))), TRUTH, region)
        )
    assert np.mean(found) < 0.15 and max(found) < 0.3
    assert garment_pattern(TRUTH.transpose(1, 0, 2), TRUTH, region) < 0.3


def test_plain_garments_and_specks_have_no_figure(region):
    folds = as_picture(150 + 4 * np.sin(np.arange(SIZE) / 3)[None, :, None] * np.ones((SIZE, 1, 3)))
    assert np.isnan(garment_pattern(TRUTH, folds, region))
    speck = np.zeros_like(region)
    speck[50:60, 50:60] = True
    assert np.isnan(garment_pattern(TRUTH, TRUTH, speck))


def test_the_figures_do_not_depend_on_the_size_of_the_pictures(region):
    moved = np.roll(TRUTH, 3, axis=1)
    small = garment_pattern(moved, TRUTH, region)
    large = garment_pattern(
        *(np.kron(picture, np.ones((2, 2, 1), np.uint8)) for picture in (moved, TRUTH)),
        np.kron(region, np.ones((2, 2), bool)),
    )
    assert large == pytest.approx(small, abs=0.03)
