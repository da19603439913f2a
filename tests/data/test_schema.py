# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The dataset schema keeps what goes through it."""

import numpy as np
import pytest
from datasets import Dataset
from PIL import Image

from diffusers_tryon.data.schema import SCHEMA_VERSION, dataset_features


def make_row(rng: np.random.Generator) -> dict:
    return {
        "id": "a-1",
        "person_image": rng.integers(0, 256, (8, 6, 3), dtype=np.uint8),
        "agnostic_image": rng.integers(0, 256, (8, 6, 3), dtype=np.uint8),
        "agnostic_mask": rng.choice(np.array([0, 255], dtype=np.uint8), (8, 6)),
        "garment_image": rng.integers(0, 256, (8, 6, 3), dtype=np.uint8),
        "person_pose": rng.random((18, 3), dtype=np.float32),
        "garment_pose": np.zeros((18, 3), dtype=np.float32),
        "garment_type": "flat",
        "category": "upper",
        "source": "test",
        "schema_version": SCHEMA_VERSION,
    }


def test_rows_survive_a_round_trip_through_parquet(tmp_path):
    row = make_row(np.random.default_rng(0))
    images = [name for name, value in row.items() if isinstance(value, np.ndarray) and value.dtype == np.uint8]
    stored = row | {name: Image.fromarray(row[name]) for name in images}
    features = dataset_features()
    dataset = Dataset.from_dict({name: [stored[name]] for name in features}, features=features)
    dataset.to_parquet(tmp_path / "rows.parquet")

    loaded = Dataset.from_parquet(str(tmp_path / "rows.parquet"), cache_dir=str(tmp_path / "cache"))
    assert loaded.features == features
    numpy_row = loaded.with_format("numpy")[0]
    for name in images:
        assert np.array_equal(np.asarray(loaded[0][name]), row[name]), name
    for name in ("person_pose", "garment_pose"):
        assert numpy_row[name].dtype == np.float32 and np.array_equal(numpy_row[name], row[name])
    assert loaded.features["garment_type"].int2str(loaded[0]["garment_type"]) == "flat"
    assert loaded.features["category"].int2str(loaded[0]["category"]) == "upper"
    assert loaded[0]["schema_version"] == SCHEMA_VERSION
    assert loaded[0]["agnostic_mask"].mode == "L"


def test_an_unknown_garment_type_is_refused():
    row, features = make_row(np.random.default_rng(0)), dataset_features()
    columns = {name: [row[name]] for name in features} | {"garment_type": ["hanging"]}
    with pytest.raises(ValueError, match="hanging"):
        Dataset.from_dict(columns, features=features)


def test_extra_columns():
    assert "target_image" not in dataset_features()
    names = list(dataset_features(("person_parse", "target_image")))
    assert names[-2:] == ["person_parse", "target_image"]
    with pytest.raises(ValueError, match="`extra_columns` may hold .* got depth"):
        dataset_features(("depth",))
