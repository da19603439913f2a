# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Exported repositories, loaded where the package cannot be imported, and by the package."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fake_hub import FakeHub
from huggingface_hub import ModelCard
from tiny_cascade import BASE_SIZE, SR_SIZE, cascade_inputs, random_unet, tiny_cascade

from diffusers_tryon import TryOnCascadePipeline
from diffusers_tryon.hub.remote_code import code_files, export_remote_code
from diffusers_tryon.schedules import create_scheduler


PACKAGE = Path(__file__).parents[2] / "diffusers_tryon"
CARD = """---
license: mit
tags:
- clothes
---

# A cascade

What it is.

## Use

It is used.
"""


def images(pipe: TryOnCascadePipeline) -> torch.Tensor:
    pipe.set_progress_bar_config(disable=True)
    return pipe(**cascade_inputs()).images


def reference_cascade() -> TryOnCascadePipeline:
    config = {
        "block_out_channels": (8, 16),
        "layers_per_block": (1, 2),
        "attention_levels": (False, True),
        "num_attention_heads": (None, 2),
        "attention_head_dim": (None, 8),
        "context_dim": 16,
        "conditioning_dim": 16,
        "pose_num_layers": 1,
        "pose_num_attention_heads": 2,
        "pose_attention_head_dim": 8,
        "pose_num_latents": 4,
        "pose_num_pooled_latents": 2,
    }
    return TryOnCascadePipeline(
        base_unet=random_unet("reference-128", 0, **config, sample_size=BASE_SIZE),
        base_scheduler=create_scheduler("ddim"),
        image_noising_scheduler=create_scheduler("ddpm"),
        sr_unet=random_unet("reference-256", 1, **config, sample_size=SR_SIZE),
        sr_scheduler=create_scheduler("ddim"),
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    """Pipelines as the package saves them, exported ones beside them, and what `remote_code_process.py` needs."""
    folder = tmp_path_factory.mktemp("remote_code")
    tiny_cascade().save_pretrained(folder / "plain")
    tiny_cascade().to(torch.float16).save_pretrained(folder / "plain", variant="fp16")
    tiny_cascade(with_sr=False).save_pretrained(folder / "plain_base")
    reference_cascade().save_pretrained(folder / "plain_reference")
    (folder / "plain" / "handler.py").write_text("# of an endpoint\n")
    (folder / "plain" / "README.md").write_text(CARD)
    for name in ("", "_base", "_reference"):
        export_remote_code(folder / f"exported{name}", str(folder / f"plain{name}"))
    return folder


@pytest.fixture(scope="module")
def found(folders) -> dict:
    """What the process without the package gave."""
    inputs = cascade_inputs()
    del inputs["generator"]
    torch.save(inputs, folders / "inputs.pt")
    process = Path(__file__).with_name("remote_code_process.py")
    with FakeHub() as hub:
        hub.upload_folder("me/exported", folders / "exported")
        # Isolated: neither the checkout nor an installed package of the user is on the path.
        subprocess.run(
            [sys.executable, "-I", process, folders, folders / "results.pt"],
            env={**os.environ, **hub.environment(folders / "cache")},
            cwd=folders,
            check=True,
        )
    return torch.load(folders / "results.pt")


@pytest.mark.slow
def test_without_the_package_the_images_are_the_same_bit_for_bit(folders, found):
    def by_package(name: str, **options) -> torch.Tensor:
        return images(TryOnCascadePipeline.from_pretrained(folders / name, **options))

    whole, base = by_package("plain"), by_package("plain_base")
    expected = {
        **dict.fromkeys(("folder", "hub", "hub, cached", "offline", "device map", "encoded garment"), whole),
        **dict.fromkeys(("saved again", "saved twice", "pushed", "of its class"), whole),
        **dict.fromkeys(("base only", "base of a cascade", "base given"), base),
        "variant": by_package("plain", variant="fp16", dtype=torch.float16),
        "reference networks": by_package("plain_reference"),
    }
    assert {name for name, value in found.items() if isinstance(value, torch.Tensor)} == set(expected)
    assert [name for name, value in expected.items() if not torch.equal(found[name], value)] == []
    assert [name for name in found["modules"] if name.split(".")[0] == "diffusers_tryon"] == []


@pytest.mark.slow
def test_without_the_package_errors_are_clear(found):
    for name in ("without trust, folder", "without trust, hub"):
        assert "contains custom code in tryon_pipeline_" in found[name] and "trust_remote_code=True" in found[name]
    assert found["photographs"].startswith("ImportError") and "pip install diffusers-tryon" in found["photographs"]


@pytest.mark.slow
def test_the_files_of_the_networks_folders_are_not_run(found):
    assert [name for name in found["modules"] if "load_unet" in name] == []


@pytest.mark.parametrize("source", ["folder", "hub"])
def test_the_package_loads_the_same_repository_and_runs_none_of_its_code(folders, fake_hub, source):
    if source == "hub":
        fake_hub.upload_folder("me/exported", folders / "exported")
    exported = "me/exported" if source == "hub" else folders / "exported"
    loaded = TryOnCascadePipeline.from_pretrained(exported)
    assert torch.equal(images(loaded), images(TryOnCascadePipeline.from_pretrained(folders / "plain")))
    assert type(loaded.base_unet).__module__ == "diffusers_tryon.models.unet_parallel"
    assert not [path for path in fake_hub.downloaded() if path.endswith(".py")]


def test_saved_by_the_package_the_repository_is_as_before(folders, tmp_path):
    TryOnCascadePipeline.from_pretrained(folders / "exported").save_pretrained(tmp_path)
    saved, plain = (json.loads((folder / "model_index.json").read_text()) for folder in (tmp_path, folders / "plain"))
    assert saved.pop("_name_or_path") == str(folders / "exported")
    assert saved == plain
    assert not list(tmp_path.rglob("*.py"))


def test_all_else_is_carried_over_as_it_is(folders):
    plain, exported = (
        {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (folders / "plain", folders / "exported")
    )
    changed = {name for name in plain if exported[name] != plain[name]}
    assert changed == {"README.md", "model_index.json"}
    new = set(exported) - set(plain)
    networks = next(name for name in code_files() if name.startswith("unet_parallel_"))
    assert new == {*code_files(), *(f"{name}_unet/load_{networks}" for name in ("base", "sr"))}


def test_the_card_says_how_it_loads(folders):
    card = ModelCard.load(folders / "exported" / "README.md")
    assert card.data.tags == ["clothes", "custom_code"] and card.data.license == "mit"
    headings = [line for line in card.text.splitlines() if line.startswith("#")]
    assert headings == ["# A cascade", "## Without installing the package", "## Use"]
    assert all(f"`{name}`" in card.text for name in code_files())
    assert str(folders) not in card.content


def test_a_repository_without_a_card_gets_one(folders):
    card = ModelCard.load(folders / "exported_base" / "README.md")
    assert card.data.library_name == "diffusers" and "custom_code" in card.data.tags
    assert card.text.strip().startswith("# exported_base\n\n## Without installing the package\n")
