# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What the app does behind its buttons, without a browser."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from tiny_cascade import tiny_cascade

from diffusers_tryon.app_generation import Sampling, TryOnService, load_service
from diffusers_tryon.image_files import read_image
from diffusers_tryon.models.chunked_attention import ChunkedAttentionProcessor
from diffusers_tryon.pipelines.optimization import best_settings
from diffusers_tryon.poses import load_pose
from diffusers_tryon.preprocessing.errors import NoPersonError, UnreadablePhotoError
from diffusers_tryon.schedules import SCHEDULERS, swap_scheduler


ROOT = Path(__file__).resolve().parents[2]
PHOTOS, RENDERED = ROOT / "samples" / "photos", ROOT / "samples" / "rendered"
PERSON, GARMENT = PHOTOS / "person.jpg", PHOTOS / "garment.jpg"
FILES = {
    "agnostic_image": RENDERED / "agnostic.png",
    "garment_image": RENDERED / "garment.png",
    "agnostic_mask": RENDERED / "agnostic_mask.png",
    "person_pose": RENDERED / "person_pose.json",
    "garment_pose": RENDERED / "garment_pose.json",
}
QUICK = Sampling(num_inference_steps=3, sr_num_inference_steps=2, guidance_scale=1.5, sr_guidance_scale=1.0, seed=7)


def expected_of_conditions(pipe, sampling: Sampling) -> Image.Image:
    """The same by a plain call of a pipeline."""
    conditions = {name: load_pose(path) if "pose" in name else read_image(path, name) for name, path in FILES.items()}
    return pipe(
        **conditions,
        num_inference_steps=sampling.num_inference_steps,
        sr_num_inference_steps=sampling.sr_num_inference_steps,
        guidance_scale=sampling.guidance_scale,
        sr_guidance_scale=sampling.sr_guidance_scale,
        generator=torch.Generator().manual_seed(sampling.seed),
    ).images[0]


def same(first: Image.Image, second: Image.Image) -> bool:
    return np.array_equal(np.asarray(first), np.asarray(second))


@pytest.fixture(scope="module")
def service(offline_preprocessor) -> TryOnService:
    return TryOnService(tiny_cascade(), offline_preprocessor)


def test_photographs_give_what_the_pipeline_gives(service):
    told = []
    result = service.try_on(
        PERSON, GARMENT, "upper", "worn", None, QUICK, lambda share, text: told.append((share, text))
    )
    output = service.pipe.try_on(
        PERSON, GARMENT, service.preprocessor, "upper", "worn",
        num_inference_steps=3, sr_num_inference_steps=2, guidance_scale=1.5, sr_guidance_scale=1.0,
        generator=torch.Generator().manual_seed(7),
    )  # fmt: skip
    assert same(result.image, output.images[0])
    assert result.image.size == Image.open(PERSON).size
    assert {name: image.size for name, image in result.stages.items()} == {"base": (16, 16), "sr": (32, 32)}
    assert set(result.seconds) == {"preparation", "base", "sr"} and min(result.seconds.values()) > 0
    assert result.warnings == tuple(str(warning) for warning in output.prepared.warnings)
    assert same(result.draw_intermediates(), output.prepared.picture())
    assert told == [
        (0.0, "Looking at the photographs"),
        (0.2, "Base stage, step 1 of 3"),
        (0.4, "Base stage, step 2 of 3"),
        (0.6, "Base stage, step 3 of 3"),
        (0.8, "Super-resolution, step 1 of 2"),
        (1.0, "Super-resolution, step 2 of 2"),
    ]


def test_warnings_of_photographs_come_back_as_text(service, tmp_path):
    Image.open(PERSON).filter(ImageFilter.GaussianBlur(6)).save(tmp_path / "blurred.png")
    result = service.try_on(tmp_path / "blurred.png", GARMENT, "upper", "worn", sampling=QUICK)
    assert any(warning.startswith("`person_photo` is blurred") for warning in result.warnings)


def test_whom_to_dress_can_be_said(service):
    with pytest.raises(NoPersonError, match="`person_index` is 3"):
        service.try_on(PERSON, GARMENT, person_index=3, sampling=QUICK)


def test_prepared_inputs_give_what_the_pipeline_gives(service):
    result = service.try_on_prepared(FILES, QUICK)
    assert same(result.image, expected_of_conditions(service.pipe, QUICK))
    assert list(result.stages) == ["base", "sr"] and result.warnings == ()
    # Two inputs and two stages beside each other.
    picture = result.draw_intermediates()
    assert picture.width > 3.5 * 256 and picture.height < 384


def test_a_flat_garment_and_a_missing_mask_may_be_left_out(service):
    flat = service.try_on_prepared({**FILES, "garment_pose": None, "agnostic_mask": None}, QUICK)
    assert not same(flat.image, service.try_on_prepared(FILES, QUICK).image)


def test_a_choice_of_scheduler_stays_with_its_caller(service):
    plain = service.try_on_prepared(FILES, QUICK)
    euler = service.try_on_prepared(FILES, Sampling("euler", 3, 2, 1.5, 1.0, 7))
    again = service.try_on_prepared(FILES, QUICK)
    assert same(plain.image, again.image) and not same(plain.image, euler.image)

    swapped = tiny_cascade()
    swapped.base_scheduler = swap_scheduler(swapped.base_scheduler, "euler")
    swapped.sr_scheduler = swap_scheduler(swapped.sr_scheduler, "euler")
    assert same(euler.image, expected_of_conditions(swapped, QUICK))


def test_two_at_the_same_moment_do_not_disturb_each_other(service):
    """The app lets one in at a time; a script that uses the class need not."""
    sampling = {"plain": Sampling(None, 12, 8, 1.5, 1.0, 7), "ddim": Sampling("ddim", 20, 10, 2.0, 2.0, 3)}
    alone = {name: service.try_on_prepared(FILES, item).image for name, item in sampling.items()}
    together = {}

    def work(name: str) -> None:
        together[name] = service.try_on_prepared(FILES, sampling[name]).image

    threads = [threading.Thread(target=work, args=(name,)) for name in sampling]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(same(alone[name], together[name]) for name in sampling)


def test_only_schedulers_that_this_model_can_use_are_offered(offline_preprocessor):
    assert TryOnService(tiny_cascade(), offline_preprocessor).schedulers() == list(SCHEDULERS)
    predicts_sample = tiny_cascade()
    for stage in ("base", "sr"):
        own = getattr(predicts_sample, f"{stage}_scheduler")
        setattr(predicts_sample, f"{stage}_scheduler", type(own).from_config(own.config, prediction_type="sample"))
    offered = TryOnService(predicts_sample, offline_preprocessor).schedulers()
    assert set(SCHEDULERS) - set(offered) == {"euler-ancestral", "kdpm2", "kdpm2-ancestral", "dpm-sde", "pndm"}


def test_a_pipeline_with_a_base_stage_alone(offline_preprocessor):
    service = TryOnService(tiny_cascade(with_sr=False), offline_preprocessor)
    told = []
    result = service.try_on_prepared(FILES, QUICK, lambda share, text: told.append(text))
    assert list(result.stages) == ["base"] and result.image.size == (16, 16)
    assert told == [f"Base stage, step {number} of 3" for number in (1, 2, 3)]


@pytest.mark.parametrize("missing", ["agnostic_image", "garment_image", "person_pose"])
def test_what_is_missing_is_named(service, missing):
    with pytest.raises(ValueError, match=f"`{missing}` is missing"):
        service.try_on_prepared({**FILES, missing: None}, QUICK)


@pytest.mark.parametrize("photos, missing", [((None, GARMENT), "person_photo"), ((PERSON, None), "garment_photo")])
def test_a_missing_photograph_is_named(service, photos, missing):
    with pytest.raises(ValueError, match=f"`{missing}` is missing"):
        service.try_on(*photos, sampling=QUICK)


def test_bad_files_are_refused_and_the_next_call_works(service, tmp_path):
    text, cut, nobody = tmp_path / "text.jpg", tmp_path / "cut.jpg", tmp_path / "nobody.png"
    text.write_text("no picture")
    cut.write_bytes(GARMENT.read_bytes()[:20_000])
    Image.new("RGB", (256, 256), (90, 140, 90)).save(nobody)
    with pytest.raises(UnreadablePhotoError, match="`person_photo` must be a picture file"):
        service.try_on(text, GARMENT, sampling=QUICK)
    with pytest.raises(UnreadablePhotoError, match="`garment_photo` could not be read"):
        service.try_on(PERSON, cut, sampling=QUICK)
    with pytest.raises(NoPersonError, match="`person_photo`"):
        service.try_on(nobody, GARMENT, sampling=QUICK)
    with pytest.raises(ValueError, match="`agnostic_mask` could not be read"):
        service.try_on_prepared({**FILES, "agnostic_mask": cut}, QUICK)
    with pytest.raises(ValueError, match="is not valid JSON"):
        service.try_on_prepared({**FILES, "person_pose": text}, QUICK)
    assert same(service.try_on_prepared(FILES, QUICK).image, expected_of_conditions(service.pipe, QUICK))


def test_an_optimized_model_serves_calls_with_schedulers_of_their_own(tmp_path):
    tiny_cascade().save_pretrained(tmp_path)
    settings = {"dtype": "bfloat16", "device": "cpu", "optimize": True}
    service = load_service(str(tmp_path), **settings)
    assert service.pipe.dtype == torch.bfloat16
    processors = service.pipe.base_unet.attn_processors.values()
    is_chunked = best_settings(torch.device("cpu")).chunked_attention
    assert any(isinstance(item, ChunkedAttentionProcessor) for item in processors) == is_chunked
    other = replace(QUICK, scheduler="ddim")
    assert service.try_on_prepared(FILES, other).image.size == (32, 32)
