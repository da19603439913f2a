# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Augmentation keeps picture, labels and keypoints together, and a batch follows from the seed and the step."""

import numpy as np
import pytest
import torch

from diffusers_tryon.composition import PARSE_IDS
from diffusers_tryon.poses import KEYPOINT_NAMES
from diffusers_tryon.rendering.labelled import record_dtype, render_labelled
from diffusers_tryon.training.backdrops import draw_backdrops
from diffusers_tryon.training.domain_randomization import (
    add_strangers,
    develop,
    exchange_background,
    occlude,
    recolour,
)
from diffusers_tryon.training.labelled_batches import chosen_photographs, plain_batch, training_batch
from diffusers_tryon.training.labelled_views import PLAIN_MARGIN, draw_view, take_views


SIZE = 64
TOP, PANTS, ARMS, FACE = (PARSE_IDS[name] for name in ("top", "pants", "arms", "face"))
LEFT_WRIST, RIGHT_WRIST = KEYPOINT_NAMES.index("left_wrist"), KEYPOINT_NAMES.index("right_wrist")


def marker_records() -> np.ndarray:
    """A picture of two discs on black: a red one, labelled top, at the left wrist; a blue one, labelled pants, at the
    right wrist."""
    records = np.zeros(1, record_dtype(128))
    rows, columns = np.mgrid[:128, :128] + 0.5
    for (x, y), colour, label, joint in (
        ((40, 50), (255, 0, 0), TOP, LEFT_WRIST),
        ((90, 80), (0, 0, 255), PANTS, RIGHT_WRIST),
    ):
        disc = (columns - x) ** 2 + (rows - y) ** 2 < 8**2
        records["image"][0][disc] = colour
        records["parse"][0][disc] = label
        records["pose"][0, joint] = x / 128, y / 128, 1
    records["shows_person"] = True
    return records


def middle(mask: torch.Tensor) -> np.ndarray:
    """The middle (x, y) in [0, 1] of a mask (S, S)."""
    rows, columns = torch.nonzero(mask, as_tuple=True)
    return np.array([columns.float().mean() + 0.5, rows.float().mean() + 0.5]) / mask.shape[0]


@pytest.fixture(scope="module")
def photographs() -> np.ndarray:
    return np.concatenate([render_labelled(seed, SIZE) for seed in range(3)])


@pytest.fixture(scope="module")
def backdrops(photographs) -> torch.Tensor:
    return draw_backdrops(photographs, 24, 48, seed=0)


def test_picture_labels_and_joints_move_together():
    records = marker_records()
    compared = mirrored = 0
    for seed in range(60):
        view = draw_view(np.random.default_rng(seed), records["parse"][0])
        batch = take_views(records, view[None], SIZE)
        red, blue = batch.images[0, 0] > 0.5, batch.images[0, 2] > 0.5
        is_mirrored = np.linalg.det(view[:, :2]) < 0
        mirrored += is_mirrored
        # In a mirror the left wrist is taken for the right one.
        joints = (RIGHT_WRIST, LEFT_WRIST) if is_mirrored else (LEFT_WRIST, RIGHT_WRIST)
        for colour, label, joint in zip((red, blue), (TOP, PANTS), joints):
            x, y, visibility = batch.keypoints[0, joint].tolist()
            marker = batch.labels[0] == label
            at_edge = marker[0].any() or marker[-1].any() or marker[:, 0].any() or marker[:, -1].any()
            if at_edge or not marker.any():
                continue
            compared += 1
            assert visibility == 1
            np.testing.assert_allclose(middle(marker), (x, y), atol=0.8 / SIZE)
            np.testing.assert_allclose(middle(colour), (x, y), atol=0.8 / SIZE)
    assert compared > 60 and 15 < mirrored < 45


def test_joints_outside_of_the_crop_are_missing():
    records = marker_records()
    # The right half of the picture.
    view = np.array([[0.5, 0, 0.5], [0, 1, 0]])
    keypoints = take_views(records, view[None], SIZE).keypoints[0].numpy()
    assert (keypoints[LEFT_WRIST] == 0).all()
    np.testing.assert_allclose(keypoints[RIGHT_WRIST], (2 * 90 / 128 - 1, 80 / 128, 1), atol=1e-6)


def test_the_plain_crop_is_a_square_around_the_labels():
    batch = plain_batch(list(marker_records()), 128)
    rows, columns = torch.nonzero(batch.labels[0], as_tuple=True)
    across, down = (values.max() - values.min() + 1 for values in (columns, rows))
    assert abs(across / 128 - 1 / PLAIN_MARGIN) < 0.02 and down < across
    assert abs((columns.min() + columns.max()) / 2 - 63.5) <= 1 and abs((rows.min() + rows.max()) / 2 - 63.5) <= 1


def test_small_pictures_are_antialiased():
    """A checkerboard of single pixels turns grey when a crop shows it small, and stays one at its own size."""
    records = np.zeros(1, record_dtype(64))
    records["image"][0] = 255 * (np.indices((64, 64)).sum(axis=0) % 2)[..., None]
    whole = np.array([[[1.0, 0, 0], [0, 1, 0]]])
    assert take_views(records, whole, 16).images.std() < 0.01
    assert take_views(records, whole, 64).images.std() > 0.49


def test_outside_of_the_photograph_is_background_without_a_picture():
    records = marker_records()
    records["image"], records["parse"] = 200, TOP
    batch = take_views(records, np.array([[[2.0, 0, -0.5], [0, 2, -0.5]]]), SIZE)
    inside = batch.inside[0, 0]
    assert inside.float().mean() == 0.25
    assert (batch.labels[0] == TOP).equal(inside)
    assert (batch.images[0][:, ~inside] == 0).all() and (batch.images[0][:, inside] > 0.7).all()


def test_recolouring_changes_regions_but_keeps_their_light_and_shade(photographs, backdrops):
    batch = plain_batch(photographs, SIZE)
    changed = recolour(np.random.default_rng(0), batch, backdrops)
    assert changed.labels is batch.labels and changed.keypoints is batch.keypoints
    background = batch.coverage[:, 0] == 0
    difference = (changed.images - batch.images).abs().amax(dim=1)
    assert (difference[background] == 0).all()
    assert (difference[~background] > 0.1).float().mean() > 0.2
    # A region of one new colour: the brightness is the old one times a factor.
    alike = 0
    for number in range(len(batch.images)):
        region = (batch.labels[number] == TOP) & (batch.coverage[number, 0] == 1)
        if region.sum() > 100 and difference[number][region].min() > 0.02:
            before, after = (images[number].mean(dim=0)[region] for images in (batch.images, changed.images))
            alike += np.corrcoef(before, after)[0, 1] > 0.8
    assert alike >= 1


def test_another_background_leaves_the_person_alone(photographs, backdrops):
    batch = plain_batch(photographs, SIZE)
    changed = exchange_background(np.random.default_rng(1), batch, backdrops)
    kept = changed.labels.flatten(1).any(dim=1)
    inner = (batch.coverage[:, 0] == 1) & kept.view(-1, 1, 1)
    assert (changed.images - batch.images).abs().amax(dim=1)[inner].max() < 1e-6
    outer = (batch.coverage[:, 0] == 0) & batch.inside[:, 0]
    assert (changed.images - batch.images).abs().amax(dim=1)[outer].mean() > 0.05
    assert changed.labels[kept].equal(batch.labels[kept])


def test_without_anybody_nothing_is_labelled_and_no_joint_is_there(photographs, backdrops, monkeypatch):
    monkeypatch.setattr("diffusers_tryon.training.domain_randomization._NOBODY", 1.0)
    batch = exchange_background(np.random.default_rng(0), plain_batch(photographs, SIZE), backdrops)
    assert not batch.labels.any() and not batch.keypoints.any()


def test_strangers_stand_behind_and_are_not_labelled(photographs):
    people = photographs[photographs["shows_person"]][:2]
    batch, strangers = plain_batch(people, SIZE), plain_batch(people[::-1], SIZE)
    changed = add_strangers(batch, np.array([0, 1]), strangers)
    assert changed.labels is batch.labels
    assert (changed.images - batch.images).abs().amax(dim=1)[batch.coverage[:, 0] == 1].max() == 0
    seen = (strangers.coverage[:, 0] == 1) & (batch.coverage[:, 0] == 0)
    assert seen.any()
    assert (changed.images - strangers.images).abs().amax(dim=1)[seen].max() < 1e-6


def test_what_is_put_before_people_hides_labels_and_joints(backdrops, monkeypatch):
    monkeypatch.setattr("diffusers_tryon.training.domain_randomization._OCCLUDED", 1.0)
    records = np.concatenate([marker_records()] * 40)
    records["parse"] = TOP
    batch = take_views(records, np.array([[[1.0, 0, 0], [0, 1, 0]]] * 40), SIZE)
    changed = occlude(np.random.default_rng(0), batch, backdrops)
    covered = changed.labels == 0
    assert covered.flatten(1).any(dim=1).float().mean() > 0.8
    assert (changed.images == batch.images).all(dim=1)[~covered].all()
    for number in range(40):
        for joint in (LEFT_WRIST, RIGHT_WRIST):
            x, y, visibility = changed.keypoints[number, joint].tolist()
            around = covered[number, int(y * SIZE) - 1 : int(y * SIZE) + 2, int(x * SIZE) - 1 : int(x * SIZE) + 2]
            if around.all() or not around.any():
                assert visibility == (0.5 if around.all() else 1.0)
    assert (changed.keypoints[..., 2] == 0.5).any()


def test_developing_keeps_what_is_known(photographs):
    batch = plain_batch(photographs, SIZE)
    developed = develop(np.random.default_rng(0), batch)
    assert developed.labels is batch.labels and developed.keypoints is batch.keypoints
    assert developed.images.shape == batch.images.shape
    assert developed.images.min() >= 0 and developed.images.max() <= 1
    for before, after in zip(batch.images, developed.images):
        assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.6


def test_a_batch_follows_from_seed_and_step(photographs, backdrops):
    def make(seed: int, step: int) -> bytes:
        return training_batch(photographs, backdrops, 3, 32, seed, step, 3 * step).images.numpy().tobytes()

    assert make(0, 1) == make(0, 1)
    assert len({make(0, 1), make(0, 2), make(1, 1)}) == 3


def test_every_photograph_comes_once_in_an_epoch():
    count, taken = 10, []
    for step in range(5):
        taken += chosen_photographs(count, 4, seed=0, first_sample=4 * step)
    assert sorted(taken[:count]) == list(range(count)) == sorted(taken[count:])
    assert taken[:count] != taken[count:]


def test_backdrops_follow_from_the_seed_and_differ(photographs, backdrops):
    assert backdrops.shape == (24, 3, 48, 48) and backdrops.dtype == torch.uint8
    assert torch.equal(backdrops[:3], draw_backdrops(photographs, 3, 48, seed=0))
    assert len({backdrop.numpy().tobytes() for backdrop in backdrops}) == 24
