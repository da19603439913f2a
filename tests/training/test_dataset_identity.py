# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What identifies the data of a run, and what licence it is under."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from diffusers_tryon.data.repack import repack
from diffusers_tryon.rendering.writer import write_pairs
from diffusers_tryon.training.configuration import TrainingConfig
from diffusers_tryon.training.dataset import dataset_fingerprint, dataset_license


CONFIG = TrainingConfig(preset="tiny-base", dataset="rendered", output_dir="unused")


@pytest.fixture(scope="module")
def pool(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pool") / "rows"
    write_pairs(folder, 5, 16, rows_per_shard=2)
    return folder


def fingerprint(dataset: Path | str) -> str:
    return dataset_fingerprint(dataclasses.replace(CONFIG, dataset=str(dataset)))


def licence(dataset: Path | str) -> str | None:
    return dataset_license(dataclasses.replace(CONFIG, dataset=str(dataset)))


@pytest.mark.parametrize("layout", ["parquet", "webdataset", "imagefolder"])
def test_the_same_files_have_the_same_fingerprint_wherever_they_lie(pool, tmp_path, layout):
    repack(pool, tmp_path / "one", layout, rows_per_shard=2)
    shutil.copytree(tmp_path / "one", tmp_path / "elsewhere" / "other")
    found = fingerprint(tmp_path / "one")
    assert found == fingerprint(tmp_path / "elsewhere" / "other") == fingerprint(f"{tmp_path}/one/")
    assert found.startswith("5 rows, ")
    repack(pool, tmp_path / "two", layout, rows_per_shard=3)
    assert (fingerprint(tmp_path / "two") != found) == (layout != "imagefolder")


def test_other_rows_have_another_fingerprint(pool, tmp_path):
    found = fingerprint(pool)
    shutil.copytree(pool, tmp_path / "fewer")
    (tmp_path / "fewer" / "train-00002.parquet").unlink()
    assert fingerprint(tmp_path / "fewer").startswith("4 rows, ")
    write_pairs(tmp_path / "others", 5, 16, seed=1, rows_per_shard=2)
    assert fingerprint(tmp_path / "others").split(", ")[1] != found.split(", ")[1]


def test_rendered_rows_are_identified_by_what_draws_them():
    found = dataset_fingerprint(CONFIG)
    assert "128 px, seed 0" in found
    for change in ({"seed": 1}, {"rendered_size": 64}):
        assert dataset_fingerprint(dataclasses.replace(CONFIG, **change)) != found
    assert dataset_fingerprint(dataclasses.replace(CONFIG, max_steps=7)) == found


def test_a_dataset_on_the_hub_is_identified_by_its_commit(pool, fake_hub):
    commit = fake_hub.upload_folder("datasets/me/rows", pool)
    assert fingerprint("me/rows") == f"me/rows@{commit}"
    assert (
        fingerprint("me/rows") != f"me/rows@{fake_hub.commit('datasets/me/rows', fake_hub.files('datasets/me/rows'))}"
    )
    assert not any(path.endswith(".parquet") for path in fake_hub.downloaded())


def test_a_folder_without_rows_has_no_fingerprint(tmp_path):
    with pytest.raises(ValueError, match="`path` must hold Parquet shards"):
        fingerprint(tmp_path)


@pytest.mark.parametrize(
    ("front_matter", "expected"),
    [
        ("license: cc-by-nc-4.0", "cc-by-nc-4.0"),
        ("license: [mit, apache-2.0]", "mit, apache-2.0"),
        ("language: en", None),
    ],
)
def test_the_licence_is_that_of_the_datasets_card(pool, fake_hub, tmp_path, front_matter, expected):
    shutil.copytree(pool, tmp_path / "rows")
    (tmp_path / "rows" / "README.md").write_text(f"---\n{front_matter}\n---\n# Rows\n")
    assert licence(tmp_path / "rows") == expected
    fake_hub.upload_folder("datasets/me/rows", tmp_path / "rows")
    assert licence("me/rows") == expected


def test_without_a_card_nothing_is_known_unless_it_is_told(pool, fake_hub):
    fake_hub.upload_folder("datasets/me/rows", pool)
    assert licence(pool) is None and licence("me/rows") is None
    assert licence("rendered") == "apache-2.0"
    assert dataset_license(dataclasses.replace(CONFIG, dataset=str(pool), dataset_license="mine")) == "mine"


def test_a_card_that_cannot_be_read_is_named(pool, tmp_path):
    shutil.copytree(pool, tmp_path / "rows")
    (tmp_path / "rows" / "README.md").write_text("---\nlicense: [mit\n---\n")
    with pytest.raises(ValueError, match="README.md, has no front matter that can be read.*give `dataset_license`"):
        licence(tmp_path / "rows")
