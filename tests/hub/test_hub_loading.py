# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""`from_pretrained` of the Hub in fresh processes: with a connection, and from the cache without one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fake_hub import FakeHub
from tiny_cascade import cascade_inputs, tiny_cascade

from diffusers_tryon import TryOnCascadePipeline
from diffusers_tryon.schedules import create_scheduler


TESTS = Path(__file__).parents[1]


def images(pipe: TryOnCascadePipeline) -> torch.Tensor:
    pipe.set_progress_bar_config(disable=True)
    return pipe(**cascade_inputs()).images


def with_other_output(pipe: TryOnCascadePipeline) -> TryOnCascadePipeline:
    with torch.no_grad():
        pipe.base_unet.conv_out.weight.mul_(2.0)
    return pipe


def load(revision: str, folder: Path, environment: dict[str, str]) -> dict:
    results = folder / "results.pt"
    subprocess.run(
        [sys.executable, Path(__file__).with_name("loading_process.py"), revision, folder / "elsewhere", results],
        env={**os.environ, "PYTHONPATH": f"{TESTS.parent}:{TESTS}", **environment},
        check=True,
    )
    return torch.load(results)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory) -> dict[str, dict]:
    """What the process gave with a Hub, and what the next one gave when there was none."""
    folder = tmp_path_factory.mktemp("hub")
    new, old = tiny_cascade(), with_other_output(tiny_cascade())
    for pipe, name in ((new, "new"), (old, "old")):
        pipe.save_pretrained(folder / name)
    tiny_cascade().to(torch.float16).save_pretrained(folder / "new", variant="fp16")
    tiny_cascade(with_sr=False).save_pretrained(folder / "base")
    with FakeHub() as hub:
        revision = hub.upload_folder("me/cascade", folder / "old")
        hub.tag("me/cascade", "v1")
        hub.upload_folder("me/cascade", folder / "new")
        hub.upload_folder("me/base", folder / "base")
        hub.upload_folder("me/private", folder / "new")
        hub.private.add("me/private")
        environment = {**hub.environment(folder / "cache"), "HF_TOKEN": ""}
        online = load(revision, folder, environment)
    offline = load(revision, folder, {**environment, "HF_HUB_OFFLINE": "1"})
    return {"online": online, "offline": offline}


# One test, because each process that runs tests would make the fixture again.
def test_every_way_of_loading_gives_its_weights_or_says_why_not(loaded):
    new, old, base = tiny_cascade(), with_other_output(tiny_cascade()), tiny_cascade(with_sr=False)
    stage_added = tiny_cascade(with_sr=False)
    stage_added.sr_unet, stage_added.sr_scheduler = new.sr_unet, create_scheduler("ddpm")
    expected = {
        **dict.fromkeys(("plain", "cache_dir", "local_files_only", "token"), images(new)),
        **dict.fromkeys(("revision", "tag"), images(old)),
        "variant": images(tiny_cascade().to(torch.float16)),
        **dict.fromkeys(("base only", "base of a cascade"), images(base)),
        "stage added": images(stage_added),
        "unet": new.sr_unet.conv_out.weight,
        "unet at a revision": old.base_unet.conv_out.weight,
        "unet of a variant": new.base_unet.conv_out.weight.half(),
    }
    assert not torch.equal(expected["plain"], expected["revision"])
    for found in loaded.values():
        assert {name for name, value in found.items() if isinstance(value, torch.Tensor)} == set(expected)
        assert [name for name, value in expected.items() if not torch.equal(found[name], value)] == []
    assert "RepositoryNotFoundError" in loaded["online"]["without a token"]
    assert "me/private" in loaded["online"]["without a token"]
    assert "me/nobody" in loaded["online"]["nobody's"]
    for name in ("without a token", "nobody's"):
        assert "HF_HUB_OFFLINE" in loaded["offline"][name]
