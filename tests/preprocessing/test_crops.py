# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The crop that a network is given: that nothing is lost on the way there and back, and what it shows."""

import numpy as np
import pytest
from PIL import Image

from diffusers_tryon.composition import GARMENT_LABELS, PERSON_PADDING, label_mask
from diffusers_tryon.poses import KEYPOINT_NAMES
from diffusers_tryon.preprocessing.crops import Crop, box_region, crop_for_garment, crop_for_person
from diffusers_tryon.preprocessing.errors import NoGarmentError, NoPersonError
from diffusers_tryon.rendering.samples import render_pair


HEIGHT, WIDTH = 40, 60
CROPS = {
    "inside": Crop(7, 5, 30, 20, HEIGHT, WIDTH),
    "whole": Crop(0, 0, WIDTH, HEIGHT, HEIGHT, WIDTH),
    "over the corner": Crop(-9, -4, 32, 21, HEIGHT, WIDTH),
    "around": Crop(-3, -13, 66, 66, HEIGHT, WIDTH),
}


@pytest.fixture
def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.fixture
def pose() -> np.ndarray:
    rng = np.random.default_rng(1)
    return np.concatenate([rng.random((18, 2)), rng.uniform(0.2, 1, (18, 1))], axis=1).astype(np.float32)


def everywhere() -> np.ndarray:
    return np.ones((HEIGHT, WIDTH), dtype=bool)


def test_a_cut_shows_the_photo_and_its_padding(photo):
    cut = CROPS["over the corner"].cut(photo)
    assert cut.shape == (21, 32, 3)
    assert (cut[4:, 9:] == photo[:17, :23]).all()
    assert (cut[:4] == PERSON_PADDING).all() and (cut[:, :9] == PERSON_PADDING).all()


@pytest.mark.parametrize("name", CROPS)
def test_the_cut_pasted_back_is_the_photo(name, photo):
    crop = CROPS[name]
    assert np.array_equal(crop.paste(photo, crop.cut(photo), everywhere()), photo)
    assert np.array_equal(crop.paste(photo, crop.cut(photo), everywhere(), feather=4), photo)


@pytest.mark.parametrize("name", CROPS)
@pytest.mark.parametrize("feather", [0, 3])
def test_nothing_outside_the_mask_changes(name, feather, photo):
    crop, rng = CROPS[name], np.random.default_rng(2)
    mask = rng.random((HEIGHT, WIDTH)) < 0.7
    result = rng.integers(0, 256, (13, 17, 3), dtype=np.uint8)
    before = photo.copy()
    pasted = crop.paste(photo, result, mask, feather)
    assert np.array_equal(photo, before)
    changed = (pasted != photo).any(axis=-1)
    within = np.zeros_like(mask)
    within[max(crop.top, 0) : crop.top + crop.height, max(crop.left, 0) : crop.left + crop.width] = True
    assert not (changed & ~(mask & within)).any()
    assert changed.sum() > 0.8 * (mask & within).sum()


def test_a_result_of_the_crops_size_is_pasted_as_it_is(photo):
    crop = CROPS["over the corner"]
    result = np.random.default_rng(3).integers(0, 256, (crop.height, crop.width, 3), dtype=np.uint8)
    pasted = crop.paste(photo, result, everywhere())
    assert np.array_equal(pasted[:17, :23], result[4:, 9:])


def test_feathering_goes_inwards_from_the_outline_but_not_from_the_photos_edge(photo):
    black = np.zeros_like(photo)
    white = np.full((HEIGHT, WIDTH, 3), 255, dtype=np.uint8)
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[:, :30] = True
    pasted = CROPS["whole"].paste(black, white, mask, feather=3)[..., 0]
    expected = np.zeros(WIDTH)
    expected[:30], expected[27:30] = 255, np.rint(255 * np.array([3, 2, 1]) / 4)
    assert (pasted == expected).all()


def test_feathering_also_starts_where_the_crop_ends_within_the_photo(photo):
    white = np.full((20, 30, 3), 255, dtype=np.uint8)
    pasted = CROPS["inside"].paste(np.zeros_like(photo), white, everywhere(), feather=1)[..., 0]
    assert (pasted[5, 7:37] == 128).all() and (pasted[5:25, 36] == 128).all() and (pasted[6:24, 8:36] == 255).all()


def test_pasting_refuses_what_does_not_fit(photo):
    crop = CROPS["inside"]
    with pytest.raises(ValueError, match="`mask` must be bool"):
        crop.paste(photo, crop.cut(photo), everywhere().astype(np.uint8))
    with pytest.raises(ValueError, match="`result` must be uint8"):
        crop.paste(photo, crop.cut(photo) / 255, everywhere())
    with pytest.raises(ValueError, match="40 x 60 pixels high and wide"):
        crop.paste(photo[:-1], crop.cut(photo), everywhere())


@pytest.mark.parametrize("name", CROPS)
def test_keypoints_come_back(name, pose):
    crop = CROPS[name]
    in_crop = crop.pose_from_photo(pose)
    pixels = pose[:, :2] * (WIDTH, HEIGHT)
    inside = ((pixels >= (crop.left, crop.top)) & (pixels <= (crop.left + crop.width, crop.top + crop.height))).all(1)
    assert 3 <= inside.sum()
    back = crop.pose_to_photo(in_crop)
    assert np.allclose(back[inside], pose[inside], rtol=0, atol=1e-6)
    assert (in_crop[~inside] == 0).all() and (back[~inside] == 0).all()


def test_a_keypoint_and_its_pixel_stay_together(photo, pose):
    crop = CROPS["over the corner"]
    pose[0] = (12.5 / WIDTH, 8.5 / HEIGHT, 1)
    x, y, _ = crop.pose_from_photo(pose)[0]
    assert np.array_equal(crop.cut(photo)[int(y * crop.height), int(x * crop.width)], photo[8, 12])


def test_missing_keypoints_stay_missing():
    assert not CROPS["inside"].pose_to_photo(np.zeros((18, 3), dtype=np.float32)).any()


@pytest.mark.parametrize("name", CROPS)
def test_labels_come_back(name):
    crop = CROPS[name]
    parse = np.random.default_rng(4).integers(1, 18, (HEIGHT, WIDTH), dtype=np.uint8)
    labels = crop.resized_labels(parse, (crop.height, crop.width))
    assert np.array_equal(labels, crop.cut(parse, 0))
    back = Crop.whole(HEIGHT, WIDTH).resized_labels(labels, (HEIGHT, WIDTH), region=crop)
    assert np.array_equal(back[back > 0], parse[back > 0])
    of_photo = (slice(max(crop.top, 0), crop.top + crop.height), slice(max(crop.left, 0), crop.left + crop.width))
    assert (back[of_photo] > 0).all() and (back > 0).sum() == back[of_photo].size


def test_labels_of_another_size_show_the_same_place():
    crop = Crop(-10, 20, 60, 30, photo_height=80, photo_width=100)
    parse = np.random.default_rng(5).integers(1, 18, (40, 50), dtype=np.uint8)
    # The photograph has four pixels where the label map has one.
    enlarged = parse.repeat(2, axis=0).repeat(2, axis=1)
    assert np.array_equal(crop.resized_labels(parse, (30, 60)), crop.cut(enlarged, 0))
    back = Crop.whole(80, 100).resized_labels(crop.resized_labels(parse, (15, 30)), (40, 50), region=crop)
    assert np.array_equal(back[10:25, :25], parse[10:25, :25])


def test_resizing_is_bilinear_with_antialiasing(photo):
    crop = CROPS["inside"]
    expected = Image.fromarray(photo[5:25, 7:37]).resize((12, 8), Image.Resampling.BILINEAR)
    assert np.array_equal(crop.resized(photo, (8, 12)), expected)


def test_a_mask_of_the_crop_marks_the_same_place_of_the_photo():
    crop = Crop(-4, 8, 32, 32, HEIGHT, WIDTH)
    mask = np.zeros((8, 8), dtype=bool)
    mask[2:6, 1:4] = True
    expected = np.zeros((HEIGHT, WIDTH), dtype=bool)
    expected[16:32, 0:12] = True
    shown = crop.mask_to_photo(mask)
    # Nothing but the corners is rounded.
    assert (shown & ~expected).sum() == 0 and (expected & ~shown).sum() <= 8


def in_a_wide_photo(row: dict) -> tuple[np.ndarray, np.ndarray]:
    """The label map and the pose of a rendered square in the middle of a photograph twice as wide and half higher."""
    side = len(row["person_parse"])
    photo = Crop(-side // 2, -side // 4, 2 * side, side + side // 2, side, side)
    return photo.cut(row["person_parse"], 0), photo.pose_from_photo(row["person_pose"])


def shown_share(crop: Crop, mask: np.ndarray) -> float:
    return float(crop.cut(mask, 0).sum() / mask.sum())


@pytest.fixture(scope="module")
def whole_person() -> tuple[np.ndarray, np.ndarray]:
    return in_a_wide_photo(render_pair(3, 128, category="dress"))


@pytest.mark.parametrize("category", GARMENT_LABELS)
@pytest.mark.parametrize("seed", [5, 7])
@pytest.mark.parametrize("aspect", [1.0, 1.5])
def test_a_crop_shows_all_of_its_category_and_little_more(category, seed, aspect):
    parse, pose = in_a_wide_photo(render_pair(seed, 128, category=category))
    crop = crop_for_person(pose, parse, category, aspect)
    assert abs(crop.height - crop.width * aspect) <= 2
    shown = {
        "upper": ("top", "dress", "face", "hair", "hat", "arms", "hands", "torso"),
        "lower": ("skirt", "pants", "belt", "legs", "feet"),
        "dress": ("top", "dress", "skirt", "face", "hair", "hat", "arms", "hands", "torso", "legs", "feet"),
    }[category]
    assert shown_share(crop, label_mask(parse, shown)) == 1
    rows, columns = np.nonzero(label_mask(parse, shown))
    needed = max(np.ptp(rows) + 1, (np.ptp(columns) + 1) * aspect)
    # Margin, what hangs below the hem or above the waist, and a crown that no hair covers.
    assert crop.height < 1.35 * needed
    joints = {"upper": "shoulder", "lower": "knee", "dress": "elbow"}[category]
    for number, name in enumerate(KEYPOINT_NAMES):
        if joints in name and pose[number, 2] > 0:
            assert crop.pose_from_photo(pose)[number, 2] > 0


def test_of_a_whole_person_an_upper_garment_needs_no_feet_and_a_lower_one_no_head(whole_person):
    parse, pose = whole_person
    upper, lower, whole = (crop_for_person(pose, parse, category) for category in ("upper", "lower", "dress"))
    assert upper.height < whole.height and lower.height < whole.height
    assert shown_share(upper, label_mask(parse, ("feet",))) == 0
    assert shown_share(lower, label_mask(parse, ("face",))) == 0
    # Below the hips, above the ankles; above the hips, below the shoulders.
    hips, ankles, shoulders = (
        np.mean([pose[KEYPOINT_NAMES.index(f"{side}_{joint}"), 1] * len(parse) for side in ("left", "right")])
        for joint in ("hip", "ankle", "shoulder")
    )
    assert hips < upper.top + upper.height < ankles
    assert shoulders < lower.top < hips


def test_a_crop_stays_within_a_photo_that_has_room_and_shows_all_of_one_that_has_not(whole_person):
    parse, pose = whole_person
    crop = crop_for_person(pose, parse, "dress")
    assert crop.left >= 0 and crop.top >= 0
    assert crop.left + crop.width <= crop.photo_width and crop.top + crop.height <= crop.photo_height
    # A strip that is as wide as the person: higher than wide, so that a square must reach beyond it.
    columns = np.flatnonzero(parse.any(axis=0))
    strip = Crop(int(columns[0]), 0, int(np.ptp(columns)) + 1, len(parse), *parse.shape)
    narrow = crop_for_person(strip.pose_from_photo(pose), strip.cut(parse, 0), "dress")
    assert narrow.left < 0 and narrow.left + narrow.width > narrow.photo_width
    assert narrow.top >= 0 and narrow.top + narrow.height <= narrow.photo_height


def test_the_photos_edge_ends_the_crop_of_a_person_that_it_cuts(whole_person):
    parse, pose = whole_person
    above_knees = Crop(0, 0, parse.shape[1], int(len(parse) * 0.6), *parse.shape)
    crop = crop_for_person(above_knees.pose_from_photo(pose), above_knees.cut(parse, 0), "dress")
    assert crop.top + crop.height == crop.photo_height


def test_a_label_map_of_another_size_gives_the_photos_crop(whole_person):
    parse, pose = whole_person
    large = parse.repeat(3, axis=0).repeat(3, axis=1)
    photo = Crop.whole(*large.shape)
    assert crop_for_person(pose, parse, "upper", region=photo) == crop_for_person(pose, large, "upper")
    mask, large_mask = label_mask(parse, ("dress", "top")), label_mask(large, ("dress", "top"))
    assert crop_for_garment(mask, region=photo) == crop_for_garment(large_mask)


@pytest.mark.parametrize("category", GARMENT_LABELS)
def test_a_label_map_of_the_region_around_the_person_gives_the_photos_crop(category, whole_person):
    parse, pose = whole_person
    rows, columns = np.flatnonzero(parse.any(axis=1)), np.flatnonzero(parse.any(axis=0))
    region = box_region(np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]), 1.1, *parse.shape)
    around = region.cut(parse, 0)
    assert crop_for_person(pose, around, category, region=region) == crop_for_person(pose, parse, category)
    garment = ("dress", "top")
    of_region = crop_for_garment(label_mask(around, garment), region=region)
    assert of_region == crop_for_garment(label_mask(parse, garment))


def test_keypoints_alone_or_labels_alone_choose_nearly_the_same(whole_person):
    parse, pose = whole_person
    crop = crop_for_person(pose, parse, "upper")
    without_labels = crop_for_person(pose, np.zeros_like(parse), "upper")
    without_pose = crop_for_person(np.zeros_like(pose), parse, "upper")
    assert 0.6 * crop.height < without_labels.height <= crop.height
    assert 0.8 * crop.height < without_pose.height <= crop.height
    # The head is in view though no label says where it is.
    assert shown_share(without_labels, label_mask(parse, ("face",))) == 1


def test_no_person_and_unknown_categories_are_refused(whole_person):
    parse, pose = whole_person
    with pytest.raises(NoPersonError, match="category lower"):
        crop_for_person(np.zeros_like(pose), label_mask(parse, ("face",)).astype(np.uint8), "lower")
    with pytest.raises(ValueError, match="`category` must be one of upper, lower, dress, got 'shoes'"):
        crop_for_person(pose, parse, "shoes")


def test_a_garment_is_in_the_middle_of_its_crop():
    mask = np.zeros((50, 80), dtype=bool)
    mask[2:22, 60:80] = True
    crop = crop_for_garment(mask, margin=1.2)
    assert crop == Crop(58, 0, 24, 24, 50, 80)
    tall = crop_for_garment(mask, aspect=2.0, margin=1.0)
    assert (tall.width, tall.height, tall.left, tall.top) == (20, 40, 60, -8)
    with pytest.raises(NoGarmentError, match="`garment_mask` marks no garment"):
        crop_for_garment(np.zeros_like(mask))


def test_the_region_around_a_box_lies_within_the_photo():
    assert box_region(np.array([10, 10, 30, 20, 0.9]), 1.2, 40, 60) == Crop(8, 9, 24, 12, 40, 60)
    assert box_region(np.array([0, 0, 60, 40]), 1.5, 40, 60) == Crop(0, 0, 60, 40, 40, 60)
    assert box_region(np.array([59.6, 39.7, 60, 40]), 1.0, 40, 60) == Crop(59, 39, 1, 1, 40, 60)
