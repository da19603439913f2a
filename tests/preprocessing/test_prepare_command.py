# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""`diffusers-tryon prepare`: files that `run` takes, a picture of all intermediates, and what is said of bad photos.

The back ends know the truth about the rendered photographs, see `rendered_backends`.
"""

import inspect
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from rendered_backends import rendered_photo, truth_preprocessor
from tiny_cascade import tiny_cascade

from diffusers_tryon import cli_prepare
from diffusers_tryon.data.parts import list_parts
from diffusers_tryon.data.validation import validate_parts
from diffusers_tryon.poses import load_pose
from diffusers_tryon.preprocessing.prepare_dataset import prepare_dataset
from diffusers_tryon.preprocessing.prepare_photos import prepare_photos
from diffusers_tryon.preprocessing.preprocessor import TryOnPreprocessor


PERSON_FILES = [
    *("agnostic.png", "agnostic_mask.png", "person.json", "person.png", "person_intermediates.png"),
    *("person_mask.png", "person_parse.png", "person_pose.json"),
]
FLAT_GARMENT_FILES = [
    *("garment.json", "garment.png", "garment_intermediates.png", "garment_mask.png", "garment_parse.png"),
]
GARMENT_FILES = sorted([*FLAT_GARMENT_FILES, "garment_pose.json"])
FLAT_COLOR = (200, 30, 60)


@pytest.fixture(scope="module")
def photos() -> dict[str, dict]:
    return {
        "anna": rendered_photo(1, "upper"),
        "bert": rendered_photo(6, "upper"),
        "dora": rendered_photo(3, "dress"),
    }


def flat_photo() -> Image.Image:
    """A T-shirt on a table."""
    image = Image.new("RGB", (200, 180), (240, 240, 235))
    outline = [
        (60, 30),
        (140, 30),
        (180, 60),
        (160, 85),
        (140, 72),
        (140, 160),
        (60, 160),
        (60, 72),
        (40, 85),
        (20, 60),
    ]
    ImageDraw.Draw(image).polygon(outline, fill=FLAT_COLOR)
    return image


@pytest.fixture
def command(command, photos, monkeypatch):
    """Run `diffusers-tryon` in this process, in a folder with photographs: (exit status, stdout, stderr)."""
    for name, photo in photos.items():
        Image.fromarray(photo["image"]).save(f"{name}.png")
    flat_photo().save("shirt.png")
    Path("broken.jpg").write_bytes(Path("anna.png").read_bytes()[:500])
    loaded = []

    def load(source, device):
        loaded.append((source, str(device)))
        return truth_preprocessor(list(photos.values()))

    monkeypatch.setattr(TryOnPreprocessor, "from_pretrained", load)

    command.loaded = loaded
    return command


def files(folder: str | Path) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def pixels(path: str | Path) -> np.ndarray:
    return np.asarray(Image.open(path))


# Single photographs


def test_a_person_and_a_garment_become_what_run_takes(command):
    arguments = ("--person-photo", "anna.png", "--garment-photo", "bert.png", "--category", "upper", "--out", "it")
    status, out, err = command("prepare", *arguments, "--size", "64x64", "--preprocessor", "hub", "--device", "cpu")
    assert status == 0, err
    assert command.loaded == [("hub", "cpu")]
    assert files("it/anna") == PERSON_FILES and files("it/bert") == GARMENT_FILES
    tiny_cascade().save_pretrained("model")
    line = next(line for line in out.splitlines() if line.startswith("to try it on: diffusers-tryon "))
    words = shlex.split(line.partition("diffusers-tryon ")[2])
    status, _, err = command(*words, "--model", "model", "--steps", "1", "--sr-steps", "1", "--quiet")
    assert status == 0, err
    assert Path("tryon.png").is_file()
    assert {word for word in words if word.startswith("--")} == {
        *("--agnostic-image", "--agnostic-mask", "--person-pose", "--garment-image", "--garment-pose", "--out"),
    }


def test_the_files_are_the_conditions_of_the_preprocessor(command, photos):
    assert command("prepare", "anna.png", "--category", "upper", "--out", "it", "--size", "64x64")[0] == 0
    assert files("it/anna") == sorted([*PERSON_FILES, *GARMENT_FILES])
    preprocessor = truth_preprocessor([photos["anna"]])
    prepared = preprocessor(photos["anna"]["image"], photos["anna"]["image"], category="upper", size=64)
    conditions = prepared.conditions
    for file, condition in (
        ("agnostic", "agnostic_image"),
        ("agnostic_mask", "agnostic_mask"),
        ("garment", "garment_image"),
    ):
        np.testing.assert_array_equal(pixels(f"it/anna/{file}.png"), np.asarray(conditions[condition][0]))
    np.testing.assert_allclose(load_pose("it/anna/person_pose.json"), conditions["person_pose"][0], atol=1e-5)
    np.testing.assert_allclose(load_pose("it/anna/garment_pose.json"), conditions["garment_pose"][0], atol=1e-5)
    person = prepared.people[0]
    np.testing.assert_array_equal(pixels("it/anna/person.png"), person.image)
    np.testing.assert_array_equal(pixels("it/anna/person_parse.png"), person.parse)
    # Here the estimator's mask is the truth, and so is the parser's.
    seen = pixels("it/anna/person_mask.png") > 127
    assert (seen == (person.parse > 0)).mean() > 0.98
    about = json.loads(Path("it/anna/person.json").read_text())
    assert about["category"] == "upper" and about["photo"] == "anna.png" and len(about["keypoints"]) == 18
    assert (about["crop"]["left"], about["crop"]["width"]) == (person.crop.left, person.crop.width)
    # The garment is white outside its mask.
    garment, mask = pixels("it/anna/garment.png"), pixels("it/anna/garment_mask.png")
    assert set(np.unique(mask)) == {0, 255} and mask.shape == garment.shape[:2]
    assert (garment[mask == 0] == 255).all(axis=-1).mean() > 0.9


def test_a_picture_shows_all_intermediates(command):
    assert command("prepare", "anna.png", "shirt.png", "--out", "it")[0] == 0
    for path in ("it/anna/person_intermediates.png", "it/anna/garment_intermediates.png"):
        with Image.open(path) as image:
            assert image.width > 4 * 256 and len(image.getcolors(image.width * image.height)) > 1000
    # The colour of the cloth that was cut out, beside that in the photograph.
    columns = np.nonzero((pixels("it/shirt/garment_intermediates.png") == FLAT_COLOR).all(-1).any(axis=0))[0]
    assert columns.max() - columns.min() > 512


def test_a_garment_alone_has_no_pose_and_an_old_one_is_removed(command):
    Path("it/shirt").mkdir(parents=True)
    Path("it/shirt/garment_pose.json").write_text("of another call")
    Path("it/shirt/notes.txt").write_text("kept")
    status, out, _ = command("prepare", "shirt.png", "--category", "upper", "--out", "it", "--size", "32x32")
    assert status == 0 and "shirt.png: flat garment of the category upper" in out
    assert files("it/shirt") == sorted([*FLAT_GARMENT_FILES, "notes.txt"])
    assert "to try it on" not in out


def test_the_category_of_the_garments_is_that_of_the_people(command):
    status, out, err = command("prepare", "--person-photo", "anna.png", "--garment-photo", "dora.png", "--out", "it")
    assert status == 0, err
    assert json.loads(Path("it/anna/person.json").read_text())["category"] == "dress"
    assert "anna.png: person for a garment of the category dress" in out


def test_no_garment_of_another_category_is_offered(command):
    """Who is prepared for a dress cannot be shown in a top, whichever photograph comes first."""
    status, out, err = command("prepare", "dora.png", "shirt.png", "--out", "it", "--size", "32x32")
    assert status == 0, err
    assert "person for a garment of the category dress" in out and "flat garment of the category upper" in out
    assert "to try it on" not in out and "no garment is of the category that a person was prepared for" in out
    Path("again.png").write_bytes(Path("dora.png").read_bytes())
    _, out, _ = command("prepare", "dora.png", "shirt.png", "again.png", "--out", "it", "--size", "32x32")
    assert "it/dora/agnostic.png" in out and "it/again/garment.png" in out and "it/shirt/garment.png" not in out


def test_the_others_are_written_when_one_is_broken(command):
    arguments = ("anna.png", "broken.jpg", "missing.png", "bert.png", "--out", "it", "--size", "32x32")
    for batch_size in ("1", "3"):
        status, out, err = command("prepare", *arguments, "--batch-size", batch_size)
        assert status == 1
        assert files("it") == ["anna", "bert"]
        assert "broken.jpg: nothing made" in out and "missing.png: nothing made" in out
        errors = [line for line in err.splitlines() if line.startswith("  error: ")]
        assert len(errors) == 2 and "`broken.jpg`" in errors[0] and "`missing.png`" in errors[1]


def test_somebody_who_is_not_there_is_asked_for_in_one_photograph(command, photos):
    status, out, err = command("prepare", "anna.png", "bert.png", "--person-index", "1", "--out", "it")
    assert status == 1 and "bert.png: nothing made" in out and err.count("`person_index` is 1") == 2


def test_a_photograph_without_a_person_is_an_error_only_if_a_person_is_wanted(command):
    status, _, err = command("prepare", "--person-photo", "shirt.png", "--out", "it")
    assert status == 1 and "  error: Nobody was found in `shirt.png`" in err
    assert not Path("it").exists()


def test_photographs_of_one_name_get_folders_of_their_own(command):
    Path("more").mkdir()
    Path("bert.png").rename("more/anna.png")
    status, out, _ = command("prepare", "anna.png", "more/anna.png", "anna.png", "--out", "it", "--size", "32x32")
    assert status == 0 and files("it") == ["anna", "anna-2"]
    assert json.loads(Path("it/anna-2/person.json").read_text())["photo"] == "more/anna.png"
    assert out.count("anna.png: ") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Name photographs, or a data set of them with --dataset"),
        (("anna.png", "--dataset", "photos"), "--dataset takes the place of photographs"),
        (("--person-index", "1", "--dataset", "photos"), "--dataset takes the place of photographs"),
        (("anna.png", "--limit", "3"), "--limit is for --dataset"),
        (("anna.png", "--size", "256"), "`size` must be HEIGHTxWIDTH in pixels, such as 256x192, got '256'"),
        (("anna.png", "--size", "0x8"), "`size` must be a height and a width of at least 1, got (0, 8)"),
        (("anna.png", "--category", "shoes"), "`category` must be one of auto, upper, lower, dress, got 'shoes'"),
        (("anna.png", "--garment-type", "folded"), "`garment_type` must be one of auto, worn, flat, got 'folded'"),
        (("anna.png", "--device", "tpu:9"), "`device`"),
        (("--dataset", "shirt.png"), "`source` must be a folder, a data set's id or a manifest"),
    ],
)
def test_bad_arguments_end_in_one_line(command, arguments, message):
    before = files(".")
    status, _, err = command("prepare", "--out", "it", *arguments)
    assert status == 1 and message in err and err.count("\n") == 1, err
    assert files(".") == before


def test_a_folder_that_cannot_be_written_is_one_line(command):
    Path("it").write_text("a file")
    status, _, err = command("prepare", "anna.png", "--out", "it")
    assert status == 1 and err.startswith("diffusers-tryon: error: ") and "it" in err and err.count("\n") == 1
    assert Path("it").read_text() == "a file"


def test_the_defaults_are_those_of_the_functions():
    shown = inspect.signature(cli_prepare.prepare).parameters
    for function in (prepare_dataset, prepare_photos):
        defaults = inspect.signature(function).parameters
        assert shown["size"].default == "{}x{}".format(*defaults["size"].default)
        for name in ("batch_size", "rows_per_shard", "category", "garment_type"):
            if name in defaults:
                assert shown[name].default == defaults[name].default


# Data sets


@pytest.fixture
def tree(command) -> Path:
    for folder in ("photos/person", "photos/garment"):
        Path(folder).mkdir(parents=True)
    for name, person, garment in (("a", "anna", "shirt"), ("b", "bert", "anna"), ("c", "shirt", "anna")):
        Path("photos/person", f"{name}.png").write_bytes(Path(f"{person}.png").read_bytes())
        Path("photos/garment", f"{name}.png").write_bytes(Path(f"{garment}.png").read_bytes())
    return Path("photos")


def test_a_data_set_becomes_rows_and_what_is_wrong_is_counted(command, tree):
    arguments = ("prepare", "--dataset", tree, "--category", "upper", "--out", "rows", "--size", "64x64")
    status, out, err = command(*arguments)
    assert status == 0, err
    assert "2 rows in 1 shard," in out and "1 row rejected" in out
    assert re.search(r"^ +1  Nobody was found in ", out, flags=re.M)
    assert validate_parts(list_parts("rows")).findings == []
    status, out, _ = command(*arguments)
    assert status == 0 and "0 rows in 0 shards" in out and "1 shard found finished" in out
    status, _, err = command(*arguments, "--preprocessor", "hub")
    assert status == 1 and "already holds other rows" in err


def test_a_folder_of_networks_may_move(command, tree):
    for place in ("one/networks", "two/networks"):
        Path(place).mkdir(parents=True)
        status, out, err = command("prepare", "--dataset", tree, "--out", "rows", "--preprocessor", place)
        assert status == 0, err
    assert "1 shard found finished" in out


def test_warnings_of_rows_are_counted(command, tree):
    # Two hundred pixels are few for a thousand.
    status, out, _ = command("prepare", "--dataset", tree, "--out", "rows", "--size", "1024x1024", "--limit", "2")
    assert status == 0 and re.search(r"^ +2  rows with LowResolutionWarning, see rows/__warnings__$", out, flags=re.M)


def test_a_data_set_of_which_nothing_can_be_used_is_a_failure(command, tree):
    for path in tree.glob("person/*"):
        path.write_bytes(b"no picture")
    status, out, _ = command("prepare", "--dataset", tree, "--out", "rows")
    assert status == 1 and "3 rows rejected" in out


def test_processes_share_a_data_set(command, tree, monkeypatch):
    arguments = ("prepare", "--dataset", tree, "--category", "upper", "--size", "32x32", "--rows-per-shard", "1")
    assert command(*arguments, "--out", "one")[0] == 0
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        status, out, _ = command(*arguments, "--out", "two")
        assert status == 0 and f"process {rank} of 2 on cpu: " in out
    for path in Path("one").glob("*.parquet"):
        assert (Path("two") / path.name).read_bytes() == path.read_bytes()
