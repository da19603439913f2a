# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Rows made of hand-made files: what becomes of every file, other sizes, and every file that cannot be used."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from diffusers_tryon.composition import PARSE_IDS, compose_agnostic, cut_out_garment, label_mask
from diffusers_tryon.data.importers.base import (
    IMPORTED_COLUMNS,
    FlatPhoto,
    TryOnPair,
    UnusableEntry,
    WornPhoto,
    build_row,
)
from diffusers_tryon.data.schema import dataset_features
from diffusers_tryon.poses import save_pose


# One letter per four by four pixels: . background, o hair, f face, t top, h hand, p pants, l leg.
PERSON = """
......
..oo..
..ff..
.tttt.
htttth
..tt..
..pp..
..l.l.
"""
LETTERS = {
    ".": "background",
    "o": "hair",
    "f": "face",
    "t": "top",
    "h": "hands",
    "p": "pants",
    "l": "legs",
}
COLOURS = {".": (0, 90, 0), "o": (0, 60, 60), "f": (0, 0, 90), "t": (240, 0, 0), "h": (0, 0, 60), "p": (0, 30, 90)}
SCALE = 4


def letters() -> np.ndarray:
    blocks = np.array([list(line) for line in PERSON.split()])
    return np.repeat(np.repeat(blocks, SCALE, axis=0), SCALE, axis=1)


def person_pixels() -> np.ndarray:
    image = np.zeros((*letters().shape, 3), np.uint8)
    for letter, colour in COLOURS.items():
        image[letters() == letter] = colour
    return image


def person_parse() -> np.ndarray:
    return np.vectorize(lambda letter: PARSE_IDS[LETTERS[letter]])(letters()).astype(np.uint8)


def person_pose() -> np.ndarray:
    pose = np.zeros((18, 3), np.float32)
    pose[0], pose[1], pose[4] = (0.5, 0.3, 1), (0.5, 0.375, 0.5), (1 / 12, 0.5625, 0.75)
    return pose


@pytest.fixture
def pair(tmp_path) -> TryOnPair:
    """Somebody in a top, and the top laid flat: a red square in the middle of a white picture, its mask a JPEG."""
    Image.fromarray(person_pixels()).save(tmp_path / "person.jpg", quality=95, subsampling=0)
    Image.fromarray(person_parse()).save(tmp_path / "parse.png")
    save_pose(person_pose(), tmp_path / "pose.json")
    flat = np.full((40, 30, 3), 250, np.uint8)
    flat[8:32, 6:24] = (240, 0, 0)
    Image.fromarray(flat).save(tmp_path / "flat.png")
    mask = np.zeros((40, 30), np.uint8)
    mask[8:32, 6:24] = 255
    Image.fromarray(mask).save(tmp_path / "mask.jpg", quality=60)
    return TryOnPair(
        id="row",
        person=WornPhoto("person", tmp_path / "person.jpg", tmp_path / "parse.png", "fashn", tmp_path / "pose.json"),
        garment=FlatPhoto("flat", tmp_path / "flat.png", tmp_path / "mask.jpg"),
        category="upper",
        source="test",
        person_id="somebody",
        garment_id="a top",
    )


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_a_row_holds_the_photograph_as_it_is_and_what_follows_from_it(pair):
    row = build_row(pair)
    photo = pixels(pair.person.image)
    assert row["person_image"] == pair.person.image.read_bytes()
    assert np.array_equal(row["person_parse"], person_parse())
    np.testing.assert_allclose(row["person_pose"], person_pose(), atol=1e-5)
    agnostic_image, agnostic_mask = compose_agnostic(photo, person_parse(), person_pose())
    assert np.array_equal(row["agnostic_image"], agnostic_image)
    assert np.array_equal(row["agnostic_mask"], agnostic_mask)
    names = ("id", "category", "source", "schema_version", "person_id", "garment_id", "garment_type")
    assert [row[name] for name in names] == ["row", "upper", "test", 1, "somebody", "a top", "flat"]
    assert set(row) == set(dataset_features(IMPORTED_COLUMNS))


def test_a_flat_garment_is_cut_out_by_its_mask_and_has_no_pose(pair):
    row = build_row(pair)
    inside = np.zeros((40, 30), bool)
    inside[8:32, 6:24] = True
    assert np.array_equal(row["garment_image"][inside], pixels(pair.garment.image)[inside])
    assert (row["garment_image"][~inside] == 255).all()
    assert np.array_equal(row["garment_parse"], np.where(inside, PARSE_IDS["top"], 0))
    assert not row["garment_pose"].any() and row["garment_pose"].shape == (18, 3)


def test_without_a_mask_a_flat_garment_is_told_from_its_white_background(pair):
    with_mask, without = build_row(pair), build_row(replace(pair, garment=replace(pair.garment, mask=None)))
    assert np.array_equal(with_mask["garment_image"], without["garment_image"])
    assert np.array_equal(with_mask["garment_parse"], without["garment_parse"])


def test_a_worn_garment_is_cut_out_by_its_labels(pair):
    row = build_row(replace(pair, garment=pair.person))
    assert np.array_equal(row["garment_image"], cut_out_garment(pixels(pair.person.image), person_parse()))
    assert np.array_equal(row["garment_parse"], person_parse())
    assert np.array_equal(row["garment_pose"], row["person_pose"])
    assert row["garment_type"] == "worn"


def test_keypoints_may_come_as_an_array(pair):
    as_array = replace(pair, person=replace(pair.person, pose=person_pose()))
    np.testing.assert_allclose(build_row(as_array)["person_pose"], build_row(pair)["person_pose"], atol=1e-5)


def test_a_photograph_that_lies_on_its_side_is_turned_and_written_anew(pair, tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # the camera was turned: the file's right side is the top
    lying = np.rot90(person_pixels()).copy()
    Image.fromarray(lying).save(tmp_path / "lying.png", exif=exif)
    row = build_row(replace(pair, person=replace(pair.person, image=tmp_path / "lying.png")))
    assert np.array_equal(row["person_image"], person_pixels())


def test_a_format_that_not_every_reader_knows_is_written_anew(pair, tmp_path):
    Image.fromarray(person_pixels()).save(tmp_path / "person.bmp")
    row = build_row(replace(pair, person=replace(pair.person, image=tmp_path / "person.bmp")))
    assert np.array_equal(row["person_image"], person_pixels())


def test_the_recipe_reaches_the_agnostic_image(pair):
    with pytest.raises(ValueError, match="person.jpg: the recipe viton-hd needs neck, shoulders and hips"):
        build_row(pair, recipe="viton-hd")


# ---- Sizes


def test_another_ratio_is_padded_on_both_sides_and_keypoints_follow(pair):
    # 32 x 24 pixels become 32 x 32: four columns on either side.
    row = build_row(pair, size=(32, 32))
    photo = pixels(pair.person.image)
    assert np.array_equal(row["person_image"][:, 4:28], photo)
    assert np.array_equal(row["person_parse"][:, 4:28], person_parse())
    for name, padding in (("person_image", 255), ("agnostic_image", 255), ("agnostic_mask", 0), ("person_parse", 0)):
        assert (row[name][:, :4] == padding).all() and (row[name][:, 28:] == padding).all(), name
    expected = person_pose()
    expected[[0, 1, 4], 0] = [(x * 24 + 4) / 32 for x in expected[[0, 1, 4], 0]]
    np.testing.assert_allclose(row["person_pose"], expected, atol=1e-5)
    assert np.array_equal(row["agnostic_image"][:, 4:28], build_row(pair)["agnostic_image"])


def test_a_smaller_picture_takes_the_labels_at_the_pixels_centres(pair):
    row = build_row(pair, size=(24, 18))
    parse = person_parse()
    expected = [[parse[int((i + 0.5) * 4 / 3), int((j + 0.5) * 4 / 3)] for j in range(18)] for i in range(24)]
    assert np.array_equal(row["person_parse"], expected)
    np.testing.assert_allclose(row["person_pose"], person_pose(), atol=1e-5)


def test_a_smaller_picture_is_smooth(pair):
    row = build_row(pair, size=(16, 12))
    # In the middle of the top everything within reach of the filter is of one colour, as in the photograph.
    np.testing.assert_allclose(row["person_image"][7, 5:7], [(240, 0, 0)] * 2, atol=3)
    # At its border to the background both colours are mixed.
    assert ((row["person_image"][6:10, :, 0] > 20) & (row["person_image"][6:10, :, 0] < 200)).any()


@pytest.mark.parametrize("size", [(13, 11), (16, 12), (20, 20), (7, 5)])
def test_no_colour_of_the_garment_leaks_into_a_smaller_agnostic_image(pair, size):
    Image.fromarray(person_pixels()).save(pair.person.image.with_suffix(".png"))
    pair = replace(pair, person=replace(pair.person, image=pair.person.image.with_suffix(".png")))
    row = build_row(pair, size=size)
    kept = (row["agnostic_mask"] == 0) & (row["person_image"] != 255).any(axis=-1)
    # The garment alone is red. White padding mixes in where the photograph ends.
    red = row["agnostic_image"][..., 0].astype(int) - row["agnostic_image"][..., 1:].min(axis=-1)
    assert kept.any() and red[kept].max() <= 1
    assert (row["agnostic_image"][row["agnostic_mask"] == 255] == 128).all()
    assert np.array_equal(row["agnostic_image"][kept], row["person_image"][kept])


def test_garments_are_padded_with_their_background(pair):
    row = build_row(pair, size=(40, 40))
    inside = np.zeros((40, 40), bool)
    inside[8:32, 11:29] = True
    assert np.array_equal((row["garment_image"] != 255).any(axis=-1), inside)
    assert np.array_equal(row["garment_parse"] > 0, inside)


def test_a_worn_garment_is_padded_with_its_keypoints_and_labels(pair):
    row = build_row(replace(pair, garment=pair.person), size=(32, 32))
    assert np.array_equal(row["garment_pose"], row["person_pose"])
    assert np.array_equal(row["garment_parse"], row["person_parse"])
    top = row["garment_parse"] == PARSE_IDS["top"]
    assert np.array_equal(row["garment_image"], np.where(top[..., None], row["person_image"], 255))


def test_a_photograph_of_the_wanted_size_is_not_touched(pair):
    assert build_row(pair, size=(32, 24))["person_image"] == pair.person.image.read_bytes()


@pytest.mark.parametrize("shape", [(16, 12), (64, 48), (15, 11)])
def test_a_label_map_of_another_size_is_brought_to_that_of_the_photograph(pair, shape):
    Image.fromarray(person_parse()).resize(shape[::-1], Image.Resampling.NEAREST).save(pair.person.parse)
    parse = build_row(pair)["person_parse"]
    assert parse.shape == (32, 24)
    assert (parse == person_parse()).mean() > (0.7 if shape == (15, 11) else 0.999)


# ---- What cannot be used


PARTNERS = {"person.jpg": "parse.png", "parse.png": "person.jpg", "flat.png": "mask.jpg", "mask.jpg": "flat.png"}


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def no_picture(path: Path) -> None:
    path.write_text("a web page that says: not found")


def in_mode(mode: str):
    return lambda path: Image.open(path).convert(mode).save(path)


def filled(value: int):
    return lambda path: Image.fromarray(np.full_like(np.asarray(Image.open(path)), value)).save(path)


def of_size(width: int, height: int):
    return lambda path: Image.open(path).resize((width, height)).save(path)


def broken_exif(path: Path) -> None:
    Image.open(path).save(path, format="PNG", exif=b"Exif\0\0no orientation")


def no_keypoints(path: Path) -> None:
    save_pose(np.zeros((18, 3), np.float32), path)


@pytest.mark.parametrize(
    ("file", "spoil", "reason"),
    [
        ("person.jpg", Path.unlink, "there is no such file"),
        ("person.jpg", cut_short, "no picture, or broken or cut short"),
        ("person.jpg", broken_exif, "no picture, or broken or cut short"),
        ("person.jpg", no_picture, "no picture, or broken or cut short"),
        ("person.jpg", in_mode("L"), "a photograph must be an RGB picture, this one has mode L"),
        ("person.jpg", of_size(24, 48), "of another ratio than its photograph, 24 x 32 and 24 x 48 pixels"),
        ("parse.png", Path.unlink, "there is no such file"),
        ("parse.png", cut_short, "no picture, or broken or cut short"),
        ("parse.png", in_mode("RGB"), "must be a picture of mode L or P, this one has mode RGB"),
        ("parse.png", filled(18), "`parse` holds ids that fashn does not have"),
        ("parse.png", filled(0), "`parse` shows no person"),
        ("parse.png", of_size(24, 24), "of another ratio than its photograph, 24 x 24 and 24 x 32 pixels"),
        ("pose.json", Path.unlink, "there is no such file"),
        ("pose.json", no_picture, "is not valid JSON"),
        ("pose.json", no_keypoints, "nobody was found, all keypoints are missing"),
        ("flat.png", Path.unlink, "there is no such file"),
        ("flat.png", in_mode("RGBA"), "a photograph must be an RGB picture, this one has mode RGBA"),
        ("mask.jpg", Path.unlink, "there is no such file"),
        ("mask.jpg", in_mode("RGB"), "must be a picture of mode L or 1, this one has mode RGB"),
        ("mask.jpg", filled(90), "the mask marks no garment, all values are below 128"),
        ("mask.jpg", of_size(40, 40), "of another ratio than its photograph, 40 x 40 and 30 x 40 pixels"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(pair, tmp_path, file, spoil, reason):
    spoil(tmp_path / file)
    with pytest.raises(ValueError) as error:
        build_row(pair)
    assert reason in str(error.value)
    # What only two files together show is put down to the one or the other.
    assert str(tmp_path / file) in str(error.value) or str(tmp_path / PARTNERS.get(file, file)) in str(error.value)


def test_a_garment_that_is_not_seen_is_named_by_its_photograph(pair):
    without = np.where(label_mask(person_parse(), ("top",)), PARSE_IDS["arms"], person_parse()).astype(np.uint8)
    Image.fromarray(without).save(pair.person.parse)
    with pytest.raises(ValueError, match="person.jpg: `parse` shows no garment"):
        build_row(replace(pair, garment=pair.person))


def test_a_flat_garment_on_a_coloured_background_needs_a_mask(pair, tmp_path):
    Image.fromarray(person_pixels()).save(tmp_path / "flat.png")
    with pytest.raises(ValueError, match="flat.png: the background is not white"):
        build_row(replace(pair, garment=FlatPhoto("flat", tmp_path / "flat.png")))


def test_several_people_and_nobody_in_an_openpose_file(pair, tmp_path):
    person = {"pose_keypoints_2d": [12, 9, 0.9] + [0, 0, 0] * 17}
    other = {"pose_keypoints_2d": [1, 1, 0.9] + [0, 0, 0] * 17}
    path = tmp_path / "openpose.json"
    pair = replace(pair, person=replace(pair.person, pose=path, pose_format="openpose"))
    path.write_text(json.dumps({"people": [person, other]}))
    np.testing.assert_allclose(build_row(pair)["person_pose"][0], (12 / 24, 9 / 32, 0.9), atol=1e-6)
    path.write_text(json.dumps({"people": []}))
    with pytest.raises(ValueError, match="openpose.json: nobody was found"):
        build_row(pair)


def test_an_unusable_entry_is_refused_with_its_reason():
    with pytest.raises(ValueError, match="^list.txt, line 3: names no garment$"):
        build_row(UnusableEntry("x", "list.txt, line 3: names no garment"))
