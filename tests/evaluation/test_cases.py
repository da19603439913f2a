# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Cases are the rows they say they are; nobody gets their own garment; truth is there where somebody knows it."""

import numpy as np
import pytest
from datasets import Dataset

from diffusers_tryon.composition import GARMENT_LABELS, label_mask
from diffusers_tryon.data.schema import dataset_features
from diffusers_tryon.data.shards import write_shards
from diffusers_tryon.evaluation.cases import dataset_cases, exchanged_garments, rendered_cases
from diffusers_tryon.rendering.samples import render_pair, render_unpaired


SIZE = 32
PAIRED_COLUMNS = ("garment_id", "person_parse", "garment_parse")


def write_rows(folder, rows: list[dict], columns: tuple[str, ...]) -> str:
    """A dataset on disk with the split "test"; returns its folder."""
    names = list(dataset_features(columns))
    write_shards(
        folder,
        "test",
        range(len(rows)),
        lambda index: {name: rows[index][name] for name in names},
        columns,
        lambda index: rows[index]["id"],
        {"name": "test"},
    )
    return str(folder)


@pytest.fixture(scope="module")
def pairs() -> list[dict]:
    categories = ("upper", "lower", "upper", "dress", "upper", "lower", "dress")
    return [render_pair(seed, SIZE, category=category) for seed, category in enumerate(categories)]


def test_rendered_cases_are_rows_of_the_split_that_training_never_sees():
    cases = rendered_cases(3, seed=5, size=SIZE, category="lower")
    assert len(cases) == 3 and len(set(cases.ids)) == 3
    case, row = cases[2], render_unpaired(7, SIZE, "test", "lower")
    assert case.record.id == row["id"] == cases.ids[2] and case.record.noise_seed == 7
    assert (case.record.category, case.record.garment_type) == ("lower", row["garment_type"])
    for name, found in (
        ("agnostic_image", case.agnostic_image),
        ("agnostic_mask", case.agnostic_mask),
        ("garment_image", case.garment_image),
        ("target_image", case.reference),
        ("target_parse", case.parse),
        ("person_pose", case.record.person_pose),
        ("garment_pose", case.record.garment_pose),
    ):
        assert np.array_equal(found, row[name]), name
    garment = label_mask(row["garment_parse"], GARMENT_LABELS["lower"])
    assert np.array_equal(case.garment_mask, garment * np.uint8(255))


def test_paired_rendered_cases_show_the_garment_that_the_person_wears():
    case, row = rendered_cases(1, seed=4, size=SIZE, pairing="paired")[0], render_pair(4, SIZE, "test")
    assert np.array_equal(case.reference, row["person_image"]) and np.array_equal(case.parse, row["person_parse"])


def test_pairs_of_a_dataset(pairs, tmp_path):
    source = write_rows(tmp_path / "rows", pairs, PAIRED_COLUMNS)
    cases = dataset_cases(source, (SIZE, SIZE), pairing="paired", count=4)
    assert len(cases) == 4 and cases.has_reference and cases.has_parse
    assert np.array_equal(cases[3].reference, pairs[3]["person_image"])
    assert np.array_equal(cases[3].garment_image, pairs[3]["garment_image"])
    assert cases.description["name"] == "rows" and cases.description["count"] == 4


def test_unpaired_cases_of_photographs_have_somebody_elses_garment_and_no_truth(pairs, tmp_path):
    source = write_rows(tmp_path, pairs, PAIRED_COLUMNS)
    cases = dataset_cases(source, (SIZE, SIZE), seed=1)
    assert not cases.has_reference and not cases.has_parse
    taken = []
    for number, case in enumerate(cases):
        (giver,) = [row for row in pairs if np.array_equal(row["garment_image"], case.garment_image)]
        assert giver["id"] != pairs[number]["id"] and giver["category"] == case.record.category
        assert np.array_equal(case.record.garment_pose, giver["garment_pose"])
        assert np.array_equal(case.record.person_pose, pairs[number]["person_pose"])
        assert np.array_equal(case.agnostic_image, pairs[number]["agnostic_image"])
        assert case.reference is None and case.parse is None
        taken.append(giver["id"])
    assert sorted(taken) == sorted(row["id"] for row in pairs)


def test_rows_with_their_truth_keep_their_garment(tmp_path):
    rows = [render_unpaired(seed, SIZE, category="upper") for seed in range(2)]
    columns = ("garment_parse", "target_image", "target_parse")
    cases = dataset_cases(write_rows(tmp_path, rows, columns), (SIZE, SIZE))
    for case, row in zip(cases, rows, strict=True):
        for found, name in ((case.reference, "target_image"), (case.parse, "target_parse")):
            assert np.array_equal(found, row[name])
        assert np.array_equal(case.garment_image, row["garment_image"])
    with pytest.raises(ValueError, match="`pairing` must be unpaired .* `target_image`"):
        dataset_cases(str(tmp_path), (SIZE, SIZE), pairing="paired")


def test_pictures_are_brought_to_the_networks_size_and_a_garment_without_label_map_is_what_is_not_white(
    pairs, tmp_path
):
    source = write_rows(tmp_path, pairs[:1], ())
    case = dataset_cases(source, (SIZE // 2, SIZE // 2), pairing="paired")[0]
    means = pairs[0]["garment_image"].reshape(SIZE // 2, 2, SIZE // 2, 2, 3).mean(axis=(1, 3))
    # Bilinear reduction by two weighs 1, 3, 3, 1 in each direction, so it is a little smoother than a mean of four.
    assert np.abs(case.garment_image.astype(float) - means).mean() < 8
    for picture in (case.agnostic_image, case.garment_image, case.reference):
        assert picture.shape == (SIZE // 2, SIZE // 2, 3) and picture.dtype == np.uint8
    assert case.parse is None
    true_mask = label_mask(pairs[0]["garment_parse"], GARMENT_LABELS["upper"])[1::2, 1::2]
    assert (case.garment_mask.astype(bool) == true_mask).mean() > 0.95
    # Whatever is hidden in any pixel that was blended is hidden.
    hidden = pairs[0]["agnostic_mask"].reshape(SIZE // 2, 2, SIZE // 2, 2).max(axis=(1, 3)) > 0
    assert case.agnostic_mask[hidden].all()


def rows_with_garments(garments: list[str], category: int = 0) -> Dataset:
    features = dataset_features(("garment_id",))
    chosen = {name: features[name] for name in ("id", "category", "garment_id")}
    columns = {"id": list(map(str, range(len(garments)))), "category": [category] * len(garments)}
    return Dataset.from_dict(columns | {"garment_id": garments}).cast(type(features)(chosen))


@pytest.mark.parametrize("garments", ["abcdefgh", "aab bcc", "aaabcd", "ab", "aaabbb"])
def test_nobody_gets_the_garment_they_wear(garments):
    rows = rows_with_garments(list(garments))
    seen = {tuple(exchanged_garments(rows, seed)) for seed in range(8)}
    for exchanged in seen:
        assert sorted(exchanged) == list(range(len(garments)))
        assert all(garments[giver] != garments[row] for row, giver in enumerate(exchanged))
    assert len(seen) > 1 or garments == "ab"
    assert np.array_equal(exchanged_garments(rows, 3), exchanged_garments(rows, 3))


def test_too_few_garments_to_exchange_are_refused():
    with pytest.raises(ValueError, match="of the 3 rows of the category lower, 2 show the same"):
        exchanged_garments(rows_with_garments(list("aab"), category=1), 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0}, "`count` must be an integer of at least 1, got 0"),
        ({"count": 1, "pairing": "own"}, "`pairing` must be one of paired, unpaired, got 'own'"),
        ({"count": 1, "size": 8}, "`size` must be an integer from 16"),
        ({"count": 1, "category": "hat"}, "`category` must be one of"),
        ({"count": 1, "seed": -1}, "`seed` must be"),
    ],
)
def test_bad_arguments_of_rendered_cases_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        rendered_cases(**arguments)


def test_bad_datasets_are_refused(pairs, tmp_path):
    source = write_rows(tmp_path / "rows", pairs[:2], PAIRED_COLUMNS)
    with pytest.raises(ValueError, match="`count` must be at most the 2 rows"):
        dataset_cases(source, (SIZE, SIZE), pairing="paired", count=3)
    with pytest.raises(ValueError, match="Row 0 of .* cannot be a case: `agnostic_mask` .* would be distorted"):
        dataset_cases(source, (SIZE, 3 * SIZE), pairing="paired")[0]
    with pytest.raises(ValueError, match="has no|must be"):
        dataset_cases(str(tmp_path / "nothing"), (SIZE, SIZE))
    same = [pairs[0], pairs[1] | {"id": pairs[0]["id"]}]
    with pytest.raises(ValueError, match="The ids of the rows .* must differ"):
        dataset_cases(write_rows(tmp_path / "same", same, PAIRED_COLUMNS), (SIZE, SIZE), pairing="paired")
