# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Rows keep their content through encoding and decoding, and what is wrong with one is said by column."""

import io

import numpy as np
import pytest
from datasets import Dataset, Image
from PIL import Image as PILImage
from rows_of_noise import EXTRA, noise_row

from diffusers_tryon.data.rows import IMAGE_COLUMNS, RowError, decode_row, encode_row
from diffusers_tryon.data.schema import dataset_features


def assert_same_row(row: dict, expected: dict) -> None:
    assert row.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, np.ndarray):
            assert row[name].dtype == value.dtype and np.array_equal(row[name], value), name
        else:
            assert row[name] == value, name


def stored(row: dict) -> Dataset:
    features = dataset_features(EXTRA)
    encoded = encode_row(row)
    return Dataset.from_dict({name: [encoded[name]] for name in features}, features=features)


def jpeg(shade: int) -> bytes:
    buffer = io.BytesIO()
    PILImage.new("L", (5, 4), shade).save(buffer, format="JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize("decoded_by_datasets", [True, False])
def test_a_row_comes_back_from_a_dataset_as_it_was(decoded_by_datasets):
    dataset = stored(noise_row(4))
    for name in IMAGE_COLUMNS if not decoded_by_datasets else ():
        dataset = dataset.cast_column(name, Image(decode=False))
    assert_same_row(decode_row(dataset[0]), noise_row(4))


def test_the_stored_pictures_are_png_of_every_value():
    encoded = encode_row(noise_row(1))
    file = PILImage.open(io.BytesIO(encoded["person_parse"]["bytes"]))
    assert file.format == "PNG" and file.mode == "L"
    assert np.array_equal(np.asarray(file), noise_row(1)["person_parse"])


def test_a_file_is_stored_as_it_is_and_read_in_the_mode_of_its_column():
    row = stored(noise_row(1) | {"garment_image": jpeg(90)}).cast_column("garment_image", Image(decode=False))[0]
    assert row["garment_image"]["bytes"] == jpeg(90)
    assert np.array_equal(decode_row(row)["garment_image"], np.full((4, 5, 3), 90))


def test_some_columns_can_be_read_alone():
    row = noise_row(2)
    encoded = encode_row({name: row[name] for name in ("id", "agnostic_mask")})
    assert_same_row(decode_row(encoded), {"id": row["id"], "agnostic_mask": row["agnostic_mask"]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"person_pose": np.full((18, 3), np.nan)}, "`person_pose` holds NaN"),
        ({"garment_pose": np.zeros((17, 3))}, "`garment_pose` must hold 18 OpenPose keypoints"),
        ({"garment_pose": np.zeros((1, 18, 3))}, r"`garment_pose` must have shape \(18, 3\), got \(1, 18, 3\)"),
        ({"person_pose": np.full((18, 3), 2.0)}, "`person_pose` must have visibilities in"),
        ({"person_pose": [["left", 0, 0]] * 18}, "`person_pose` must hold numbers in rows of three"),
    ],
)
def test_a_wrong_pose_is_named_both_ways(change, message):
    with pytest.raises(RowError, match=message):
        encode_row(noise_row(0) | change)
    with pytest.raises(RowError, match=message):
        decode_row(encode_row(noise_row(0)) | change)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"bytes": jpeg(7)[:-20], "path": None}, "`agnostic_image` is no picture that can be read: ."),
        ({"bytes": b"not a picture", "path": None}, "`agnostic_image` is no picture that can be read"),
        ({"bytes": None, "path": "/nowhere/1.png"}, "`agnostic_image` is no picture that can be read: .*nowhere"),
        (None, "`agnostic_image` is no picture that can be read"),
    ],
)
def test_a_picture_that_cannot_be_read_is_named(value, message):
    with pytest.raises(RowError, match=message):
        decode_row(encode_row(noise_row(0)) | {"agnostic_image": value})


def test_a_class_that_does_not_exist_is_named():
    with pytest.raises(RowError, match="`category` must be one of upper, lower, dress, got 3"):
        decode_row(encode_row(noise_row(0)) | {"category": 3})
