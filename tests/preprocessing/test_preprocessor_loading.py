# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Back ends saved in a folder and loaded from there, from the Hub and from its cache; what is said when that fails."""

import json
import shutil
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from colour_networks import BLUE, COLOUR_OF_COCO, GREEN, RED, colour_segformer, colour_vitpose, picture
from transformers import SegformerImageProcessorPil, VitPoseImageProcessorPil

from diffusers_tryon.label_maps import LABEL_MAPS
from diffusers_tryon.preprocessing import loading, transformers_backends
from diffusers_tryon.preprocessing.loading import INDEX_FILE, hub_components, load_components, save_components
from diffusers_tryon.preprocessing.parser_detector import ParserPersonDetector
from diffusers_tryon.preprocessing.small_pose import SmallPoseEstimator
from diffusers_tryon.preprocessing.sources import fetch
from diffusers_tryon.preprocessing.transformers_backends import SegformerParser, ViTPoseEstimator


IMAGE = picture(96, 64, [(GREEN, 32, 30, 1), (RED, 26, 44, 1), (BLUE, 36, 58, 1)], radius=10)
BOX = np.array([0.0, 0.0, 64.0, 96.0])
COMPONENTS = {"human_parser", "pose_estimator", "person_detector"}


def parser(threshold: float = 0.5) -> SegformerParser:
    colours = [{"hair": GREEN, "top": RED, "pants": BLUE}.get(name) for name in LABEL_MAPS["fashn"]]
    processor = SegformerImageProcessorPil(size={"height": 96, "width": 64})
    return SegformerParser(colour_segformer(colours, bias=-threshold), processor, "fashn")


@pytest.fixture(scope="module")
def components() -> dict:
    pose = ViTPoseEstimator(colour_vitpose(), VitPoseImageProcessorPil(), threshold=0.1)
    return {
        "human_parser": parser(),
        "pose_estimator": pose,
        "person_detector": ParserPersonDetector(parser(threshold=0.7)),
    }


@pytest.fixture(scope="module")
def saved(components, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("preprocessor")
    save_components(path, components)
    return path


@pytest.fixture
def folder(saved, tmp_path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(saved, tmp_path / "preprocessor"))


def answers(components: dict) -> list[np.ndarray]:
    found = [
        components["human_parser"].parse([IMAGE])[0],
        components["pose_estimator"].estimate([IMAGE], [BOX])[0].keypoints,
        components["person_detector"].detect([IMAGE])[0],
    ]
    assert all(answer.any() for answer in found)
    return found


def assert_same(components: dict, expected: dict) -> None:
    assert set(components) == COMPONENTS
    for answer, other in zip(answers(components), answers(expected)):
        np.testing.assert_array_equal(answer, other)


def test_a_folder_gives_the_same_back_ends(components, saved):
    assert_same(load_components(saved), components)
    assert sorted(path.name for path in saved.iterdir()) == sorted([*COMPONENTS, INDEX_FILE])
    index = json.loads((saved / INDEX_FILE).read_text())
    assert index == {
        "_class_name": "TryOnPreprocessor",
        "components": {
            "human_parser": "SegformerParser",
            "pose_estimator": "ViTPoseEstimator",
            "person_detector": "ParserPersonDetector",
        },
    }
    loaded = load_components(str(saved), dtype=torch.bfloat16)
    assert loaded["pose_estimator"].model.dtype == torch.bfloat16


def test_components_that_are_given_are_taken_and_not_loaded(components, folder):
    shutil.rmtree(folder / "human_parser")
    loaded = load_components(folder, human_parser=components["human_parser"], person_detector=None)
    assert loaded["human_parser"] is components["human_parser"] and loaded["person_detector"] is None
    assert isinstance(loaded["pose_estimator"], ViTPoseEstimator)


def test_a_component_that_is_not_used_is_not_saved(components, tmp_path):
    save_components(tmp_path, {**components, "person_detector": None})
    assert set(load_components(tmp_path)) == COMPONENTS - {"person_detector"}


class ForeignEstimator:
    """Not of the package."""


def test_a_class_that_is_not_of_the_package_must_be_given(components, tmp_path):
    save_components(tmp_path, {**components, "pose_estimator": ForeignEstimator()})
    with pytest.raises(ValueError, match=r"pose_estimator .* is a ForeignEstimator.*pass it: `pose_estimator=`"):
        load_components(tmp_path)
    given = ForeignEstimator()
    assert load_components(tmp_path, pose_estimator=given)["pose_estimator"] is given


def test_unknown_components_are_refused_before_anything_is_written(components, tmp_path):
    with pytest.raises(ValueError, match="Unknown component face_finder in components"):
        save_components(tmp_path / "new", {**components, "face_finder": object()})
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / INDEX_FILE).unlink(), "must hold the file tryon_preprocessor.json"),
        (lambda f: (f / INDEX_FILE).write_text("{"), "tryon_preprocessor.json is not valid JSON"),
        (lambda f: (f / INDEX_FILE).write_text("[]"), "must hold a JSON object, got list"),
        (lambda f: (f / INDEX_FILE).write_text('{"_class_name": "X"}'), 'must hold {"_class_name"'),
        (
            lambda f: (f / INDEX_FILE).write_text('{"_class_name": "TryOnPreprocessor", "components": {"nose": "X"}}'),
            "Unknown component nose",
        ),
        (lambda f: shutil.rmtree(f / "pose_estimator"), "must hold the file config.json"),
        (lambda f: (f / "human_parser/config.json").write_text("?"), "config.json is not valid JSON"),
        (
            lambda f: shutil.copy(f / "human_parser/config.json", f / "pose_estimator"),
            "ViTPoseEstimator needs a network of type vitpose, the config.json of .* says 'segformer'",
        ),
        (
            lambda f: (f / "human_parser/preprocessor_config.json").unlink(),
            "must hold the file preprocessor_config.json",
        ),
        (lambda f: (f / "human_parser/model.safetensors").unlink(), "no file named .*safetensors"),
        (
            lambda f: (f / "human_parser/model.safetensors").write_bytes(b"version https://git-lfs"),
            "weights of .* are damaged",
        ),
        (
            lambda f: shutil.copy(f / "pose_estimator/model.safetensors", f / "human_parser"),
            "lacks weights that SegformerForSemanticSegmentation needs",
        ),
    ],
)
def test_what_is_wrong_with_a_folder_is_said(folder, spoil, message):
    spoil(folder)
    with pytest.raises(ValueError, match=message):
        load_components(folder)


def test_a_source_that_is_none_is_named(tmp_path):
    with pytest.raises(ValueError, match="`source` must be a folder or the id of a repository on the Hub"):
        load_components(tmp_path / "missing")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="`source` must be a folder or the id of a repository on the Hub"):
        load_components(str(tmp_path / "file"))
    with pytest.raises(ValueError, match="`source` must be a folder or the id of a repository on the Hub"):
        load_components("no such thing!")
    with pytest.raises(ValueError, match="Unknown options variant; those of the Hub are revision"):
        load_components(tmp_path, variant="fp16")


# ---------------------------------------------------------------------------------------------------------- the Hub


def test_the_hub_gives_the_same_back_ends_and_then_the_cache_offline(components, saved, fake_hub, monkeypatch):
    fake_hub.upload_folder("me/preprocessor", saved)
    assert_same(load_components("me/preprocessor"), components)
    asked = len(fake_hub.requests)
    assert_same(load_components("me/preprocessor", local_files_only=True), components)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert_same(load_components("me/preprocessor"), components)
    assert len(fake_hub.requests) == asked


def test_a_revision_of_a_preprocessor_is_loaded_as_it_was(components, saved, fake_hub, tmp_path):
    first = fake_hub.upload_folder("me/preprocessor", saved)
    save_components(tmp_path / "other", {**components, "person_detector": None})
    fake_hub.upload_folder("me/preprocessor", tmp_path / "other")
    assert set(load_components("me/preprocessor", revision=first)) == COMPONENTS
    assert set(load_components("me/preprocessor")) == COMPONENTS - {"person_detector"}
    with pytest.raises(ValueError, match="`revision` must be a branch, tag or commit of me/preprocessor"):
        load_components("me/preprocessor", revision="nonsense")


def test_what_is_given_is_not_downloaded(components, saved, fake_hub, tmp_path):
    fake_hub.upload_folder("me/preprocessor", saved)
    cache = tmp_path / "elsewhere"
    load_components("me/preprocessor", human_parser=components["human_parser"], person_detector=None, cache_dir=cache)
    assert {path.split("/")[0] for path in fake_hub.downloaded()} == {INDEX_FILE, "pose_estimator"}
    assert list(cache.glob("models--me--preprocessor"))


def test_a_single_back_end_comes_from_the_hub(components, fake_hub, tmp_path, monkeypatch):
    pose = components["pose_estimator"]
    pose.save_pretrained(tmp_path / "pose")
    first = fake_hub.upload_folder("me/pose", tmp_path / "pose")
    expected = pose.estimate([IMAGE], [BOX])[0].keypoints
    cache = tmp_path / "elsewhere"
    for options in ({}, {"revision": first}, {"cache_dir": cache}, {"cache_dir": cache, "local_files_only": True}):
        loaded = ViTPoseEstimator.from_pretrained("me/pose", **options)
        assert loaded.threshold == 0.1
        np.testing.assert_array_equal(loaded.estimate([IMAGE], [BOX])[0].keypoints, expected)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    np.testing.assert_array_equal(
        ViTPoseEstimator.from_pretrained("me/pose").estimate([IMAGE], [BOX])[0].keypoints, expected
    )


@pytest.mark.parametrize("load", [load_components, SegformerParser.from_pretrained])
def test_what_the_hub_does_not_give_is_explained(load, fake_hub, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="'me/nothing' is neither a folder nor a repository on the Hub.*`token`"):
        load("me/nothing")
    fake_hub.upload_folder("me/empty", tmp_path)
    with pytest.raises(ValueError, match="`source` must hold the file .*json, me/empty has none"):
        load("me/empty")
    with pytest.raises(OSError, match=r"not in the cache.*from_pretrained\(\"offline\"\)"):
        load("me/other", local_files_only=True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(OSError, match=r"not in the cache.*from_pretrained\(\"offline\"\)"):
        load("me/other")


def test_a_cache_that_holds_only_a_part(saved, fake_hub, monkeypatch):
    fake_hub.upload_folder("me/preprocessor", saved)
    fetch("me/preprocessor", [INDEX_FILE])
    with pytest.raises(OSError, match="me/preprocessor are not in the cache"):
        load_components("me/preprocessor", local_files_only=True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(OSError, match="me/preprocessor are not in the cache"):
        load_components("me/preprocessor")


@pytest.mark.parametrize("load", [load_components, SegformerParser.from_pretrained])
def test_a_gated_repository_is_explained(load, saved, fake_hub):
    fake_hub.upload_folder("me/gated", saved)
    fake_hub.gated.add("me/gated")
    with pytest.raises(ValueError, match="me/gated is gated: accept its terms.*`hf auth login` or pass `token`"):
        load("me/gated")


def test_pickled_weights_are_only_taken_where_there_are_no_others(fake_hub, tmp_path):
    segformer = parser()
    segformer.save_pretrained(tmp_path)
    fake_hub.upload_folder("me/both", tmp_path)
    torch.save(segformer.model.state_dict(), tmp_path / "pytorch_model.bin")
    fake_hub.upload_folder("me/both", tmp_path)
    SegformerParser.from_pretrained("me/both")
    assert "pytorch_model.bin" not in fake_hub.downloaded()
    (tmp_path / "model.safetensors").unlink()
    fake_hub.upload_folder("me/pickled", tmp_path)
    loaded = SegformerParser.from_pretrained("me/pickled")
    np.testing.assert_array_equal(loaded.parse([IMAGE])[0], segformer.parse([IMAGE])[0])


def test_a_checkpoint_as_older_versions_wrote_it(tmp_path):
    """Image processors were called feature extractors, a size was one number, there were other fields."""
    segformer = SegformerParser(parser().model, SegformerImageProcessorPil(size={"height": 96, "width": 96}), "fashn")
    segformer.save_pretrained(tmp_path)
    old = {
        "do_normalize": True,
        "do_resize": True,
        "feature_extractor_type": "SegformerFeatureExtractor",
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "reduce_labels": False,
        "resample": 2,
        "size": 96,
    }
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(old))
    loaded = SegformerParser.from_pretrained(tmp_path)
    np.testing.assert_array_equal(loaded.parse([IMAGE])[0], segformer.parse([IMAGE])[0])


def test_a_hub_that_cannot_be_reached(fake_hub):
    fake_hub.__exit__()
    with pytest.raises(OSError, match=r"me/other.*the Hub cannot be reached.*from_pretrained\(\"offline\"\)"):
        load_components("me/other")


@pytest.mark.parametrize("has_mediapipe", [True, False])
def test_the_defaults_without_the_hub(has_mediapipe, fake_hub, tmp_path, monkeypatch):
    """The shipped networks are tiny ones here."""
    parser().save_pretrained(tmp_path / "tryon-parser-small")
    colours = SegformerImageProcessorPil(size={"height": 64, "width": 64})
    SmallPoseEstimator(colour_segformer(COLOUR_OF_COCO), colours).save_pretrained(tmp_path / "tryon-pose-small")
    monkeypatch.setattr(loading, "shipped_checkpoint", lambda name: tmp_path / name)
    monkeypatch.setattr(loading, "_has_mediapipe", lambda: has_mediapipe)
    loaded = load_components("offline")
    assert {name: type(component).__name__ for name, component in loaded.items()} == {
        "human_parser": "SegformerParser",
        "pose_estimator": "FallbackPoseEstimator" if has_mediapipe else "SmallPoseEstimator",
        "person_detector": "FallbackPersonDetector" if has_mediapipe else "ParserPersonDetector",
    }
    assert loaded["human_parser"].keep_aspect
    save_components(tmp_path / "saved", loaded)
    again = load_components(tmp_path / "saved")
    assert {name: type(component) for name, component in again.items()} == {
        name: type(component) for name, component in loaded.items()
    }
    if has_mediapipe:
        estimator, detector = again["pose_estimator"], again["person_detector"]
        parts = [estimator.first, estimator.second, detector.first, detector.second]
        assert [type(part).__name__ for part in parts] == [
            "MediaPipePoseEstimator",
            "SmallPoseEstimator",
            "MediaPipePersonDetector",
            "ParserPersonDetector",
        ]
    assert not fake_hub.requests


def test_the_defaults_of_the_hub(components, fake_hub, tmp_path):
    """Their ids stand for tiny networks here; only what is wanted is asked for, and all of them take the options."""
    defaults = {
        transformers_backends.DEFAULT_PARSER: components["human_parser"],
        transformers_backends.DEFAULT_POSE_ESTIMATOR: components["pose_estimator"],
    }
    for repository, component in defaults.items():
        component.save_pretrained(tmp_path / repository)
        fake_hub.upload_folder(repository, tmp_path / repository)
    detector = components["person_detector"]
    loaded = load_components("hub", person_detector=detector, cache_dir=tmp_path / "cache")
    assert_same(loaded, components)
    assert loaded["human_parser"].label_map == "fashn"
    assert sorted(path.name for path in (tmp_path / "cache").glob("models--*")) == [
        "models--fashn-ai--fashn-human-parser",
        "models--usyd-community--vitpose-base-simple",
    ]
    with pytest.raises(ValueError, match="'PekingU/rtdetr_r50vd_coco_o365' is neither"):
        hub_components()
