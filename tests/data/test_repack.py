# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Repacking: the same rows in every layout, the same bytes every time, all or nothing."""

import io
import json
import tarfile
from pathlib import Path

import datasets
import numpy as np
import pytest
from datasets import load_dataset
from PIL import Image as PILImage
from rows_of_noise import EXTRA, noise_id, noise_row
from test_rows import assert_same_row
from test_shards import contents

from diffusers_tryon.data.loading import load_tryon_dataset, without_decoding
from diffusers_tryon.data.repack import repack
from diffusers_tryon.data.rows import RowError, decode_row, encode_row
from diffusers_tryon.data.schema import dataset_features
from diffusers_tryon.data.shards import write_shards


LAYOUTS = ("parquet", "imagefolder", "webdataset")
COUNT = 5


@pytest.fixture(autouse=True)
def tables_in_tmp(tmp_path, monkeypatch):
    """`datasets` keeps the tables that it makes of files; not in the user's cache."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "tables"))


def row_with_a_jpeg(number: int) -> dict:
    """One picture is a JPEG file, which must not be compressed twice, and one of them in another mode."""
    shade = number * 40
    picture = (
        PILImage.new("RGB", (8, 12), (shade, 255 - shade, 7)) if number % 2 else PILImage.new("L", (8, 12), shade)
    )
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG")
    return noise_row(number) | {"garment_image": buffer.getvalue()}


def expected_row(number: int) -> dict:
    return decode_row(encode_row(row_with_a_jpeg(number)))


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    write_shards(folder, "train", range(COUNT), row_with_a_jpeg, EXTRA, noise_id, {}, rows_per_shard=2)
    write_shards(folder, "test", range(7, 9), row_with_a_jpeg, EXTRA, noise_id, {})
    return folder


@pytest.fixture(scope="module")
def packed(source, tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("packed")
    for layout in LAYOUTS:
        assert repack(source, root / layout, layout, rows_per_shard=2) == {"test": 2, "train": COUNT}
    return {layout: root / layout for layout in LAYOUTS}


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_rows_are_the_same_in_every_layout(packed, layout, streaming):
    for split, numbers in (("train", range(COUNT)), ("test", range(7, 9))):
        loaded = load_tryon_dataset(packed[layout], split, streaming)
        assert loaded.features == dataset_features(EXTRA)
        for row, number in zip(loaded, numbers, strict=True):
            assert_same_row(decode_row(row), expected_row(number))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_image_files_are_copied_to_the_byte(packed, layout):
    for number, row in enumerate(without_decoding(load_tryon_dataset(packed[layout], streaming=True))):
        image = row["garment_image"]
        assert (image["bytes"] or Path(image["path"]).read_bytes()) == row_with_a_jpeg(number)["garment_image"]


@pytest.mark.parametrize("first", LAYOUTS)
@pytest.mark.parametrize("second", LAYOUTS)
def test_the_way_there_leaves_no_trace_and_the_bytes_are_the_same(packed, tmp_path, first, second):
    repack(packed[first], tmp_path / second, second, rows_per_shard=2)
    assert contents(tmp_path / second) == contents(packed[second])
    assert [path.name for path in tmp_path.iterdir() if path.name != "tables"] == [second]


def test_the_files_are_those_that_others_expect(packed):
    assert set(contents(packed["parquet"])) == {
        *(f"train-{number:05d}.parquet" for number in range(3)),
        "test-00000.parquet",
    }
    names = set(contents(packed["imagefolder"]))
    assert {
        "test/metadata.jsonl",
        "train/metadata.jsonl",
        "train/person_image/00000/00000004.png",
        "train/garment_image/00000/00000004.jpg",
    } <= names
    first = json.loads((packed["imagefolder"] / "train" / "metadata.jsonl").read_text().splitlines()[0])
    assert first["garment_image_file_name"] == "garment_image/00000/00000000.jpg"
    assert (first["garment_type"], first["category"]) == ("flat", "upper")
    with tarfile.open(packed["webdataset"] / "train-00001.tar") as archive:
        members = archive.getnames()
    assert members[0] == "00000002.person_image.png" and members[-1] == "00000003.json"
    assert "00000003.garment_image.jpg" in members


@pytest.mark.parametrize("layout", LAYOUTS)
def test_datasets_alone_reads_what_was_written(packed, layout):
    rows = list(load_dataset(str(packed[layout]), split="train", streaming=True))
    assert len(rows) == COUNT
    column = "person_image.png" if layout == "webdataset" else "person_image"
    assert np.array_equal(np.asarray(rows[3][column]), noise_row(3)["person_image"])


def test_parquet_holds_the_images_of_an_imagefolder_inside(packed, tmp_path):
    repack(packed["imagefolder"], tmp_path / "rows", "parquet")
    stored = load_dataset("parquet", data_files=str(tmp_path / "rows" / "train-00000.parquet"), split="train")
    image = without_decoding(stored)[0]["person_image"]
    assert image == encode_row(noise_row(0))["person_image"]


def test_poses_keep_every_bit(packed):
    for layout in ("imagefolder", "webdataset"):
        row = load_tryon_dataset(packed[layout], "test").with_format("numpy")[1]
        assert row["person_pose"].dtype == np.float32
        assert row["person_pose"].tobytes() == noise_row(8)["person_pose"].tobytes()


def test_a_dataset_on_the_hub_is_repacked(packed, fake_hub, tmp_path):
    for layout in LAYOUTS:
        fake_hub.upload_folder(f"datasets/me/{layout}", packed[layout])
        repack(f"me/{layout}", tmp_path / layout, "parquet", rows_per_shard=2)
        assert contents(tmp_path / layout) == contents(packed["parquet"])


@pytest.mark.parametrize(
    ("layout", "image"),
    # What is in a file is only looked at where it decides about a suffix.
    [*((layout, None) for layout in LAYOUTS), ("imagefolder", b"no picture"), ("webdataset", b"no picture")],
)
def test_a_row_without_an_image_is_named_and_nothing_is_left(packed, tmp_path, layout, image):
    folder = tmp_path / "broken"
    repack(packed["imagefolder"], folder, "imagefolder")
    path = folder / "train" / "person_image" / "00000" / "00000003.png"
    path.unlink() if image is None else path.write_bytes(image)
    with pytest.raises(RowError, match="The row 'row/3' has no image in the column person_image"):
        repack(folder, tmp_path / "rows", layout)
    assert not (tmp_path / "rows").exists() and not (tmp_path / ".rows.partial").exists()


def test_what_a_killed_call_left_is_replaced(source, packed, tmp_path):
    (tmp_path / ".rows.partial" / "train").mkdir(parents=True)
    (tmp_path / ".rows.partial" / "train" / "half.png").write_bytes(b"half")
    (tmp_path / "rows").mkdir()
    repack(source, tmp_path / "rows", "imagefolder")
    assert contents(tmp_path / "rows") == contents(packed["imagefolder"])
    assert not (tmp_path / ".rows.partial").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layout": "zip"}, "`layout` must be one of parquet, imagefolder, webdataset, got 'zip'"),
        ({"rows_per_shard": 0}, "`rows_per_shard` must be an integer of at least 1, got 0"),
        ({"source": "nowhere"}, "`path` must be a folder or the id"),
    ],
)
def test_bad_arguments_are_named_and_nothing_is_written(source, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        repack(**{"source": source, "out_dir": tmp_path / "rows", "layout": "parquet"} | arguments)
    assert not any(path.name.startswith((".", "rows")) for path in tmp_path.iterdir())


def test_a_folder_with_something_in_it_is_left_alone(source, tmp_path):
    (tmp_path / "thesis.txt").write_text("two years of work")
    with pytest.raises(ValueError, match="`out_dir` must be a new or empty folder"):
        repack(source, tmp_path, "parquet")
    with pytest.raises(ValueError, match="`out_dir` must be a new or empty folder"):
        repack(source, tmp_path / "thesis.txt", "parquet")
    assert (tmp_path / "thesis.txt").read_text() == "two years of work"
