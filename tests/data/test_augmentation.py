# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Paired augmentation by geometry: what is drawn at a keypoint stays at it, and what is alike stays alike."""

import dataclasses

import numpy as np
import pytest
from PIL import Image, ImageDraw

from diffusers_tryon.composition import AGNOSTIC_FILL, GARMENT_BACKGROUND, PARSE_IDS, PARSE_LABELS, PERSON_PADDING
from diffusers_tryon.data.augmentation import AugmentationDraw, AugmentationSettings, augment_row, draw_augmentation
from diffusers_tryon.poses import KEYPOINT_NAMES, check_pose
from diffusers_tryon.rendering.samples import render_pair, render_unpaired


OFF = AugmentationSettings(**{field.name: 0.0 for field in dataclasses.fields(AugmentationSettings)})
STRONG = AugmentationSettings(0.5, 0.5, 0.5, 1.0, 0.5, 0.5, 0.3, 0.2, 0.5)
MOVES = {
    "flip": AugmentationDraw(flip=True),
    "larger": AugmentationDraw(scale=1.23),
    "smaller": AugmentationDraw(scale=0.77),
    "shift": AugmentationDraw(shift=(0.061, -0.06)),
    "whole pixels": AugmentationDraw(shift=(1 / 16, 1 / 8)),
    "all": AugmentationDraw(flip=True, scale=0.83, shift=(-0.071, 0.083)),
    "all, larger": AugmentationDraw(flip=True, scale=1.17, shift=(0.05, 0.03)),
}
DOT_RADIUS = 0.06


def dotted_row(height: int, width: int, keypoint: int, x: float, y: float) -> dict:
    """White pictures with one red dot at a keypoint; the label map calls it glasses, the mask hides the half below."""
    fine = 8
    picture = Image.new("RGB", (width * fine, height * fine), "white")
    middle, radius = np.array([x * width, y * height]) * fine, DOT_RADIUS * height * fine
    ImageDraw.Draw(picture).ellipse([*(middle - radius), *(middle + radius - 1)], fill=(255, 0, 0))
    image = np.asarray(picture.reduce(fine))
    pose = np.zeros((18, 3), np.float32)
    pose[keypoint] = x, y, 0.5
    parse = np.where(image[..., 1] < 128, np.uint8(PARSE_IDS["glasses"]), np.uint8(0))
    return {
        "person_image": image,
        "target_image": image,
        "agnostic_image": image,
        "agnostic_mask": np.zeros((height, width), np.uint8),
        "person_parse": parse,
        "target_parse": parse,
        "garment_image": image,
        "garment_parse": parse,
        "category": "upper",
        "person_pose": pose,
        "garment_pose": pose,
    }


def dot_middle(weights: np.ndarray) -> np.ndarray:
    """Middle (x, y) of what is drawn, in pixels."""
    rows, columns = np.indices(weights.shape) + 0.5
    return np.array([(weights * columns).sum(), (weights * rows).sum()]) / weights.sum()


def other_side(name: str) -> str:
    return name.replace("left", "X").replace("right", "left").replace("X", "right")


@pytest.mark.parametrize("size", [(32, 32), (64, 48), (128, 128), (256, 192)])
@pytest.mark.parametrize("move", MOVES)
# Corners of pixels at every size, where a dot of whole pixels has its middle too.
@pytest.mark.parametrize(
    ("name", "x", "y"), [("left_wrist", 5 / 16, 10 / 16), ("right_ear", 9 / 16, 6 / 16), ("nose", 0.5, 6 / 16)]
)
def test_a_dot_follows_its_keypoint(size, move, name, x, y):
    height, width = size
    draw = MOVES[move]
    row = augment_row(dotted_row(height, width, KEYPOINT_NAMES.index(name), x, y), draw)
    where = KEYPOINT_NAMES.index(other_side(name) if draw.flip else name)
    assert np.flatnonzero(row["person_pose"][:, 2]).tolist() == [where]
    point = row["person_pose"][where, :2] * (width, height)
    assert row["person_pose"][where, 2] == 0.5
    for column in ("person_image", "target_image", "agnostic_image"):
        assert np.abs(dot_middle(255.0 - row[column][..., 1]) - point).max() < 0.15, column
    assert np.abs(dot_middle(row["person_parse"] > 0) - point).max() < 0.5
    assert np.array_equal(row["target_parse"], row["person_parse"])
    garment_point = row["garment_pose"][where, :2] * (width, height)
    assert np.abs(dot_middle(255.0 - row["garment_image"][..., 1]) - garment_point).max() < 0.15
    assert np.abs(dot_middle(row["garment_parse"] > 0) - garment_point).max() < 0.5


def test_a_move_is_the_one_that_was_drawn():
    # Worked by hand: mirrored 0.3 is 0.7; 0.2 right of the middle, times 0.5, is 0.6; moved by 0.1 it is 0.7.
    row = dotted_row(32, 32, KEYPOINT_NAMES.index("left_wrist"), 0.3, 0.7)
    moved = augment_row(row, AugmentationDraw(flip=True, scale=0.5, shift=(0.1, -0.2)))
    np.testing.assert_allclose(moved["person_pose"][KEYPOINT_NAMES.index("right_wrist")], [0.7, 0.4, 0.5], atol=1e-6)
    np.testing.assert_allclose(moved["garment_pose"][KEYPOINT_NAMES.index("right_wrist")], [0.7, 0.7, 0.5], atol=1e-6)


def test_a_point_that_leaves_the_picture_is_missing():
    row = dotted_row(64, 64, 0, 0.9, 0.5)
    moved = augment_row(row, AugmentationDraw(shift=(0.2, 0.0)))
    assert not moved["person_pose"].any()
    assert (moved["person_image"] == 255).all()
    assert moved["garment_pose"].any()


def test_labels_and_keypoints_swap_sides():
    # No label has a side; if one ever gets one, a mirrored label map must swap it.
    assert not any("left" in name or "right" in name for name in PARSE_LABELS)
    pose = np.random.default_rng(0).uniform(0.1, 0.9, (18, 3)).astype(np.float32)
    row = dotted_row(32, 32, 0, 0.5, 0.5) | {"person_pose": pose, "garment_pose": pose}
    flipped = augment_row(row, AugmentationDraw(flip=True))
    for index, name in enumerate(KEYPOINT_NAMES):
        x, y, visibility = pose[index]
        expected = np.array([1 - x, y, visibility], np.float32)
        np.testing.assert_array_equal(flipped["person_pose"][KEYPOINT_NAMES.index(other_side(name))], expected)
        np.testing.assert_array_equal(flipped["garment_pose"][KEYPOINT_NAMES.index(other_side(name))], expected)
    twice = augment_row(flipped, AugmentationDraw(flip=True))
    np.testing.assert_allclose(twice["person_pose"], pose, atol=1e-7)


def colour_row(colours: np.ndarray) -> dict:
    """All pictures show the same colours (H, W, 3); nothing is hidden, everything is garment."""
    pose = np.zeros((18, 3), np.float32)
    row = dict.fromkeys(("person_image", "agnostic_image", "garment_image", "target_image"), colours)
    height, width = colours.shape[:2]
    return row | {
        "agnostic_mask": np.zeros((height, width), np.uint8),
        "garment_parse": np.full((height, width), PARSE_IDS["top"], np.uint8),
        "category": "upper",
        "person_pose": pose,
        "garment_pose": pose,
    }


def test_colours_change_alike_on_person_and_garment():
    colours = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    colours[0] = GARMENT_BACKGROUND  # white within a garment is no background
    settings = dataclasses.replace(STRONG, scale=0.0, shift=0.0, flip=0.0)
    rng = np.random.default_rng(1)
    for _ in range(20):
        row = augment_row(colour_row(colours), draw_augmentation(settings, rng))
        assert (row["person_image"] != colours).any()
        for name in ("agnostic_image", "garment_image", "target_image"):
            np.testing.assert_array_equal(row[name], row["person_image"], err_msg=name)


@pytest.mark.parametrize(("category", "label"), [("upper", "top"), ("lower", "pants"), ("dress", "dress")])
def test_white_cloth_is_recoloured_whatever_the_category(category, label):
    row = colour_row(np.full((4, 4, 3), 255, np.uint8)) | {"category": category}
    row["garment_parse"] = np.full((4, 4), PARSE_IDS[label], np.uint8)
    row["garment_parse"][0] = PARSE_IDS["face"]
    garment = augment_row(row, AugmentationDraw(brightness=0.8))["garment_image"]
    assert (garment[0] == GARMENT_BACKGROUND).all() and (garment[1:] == 204).all()


@pytest.mark.parametrize(
    ("change", "colour", "expected"),
    [
        ({"brightness": 0.5}, (200, 100, 50), (100, 50, 25)),
        ({"brightness": 1.5}, (200, 100, 50), (255, 150, 75)),
        ({"contrast": 0.5}, (227, 127, 27), (177, 127, 77)),  # half as far from 127.5
        ({"saturation": 0.0}, (200, 100, 50), (124, 124, 124)),  # 0.299 * 200 + 0.587 * 100 + 0.114 * 50 = 124.2
        ({"hue": 0.3}, (90, 90, 90), (90, 90, 90)),
        ({"hue": 1.0}, (200, 100, 50), (200, 100, 50)),
        ({"brightness": 0.5, "contrast": 2.0}, (200, 100, 140), (73, 0, 13)),  # darker first, then twice from 127.5
    ],
)
def test_colours_change_as_drawn(change, colour, expected):
    row = augment_row(colour_row(np.full((2, 2, 3), colour, np.uint8)), AugmentationDraw(**change))
    assert np.abs(row["person_image"].astype(int) - expected).max() <= 1


def test_hue_turns_red_towards_green_and_back():
    red = np.full((1, 1, 3), (180, 80, 80), np.uint8)
    turned = augment_row(colour_row(red), AugmentationDraw(hue=1 / 3))["person_image"]
    assert turned[0, 0].argmax() != 0
    back = augment_row(colour_row(turned), AugmentationDraw(hue=-1 / 3))["person_image"]
    assert np.abs(back.astype(int) - red).max() <= 2


@pytest.mark.parametrize("size", [32, 96])
def test_fills_stay_exact_and_nothing_blends_into_them(size):
    # The kept half has one colour, the hidden half another that must not be seen, at any scale and place.
    mask = np.zeros((size, size), np.uint8)
    mask[: size * 2 // 3, size // 3 : size // 2 + 3] = 255
    kept, secret = (40, 90, 200), (250, 10, 10)
    row = colour_row(np.full((size, size, 3), kept, np.uint8))
    row["person_image"] = np.where(mask[..., None] > 0, np.uint8(secret), row["person_image"])
    row["agnostic_image"] = np.where(mask[..., None] > 0, np.uint8(AGNOSTIC_FILL), row["agnostic_image"])
    row["agnostic_mask"] = mask
    row["garment_parse"] = np.where(mask > 0, np.uint8(PARSE_IDS["top"]), np.uint8(0))
    row["garment_image"] = np.where(mask[..., None] > 0, np.uint8(secret), np.uint8(GARMENT_BACKGROUND))
    rng = np.random.default_rng(2)
    for recoloured in (False, True):
        settings = STRONG if recoloured else AugmentationSettings(0.5, 0, 0, 0, 0, 0.5, 0.3, 0, 0)
        for _ in range(20):
            draw = draw_augmentation(settings, rng)
            augmented = augment_row(row, draw)
            new_kept = augment_row(
                colour_row(np.full((2, 2, 3), kept, np.uint8)), dataclasses.replace(draw, scale=1.0, shift=(0.0, 0.0))
            )
            hidden = augmented["agnostic_mask"] == 255
            assert set(np.unique(augmented["agnostic_mask"])) <= {0, 255}
            assert (augmented["agnostic_image"][hidden] == AGNOSTIC_FILL).all()
            shown = augmented["agnostic_image"][~hidden].astype(int)
            is_kept = (np.abs(shown - new_kept["person_image"][0, 0]) <= 2).all(axis=-1)
            assert (is_kept | (shown == PERSON_PADDING).all(axis=-1)).all()
            background = augmented["garment_parse"] == 0
            assert (augmented["garment_image"][background] == GARMENT_BACKGROUND).all()


def test_what_enters_is_padding():
    row = colour_row(np.full((40, 40, 3), 20, np.uint8))
    row["person_parse"] = np.full((40, 40), PARSE_IDS["top"], np.uint8)
    row["agnostic_mask"] = np.full((40, 40), 255, np.uint8)
    moved = augment_row(row, AugmentationDraw(scale=0.5, shift=(0.25, 0.0), brightness=0.5))
    inside = np.zeros((40, 40), bool)
    inside[10:30, 20:40] = True
    for name in ("person_image", "agnostic_image", "target_image"):
        assert (moved[name][~inside] == PERSON_PADDING).all(), name
    assert (moved["person_image"][inside] == 10).all()
    np.testing.assert_array_equal(moved["agnostic_mask"] == 255, inside)
    np.testing.assert_array_equal(moved["person_parse"] == PARSE_IDS["top"], inside)
    assert (moved["garment_image"] == 10).all()


@pytest.mark.parametrize("row", [render_pair(3, 48), render_unpaired(4, 48)], ids=["pair", "unpaired"])
def test_no_draw_changes_types_or_leaves_the_ranges(row):
    rng = np.random.default_rng(3)
    before = {name: value.copy() for name, value in row.items() if isinstance(value, np.ndarray)}
    for _ in range(50):
        augmented = augment_row(row, draw_augmentation(STRONG, rng))
        assert augmented.keys() == row.keys()
        for name, value in row.items():
            if isinstance(value, np.ndarray):
                assert (augmented[name].dtype, augmented[name].shape) == (value.dtype, value.shape), name
            else:
                assert augmented[name] == value
        for name in ("person_pose", "garment_pose"):
            check_pose(augmented[name], name)
            assert not augmented[name][augmented[name][:, 2] == 0].any()
        assert set(np.unique(augmented["person_parse"])) <= set(np.unique(row["person_parse"])) | {0}
    for name, value in before.items():
        np.testing.assert_array_equal(row[name], value, err_msg=name)


@pytest.mark.parametrize("draw", [AugmentationDraw(), draw_augmentation(OFF, np.random.default_rng(0))])
def test_the_identity_changes_nothing(draw):
    row = render_unpaired(5, 48)
    augmented = augment_row(row, draw)
    for name, value in row.items():
        np.testing.assert_array_equal(augmented[name], value, err_msg=name)


def test_off_the_rim_the_agnostic_image_is_the_person():
    row = render_pair(6, 96)
    moved = augment_row(row, AugmentationDraw(scale=1.11, shift=(0.013, 0.021), brightness=0.9, hue=0.03))
    rim = np.zeros((96, 96), bool)
    for rows in (-2, -1, 0, 1, 2):
        for columns in (-2, -1, 0, 1, 2):
            rim |= np.roll(moved["agnostic_mask"], (rows, columns), (0, 1)) > 0
    assert (~rim).sum() > 1000
    np.testing.assert_array_equal(moved["agnostic_image"][~rim], moved["person_image"][~rim])


def test_points_and_the_garment_pose_go_missing_as_drawn():
    row = render_pair(3, 32)
    row["person_pose"] = row["garment_pose"] = np.full((18, 3), 0.5, np.float32)
    draw = AugmentationDraw(dropped_person_points=(2, 17), dropped_garment_points=(4,))
    augmented = augment_row(row, draw)
    assert np.flatnonzero(~augmented["person_pose"].any(axis=1)).tolist() == [2, 17]
    assert np.flatnonzero(~augmented["garment_pose"].any(axis=1)).tolist() == [4]
    flat = augment_row(row, AugmentationDraw(null_garment_pose=True))
    assert not flat["garment_pose"].any() and flat["person_pose"].all()
    assert flat["garment_type"] == row["garment_type"]


def test_draws_follow_the_generator_and_the_settings():
    def draws(settings, seed=0, count=2000):
        rng = np.random.default_rng(seed)
        return [draw_augmentation(settings, rng) for _ in range(count)]

    settings = AugmentationSettings()
    assert draws(settings, count=5) == draws(settings, count=5) != draws(settings, seed=1, count=5)
    without_flip = draws(dataclasses.replace(settings, flip=0.0), count=5)
    assert without_flip == [dataclasses.replace(draw, flip=False) for draw in draws(settings, count=5)]

    many = draws(settings)
    assert abs(np.mean([draw.flip for draw in many]) - 0.5) < 0.05
    assert abs(np.mean([draw.null_garment_pose for draw in many]) - 0.05) < 0.02
    assert abs(np.mean([len(draw.dropped_person_points) for draw in many]) - 18 * 0.02) < 0.06
    for name, low, high in (
        ("brightness", 0.85, 1.15),
        ("contrast", 0.85, 1.15),
        ("saturation", 0.8, 1.2),
        ("hue", -0.02, 0.02),
        ("scale", 1 / 1.15, 1.15),
        ("shift", -0.05, 0.05),
    ):
        values = np.array([getattr(draw, name) for draw in many])
        assert low <= values.min() < low + 0.1 * (high - low) and high - 0.1 * (high - low) < values.max() <= high, (
            name
        )
    # No two of them, and not the flip, hang together.
    numbers = np.array(
        [[d.flip, d.brightness, d.contrast, d.saturation, d.hue, d.scale, *d.shift, d.null_garment_pose] for d in many]
    )
    assert np.abs(np.corrcoef(numbers.T) - np.eye(numbers.shape[1])).max() < 0.1


@pytest.mark.parametrize(
    ("name", "value"), [("flip", 1.5), ("shift", 0.6), ("hue", -0.1), ("scale", float("nan")), ("scale", 2.0)]
)
def test_settings_out_of_range_are_named(name, value):
    with pytest.raises(ValueError, match=f"`{name}` of the augmentation must be in .*got {value}"):
        AugmentationSettings(**{name: value})
