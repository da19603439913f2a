# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""One repository for the standard pipeline and for Modular Diffusers, from a folder, the Hub, and its cache."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fake_hub import FakeHub
from tiny_cascade import cascade_inputs, tiny_cascade
from typer.testing import CliRunner

from diffusers_tryon import TryOnBlocks
from diffusers_tryon.checkpoints import shipped_checkpoint
from diffusers_tryon.cli import app
from diffusers_tryon.hub.modular_files import MODULAR_FILES, name_repository, write_modular_files
from diffusers_tryon.hub.publish import publish
from diffusers_tryon.hub.remote_code import export_remote_code


TESTS = Path(__file__).parents[1]


def images(pipe) -> torch.Tensor:
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(100)
    return pipe(**{**cascade_inputs(), "generator": generator}, sequential_guidance=True).images


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("modular")
    tiny_cascade().save_pretrained(folder / "plain")
    tiny_cascade().to(torch.float16).save_pretrained(folder / "plain", variant="fp16")
    shutil.copytree(folder / "plain", folder / "cascade")
    tiny_cascade(with_sr=False).save_pretrained(folder / "base")
    export_remote_code(folder / "code", str(folder / "plain"))
    for name in ("cascade", "base", "code"):
        write_modular_files(folder / name)
    inputs = cascade_inputs()
    del inputs["generator"]
    torch.save(inputs, folder / "inputs.pt")
    return folder


def load(folders: Path, environment: dict[str, str]) -> dict:
    results = folders / "results.pt"
    subprocess.run(
        [sys.executable, Path(__file__).with_name("modular_process.py"), folders, results],
        env={**os.environ, "PYTHONPATH": str(TESTS.parent), **environment},
        check=True,
    )
    return torch.load(results)


@pytest.fixture(scope="module")
def loaded(folders) -> dict[str, dict]:
    """What the process gave with a Hub, and what the next one gave when there was none."""
    with FakeHub() as hub, pytest.MonkeyPatch.context() as monkeypatch:
        hub.connect(monkeypatch, folders / "own_cache")
        for name in ("cascade", "base", "code", "plain"):
            publish(folders / name, f"me/{name}")
        hub.upload_folder("me/nameless", folders / "cascade")
        environment = hub.environment(folders / "cache")
        online = load(folders, environment)
    return {"online": online, "offline": load(folders, {**environment, "HF_HUB_OFFLINE": "1"})}


# One test, because each process that runs tests would make the fixture again.
@pytest.mark.slow
def test_every_way_of_loading_gives_the_images_of_the_pipeline_or_says_why_not(loaded):
    whole, base = images(tiny_cascade()), images(tiny_cascade(with_sr=False))
    offline = {
        "modular, copy": whole,
        "blocks": whole,
        "blocks, no modular files": whole,
        "blocks, base only": base,
        "standard": whole,
    }
    online = {
        **offline,
        **dict.fromkeys(("modular", "modular, folder", "modular, with code"), whole),
        "modular, base only": base,
        "modular, variant": images(tiny_cascade().to(torch.float16)),
    }
    for connection, expected in (("online", online), ("offline", offline)):
        found = loaded[connection]
        assert {name for name, value in found.items() if isinstance(value, torch.Tensor)} == set(expected)
        assert [name for name, value in expected.items() if not torch.equal(found[name], value)] == []
        assert "hub add-modular-files" in found["nameless"]
    assert "trust_remote_code=True" in loaded["online"]["without trust"]


def test_the_files_say_what_diffusers_wants(folders, tmp_path):
    shutil.copytree(folders / "cascade", tmp_path / "cascade")
    (tmp_path / "cascade" / "sr_unet" / "kept.txt").write_text("")
    write_modular_files(tmp_path / "cascade", "somebody/cascade")
    code, settings, index = ((tmp_path / "cascade" / name).read_text() for name in MODULAR_FILES)
    assert "from diffusers_tryon.modular import TryOnBlocks" in code
    assert json.loads(settings)["auto_map"] == {"ModularPipelineBlocks": "blocks.TryOnBlocks"}
    assert json.loads(settings)["requirements"] == {"diffusers-tryon": ">=0.1.0"}
    network = ["diffusers_tryon.models.unet_parallel", "ParallelUNetModel"]
    assert json.loads(index)["sr_unet"] == [
        *network,
        {
            "pretrained_model_name_or_path": "somebody/cascade",
            "revision": None,
            "subfolder": "sr_unet",
            "type_hint": network,
            "variant": None,
        },
    ]
    # The index is the one that Diffusers writes itself.
    pipe = TryOnBlocks().init_pipeline()
    specs = {name: pipe._component_spec_to_dict(spec) for name, spec in pipe._component_specs.items()}
    assert all(set(json.loads(index)[name][2]) == set(spec) for name, spec in specs.items() if spec is not None)


def test_a_push_names_the_repository_that_it_goes_to(folders, fake_hub):
    write_modular_files(folders / "cascade")
    publish(folders / "cascade", "me/first")
    publish(folders / "cascade", "me/second")
    publish(folders / "plain", "me/plain_one")
    for name in ("first", "second"):
        index = json.loads(fake_hub.files(f"me/{name}")["modular_model_index.json"])
        assert index["base_unet"][2]["pretrained_model_name_or_path"] == f"me/{name}"
    assert not set(MODULAR_FILES) & set(fake_hub.files("me/plain_one"))
    index = json.loads((folders / "cascade" / "modular_model_index.json").read_text())
    assert index["base_unet"][2]["pretrained_model_name_or_path"] is None


def test_naming_keeps_what_is_not_ours(folders, tmp_path):
    shutil.copytree(folders / "cascade", tmp_path / "mine")
    (tmp_path / "mine" / "blocks.py").write_text("# Somebody's own.\n")
    path = tmp_path / "mine" / "modular_model_index.json"
    index = json.loads(path.read_text())
    index["base_unet"][2] |= {"pretrained_model_name_or_path": "me/old", "revision": "v1"}
    index["sr_unet"][2]["pretrained_model_name_or_path"] = "somebody/else"
    path.write_text(json.dumps(index))
    shutil.rmtree(tmp_path / "mine" / "sr_unet")
    name_repository(tmp_path / "mine", "me/new")
    named = {name: entry[2] for name, entry in json.loads(path.read_text()).items() if isinstance(entry, list)}
    assert named["base_unet"]["pretrained_model_name_or_path"] == "me/new" and named["base_unet"]["revision"] is None
    assert named["base_scheduler"]["pretrained_model_name_or_path"] == "me/new"
    assert named["sr_unet"]["pretrained_model_name_or_path"] == "somebody/else"
    assert (tmp_path / "mine" / "blocks.py").read_text() == "# Somebody's own.\n"


def test_the_shipped_checkpoint_has_the_files_as_they_are_written(tmp_path):
    shipped = shipped_checkpoint("tryon-cascade-first")
    shutil.copyfile(shipped / "model_index.json", tmp_path / "model_index.json")
    write_modular_files(tmp_path)
    for name in MODULAR_FILES:
        assert (shipped / name).read_text() == (tmp_path / name).read_text(), name


def test_the_command_writes_the_files_and_refuses_what_is_no_pipeline(folders, tmp_path):
    shutil.copytree(folders / "plain", tmp_path / "plain")
    arguments = ["hub", "add-modular-files"]
    result = CliRunner().invoke(app, [*arguments, str(tmp_path / "plain"), "--repo-id", "me/plain"])
    assert result.exit_code == 0 and all(name in result.output for name in MODULAR_FILES)
    assert '"me/plain"' in (tmp_path / "plain" / "modular_model_index.json").read_text()
    with pytest.raises(ValueError, match="has no model_index.json"):
        write_modular_files(tmp_path)
    with pytest.raises(ValueError, match="a/b/c"):
        write_modular_files(tmp_path / "plain", "a/b/c")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plain"]
