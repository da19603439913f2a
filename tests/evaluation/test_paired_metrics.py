# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Figures of a picture against its truth: against scikit-image, plain loops and closed forms."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import structural_similarity

from diffusers_tryon.evaluation.errors import UnavailableError
from diffusers_tryon.evaluation.paired_metrics import (
    MAX_PSNR,
    MS_SSIM_WEIGHTS,
    crop_border,
    mean_squared_error,
    ms_ssim,
    num_scales,
    paired_figures,
    psnr,
    region_box,
    smallest_side,
    ssim_map,
)
from diffusers_tryon.evaluation.protocols import PROTOCOLS, SsimSettings


SKIMAGE = {"data_range": 255, "gaussian_weights": True, "use_sample_covariance": False, "full": True}


def pictures(height: int = 48, width: int = 56, noise: float = 25.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A smooth picture with some detail, and the same with noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 7, 3), dtype=np.uint8)
    reference = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    noisy = reference + rng.normal(0, noise, reference.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8), reference


def region_of(height: int = 48, width: int = 56) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return (rows - height * 0.6) ** 2 + (columns - width * 0.4) ** 2 < (height * 0.2) ** 2


def plain_ssim_map(image: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """SSIM of one channel in [0, 1], pixel by pixel, pictures mirrored at their borders without repeating the edge."""
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets**2) / (2 * 1.5**2))
    window = np.outer(window, window) / window.sum() ** 2
    x, y = (np.pad(array, 5, mode="reflect") for array in (image, reference))
    result = np.empty_like(image)
    for row, column in np.ndindex(*image.shape):
        a, b = (array[row : row + 11, column : column + 11] for array in (x, y))
        mean_a, mean_b = (window * a).sum(), (window * b).sum()
        variance_a, variance_b = (window * (a - mean_a) ** 2).sum(), (window * (b - mean_b) ** 2).sum()
        covariance = (window * (a - mean_a) * (b - mean_b)).sum()
        result[row, column] = ((2 * mean_a * mean_b + 0.01**2) * (2 * covariance + 0.03**2)) / (
            (mean_a**2 + mean_b**2 + 0.01**2) * (variance_a + variance_b + 0.03**2)
        )
    return result


def halved(image: np.ndarray) -> np.ndarray:
    height, width = (length // 2 * 2 for length in image.shape[:2])
    cut = image[:height, :width]
    return (cut[::2, ::2] + cut[1::2, ::2] + cut[::2, 1::2] + cut[1::2, 1::2]) / 4


def plain_contrast(image: np.ndarray, reference: np.ndarray) -> float:
    """Mean contrast-structure term of one channel, borders left out."""
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets**2) / (2 * 1.5**2))
    window = np.outer(window, window) / window.sum() ** 2
    values = []
    for row, column in np.ndindex(image.shape[0] - 10, image.shape[1] - 10):
        a, b = (array[row : row + 11, column : column + 11] for array in (image, reference))
        mean_a, mean_b = (window * a).sum(), (window * b).sum()
        variances = (window * (a - mean_a) ** 2).sum() + (window * (b - mean_b) ** 2).sum()
        values.append((2 * (window * (a - mean_a) * (b - mean_b)).sum() + 0.03**2) / (variances + 0.03**2))
    return float(np.mean(values))


def test_ssim_of_every_pixel_is_that_of_a_plain_loop():
    image, reference = pictures(20, 23)
    found = ssim_map(image, reference, SsimSettings())
    plain = [plain_ssim_map(image[..., channel] / 255, reference[..., channel] / 255) for channel in range(3)]
    np.testing.assert_allclose(found, np.mean(plain, axis=0), atol=2e-4)
    assert found.mean() == pytest.approx(np.mean(plain), abs=1e-5)


def test_grey_ssim_is_that_of_scikit_image_as_hr_viton_calls_it():
    image, reference = pictures()
    settings = PROTOCOLS["hr-viton"].ssim
    grey = [np.asarray(Image.fromarray(array).convert("L")) for array in (image, reference)]
    expected, _ = structural_similarity(*grey, **SKIMAGE)
    assert float(crop_border(ssim_map(image, reference, settings), settings).mean()) == pytest.approx(
        expected, abs=1e-5
    )


def test_colour_ssim_is_that_of_scikit_image_within_the_border():
    image, reference = pictures()
    _, expected = structural_similarity(image, reference, channel_axis=-1, **SKIMAGE)
    found = ssim_map(image, reference, PROTOCOLS["catvton"].ssim)
    np.testing.assert_allclose(found[5:-5, 5:-5], expected.mean(axis=-1)[5:-5, 5:-5], atol=2e-4)


def test_colour_ssim_without_the_border_is_the_mean_of_scikit_image():
    image, reference = pictures()
    expected, _ = structural_similarity(image, reference, channel_axis=-1, **SKIMAGE)
    settings = SsimSettings(border="left out")
    found = crop_border(ssim_map(image, reference, settings), settings).mean()
    assert float(found) == pytest.approx(expected, abs=1e-5)
    assert abs(ssim_map(image, reference, settings).mean() - expected) > 1e-3


def test_ms_ssim_is_that_of_plain_loops():
    image, reference = pictures(45, 47)
    x, y = image / 255, reference / 255
    weights = np.array(MS_SSIM_WEIGHTS[:3]) / sum(MS_SSIM_WEIGHTS[:3])
    expected = 1.0
    for scale, weight in enumerate(weights):
        channels = [(x[..., channel], y[..., channel]) for channel in range(3)]
        if scale < 2:
            term = np.mean([plain_contrast(*pair) for pair in channels])
        else:
            term = np.mean([plain_ssim_map(*pair).mean() for pair in channels])
        expected *= term**weight
        x, y = halved(x), halved(y)
    assert num_scales(45, 47) == 3
    assert ms_ssim(image, reference) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    "side, scales", [(11, 1), (12, 2), (43, 2), (44, 3), (98, 3), (99, 4), (175, 4), (176, 5), (300, 5)]
)
def test_a_picture_has_the_scales_that_it_is_large_enough_for(side, scales):
    assert num_scales(side, side + 50) == num_scales(side + 50, side) == scales
    assert smallest_side(scales) <= side
    image, _ = pictures(side, side + 1)
    assert ms_ssim(image, image) == pytest.approx(1.0, abs=1e-6)


def test_psnr_and_squared_error_of_a_known_difference():
    reference = np.full((4, 5, 3), 100, np.uint8)
    image = reference.copy()
    image[0, 0] = 151  # by a fifth of the range in one of 20 pixels
    assert mean_squared_error(image, reference) == pytest.approx(0.04 / 20)
    assert psnr(image, reference) == pytest.approx(-10 * np.log10(0.002))
    assert psnr(reference, reference) == MAX_PSNR


def test_figures_of_the_whole_picture_and_of_the_region():
    image, reference = pictures()
    region = region_of()
    figures = paired_figures(image, reference, region, PROTOCOLS["rendered"], None)
    assert set(figures) == {"psnr", "ssim", "ms_ssim", "psnr_region", "ssim_region", "ms_ssim_region"}
    difference = (image.astype(float) - reference)[region] / 255
    assert figures["psnr_region"] == pytest.approx(-10 * np.log10((difference**2).mean()))
    edited = np.where(region[..., None], image, reference)
    channels = [plain_ssim_map(edited[..., i] / 255, reference[..., i] / 255)[region].mean() for i in range(3)]
    assert figures["ssim_region"] == pytest.approx(np.mean(channels), abs=1e-5)
    box = region_box(region, 44)
    assert figures["ms_ssim_region"] == pytest.approx(ms_ssim(edited[box], reference[box], 3), abs=1e-6)


def test_errors_outside_of_the_region_do_not_count_in_it():
    image, reference = pictures()
    region = region_of()
    worse = image.copy()
    worse[~region] = 255 - worse[~region]
    first, second = (paired_figures(array, reference, region, PROTOCOLS["rendered"], None) for array in (image, worse))
    for name in first:
        assert (first[name] == second[name]) == name.endswith("_region"), name


def mean_difference(image: np.ndarray, reference: np.ndarray) -> float:
    """In the place of a network: any function of two pictures."""
    return float(np.abs(image.astype(float) - reference).mean())


def test_a_network_sees_the_whole_picture_and_the_box_of_the_region():
    image, reference = pictures(120, 100)
    region = np.zeros((120, 100), bool)
    region[20:40, 30:50] = True
    figures = paired_figures(image, reference, region, PROTOCOLS["rendered"], mean_difference)
    difference = np.abs(image.astype(float) - reference)
    assert figures["lpips"] == pytest.approx(difference.mean())
    # Nothing differs outside of the region, and the box has 64 pixels a side.
    assert figures["lpips_region"] == pytest.approx(difference[region].sum() / (64 * 64 * 3))


def test_more_noise_is_worse():
    ladder = [
        paired_figures(*pictures(noise=noise), region_of(), PROTOCOLS["rendered"], None) for noise in (0, 8, 20, 50)
    ]
    assert ladder[0] == pytest.approx({name: 100.0 if "psnr" in name else 1.0 for name in ladder[0]}, abs=1e-5)
    for better, worse in zip(ladder, ladder[1:]):
        assert all(better[name] > worse[name] for name in better)


def test_protocols_take_their_own_figures():
    image, reference = pictures()
    figures = paired_figures(image, reference, None, PROTOCOLS["hr-viton"], None)
    assert "mse" in figures and not any(name.endswith("_region") for name in figures)
    assert set(figures) == set(PROTOCOLS["hr-viton"].paired_metrics) - {"lpips"}


def test_the_number_of_threads_does_not_change_a_digit_that_is_kept():
    image, reference = pictures(96, 64)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(paired_figures(image, reference, region_of(96, 64), PROTOCOLS["rendered"], None))
    finally:
        torch.set_num_threads(before)
    assert results[0] == pytest.approx(results[1], rel=1e-6)


@pytest.mark.parametrize("side", [1, 12, 30, 200])
def test_the_box_holds_the_region_and_is_large_enough(side):
    for top, left in ((0, 0), (40, 50), (20, 3)):
        region = np.zeros((48, 56), bool)
        region[top : top + 8, left : left + 6] = True
        rows, columns = region_box(region, side)
        assert region[rows, columns].sum() == region.sum()
        assert rows.stop - rows.start == min(48, max(8, side)) and columns.stop - columns.start == min(
            56, max(6, side)
        )
        assert rows.start >= 0 and columns.start >= 0 and rows.stop <= 48 and columns.stop <= 56


@pytest.mark.parametrize(
    "change, message",
    [
        ({"image": np.zeros((48, 56, 4), np.uint8)}, r"`image` must be \(H, W, 3\) uint8, got \(48, 56, 4\)"),
        ({"image": np.zeros((48, 56, 3))}, "`image` must be .* float64"),
        ({"reference": np.zeros((48, 55, 3), np.uint8)}, "`image` must have the shape of `reference`"),
        ({"region": np.zeros((48, 56), np.uint8)}, "`region` must be .* bool"),
        ({"region": np.zeros((48, 50), bool)}, "`region` must be"),
        ({"region": np.zeros((48, 56), bool)}, "`region` must mark a pixel"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    image, reference = pictures()
    arguments = {"image": image, "reference": reference, "region": region_of(), **change}
    with pytest.raises(ValueError, match=message):
        paired_figures(**arguments, protocol=PROTOCOLS["rendered"], lpips=None)


@pytest.mark.parametrize(
    "torchvision, message",
    [
        (None, 'is not installed: pip install "diffusers-tryon.evaluation."'),
        ("raise RuntimeError('operator torchvision::nms does not exist')", "cannot be loaded beside torch .*nms"),
    ],
)
def test_without_torchmetrics_the_reason_is_told(tmp_path, monkeypatch, torchvision, message):
    for name in [name for name in sys.modules if name.partition(".")[0] in ("torchmetrics", "torchvision")]:
        monkeypatch.delitem(sys.modules, name)
    if torchvision is None:
        monkeypatch.setitem(sys.modules, "torchmetrics", None)
    else:
        # As torchmetrics imports it where it finds it.
        (tmp_path / "torchvision.py").write_text(torchvision)
        (tmp_path / "torchmetrics.py").write_text("import torchvision")
        monkeypatch.syspath_prepend(str(tmp_path))
    image, reference = pictures()
    with pytest.raises(UnavailableError, match=f"torchmetrics, which computes SSIM and MS-SSIM, {message}"):
        paired_figures(image, reference, None, PROTOCOLS["rendered"], None)
    without = replace(PROTOCOLS["hr-viton"], paired_metrics=("psnr", "mse"))
    assert paired_figures(image, reference, None, without, None)["psnr"] == psnr(image, reference)


def test_pictures_too_small_for_ssim_are_named():
    image, reference = pictures(8, 40)
    with pytest.raises(ValueError, match="11 pixels a side for SSIM, got 8 x 40"):
        paired_figures(image, reference, None, PROTOCOLS["rendered"], None)


def test_the_negative_of_a_picture_has_no_multi_scale_similarity():
    # Negative similarities have no root.
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert ms_ssim(255 - image, image) == 0
