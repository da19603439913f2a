# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""`diffusers-tryon hub push`: what arrives on the Hub, what is removed there, and what is refused before."""

import sys

import pytest

from diffusers_tryon.cli import main


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """Run `diffusers-tryon` in this process and in an empty folder: (exit status, stdout, stderr)."""
    monkeypatch.setenv("COLUMNS", "100")

    def call(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["diffusers-tryon", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        printed = capsys.readouterr()
        return stop.value.code or 0, printed.out, printed.err

    return call


def test_a_folder_arrives_and_the_commit_is_named(command, fake_hub, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "README.md").write_text("---\nlicense: mit\n---\n")
    status, printed, errors = command("hub", "push", tmp_path / "model", "me/model", "--private")
    assert (status, errors) == (0, "")
    assert printed.strip() == f"{fake_hub.url}/me/model/commit/{fake_hub.commits['me/model']['main']}"
    assert fake_hub.private == {"me/model"}
