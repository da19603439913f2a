# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The offline back ends for real: on rendered people of held-out bodies, where the truth is known, and a portrait."""

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rendered_backends import rendered_photo

from diffusers_tryon import TryOnPreprocessor
from diffusers_tryon.cli import main
from diffusers_tryon.composition import GARMENT_LABELS, KEPT_LABELS, label_mask
from diffusers_tryon.poses import KEYPOINT_NAMES
from diffusers_tryon.preprocessing import loading
from diffusers_tryon.preprocessing.errors import NoPersonError, PreprocessingWarning


SAMPLES = Path(__file__).resolve().parents[2] / "samples"
PEOPLE = [("upper", 1), ("upper", 6), ("upper", 4), ("upper", 9), ("dress", 3), ("dress", 8)]
SIZE = 384


@pytest.fixture(scope="module", params=[True, False], ids=["mediapipe", "own networks"])
def preprocessor(request):
    if request.param:
        pytest.importorskip("mediapipe")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "_has_mediapipe", lambda: request.param)
        return TryOnPreprocessor.from_pretrained("offline")


@pytest.fixture(scope="module")
def prepared(preprocessor):
    """People and garments of rendered photographs, with the truth of their crops."""
    photos = [rendered_photo(seed, category, SIZE) for category, seed in PEOPLE]
    analyses = preprocessor.analyse([photo["image"] for photo in photos], person_index=0)
    found = []
    for (category, _), photo, analysis in zip(PEOPLE, photos, analyses):
        person = preprocessor.prepare_person(analysis, category, (192, 192))
        garment = preprocessor.prepare_garment(analysis, category, "worn", (192, 192))
        found.append((category, photo, person, garment))
    return found


def test_joints_are_where_they_are(prepared):
    """Of the joints in view, within a fifth of the trunk's height (PCK@0.2)."""
    right = []
    for _, photo, person, _ in prepared:
        truth, pose = photo["pose"], person.analysis.pose
        hips = truth[[8, 11]][truth[[8, 11], 2] > 0, :2].mean(axis=0)
        trunk = np.linalg.norm(hips - truth[KEYPOINT_NAMES.index("neck"), :2])
        seen = truth[:, 2] == 1
        near = np.linalg.norm(pose[:, :2] - truth[:, :2], axis=1) < 0.2 * trunk
        right.append((near & (pose[:, 2] > 0))[seen].mean())
    assert np.mean(right) > 0.8


def test_labels_and_cut_outs_are_those_of_the_truth(prepared):
    overlaps, cut_outs = [], []
    for category, photo, person, garment in prepared:
        truth = label_mask(person.crop.resized_labels(photo["parse"], (192, 192)), GARMENT_LABELS[category])
        found = label_mask(person.parse, GARMENT_LABELS[category])
        overlaps.append((truth & found).sum() / (truth | found).sum())
        worn = label_mask(garment.crop.resized_labels(photo["parse"], (192, 192)), GARMENT_LABELS[category])
        cut_out = (garment.image < 250).any(axis=-1)
        # Cloth that is white itself cannot be told from the white around it in the picture.
        dark = (garment.crop.resized(photo["image"], (192, 192)) < 250).any(axis=-1)
        cut_outs.append((cut_out & worn).sum() / ((cut_out | worn) & dark).sum())
    assert np.mean(overlaps) > 0.75
    assert np.mean(cut_outs) > 0.75


def test_little_of_the_garment_leaks_and_most_of_the_rest_is_kept(prepared):
    leaks, kept = [], []
    for category, photo, person, _ in prepared:
        truth, hidden = person.crop.resized_labels(photo["parse"], (192, 192)), person.agnostic_mask > 0
        leaks.append((label_mask(truth, GARMENT_LABELS[category]) & ~hidden).sum() / (truth > 0).sum())
        stays = label_mask(truth, KEPT_LABELS[category])
        kept.append((stays & ~hidden).sum() / stays.sum())
    assert np.mean(leaks) < 0.04
    assert np.mean(kept) > 0.6


def test_the_portrait(preprocessor):
    """Eileen Collins, waist up, in a suit that no parser of clothes expects: the head and its place are right."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PreprocessingWarning)
        (analysis,) = preprocessor.analyse([SAMPLES / "astronaut" / "photo.jpg"])
        person = preprocessor.prepare_person(analysis, "upper")
    # Read off the picture of 512 x 512 pixels by eye.
    for name, place in (("nose", (220, 135)), ("right_shoulder", (135, 205)), ("left_shoulder", (290, 230))):
        found = analysis.pose[KEYPOINT_NAMES.index(name)]
        if found[2]:
            assert np.hypot(*(found[:2] * 512 - place)) < 60, name
    assert analysis.pose[0, 2] > 0
    head = person.crop.pose_from_photo(analysis.pose)[0, :2] * 256
    assert person.agnostic_mask[int(head[1]), int(head[0])] == 0
    suit = person.crop.pose_from_photo(np.tile(np.float32([230 / 512, 330 / 512, 1]), (18, 1)))[0, :2] * 256
    column, row = suit.astype(int)
    assert (person.agnostic_mask[row - 20 : row + 20, column - 20 : column + 20] == 255).mean() > 0.5


def test_the_sample_of_a_flat_garment_is_one(preprocessor):
    (analysis,) = preprocessor.analyse([SAMPLES / "photos" / "garment_flat.jpg"])
    garment = preprocessor.prepare_garment(analysis)
    assert (garment.garment_type, garment.category) == ("flat", "upper")
    assert 0.2 < garment.mask.mean() < 0.5


def test_scenery_shows_nobody(preprocessor):
    rows, columns = np.mgrid[:256, :256]
    sky = np.stack([rows // 2, 100 + rows // 3, 255 - rows // 4], axis=-1).astype(np.uint8)
    person = rendered_photo(1, "upper", SIZE)["image"]
    with pytest.raises(NoPersonError, match="Nobody was found in `person_photo`"):
        preprocessor(sky, person, category="upper")


def test_two_photographs_in_one_picture_out_on_the_command_line(tmp_path, monkeypatch, capsys):
    out = tmp_path / "tryon.png"
    photos = [SAMPLES / "photos" / name for name in ("person.jpg", "garment.jpg")]
    arguments = ["run", "--person-photo", photos[0], "--garment-photo", photos[1], "--out", out, "--all-stages"]
    steps = ["--steps", 2, "--sr-steps", 2, "--category", "upper"]
    monkeypatch.setattr(sys, "argv", ["diffusers-tryon", *map(str, arguments + steps)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code, capsys.readouterr().err
    with Image.open(out) as result, Image.open(photos[0]) as photo:
        assert result.size == photo.size
        changed = (np.asarray(result) != np.asarray(photo.convert("RGB"))).any(axis=-1)
    assert 0.05 < changed.mean() < 0.6
    # The corners of the photograph have nothing to do with the person.
    assert not changed[:20, :20].any() and not changed[-20:, -20:].any()
    for name in ("tryon_stages.png", "tryon_prepared.png"):
        assert (tmp_path / name).is_file()
