# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Fixtures for all tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_hub import FakeHub


@pytest.fixture
def fake_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A Hub on this machine that huggingface_hub talks to for the test, with an empty cache."""
    with FakeHub() as hub:
        hub.connect(monkeypatch, tmp_path / "hub_cache")
        yield hub
