# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Reading any photograph that a user may hand in, in bounded memory."""

import math
import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from scipy import ndimage

from ..composition import GARMENT_BACKGROUND
from .errors import (
    BlurredPhotoWarning,
    PhotoTooSmallError,
    PreprocessingWarning,
    ReducedPhotoWarning,
    UnreadablePhotoError,
)


# A file or the bytes of one, a PIL image, or an array (H, W), (H, W, 3) or (H, W, 4) uint8.
PhotoInput = str | Path | bytes | Image.Image | np.ndarray

# A photograph of more pixels is read at a smaller size: nobody needs more of a person, and each takes about 11 bytes.
MAX_PIXELS = 50_000_000
MIN_SIDE = 64
# JPEG files are decoded at a smaller scale, so that they may be far larger than what fits into memory, but not so
# large that decoding takes minutes. A progressive one is held in memory whole.
_MAX_JPEG_PIXELS, _MAX_PROGRESSIVE_PIXELS = 500_000_000, 180_000_000
_JPEG_SCALES = (1, 2, 4, 8)
_JPEG_START = b"\xff\xd8\xff"
# Of an array: grey, RGB and RGBA.
_ARRAY_CHANNELS = ((), (3,), (4,))
_GREY_16_BIT_MODES = ("I;16", "I;16B", "I;16L", "I;16N")
_UNKNOWN_RANGE_MODES = ("I", "F")
_PROFILED_MODES = ("L", "RGB", "CMYK")
# A profile that changes no colour by more than this is sRGB under another name, and the pixels stay as they are.
_SAME_COLOUR = 2
_COLOUR_SAMPLES = Image.fromarray(np.stack(np.meshgrid(*[np.arange(0, 256, 51, np.uint8)] * 3), -1).reshape(6, 36, 3))

# Blur is measured on the photograph at this size, because what the networks see is smaller still.
_BLUR_SIDE = 512
# A first blur, against noise, and another whose effect is measured.
_NOISE_SIGMA, _REBLUR_SIGMA = 1.0, 2.0
# Differences of neighbours two pixels apart blur like a box of that width, whose variance this is.
_DIFFERENCE_VARIANCE = 1 / 3
_EDGE_SHARE = 0.01
# In grey levels per pixel.
_LEAST_SLOPE = 1.0
# Measured: six renders and a studio portrait as they are 0.0 to 0.5; blurred by 1 pixel 0.9 to 1.2, by 2 1.9 to 2.3,
# by 3 2.9 to 3.2, by 4 3.8 to 4.2; the same with noise of 6 grey levels at most 0.9 less. At 256 pixels 2 are but one.
MAX_BLUR = 2.0


@dataclass(frozen=True, eq=False)
class Photo:
    """A photograph as all that follows sees it.

    Attributes:
        name: what errors and warnings call it.
        pixels: (H, W, 3) uint8 RGB in sRGB, upright; what is transparent lies on white.
        opacity: (H, W) uint8, 0 where the photograph is transparent and 255 where it is not; None if it is opaque.
        warnings: what may spoil the result.
    """

    name: str
    pixels: np.ndarray
    opacity: np.ndarray | None
    warnings: tuple[PreprocessingWarning, ...]


def read_photo(photo: PhotoInput, name: str) -> Photo:
    """Read a photograph: turned as its camera says, in sRGB, of at most `MAX_PIXELS`.

    Of an animation the first picture is taken. 16-bit grey is scaled to 8 bits. Embedded colour profiles are followed;
    one that does not fit is ignored, as viewers do.

    Args:
        photo (`PhotoInput`): a file or the bytes of one; a PIL image of any mode but "I" and "F", whose range nothing
            tells; or an array (H, W), (H, W, 3) or (H, W, 4) uint8. An image or array is not changed.
        name (`str`): what errors and warnings call it.

    Raises:
        UnreadablePhotoError: there is no such file, it is no picture, broken, cut short, or so large that it
            would not fit into memory; or `photo` is something else.
        PhotoTooSmallError: a side has fewer than `MIN_SIDE` pixels.
    """
    if isinstance(photo, (str, Path, bytes)):
        image, count = _read_file(photo if isinstance(photo, bytes) else Path(photo), name)
    else:
        image = _upright_copy(photo, name)
        count = image.width * image.height
    colour, opacity = _srgb_and_opacity(image, name)
    if min(colour.size) < MIN_SIDE:
        raise PhotoTooSmallError(
            f"`{name}` has {colour.width} x {colour.height} pixels, too few to see a person or a garment; pass a "
            f"photograph of at least {MIN_SIDE} pixels in either direction."
        )
    found: list[PreprocessingWarning] = []
    if colour.width * colour.height < count:
        found.append(
            ReducedPhotoWarning(
                f"`{name}` has {count / 1e6:.1f} million pixels, more than {MAX_PIXELS / 1e6:.0f}; it was read at "
                f"{colour.width} x {colour.height}, and results have that size. Crop it to the person to keep more."
            )
        )
    pixels = np.array(colour)
    blur = measured_blur(pixels)
    if blur > MAX_BLUR:
        found.append(
            BlurredPhotoWarning(
                f"`{name}` is blurred: seen at {_BLUR_SIDE} pixels its edges are as soft as a Gaussian of {blur:.1f} "
                f"pixels makes them, and more than {MAX_BLUR} harm the result; pass a sharper photograph."
            )
        )
    return Photo(name, pixels, opacity, tuple(found))


def reduce_photo(pixels: np.ndarray, longest_side: int) -> np.ndarray:
    """Reduce an image (H, W, 3) or (H, W) uint8 until its longer side has `longest_side` pixels, with antialiasing.

    A smaller image is returned as it is.
    """
    height, width = pixels.shape[:2]
    scale = longest_side / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.array(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0))


def measured_blur(pixels: np.ndarray) -> float:
    """How blurred the sharpest parts of a photograph are, whatever it shows: the standard deviation of a Gaussian.

    An edge with a blur of sigma loses a share of its slope when it is blurred once more, and the more the sharper it
    is: slope ratio R = sqrt(1 + s^2 / sigma^2) for another blur of s (Zhuo and Sim, Defocus map estimation from a
    single image, Pattern Recognition 44, 2011, section 3). This is measured where slopes are steepest, so that a
    sharp person before a blurred background counts as sharp.

    Args:
        pixels (`np.ndarray`): (H, W, 3) uint8.

    Returns:
        `float`: in pixels of the photograph at a longer side of 512, 0 if it is smaller and perfectly sharp or shows
        nothing.
    """
    grey = np.asarray(Image.fromarray(reduce_photo(pixels, _BLUR_SIDE)).convert("L"), dtype=np.float32)
    down, right = np.gradient(ndimage.gaussian_filter(grey, _NOISE_SIGMA, mode="nearest"))
    slopes = np.hypot(down, right)
    across = np.where(abs(right) > abs(down), *(ndimage.maximum_filter1d(slopes, 3, axis=axis) for axis in (1, 0)))
    edges = (slopes == across) & (slopes >= _LEAST_SLOPE)
    if not edges.any():
        return 0.0
    steepest = edges & (slopes >= np.quantile(slopes, 1 - _EDGE_SHARE))
    softer = np.gradient(ndimage.gaussian_filter(grey, math.hypot(_NOISE_SIGMA, _REBLUR_SIGMA), mode="nearest"))
    ratio = float(np.median(slopes[steepest] / np.hypot(*softer)[steepest]))
    variance = _REBLUR_SIGMA**2 / max(ratio**2 - 1, 1e-3) - _NOISE_SIGMA**2 - _DIFFERENCE_VARIANCE
    return math.sqrt(max(variance, 0.0))


def _read_file(file: Path | bytes, name: str) -> tuple[Image.Image, int]:
    """The upright image of a file, and how many pixels the file has."""
    path = file if isinstance(file, Path) else "what it holds"
    if isinstance(file, Path) and not _is_file(file):
        raise UnreadablePhotoError(f"`{name}` must be a picture file, there is none at {path}.")
    try:
        with file.open("rb") if isinstance(file, Path) else BytesIO(file) as data, _open_image(data) as image:
            count = image.width * image.height
            if isinstance(image, JpegImageFile):
                _choose_jpeg_scale(image)
            # In place, because a copy of a huge one counts.
            ImageOps.exif_transpose(image, in_place=True)
            return image, count
    except UnidentifiedImageError as error:
        raise UnreadablePhotoError(
            f"`{name}` must be a picture file such as PNG, JPEG, WebP or TIFF, {path} is not. Convert others to JPEG, "
            "for example the HEIC photographs of telephones."
        ) from error
    except Image.DecompressionBombError as error:
        raise UnreadablePhotoError(
            f"`{name}` is too large, {path} would take too much memory or time. Reduce it; JPEG files that are not "
            f"progressive may have up to {_MAX_JPEG_PIXELS / 1e6:.0f} million pixels. {error}"
        ) from error
    # A broken file raises whatever its decoder stumbled on.
    except Exception as error:
        raise UnreadablePhotoError(f"`{name}` could not be read, {path} is broken or cut short: {error}") from error


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    # What is no name at all, but for example the picture itself as text, is too long for one.
    except OSError:
        return False


def _open_image(file: BinaryIO) -> Image.Image:
    is_jpeg = file.read(len(_JPEG_START)) == _JPEG_START
    file.seek(0)
    if is_jpeg:
        # Not by `Image.open`, which refuses the largest cameras' photographs before their scale can be chosen.
        return JpegImageFile(file)
    with warnings.catch_warnings():
        # What is large is reduced, and a warning of our own says so.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image = Image.open(file)
    if image.format == "EPS":
        image.close()
        raise UnidentifiedImageError("an EPS file is a program, which PIL would have run")
    return image


def _choose_jpeg_scale(image: JpegImageFile) -> None:
    """Have the decoder reduce a photograph of more than `MAX_PIXELS`."""
    count = image.width * image.height
    most = _MAX_PROGRESSIVE_PIXELS if image.info.get("progressive") else _MAX_JPEG_PIXELS
    if count > most:
        raise Image.DecompressionBombError(f"It has {count / 1e6:.1f} million pixels.")
    scale = next(scale for scale in _JPEG_SCALES if count <= MAX_PIXELS * scale**2)
    image.draft(None, (max(1, image.width // scale), max(1, image.height // scale)))


def _upright_copy(photo: Image.Image | np.ndarray, name: str) -> Image.Image:
    if isinstance(photo, np.ndarray):
        if photo.dtype != np.uint8 or photo.ndim not in (2, 3) or photo.shape[2:] not in _ARRAY_CHANNELS:
            raise UnreadablePhotoError(
                f"`{name}` must be an array of shape (H, W), (H, W, 3) or (H, W, 4) and type uint8, got {photo.dtype} "
                f"{photo.shape}."
            )
        return Image.fromarray(photo)
    if not isinstance(photo, Image.Image):
        raise UnreadablePhotoError(f"`{name}` must be a file, a PIL image or an array, got {type(photo)}.")
    try:
        # An image that comes from a file may be decoded only now.
        return ImageOps.exif_transpose(photo)
    except Exception as error:
        raise UnreadablePhotoError(f"`{name}` could not be read, it is broken or cut short: {error}") from error


def _srgb_and_opacity(image: Image.Image, name: str) -> tuple[Image.Image, np.ndarray | None]:
    """The image in RGB, reduced to `MAX_PIXELS`, and its opacity (H, W) uint8 if anything is transparent."""
    profile = image.info.get("icc_profile")
    image = _in_plain_mode(image, name)
    factor = math.ceil(math.sqrt(image.width * image.height / MAX_PIXELS))
    if factor > 1:
        image = image.reduce(factor)
    if not image.mode.endswith("A"):
        return _in_srgb(image, profile), None
    opacity = image.getchannel("A")
    colour = _in_srgb(image.convert(image.mode.removesuffix("A")), profile)
    if opacity.getextrema()[0] == 255:
        return colour, None
    return Image.composite(colour, Image.new("RGB", image.size, (GARMENT_BACKGROUND,) * 3), opacity), np.array(opacity)


def _in_plain_mode(image: Image.Image, name: str) -> Image.Image:
    """In one of the modes L, RGB, CMYK, LA and RGBA, the last two if something may be transparent."""
    if image.mode in _UNKNOWN_RANGE_MODES:
        raise UnreadablePhotoError(
            f"`{name}` is a picture of mode {image.mode!r}, whose darkest and brightest values are not known; convert "
            "it to 8 bits per channel first."
        )
    if image.mode in _GREY_16_BIT_MODES:
        return Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    if image.has_transparency_data:
        return _converted(image, "LA" if image.mode in ("L", "LA", "La") else "RGBA")
    return image if image.mode in _PROFILED_MODES else image.convert("RGB")


def _converted(image: Image.Image, mode: str) -> Image.Image:
    """PIL copies an image that is of the mode already."""
    return image if image.mode == mode else image.convert(mode)


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """An L, RGB or CMYK image in RGB, by its colour profile if that is one of such images and not sRGB anyway."""
    if profile is None:
        return _converted(image, "RGB")
    try:
        transform = ImageCms.buildTransform(
            ImageCms.getOpenProfile(BytesIO(profile)), ImageCms.createProfile("sRGB"), image.mode, "RGB"
        )
    except (ImageCms.PyCMSError, OSError):
        return _converted(image, "RGB")
    if image.mode == "RGB":
        changed = np.asarray(ImageCms.applyTransform(_COLOUR_SAMPLES, transform), dtype=np.int16)
        if np.abs(changed - np.asarray(_COLOUR_SAMPLES)).max() <= _SAME_COLOUR:
            return image
    return ImageCms.applyTransform(image, transform)
