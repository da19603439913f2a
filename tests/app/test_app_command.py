# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The command that starts the app, the Space, and the page that explains both."""

import os
import re
import runpy
import signal
import socket
import subprocess
import sys
import urllib.request
from functools import partial
from pathlib import Path

import pytest
import yaml
from PIL import Image
from tiny_cascade import tiny_cascade
from waiting import PATIENCE_SECONDS

from diffusers_tryon.app import create_app, launch_app
from diffusers_tryon.app_examples import photograph_examples, prepared_examples
from diffusers_tryon.app_generation import TryOnService
from diffusers_tryon.cli import main


ROOT = Path(__file__).resolve().parents[2]
SPACE = ROOT / "hub_cards" / "tryon-space"


def run_main(monkeypatch, capsys, *arguments: str) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["diffusers-tryon", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    return stop.value.code, capsys.readouterr().err


def test_without_the_extra_one_line_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "diffusers_tryon.app", raising=False)
    status, err = run_main(monkeypatch, capsys, "app")
    assert status == 1
    assert err == 'diffusers-tryon: error: The app needs gradio: pip install "diffusers-tryon[app]"\n'


def test_a_port_in_use_is_named(offline_preprocessor):
    app = create_app(TryOnService(tiny_cascade(), offline_preprocessor))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"Cannot listen on 127.0.0.1, port {port}: is something else using it"):
            launch_app(app, "127.0.0.1", port)


@pytest.mark.slow
def test_the_command_serves_until_it_is_interrupted(tmp_path):
    tiny_cascade().save_pretrained(tmp_path / "model")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "diffusers_tryon", "app", "--model", str(tmp_path / "model"), "--port", port]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "GRADIO_TEMP_DIR": str(tmp_path / "uploads")}
    # A test run in the background of a shell ignores Ctrl-C, and its children would.
    listen = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, preexec_fn=listen) as process:
        try:
            assert process.stdout.readline() == f"The app runs at http://127.0.0.1:{port}/ until Ctrl-C ends it.\n"
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as page:
                assert b"Virtual try-on" in page.read()
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE_SECONDS) == 0
        finally:
            process.kill()


def test_the_examples_are_files_that_exist():
    files = [value for row in photograph_examples() for value in row[:2]]
    files += [value for row in prepared_examples() for value in row]
    assert files and all(Path(file).is_file() for file in files)


def test_the_space_says_what_the_hub_needs_to_run_it():
    front_matter = yaml.safe_load((SPACE / "README.md").read_text().split("---\n")[1])
    pins = dict(re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / "constraints.txt").read_text(), flags=re.M))
    assert front_matter["sdk"] == "gradio" and front_matter["sdk_version"] == pins["gradio"]
    assert (SPACE / front_matter["app_file"]).is_file()
    assert front_matter["license"] == "apache-2.0"
    # The Hub's limit.
    assert len(front_matter["short_description"]) <= 60
    # MediaPipe of the requirements has no wheel for 3.13 and later.
    assert front_matter["python_version"] in ("3.11", "3.12")
    assert "diffusers-tryon[app,mediapipe]" in (SPACE / "requirements.txt").read_text()


@pytest.mark.slow
def test_the_example_of_the_page_runs_against_the_space(tmp_path, monkeypatch):
    """The client of docs/app.md and the app that the Space starts, with the shipped weights."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.chdir(ROOT)
    example = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "app.md").read_text(), flags=re.S)[0]
    assert "http://127.0.0.1:7860" in example
    app = runpy.run_path(str(SPACE / "app.py"))["app"]
    url = launch_app(app)
    found = {}
    try:
        exec(example.replace("http://127.0.0.1:7860", url), found)
    finally:
        app.close()
    assert found["seed"] == 7 and "seed 7" in found["report"] and found["intermediates"] is None
    assert Image.open(found["image"]).size == (768, 768) and len(found["stages"]) == 2
