# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Picture files: what is read, what is refused, and that writing is whole or not at all."""

import numpy as np
import pytest
from PIL import Image

from diffusers_tryon.image_files import check_image_path, read_image, write_image


@pytest.fixture
def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 8, 3), dtype=np.uint8))


def test_written_pictures_read_back(picture, tmp_path):
    path = tmp_path / "new" / "folder" / "picture.png"
    write_image(picture, path)
    assert np.array_equal(read_image(path, "garment_image", 255), picture)
    assert [file.name for file in path.parent.iterdir()] == ["picture.png"]


def test_a_failed_write_keeps_the_old_file(picture, tmp_path):
    path = tmp_path / "picture.jpg"
    write_image(picture, path)
    before = path.read_bytes()
    with pytest.raises(OSError):
        write_image(picture.convert("RGBA"), path)  # JPEG knows no transparency
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["picture.jpg"]


@pytest.mark.parametrize("background", [128, 255])
def test_transparent_pixels_show_the_background(background, tmp_path):
    half = np.zeros((4, 4, 4), dtype=np.uint8)
    half[:2] = (10, 20, 30, 255)
    Image.fromarray(half).save(tmp_path / "cutout.png")
    image = np.asarray(read_image(tmp_path / "cutout.png", "garment_image", background))
    assert (image[:2] == (10, 20, 30)).all() and (image[2:] == background).all()


def test_a_palette_with_a_transparent_colour_shows_the_background(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([200, 0, 0, 0, 200, 0])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "palette.png", transparency=0)
    assert np.asarray(read_image(tmp_path / "palette.png", "x", 255)).tolist() == [[[255, 255, 255], [0, 200, 0]]]


def test_a_photograph_is_turned_as_its_camera_says(tmp_path):
    image = Image.new("RGB", (6, 4), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    image.save(tmp_path / "photo.jpg", exif=exif)
    assert read_image(tmp_path / "photo.jpg", "person_photo", 255).size == (4, 6)


def test_greys_become_rgb(tmp_path):
    Image.new("L", (2, 2), 77).save(tmp_path / "grey.png")
    assert (np.asarray(read_image(tmp_path / "grey.png", "x", 0)) == 77).all()


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"`garment_image` must be a picture file, there is none at .*nowhere.png"):
        read_image(tmp_path / "nowhere.png", "garment_image", 255)


def test_another_kind_of_file_is_refused(tmp_path):
    (tmp_path / "notes.png").write_text("not a picture")
    with pytest.raises(ValueError, match="`garment_image` must be a picture file such as PNG or JPEG"):
        read_image(tmp_path / "notes.png", "garment_image", 255)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_file_cut_short_is_refused(suffix, tmp_path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    noise.save(tmp_path / f"whole.{suffix}")
    content = (tmp_path / f"whole.{suffix}").read_bytes()
    (tmp_path / f"cut.{suffix}").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="`agnostic_image` could not be read, .* is broken or cut short"):
        read_image(tmp_path / f"cut.{suffix}", "agnostic_image", 128)


def test_sixteen_bits_are_refused(tmp_path):
    Image.fromarray(np.full((4, 4), 40000, dtype=np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(ValueError, match="`garment_image` must have 8 bits for each colour"):
        read_image(tmp_path / "deep.png", "garment_image", 255)


@pytest.mark.parametrize("name", ["result", "result.txt", "result.json"])
def test_a_path_of_no_picture_format_is_refused(name, tmp_path):
    with pytest.raises(ValueError, match="`out` must end in .png"):
        check_image_path(tmp_path / name, "out")


def test_a_path_below_a_file_and_a_folder_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="`out` cannot be written"):
        check_image_path(tmp_path / "file" / "result.png", "out")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ValueError, match="`out` must be a file"):
        check_image_path(tmp_path / "folder.png", "out")
    check_image_path(tmp_path / "some" / "new" / "result.png", "out")
