# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Fixtures for all tests."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_hub import FakeHub

from diffusers_tryon.cli import main


@pytest.fixture
def fake_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A Hub on this machine that huggingface_hub talks to for the test, with an empty cache."""
    with FakeHub() as hub:
        hub.connect(monkeypatch, tmp_path / "hub_cache")
        yield hub


@pytest.fixture
def command(monkeypatch, capsys, tmp_path) -> Callable[..., tuple[int, str, str]]:
    """Run `diffusers-tryon` in this process and in an empty folder: (exit status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["diffusers-tryon", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        printed = capsys.readouterr()
        return stop.value.code or 0, printed.out, printed.err

    return call
