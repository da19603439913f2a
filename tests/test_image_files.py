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
    assert np.array_equal(read_image(path, "garment_image"), picture)
    assert [file.name for file in path.parent.iterdir()] == ["picture.png"]


def test_a_failed_write_keeps_the_old_file(picture, tmp_path):
    path = tmp_path / "picture.jpg"
    write_image(picture, path)
    before = path.read_bytes()
    with pytest.raises(OSError):
        write_image(picture.convert("RGBA"), path)  # JPEG knows no transparency
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["picture.jpg"]


def test_a_photograph_is_turned_as_its_camera_says(tmp_path):
    image = Image.new("RGB", (6, 4), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    image.save(tmp_path / "photo.jpg", exif=exif)
    assert read_image(tmp_path / "photo.jpg", "person_photo").size == (4, 6)


def test_transparency_is_left_in_the_picture(tmp_path):
    Image.new("RGBA", (2, 2), (10, 20, 30, 0)).save(tmp_path / "cutout.png")
    assert (np.asarray(read_image(tmp_path / "cutout.png", "garment_image")) == (10, 20, 30, 0)).all()


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"`garment_image` must be a picture file, there is none at .*nowhere.png"):
        read_image(tmp_path / "nowhere.png", "garment_image")


def test_another_kind_of_file_is_refused(tmp_path):
    (tmp_path / "notes.png").write_text("not a picture")
    with pytest.raises(ValueError, match="`garment_image` must be a picture file such as PNG or JPEG"):
        read_image(tmp_path / "notes.png", "garment_image")


def test_a_program_in_place_of_a_picture_is_not_run(picture, tmp_path):
    picture.save(tmp_path / "program.eps")
    (tmp_path / "program.eps").rename(tmp_path / "picture.png")
    with pytest.raises(ValueError, match="`garment_image` must be a picture file such as PNG or JPEG"):
        read_image(tmp_path / "picture.png", "garment_image")


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_file_cut_short_is_refused(suffix, tmp_path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    noise.save(tmp_path / f"whole.{suffix}")
    content = (tmp_path / f"whole.{suffix}").read_bytes()
    (tmp_path / f"cut.{suffix}").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="`agnostic_image` could not be read, .* is broken or cut short"):
        read_image(tmp_path / f"cut.{suffix}", "agnostic_image")


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


@pytest.mark.parametrize("size", [(7200, 7200), (30_000, 30_000)])
def test_a_small_file_of_a_huge_picture_is_refused(tmp_path, size):
    Image.new("1", size).save(tmp_path / "huge.png")
    with pytest.raises(ValueError, match="`garment_image` must have at most 50 million pixels, .*huge.png has more"):
        read_image(tmp_path / "huge.png", "garment_image")
