# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What holds in every rendered row."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch

from diffusers_tryon.composition import KEPT_LABELS, PARSE_IDS, label_mask
from diffusers_tryon.data.schema import dataset_features
from diffusers_tryon.poses import check_pose
from diffusers_tryon.rendering import samples
from diffusers_tryon.rendering.body import TEST_SHAPES, load_body_asset, shapes_of_split
from diffusers_tryon.rendering.identity import draw_identity
from diffusers_tryon.rendering.outfits import draw_outfit
from diffusers_tryon.rendering.samples import render_pair, render_unpaired


SIZE = 48
SEEDS = range(16)


@pytest.fixture(scope="module")
def pairs() -> list[dict]:
    return [render_pair(seed, SIZE) for seed in SEEDS]


@pytest.fixture(scope="module")
def unpaired() -> list[dict]:
    return [render_unpaired(seed, SIZE) for seed in SEEDS]


def test_rows_have_the_columns_of_the_schema(pairs, unpaired):
    assert set(pairs[0]) == set(dataset_features(("person_parse",)))
    assert set(unpaired[0]) == set(dataset_features(("person_parse", "target_image")))
    for row in pairs + unpaired:
        for name in ("person_image", "agnostic_image", "garment_image"):
            assert row[name].shape == (SIZE, SIZE, 3) and row[name].dtype == np.uint8
        for name in ("agnostic_mask", "person_parse"):
            assert row[name].shape == (SIZE, SIZE) and row[name].dtype == np.uint8
        for name in ("person_pose", "garment_pose"):
            assert row[name].shape == (18, 3) and row[name].dtype == np.float32
            check_pose(row[name], name)
    assert len({row["id"] for row in pairs + unpaired}) == 2 * len(SEEDS)


def test_the_agnostic_image_shows_no_pixel_of_the_top_and_keeps_the_rest(pairs, unpaired):
    for row in pairs + unpaired:
        hidden = row["agnostic_mask"] == 255
        assert set(np.unique(row["agnostic_mask"])) <= {0, 255}
        assert hidden[row["person_parse"] == PARSE_IDS["top"]].all()
        assert (row["agnostic_image"][hidden] == 128).all()
        assert np.array_equal(row["agnostic_image"][~hidden], row["person_image"][~hidden])
        # Head, hands and lower body are seen, but for their pixels along the edge of the top.
        kept = label_mask(row["person_parse"], KEPT_LABELS["upper"])
        assert hidden[kept].mean() < 0.2


def test_arms_and_neck_are_hidden_because_a_garment_may_cover_them(pairs):
    for row in pairs:
        bare = label_mask(row["person_parse"], ("arms", "torso"))
        assert (row["agnostic_mask"][bare] == 255).all()


def test_the_colour_of_the_garment_does_not_leak_along_its_edges():
    """Render the same scene in another cloth of the same cut: what the agnostic image shows must not change."""
    for seed in range(4):
        identity = draw_identity(np.random.default_rng(seed), "train")
        outfit = draw_outfit(np.random.default_rng(seed), "upper")
        shot = samples._draw_shot(np.random.default_rng(seed), identity)
        cloth = draw_outfit(np.random.default_rng(seed + 100), "upper").top.cloth
        changed = replace(outfit, top=replace(outfit.top, cloth=cloth))
        first, second = (
            samples._person_columns(*samples._photograph(identity, worn, shot, SIZE)) for worn in (outfit, changed)
        )
        assert not np.array_equal(first["person_image"], second["person_image"])
        for name in ("agnostic_image", "agnostic_mask", "person_pose", "person_parse"):
            assert np.array_equal(first[name], second[name]), name


def test_keypoints_lie_on_the_person_and_the_nose_on_the_face(pairs):
    for row in pairs:
        visible = row["person_pose"][row["person_pose"][:, 2] > 0]
        columns, rows = np.minimum((visible[:, :2] * SIZE).astype(int), SIZE - 1).T
        assert np.mean(row["person_parse"][rows, columns] > 0) > 0.9
        # Hands may be in front of the face.
        assert row["person_parse"][rows[0], columns[0]] in (PARSE_IDS["face"], PARSE_IDS["hands"])
        # Shoulders are above hips, and the head above the shoulders.
        pose = row["person_pose"]
        assert pose[0, 1] < pose[[2, 5], 1].max() < pose[[8, 11], 1].min()


def test_points_outside_the_frame_are_missing(pairs):
    # Upper-body shots end above the knees.
    knees = np.array([row["person_pose"][[9, 12], 2] for row in pairs])
    assert (knees == 0).any() and (knees == 1).any()
    for row in pairs:
        missing = row["person_pose"][:, 2] == 0
        assert (row["person_pose"][missing] == 0).all() and (row["person_pose"][~missing, 2] == 1).all()


def test_flat_garments_have_no_pose_and_worn_ones_have(pairs):
    kinds = {row["garment_type"] for row in pairs}
    assert kinds == {"worn", "flat"}
    for row in pairs:
        assert (row["garment_pose"][:, 2].max() == 0) == (row["garment_type"] == "flat")


def test_garments_stand_on_white(pairs, unpaired):
    for row in pairs + unpaired:
        white = (row["garment_image"] == 255).all(axis=-1)
        assert 0.4 < white.mean() < 0.99
        # A product view is a whole garment in the middle: nothing touches the border.
        if row["garment_type"] == "flat":
            assert white[0].all() and white[-1].all() and white[:, 0].all() and white[:, -1].all()


def test_rows_follow_from_the_seed_alone():
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        first = render_pair(3, SIZE)
        assert torch.get_num_threads() == 2
        np.random.seed(5)
        torch.manual_seed(5)
        torch.set_num_threads(1)
        second = render_pair(3, SIZE)
    finally:
        torch.set_num_threads(threads)
    for name, value in first.items():
        assert np.array_equal(value, second[name]), name
    assert not np.array_equal(first["person_image"], render_pair(4, SIZE)["person_image"])
    assert not np.array_equal(first["person_image"], render_pair(3, SIZE, split="test")["person_image"])


def test_the_target_of_an_unpaired_row_is_the_same_person_in_another_top(unpaired):
    changed_in_head, changed_in_kept = [], []
    for row in unpaired:
        difference = np.abs(row["person_image"].astype(int) - row["target_image"]).max(axis=-1)
        parse = row["person_parse"]
        assert difference[parse == PARSE_IDS["top"]].mean() > 8
        # The background changes only where the other top is wider: near the person.
        rows, columns = np.nonzero(parse)
        far = np.ones(parse.shape, dtype=bool)
        far[max(rows.min() - 3, 0) : rows.max() + 4, max(columns.min() - 3, 0) : columns.max() + 4] = False
        assert (difference[far] == 0).all()
        changed_in_head += list(difference[label_mask(parse, ("face", "hair"))] > 2)
        changed_in_kept += list(difference[row["agnostic_mask"] == 0] > 2)
    # Head, hands and lower body change only where the other top covers them or throws another shadow.
    assert np.mean(changed_in_head) < 0.04 and np.mean(changed_in_kept) < 0.06


def distance_to_blends(vertices: np.ndarray, shapes: tuple[int, ...]) -> float:
    """The largest error (metres) when `vertices` are explained as a blend of the best two of `shapes`."""
    rest = load_body_asset().shapes
    errors = []
    for first, second in combinations(shapes, 2):
        step = (rest[second] - rest[first]).ravel()
        fraction = np.clip(step @ (vertices - rest[first]).ravel() / (step @ step), 0, 1)
        errors.append(np.abs(rest[first] + fraction * (rest[second] - rest[first]) - vertices).max())
    return min(errors)


def test_identities_of_the_splits_come_from_different_bodies():
    assert not set(shapes_of_split("train")) & set(TEST_SHAPES)
    # A blend that is almost one of its ends is explained by either split's shapes only if it has that end.
    for seed in range(4):
        test_body = draw_identity(np.random.default_rng(seed), "test").shape.vertices
        train_body = draw_identity(np.random.default_rng(seed), "train").shape.vertices
        assert distance_to_blends(test_body, TEST_SHAPES) < 1e-5
        assert distance_to_blends(train_body, TEST_SHAPES) > 1e-3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "`seed` must be an integer of at least 0, got -1"),
        ({"seed": 1.5}, "`seed` must be an integer"),
        ({"size": 8}, "`size` must be an integer from 16 to 1024 pixels, got 8"),
        ({"size": 64.0}, "`size` must be an integer"),
        ({"split": "validation"}, "`split` must be one of train, test, got 'validation'"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    for render in (render_pair, render_unpaired):
        with pytest.raises(ValueError, match=message):
            render(**{"seed": 0, "size": 32, "split": "train"} | arguments)
