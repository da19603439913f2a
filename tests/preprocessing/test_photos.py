# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Photographs of every kind that users hand in: what is read, how, and what is refused."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffusers_tryon.preprocessing.errors import (
    UnreadablePhotoError,
)
from diffusers_tryon.preprocessing.photos import read_photo
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
    assert np.array_equal(read_photo(grey[..., None], "person_photo").pixels, expected)
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
    assert_refused(
        b"something else", "`person_photo` must be a picture file such as PNG or JPEG, what it holds is not"
    )
    assert_refused(b"", "`person_photo` must be a picture file")
