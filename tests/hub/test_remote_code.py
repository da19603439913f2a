# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Exported repositories, loaded where the package cannot be imported, and by the package."""

import ast
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tokenize
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.utils.dynamic_modules_utils import get_relative_imports
from fake_hub import FakeHub
from huggingface_hub import ModelCard
from peft import LoraConfig, get_peft_model_state_dict
from PIL import Image
from tiny_cascade import BASE_SIZE, SR_SIZE, TINY_REFERENCE, cascade_inputs, random_unet, tiny_cascade
from typer.testing import CliRunner

from diffusers_tryon import TryOnCascadePipeline
from diffusers_tryon.cli import app
from diffusers_tryon.hub.cards import write_card
from diffusers_tryon.hub.modular_files import write_modular_files
from diffusers_tryon.hub.remote_code import code_files, export_remote_code
from diffusers_tryon.modular import TryOnBlocks
from diffusers_tryon.poses import load_pose, save_pose
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


@pytest.fixture(scope="module")
def code() -> dict[str, str]:
    return code_files()


def images(pipe: TryOnCascadePipeline) -> torch.Tensor:
    pipe.set_progress_bar_config(disable=True)
    return pipe(**cascade_inputs()).images


def reference_cascade() -> TryOnCascadePipeline:
    return TryOnCascadePipeline(
        base_unet=random_unet("reference-128", 0, **TINY_REFERENCE, sample_size=BASE_SIZE),
        base_scheduler=create_scheduler("ddim"),
        image_noising_scheduler=create_scheduler("ddpm"),
        sr_unet=random_unet("reference-256", 1, **TINY_REFERENCE, sample_size=SR_SIZE),
        sr_scheduler=create_scheduler("ddim"),
    )


def save_adapters(folder: Path) -> None:
    unet, config = tiny_cascade().base_unet, LoraConfig(r=2, target_modules=["to_q"], init_lora_weights=False)
    unet.add_adapter(config)
    TryOnCascadePipeline.save_lora_weights(
        folder,
        base_unet_lora_layers=get_peft_model_state_dict(unet),
        base_unet_lora_adapter_metadata=config.to_dict(),
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
    save_adapters(folder / "adapters")
    for name in ("", "_base", "_reference"):
        export_remote_code(folder / f"exported{name}", str(folder / f"plain{name}"), f"me/exported{name}")
    return folder


@pytest.fixture(scope="module")
def found(folders) -> dict:
    """What the process without the package gave."""
    inputs = cascade_inputs()
    del inputs["generator"]
    torch.save(inputs, folders / "inputs.pt")
    for name in ("agnostic", "garment"):
        Image.fromarray(inputs[f"{name}_image"][0]).save(folders / f"{name}.png")
    for name in ("person_pose", "garment_pose"):
        save_pose(inputs[name][0], folders / f"{name}.json")
    process = Path(__file__).with_name("remote_code_process.py")
    with FakeHub() as hub:
        hub.upload_folder("me/exported", folders / "exported_base")
        hub.tag("me/exported", "v1")
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

    adapted = TryOnCascadePipeline.from_pretrained(folders / "plain")
    adapted.load_lora_weights(folders / "adapters")
    whole, base = by_package("plain"), by_package("plain_base")
    expected = {
        **dict.fromkeys(("folder", "hub", "hub, cached", "offline", "device map", "encoded garment"), whole),
        **dict.fromkeys(("saved again", "saved twice", "pushed", "of its class"), whole),
        **dict.fromkeys(("base only", "base of a cascade", "base given", "revision"), base),
        "variant": by_package("plain", variant="fp16", dtype=torch.float16),
        "reference networks": by_package("plain_reference"),
        "adapters": images(adapted),
        "example": example(folders),
    }
    assert {name for name, value in found.items() if isinstance(value, torch.Tensor)} == set(expected)
    assert [name for name, value in expected.items() if not torch.equal(found[name], value)] == []
    assert not torch.equal(expected["adapters"], whole)
    assert [name for name in found["modules"] if name.split(".")[0] == "diffusers_tryon"] == []


def example(folder: Path) -> torch.Tensor:
    """What the package makes of the inputs of the card's example, with the settings that it leaves at their defaults."""
    pipe = TryOnCascadePipeline.from_pretrained(folder / "plain")
    output = pipe(
        agnostic_image=Image.open(folder / "agnostic.png"),
        garment_image=Image.open(folder / "garment.png"),
        person_pose=load_pose(folder / "person_pose.json"),
        garment_pose=load_pose(folder / "garment_pose.json"),
        generator=torch.Generator().manual_seed(0),
    )
    return torch.from_numpy(np.array(output.images[0]))


@pytest.mark.slow
def test_without_the_package_errors_are_clear(found):
    for name in ("without trust, folder", "without trust, hub"):
        assert "contains custom code in tryon_pipeline_" in found[name] and "trust_remote_code=True" in found[name]
    # What docs/hub.md says that Diffusers cannot do. If it can, the page is to be changed.
    assert found["offline by its id"].startswith("OfflineModeIsEnabled")
    assert found["photographs"].startswith("ImportError") and "pip install diffusers-tryon" in found["photographs"]


@pytest.mark.slow
def test_loading_runs_the_four_files_and_nothing_else_without_a_warning(found, code):
    assert {Path(file).name for file in found["code"]} - {"__init__.py"} == set(code)
    # Of `device_map="balanced"`, where Diffusers casts a network without weights.
    assert [text for text in found["warnings"] if "should be kept in float32: []" not in text] == []


@pytest.mark.slow
def test_the_file_in_a_network_s_folder_gives_the_same_class(found):
    assert found["class in a network's folder"]


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


def test_all_else_is_carried_over_as_it_is(folders, code):
    plain, exported = (
        {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (folders / "plain", folders / "exported")
    )
    changed = {name for name in plain if exported[name] != plain[name]}
    assert changed == {"README.md", "model_index.json"}
    new = set(exported) - set(plain)
    networks = next(name for name in code if name.startswith("unet_parallel_"))
    assert new == {*code, *(f"{name}_unet/load_{networks}" for name in ("base", "sr"))}


def test_the_card_says_how_it_loads(folders, code):
    card = ModelCard.load(folders / "exported" / "README.md")
    assert card.data.tags == ["clothes", "custom_code"] and card.data.license == "mit"
    headings = [line for line in card.text.splitlines() if line.startswith("#")]
    assert headings == ["# A cascade", "## Without installing the package", "## Use"]
    assert all(f"`{name}`" in card.text for name in code)
    assert str(folders) not in card.content


def test_a_repository_without_a_card_gets_one(folders):
    card = ModelCard.load(folders / "exported_base" / "README.md")
    assert card.data.library_name == "diffusers" and "custom_code" in card.data.tags
    headings = [line for line in card.text.splitlines() if line.startswith("#")]
    assert headings[:3] == ["# exported_base", "## Without installing the package", "## Use"]


def test_refreshing_the_card_keeps_what_was_added(folders, tmp_path):
    shutil.copytree(folders / "exported_base", tmp_path / "exported_base")
    card = tmp_path / "exported_base" / "README.md"
    before = card.read_text()
    write_card(tmp_path / "exported_base", "me/exported_base")
    assert card.read_text() == before


def test_the_generated_example_names_the_new_repository(folders, tmp_path):
    plain = tmp_path / "plain"
    shutil.copytree(folders / "plain_base", plain)
    write_card(plain, "somebody/old")
    export_remote_code(tmp_path / "exported", str(plain), "me/new")
    card = (tmp_path / "exported" / "README.md").read_text()
    assert "somebody/old" in (plain / "README.md").read_text() and "somebody/old" not in card
    assert 'DiffusionPipeline.from_pretrained("me/new", trust_remote_code=True)' in card
    assert '\npipe = TryOnCascadePipeline.from_pretrained("me/new")' in card


def test_modular_blocks_run_from_it_where_the_package_is(folders, fake_hub, tmp_path):
    plain = tmp_path / "plain"
    shutil.copytree(folders / "plain", plain)
    write_modular_files(plain, "somebody/old")
    export_remote_code(tmp_path / "exported", str(plain), "me/new")
    fake_hub.upload_folder("me/new", tmp_path / "exported")
    pipe = TryOnBlocks().init_pipeline("me/new")
    pipe.load_components()
    pipe.set_progress_bar_config(disable=True)
    by_package = TryOnCascadePipeline.from_pretrained(plain)
    by_package.set_progress_bar_config(disable=True)
    expected = by_package(**cascade_inputs(), sequential_guidance=True).images
    assert torch.equal(pipe(**cascade_inputs()).images, expected)


def test_two_exports_are_alike(folders, tmp_path):
    export_remote_code(tmp_path / "deeper" / "exported", str(folders / "plain"))
    files = {path.name for path in folders.joinpath("exported").glob("*.py")}
    assert {path.name for path in tmp_path.joinpath("deeper", "exported").glob("*.py")} == files
    for name in files:
        assert (tmp_path / "deeper" / "exported" / name).read_bytes() == (folders / "exported" / name).read_bytes()
    assert [path.name for path in tmp_path.joinpath("deeper").iterdir()] == ["exported"]


def test_a_pipeline_on_the_hub_is_exported_at_a_revision(folders, fake_hub, tmp_path):
    first = fake_hub.upload_folder("me/plain", folders / "plain_base")
    fake_hub.upload_folder("me/plain", folders / "plain")
    export_remote_code(tmp_path / "exported", "me/plain", revision=first)
    index = json.loads((tmp_path / "exported" / "model_index.json").read_text())
    assert index["base_unet"][1] == "ParallelUNetModel" and index.get("sr_unet", [None])[0] is None
    weights = "base_unet/diffusion_pytorch_model.safetensors"
    assert (tmp_path / "exported" / weights).read_bytes() == (folders / "plain_base" / weights).read_bytes()


def changed_index(folders: Path, folder: Path, **entries) -> str:
    shutil.copytree(folders / "plain_base", folder)
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | entries))
    return str(folder)


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ({"_class_name": "StableDiffusionPipeline"}, "must be a TryOnCascadePipeline, got a StableDiffusionPipeline"),
        ({"_class_name": ["code", "TryOnCascadePipeline"]}, "brings code already"),
        ({"base_unet": ["my_lab.networks", "MyUNet"]}, "`base_unet` is a MyUNet of my_lab.networks"),
    ],
)
def test_what_is_no_pipeline_of_this_code_is_refused(folders, tmp_path, entries, reason):
    with pytest.raises(ValueError, match=re.escape(reason)):
        export_remote_code(tmp_path / "exported", changed_index(folders, tmp_path / "plain", **entries))
    assert [path.name for path in tmp_path.iterdir()] == ["plain"]


def test_a_repository_without_a_pipeline_is_refused(folders, fake_hub, tmp_path):
    fake_hub.upload_folder("me/unet", folders / "plain" / "base_unet")
    with pytest.raises(ValueError, match="must be a pipeline, and it has no model_index.json"):
        export_remote_code(tmp_path / "exported", "me/unet")
    assert not (tmp_path / "exported").exists()


def test_a_folder_with_something_in_it_is_left_as_it_is(folders, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="`output` must be a new or empty folder"):
        export_remote_code(tmp_path, str(folders / "plain"))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_nothing_is_left_of_an_export_that_fails(folders, tmp_path):
    shutil.copytree(folders / "plain_base", tmp_path / "plain")
    (tmp_path / "plain" / "README.md").write_text("<!-- generated: what -->\nno end\n")
    with pytest.raises(ValueError, match="end of generated"):
        export_remote_code(tmp_path / "exported", str(tmp_path / "plain"))
    assert [path.name for path in tmp_path.iterdir()] == ["plain"]


def test_the_command(folders, tmp_path, code):
    command = ["hub", "export-remote-code", str(tmp_path / "exported"), "--model", str(folders / "plain_base")]
    result = CliRunner().invoke(app, [*command, "--repo-id", "me/code"])
    assert result.exit_code == 0, result.output
    assert all(name in result.output.replace("\n", "") for name in code)
    assert TryOnCascadePipeline.from_pretrained(tmp_path / "exported").sr_unet is None
    assert 'from_pretrained("me/code", trust_remote_code=True)' in (tmp_path / "exported" / "README.md").read_text()


# What the files are, read without the code that wrote them.


def test_every_module_is_there_whole_and_with_its_comments(code):
    seen = set()
    for text in code.values():
        for path, section in sections(text).items():
            source = (PACKAGE.parent / path).read_text()
            kept = [
                statement
                for statement in ast.parse(source).body
                if not isinstance(statement, (ast.Import, ast.ImportFrom))
                and not (isinstance(statement, ast.If) and statement.test.id == "TYPE_CHECKING")
                and getattr(statement, "name", None) != "TryOnPhotosOutput"
            ]
            assert [ast.dump(item) for item in ast.parse(section).body] == [ast.dump(item) for item in kept], path
            assert comments(section) == comments(source)[2:], path
            seen.add(path)
    prefix = "diffusers_tryon/"
    assert {path.removeprefix(prefix) for path in seen} == {
        "poses.py", "schedules.py", "image_processor.py", "composition.py", "composition_viton_hd.py",
        "models/inputs.py", "models/unet_parallel.py", "models/unet_parallel_reference.py",
        "pipelines/activation_memory.py", "pipelines/guidance.py", "pipelines/hub_download.py", "pipelines/inputs.py", "pipelines/lora.py",
        "pipelines/noise_streams.py", "pipelines/own_classes.py", "pipelines/pipeline_output.py",
        "pipelines/pipeline_tryon_cascade.py", "pipelines/stages.py",
        "hub/remote_code_optimization.py", "hub/remote_code_photos.py", "hub/remote_code_pipeline.py",
    }  # fmt: skip


def sections(text: str) -> dict[str, str]:
    """The text of each module in a file, by its path."""
    parts = re.split(r"^# -+\n# (diffusers_tryon/\S+\.py).*\n# -+\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


def comments(text: str) -> list[str]:
    return [
        token.string
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT
    ]


def test_the_files_use_nothing_that_runs_or_fetches_other_code(code):
    # psutil tells how much memory is free, and comes with accelerate.
    allowed = {"torch", "diffusers", "huggingface_hub", "numpy", "PIL", "psutil"}
    harmless = {
        "collections", "dataclasses", "fractions", "hashlib", "inspect", "itertools", "json", "math", "pathlib",
        "shutil", "time", "typing", "os",
    }  # fmt: skip
    for name, text in code.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                assert {alias.name.split(".")[0] for alias in node.names} <= allowed | harmless, name
            elif isinstance(node, ast.ImportFrom) and not node.level:
                assert node.module.split(".")[0] in allowed | harmless, name
            # Of `os` the annotation of paths alone.
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
                assert node.attr == "PathLike", name
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"exec", "eval", "compile", "__import__", "open"}, name


def test_diffusers_finds_the_files_that_each_file_imports(code, tmp_path):
    names = [name.removesuffix(".py") for name in code]
    found = {}
    for name, text in code.items():
        (tmp_path / name).write_text(text)
        found[name.removesuffix(".py")] = set(get_relative_imports(tmp_path / name))
    # It follows only those of the file that it loads, and would follow a circle for ever.
    assert found[names[-1]] == set(names[:-1])
    for number, name in enumerate(names[:-1]):
        assert found[name] <= set(names[:number])


def test_the_names_carry_a_hash_of_the_code(code, monkeypatch):
    monkeypatch.setattr("diffusers_tryon.hub.remote_code.__version__", "0.0.0")
    other = code_files()
    assert not set(other) & set(code)
    assert len({name.rpartition("_")[2] for name in other}) == 1
