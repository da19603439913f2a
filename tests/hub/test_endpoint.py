# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The handler of Inference Endpoints, loaded from a repository's folder as the endpoint loads it."""

import base64
import importlib.util
import json
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from tiny_cascade import tiny_cascade

from diffusers_tryon import TryOnCascadePipeline
from diffusers_tryon.inference import load_preprocessor, with_scheduler
from diffusers_tryon.poses import load_pose


ROOT = Path(__file__).parents[2]
SAMPLE, PHOTOS = ROOT / "samples" / "rendered", ROOT / "samples" / "photos"
TEMPLATES = ROOT / "hub_cards" / "templates"
FAST = {"num_inference_steps": 2, "sr_num_inference_steps": 2, "seed": 5}


def text_of(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def picture(text: str) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(base64.b64decode(text))))


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    tiny_cascade().save_pretrained(folder)
    (folder / "handler.py").write_bytes((TEMPLATES / "handler.py").read_bytes())
    return folder


@pytest.fixture(scope="module")
def handler(repository):
    """As huggingface_inference_toolkit does it: the file is a module, its class gets the folder's path as text."""
    spec = importlib.util.spec_from_file_location("handler", repository / "handler.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.EndpointHandler(str(repository))


@pytest.fixture
def conditions() -> dict:
    return {
        "agnostic_image": text_of(SAMPLE / "agnostic.png"),
        "garment_image": "data:image/png;base64," + text_of(SAMPLE / "garment.png"),
        "person_pose": json.loads((SAMPLE / "person_pose.json").read_text()),
        "garment_pose": json.loads((SAMPLE / "garment_pose.json").read_text()),
    }


def direct_call(repository: Path, scheduler: str | None = None, **arguments):
    pipe = with_scheduler(TryOnCascadePipeline.from_pretrained(repository), scheduler)
    pipe.set_progress_bar_config(disable=True)
    return pipe(
        agnostic_image=Image.open(SAMPLE / "agnostic.png"),
        garment_image=Image.open(SAMPLE / "garment.png"),
        person_pose=load_pose(SAMPLE / "person_pose.json"),
        garment_pose=load_pose(SAMPLE / "garment_pose.json"),
        num_inference_steps=2,
        sr_num_inference_steps=2,
        generator=torch.Generator().manual_seed(5),
        **arguments,
    )


def test_prepared_conditions_give_the_pipelines_picture(handler, repository, conditions):
    answer = handler({"inputs": conditions, "parameters": {**FAST, "all_stages": True}})
    expected = direct_call(repository)
    assert np.array_equal(picture(answer["image"]), np.asarray(expected.images[0]))
    assert np.array_equal(picture(answer["stages"]["base"]), np.asarray(expected.stages["base"][0]))
    assert (answer["seed"], answer["warnings"], set(answer["seconds"])) == (5, [], {"base", "sr"})
    assert "prepared" not in answer
    json.dumps(answer)


def test_one_request_leaves_nothing_for_the_next(handler, repository, conditions):
    before = handler({"inputs": conditions, "parameters": FAST})
    other = handler({"inputs": conditions, "parameters": {**FAST, "scheduler": "heun", "guidance_scale": 4.0}})
    after = handler({"inputs": conditions, "parameters": FAST})
    expected = direct_call(repository, "heun", guidance_scale=4.0)
    assert before["image"] == after["image"] != other["image"]
    assert np.array_equal(picture(other["image"]), np.asarray(expected.images[0]))


def test_without_a_seed_one_is_drawn_and_told(handler, conditions):
    answers = [handler({"inputs": conditions, "parameters": {**FAST, "seed": None}}) for _ in range(2)]
    assert answers[0]["seed"] != answers[1]["seed"]
    again = handler({"inputs": conditions, "parameters": {**FAST, "seed": answers[0]["seed"]}})
    assert again["image"] == answers[0]["image"]
    assert handler({"inputs": conditions, "parameters": {"num_inference_steps": 1, "last_stage": "base"}})["image"]


def test_photographs_come_back_at_their_own_size(repository, monkeypatch):
    from diffusers_tryon.hub.endpoint import EndpointHandler

    monkeypatch.setenv("TRYON_DTYPE", "bfloat16")
    handler = EndpointHandler(str(repository))
    assert handler.pipe.dtype == torch.bfloat16
    photos = {"person_photo": text_of(PHOTOS / "person.jpg"), "garment_photo": text_of(PHOTOS / "garment.jpg")}
    answer = handler({"inputs": photos, "parameters": {**FAST, "category": "upper", "all_stages": True}})
    pipe = TryOnCascadePipeline.from_pretrained(repository, dtype=torch.bfloat16)
    pipe.set_progress_bar_config(disable=True)
    expected = pipe.try_on(
        PHOTOS / "person.jpg",
        PHOTOS / "garment.jpg",
        preprocessor=load_preprocessor("offline", pipe.device),
        category="upper",
        num_inference_steps=2,
        sr_num_inference_steps=2,
        generator=torch.Generator().manual_seed(5),
    )
    assert np.array_equal(picture(answer["image"]), np.asarray(expected.images[0]))
    assert picture(answer["prepared"]).ndim == 3
    with pytest.raises(ValueError, match="`person_index` must be an integer from 0 on or None, got '1'"):
        handler({"inputs": photos, "parameters": {"person_index": "1"}})
    too_small = BytesIO()
    Image.new("RGB", (20, 20)).save(too_small, "PNG")
    photos["person_photo"] = base64.b64encode(too_small.getvalue()).decode()
    with pytest.raises(ValueError, match="`person_photo`"):
        handler({"inputs": photos})


@pytest.mark.slow
def test_each_of_two_requests_at_once_gets_its_own_warnings(handler):
    blurred = BytesIO()
    Image.open(PHOTOS / "person.jpg").filter(ImageFilter.GaussianBlur(6)).save(blurred, "PNG")
    people = {"sharp": text_of(PHOTOS / "person.jpg"), "blurred": base64.b64encode(blurred.getvalue()).decode()}
    garment = text_of(PHOTOS / "garment.jpg")
    parameters = {**FAST, "category": "upper", "garment_type": "worn", "last_stage": "base"}

    def warnings_of(person: str) -> list[str]:
        inputs = {"person_photo": people[person], "garment_photo": garment}
        return handler({"inputs": inputs, "parameters": parameters})["warnings"]

    alone = {person: warnings_of(person) for person in people}
    assert any("is blurred" in warning for warning in alone["blurred"]) and alone["blurred"] != alone["sharp"]
    with ThreadPoolExecutor(len(people)) as threads:
        assert dict(zip(people, threads.map(warnings_of, people))) == alone


@pytest.mark.parametrize(
    "change, message",
    [
        ({"agnostic_image": None}, "`inputs` lacks `agnostic_image`"),
        ({"agnostic_image": "nonsense!"}, "`agnostic_image` must be a picture file as base64 text"),
        ({"agnostic_image": 7}, "`agnostic_image` must be a picture file as base64 text, got 7"),
        ({"agnostic_image": base64.b64encode(b"text").decode()}, "`agnostic_image` must be a picture file such as"),
        ({"agnostic_image": text_of(SAMPLE / "agnostic.png")[:4000]}, "`agnostic_image` could not be read"),
        ({"person_pose": [[0.0, 0.0, 1.0]] * 18}, "`person_pose` must hold {\"format\""),
        ({"person_pose": {"format": "openpose_18", "normalized": True, "keypoints": [[0.5, 0.5, 2.0]] * 18}},
         "`person_pose` must have visibilities"),
        ({"person_pose": {"format": "openpose_18", "normalized": True, "keypoints": [[10**400, 0, 1]] * 18}},
         "`person_pose` has keypoints that are not numbers"),
        ({"person_image": "x"}, "`inputs` may hold agnostic_image, .* got 'person_image'"),
        ({"person_photo": "x"}, "`inputs` may hold person_photo, garment_photo here, got 'agnostic_image'"),
    ],
)  # fmt: skip
def test_inputs_that_do_not_fit_are_named(handler, conditions, change, message):
    with pytest.raises(ValueError, match=message):
        handler({"inputs": {**conditions, **change}, "parameters": FAST})


@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"steps": 3}, "`parameters` may hold scheduler, .* got 'steps'"),
        ({"category": "upper"}, "`parameters` may hold .* got 'category'"),
        ({"scheduler": "karras"}, "`scheduler` must be one of ddpm"),
        ({"scheduler": ["ddim"]}, "`scheduler` must be one of ddpm"),
        ({"seed": -1}, "`seed` must be an integer from 0"),
        ({"seed": 1.5}, "`seed` must be an integer from 0"),
        ({"all_stages": "yes"}, "`all_stages` must be true or false"),
        ({"num_inference_steps": 0}, "`num_inference_steps` must be an integer from 1"),
        ({"num_inference_steps": "30"}, "`num_inference_steps` must be an integer from 1"),
        ({"guidance_scale": "high"}, "`guidance_scale` must be a number"),
        ({"height": 33}, "`height` must be a multiple"),
        ({"height": 8192, "width": 8192}, "`height` must be at most 1024 here, got 8192"),
        ({"guidance_scale": float("inf")}, "`guidance_scale` must be a number from 0 to 1000, got inf"),
        ({"sr_guidance_scale": 10**30}, "`sr_guidance_scale` must be a number from 0 to 1000"),
    ],
)
def test_parameters_that_do_not_fit_are_named(handler, conditions, parameters, message):
    with pytest.raises(ValueError, match=message):
        handler({"inputs": conditions, "parameters": parameters})


@pytest.mark.parametrize("data, name", [({}, "inputs"), ({"inputs": "text"}, "inputs"), ([], "request")])
def test_a_body_that_is_no_request_is_named(handler, data, name):
    with pytest.raises(ValueError, match=f"`{name}` must be a JSON object"):
        handler(data)


def test_parameters_must_be_an_object(handler, conditions):
    with pytest.raises(ValueError, match="`parameters` must be a JSON object"):
        handler({"inputs": conditions, "parameters": [1]})


def test_shipped_pipelines_carry_the_templates():
    for index in (ROOT / "hub_cards").glob("*/model_index.json"):
        for name in ("handler.py", "requirements.txt"):
            assert (index.parent / name).read_bytes() == (TEMPLATES / name).read_bytes()
