# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Photographs of every kind that users hand in: what is read, how, and what is refused."""

import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from scipy import ndimage

from diffusers_tryon.preprocessing.errors import (
    BlurredPhotoWarning,
    PhotoTooSmallError,
    ReducedPhotoWarning,
    UnreadablePhotoError,
)
from diffusers_tryon.preprocessing.photos import MAX_PIXELS, measured_blur, read_photo, reduce_photo
from diffusers_tryon.rendering.samples import render_pair


HEIGHT, WIDTH = 70, 90


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def render() -> np.ndarray:
    return render_pair(3, 512, category="dress")["person_image"]


def write(image: Image.Image, path: Path, **options) -> Path:
    image.save(path, **options)
    return path


def assert_refused(photo, match: str) -> None:
    with pytest.raises(UnreadablePhotoError, match=match):
        read_photo(photo, "person_photo")


def test_a_file_an_image_and_an_array_give_the_same(pixels, tmp_path):
    path = write(Image.fromarray(pixels), tmp_path / "photo.png")
    for photo in (path, str(path), path.read_bytes(), Image.fromarray(pixels), Image.open(path), pixels):
        read = read_photo(photo, "person_photo")
        assert np.array_equal(read.pixels, pixels) and read.opacity is None and read.warnings == ()
        assert read.name == "person_photo" and read.pixels.flags.writeable


def test_what_is_handed_in_is_neither_changed_nor_shared(pixels):
    before = pixels.copy()
    read_photo(pixels, "person_photo").pixels[:] = 0
    image = Image.fromarray(pixels)
    read_photo(image, "person_photo").pixels[:] = 0
    assert np.array_equal(pixels, before) and np.array_equal(image, before)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_cameras_orientation_is_followed(orientation, pixels, tmp_path):
    # What the camera stores, so that it must be turned as EXIF says to be upright.
    stored = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.transpose(1, 0, 2),
        6: pixels.transpose(1, 0, 2)[::-1],
        7: pixels[::-1, ::-1].transpose(1, 0, 2),
        8: pixels.transpose(1, 0, 2)[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    for suffix in ("png", "webp", "tiff"):
        options = {"lossless": True} if suffix == "webp" else {}
        path = write(Image.fromarray(stored), tmp_path / f"photo.{suffix}", exif=exif, **options)
        assert np.array_equal(read_photo(path, "person_photo").pixels, pixels), suffix
    path = write(Image.fromarray(stored), tmp_path / "photo.jpg", exif=exif)
    assert read_photo(path, "person_photo").pixels.shape == pixels.shape


def test_broken_orientation_is_no_reason_to_refuse_a_photo(pixels, tmp_path):
    for number, exif in enumerate((b"Exif\0\0garbage", b"Exif\0\0II*\0\x08\0\0\0\xff\xff")):
        path = write(Image.fromarray(pixels), tmp_path / f"{number}.jpg", exif=exif)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert read_photo(path, "person_photo").pixels.shape == pixels.shape


def test_transparency_lies_on_white_and_is_kept(pixels, tmp_path):
    opacity = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
    opacity[:20], opacity[20:40] = 0, 255
    path = write(Image.fromarray(np.dstack([pixels, opacity])), tmp_path / "photo.png")
    read = read_photo(path, "garment_photo")
    share = opacity[..., None] / 255
    assert np.array_equal(read.opacity, opacity)
    assert np.abs(read.pixels - (pixels * share + 255 * (1 - share))).max() <= 1
    assert (read.pixels[:20] == 255).all() and np.array_equal(read.pixels[20:40], pixels[20:40])


def test_transparency_of_grey_and_of_palettes(pixels, tmp_path):
    grey, opacity = pixels[..., 0], np.full((HEIGHT, WIDTH), 255, dtype=np.uint8)
    opacity[:, :30] = 0
    path = write(Image.merge("LA", [Image.fromarray(grey), Image.fromarray(opacity)]), tmp_path / "grey.png")
    read = read_photo(path, "garment_photo")
    assert np.array_equal(read.opacity, opacity)
    assert (read.pixels[:, :30] == 255).all() and (read.pixels[:, 30:] == grey[:, 30:, None]).all()

    palette = Image.fromarray((grey // 128).astype(np.uint8)).convert("P")
    palette.putpalette([200, 10, 20, 30, 100, 40])
    read = read_photo(write(palette, tmp_path / "palette.png", transparency=1), "garment_photo")
    assert np.array_equal(read.opacity, np.where(grey < 128, 255, 0))
    assert np.array_equal(read.pixels, np.where(grey[..., None] < 128, (200, 10, 20), 255))


def test_an_opaque_alpha_channel_is_no_transparency(pixels):
    read = read_photo(Image.fromarray(pixels).convert("RGBA"), "garment_photo")
    assert read.opacity is None and np.array_equal(read.pixels, pixels)


def test_grey_one_bit_and_sixteen_bits(pixels, tmp_path):
    grey = pixels[..., 0]
    expected = np.repeat(grey[..., None], 3, axis=2)
    assert np.array_equal(read_photo(grey, "person_photo").pixels, expected)
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    for suffix in ("png", "tiff"):
        path = write(deep, tmp_path / f"deep.{suffix}")
        assert np.array_equal(read_photo(path, "person_photo").pixels, expected), suffix
    bits = Image.fromarray(grey).point(lambda value: 255 * (value > 127), "1")
    read = read_photo(write(bits, tmp_path / "bits.png"), "person_photo")
    assert np.array_equal(read.pixels, np.where(expected > 127, 255, 0))


def test_the_first_picture_of_an_animation_is_taken(tmp_path):
    frames = [Image.new("RGB", (WIDTH, HEIGHT), colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    for suffix in ("gif", "png"):
        path = write(frames[0], tmp_path / f"frames.{suffix}", save_all=True, append_images=frames[1:])
        assert (read_photo(path, "person_photo").pixels == (255, 0, 0)).all(), suffix


def test_the_bytes_of_a_file_are_refused_as_the_file_is(pixels, tmp_path):
    data = write(Image.fromarray(pixels), tmp_path / "photo.jpg").read_bytes()
    assert_refused(data[: len(data) // 2], "`person_photo` could not be read, what it holds is broken or cut short")
    assert_refused(b"something else", "`person_photo` must be a picture file such as PNG.*, what it holds is not")
    assert_refused(b"", "`person_photo` must be a picture file")


def test_an_embedded_srgb_profile_changes_no_bit(pixels, tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = write(Image.fromarray(pixels), tmp_path / "photo.png", icc_profile=profile)
    assert np.array_equal(read_photo(path, "person_photo").pixels, pixels)


def icc_profile(kind: bytes, colours: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC profile of version 2.4 (specification ICC.1:2001-04) with these tags."""
    table, data, begin = b"", b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">2I", begin + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    header = struct.pack(">I4xI4s4s4s12x4s28x", begin + len(data), 0x02400000, kind, colours, connection, b"acsp")
    header += xyz_numbers((0.9642, 1.0, 0.8249))
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


def xyz_numbers(values: tuple[float, ...]) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def gamma_curve(gamma: float) -> bytes:
    return b"curv" + struct.pack(">4xIH", 1, round(gamma * 256))


# Columns are the primaries red, green and blue, adapted to D50.
SRGB_PRIMARIES = np.array([(0.4361, 0.3851, 0.1431), (0.2225, 0.7169, 0.0606), (0.0139, 0.0971, 0.7141)])
P3_PRIMARIES = np.array([(0.5151, 0.2920, 0.1571), (0.2412, 0.6922, 0.0666), (-0.0011, 0.0419, 0.7841)])


def srgb_of(linear: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1: linear light in [0, 1] to 0..255."""
    linear = linear.clip(0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def test_a_wide_gamut_is_brought_to_srgb(pixels, tmp_path):
    tags = {b"wtpt": b"XYZ " + bytes(4) + xyz_numbers((0.9642, 1.0, 0.8249))}
    for channel, primary in zip(b"rgb", P3_PRIMARIES.T, strict=True):
        tags[bytes([channel]) + b"XYZ"] = b"XYZ " + bytes(4) + xyz_numbers(tuple(primary))
        tags[bytes([channel]) + b"TRC"] = gamma_curve(2.2)
    profile = icc_profile(b"mntr", b"RGB ", b"XYZ ", tags)
    light = (pixels / 255) ** (round(2.2 * 256) / 256)
    expected = srgb_of(light @ P3_PRIMARIES.T @ np.linalg.inv(SRGB_PRIMARIES).T)
    assert np.abs(expected - pixels).max() > 30
    for mode in ("RGB", "RGBA"):
        path = write(Image.fromarray(pixels).convert(mode), tmp_path / f"{mode}.png", icc_profile=profile)
        assert np.abs(read_photo(path, "person_photo").pixels - expected).max() <= 2, mode


def test_grey_with_a_profile_is_brought_to_srgb(pixels, tmp_path):
    tags = {b"wtpt": b"XYZ " + bytes(4) + xyz_numbers((0.9642, 1.0, 0.8249)), b"kTRC": gamma_curve(1.5)}
    profile = icc_profile(b"mntr", b"GRAY", b"XYZ ", tags)
    path = write(Image.fromarray(pixels[..., 0]), tmp_path / "photo.png", icc_profile=profile)
    expected = srgb_of((pixels[..., :1] / 255) ** 1.5)
    assert np.abs(read_photo(path, "person_photo").pixels - expected).max() <= 2


def lightness_of_inks() -> bytes:
    """A CMYK profile by which one ink alone has the lightness 50, several are black, and no ink is coloured."""
    inks = np.stack(np.meshgrid(*[(0, 1)] * 4, indexing="ij"), axis=-1).sum(axis=-1).ravel()
    colours = np.stack([np.select([inks == 0, inks == 1], [255, 128], 0), inks * 0 + 128, inks * 0 + 128], axis=-1)
    same = np.arange(256, dtype=np.uint8).tobytes()
    table = b"mft1" + struct.pack(">4x4B", 4, 3, 2, 0) + xyz_numbers((1, 0, 0, 0, 1, 0, 0, 0, 1))
    table += 4 * same + colours.astype(np.uint8).tobytes() + 3 * same
    return icc_profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": table})


@pytest.mark.parametrize("suffix", ["jpg", "tiff"])
def test_printers_colours_are_brought_to_srgb(suffix, tmp_path):
    inks = np.zeros((HEIGHT, WIDTH, 4), dtype=np.uint8)
    inks[:32, :, 1], inks[32:64, :, 3] = 255, 255
    image = Image.fromarray(inks, "CMYK")
    plain = read_photo(write(image, tmp_path / f"plain.{suffix}"), "person_photo").pixels.astype(int)
    by_profile = read_photo(
        write(image, tmp_path / f"profile.{suffix}", icc_profile=lightness_of_inks()), "person_photo"
    ).pixels.astype(int)
    # CIE lightness 50 is a grey of 119; without a profile an ink takes away its complement.
    for rows, colour, grey in (
        (slice(2, 30), (255, 0, 255), 119),
        (slice(34, 62), (0,) * 3, 119),
        (66, (255,) * 3, 255),
    ):
        assert np.abs(plain[rows] - colour).max() <= 3
        assert np.abs(by_profile[rows] - grey).max() <= 3


@pytest.mark.parametrize("profile", [b"no profile at all", lightness_of_inks()])
def test_a_profile_that_does_not_fit_is_ignored(profile, pixels, tmp_path):
    path = write(Image.fromarray(pixels), tmp_path / "photo.png", icc_profile=profile)
    assert np.array_equal(read_photo(path, "person_photo").pixels, pixels)


def test_what_is_no_picture_is_refused(tmp_path):
    assert_refused(tmp_path / "nowhere.jpg", r"`person_photo` must be a picture file, there is none at .*nowhere.jpg")
    assert_refused(tmp_path, "must be a picture file, there is none at")
    assert_refused("a" * 5000, "must be a picture file, there is none at")
    for name, content in {"text": b"hello", "empty": b"", "svg": b"<svg/>", "heic": b"\0\0\0\x18ftypheic"}.items():
        (tmp_path / name).write_bytes(content)
        assert_refused(tmp_path / name, "must be a picture file such as PNG.*HEIC")
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "program.eps")
    assert_refused(tmp_path / "program.eps", "must be a picture file such as PNG")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff", "gif", "bmp"])
@pytest.mark.parametrize("share", [0.2, 0.9])
def test_a_picture_cut_short_is_refused(suffix, share, pixels, tmp_path):
    path = write(Image.fromarray(pixels), tmp_path / f"photo.{suffix}")
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_refused(path, "`person_photo` (could not be read|must be a picture file).*photo")


def test_a_broken_picture_is_refused(pixels, tmp_path):
    path = write(Image.fromarray(pixels), tmp_path / "photo.png")
    data = bytearray(path.read_bytes())
    data[100] ^= 0xFF
    path.write_bytes(data)
    assert_refused(path, "could not be read, .* is broken or cut short")
    assert_refused(Image.open(path), "`person_photo` could not be read, it is broken or cut short")


@pytest.mark.parametrize(
    "photo",
    [
        np.zeros((70, 90, 3), dtype=np.float32),
        np.zeros((70, 90, 2), dtype=np.uint8),
        np.zeros((1, 70, 90, 3), dtype=np.uint8),
        np.zeros(70, dtype=np.uint8),
    ],
)
def test_other_arrays_are_refused(photo):
    assert_refused(photo, r"must be an array of shape \(H, W\), \(H, W, 3\) or \(H, W, 4\) and type uint8, got")


def test_other_things_are_refused(pixels):
    assert_refused(None, "must be a file, a PIL image or an array, got <class 'NoneType'>")
    assert_refused(Image.fromarray(pixels[..., 0].astype(np.float32)), "mode 'F'.*convert it to 8 bits")


@pytest.mark.parametrize("size", [(63, 500), (500, 63), (0, 70)])
def test_a_tiny_picture_is_refused(size):
    with pytest.raises(PhotoTooSmallError, match="`person_photo` has .* pixels, too few .*at least 64"):
        read_photo(np.zeros((*size, 3), dtype=np.uint8), "person_photo")


def test_a_huge_picture_is_read_at_a_smaller_size(tmp_path):
    # White above, black below; 0.1 million pixels more than are read.
    height, width = 5010, 10000
    photo = Image.new("L", (width, height), 255)
    photo.paste(0, (0, height // 2, width, height))
    exif = Image.Exif()
    exif[0x0112] = 6
    for path in (
        write(photo, tmp_path / "photo.jpg", exif=exif),
        write(photo, tmp_path / "photo.png", exif=exif, compress_level=1),
    ):
        read = read_photo(path, "person_photo")
        assert read.pixels.shape == (width // 2, height // 2, 3) and read.pixels[..., 0].size <= MAX_PIXELS
        assert (read.pixels[:, 1300:] == 255).all() and (read.pixels[:, :1200] == 0).all()
        (warning,) = read.warnings
        assert isinstance(warning, ReducedPhotoWarning)
        assert "`person_photo` has 50.1 million pixels, more than 50; it was read at 2505 x 5000" in str(warning)


@pytest.mark.slow
def test_the_largest_cameras_photographs_are_read(tmp_path):
    path = write(Image.new("L", (16320, 12240), 200), tmp_path / "photo.jpg")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = read_photo(path, "person_photo")
    assert read.pixels.shape == (12240 // 2, 16320 // 2, 3) and (read.pixels == 200).all()


def test_what_would_take_too_much_memory_is_refused_before_it_is_decoded(pixels, tmp_path):
    header = struct.pack(">2I5B", 50000, 50000, 8, 2, 0, 0, 0)
    chunk = (
        struct.pack(">I", len(header))
        + b"IHDR"
        + header
        + struct.pack(">I", zlib.crc32(b"IHDR" + header))
        + b"\0\0\1\0IDAT"
    )
    (tmp_path / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + bytes(1000))
    assert_refused(tmp_path / "photo.png", "`person_photo` is too large, .*photo.png would take too much memory")
    for progressive, marker, side in ((False, b"\xff\xc0", 30000), (True, b"\xff\xc2", 15000)):
        path = write(Image.fromarray(pixels), tmp_path / "photo.jpg", progressive=progressive)
        data = bytearray(path.read_bytes())
        # The frame's header: marker, length, bits, height, width.
        size = data.index(marker) + 5
        data[size : size + 4] = struct.pack(">2H", side, side)
        path.write_bytes(data)
        assert_refused(path, "is too large, .*photo.jpg would take too much memory or time")


def test_reducing_is_antialiased_and_never_enlarges(pixels):
    assert reduce_photo(pixels, 90) is pixels and reduce_photo(pixels, 200) is pixels
    stripes = np.zeros((60, 120), dtype=np.uint8)
    stripes[:, ::2] = 255
    reduced = reduce_photo(stripes, 30)
    assert reduced.shape == (15, 30)
    assert np.abs(reduced[:, 1:-1].astype(int) - 127).max() <= 2
    assert reduce_photo(np.zeros((3, 900, 3), dtype=np.uint8), 100).shape == (1, 100, 3)


@pytest.mark.parametrize("sigma", [1.0, 2.0, 3.0, 5.0])
def test_blur_is_measured_as_what_it_is(sigma, render):
    edge = np.zeros((512, 512, 3), dtype=np.uint8)
    edge[:, 200:] = 180
    for picture in (edge, render):
        blurred = ndimage.gaussian_filter(picture.astype(float), (sigma, sigma, 0))
        assert measured_blur(np.rint(blurred).astype(np.uint8)) == pytest.approx(sigma, rel=0.1, abs=0.15)
    # Whatever the size of the photograph, as long as it is larger than what is looked at.
    large = np.rint(blurred.repeat(2, axis=0).repeat(2, axis=1)).astype(np.uint8)
    assert measured_blur(large) == pytest.approx(sigma, rel=0.2)


def test_only_blurred_photos_are_called_so(render):
    assert measured_blur(render) < 1 and read_photo(render, "person_photo").warnings == ()
    blurred = ndimage.gaussian_filter(render, (4, 4, 0))
    (warning,) = read_photo(blurred, "person_photo").warnings
    assert isinstance(warning, BlurredPhotoWarning) and "`person_photo` is blurred" in str(warning)
    # A sharp person before a blurred background.
    blurred[:, 200:300] = render[:, 200:300]
    assert read_photo(blurred, "person_photo").warnings == ()
    assert measured_blur(np.full_like(render, 99)) == 0
