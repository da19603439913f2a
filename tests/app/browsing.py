# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""A person at the app: a headless Chromium, and what they do on its page."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright


DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_PATIENCE = 60_000  # milliseconds; machines that test may be busy


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser with an empty profile; the test is skipped where there is none."""
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_OPTIONS)
        yield browser
        browser.close()


class Visitor:
    """A browser window on the app."""

    def __init__(self, page: Page, url: str):
        self.page = page
        self.requests: list[str] = []
        page.set_default_timeout(_PATIENCE)
        page.on("request", lambda request: self.requests.append(request.url))
        page.goto(url)
        self.button().wait_for()

    def button(self):
        return self.page.get_by_role("button", name="Try it on").locator("visible=true")

    def upload(self, name: str, file: Path) -> None:
        """Choose a file for an upload, in place of what is there."""
        block = self.page.locator(f"#{name}")
        for label in ("Remove Image", "Clear"):
            if block.get_by_role("button", name=label).count():
                block.get_by_role("button", name=label).click()
        block.locator("input[type=file]").set_input_files(file)

    def upload_picture(self, name: str, file: Path) -> None:
        self.upload(name, file)
        # Present in the page, though a file that is no picture shows nothing.
        self.page.locator(f"#{name} img").wait_for(state="attached")

    def press(self) -> None:
        self.button().click()

    def wait_for_report(self, text: str) -> str:
        self.page.locator("#report", has_text=text).wait_for()
        return self.page.locator("#report").inner_text()

    def message(self) -> str:
        """The error on the screen, which is then closed."""
        toast = self.page.get_by_test_id("toast-body")
        toast.wait_for()
        text = toast.inner_text()
        toast.get_by_test_id("toast-close").click()
        toast.wait_for(state="detached")
        return text

    def download(self, element: str, to: Path) -> Path:
        with self.page.expect_download() as started:
            self.page.locator(f"#{element}").get_by_role("button", name="Download").click()
        started.value.save_as(to)
        return to

    def open_settings(self) -> None:
        self.page.get_by_role("button", name="Settings").first.click()

    def choose(self, label: str, text: str) -> None:
        self.page.get_by_label(label).locator("visible=true").click()
        self.page.get_by_role("option", name=text, exact=True).click()
