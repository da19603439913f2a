# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""MediaPipe's networks find people, joints and masks: rendered people, of whom the truth is known, and a portrait.

An error of a joint is measured in torso lengths; PCK@0.2 is the share of joints with an error below 0.2.
"""

import json
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffusers_tryon.poses import KEYPOINT_NAMES
from diffusers_tryon.preprocessing.mediapipe_backend import MediaPipePersonDetector, MediaPipePoseEstimator
from diffusers_tryon.rendering.identity import draw_identity
from diffusers_tryon.rendering.outfits import draw_outfit
from diffusers_tryon.rendering.photography import Photograph, draw_shot, dress, photograph


pytest.importorskip("mediapipe", reason="MediaPipe 0.10.21 has no wheel for this version of Python")

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
SIZE = 384
SHOULDERS, HIPS = [2, 5], [8, 11]


def take(seed: int, framing: str = "full", size: int = SIZE, from_behind: bool = False, **view) -> Photograph:
    """A photograph of a person whose body no training saw."""
    rng = np.random.default_rng([seed, 7])
    identity, outfit = draw_identity(rng, "test"), draw_outfit(rng, "upper")
    shot = draw_shot(rng, identity, "upper", from_behind, of_garment=False)
    return photograph(
        dress(identity, outfit), replace(shot, view=replace(shot.view, framing=framing, **view)), "upper", size
    )


@pytest.fixture(scope="module")
def standing() -> list[Photograph]:
    return [take(seed) for seed in range(4)]


@pytest.fixture(scope="module")
def estimator():
    estimator = MediaPipePoseEstimator()
    yield estimator
    estimator.close()


@pytest.fixture(scope="module")
def detector():
    detector = MediaPipePersonDetector()
    yield detector
    detector.close()


def box_of(photo: Photograph) -> np.ndarray:
    rows, columns = np.nonzero(photo.picture.parse)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], dtype=np.float32)


def overlap(box: np.ndarray, other: np.ndarray) -> float:
    shared = np.prod(np.clip(np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2]), 0, None))
    return shared / (np.prod(box[2:] - box[:2]) + np.prod(other[2:] - other[:2]) - shared)


def joint_errors(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    torso = np.linalg.norm(truth[SHOULDERS, :2].mean(axis=0) - truth[HIPS, :2].mean(axis=0))
    return (np.linalg.norm(found[:, :2] - truth[:, :2], axis=1) / torso)[truth[:, 2] > 0]


def mask_iou(mask: np.ndarray, photo: Photograph) -> float:
    found, truth = mask > 0.5, photo.picture.parse > 0
    return (found & truth).sum() / (found | truth).sum()


def test_joints_and_mask_of_people_are_found(estimator, standing):
    estimates = estimator.estimate([photo.image for photo in standing], [box_of(photo) for photo in standing])
    errors = np.concatenate([joint_errors(one.keypoints, photo.pose) for one, photo in zip(estimates, standing)])
    assert (errors < 0.2).mean() > 0.95
    for one, photo in zip(estimates, standing):
        assert one.keypoints.dtype == np.float32 and one.person_mask.dtype == np.float32
        assert mask_iou(one.person_mask, photo) > 0.9


def test_a_person_of_a_sixth_of_the_picture_is_found_as_well_as_a_large_one(estimator, detector):
    photos = [take(seed, size=768, margin=6.0, shift=(0.2, -0.25)) for seed in range(2)]
    boxes = detector.detect([photo.image for photo in photos])
    for found, photo in zip(boxes, photos):
        assert found.shape == (1, 5) and overlap(found[0, :4], box_of(photo)) > 0.8
    estimates = estimator.estimate([photo.image for photo in photos], [found[0, :4] for found in boxes])
    errors = np.concatenate([joint_errors(one.keypoints, photo.pose) for one, photo in zip(estimates, photos)])
    assert (errors < 0.2).mean() > 0.95
    assert min(mask_iou(one.person_mask, photo) for one, photo in zip(estimates, photos)) > 0.85


@pytest.mark.parametrize(
    # Measured on 24 people of each kind, in boxes that the detector found: 0.91, 0.97 and 0.98 PCK@0.2.
    ("kind", "view", "least_pck", "least_iou"),
    [
        ("from behind", {"from_behind": True}, 0.85, 0.93),
        ("cut by the side of the picture", {"framing": "three_quarter", "shift": (0.3, 0.0)}, 0.9, 0.93),
        ("cut below the hips", {"framing": "upper_body"}, 0.9, 0.9),
    ],
)
def test_people_who_are_harder_to_find(kind, view, least_pck, least_iou, estimator, detector):
    photos = [take(seed, **view) for seed in range(4)]
    boxes = [found[0, :4] for found in detector.detect([photo.image for photo in photos])]
    estimates = estimator.estimate([photo.image for photo in photos], boxes)
    errors = np.concatenate([joint_errors(one.keypoints, photo.pose) for one, photo in zip(estimates, photos)])
    assert (errors < 0.2).mean() > least_pck
    assert np.mean([mask_iou(one.person_mask, photo) for one, photo in zip(estimates, photos)]) > least_iou
    outside = np.stack([one.keypoints for one in estimates])
    assert ((outside[..., :2] >= 0) & (outside[..., :2] <= 1)).all()


def test_everybody_is_found_and_each_box_gives_its_own_person(estimator, detector, standing):
    together = np.concatenate([photo.image for photo in standing[:3]], axis=1)
    (found,) = detector.detect([together])
    assert found.shape == (3, 5) and found.dtype == np.float32
    found = found[np.argsort(found[:, 0])]
    for number, photo in enumerate(standing[:3]):
        truth = box_of(photo) + np.array([number * SIZE, 0] * 2)
        assert overlap(found[number, :4], truth) > 0.8
        (one,) = estimator.estimate([together], [found[number, :4]])
        in_own_picture = (one.keypoints * (3, 1, 1) - (number, 0, 0))[one.keypoints[:, 2] > 0]
        assert (joint_errors(one.keypoints * (3, 1, 1) - (number, 0, 0), photo.pose) < 0.2).mean() > 0.9
        assert in_own_picture[:, 0].min() > 0 and in_own_picture[:, 0].max() < 1
        assert mask_iou(one.person_mask[:, number * SIZE : (number + 1) * SIZE], photo) > 0.9


def test_nobody_is_found_where_nobody_is(estimator, detector):
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    empty = np.full((256, 256, 3), 128, np.uint8)
    for boxes in detector.detect([noise, empty]):
        assert boxes.shape == (0, 5) and boxes.dtype == np.float32
    (one,) = estimator.estimate([empty], [np.array([0, 0, 256, 256])])
    assert not one.keypoints.any() and one.keypoints.shape == (18, 3)
    assert not one.person_mask.any() and one.person_mask.shape == (256, 256)


def test_the_portrait(estimator, detector):
    portrait = np.asarray(Image.open(SAMPLES / "astronaut" / "photo.jpg"))
    (found,) = detector.detect([portrait])
    assert len(found) == 1
    # Read off the picture: she reaches from the sleeve at column 20 to that at 360, and from the hair at row 14 down.
    assert overlap(found[0, :4], np.array([20, 14, 360, 512])) > 0.85
    (one,) = estimator.estimate([portrait], [found[0, :4]])
    places = {name: one.keypoints[number] for number, name in enumerate(KEYPOINT_NAMES)}
    # Read off the picture; of the shoulders, which the suit hides, roughly.
    for name, (x, y) in {"right_shoulder": (95, 235), "left_shoulder": (310, 260)}.items():
        assert np.hypot(places[name][0] * 512 - x, places[name][1] * 512 - y) < 45, name
    for name, (x, y) in {"nose": (224, 124), "right_eye": (204, 105), "left_eye": (246, 108)}.items():
        assert np.hypot(places[name][0] * 512 - x, places[name][1] * 512 - y) < 15, name
    assert places["right_shoulder"][0] < places["left_shoulder"][0]
    assert (places["left_knee"] == 0).all() and (places["right_ankle"] == 0).all()
    assert one.person_mask[300, 250] > 0.9 and one.person_mask[20, 480] < 0.1


def test_a_closed_or_copied_one_loads_its_networks_again(standing):
    image = standing[0].image
    detector = MediaPipePersonDetector(threshold=0.6)
    first = detector.detect([image])[0]
    assert len(first) == 1
    copy = pickle.loads(pickle.dumps(detector))
    assert copy.threshold == 0.6
    detector.close()
    detector.close()
    for one in (detector, copy):
        np.testing.assert_array_equal(one.detect([image])[0], first)
        one.close()


def test_memory_does_not_grow(estimator, standing):
    def resident_mebibytes() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    image, box = standing[0].image, box_of(standing[0])
    for _ in range(10):
        estimator.estimate([image], [box])
    before = resident_mebibytes()
    for _ in range(100):
        estimator.estimate([image], [box])
    # One leaked mask each would be 56 MiB.
    assert resident_mebibytes() - before < 20


PROGRAM = """
import os, sys
import numpy as np
from PIL import Image
from diffusers_tryon.preprocessing.mediapipe_backend import MediaPipePersonDetector
portrait = np.asarray(Image.open(sys.argv[1]))
detector = MediaPipePersonDetector()
print(len(detector.detect([portrait])[0]), flush=True)
child = os.fork()
if child == 0:
    try:
        MediaPipePersonDetector().detect([portrait])
    except RuntimeError as error:
        print(error, flush=True)
    os._exit(3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
os.write(2, b"still here")
"""


def test_it_is_quiet_and_a_fork_is_told_why_it_cannot_run():
    command = [sys.executable, "-c", PROGRAM, SAMPLES / "astronaut" / "photo.jpg"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.stderr == "still here"
    found, told, status = done.stdout.splitlines()
    assert found == "1" and status == "3"
    assert told.startswith("MediaPipe cannot run in a process that was forked") and '"spawn"' in told


def test_threads_find_what_one_thread_finds(standing):
    images = [np.ascontiguousarray(standing[0].image[:, ::step]) for step in (1, -1)]
    detector = MediaPipePersonDetector()
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda number: detector.detect([images[number % 2]])[0], range(4)))
    for number, boxes in enumerate(found):
        np.testing.assert_array_equal(boxes, detector.detect([images[number % 2]])[0])


def test_without_mediapipe_the_error_names_the_extra(monkeypatch, standing):
    for name in [name for name in sys.modules if name.split(".")[0] == "mediapipe"] + ["mediapipe"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"pip install diffusers-tryon\[mediapipe\]"):
        MediaPipePersonDetector().detect([standing[0].image])


def test_settings_are_saved_and_read_again(tmp_path):
    MediaPipePersonDetector(threshold=0.7).save_pretrained(tmp_path / "person_detector")
    loaded = MediaPipePersonDetector.from_pretrained(tmp_path, subfolder="person_detector", device="cpu")
    assert loaded.threshold == 0.7
    MediaPipePoseEstimator().save_pretrained(tmp_path / "pose_estimator")
    assert isinstance(MediaPipePoseEstimator.from_pretrained(tmp_path, "pose_estimator"), MediaPipePoseEstimator)


@pytest.mark.parametrize("content", ["no JSON", json.dumps({"threshold": 0.5, "margin": 1}), json.dumps([0.5])])
def test_foreign_settings_are_refused(content, tmp_path):
    (tmp_path / "mediapipe_detector.json").write_text(content)
    with pytest.raises(ValueError, match="mediapipe_detector.json"):
        MediaPipePersonDetector.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="must hold the file mediapipe_detector.json"):
        MediaPipePersonDetector.from_pretrained(tmp_path, subfolder="other")


@pytest.mark.parametrize(
    ("image", "box", "message"),
    [
        (np.zeros((64, 64), np.uint8), [0, 0, 9, 9], r"`images\[0\]` must be a uint8 RGB array"),
        (np.zeros((64, 64, 3), np.float32), [0, 0, 9, 9], r"`images\[0\]` must be a uint8 RGB array"),
        (np.zeros((64, 64, 3), np.uint8), [9, 0, 9, 9], r"`boxes\[0\]` must be left, top, right and bottom"),
    ],
)
def test_wrong_images_and_boxes_are_refused(image, box, message, estimator):
    with pytest.raises(ValueError, match=message):
        estimator.estimate([image], [np.array(box)])


def test_a_wrong_threshold_is_refused():
    with pytest.raises(ValueError, match="`threshold` must be from 0 to 1, got 2"):
        MediaPipePersonDetector(threshold=2)
