# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The package as it is installed: what a wheel holds, and that the command runs from it away from the checkout."""

import configparser
import os
import re
import shutil
import site
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import diffusers_tryon
from diffusers_tryon.checkpoints import DEFAULT_CHECKPOINT, shipped_checkpoint
from diffusers_tryon.poses import load_pose


ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "samples" / "rendered"


def run(*command: str | Path, **options) -> str:
    """Run a program and return what it printed; fails with its errors."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A wheel of the checkout, built from a copy, so that nothing is left in it and nothing old is packed."""
    source = tmp_path_factory.mktemp("source")
    for name in ("diffusers_tryon", "hub_cards", "samples"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, source)
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, source)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """An environment's folder with the wheel installed, which finds the dependencies of this one but not the
    checkout."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel)
    # A path in a .pth file adds the packages there, but not the hook by which an editable install finds the checkout.
    packages = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    (Path(packages) / "dependencies.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    return folder


@pytest.fixture
def environment() -> dict[str, str]:
    """The variables of this process without those that lead Python to the checkout."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def configuration() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def test_every_package_is_listed():
    listed = configuration()["options"]["packages"].split()
    found = [path.parent for path in (ROOT / "diffusers_tryon").rglob("__init__.py")]
    names = {".".join(path.relative_to(ROOT).parts) for path in found}
    names |= {"diffusers_tryon.hub_cards", "diffusers_tryon.samples"}
    assert sorted(listed) == sorted(names)


def test_every_dependency_is_pinned():
    settings = configuration()
    requirements = settings["options"]["install_requires"].splitlines()
    for extra in settings["options.extras_require"].values():
        requirements += [line for line in extra.splitlines() if not line.startswith("diffusers-tryon")]
    names = {re.match(r"[\w.-]+", line)[0].lower().replace("_", "-") for line in requirements if line.strip()}
    pins = dict(re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / "constraints.txt").read_text(), flags=re.M))
    assert names <= {name.lower().replace("_", "-") for name in pins}
    assert pins["torch"] == "2.13.0"


def test_the_wheel_holds_what_the_package_reads_at_run_time(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    data = [
        path.relative_to(ROOT)
        for path in (ROOT / "diffusers_tryon").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    packed = ("hub_cards", "samples/photos", "samples/rendered")
    files = [path for folder in packed for path in (ROOT / folder).rglob("*") if path.is_file()]
    data += ["diffusers_tryon" / path.relative_to(ROOT) for path in files]
    assert [str(path) for path in data if str(path) not in names] == []
    assert {name.split("/")[0] for name in names} == {
        "diffusers_tryon",
        f"diffusers_tryon-{diffusers_tryon.__version__}.dist-info",
    }
    assert {"LICENSE", "NOTICE"} <= {name.rsplit("/", 1)[-1] for name in names}


def test_the_wheel_is_small_enough_to_share(wheel):
    assert wheel.stat().st_size < 40 * 2**20


def test_the_installed_command_runs_the_shipped_checkpoint(installed, environment, tmp_path):
    python = installed / "bin" / "python"
    where = run(python, "-c", "import diffusers_tryon; print(diffusers_tryon.__file__)", cwd=tmp_path, env=environment)
    assert Path(where.strip()).is_relative_to(installed)
    command = installed / "bin" / "diffusers-tryon"
    version = run(command, "--version", cwd=tmp_path, env=environment)
    assert version == f"diffusers-tryon {diffusers_tryon.__version__}\n"

    printed = run(
        command, "run",
        "--agnostic-image", SAMPLE / "agnostic.png", "--person-pose", SAMPLE / "person_pose.json",
        "--garment-image", SAMPLE / "garment.png", "--garment-pose", SAMPLE / "garment_pose.json",
        "--steps", "2", "--sr-steps", "2", "--out", "tryon.png", "--all-stages",
        cwd=tmp_path, env=environment,
    )  # fmt: skip
    model = Path(printed.splitlines()[0].split(": ")[0])
    assert model.is_relative_to(installed) and model.name == DEFAULT_CHECKPOINT
    assert Image.open(tmp_path / "tryon.png").size == (128, 128)
    assert (tmp_path / "tryon_stages.png").is_file()


def test_the_installed_package_has_its_presets_and_its_body(installed, environment, tmp_path):
    python = installed / "bin" / "python"
    script = "import diffusers_tryon; print(*diffusers_tryon.list_presets()); diffusers_tryon.create_unet('tiny-base')"
    printed = run(python, "-c", script, cwd=tmp_path, env=environment)
    assert printed.split() == diffusers_tryon.list_presets()
    command = installed / "bin" / "diffusers-tryon"
    run(command, "render", "--out", "data", "--count", "1", "--size", "32", cwd=tmp_path, env=environment)
    assert (tmp_path / "data" / "train-00000.parquet").is_file()


def test_the_shipped_checkpoint_is_found_and_an_unknown_one_refused():
    assert (shipped_checkpoint() / "model_index.json").is_file()
    with pytest.raises(ValueError, match="`name` must be a checkpoint that comes with the package, got 'tryon-4k'"):
        shipped_checkpoint("tryon-4k")


@pytest.mark.parametrize(
    "folder, poses",
    [("rendered", ["person_pose.json", "garment_pose.json"]), ("astronaut", ["pose.json"])],
)
def test_the_samples_are_what_their_readme_says(folder, poses):
    def pixels(name: str) -> np.ndarray:
        return np.asarray(Image.open(ROOT / "samples" / folder / name))

    mask = pixels("agnostic_mask.png")
    assert set(np.unique(mask)) == {0, 255}
    assert (pixels("agnostic.png")[mask == 255] == 128).all()
    assert np.array_equal(pixels("agnostic.png")[mask == 0], pixels("person.png")[mask == 0])
    assert pixels("garment.png").shape == (256, 256, 3) and (pixels("garment.png")[0] == 255).all()
    for name in poses:
        assert (load_pose(ROOT / "samples" / folder / name)[:, 2] > 0).sum() >= 12


@pytest.mark.parametrize(
    "document",
    [
        "README.md", "samples/README.md", "training/README.md", "docs/app.md", "docs/datasets.md", "docs/hub.md",
        "docs/preprocessing.md", "hub_cards/README.md",
    ],
)  # fmt: skip
def test_what_the_documents_link_to_exists(document):
    text = (ROOT / document).read_text()
    links = re.findall(r"\]\(([^)#]+)", text)
    missing = [link for link in links if "://" not in link and not ((ROOT / document).parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize(
    ("number", "last", "size"),
    [(0, 'garment.jpg")', (768, 768)), (1, "manual_seed(0),\n)", (128, 128))],
    ids=["photographs", "conditions"],
)
def test_the_examples_of_the_readme_run(number, last, size, tmp_path):
    example = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.S)[number]
    few_steps = last.removesuffix(")").rstrip(",\n") + ", num_inference_steps=1, sr_num_inference_steps=1)"
    example = example.replace(last, few_steps).replace('"samples/', f'"{ROOT}/samples/')
    assert "num_inference_steps=1" in example
    run(sys.executable, "-c", example, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert Image.open(tmp_path / "tryon.png").size == size
