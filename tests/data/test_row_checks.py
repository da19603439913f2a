# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Rendered rows are good; each way of breaking one is found and named, and nothing else."""

import io

import numpy as np
import pytest
from PIL import Image

from diffusers_tryon.composition import PARSE_IDS
from diffusers_tryon.data.row_checks import (
    AGNOSTIC_DIFFERS,
    BAD_KEYPOINTS,
    BAD_MASK,
    BAD_VALUE,
    EMPTY_GARMENT,
    GARMENT_SHOWS,
    MISSING_IMAGE,
    NO_KEYPOINTS,
    SIZE_MISMATCH,
    UNKNOWN_LABEL,
    UNREADABLE_IMAGE,
    WRONG_MODE,
    check_row,
)
from diffusers_tryon.rendering.samples import render_pair, render_unpaired


SIZE = 64


def stored(image: np.ndarray | Image.Image, file_format: str = "PNG", **options) -> dict:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, file_format, **options)
    return {"bytes": buffer.getvalue(), "path": None}


def stored_row(row: dict) -> dict:
    is_image = {name: isinstance(value, np.ndarray) and value.dtype == np.uint8 for name, value in row.items()}
    return {name: stored(value) if is_image[name] else value for name, value in row.items()}


@pytest.fixture(scope="module")
def rendered():
    return next(row for row in (render_pair(seed, SIZE) for seed in range(20)) if row["garment_type"] == "worn")


def changed(rendered: dict, **columns) -> dict:
    """The rendered row with some columns replaced, as it would be stored."""
    return stored_row(rendered | columns)


def kinds(row: dict) -> list[str]:
    return [problem.kind for problem in check_row(row)]


def test_rendered_rows_are_good():
    for seed in range(12):
        assert check_row(stored_row(render_pair(seed, SIZE))) == []
        assert check_row(stored_row(render_unpaired(seed, SIZE))) == []


@pytest.mark.parametrize("quality", [75, 95])
def test_rows_stored_as_jpeg_are_good(quality):
    for seed in range(6):
        rendered = render_pair(seed, SIZE)
        row = stored_row(rendered)
        for name in ("person_image", "agnostic_image", "garment_image"):
            row[name] = stored(rendered[name], "JPEG", quality=quality)
        assert check_row(row) == []
        assert GARMENT_SHOWS in kinds(row | {"agnostic_image": row["person_image"]})


@pytest.mark.parametrize("name", ["person_image", "agnostic_image", "agnostic_mask", "garment_image"])
def test_missing_images(rendered, name):
    assert kinds(changed(rendered) | {name: None}) == [MISSING_IMAGE]
    assert kinds(changed(rendered) | {name: {"bytes": None, "path": "gone.png"}}) == [MISSING_IMAGE]


def test_extra_images_may_be_missing_but_not_broken(rendered):
    row = changed(rendered)
    assert kinds(row | {"person_parse": None}) == []
    assert kinds(row | {"person_parse": {"bytes": b"", "path": "gone.png"}}) == [MISSING_IMAGE]


@pytest.mark.parametrize("name", ["person_image", "garment_image", "agnostic_mask", "person_parse"])
def test_truncated_and_foreign_images(rendered, name):
    row = changed(rendered)
    whole = row[name]["bytes"]
    assert kinds(row | {name: {"bytes": whole[: len(whole) * 2 // 3], "path": None}}) == [UNREADABLE_IMAGE]
    assert kinds(row | {name: {"bytes": b"<html>not found</html>", "path": None}}) == [UNREADABLE_IMAGE]


def test_wrong_modes(rendered):
    row = changed(rendered)
    person = Image.fromarray(rendered["person_image"])
    for mode in ("L", "RGBA", "P"):
        problems = check_row(row | {"person_image": stored(person.convert(mode))})
        assert [(problem.kind, problem.message) for problem in problems] == [
            (WRONG_MODE, f"`person_image` must have the mode RGB, got {mode}.")
        ]
    mask = Image.fromarray(rendered["agnostic_mask"]).convert("RGB")
    assert kinds(row | {"agnostic_mask": stored(mask)}) == [WRONG_MODE]


@pytest.mark.parametrize("name", ["agnostic_image", "agnostic_mask", "person_parse"])
def test_sizes_that_differ_from_the_person_image(rendered, name):
    problems = check_row(changed(rendered, **{name: rendered[name][:, :-1]}))
    assert [problem.kind for problem in problems] == [SIZE_MISMATCH]
    assert f"`{name}` has 63 x 64 pixels, `person_image` 64 x 64" in problems[0].message


def test_a_garment_of_another_size_is_good(rendered):
    assert check_row(changed(rendered, garment_image=rendered["garment_image"][8:], garment_parse=None)) == []


def test_labels_outside_the_map(rendered):
    parse = rendered["person_parse"].copy()
    parse[0, 0] = 18
    parse[0, 1] = 255
    problems = check_row(changed(rendered, person_parse=parse))
    assert [problem.kind for problem in problems] == [UNKNOWN_LABEL]
    assert "18, 255" in problems[0].message


def test_keypoints(rendered):
    pose = rendered["person_pose"]
    in_pixels, not_a_number = pose * (SIZE, SIZE, 1), np.where(pose == pose[0, 0], np.nan, pose)
    for bad in (in_pixels, not_a_number, pose[:17], pose * (1, 1, 2), None, "none"):
        assert kinds(changed(rendered, person_pose=bad)) == [BAD_KEYPOINTS]
    # Poses come back from files as nested lists, which may be ragged.
    assert kinds(changed(rendered, person_pose=pose.tolist()[:-1] + [[0.5, 0.5]])) == [BAD_KEYPOINTS]


def test_poses_without_points(rendered):
    nothing = np.zeros((18, 3), np.float32)
    assert kinds(changed(rendered, person_pose=nothing)) == [NO_KEYPOINTS]
    assert kinds(changed(rendered, garment_pose=nothing)) == [NO_KEYPOINTS]
    assert kinds(changed(rendered, garment_pose=nothing, garment_type="flat")) == []
    assert kinds(changed(rendered, garment_type="flat")) == [BAD_KEYPOINTS]


def test_empty_garments(rendered):
    white = np.full_like(rendered["garment_image"], 255)
    assert kinds(changed(rendered, garment_image=white)) == [EMPTY_GARMENT]
    problems = check_row(changed(rendered, garment_image=rendered["person_image"] // 2))
    assert [problem.kind for problem in problems] == [EMPTY_GARMENT] and "not cut out" in problems[0].message


def test_masks(rendered):
    mask = rendered["agnostic_mask"]
    problems = check_row(changed(rendered, agnostic_mask=mask // 4 * 3))
    assert [problem.kind for problem in problems] == [BAD_MASK] and "must be 0 or 255" in problems[0].message
    nothing_hidden = {"agnostic_mask": np.zeros_like(mask), "agnostic_image": rendered["person_image"]}
    assert kinds(changed(rendered, **nothing_hidden)) == [BAD_MASK, GARMENT_SHOWS]


def test_an_agnostic_image_that_shows_the_garment(rendered):
    # The garment painted back although the mask hides it.
    garment = (rendered["person_parse"] == PARSE_IDS["top"]) | (rendered["person_parse"] == PARSE_IDS["dress"])
    category = {"category": "upper"}
    shown = np.where(garment[..., None], rendered["person_image"], rendered["agnostic_image"])
    assert kinds(changed(rendered, agnostic_image=shown) | category) == [GARMENT_SHOWS]
    lossy = {"agnostic_image": stored(shown, "JPEG", quality=75)}
    assert kinds(changed(rendered) | lossy | category) == [GARMENT_SHOWS]
    # The mask leaves the garment out, and the image agrees with the mask.
    mask = np.where(garment, 0, rendered["agnostic_mask"]).astype(np.uint8)
    assert kinds(changed(rendered, agnostic_image=shown, agnostic_mask=mask) | category) == [GARMENT_SHOWS]


def test_an_agnostic_image_of_somebody_else(rendered):
    other = np.roll(rendered["agnostic_image"], 5, axis=1)
    kept = rendered["agnostic_mask"] == 0
    moved = np.where(kept[..., None], 255 - rendered["agnostic_image"], rendered["agnostic_image"])
    assert kinds(changed(rendered, agnostic_image=moved)) == [AGNOSTIC_DIFFERS]
    assert AGNOSTIC_DIFFERS in kinds(changed(rendered, agnostic_image=other))


def test_values(rendered):
    row = changed(rendered)
    for name, value in (("id", ""), ("category", "hat"), ("category", 7), ("garment_type", None)):
        assert kinds(row | {name: value})[0] == BAD_VALUE
    assert kinds(row | {"schema_version": 2}) == [BAD_VALUE]
    assert kinds(row | {"schema_version": None}) == [BAD_VALUE]


def test_every_problem_of_a_row_is_reported(rendered):
    row = changed(rendered, person_pose=np.zeros((18, 3), np.float32), id=None)
    row |= {"person_image": None, "garment_image": stored(np.full((SIZE, SIZE, 3), 255, np.uint8))}
    assert sorted(kinds(row)) == sorted([BAD_VALUE, MISSING_IMAGE, NO_KEYPOINTS, EMPTY_GARMENT])
