# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Figures of one picture against its true picture: over the whole of it, and over the region that was edited."""

from types import ModuleType

import numpy as np
import torch
from PIL import Image

from .figures import REGION_SUFFIX
from .libraries import imported
from .perceptual import LpipsMetric
from .protocols import Protocol, SsimSettings


# Of MS-SSIM ("Multiscale structural similarity for image quality assessment", Wang et al. 2003), finest scale first.
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
# What equal pictures are said to have: a mean squared error of 1e-10 of the range squared.
MAX_PSNR = 100.0

_WINDOW, _SIGMA = 11, 1.5
# The smallest side for which LPIPS' networks have all their maps.
_LPIPS_SIDE = 64


def paired_figures(
    image: np.ndarray,
    reference: np.ndarray,
    region: np.ndarray | None,
    protocol: Protocol,
    lpips: LpipsMetric | None,
) -> dict[str, float]:
    """The paired metrics of a protocol for one picture, by the names of `figures.METRICS`.

    Figures over the edited region end in `_region`. For all of them, pixels outside of the region are first taken from
    the reference, so that nothing but the region's errors counts. PSNR and MSE are over the region's pixels, SSIM is
    the mean of its map there. MS-SSIM and LPIPS see coarse scales, which do not know single pixels any more: they are
    computed on the smallest box around the region, made large enough for the scales that the whole picture has (for
    LPIPS 64 pixels), as far as the picture goes.

    Args:
        image, reference (`np.ndarray`): (H, W, 3) uint8.
        region (`np.ndarray`, *optional*): (H, W) bool, where the picture may differ from the photograph.
        protocol ([`Protocol`]): its settings.
        lpips ([`LpipsMetric`], *optional*): without it there is no LPIPS.

    Raises:
        ValueError: pictures or region do not fit each other, or the region is empty.
        UnavailableError: SSIM or MS-SSIM is asked for and torchmetrics is not installed or does not load.
    """
    check_pictures(image, reference, region)
    whole = {
        "psnr": lambda: psnr(image, reference),
        "mse": lambda: mean_squared_error(image, reference),
        "ssim": lambda: float(crop_border(ssim_map(image, reference, protocol.ssim), protocol.ssim).mean()),
        "ms_ssim": lambda: ms_ssim(image, reference),
        "lpips": lambda: lpips(image, reference),
    }
    names = [name for name in protocol.paired_metrics if name != "lpips" or lpips is not None]
    figures = {name: whole[name]() for name in names}
    if region is None or not protocol.regions:
        return figures
    edited = np.where(region[..., None], image, reference)
    scales = num_scales(*region.shape)
    box, lpips_box = region_box(region, smallest_side(scales)), region_box(region, _LPIPS_SIDE)
    of_region = {
        "psnr": lambda: psnr(image[region], reference[region]),
        "mse": lambda: mean_squared_error(image[region], reference[region]),
        "ssim": lambda: float(ssim_map(edited, reference, protocol.ssim)[region].mean()),
        "ms_ssim": lambda: ms_ssim(edited[box], reference[box], scales),
        "lpips": lambda: lpips(edited[lpips_box], reference[lpips_box]),
    }
    return figures | {name + REGION_SUFFIX: of_region[name]() for name in names}


def torchmetrics_functions() -> ModuleType:
    """What computes SSIM and MS-SSIM.

    Raises:
        UnavailableError: torchmetrics is not installed, or does not load beside a torchvision of another torch.
    """
    return imported("torchmetrics.functional.image", "torchmetrics, which computes SSIM and MS-SSIM,", "evaluation")


def check_pictures(image: np.ndarray, reference: np.ndarray, region: np.ndarray | None) -> None:
    """Raise a `ValueError` naming the argument unless all three belong to one picture."""
    for name, array in (("image", image), ("reference", reference)):
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
            raise ValueError(f"`{name}` must be (H, W, 3) uint8, got {array.shape} {array.dtype}.")
    if image.shape != reference.shape:
        raise ValueError(f"`image` must have the shape of `reference`, {reference.shape}, got {image.shape}.")
    if region is None:
        return
    if region.dtype != bool or region.shape != image.shape[:2]:
        raise ValueError(f"`region` must be {image.shape[:2]} bool, got {region.shape} {region.dtype}.")
    if not region.any():
        raise ValueError("`region` must mark a pixel that may differ from the photograph, got none.")


def largest_change(image: np.ndarray, kept: np.ndarray, region: np.ndarray) -> float:
    """The largest difference, of 255, of any channel outside of the edited region; 0 if the region is all.

    Args:
        image, kept (`np.ndarray`): (H, W, 3) uint8, the picture to judge and what it was to keep.
        region (`np.ndarray`): (H, W) bool, where it may differ.
    """
    check_pictures(image, kept, region)
    return float(np.abs(image[~region].astype(int) - kept[~region]).max(initial=0))


def mean_squared_error(image: np.ndarray, reference: np.ndarray) -> float:
    """Of values in [0, 1], over everything that the arrays, uint8 and of one shape, hold."""
    return float(((image.astype(np.float64) - reference) ** 2).mean()) / 255**2


def psnr(image: np.ndarray, reference: np.ndarray) -> float:
    """Peak signal to noise ratio in dB, at most `MAX_PSNR`: equal pictures have no noise."""
    return float(min(-10 * np.log10(max(mean_squared_error(image, reference), 1e-30)), MAX_PSNR))


def ssim_map(image: np.ndarray, reference: np.ndarray, settings: SsimSettings) -> np.ndarray:
    """SSIM at every pixel, (H, W) float32; with colour "rgb" the mean of the channels, borders reflected.

    "Image quality assessment: from error visibility to structural similarity" (Wang et al. 2004), by torchmetrics with
    a Gaussian window and covariances that are not corrected for the sample.
    """
    images = [_tensor(_grey(array) if settings.colour == "grey" else array) for array in (image, reference)]
    _, full_map = torchmetrics_functions().structural_similarity_index_measure(
        *images, gaussian_kernel=True, sigma=_SIGMA, kernel_size=_WINDOW, data_range=1.0, return_full_image=True
    )
    return full_map[0].mean(dim=0).numpy()


def crop_border(values: np.ndarray, settings: SsimSettings) -> np.ndarray:
    """The part of an SSIM map, (H, W), whose mean the settings take."""
    half = _WINDOW // 2
    return values if settings.border == "reflected" else values[half:-half, half:-half]


def ms_ssim(image: np.ndarray, reference: np.ndarray, scales: int | None = None) -> float:
    """MS-SSIM of RGB pictures by torchmetrics, with negative similarities counted as none.

    Args:
        scales (`int`, *optional*): how many, `num_scales` of the picture if not given. The weights of those used are
            scaled to the sum 1.
    """
    weights = np.array(MS_SSIM_WEIGHTS[: scales or num_scales(*image.shape[:2])])
    value = torchmetrics_functions().multiscale_structural_similarity_index_measure(
        _tensor(image),
        _tensor(reference),
        gaussian_kernel=True,
        sigma=_SIGMA,
        kernel_size=_WINDOW,
        data_range=1.0,
        betas=tuple((weights / weights.sum()).tolist()),
        normalize="relu",
    )
    return float(value)


def num_scales(height: int, width: int) -> int:
    """How many of the five scales of MS-SSIM a picture is large enough for: five from 176 pixels on, four from 99.

    Raises:
        ValueError: a side is too small for the finest one.
    """
    side = min(height, width)
    fitting = [scales for scales in range(1, len(MS_SSIM_WEIGHTS) + 1) if side >= smallest_side(scales)]
    if not fitting:
        raise ValueError(f"`image` must have {smallest_side(1)} pixels a side for SSIM, got {height} x {width}.")
    return fitting[-1]


def smallest_side(scales: int) -> int:
    """The side in pixels from which on torchmetrics takes a picture for so many scales of MS-SSIM."""
    # At the coarsest scale the window's border is reflected, which takes more pixels than half a window.
    return max(_WINDOW * max(1, scales - 1) ** 2, (_WINDOW // 2 + 1) * 2 ** (scales - 1))


def region_box(region: np.ndarray, side: int) -> tuple[slice, slice]:
    """The smallest box around a region, (H, W) bool, both sides at least `side` pixels if the picture has them."""
    slices = []
    for axis, length in ((1, region.shape[0]), (0, region.shape[1])):
        marked = np.flatnonzero(region.any(axis=axis))
        start, stop = int(marked[0]), int(marked[-1]) + 1
        missing = max(0, min(side, length) - (stop - start))
        start = min(max(0, start - missing // 2), length - (stop - start + missing))
        slices.append(slice(start, max(stop, start + min(side, length))))
    return slices[0], slices[1]


def _grey(image: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(image).convert("L"))[..., None]


def _tensor(image: np.ndarray) -> torch.Tensor:
    """(1, C, H, W) float32 in [0, 1]; torch convolves float64 twenty times slower."""
    return torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)[None].contiguous()
