# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Labelled photographs and pools of them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from diffusers_tryon.composition import PARSE_IDS, PARSE_LABELS, label_mask
from diffusers_tryon.poses import KEYPOINT_NAMES, check_pose
from diffusers_tryon.rendering import identity, labelled, labelled_pool
from diffusers_tryon.rendering.body import TEST_SHAPES, shapes_of_split
from diffusers_tryon.rendering.labelled import PHOTOGRAPHS_PER_PERSON, record_dtype, render_labelled
from diffusers_tryon.rendering.labelled_pool import LabelledPool, write_labelled_pool


SIZE = 64
GARMENTS = ("top", "dress", "skirt", "pants", "belt")


@pytest.fixture(scope="module")
def photographs() -> np.ndarray:
    return np.concatenate([render_labelled(seed, SIZE) for seed in range(30)])


def test_the_same_arguments_give_the_same_bytes_and_others_give_others():
    first = render_labelled(3, 32)
    assert first.tobytes() == render_labelled(3, 32).tobytes()
    assert first.tobytes() != render_labelled(4, 32).tobytes()
    assert first.tobytes() != render_labelled(3, 32, "test").tobytes()


def test_the_splits_share_no_body(monkeypatch):
    drawn = {}
    for split in ("train", "test"):
        chosen = []
        monkeypatch.setattr(
            identity, "shapes_of_split", lambda name: chosen.append(name) or shapes_of_split(name), raising=True
        )
        render_labelled(0, 16, split)
        drawn[split] = {int(number) for name in chosen for number in shapes_of_split(name)}
    assert drawn["test"] == set(TEST_SHAPES)
    assert not drawn["train"] & drawn["test"]


def test_the_photographs_show_everything_a_parser_has_to_know(photographs):
    share = photographs["shows_person"].mean()
    assert 0.7 < share < 0.98
    for name in ("face", "hair", "hat", "glasses", "arms", "hands", "legs", "feet", "torso", *GARMENTS):
        assert (photographs["parse"] == PARSE_IDS[name]).any(), name
    assert photographs["parse"].max() < len(PARSE_LABELS)
    ankles = photographs["pose"][:, KEYPOINT_NAMES.index("left_ankle"), 2]
    nose = photographs["pose"][:, KEYPOINT_NAMES.index("nose"), 2]
    assert (ankles > 0).any() and (ankles == 0).any()
    from_behind = (nose == 0.5) & (photographs["pose"][:, 2, 0] > photographs["pose"][:, 5, 0])
    assert from_behind.any(), "Nobody is seen from behind: the right shoulder at the right, the nose hidden."


def test_a_garment_alone_has_no_skin_and_no_joints(photographs):
    products = photographs[~photographs["shows_person"]]
    assert set(np.unique(products["parse"])) <= {0, *(PARSE_IDS[name] for name in GARMENTS)}
    assert (products["pose"] == 0).all()
    assert label_mask(products["parse"], GARMENTS).any(axis=(1, 2)).all()
    corners = products["image"][:, 0, 0]
    assert (corners > 245).all(axis=1).any() and (corners < 235).any(axis=1).any()


def test_joints_in_sight_lie_on_the_person(photographs):
    for record in photographs[photographs["shows_person"]]:
        check_pose(record["pose"], "pose")
        for x, y, visibility in record["pose"]:
            if visibility == 1:
                row, column = (np.clip(np.array((y, x)) * SIZE, 0, SIZE - 1)).astype(int)
                around = record["parse"][max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
                assert around.any(), "A joint in sight lies on the background."


def test_labels_end_where_the_picture_changes(photographs):
    """With another background everything labelled background changes but the outline and what a shadow or the camera
    does; here the same person is photographed before two backgrounds."""
    identity_stream, outfit_stream, photo = np.random.default_rng(5).spawn(3)
    person = labelled.dress(
        identity.draw_identity(identity_stream, "train"), labelled.draw_outfit(outfit_stream, "upper")
    )
    shot = labelled.draw_shot(photo, person.identity, "upper", False, False)
    taken = []
    for seed in (1, 2):
        background = labelled.draw_background(np.random.default_rng(seed))
        finish = replace(shot.finish, noise=0.0, softness=0.0)
        steps = labelled.photograph_steps(person, replace(shot, background=background, finish=finish), "upper", SIZE)
        taken.append(labelled.run_steps([steps])[0])
    changed = (taken[0].image != taken[1].image).any(axis=2)
    parse = taken[0].picture.parse
    assert (parse == taken[1].picture.parse).all()
    inner = (taken[0].picture.label_samples > 0).all(axis=0)
    assert not changed[inner].any()
    assert changed[parse == 0].mean() > 0.95


def test_a_pool_goes_on_where_it_was_stopped_and_reads_what_was_rendered(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(labelled_pool, "PEOPLE_PER_SHARD", 2)
    people = 3
    assert write_labelled_pool(tmp_path, people, 16) == 2
    pool = LabelledPool(tmp_path, "train")
    assert len(pool) == people * PHOTOGRAPHS_PER_PERSON
    last = render_labelled(people - 1, 16)
    assert pool[len(pool) - 1].tobytes() == last[-1].tobytes()
    assert pool[2 * PHOTOGRAPHS_PER_PERSON].dtype == record_dtype(16)
    with pytest.raises(IndexError, match="must be from 0"):
        pool[len(pool)]
    (tmp_path / "train-00000.npy").unlink()
    kept = (tmp_path / "train-00001.npy").stat().st_mtime_ns
    assert write_labelled_pool(tmp_path, people, 16) == 1
    assert (tmp_path / "train-00001.npy").stat().st_mtime_ns == kept
    assert LabelledPool(tmp_path, "train")[0].tobytes() == render_labelled(0, 16)[0].tobytes()


def test_a_pool_is_not_mixed_with_another(tmp_path: Path):
    write_labelled_pool(tmp_path, 1, 16)
    with pytest.raises(ValueError, match="already holds other photographs"):
        write_labelled_pool(tmp_path, 1, 32)
    assert json.loads((tmp_path / "train.json").read_text())["size"] == 16
    with pytest.raises(ValueError, match="`people` must be"):
        write_labelled_pool(tmp_path, 0, 16)
    with pytest.raises(ValueError, match="`size` must be"):
        write_labelled_pool(tmp_path, 1, 8)
    with pytest.raises(ValueError, match="holds no shards test"):
        LabelledPool(tmp_path, "test")
