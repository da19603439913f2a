# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Cards of folders: what is in them, that a refresh keeps what people wrote, and that the shipped ones are right."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
import yaml
from evaluation_example import EVALUATION
from huggingface_hub import ModelCard, SpaceCard
from PIL import Image
from tiny_cascade import tiny_cascade

from diffusers_tryon.hub import cards
from diffusers_tryon.hub.card_text import find_blocks, refresh_card
from diffusers_tryon.hub.cards import write_card
from diffusers_tryon.schedules import PREDICTION_TYPES, SCHEDULERS, create_scheduler, usable_schedulers


ROOT = Path(__file__).parents[2]
SHIPPED = sorted(path.parent for path in (ROOT / "hub_cards").glob("*/README.md"))
MODELS = [folder for folder in SHIPPED if "sdk:" not in (folder / "README.md").read_text()]
# Below which headings people expect what; every card of a model has them.
SECTIONS = [
    "Use", "Inputs and output", "Data", "Training", "Figures", "Limits", "Biases", "Intended and refused uses",
    "Licences", "Citation",
]  # fmt: skip


def save_pipeline(folder: Path, **options) -> Path:
    tiny_cascade(**options).save_pretrained(folder)
    return folder


def sections(card: str) -> dict[str, str]:
    """Texts by their headings "## ...", code left out."""
    without_code = re.sub(r"```.*?```", "", card, flags=re.DOTALL)
    parts = re.split(r"^## (.*)\n", without_code, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


def front_matter(card: str) -> dict:
    return yaml.safe_load(card.split("---\n")[1])


# Building


def test_a_pipeline_of_which_only_the_configuration_is_known(tmp_path):
    save_pipeline(tmp_path / "mine")
    path = write_card(tmp_path / "mine")
    card, parts = path.read_text(), sections(path.read_text())
    assert [name for name in SECTIONS + ["Schedulers"] if name not in parts] == []
    assert front_matter(card) == {
        "library_name": "diffusers",
        "pipeline_tag": "image-to-image",
        "license": "unknown",
        "tags": ["virtual-try-on", "tryondiffusion", "pixel-space", "diffusers-tryon"],
    }
    number = sum(value.numel() for value in tiny_cascade().base_unet.parameters())
    assert f"| parameters | {number:,}, float32 |" in card
    assert "| pictures | 16 x 16 pixels | 32 x 32 pixels |" in card
    for row in ("| source | unknown |", "| licence of the data | unknown |"):
        assert row in parts["Data"]
    assert "| images seen | unknown |" in parts["Training"] and "| time | unknown |" in parts["Training"]
    assert "No evaluation left a record" in parts["Figures"]
    assert "not examined" in parts["Biases"] and "not stated" in parts["Licences"]
    assert "fashn-AI/tryondiffusion" in card and "A Tale of Two" in card and "MIT" in parts["Citation"]
    assert "None" not in card and str(tmp_path) not in card


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
def test_the_schedulers_called_usable_are_those_that_can_be_made(prediction_type):
    pytest.importorskip("torchsde")
    usable = []
    for name in SCHEDULERS:
        try:
            create_scheduler(name, prediction_type=prediction_type)
            usable.append(name)
        except ValueError:
            pass
    assert usable_schedulers(prediction_type) == (usable, [name for name in SCHEDULERS if name not in usable])


def test_an_evaluation_is_told_to_people_and_to_programs(fake_hub, tmp_path):
    folder = save_pipeline(tmp_path / "tiny", with_sr=False)
    (folder / "evaluation.json").write_text(json.dumps(EVALUATION))
    assert "(cases.png)" not in write_card(folder, "me/tiny").read_text()
    Image.new("RGB", (2, 2)).save(folder / "cases.png")
    card = write_card(folder, "me/tiny").read_text()
    figures = sections(card)["Figures"]
    assert "### Protocol rendered on the data rendered, unpaired, upper" in figures
    assert "rendered: Ours, for rendered people. Called with `num_inference_steps=30`. Higher is better" in figures
    cells = [re.split(r" *\| *", line.strip("| \n")) for line in figures.splitlines() if line.startswith("|")]
    assert ["64 cases", "model", "agnostic image", "pasted garment", "true picture"] in cells
    assert ["PSNR, edited region (dB) ↑", "13.94 [13.50, 14.30]", "12.24 [11.60, 12.80]", "–", "–"] in cells
    assert ["FID ↓", "41.23", "–", "–", "–"] in cells
    assert ["PSNR, edited region (dB) ↑", "+1.70 [+1.10, +2.30]", "80% [70%, 88%]"] in cells
    assert "(cases.png)" in figures
    assert "Not measured: lpips (its weights cannot be fetched)." in figures
    assert ["ssim, window", "11"] in cells and ["versions, torch", "2.13.0"] in cells
    assert ["model, schedulers, base_scheduler", "DDIMScheduler"] in cells and "0.2" not in figures
    assert "comparison with other methods" not in sections(card)["Limits"]
    ModelCard(card).validate()
    (model,) = front_matter(card)["model-index"]
    (result,) = model["results"]
    assert model["name"] == "tiny" and result["task"] == {"type": "image-to-image", "name": "virtual try-on"}
    assert (result["dataset"]["type"], result["dataset"]["split"]) == ("rendered", "test")
    assert [(metric["type"], metric["value"], metric.get("args")) for metric in result["metrics"]] == [
        ("psnr_region", 13.94, {"confidence": 0.95, "low": 13.5, "high": 14.3}),
        ("fid", 41.234, None),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "of format 'diffusers-tryon/evaluation' and version 1, .* has "),
        ({"format": "else"}, "of format 'diffusers-tryon/evaluation' and version 1"),
        ({"data": None}, "is no evaluation"),
        ({"wins": {"agnostic": {"fid": {}}}}, "'share'"),
    ],
)
def test_an_evaluation_that_cannot_be_read_is_named_and_the_card_stays(tmp_path, change, message):
    folder = save_pipeline(tmp_path / "tiny", with_sr=False)
    (folder / "README.md").write_text("mine")
    (folder / "evaluation.json").write_text(json.dumps({**EVALUATION, **change}))
    with pytest.raises(ValueError, match=rf"evaluation.json\b.*{message}"):
        write_card(folder)
    assert (folder / "README.md").read_text() == "mine"


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"format": "else"}, 'must have `"format"'),
        ({"licence": "mit"}, "has the field 'licence'; a record has repository"),
        ({"limits": "none"}, "'limits' must be a list, got 'none'"),
    ],
)
def test_a_training_record_that_cannot_be_read_is_named(tmp_path, record, message):
    folder = save_pipeline(tmp_path / "tiny", with_sr=False)
    head = {"format": "diffusers-tryon/training-record", "version": 1}
    (folder / "training_record.json").write_text(json.dumps({**head, **record}))
    with pytest.raises(ValueError, match=message):
        write_card(folder)


def test_the_training_record_of_the_documentation_is_one_and_its_facts_reach_the_card(tmp_path):
    folder = save_pipeline(tmp_path / "tiny", with_sr=False)
    examples = re.findall(r"```json\n(.*?)```", (ROOT / "docs" / "hub.md").read_text(), flags=re.DOTALL)
    (record,) = [example for example in examples if "training-record" in example]
    (folder / "training_record.json").write_text(record)
    card = write_card(folder).read_text()
    parts = sections(card)
    assert "| source | our catalogue of 2025 |" in parts["Data"] and "| hardware | 8 GPUs |" in parts["Training"]
    assert "It knows tops alone." in parts["Limits"] and "aged 20 to 40" in parts["Biases"]
    assert "| training data | our own photographs, with consent |" in parts["Licences"]
    assert front_matter(card)["license"] == "apache-2.0" and 'from_pretrained("me/my-cascade")' in card


def test_what_is_no_repository_has_no_card(tmp_path):
    with pytest.raises(ValueError, match="no folder that a card can be made for: it has neither model_index.json"):
        write_card(tmp_path)
    assert list(tmp_path.iterdir()) == []


# Refreshing

HAND_WRITTEN = """---
# why this licence: see below
license: openrail
tags: [mine, diffusers-tryon]
thumbnail: "pictures/a.png"  # small
model-index:
- name: old
  results:
  - task: {type: image-to-image, name: virtual try-on}
    dataset: {type: rendered, name: rendered}
    metrics: [{type: psnr, value: 1}]
  - task: {type: other, name: sock matching}
    dataset: {type: socks, name: Socks}
    metrics: [{type: pairs, value: 2}]
---
# My title

My words at the top.

## Use

My words on use, with a `# comment`:

```bash
## no heading
```

## My own section

My section.

## Limits

My limits.
"""


def test_a_refresh_keeps_every_sentence_that_people_wrote(tmp_path):
    folder = save_pipeline(tmp_path / "tiny", with_sr=False)
    (folder / "README.md").write_text(HAND_WRITTEN)
    card = write_card(folder).read_text()
    for line in HAND_WRITTEN.split("---\n", 2)[2].splitlines():
        assert line in card
    parts = sections(card)
    assert list(parts) == [
        "Use", "Inputs and output", "Schedulers", "Data", "Training", "Figures", "My own section", "Limits", "Biases",
        "Intended and refused uses", "Licences", "Citation",
    ]  # fmt: skip
    assert parts["Limits"].index("generated") < parts["Limits"].index("My limits.")
    data = front_matter(card)
    assert "| weights | `openrail` |" in parts["Licences"]
    assert data["license"] == "openrail" and data["thumbnail"] == "pictures/a.png"
    assert "# why this licence: see below\n" in card and 'thumbnail: "pictures/a.png"  # small\n' in card
    assert data["tags"][-1] == "mine" and data["tags"].count("diffusers-tryon") == 1
    (model,) = data["model-index"]
    assert [result["task"]["name"] for result in model["results"]] == ["sock matching"]


def test_a_second_refresh_changes_nothing_and_a_new_figure_only_what_is_generated(tmp_path):
    folder = save_pipeline(tmp_path / "tiny", with_sr=False)
    (folder / "README.md").write_text(HAND_WRITTEN)
    first = write_card(folder).read_text()
    assert write_card(folder).read_text() == first
    edited = first.replace("My limits.", "My newer limits.")
    (folder / "README.md").write_text(edited)
    (folder / "evaluation.json").write_text(json.dumps(EVALUATION))
    second = write_card(folder).read_text()
    assert "13.94 [13.50, 14.30]" in second and "My newer limits." in second

    def hand_written(card: str) -> str:
        for block in find_blocks(card):
            card = card.replace(block.text, "")
        return card.split("---\n", 2)[2]

    assert hand_written(second) == hand_written(edited)
    (folder / "evaluation.json").unlink()
    assert write_card(folder).read_text() == edited


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ("# x\n\n<!-- generated: use -->\n", "but not '<!-- end of generated: use -->' after it"),
        ("<!-- generated: use -->\n<!-- end of generated: use -->\n" * 2, "two generated blocks 'use'"),
        ("---\nlicense: [\n---\n", "The front matter is no YAML"),
        ("---\n- license\n---\n", "must have entries"),
    ],
)
def test_a_card_whose_marks_or_front_matter_are_broken_is_left_alone(tmp_path, card, message):
    folder = save_pipeline(tmp_path / "tiny", with_sr=False)
    (folder / "README.md").write_text(card)
    with pytest.raises(ValueError, match=re.escape(message)):
        write_card(folder)
    assert (folder / "README.md").read_text() == card


def test_a_card_of_another_system_with_its_line_ends_is_refreshed():
    card = refresh_card("---\r\nlicense: mit\r\n---\r\n# T\r\n\r\nWords.\r\n", {"license": "apache-2.0"}, RENDERED)
    assert card == (
        "---\nlicense: apache-2.0\n---\n\n# T\n\nWords.\n\n## A\n\n"
        "<!-- generated: a -->\n\na\n\n<!-- end of generated: a -->\n"
    )


RENDERED = "# x\n\n## A\n\n<!-- generated: a -->\n\na\n\n<!-- end of generated: a -->\n"


# The shipped cards


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_the_hub_takes_every_shipped_card(folder, fake_hub):
    card = (folder / "README.md").read_text()
    (SpaceCard if folder not in MODELS else ModelCard)(card).validate()
    assert any(request.endswith("/validate-yaml") for request in fake_hub.requests)


@pytest.mark.parametrize("folder", MODELS, ids=lambda folder: folder.name)
def test_a_shipped_card_is_whole_and_a_refresh_changes_nothing(folder, tmp_path, monkeypatch):
    copy = shutil.copytree(folder, tmp_path / folder.name, copy_function=os.symlink)
    (copy / "README.md").unlink()
    shutil.copy(folder / "README.md", copy)
    # The example of a folder that comes with the package looks for it there.
    monkeypatch.setattr(cards, "shipped_checkpoint", lambda name: tmp_path / name)
    card = (folder / "README.md").read_text()
    assert [name for name in SECTIONS if name not in sections(card)] == []
    assert write_card(copy).read_text() == card
    assert "model-index" in front_matter(card) or not list(folder.glob("evaluation*.json"))


@pytest.mark.parametrize("folder", MODELS, ids=lambda folder: folder.name)
def test_the_code_of_a_shipped_card_runs(folder, tmp_path, monkeypatch):
    code = "\n".join(re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), flags=re.DOTALL))
    assert code
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    if "pipe" in names:
        assert Image.open("tryon.png").size == (128, 128)
    elif "labels" in names:
        assert names["labels"].shape == (256, 256) and set(names["labels"].unique().tolist()) >= {0, 1, 2, 3}
    else:
        assert names["pose"].shape == (18, 3) and names["pose"][0, 2] > 0.25
