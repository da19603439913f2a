# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""docs/datasets.md: its import commands run on trees of each source, and it names what the code has."""

import re
import shlex
import sys
from pathlib import Path

import pytest
from source_trees import dress_code_tree, viton_hd_tree
from source_trees_deepfashion import in_shop_tree, multimodal_tree
from typer.main import get_command

from diffusers_tryon.cli import app, main
from diffusers_tryon.data.importers import IMPORTERS
from diffusers_tryon.data.importers.base import TryOnPair
from diffusers_tryon.data.importers.manifest import OPTIONAL_COLUMNS, REQUIRED_COLUMNS
from diffusers_tryon.data.schema import EXTRA_COLUMNS, dataset_features
from diffusers_tryon.preprocessing.photo_pairs import list_photo_pairs


TEXT = (Path(__file__).resolve().parents[2] / "docs" / "datasets.md").read_text()
COMMANDS = list(dict.fromkeys(re.findall(r"^diffusers-tryon import .*$", TEXT, flags=re.M)))
# The folders that the commands name.
TREES = {
    "zalando-hd-resized": viton_hd_tree,
    "DressCode": dress_code_tree,
    "In-shop": in_shop_tree,
    "DeepFashion-MultiModal": multimodal_tree,
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    for name, make_tree in TREES.items():
        make_tree(folder / name)
    return folder


@pytest.mark.parametrize("command", [command for command in COMMANDS if "manifest" not in command])
def test_import_commands_run(command, sources, tmp_path, monkeypatch):
    words = shlex.split(
        command.replace(" --workers 8", "").replace("--parse-dir parses", "--parse-dir In-shop/parses")
    )
    words[words.index("--out") + 1] = str(tmp_path)
    monkeypatch.chdir(sources)
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    assert list(tmp_path.glob("*-00000.parquet")) and not (tmp_path / "rejected").exists()


def test_the_check_of_a_source_runs(sources, monkeypatch):
    command = re.search(r"^diffusers-tryon validate .*--source.*$", TEXT, flags=re.M)[0]
    monkeypatch.chdir(sources)
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code


def test_every_source_has_a_command_and_its_home_page():
    for name, importer in IMPORTERS.items():
        assert any(command.startswith(f"diffusers-tryon import {name} ") for command in COMMANDS)
        assert name == "manifest" or importer.home_page in TEXT


def test_the_columns_of_manifests_and_rows_are_the_code_s():
    manifest = TEXT.split("### Photographs with label maps and keypoints")[1].split("\n## ")[0]
    rows = TEXT.split("## What a row holds")[1].split("\n## ")[0]
    in_table = {
        name for line in re.findall(r"^\| (`.*?) \|", manifest, flags=re.M) for name in re.findall(r"`(\w+)`", line)
    }
    assert in_table == set(REQUIRED_COLUMNS + OPTIONAL_COLUMNS)
    in_table = {
        name for line in re.findall(r"^\| (`.*?) \|", rows, flags=re.M) for name in re.findall(r"`(\w+)`", line)
    }
    assert in_table == set(dataset_features(EXTRA_COLUMNS))


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_the_examples_of_manifests_are_manifests(kind, tmp_path):
    example = re.search(rf"```{kind}\n(.*?)```", TEXT, flags=re.S)[1]
    (tmp_path / f"train.{kind.replace('json', 'jsonl')}").write_text(example)
    (entry,) = IMPORTERS["manifest"].list_pairs(tmp_path)
    assert isinstance(entry, TryOnPair) and entry.person.image.parent == tmp_path


def test_the_example_of_a_list_of_photographs_is_one(tmp_path):
    (tmp_path / "photos.jsonl").write_text(re.search(r"```jsonl\n(.*?)```", TEXT, flags=re.S)[1])
    worn, flat = list_photo_pairs(tmp_path / "photos.jsonl")
    assert worn.garment.path == tmp_path / "anna2.jpg"
    assert (flat.category, flat.garment_type, flat.garment_id) == ("upper", "flat", "shirt-7")


@pytest.mark.parametrize(
    "words", re.findall(r"diffusers[-_]tryon prepare (.*)$", TEXT.replace("\\\n", " "), flags=re.M)
)
def test_commands_that_prepare_have_options_that_there_are(words):
    get_command(app).commands["prepare"].make_context("prepare", shlex.split(words))


def test_links_inside_the_document_lead_somewhere():
    headings = {
        re.sub(r"[^\w -]", "", line).strip().lower().replace(" ", "-")
        for line in re.findall(r"^#+ (.*)$", TEXT, flags=re.M)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= headings
