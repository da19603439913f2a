# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The app as people meet it: in a headless Chromium against a server of this process."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from urllib.parse import urlparse

import gradio_client
import numpy as np
import pytest
import torch
from browsing import DESKTOP, PHONE, Visitor, chromium
from PIL import Image
from tiny_cascade import tiny_cascade
from waiting import wait_until

from diffusers_tryon.app import create_app, launch_app
from diffusers_tryon.app_generation import TryOnService
from diffusers_tryon.image_files import read_image
from diffusers_tryon.poses import load_pose
from diffusers_tryon.schedules import swap_scheduler


ROOT = Path(__file__).resolve().parents[2]
PHOTOS, RENDERED = ROOT / "samples" / "photos", ROOT / "samples" / "rendered"
PERSON, GARMENT, FLAT = PHOTOS / "person.jpg", PHOTOS / "garment.jpg", PHOTOS / "garment_flat.jpg"


@pytest.fixture(scope="module")
def service(offline_preprocessor) -> TryOnService:
    return TryOnService(tiny_cascade(), offline_preprocessor, note="A network of noise.")


@pytest.fixture(scope="module")
def url(service, tmp_path_factory) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        app = create_app(service)
        yield launch_app(app)
        app.close()


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture
def visit(browser, url) -> Iterator[Callable[..., Visitor]]:
    contexts = []

    def open_window(viewport: dict = DESKTOP) -> Visitor:
        contexts.append(browser.new_context(viewport=viewport, accept_downloads=True))
        return Visitor(contexts[-1].new_page(), url)

    yield open_window
    for context in contexts:
        context.close()


def pixels(path: str | Path) -> np.ndarray:
    return np.asarray(Image.open(path))


@cache
def pipelines_picture(service: TryOnService, person: Path, garment: Path, seed: int) -> np.ndarray:
    generator = torch.Generator().manual_seed(seed)
    output = service.pipe.try_on(person, garment, service.preprocessor, generator=generator)
    return np.asarray(output.images[0])


def test_two_photographs_one_press_the_picture_of_the_pipeline(visit, service, tmp_path):
    visitor = visit()
    visitor.upload_picture("person_photo", PERSON)
    visitor.upload_picture("garment_photo", GARMENT)
    visitor.press()
    assert "768 x 768 pixels, seed 0; preparation" in visitor.wait_for_report("seed 0")
    downloaded = visitor.download("result", tmp_path / "result.png")
    np.testing.assert_array_equal(pixels(downloaded), pipelines_picture(service, PERSON, GARMENT, 0))
    stages = visitor.page.locator("#stages .caption-label").all_inner_texts()
    assert [" ".join(stage.split()) for stage in stages] == ["Base stage, 16 x 16", "Super-resolution, 32 x 32"]
    assert pixels(visitor.download("intermediates", tmp_path / "seen.png")).shape[1] > 1000
    # Fonts, scripts, measurements of use: nothing comes from, or goes, anywhere else.
    assert {urlparse(request).hostname for request in visitor.requests if request.startswith("http")} == {"127.0.0.1"}


@pytest.mark.slow
def test_files_that_cannot_be_used_are_explained_and_the_app_goes_on(visit, service, tmp_path):
    text, cut, nobody = tmp_path / "holiday.jpg", tmp_path / "cut.jpg", tmp_path / "meadow.png"
    text.write_text("no picture <b>at all</b>")
    cut.write_bytes(PERSON.read_bytes()[:20_000])
    Image.new("RGB", (256, 256), (90, 140, 90)).save(nobody)
    (tmp_path / "notes.txt").write_text("no picture")
    visitor = visit()
    visitor.press()
    assert "The person photo is missing" in visitor.message()
    visitor.upload_picture("garment_photo", GARMENT)
    expected = {
        text: "The person photo must be a picture file such as PNG, JPEG, WebP or TIFF, holiday.jpg is not",
        cut: "The person photo could not be read, cut.jpg is broken or cut short",
        nobody: "Nobody was found in the person photo",
    }
    for file, message in expected.items():
        visitor.upload_picture("person_photo", file)
        visitor.press()
        shown = visitor.message()
        assert message in shown
        assert "Traceback" not in shown and str(tmp_path) not in shown
    # What the browser refuses before it is sent.
    visitor.upload("person_photo", tmp_path / "notes.txt")
    assert "Invalid file type: notes.txt" in visitor.message()
    visitor.upload_picture("person_photo", PERSON)
    visitor.press()
    visitor.wait_for_report("seed 0")
    downloaded = visitor.download("result", tmp_path / "result.png")
    np.testing.assert_array_equal(pixels(downloaded), pipelines_picture(service, PERSON, GARMENT, 0))


@pytest.mark.slow
def test_prepared_inputs_with_another_scheduler(visit, service, tmp_path):
    visitor = visit()
    visitor.page.get_by_role("tab", name="Prepared inputs").click()
    visitor.page.locator("table tbody tr").locator("visible=true").first.click()
    visitor.page.locator("#garment_pose", has_text="garment_pose").wait_for()
    visitor.open_settings()
    visitor.choose("Scheduler", "euler")
    visitor.page.get_by_label("Seed", exact=True).fill("11")
    visitor.press()
    visitor.wait_for_report("seed 11")
    pipe = tiny_cascade()
    for stage in ("base", "sr"):
        setattr(pipe, f"{stage}_scheduler", swap_scheduler(getattr(pipe, f"{stage}_scheduler"), "euler"))
    expected = pipe(
        agnostic_image=read_image(RENDERED / "agnostic.png", "agnostic_image"),
        agnostic_mask=read_image(RENDERED / "agnostic_mask.png", "agnostic_mask"),
        garment_image=read_image(RENDERED / "garment.png", "garment_image"),
        person_pose=load_pose(RENDERED / "person_pose.json"),
        garment_pose=load_pose(RENDERED / "garment_pose.json"),
        generator=torch.Generator().manual_seed(11),
    )
    downloaded = visitor.download("result", tmp_path / "result.png")
    np.testing.assert_array_equal(pixels(downloaded), np.asarray(expected.images[0]))

    wrong = tmp_path / "keypoints.json"
    wrong.write_text('{"keypoints": [[1, 2, 3]]}')
    visitor.upload("person_pose", wrong)
    visitor.page.locator("#person_pose", has_text="keypoints").wait_for()
    visitor.press()
    shown = visitor.message()
    assert 'The pose file keypoints.json must hold {"format": "openpose_18"' in shown


@pytest.mark.slow
def test_two_people_at_once_each_get_their_own(visit, service, tmp_path):
    windows = [visit(), visit()]
    for window, garment in zip(windows, (GARMENT, FLAT)):
        window.upload_picture("person_photo", PERSON)
        window.upload_picture("garment_photo", garment)
    for window in windows:
        window.press()
    for number, (window, garment) in enumerate(zip(windows, (GARMENT, FLAT))):
        window.wait_for_report("seed 0")
        downloaded = window.download("result", tmp_path / f"{number}.png")
        np.testing.assert_array_equal(pixels(downloaded), pipelines_picture(service, PERSON, garment, 0))


@pytest.mark.slow
def test_a_telephone_shows_all_of_the_page_and_what_is_not_wanted_is_hidden(visit):
    visitor = visit(PHONE)
    page = visitor.page
    assert page.get_by_text("A network of noise.").is_visible()
    page.locator("table tbody tr").first.click()
    page.locator("#garment_photo img").wait_for()
    visitor.open_settings()
    page.get_by_label("Show stages").uncheck()
    page.get_by_label("Show intermediates").uncheck()
    page.get_by_label("Random seed").check()
    page.locator("#stages").wait_for(state="hidden")
    page.locator("#intermediates").wait_for(state="hidden")
    visitor.press()
    report = visitor.wait_for_report("seed")
    assert f"seed {page.get_by_label('Seed', exact=True).input_value()};" in report
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.slow
def test_programs_use_the_same_endpoints(url, service, tmp_path):
    client = gradio_client.Client(url, verbose=False, download_files=tmp_path)
    endpoints = client.view_api(return_format="dict")["named_endpoints"]
    assert set(endpoints) == {"/try_on", "/try_on_prepared"}
    image, report, stages, intermediates, seed = client.predict(
        person_photo=gradio_client.handle_file(PERSON),
        garment_photo=gradio_client.handle_file(GARMENT),
        seed=5,
        show_intermediates=False,
        api_name="/try_on",
    )
    np.testing.assert_array_equal(pixels(image), pipelines_picture(service, PERSON, GARMENT, 5))
    assert [pixels(stage["image"]).shape for stage in stages] == [(16, 16, 3), (32, 32, 3)]
    assert intermediates is None and seed == 5 and "seed 5" in report

    prepared = {
        name: gradio_client.handle_file(RENDERED / file)
        for name, file in {
            "agnostic_image": "agnostic.png", "garment_image": "garment.png", "person_pose": "person_pose.json",
        }.items()
    }  # fmt: skip
    assert pixels(client.predict(**prepared, api_name="/try_on_prepared")[0]).shape == (32, 32, 3)


@pytest.mark.slow
def test_nothing_is_kept_after_the_end(service, tmp_path, monkeypatch):
    uploads = tmp_path / "uploads"
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(uploads))
    app = create_app(service)
    client = gradio_client.Client(launch_app(app), verbose=False, download_files=tmp_path / "downloads")
    photos = {"person_photo": gradio_client.handle_file(PERSON), "garment_photo": gradio_client.handle_file(FLAT)}
    client.predict(**photos, steps=1, sr_steps=1, api_name="/try_on")
    kept = [path for path in uploads.rglob("*") if path.is_file()]
    app.close()
    # Both photographs, the result, two stages, intermediates; the examples are served from where they lie.
    assert len(kept) == 6
    wait_until(lambda: not any(path.exists() for path in kept))


@pytest.mark.slow
def test_who_finds_the_queue_full_is_told(service, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    app = create_app(service)
    client = gradio_client.Client(launch_app(app, queue_size=1), verbose=False, download_files=tmp_path / "downloads")
    photos = {"person_photo": gradio_client.handle_file(PERSON), "garment_photo": gradio_client.handle_file(FLAT)}
    jobs = [client.submit(**photos, api_name="/try_on") for _ in range(4)]
    errors = [str(job.exception()) for job in jobs if job.exception() is not None]
    app.close()
    assert 1 <= len(errors) <= 3 and all("full" in error for error in errors)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes, message",
    [
        ({"seed": -1}, "The seed must be a whole number from 0"),
        ({"seed": 1.5}, "The seed must be a whole number from 0"),
        ({"steps": 999}, "The base steps must be a whole number from 1 to 256, got 999"),
        ({"sr_steps": 0}, "The SR steps must be a whole number from 1 to 256, got 0"),
        ({"guidance": -3}, "The guidance scale must be a number from 0"),
        ({"scheduler": "magic"}, "The scheduler must be model or one of ddpm"),
        ({"category": "<script>"}, "got '&lt;script&gt;'"),
        ({"category": "hat"}, "The category must be one of upper"),
        ({"person_index": 7}, "The person index is 7, but the person photo shows 1 person"),
        ({"person_index": "7"}, "The person index is 7, but the person photo shows 1 person"),
        ({"person_index": "someone"}, "The person index must be one of auto, 0"),
        ({"garment_photo": None}, "The garment photo is missing"),
    ],
)
def test_what_programs_get_wrong_is_named(url, changes, message):
    client = gradio_client.Client(url, verbose=False)
    photos = {
        name: gradio_client.handle_file(path) for name, path in (("person_photo", PERSON), ("garment_photo", FLAT))
    }
    with pytest.raises(Exception, match=message):
        client.predict(**{**photos, **changes}, api_name="/try_on")
