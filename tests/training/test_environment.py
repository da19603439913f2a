# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The record of what a run runs on."""

import json
import platform
import shutil
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import torch

import diffusers_tryon
from diffusers_tryon.training.environment import describe_environment, git_state


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def checkout(tmp_path):
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "module.py").write_text("one\n")
    git(folder, "add", "module.py")
    git(folder, "commit", "-q", "-m", "First")
    return folder


def test_the_record_is_json_and_names_versions_and_time():
    record = json.loads(json.dumps(describe_environment()))
    assert record["python"] == platform.python_version()
    assert record["packages"]["torch"] == torch.__version__
    assert record["packages"]["diffusers-tryon"] == diffusers_tryon.__version__
    assert {"diffusers", "accelerate", "numpy"} < set(record["packages"])
    assert record["device"] and record["num_devices"] >= 1
    age = datetime.now(timezone.utc) - datetime.fromisoformat(record["time"])
    assert timedelta(0) <= age < timedelta(minutes=1)
    # It is published with the weights.
    assert platform.node() not in json.dumps(record) and str(Path.home()) not in json.dumps(record)


def test_the_commit_of_a_checkout(checkout):
    commit = git(checkout, "rev-parse", "HEAD").strip()
    assert len(commit) == 40
    assert git_state(checkout / "module.py") == (commit, False)
    (checkout / "output.txt").write_text("what a run leaves is no change")
    assert git_state(checkout / "module.py") == (commit, False)
    (checkout / "module.py").write_text("two\n")
    assert git_state(checkout / "module.py") == (commit, True)


def test_a_package_in_the_environment_of_another_project_has_no_commit(checkout):
    (checkout / "venv").mkdir()
    (checkout / "venv" / "module.py").write_text("one\n")
    assert git_state(checkout / "venv" / "module.py") == (None, None)


def test_no_checkout_and_no_git(checkout, tmp_path, monkeypatch):
    (tmp_path / "module.py").write_text("one\n")
    assert git_state(tmp_path / "module.py") == (None, None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(checkout / "module.py") == (None, None)
