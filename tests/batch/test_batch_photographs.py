# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""`diffusers-tryon batch` on photographs: each is looked at once, and the pictures are whole photographs.

The back ends know the truth about the rendered photographs, see `rendered_backends`.
"""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_cascade import SR_SIZE, tiny_cascade

from diffusers_tryon.batch.generation import noise_seed
from diffusers_tryon.preprocessing.preprocessor import TryOnPreprocessor


sys.path.insert(0, str(Path(__file__).parents[1] / "preprocessing"))

from rendered_backends import rendered_photo, truth_preprocessor  # noqa: E402


SHORT = {"num_inference_steps": 1, "sr_num_inference_steps": 1}
OPTIONS = ["--steps", 1, "--sr-steps", 1, "--model", "model", "--out", "out"]


@pytest.fixture
def looked_at(command, monkeypatch) -> list[str]:
    """A folder with photographs and a model; the names of the photographs that were looked at since."""
    photos = {name: rendered_photo(seed) for name, seed in (("anna", 1), ("bert", 6), ("cleo", 3))}
    for name, photo in photos.items():
        Image.fromarray(photo["image"]).save(f"{name}.png")
    Path("broken.jpg").write_bytes(Path("anna.png").read_bytes()[:500])
    tiny_cascade().save_pretrained("model")
    preprocessor = truth_preprocessor(list(photos.values()))
    names: list[str] = []
    analyse_read = preprocessor.analyse_read

    def noted(read, indices):
        names.extend(Path(photo.name).stem for photo in read)
        return analyse_read(read, indices)

    monkeypatch.setattr(preprocessor, "analyse_read", noted)
    monkeypatch.setattr(TryOnPreprocessor, "from_pretrained", lambda *arguments: preprocessor)
    return names


def test_each_photograph_is_looked_at_once_and_comes_back_whole(command, looked_at):
    Path("rows.csv").write_text(
        "id,person_photo,garment_photo,category\nanna,anna.png,,\nbert,bert.png,,\nlost,broken.jpg,,\n"
        "shirt,,cleo.png,upper\nbad,,broken.jpg,upper\n"
    )
    words = ["batch", "rows.csv", "--all-pairs", *OPTIONS, "--batch-size", 2]
    status, out, err = command(*words)
    assert status == 1 and "2 pictures made" in out and "4 rows failed" in out, err
    assert sorted(looked_at) == ["anna", "bert", "cleo"]
    with open("out/failures.csv", newline="") as file:
        failures = {line["id"]: line["error"] for line in csv.DictReader(file)}
    assert set(failures) == {"lost__shirt", "anna__bad", "bert__bad", "lost__bad"}
    assert all("broken.jpg is broken or cut short" in error for error in failures.values()), failures

    # The same as in one call from photographs.
    pipeline, preprocessor = tiny_cascade(), TryOnPreprocessor.from_pretrained()
    single = pipeline.try_on(
        "anna.png", "cleo.png", preprocessor, category="upper",
        generator=torch.Generator().manual_seed(noise_seed(0, "anna__shirt")), **SHORT,
    )  # fmt: skip
    picture = np.asarray(Image.open("out/pictures/anna__shirt.png")).astype(int)
    assert picture.shape == rendered_photo(1)["image"].shape
    # Poses in files have five digits.
    assert np.abs(picture - np.asarray(single.images[0])).max() <= 2

    # Another call looks at nothing again but what could not be read.
    looked_at.clear()
    Path("out/pictures/bert__shirt.png").unlink()
    Path("broken.jpg").write_bytes(Path("cleo.png").read_bytes())
    status, out, err = command(*words)
    assert status == 0 and "5 pictures made, 6 in" in out, err
    assert sorted(looked_at) == ["broken", "broken"]  # as a person and as a garment


def test_a_photograph_in_two_rows_is_looked_at_once_and_crops_may_be_kept(command, looked_at):
    Path("rows.csv").write_text("id,person_photo,garment_photo\n1,anna.png,cleo.png\n2,anna.png,bert.png\n")
    status, _, err = command("batch", "rows.csv", *OPTIONS, "--crops")
    assert status == 0, err
    # Once as the person of both pictures.
    assert sorted(looked_at) == ["anna", "bert", "cleo"]
    assert Image.open("out/pictures/1.png").size == (SR_SIZE, SR_SIZE)
