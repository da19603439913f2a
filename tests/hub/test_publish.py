# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""`diffusers-tryon hub push`: what arrives on the Hub, what is removed there, and what is refused before."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from evaluation_example import EVALUATION
from fake_hub import TOKEN
from safetensors.torch import load_file, save_file
from tiny_cascade import tiny_cascade

from diffusers_tryon import TryOnCascadePipeline
from diffusers_tryon.checkpoints import shipped_checkpoint
from diffusers_tryon.evaluation.generation import weights_sha256
from diffusers_tryon.hub.cards import write_card
from diffusers_tryon.hub.export import save_pipeline
from diffusers_tryon.hub.modular_files import write_modular_files
from diffusers_tryon.hub.publish import validate
from diffusers_tryon.schedules import create_scheduler


ROOT = Path(__file__).parents[2]
UNET = "base_unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def push(command):
    """Run `diffusers-tryon hub push` in this process: (exit status, stdout, stderr)."""
    return lambda *arguments: command("hub", "push", *arguments)


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A whole pipeline folder with its card, to be copied."""
    folder = tmp_path_factory.mktemp("saved") / "model"
    tiny_cascade(with_sr=False).save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    write_card(folder, "me/model")
    return folder


@pytest.fixture
def folder(saved, tmp_path) -> Path:
    return shutil.copytree(saved, tmp_path / "model")


def names(fake_hub, repository: str = "me/model", revision: str = "main") -> set[str]:
    return set(fake_hub.files(repository, revision)) - {"pushed_files.json"}


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


# What arrives


def test_a_pipeline_arrives_and_loads_and_the_commit_is_named(push, fake_hub, folder):
    before = files_of(folder)
    status, printed, errors = push(folder, "me/model", "--private", "--message", "The first weights")
    assert (status, errors) == (0, "")
    *done, url = printed.splitlines()
    assert url == f"{fake_hub.url}/me/model/commit/{fake_hub.commits['me/model']['main']}"
    assert done[0].startswith("made a picture of 16 x 16 pixels")
    assert fake_hub.private == {"me/model"}
    assert names(fake_hub) == before == files_of(folder)
    expected = load_file(folder / UNET)
    weights = TryOnCascadePipeline.from_pretrained("me/model").base_unet.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in weights.items())


def test_a_second_push_removes_what_the_first_brought_and_nothing_else(push, fake_hub, folder):
    (folder / "notes.md").write_text("old")
    assert push(folder, "me/model")[0] == 0
    fake_hub.commit("me/model", {**fake_hub.files("me/model"), "theirs.txt": b"theirs"})
    (folder / "notes.md").unlink()
    (folder / "news.md").write_text("new")
    assert push(folder, "me/model")[0] == 0
    assert names(fake_hub) == files_of(folder) | {"theirs.txt"}


def test_a_dry_run_asks_the_hub_about_the_card_and_uploads_nothing(push, fake_hub, folder):
    status, printed, errors = push(folder, "me/model", "--dry-run")
    assert (status, errors) == (0, "") and "can be pushed to me/model as a model; nothing was uploaded." in printed
    assert fake_hub.requests == ["POST /api/validate-yaml"] and fake_hub.repositories == {}


def test_a_branch_and_a_pull_request_leave_the_main_branch_alone(push, fake_hub, folder):
    fake_hub.create("me/model")
    assert push(folder, "me/model", "--branch", "v2/first")[2] == ""
    status, printed, errors = push(folder, "me/model", "--create-pr")
    assert errors == ""
    assert status == 0 and printed.splitlines()[-1] == f"{fake_hub.url}/me/model/discussions/1"
    assert names(fake_hub) == set()
    assert names(fake_hub, revision="v2/first") == names(fake_hub, revision="refs/pr/1") == files_of(folder)
    assert push(folder, "me/model", "--create-pr", "--revision", "v2/first")[0] == 2


def test_a_network_of_transformers_a_space_and_a_stage_arrive(push, fake_hub, tmp_path):
    status, printed, errors = push(shipped_checkpoint("tryon-pose-small"), "me/pose")
    assert (status, errors) == (0, "") and "ran SegformerForSemanticSegmentation once" in printed

    status, printed, errors = push(ROOT / "hub_cards" / "tryon-space", "me/space", "--private")
    assert (status, errors) == (0, "") and f"{fake_hub.url}/spaces/me/space/commit/" in printed
    assert {"README.md", "app.py", "requirements.txt"} <= names(fake_hub, "spaces/me/space")

    unet = tiny_cascade().sr_unet
    save_pipeline(tmp_path / "sr", "sr", unet, None, "v_prediction", create_scheduler("ddpm"))
    (tmp_path / "sr" / "README.md").write_text("---\nlicense: mit\n---\n")
    write_card(tmp_path / "sr", "me/sr")
    status, printed, errors = push(tmp_path / "sr", "me/sr")
    assert (status, errors) == (0, "") and "ran the network once at 32 x 32 pixels" in printed


def test_a_data_set_arrives_as_one(push, fake_hub, tmp_path):
    from diffusers_tryon.rendering.writer import write_pairs

    write_pairs(tmp_path / "data", 2, 32, 0)
    (tmp_path / "data" / "README.md").write_text("---\nlicense: mit\n---\n# Data\n")
    status, printed, _ = push(tmp_path / "data", "me/data")
    assert status == 0 and "checked every row" in printed
    assert "train-00000.parquet" in names(fake_hub, "datasets/me/data")


# What the Hub refuses


@pytest.mark.parametrize(
    ("prepare", "arguments", "message"),
    [
        (lambda hub, patch: None, ("--token", "hf_wrong"), "the Hub does not accept the token"),
        (lambda hub, patch: hub.refused.update({"me/model": 403}), (), "the token may not write to me/model"),
        (lambda hub, patch: hub.gated.add("me/model"), (), "access to me/model is gated"),
        (lambda hub, patch: hub.faults.append(503), (), "the Hub answered 503"),
        (lambda hub, patch: patch.delenv("HF_TOKEN"), (), "the Hub does not accept the token"),
    ],
    ids=["401", "403", "gated", "503", "no token"],
)
def test_what_the_hub_refuses_is_one_line(push, fake_hub, folder, monkeypatch, prepare, arguments, message):
    fake_hub.create("me/model")
    # The check of the card comes first.
    assert push(folder, "me/model", "--dry-run")[0] == 0
    monkeypatch.setattr("diffusers_tryon.hub.publish.ask_hub_about_card", lambda *given: [])
    prepare(fake_hub, monkeypatch)
    status, _, errors = push(folder, "me/model", *arguments)
    assert status == 1 and len(errors.splitlines()) == 1
    assert errors.startswith("diffusers-tryon: error: Nothing was pushed to me/model: ") and message in errors
    assert names(fake_hub) == set()


def test_without_a_network_nothing_is_pushed_and_a_dry_run_says_what_it_did_not_check(
    push, fake_hub, folder, monkeypatch
):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    status, _, errors = push(folder, "me/model")
    assert status == 1 and errors.startswith(
        "diffusers-tryon: error: The Hub was not asked about the card: ConnectErr"
    )
    status, printed, errors = push(folder, "me/model", "--dry-run")
    assert status == 0 and "warning: The Hub was not asked about the card" in errors and "nothing was" in printed
    assert fake_hub.requests == []


def test_a_card_that_the_hub_refuses_is_a_problem_in_its_words(push, fake_hub, folder):
    card = (folder / "README.md").read_text()
    (folder / "README.md").write_text(card.replace("license: mit", "license: of my own"))
    status, _, errors = push(folder, "me/model")
    assert status == 1 and 'the Hub says: "license" must be one of' in errors and "problems: 1." in errors
    assert fake_hub.repositories == {}


# What is found before


def test_every_problem_is_listed_and_nothing_is_uploaded(push, fake_hub, folder):
    (folder / UNET).write_bytes((folder / UNET).read_bytes()[:-100])
    (folder / "optimizer.pt").write_bytes(b"")
    (folder / "old.ckpt").write_bytes(b"")
    (folder / "notes.txt").write_text(f"see /home/somebody/runs and {TOKEN}{'a' * 30}".replace("hf_fake", "hf_"))
    (folder / "config.json").write_text("{")
    (folder / "extra.json").write_text('{"_name_or_path": "/data/runs/first"}')
    (folder / "README.md").write_text(
        "---\nlicense: mit\ntags: [a]\nbase_model: ../mine\nmodel-index:\n- name: a\n  results: [{}]\n---\n"
        "![a](missing.png) [b](../elsewhere) <img src='none.jpg'> [More Information Needed] `![](code.png)`\n"
    )
    status, printed, errors = push(folder, "me/model")
    assert (status, printed) == (1, "")
    lines = errors.splitlines()
    for expected in (
        f"{UNET}: it is no whole file of safetensors",
        "optimizer.pt: 'optimizer.pt' is a leftover",
        "old.ckpt: a pickle",
        "notes.txt: it names a place on somebody's machine: /home/somebody",
        "notes.txt: it holds what looks like a token",
        "config.json: it is no JSON",
        "extra.json: `_name_or_path` is a place",
        "README.md: the front matter lacks `library_name`",
        "README.md: the front matter lacks `pipeline_tag`",
        "README.md: `base_model` must hold ids on the Hub, got '../mine'",
        "README.md: `model-index` is not well-formed",
        "README.md: missing.png is shown or linked, and is not there",
        "README.md: none.jpg is shown or linked",
        "README.md: ../elsewhere is outside of the repository",
        "README.md: '[More Information Needed]' was never filled in",
        "it does not load or run",
        "the Hub says: ",
    ):
        assert any(expected in line for line in lines), expected
    assert not any("code.png" in line for line in lines)
    assert lines[-1] == f"Nothing was pushed to me/model: problems: {len(lines) - 1}."
    assert fake_hub.repositories == {}


def test_a_link_does_not_bring_what_lies_elsewhere(push, fake_hub, folder, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("mine")
    (tmp_path / "elsewhere").mkdir()
    (folder / "notes.txt").symlink_to(secret)
    (folder / "more").symlink_to(tmp_path / "elsewhere")
    (folder / "gone").symlink_to(tmp_path / "nowhere")
    (folder / "again.md").symlink_to(folder / "README.md")
    status, _, errors = push(folder, "me/model")
    assert status == 1 and fake_hub.repositories == {}
    assert "notes.txt: a link to a file outside of the folder" in errors
    assert "more: a link to a folder" in errors and "gone: a link to nothing" in errors
    assert "again.md" not in errors


def test_a_snapshot_in_the_hubs_cache_is_links_and_can_be_pushed(fake_hub, folder):
    fake_hub.upload_folder("me/cached", folder)
    snapshot = Path(TryOnCascadePipeline.download("me/cached"))
    assert (snapshot / UNET).is_symlink()
    shutil.copy(folder / "README.md", snapshot / "README.md")
    assert validate(snapshot).problems == []


@pytest.mark.parametrize(
    "model_index", ["nope", {"a": 1}, [{"name": "x"}], [{"name": "x", "results": [{"task": {"type": "t"}}]}], []]
)
def test_a_malformed_model_index_is_one_problem_among_others(folder, model_index):
    card = folder / "README.md"
    entries, body = card.read_text().split("---\n", 2)[1:]
    values = {**yaml.safe_load(entries), "model-index": model_index}
    card.write_text(f"---\n{yaml.safe_dump(values)}---\n{body}")
    (folder / "weights.bin").write_bytes(b"pickle")
    problems = validate(folder).problems
    assert any("`model-index` is not well-formed" in problem for problem in problems)
    assert any("weights.bin" in problem for problem in problems)
    before = card.read_text()
    try:
        write_card(folder)
    except ValueError as error:
        assert "`model-index` in the card's front matter must be" in str(error) and card.read_text() == before


def test_entries_of_somebody_elses_stay_in_a_modular_index(push, fake_hub, folder):
    write_modular_files(folder)
    index = folder / "modular_model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "mine": ["a", "b", {}], "other": ["a", "b", "c"]}))
    assert push(folder, "me/model")[0] == 0
    pushed = json.loads(fake_hub.files("me/model")["modular_model_index.json"])
    assert pushed["mine"] == ["a", "b", {}] and pushed["other"] == ["a", "b", "c"]
    assert pushed["base_unet"][2]["pretrained_model_name_or_path"] == "me/model"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: {name: value * float("nan") for name, value in weights.items()}, "are not finite"),
        (lambda weights: {name: value * 0 for name, value in weights.items()}, "one flat colour"),
    ],
    ids=["NaN", "zeros"],
)
def test_weights_that_make_no_picture_are_found(folder, change, message):
    # A network that predicts the clean picture: of zeros it is grey.
    path = folder / "base_scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "prediction_type": "sample"}))
    write_card(folder)
    save_file(change(load_file(folder / UNET)), folder / UNET)
    (problem,) = validate(folder).problems
    assert message in problem


def test_an_evaluation_of_other_weights_is_found(folder):
    pipeline = TryOnCascadePipeline.from_pretrained(folder, dtype=torch.float16)
    model = {**EVALUATION["model"], "dtype": "float16", "weights_sha256": weights_sha256(pipeline)}
    (folder / "evaluation.json").write_text(json.dumps({**EVALUATION, "model": model}))
    assert validate(folder).problems == []
    weights = load_file(folder / UNET)
    save_file({name: value * 0.5 for name, value in weights.items()}, folder / UNET)
    assert validate(folder).problems == [
        "evaluation.json: it was measured with other weights than those in the folder"
    ]


def test_a_network_that_runs_into_nan_or_lacks_weights_is_found(tmp_path):
    folder = shutil.copytree(shipped_checkpoint("tryon-pose-small"), tmp_path / "tryon-pose-small")
    weights = load_file(folder / "model.safetensors")
    save_file({name: value * float("nan") for name, value in weights.items()}, folder / "model.safetensors")
    assert validate(folder).problems == ["the network's output has values that are not finite"]
    (folder / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    first, second = validate(folder).problems
    assert first.startswith("model.safetensors: a pointer of git LFS") and "does not load" in second


def test_a_broken_space_is_found(tmp_path):
    (tmp_path / "README.md").write_text("---\ntitle: T\nsdk: gradio\nlicense: mit\n---\n")
    (tmp_path / "app.py").write_text("def (:\n")
    validation = validate(tmp_path)
    assert validation.repo_type == "space"
    assert validation.problems == ["requirements.txt: it is missing", "app.py: it is no Python: " + SYNTAX]


SYNTAX = "invalid syntax (app.py, line 1)"


def test_what_is_no_repository_is_said(push, fake_hub, tmp_path):
    status, _, errors = push(tmp_path / "missing", "me/model")
    assert status == 1 and "`folder` must be a folder" in errors
    (tmp_path / "empty").mkdir()
    problems = validate(tmp_path / "empty").problems
    assert [problem.split(":")[0] for problem in problems[:2]] == [
        f"there are no files in {tmp_path}/empty",
        "README.md",
    ]
    assert "it is neither a pipeline" in problems[2]
    assert fake_hub.requests == []
