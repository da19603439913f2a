# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What a run runs on: commit, versions, device, time."""

import platform
import subprocess
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import diffusers_tryon


_PACKAGES = (
    *("torch", "diffusers", "accelerate", "transformers", "datasets", "huggingface-hub", "safetensors", "numpy"),
    *("peft", "bitsandbytes"),
)


def describe_environment() -> dict[str, Any]:
    """What is recorded in checkpoints and cards, of JSON's types, without names of machines, users or folders.

    Returns:
        `time` (UTC, ISO 8601, to the second); `git_commit` of the package's checkout and `git_dirty`, whether tracked
        files differ from it, both `None` if the package is not in a checkout of its own; `python`, `platform`;
        `packages`, versions by name; `device`, its name, `num_devices` of this machine, and `cuda`, its version or
        `None`.
    """
    commit, is_dirty = git_state(Path(diffusers_tryon.__file__))
    has_cuda = torch.cuda.is_available()
    return {
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "git_commit": commit,
        "git_dirty": is_dirty,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": {"diffusers-tryon": diffusers_tryon.__version__, **_installed_versions()},
        "device": torch.cuda.get_device_name() if has_cuda else _processor_name(),
        "num_devices": torch.cuda.device_count() if has_cuda else 1,
        "cuda": torch.version.cuda if has_cuda else None,
    }


def git_state(file: Path) -> tuple[str | None, bool | None]:
    """Commit of the checkout that tracks `file`, and whether tracked files differ from it; `None` twice without one.

    A package that is installed in a virtual environment inside of another project's checkout is not tracked by it.
    """
    if _git(file.parent, "ls-files", "--error-unmatch", file.name) is None:
        return None, None
    commit = _git(file.parent, "rev-parse", "HEAD")
    if commit is None:  # a repository without a commit
        return None, None
    return commit.strip(), _git(file.parent, "status", "--porcelain", "--untracked-files=no") != ""


def _git(folder: Path, *arguments: str) -> str | None:
    """What git says, or `None` where it fails or is not installed."""
    try:
        result = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True)
    except FileNotFoundError:
        return None
    return result.stdout if result.returncode == 0 else None


def _installed_versions() -> dict[str, str]:
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def _processor_name() -> str:
    """The processor's name where Linux tells it, otherwise its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
