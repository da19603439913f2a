# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""`diffusers-tryon evaluate` and `compare` from end to end: a tiny cascade on rendered people, and folders of pictures
whose figures are known."""

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from importlib.util import find_spec
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluation_folders import write_case
from PIL import Image
from tiny_cascade import SR_SIZE, tiny_cascade

from diffusers_tryon.cli import main
from diffusers_tryon.cli_evaluate import _PROTOCOL_NAMES
from diffusers_tryon.evaluation.bootstrap import mean_interval
from diffusers_tryon.evaluation.judging import Judge, collect, judge_pictures
from diffusers_tryon.evaluation.layout import METHODS, case_ids, claim_folder, picture_path
from diffusers_tryon.evaluation.protocols import PROTOCOLS
from diffusers_tryon.rendering.writer import write_pairs


ROOT = Path(__file__).parents[2]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
COUNT = 5
SHORT = ["--steps", "2", "--sr-steps", "1", "--count", str(COUNT), "--batch-size", "2", "--category", "upper"]


def run(*arguments: str | Path) -> tuple[int, str, str]:
    """Run `diffusers-tryon` in this process: (exit status, stdout, stderr)."""
    with (
        pytest.MonkeyPatch.context() as patch,
        redirect_stdout(StringIO()) as out,
        redirect_stderr(StringIO()) as err,
        pytest.raises(SystemExit) as stop,
    ):
        patch.setattr(sys, "argv", ["diffusers-tryon", *map(str, arguments)])
        main()
    return stop.value.code or 0, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """As launchers have it: the number of threads may move the last bits of a picture."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny_cascade().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory):
    """A finished evaluation: its folder and what was printed."""
    folder = tmp_path_factory.mktemp("whole") / "evaluation"
    status, out, err = run("evaluate", "--out", folder, "--model", model, *SHORT)
    assert status == 0, err
    assert "try-on: 100%" in err and "judging: 100%" in err
    return folder, out


def contents(folder: Path) -> dict[str, bytes]:
    """All files by their paths, but hidden ones, which a killed process leaves."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def launched(command: list) -> subprocess.CompletedProcess:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, env=environment)


def read(folder: Path) -> dict:
    return json.loads((folder / "evaluation.json").read_text())


# A model on rendered people


def test_the_result_is_that_of_the_pictures_in_the_folder(whole):
    folder, _ = whole
    result = read(folder)
    assert len(case_ids(folder)) == COUNT
    for method in METHODS:
        values = []
        for case_id in case_ids(folder):
            image, truth, mask = (
                np.asarray(Image.open(picture_path(folder, kind, case_id))) for kind in (method, "reference", "mask")
            )
            error = (image[mask > 0].astype(float) - truth[mask > 0]) / 255
            values.append(-10 * np.log10((error**2).mean()))
        figure, expected = result["methods"][method]["psnr_region"], mean_interval(np.array(values))
        found = [figure[name] for name in ("mean", "low", "high", "count")]
        assert found == pytest.approx(list(expected), rel=1e-4), method
    assert result["wins"].keys() == result["differences"].keys() == {"agnostic", "pasted"}
    assert result["methods"]["reference"].keys() == {
        "garment_colour", "garment_pattern", "pck", "parse_iou_garment", "parse_iou", "sleeve_error", "hem_error",
        "neckline_error",
    }  # fmt: skip
    assert result["methods"]["reference"]["garment_colour"]["mean"] == 0
    # Outside of the edited region nothing changes, which is no merit of one over the other.
    assert {method: result["methods"][method]["outside"]["mean"] for method in METHODS} == dict.fromkeys(METHODS, 0)
    assert "outside" not in result["wins"]["pasted"]
    assert result["metrics"]["psnr_region"] == {
        "title": "PSNR, edited region", "unit": "dB", "higher_is_better": True,
    }  # fmt: skip


def test_the_result_says_what_was_measured_and_how(whole, model):
    result = read(whole[0])
    assert result["protocol"]["name"] == "rendered" and "SSIM" in result["protocol"]["settings"]
    assert result["data"] | {"renderer_version": 0} == {
        "name": "rendered", "split": "test", "pairing": "unpaired", "category": "upper", "count": COUNT, "seed": 0,
        "size": [SR_SIZE, SR_SIZE], "renderer_version": 0,
    }  # fmt: skip
    assert result["model"]["name"] == "tiny" and len(result["model"]["weights_sha256"]) == 64
    # Defaults are stated too.
    assert result["model"]["call"] == {"num_inference_steps": 2, "sr_num_inference_steps": 1, "guidance_scale": 2.0}
    assert str(model) not in json.dumps(result)


def test_tables_settings_and_files_are_printed(whole):
    folder, printed = whole
    assert (folder / "evaluation.md").read_text() in printed
    assert re.search(r"\| PSNR, edited region \(dB\) ↑ *\| +\d+\.\d\d \[\d+\.\d\d, \d+\.\d\d\] \|", printed)
    assert "## Against the pasted garment" in printed and "- SSIM: of RGB" in printed
    files = [folder / name for name in ("evaluation.json", "evaluation.md", "cases.png")]
    assert printed.splitlines()[-1] == "wrote " + ", ".join(map(str, files))
    # Three panels of inputs and model, one of the pasted garment, the truth; fewer than nine cases are all shown.
    assert Image.open(folder / "cases.png").width == 5 * 200 + 8


@pytest.mark.skipif(find_spec("torchvision") is not None, reason="the extra `perceptual` is installed")
def test_a_metric_that_cannot_be_had_is_listed_and_the_others_come(whole):
    folder, printed = whole
    result = read(folder)
    assert (
        result["unavailable"].keys() == {"lpips"} and "diffusers-tryon[perceptual]" in result["unavailable"]["lpips"]
    )
    assert "## Not measured\n\n- LPIPS: " in printed
    assert {"psnr", "ssim", "ms_ssim", "psnr_region"} <= result["methods"]["model"].keys()
    assert "lpips" not in result["methods"]["model"]


def test_a_finished_evaluation_is_not_done_again(whole, model):
    folder, printed = whole
    made = [path for path in folder.rglob("*.png") if path.name != "cases.png"]
    made += (folder / "figures").rglob("*.json")
    before, times = contents(folder), [path.stat().st_mtime_ns for path in made]
    status, out, err = run("evaluate", "--out", folder, "--model", model, *SHORT)
    assert status == 0 and out == printed
    assert contents(folder) == before
    assert [path.stat().st_mtime_ns for path in made] == times and len(made) == COUNT * (7 + 4) + 1


def test_figures_that_are_missing_are_made_to_the_same_bytes(whole, model, tmp_path):
    folder, _ = whole
    copy = tmp_path / "evaluation"
    for path, content in contents(folder).items():
        if path not in ("evaluation.json", "figures/model/test-unpaired-upper-3.json"):
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            (copy / path).write_bytes(content)
    # As a killed process leaves them.
    (copy / "figures" / "model" / ".test-unpaired-upper-3.partial.json").write_text('{"psnr": 1')
    assert run("evaluate", "--out", copy, "--model", model, *SHORT)[0] == 0
    assert contents(copy) == contents(folder)


def test_processes_share_the_pictures_and_find_the_same_figures(whole, tmp_path):
    folder, _ = whole
    copy = tmp_path / "evaluation"
    for path, content in contents(folder).items():
        if not path.startswith("figures"):
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            (copy / path).write_bytes(content)
    judge = Judge(copy, PROTOCOLS["rendered"], is_paired=True)
    for index in (1, 0):
        judge_pictures(judge, index, 2, show_progress=False)
        judged = {path.stem for path in (copy / "figures" / "pasted").iterdir()}
        assert len(judged) == (COUNT if index == 0 else COUNT // 2)
    assert collect(judge).keys() == {*METHODS, "reference"}
    assert contents(copy / "figures") == contents(folder / "figures")


@pytest.mark.slow
def test_a_failure_of_one_process_ends_all_of_them(whole, model, tmp_path):
    copy = tmp_path / "evaluation"
    for path, content in contents(whole[0]).items():
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        (copy / path).write_bytes(content)
    # Of the last case, which is the first process's; the other waits for it.
    for path in (copy / "figures" / "model").iterdir():
        path.unlink()
    picture_path(copy, "model", case_ids(copy)[-1]).write_bytes(b"no picture")
    arguments = ["-m", "diffusers_tryon", "evaluate", "--out", copy, "--model", model, *SHORT]
    done = launched([*TORCHRUN, *arguments])
    assert done.returncode != 0
    assert "diffusers-tryon: error: `generated` must be a picture file such as PNG or JPEG" in done.stderr


@pytest.mark.slow
def test_a_killed_evaluation_goes_on_in_two_processes_to_the_same_bytes(whole, model, tmp_path):
    folder = tmp_path / "killed"
    arguments = ["evaluate", "--out", folder, "--model", model, *SHORT]
    script = f"""
import os, signal, sys
from diffusers_tryon.evaluation import generation
written = []

def write_and_die(*arguments):
    written.append(arguments)
    if len(written) == 20:  # in the second of three chunks
        os.kill(os.getpid(), signal.SIGKILL)
    write_image(*arguments)

write_image, generation.write_image = generation.write_image, write_and_die
from diffusers_tryon.cli import main
sys.argv = {["diffusers-tryon", *map(str, arguments)]!r}
main()
"""
    killed = launched([sys.executable, "-c", script])
    assert killed.returncode == -signal.SIGKILL
    assert len(case_ids(folder)) == 2 and not (folder / "figures").exists()
    launcher = [Path(sys.executable).with_name("accelerate"), "launch", "--multi_gpu", "--num_processes", "2"]
    done = launched([*launcher, "--main_process_port", "0", "-m", "diffusers_tryon", *arguments])
    assert done.returncode == 0, done.stderr
    assert contents(folder) == contents(whole[0])
    assert done.stdout.count("## Protocol") == 1


def test_figures_of_another_protocol_are_kept(whole, model, tmp_path):
    folder, _ = whole
    before = contents(folder)
    status, _, err = run("evaluate", "--out", folder, "--model", model, "--protocol", "hr-viton", *SHORT)
    assert status == 1 and "holds figures, to be removed for others of the same pictures" in err
    assert "protocol was" in err and contents(folder) == before


def test_pictures_of_other_settings_are_kept(whole, model):
    folder, _ = whole
    before = contents(folder)
    status, _, err = run("evaluate", "--out", folder, "--model", model, *SHORT, "--guidance", "3")
    assert status == 1 and "model.call.guidance_scale was 2.0 and is now 3.0" in err
    assert contents(folder) == before


# Baselines without a model


def test_baselines_alone_have_the_figures_that_they_have_beside_a_model(whole, tmp_path):
    arguments = ["--baselines-only", "--size", f"{SR_SIZE}x{SR_SIZE}", "--count", str(COUNT), "--category", "upper"]
    for _ in range(2):
        status, out, err = run("evaluate", "--out", tmp_path / "out", *arguments)
        assert status == 0, err
    result, beside_a_model = read(tmp_path / "out"), read(whole[0])
    beside_a_model["methods"].pop("model")
    assert result["methods"] == beside_a_model["methods"] and result["data"] == beside_a_model["data"]
    assert result["model"] is None and result["wins"] == {}
    assert out.startswith("# baselines alone, evaluated by protocol `rendered`") and "No baseline" not in out
    assert Image.open(tmp_path / "out" / "cases.png").width == 4 * 200 + 8
    assert not (tmp_path / "out" / "model").exists()


# A data set of photographs


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    write_pairs(folder, 4, SR_SIZE, split="test", category="upper")
    return folder


def test_pairs_of_a_data_set_are_compared_with_their_photographs(dataset, model, tmp_path):
    arguments = ["--dataset", dataset, "--pairing", "paired", "--protocol", "hr-viton", *SHORT[:4]]
    status, _, err = run("evaluate", "--out", tmp_path / "out", "--model", model, *arguments)
    assert status == 0, err
    result = read(tmp_path / "out")
    assert result["data"]["pairing"] == "paired" and result["data"]["count"] == 4
    assert {"ssim", "mse", "psnr_region"} <= result["methods"]["pasted"].keys()
    assert "reference" not in result["methods"]


def test_exchanged_garments_of_a_data_set_have_real_pictures_for_distances_alone(dataset, model, tmp_path):
    arguments = ["--dataset", dataset, "--protocol", "catvton", *SHORT[:4]]
    status, out, _ = run("evaluate", "--out", tmp_path / "out", "--model", model, *arguments)
    assert len(list((tmp_path / "out" / "real").glob("*.png"))) == 4
    assert not (tmp_path / "out" / "reference").exists()
    result = read(tmp_path / "out")
    assert result["unavailable"]["ssim"] == "what the pictures should show is not known"
    assert "psnr" not in result["methods"].get("model", {})
    assert Image.open(tmp_path / "out" / "cases.png").size[1] > 4 * 192
    # Without the networks of FID nothing is left.
    if not result["metrics"]:
        assert status == 1 and "Nothing could be measured.\n" in out and "- FID: " in out


def test_true_pictures_that_are_not_known_are_asked_for_before_anything_is_made(dataset, model, tmp_path):
    arguments = ["--dataset", dataset, "--protocol", "hr-viton"]
    status, _, err = run("evaluate", "--out", tmp_path / "out", "--model", model, *arguments)
    assert status == 1 and "--protocol hr-viton compares with true pictures" in err
    assert not (tmp_path / "out").exists()


# Folders of pictures


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """Three grey pictures that are too bright by 1, 2 and 4 in the upper half, which the masks mark."""
    truth, mask = np.full((64, 48, 3), 100, np.uint8), np.zeros((64, 48), np.uint8)
    mask[:32] = 255
    for number, error in enumerate((1, 2, 4)):
        brighter = truth.copy()
        brighter[:32] += np.uint8(error)
        write_case(tmp_path / "all", number, generated=brighter, reference=truth, masks=mask, agnostic=truth)
    return {name: tmp_path / "all" / name for name in ("generated", "reference", "masks", "agnostic")}


def as_options(folders: dict[str, Path]) -> list[str | Path]:
    return [word for name, folder in folders.items() for word in (f"--{name}", folder)]


def test_folders_with_known_errors_have_known_figures(folders, tmp_path):
    status, out, err = run("evaluate", "--out", tmp_path / "out", "--protocol", "rendered", *as_options(folders))
    assert status == 0, err
    result = read(tmp_path / "out")
    psnr = [20 * np.log10(255 / error) for error in (1, 2, 4)]
    assert result["methods"]["model"]["psnr_region"]["mean"] == pytest.approx(np.mean(psnr), rel=1e-5)
    # Half of the pixels have no error.
    assert result["methods"]["model"]["psnr"]["mean"] == pytest.approx(np.mean(psnr) + 10 * np.log10(2), rel=1e-5)
    assert result["methods"].keys() == {"model", "agnostic"}
    assert result["wins"]["agnostic"]["psnr_region"]["share"] == 0
    assert result["model"] is None and result["data"]["pairing"] == "paired" and result["data"]["count"] == 3
    assert out.startswith("# pictures as given, evaluated by protocol `rendered`")


def test_a_picture_newer_than_its_figures_is_judged_again(folders, tmp_path):
    out = tmp_path / "evaluation"
    arguments = ["evaluate", "--out", out, "--protocol", "ladi", *as_options(folders)]
    assert run(*arguments)[0] == 0
    changed = picture_path(out, "model", case_ids(out)[-1])
    figures = out / "figures" / "model" / f"{changed.stem}.json"
    assert json.loads(figures.read_text())["psnr"] < 100
    # Apart from the file that was given, which it may be a link to.
    changed.unlink()
    Image.open(picture_path(out, "reference", changed.stem)).save(changed)
    assert run(*arguments)[0] == 0
    assert json.loads(figures.read_text())["psnr"] == 100


def test_without_agnostic_images_there_is_no_baseline(folders, tmp_path):
    del folders["agnostic"], folders["masks"]
    status, out, err = run("evaluate", "--out", tmp_path / "out", "--protocol", "rendered", *as_options(folders))
    assert status == 0, err
    result = read(tmp_path / "out")
    assert result["methods"].keys() == {"model"} and result["wins"] == {}
    assert not any(name.endswith("_region") for name in result["metrics"])
    assert "No baseline" in out


def test_results_of_folders_are_compared_if_their_references_are_the_same(folders, tmp_path):
    options = ["--protocol", "rendered", *as_options(folders)]
    assert run("evaluate", "--out", tmp_path / "one", *options)[0] == 0
    folders["generated"] = folders["agnostic"]
    assert run("evaluate", "--out", tmp_path / "two", "--protocol", "rendered", *as_options(folders))[0] == 0
    status, out, err = run("compare", tmp_path / "one", tmp_path / "two" / "evaluation.json")
    assert status == 0, err
    row = next(line for line in out.splitlines() if line.startswith("| PSNR, edited region"))
    assert re.findall(r"\d+\.\d\d", row)[3] == "100.00"
    folders["reference"] = folders.pop("generated")
    folders["generated"] = tmp_path / "all" / "generated"
    brighter = np.asarray(Image.open(folders["reference"] / "case-000.png")) + np.uint8(1)
    Image.fromarray(brighter).save(folders["reference"] / "case-000.png")
    assert run("evaluate", "--out", tmp_path / "three", "--protocol", "rendered", *as_options(folders))[0] == 0
    status, _, err = run("compare", tmp_path / "one", tmp_path / "three")
    assert status == 1 and "`results` must be of one data" in err and "reference_sha256 is" in err


# What people get wrong


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--protocol", "best"], "`protocol` must be one of catvton, ladi, .*, got 'best'"),
        (["--reference", "x"], "--reference goes with --generated"),
        (["--generated", "x"], "--reference is missing"),
        (["--baselines-only"], "--size is missing"),
        (["--baselines-only", "--size", "32x32", "--steps", "3"], "--steps is for a model"),
        (["--baselines-only", "--size", "64x32"], "has square pictures, not 64 x 32: choose a square --size"),
        (["--baselines-only", "--generated", "x", "--reference", "y"], "--baselines-only is for a model"),
        (["--generated", "x", "--reference", "y", "--steps", "3"], "--steps is for a model"),
        (["--generated", "x", "--reference", "y", "--dataset", "z"], "--dataset is for a model"),
        (["--generated", "x", "--reference", "y"], "`generated` must be a folder of pictures, there is none at x"),
        (["--generated", "x", "--reference", "y", "--pairing", "unpaired"], "--protocol rendered compares with true"),
        (["--model", "no/such/model"], "`model` must be a folder or the id"),
        (["--pairing", "half"], "`pairing` must be one of paired, unpaired, got 'half'"),
        (["--split", "train"], "--split must be test for rendered people"),
        (["--dataset", "nowhere", "--category", "upper"], "--category is for --dataset rendered"),
        (["--dataset", "nowhere", "--garment-type", "flat"], "--garment-type is for --dataset rendered"),
        (["--garment-type", "hung"], "`garment_type` must be one of worn, flat, or None to draw it, got 'hung'"),
        (["--size", "64"], "`size` must be HEIGHTxWIDTH"),
        (["--size", "64x32"], "has square pictures, not 64 x 32"),
        (["--generated", "x", "--reference", "y", "--pairing", "half"], "`pairing` must be one of paired, unpaired"),
    ],
)  # fmt: skip
def test_bad_arguments_are_one_line_and_write_nothing(arguments, message, model, tmp_path):
    if not {"--generated", "--model", "--baselines-only"} & set(arguments):
        arguments = [*arguments, "--model", model]
    status, _, err = run("evaluate", "--out", tmp_path / "out", *arguments)
    lines = [line for line in err.splitlines() if line]
    assert status == 1 and len(lines) == 1 and re.search(message, lines[0]), err
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_left_alone(model, tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"")
    status, _, err = run("evaluate", "--out", tmp_path, "--model", model, *SHORT)
    assert status == 1 and "must be new or hold an evaluation" in err
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_a_folder_may_be_claimed_while_another_process_does(tmp_path):
    folder = tmp_path / "evaluation"
    folder.mkdir()
    (folder / ".settings.json.1").write_text("{")
    claim_folder(folder, {"seed": 0}, process_index=0)
    claim_folder(folder, {"seed": 0}, process_index=1)
    assert json.loads((folder / "settings.json").read_text()) == {"seed": 0}


def test_help_names_every_protocol():
    assert _PROTOCOL_NAMES.split(", ") == list(PROTOCOLS)
