# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Datasets in every layout, from disk and from the Hub, whole and streamed, and what is said when they are wrong."""

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import datasets
import huggingface_hub
import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Image, IterableDataset, Value
from rows_of_noise import EXTRA, noise_id, noise_row
from test_rows import assert_same_row
from torch.utils.data import DataLoader

from diffusers_tryon.data.layouts import find_splits
from diffusers_tryon.data.loading import load_tryon_dataset, without_decoding
from diffusers_tryon.data.rows import IMAGE_COLUMNS, RowError, decode_row, encode_row
from diffusers_tryon.data.schema import SCHEMA_VERSION, dataset_features
from diffusers_tryon.data.shards import write_shards


COUNT = 7
LAYOUTS = ("parquet", "data/parquet", "imagefolder", "webdataset")


@pytest.fixture(autouse=True)
def tables_in_tmp(tmp_path, monkeypatch):
    """`datasets` keeps the tables that it makes of files; not in the user's cache."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "tables"))


# The files are made by hand here: what the package writes itself is tested beside its writers.
def make_parquet(folder: Path, rows: list[dict], features: Features | None = None, split: str = "train") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    features = features or dataset_features(tuple(name for name in EXTRA if name in rows[0]))
    for shard, first in enumerate(range(0, len(rows), 3)):
        encoded = [encode_row(row) for row in rows[first : first + 3]]
        table = Dataset.from_dict({name: [row[name] for row in encoded] for name in features}, features=features)
        table.to_parquet(folder / f"{split}-{shard:05d}-of-00003.parquet")


def make_imagefolder(folder: Path, rows: list[dict], split: str = "train") -> None:
    (folder / split).mkdir(parents=True, exist_ok=True)
    with open(folder / split / "metadata.jsonl", "w") as metadata:
        for number, row in enumerate(map(encode_row, rows)):
            for name in set(IMAGE_COLUMNS) & set(row):
                (folder / split / f"{name}-{number}.png").write_bytes(row.pop(name)["bytes"])
                row[f"{name}_file_name"] = f"{name}-{number}.png"
            metadata.write(json.dumps(row) + "\n")


def make_webdataset(folder: Path, rows: list[dict], split: str = "train") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for shard, first in enumerate(range(0, len(rows), 3)):
        with tarfile.open(folder / f"{split}-{shard}.tar", "w") as archive:
            for number, row in enumerate(map(encode_row, rows[first : first + 3])):
                members = {f"{name}.png": row.pop(name)["bytes"] for name in set(IMAGE_COLUMNS) & set(row)}
                for name, content in {**members, "json": json.dumps(row).encode()}.items():
                    member = tarfile.TarInfo(f"rows/{number}.{name}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))


def make(folder: Path, layout: str, rows: list[dict], **arguments) -> Path:
    if layout == "data/parquet":
        make_parquet(folder / "data", rows, **arguments)
    else:
        globals()[f"make_{layout}"](folder, rows, **arguments)
    return folder


def noise_rows(numbers=range(COUNT), without: tuple[str, ...] = ()) -> list[dict]:
    rows = map(noise_row, numbers)
    return [{name: value for name, value in row.items() if name not in without} for row in rows]


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("layouts")
    return {layout: make(root / layout.replace("/", "-"), layout, noise_rows()) for layout in LAYOUTS}


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_rows_with_the_schemas_features(folders, layout, streaming):
    loaded = load_tryon_dataset(folders[layout], streaming=streaming)
    assert isinstance(loaded, IterableDataset if streaming else Dataset)
    assert loaded.features == dataset_features(EXTRA)
    for dataset in (loaded, without_decoding(loaded)):
        rows = list(dataset)
        assert [row["id"] for row in rows] == [noise_id(number) for number in range(COUNT)]
        for number, row in enumerate(rows):
            assert_same_row(decode_row(row), noise_row(number))
    first = next(iter(loaded))
    assert first["person_image"].mode == "RGB" and first["person_parse"].mode == "L"
    assert first["category"] == 0 and first["schema_version"] == SCHEMA_VERSION


@pytest.mark.parametrize("layout", ["parquet", "webdataset"])
def test_a_stream_is_shared_between_the_workers_of_a_loader(folders, layout):
    stream = without_decoding(load_tryon_dataset(folders[layout], streaming=True))
    assert stream.num_shards == 3
    loader = DataLoader(stream, batch_size=None, num_workers=2)
    assert sorted(row["id"] for row in loader) == [noise_id(number) for number in range(COUNT)]


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_extra_columns_come_if_they_are_there_and_foreign_ones_are_left_out(tmp_path, layout, streaming):
    rows = [row | {"note": "mine"} for row in noise_rows(without=("garment_parse", "target_image", "target_parse"))]
    arguments = {}
    if "parquet" in layout:
        kept = tuple(name for name in EXTRA if name in rows[0])
        arguments["features"] = Features({"note": Value("string"), **dataset_features(kept)})
    loaded = load_tryon_dataset(make(tmp_path / "rows", layout, rows, **arguments), streaming=streaming)
    assert loaded.features == dataset_features(("person_id", "garment_id", "person_parse"))
    rows[3].pop("note")
    assert_same_row(decode_row(list(loaded)[3]), rows[3])


def test_poses_of_whole_numbers_and_classes_as_text_are_cast(tmp_path):
    rows = noise_rows()
    for row in rows[:6]:
        row["person_pose"] = np.zeros((18, 3), dtype=np.float32)
    features = dataset_features(EXTRA) | {"category": Value("string"), "garment_type": Value("string")}
    make(tmp_path / "parquet", "parquet", rows, features=Features(features))
    for layout in ("imagefolder", "webdataset"):
        make(tmp_path / layout, layout, rows)
    metadata = tmp_path / "imagefolder" / "train" / "metadata.jsonl"
    metadata.write_text(metadata.read_text().replace("[0.0, 0.0, 0.0]", "[0, 0, 0]"))
    for layout in ("parquet", "imagefolder", "webdataset"):
        for streaming in (False, True):
            loaded = load_tryon_dataset(tmp_path / layout, streaming=streaming)
            for row, expected in zip(loaded, rows, strict=True):
                assert_same_row(decode_row(row), expected)


def test_what_write_shards_writes_is_read_with_rejected_rows_beside_it(tmp_path):
    write_shards(tmp_path / "rows", "test", range(COUNT), row_if_even, EXTRA, noise_id, {}, rows_per_shard=1)
    for streaming in (False, True):
        loaded = load_tryon_dataset(tmp_path / "rows", "test", streaming)
        assert [row["id"] for row in loaded] == [noise_id(number) for number in (0, 2, 4, 6)]


def row_if_even(number: int) -> dict:
    if number % 2:
        raise ValueError("odd")
    return noise_row(number)


def test_the_first_shards_may_be_empty(tmp_path):
    write_shards(tmp_path / "rows", "train", range(1, 3), row_if_even, EXTRA, noise_id, {}, rows_per_shard=1)
    for streaming in (False, True):
        assert [row["id"] for row in load_tryon_dataset(tmp_path / "rows", streaming=streaming)] == [noise_id(2)]


def test_a_changed_tar_is_read_anew(tmp_path):
    make(tmp_path / "rows", "webdataset", noise_rows(range(3)))
    assert len(load_tryon_dataset(tmp_path / "rows")) == 3
    make(tmp_path / "rows", "webdataset", noise_rows(range(3, 5)))
    assert load_tryon_dataset(tmp_path / "rows")["id"][:] == [noise_id(3), noise_id(4)]


def test_shards_are_read_in_counting_order():
    names = ["train-10.tar", "train-9.tar", "train-100000.tar", "train-99999.tar"]
    assert find_splits(names)["train"].files == ["train-9.tar", "train-10.tar", "train-99999.tar", "train-100000.tar"]


def test_files_that_belong_to_no_layout_are_passed_over():
    names = [
        "__source__/train.json",
        ".train-0.parquet.1.tmp",
        "__rejected__/train-0.jsonl",
        "__quarantine__/train-0.parquet",
        "a/b.png",
    ]
    assert find_splits(names) == {}
    splits = find_splits([*names, "test-0.parquet", "data/valid-0-of-1.parquet", "train/metadata.jsonl", "all.tar"])
    assert {split: (files.layout, files.files) for split, files in splits.items()} == {
        "all": ("webdataset", ["all.tar"]),
        "test": ("parquet", ["test-0.parquet"]),
        "train": ("imagefolder", ["train/metadata.jsonl"]),
        "valid": ("parquet", ["data/valid-0-of-1.parquet"]),
    }


def test_a_split_called_data_is_read_once(tmp_path):
    make(tmp_path / "rows", "imagefolder", noise_rows(), split="data")
    assert len(load_tryon_dataset(tmp_path / "rows", "data")) == COUNT


# From the Hub


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_hub_gives_the_same_rows_and_then_the_cache_offline(folders, fake_hub, monkeypatch, layout):
    fake_hub.upload_folder("datasets/me/rows", folders[layout])
    for row, number in zip(load_tryon_dataset("me/rows"), range(COUNT), strict=True):
        assert_same_row(decode_row(row), noise_row(number))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    asked = len(fake_hub.requests)
    assert len(load_tryon_dataset("me/rows")) == COUNT
    assert len(fake_hub.requests) == asked


def test_a_split_is_downloaded_without_the_others(fake_hub, tmp_path):
    for split, numbers in (("train", range(3)), ("test", range(3, 5))):
        make(tmp_path / "rows", "imagefolder", noise_rows(numbers), split=split)
    fake_hub.upload_folder("datasets/me/rows", tmp_path / "rows")
    assert load_tryon_dataset("me/rows", "test")["id"][:] == [noise_id(3), noise_id(4)]
    assert {path.split("/")[0] for path in fake_hub.downloaded()} == {"test"}


def test_a_revision_is_loaded_as_it_was(fake_hub, tmp_path):
    first = fake_hub.upload_folder("datasets/me/rows", make(tmp_path / "one", "parquet", noise_rows(range(1))))
    fake_hub.upload_folder("datasets/me/rows", make(tmp_path / "two", "parquet", noise_rows(range(2))))
    assert len(load_tryon_dataset("me/rows")) == 2
    assert len(load_tryon_dataset("me/rows", revision=first)) == 1


STREAM = """
import json, sys
from diffusers_tryon.data.loading import load_tryon_dataset
from diffusers_tryon.data.rows import decode_row
for repository in sys.argv[1:]:
    rows = list(load_tryon_dataset(repository, streaming=True, token="hf_fake"))
    print(json.dumps([[row["id"], int(decode_row(row)["garment_image"].sum())] for row in rows]))
"""


def test_a_fresh_process_streams_from_the_hub_without_downloading(folders, fake_hub, tmp_path):
    for number, layout in enumerate(LAYOUTS):
        fake_hub.upload_folder(f"datasets/me/rows-{number}", folders[layout])
    variables = {"PYTHONPATH": str(Path(__file__).parents[2]), **fake_hub.environment(tmp_path / "cache")}
    repositories = [f"me/rows-{number}" for number in range(len(LAYOUTS))]
    done = subprocess.run(
        [sys.executable, "-c", STREAM, *repositories], capture_output=True, text=True, env={**os.environ, **variables}
    )
    assert done.returncode == 0, done.stderr
    expected = [[noise_id(number), int(noise_row(number)["garment_image"].sum())] for number in range(COUNT)]
    assert [json.loads(line) for line in done.stdout.splitlines()] == [expected] * len(LAYOUTS)
    assert not list((tmp_path / "cache").rglob("*.parquet"))


# What is wrong


@pytest.mark.parametrize("name", ["nowhere", "/no/such/folder", "a/b/c", "../rows"])
def test_neither_a_folder_nor_an_id(name):
    with pytest.raises(
        ValueError, match='`path` must be a folder or the id of a dataset on the Hub, "user/name", got'
    ):
        load_tryon_dataset(name)


def test_a_dataset_that_the_hub_does_not_have(fake_hub):
    with pytest.raises(ValueError, match="there is no folder me/nothing, and the Hub says: 404"):
        load_tryon_dataset("me/nothing")


def test_a_folder_that_looks_like_an_id_without_a_connection(fake_hub, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match="there is no folder data/rows, and the Hub says: "):
        load_tryon_dataset("data/rows")


def test_a_folder_without_a_dataset(tmp_path):
    (tmp_path / "notes.txt").write_text("no rows")
    with pytest.raises(ValueError, match=r"`path` must hold Parquet shards \(SPLIT-\*.parquet\), .* does not"):
        load_tryon_dataset(tmp_path)


def test_a_split_that_does_not_exist(folders, tmp_path):
    make(tmp_path / "rows", "parquet", noise_rows())
    make(tmp_path / "rows", "imagefolder", noise_rows(), split="val")
    with pytest.raises(ValueError, match=r"`split` must be one of those that .* has \(train, val\), got 'test'"):
        load_tryon_dataset(tmp_path / "rows", "test")


def test_one_split_in_two_layouts(tmp_path):
    make(tmp_path / "rows", "parquet", noise_rows())
    make(tmp_path / "rows", "webdataset", noise_rows())
    with pytest.raises(ValueError, match="the split train has webdataset and parquet: train-0.tar, train-0.*parquet"):
        load_tryon_dataset(tmp_path / "rows")


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_missing_columns_are_named(tmp_path, layout, streaming):
    without = ("garment_pose", "agnostic_mask")
    arguments = {}
    if "parquet" in layout:
        left = {name: feature for name, feature in dataset_features(EXTRA).items() if name not in without}
        arguments["features"] = Features(left)
    make(tmp_path / "rows", layout, noise_rows(without=without), **arguments)
    with pytest.raises(ValueError, match="lacks the columns agnostic_mask, garment_pose; it has .*person_image"):
        load_tryon_dataset(tmp_path / "rows", streaming=streaming)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_newer_schema_is_refused(tmp_path, layout, streaming):
    make(tmp_path / "rows", layout, [row | {"schema_version": SCHEMA_VERSION + 1} for row in noise_rows()])
    with pytest.raises(
        ValueError, match=f"is of version {SCHEMA_VERSION + 1} of the schema, .* up to {SCHEMA_VERSION}"
    ):
        load_tryon_dataset(tmp_path / "rows", streaming=streaming)


def test_a_dataset_without_rows(tmp_path):
    write_shards(tmp_path / "parquet", "train", [1, 3], row_if_even, EXTRA, noise_id, {})
    make(tmp_path / "imagefolder", "imagefolder", [])
    (tmp_path / "webdataset").mkdir()
    tarfile.open(tmp_path / "webdataset" / "train-0.tar", "w").close()
    for layout in ("parquet", "imagefolder", "webdataset"):
        for streaming in (False, True):
            with pytest.raises(ValueError, match=f"The dataset .*{layout} has no rows"):
                load_tryon_dataset(tmp_path / layout, streaming=streaming)


def test_classes_in_another_order_are_refused(tmp_path):
    features = dataset_features(EXTRA) | {"category": ClassLabel(names=["dress", "lower", "upper"])}
    make(tmp_path / "rows", "parquet", noise_rows(), features=Features(features))
    with pytest.raises(ValueError, match="column category must be upper, lower, dress, .* has dress, lower, upper"):
        load_tryon_dataset(tmp_path / "rows")


@pytest.mark.parametrize("shard", [0, 1])
@pytest.mark.parametrize("layout", ["parquet", "webdataset"])
@pytest.mark.parametrize("streaming", [False, True])
def test_a_shard_cut_short_is_named(tmp_path, layout, shard, streaming):
    make(tmp_path / "rows", layout, noise_rows())
    path = sorted((tmp_path / "rows").iterdir())[shard]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=f"{path.name}.* is broken or cut short"):
        list(load_tryon_dataset(tmp_path / "rows", streaming=streaming))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("streaming", [False, True])
def test_a_broken_image_is_named_and_hides_no_other_row(tmp_path, layout, streaming):
    rows = noise_rows()
    rows[4]["garment_image"] = encode_row(rows[4])["garment_image"]["bytes"][:200]
    loaded = without_decoding(load_tryon_dataset(make(tmp_path / "rows", layout, rows), streaming=streaming))
    for number, row in enumerate(loaded):
        if number == 4:
            with pytest.raises(RowError, match="`garment_image` is no picture that can be read"):
                decode_row(row)
        else:
            assert_same_row(decode_row(row), rows[number])
    assert number == COUNT - 1


def test_metadata_that_is_no_json(tmp_path):
    make(tmp_path / "rows", "imagefolder", noise_rows())
    (tmp_path / "rows" / "train" / "metadata.jsonl").write_text("file_name,id\n1.png,1\n")
    with pytest.raises(ValueError, match="metadata.jsonl is no JSON lines"):
        load_tryon_dataset(tmp_path / "rows")


def test_a_row_of_a_tar_that_lacks_columns_is_named(tmp_path):
    rows = noise_rows()
    del rows[5]["garment_image"]
    make(tmp_path / "rows", "webdataset", rows)
    for streaming in (False, True):
        with pytest.raises(ValueError, match="The row 'row/5' lacks the columns garment_image"):
            list(load_tryon_dataset(tmp_path / "rows", streaming=streaming))


def test_an_image_outside_the_folder_is_not_read(tmp_path):
    make(tmp_path / "rows", "imagefolder", noise_rows())
    metadata = tmp_path / "rows" / "train" / "metadata.jsonl"
    metadata.write_text(metadata.read_text().replace("garment_image-3.png", "../../secret.png"))
    with pytest.raises(ValueError, match="secret.png"):
        list(load_tryon_dataset(tmp_path / "rows"))


def test_undecoded_images_keep_their_modes(folders):
    features = without_decoding(load_tryon_dataset(folders["parquet"])).features
    assert features["person_parse"] == Image(mode="L", decode=False)
