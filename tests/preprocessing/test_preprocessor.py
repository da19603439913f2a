# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""From photographs to conditions, with back ends that know the truth: errors left are preprocessing's own."""

import warnings

import numpy as np
import pytest
from PIL import Image
from rendered_backends import RenderedTruth, rendered_photo, truth_preprocessor

from diffusers_tryon.composition import AGNOSTIC_FILL, GARMENT_LABELS, KEPT_LABELS, PARSE_IDS, label_mask
from diffusers_tryon.preprocessing.errors import (
    BackViewWarning,
    NoPersonError,
    PreprocessingError,
    PreprocessingWarning,
    SeveralPeopleWarning,
)
from diffusers_tryon.preprocessing.preprocessor import TryOnPreprocessor


PEOPLE = [("upper", 1), ("upper", 6), ("lower", 2), ("dress", 3)]


def prepare(person: dict, garment: dict, **arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PreprocessingWarning)
        preprocessor = truth_preprocessor([person, garment])
        return preprocessor(person["image"], garment["image"], **arguments)


@pytest.mark.parametrize(("category", "seed"), PEOPLE)
def test_nothing_of_the_garment_is_left_and_the_rest_is_kept(category, seed):
    photo = rendered_photo(seed, category)
    person = prepare(photo, photo, category=category, size=128).people[0]
    agnostic, mask, parse = person.agnostic_image, person.agnostic_mask > 0, person.parse

    # The truth in the crop, by a way of its own: the label map pasted on a canvas and cropped there.
    crop = person.crop
    canvas = Image.new("L", (crop.width, crop.height))
    canvas.paste(Image.fromarray(photo["parse"]), (-crop.left, -crop.top))
    truth = np.asarray(canvas.resize((128, 128), Image.Resampling.NEAREST))
    assert (parse == truth).mean() > 0.97
    assert not (label_mask(truth, GARMENT_LABELS[category]) & ~mask).any()
    kept = label_mask(truth, KEPT_LABELS[category])
    assert (kept & ~mask).sum() > 0.6 * kept.sum()
    assert (agnostic[mask] == AGNOSTIC_FILL).all()
    np.testing.assert_array_equal(agnostic[~mask], person.image[~mask])


@pytest.mark.parametrize(("category", "seed"), PEOPLE)
def test_the_garment_is_cut_out_on_white_with_the_pose_of_its_wearer(category, seed):
    photo = rendered_photo(seed, category)
    garment = prepare(photo, photo, category=category, size=128).garments[0]
    assert garment.garment_type == "worn"
    crop = garment.crop
    canvas = Image.new("L", (crop.width, crop.height))
    canvas.paste(Image.fromarray(label_mask(photo["parse"], GARMENT_LABELS[category])), (-crop.left, -crop.top))
    truth = np.asarray(canvas.resize((128, 128), Image.Resampling.NEAREST)) > 0
    found = (garment.image != 255).any(axis=-1)
    assert (found & truth).sum() / (found | truth).sum() > 0.9
    seen = garment.pose[:, 2] > 0
    height, width = photo["image"].shape[:2]
    in_photo = garment.pose[seen, :2] * (crop.width, crop.height) + (crop.left, crop.top)
    np.testing.assert_allclose(in_photo, photo["pose"][seen, :2] * (width, height), atol=1e-2)


def test_the_category_is_that_of_the_garment_unless_it_is_named():
    for category, seed in PEOPLE:
        photo = rendered_photo(seed, category)
        prepared = prepare(photo, photo, size=64)
        if category == "dress":
            assert prepared.garments[0].category == "dress"
        assert prepared.people[0].category == prepared.garments[0].category


def test_conditions_of_other_ratios_keep_the_ratio_of_the_picture():
    photo = rendered_photo(1, "upper")
    person = prepare(photo, photo, category="upper", size=(128, 96)).people[0]
    assert person.image.shape == (128, 96, 3)
    assert abs(person.crop.width / person.crop.height - 96 / 128) < 0.02


def test_a_batch_gives_what_single_calls_give():
    people = [rendered_photo(1, "upper"), rendered_photo(6, "upper")]
    garment = rendered_photo(4, "upper")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PreprocessingWarning)
        preprocessor = truth_preprocessor([*people, garment])
        together = preprocessor([photo["image"] for photo in people], garment["image"], category="upper", size=64)
        alone = [preprocessor(photo["image"], garment["image"], category="upper", size=64) for photo in people]
    conditions = together.conditions
    assert len(conditions["agnostic_image"]) == len(conditions["garment_image"]) == len(conditions["person_pose"]) == 2
    for number, single in enumerate(alone):
        for name, value in single.conditions.items():
            np.testing.assert_array_equal(np.asarray(value[0]), np.asarray(conditions[name][number]), err_msg=name)


def test_pasting_changes_nothing_outside_the_hidden_region():
    photo = rendered_photo(1, "upper")
    prepared = prepare(photo, photo, category="upper", size=64)
    result = Image.new("RGB", (64, 64), (255, 0, 255))
    pasted = np.asarray(prepared.paste_back([result])[0])
    person = prepared.people[0]
    assert pasted.shape == photo["image"].shape
    changed = (pasted != photo["image"]).any(axis=-1)
    garment = label_mask(photo["parse"], GARMENT_LABELS["upper"])
    assert (pasted[garment] == (255, 0, 255)).all(axis=-1).mean() > 0.8
    assert not (changed & label_mask(photo["parse"], ("face",))).sum() > 0.05 * garment.sum()
    top, left = max(person.crop.top, 0), max(person.crop.left, 0)
    outside = np.ones(changed.shape, bool)
    outside[top : person.crop.top + person.crop.height, left : person.crop.left + person.crop.width] = False
    assert not (changed & outside).any()
    # What the networks kept is given back from the photograph, whatever they return there.
    np.testing.assert_array_equal(
        np.asarray(prepared.paste_back([person.image])[0])[~changed], photo["image"][~changed]
    )


def test_several_images_for_one_person_go_into_the_same_photograph():
    photo = rendered_photo(1, "upper")
    prepared = prepare(photo, photo, category="upper", size=64)
    images = [Image.new("RGB", (64, 64), color) for color in ("red", "blue")]
    red, blue = prepared.paste_back(images)
    assert np.asarray(red).tobytes() != np.asarray(blue).tobytes()
    with pytest.raises(
        ValueError, match="`results` must hold one image, or equally many, for each of 1 people, got 0"
    ):
        prepared.paste_back([])


def test_nobody_in_the_photograph():
    garment = rendered_photo(1, "upper")
    preprocessor = truth_preprocessor([garment])
    scenery = np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8)
    with pytest.raises(NoPersonError, match="`person_photo`.*crop the photograph closer"):
        preprocessor(scenery, garment["image"])
    with pytest.raises(NoPersonError, match="`garment_photo`.*`garment_type` 'flat'"):
        preprocessor(garment["image"], scenery, garment_type="worn", category="upper")


@pytest.mark.parametrize("size", [0, (64,), (64.0, 64), (64, -1), "64", None])
def test_a_size_that_is_none_is_refused_before_anything_is_looked_at(size):
    with pytest.raises(ValueError, match="`size` must be a height and a width of at least 1"):
        TryOnPreprocessor(None, None)("none.jpg", "none.jpg", size=size)


def test_a_size_may_be_a_number_of_numpy():
    photo = rendered_photo(1, "upper")
    assert prepare(photo, photo, category="upper", size=np.int64(48)).people[0].image.shape == (48, 48, 3)


class _TwoPeople(RenderedTruth):
    """Sees the person twice, the second time as a smaller one."""

    def detect(self, images):
        return [
            np.concatenate([boxes, boxes * np.array([1, 1, 0.7, 0.7, 1], np.float32)])[::-1]
            for boxes in super().detect(images)
        ]


def test_of_several_people_the_largest_is_taken_and_said_so():
    photo, garment = rendered_photo(1, "upper"), rendered_photo(6, "upper")
    truth = RenderedTruth([photo, garment])
    preprocessor = TryOnPreprocessor(truth, truth, _TwoPeople([photo]))
    with pytest.warns(
        SeveralPeopleWarning, match="`person_photo` shows 2 people. The largest was taken; `person_index` from 1 to 1"
    ):
        analysis = preprocessor.analyse([photo["image"]], names=["person_photo"])[0]
        for warning in analysis.warnings:
            warnings.warn(warning, stacklevel=1)
    assert analysis.chosen == 0 and analysis.boxes[0, 2] > analysis.boxes[1, 2]
    chosen = preprocessor.analyse([photo["image"]], person_index=0)[0]
    assert not chosen.warnings
    with pytest.raises(NoPersonError, match="`person_index` is 2, but `photo 0` shows 2 people"):
        preprocessor.analyse([photo["image"]], person_index=2)


class _PeopleBeyondThePhoto(RenderedTruth):
    """Also sees people of whom a line or nothing lies within the photograph."""

    def detect(self, images):
        others = np.array([[10, 20, 10, 20, 0.9], [-90, 0, -5, 90, 0.9], [0, -40, 500, 0.5, 0.9]], np.float32)
        return [np.concatenate([others, boxes]) for boxes in super().detect(images)]


def test_people_beyond_the_photograph_are_nobody():
    photo = rendered_photo(1, "upper")
    truth = RenderedTruth([photo])
    expected = truth_preprocessor([photo]).analyse([photo["image"]])[0]
    analysis = TryOnPreprocessor(truth, truth, _PeopleBeyondThePhoto([photo])).analyse([photo["image"]])[0]
    np.testing.assert_array_equal(analysis.boxes, expected.boxes)
    np.testing.assert_array_equal(analysis.pose, expected.pose)
    assert not analysis.warnings


@pytest.mark.parametrize("room", [0, 576], ids=["square", "wide"])
def test_the_person_from_the_front_and_the_garment_from_behind(room):
    person, garment = (_with_room(rendered_photo(seed, "upper"), room) for seed in (1, 6))
    behind = dict(garment)
    swapped = garment["pose"].copy()
    for right, left in ((2, 5), (3, 6), (4, 7), (8, 11), (9, 12), (10, 13)):
        swapped[[right, left]] = swapped[[left, right]]
    swapped[[0, 14, 15, 16, 17]] = 0
    behind["pose"] = swapped
    preprocessor = truth_preprocessor([person, behind])
    with pytest.warns(BackViewWarning):
        prepared = preprocessor(person["image"], garment["image"], category="upper", size=64)
    assert any(isinstance(warning, BackViewWarning) for warning in prepared.warnings)


def _with_room(photo: dict, room: int) -> dict:
    """A photograph that is wider by `room` pixels to the right."""
    height, width = photo["parse"].shape
    return {
        "image": np.pad(photo["image"], ((0, 0), (0, room), (0, 0)), "edge"),
        "parse": np.pad(photo["parse"], ((0, 0), (0, room))),
        "pose": (photo["pose"] * (width / (width + room), 1, 1)).astype(np.float32),
    }


def test_arguments_that_do_not_fit_are_refused():
    photo = rendered_photo(1, "upper")
    preprocessor = truth_preprocessor([photo])
    for arguments, message in (
        ({"category": "hat"}, "`category` must be one of upper, lower, dress, auto, got 'hat'"),
        ({"garment_type": "folded"}, "`garment_type` must be one of worn, flat, auto, got 'folded'"),
    ):
        with pytest.raises(ValueError, match=message):
            preprocessor(photo["image"], photo["image"], **arguments)
    with pytest.raises(ValueError, match="equally many photographs or one of either, got 2 and 3"):
        preprocessor([photo["image"]] * 2, [photo["image"]] * 3)
    with pytest.raises(ValueError, match="`person_photo` is an empty list"):
        preprocessor([], photo["image"])
    with pytest.raises(
        PreprocessingError, match="`garment_photo` must be a picture file, there is none at missing.jpg"
    ):
        preprocessor(photo["image"], "missing.jpg")


class _SeesElsewhere(RenderedTruth):
    """Finds nobody, and takes the upper left corner of every picture for a top."""

    def parse(self, images):
        parses = [np.zeros(image.shape[:2], np.uint8) for image in images]
        for parse in parses:
            parse[: len(parse) // 3, : len(parse) // 3] = PARSE_IDS["top"]
        return parses


def test_a_flat_garment_that_the_parser_sees_elsewhere_is_doubted():
    picture = np.full((120, 120, 3), 240, np.uint8)
    picture[30:110, 40:110] = (200, 30, 60)
    elsewhere, photo = _SeesElsewhere([]), rendered_photo(1, "upper")
    garments = TryOnPreprocessor(elsewhere, elsewhere, elsewhere)
    (analysis,) = garments.analyse([picture], names=["garment_photo"])
    doubted = garments.prepare_garment(analysis, "upper", "flat", (64, 64))
    assert any("the parser disagree" in str(warning) for warning in doubted.warnings)
    assert doubted.garment_type == "flat" and not doubted.pose.any()
    (analysis,) = truth_preprocessor([photo]).analyse([picture], names=["garment_photo"])
    assert analysis.chosen is None
