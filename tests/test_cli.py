# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The command line: what it offers, what it writes, and that bad input ends in one readable line."""

import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_cascade import tiny_cascade

from diffusers_tryon import TryOnCascadePipeline, __version__
from diffusers_tryon.pipelines.optimization import best_settings
from diffusers_tryon.schedules import SCHEDULERS, create_scheduler


ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "samples" / "rendered"
PARITY = ROOT / "tests" / "parity"

OPTIONS = {
    "run": [
        "--person-photo", "--garment-photo", "--category", "--garment-type", "--person-index", "--preprocessor",
        "--model", "--agnostic-image", "--garment-image", "--person-pose", "--garment-pose", "--agnostic-mask", "--out",
        "--steps", "--sr-steps", "--guidance", "--sr-guidance", "--scheduler", "--seed", "--dtype", "--device",
        "--optimize", "--low-memory", "--all-stages", "--height", "--width", "--last-stage", "--quiet", "--help",
    ],
    "app": [
        "--model", "--dtype", "--device", "--optimize", "--preprocessor", "--host", "--port", "--share", "--open",
        "--no-open", "--queue-size", "--help",
    ],
    "batch": [
        "--out", "--all-pairs", "--limit", "--dry-run", "--model", "--dtype", "--device", "--optimize", "--batch-size",
        "--size", "--last-stage", "--steps", "--sr-steps", "--guidance", "--sr-guidance", "--scheduler", "--seed",
        "--category", "--garment-type", "--preprocessor", "--crops", "--help",
    ],
    "convert": ["--out", "--config", "--prediction", "--ema", "--no-ema", "--help"],
    "import": [
        "--root", "--out", "--split", "--pairs", "--category", "--recipe", "--size", "--limit", "--rows-per-shard",
        "--workers", "--help",
    ],
    "evaluate": [
        "--out", "--protocol", "--model", "--dtype", "--device", "--optimize", "--batch-size", "--dataset", "--split",
        "--pairing", "--category", "--count", "--seed", "--size", "--steps", "--sr-steps", "--guidance", "--sr-guidance",
        "--scheduler", "--last-stage", "--generated", "--reference", "--masks", "--agnostic", "--help",
    ],
    "compare": ["--help"],
    "hub card": ["--repo-id", "--help"],
    "hub export-remote-code": ["--model", "--repo-id", "--revision", "--token", "--help"],
    "hub push": [
        "--private", "--revision", "--branch", "--create-pr", "--message", "--token", "--dry-run", "--help",
    ],
    "prepare": [
        "--person-photo", "--garment-photo", "--person-index", "--dataset", "--split", "--limit", "--rows-per-shard",
        "--category", "--garment-type", "--size", "--preprocessor", "--device", "--batch-size", "--out", "--help",
    ],
    "repack": ["--out", "--format", "--rows-per-shard", "--help"],
    "render": [
        "--out", "--count", "--size", "--seed", "--workers", "--split", "--unpaired", "--category", "--rows-per-shard",
        "--help",
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory) -> Path:
    """A pipeline folder with random weights, 16 -> 32 pixels, whose every input matters to the result."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny_cascade().save_pretrained(folder)
    return folder


def run_arguments(pipeline: str | Path, **changes: str | Path | float | None) -> list[str]:
    """Arguments of a short `run` on the sample; `garment_image=PATH` and the like replace or, with None, drop one."""
    values = {
        "model": pipeline,
        "agnostic_image": SAMPLE / "agnostic.png",
        "garment_image": SAMPLE / "garment.png",
        "person_pose": SAMPLE / "person_pose.json",
        "garment_pose": SAMPLE / "garment_pose.json",
        "steps": 2,
        "sr_steps": 2,
        "out": "out.png",
        **changes,
    }
    given = {name: value for name, value in values.items() if value is not None}
    return ["run", *(word for name, value in given.items() for word in ("--" + name.replace("_", "-"), str(value)))]


def one_line(stderr: str) -> str:
    """The error line; fails if there is anything else, such as a traceback."""
    lines = stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("diffusers-tryon: error: "), stderr
    return lines[0]


# Help


@pytest.mark.parametrize("name", OPTIONS)
def test_help_shows_every_option_and_an_example(name, command):
    status, out, _ = command(*name.split(), "--help")
    assert status == 0
    assert [option for option in OPTIONS[name] if not re.search(rf"[\s│,]{option}[\s,]", out)] == []
    assert f"diffusers-tryon {name} " in out


def test_help_of_run_tells_the_defaults_of_the_pipeline(command):
    defaults = inspect.signature(TryOnCascadePipeline.__call__).parameters
    text = " ".join(re.sub(r"[│╭╮╰╯─]", " ", command("run", "--help")[1]).split())
    for option, parameter in (
        ("--steps", "num_inference_steps"),
        ("--sr-steps", "sr_num_inference_steps"),
        ("--guidance", "guidance_scale"),
    ):
        entry = re.search(rf" {option} <.*?\[default: \((.*?)\)\]", text)
        assert float(entry[1]) == defaults[parameter].default
    assert defaults["sr_guidance_scale"].default is None  # follows the base stage, as the help says


def test_help_of_run_names_every_scheduler(command):
    text = " ".join(re.sub(r"[│╭╮╰╯─]", " ", command("run", "--help")[1]).split())
    listed = re.search(r"Sampler of every stage: (.*?)\. ", text)[1]
    assert listed.split(", ") == list(SCHEDULERS)


def test_no_arguments_show_the_commands(command):
    _, out, _ = command()
    assert all(name.split()[0] in out for name in OPTIONS)


def test_version(command):
    assert command("--version")[:2] == (0, f"diffusers-tryon {__version__}\n")


@pytest.mark.parametrize("name", ["", *OPTIONS])
def test_help_does_not_wait_for_torch(name):
    arguments = ["diffusers-tryon", *name.split(), "--help"]
    script = (
        "import sys\n"
        "from diffusers_tryon.cli import main\n"
        f"sys.argv = {arguments!r}\n"
        "try:\n    main()\nexcept SystemExit:\n    print('torch' in sys.modules, 'diffusers' in sys.modules)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "False False"


# run


def test_run_from_another_folder_as_a_program(tiny_model, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, "-m", "diffusers_tryon", *run_arguments(tiny_model, out="new/tryon.png"), "--all-stages"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["tryon.png", "tryon_stages.png"]
    assert Image.open(tmp_path / "new" / "tryon.png").size == (32, 32)
    assert re.search(r"base +16 x 16 px +\d+\.\d s", run.stdout)
    assert re.search(r"sr +32 x 32 px +\d+\.\d s", run.stdout)
    assert "2/2" in run.stderr  # the progress bars


def test_run_is_the_pipeline_with_the_same_seed(tiny_model, command):
    from diffusers_tryon.poses import load_pose

    arguments = run_arguments(tiny_model, seed=3, guidance=3.0, agnostic_mask=SAMPLE / "agnostic_mask.png")
    assert command(*arguments)[0] == 0
    expected = TryOnCascadePipeline.from_pretrained(tiny_model)(
        agnostic_image=Image.open(SAMPLE / "agnostic.png"),
        garment_image=Image.open(SAMPLE / "garment.png"),
        person_pose=load_pose(SAMPLE / "person_pose.json"),
        garment_pose=load_pose(SAMPLE / "garment_pose.json"),
        agnostic_mask=Image.open(SAMPLE / "agnostic_mask.png"),
        num_inference_steps=2,
        sr_num_inference_steps=2,
        guidance_scale=3.0,
        generator=torch.Generator().manual_seed(3),
    ).images[0]
    assert np.array_equal(Image.open("out.png"), expected)


def test_run_takes_a_model_from_the_hub_with_little_memory_too(tiny_model, command, fake_hub):
    fake_hub.upload_folder("me/cascade", tiny_model)
    assert command(*run_arguments(tiny_model, out="folder.png"))[0] == 0
    for options in ([], ["--low-memory"]):
        status, out, err = command(*run_arguments("me/cascade", out="hub.png"), *options)
        assert status == 0, err
        assert out.startswith("me/cascade: float32 on ") and "meta" not in out
        assert Path("folder.png").read_bytes() == Path("hub.png").read_bytes()


def test_the_same_seed_gives_the_same_picture_and_another_does_not(tiny_model, command):
    for out, seed in (("a.png", 1), ("b.png", 1), ("c.png", 2)):
        assert command(*run_arguments(tiny_model, out=out, seed=seed))[0] == 0
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()
    assert Path("a.png").read_bytes() != Path("c.png").read_bytes()


@pytest.mark.parametrize(
    "change",
    [{"garment_pose": None}, {"scheduler": "heun"}, {"guidance": 4.0}, {"sr_guidance": 4.0}, {"steps": 3}, {"sr_steps": 3}],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_options_change_the_picture(change, tiny_model, command):
    assert command(*run_arguments(tiny_model, out="plain.png"))[0] == 0
    assert command(*run_arguments(tiny_model, out="changed.png", **change))[0] == 0
    assert Path("plain.png").read_bytes() != Path("changed.png").read_bytes()


def test_last_stage_stops_after_the_base_stage(tiny_model, command):
    assert command(*run_arguments(tiny_model, last_stage="base"))[0] == 0
    assert Image.open("out.png").size == (16, 16)


def test_height_and_width_set_the_size_for_pictures_of_another_ratio(tiny_model, command):
    Image.open(SAMPLE / "agnostic.png").crop((0, 0, 128, 256)).save("tall.png")
    Image.open(SAMPLE / "garment.png").crop((64, 0, 192, 256)).save("tall_garment.png")
    tall = {"agnostic_image": "tall.png", "garment_image": "tall_garment.png"}
    assert command(*run_arguments(tiny_model, **tall, height=32, width=16))[0] == 0
    assert Image.open("out.png").size == (16, 32)
    status, _, err = command(*run_arguments(tiny_model, **tall))
    assert status == 1 and "`agnostic_image` of height 256 and width 128 would be distorted" in one_line(err)


def test_weights_in_bfloat16(tiny_model, command):
    status, out, _ = command(*run_arguments(tiny_model, dtype="bfloat16"))
    assert status == 0 and "bfloat16 on cpu" in out
    assert np.asarray(Image.open("out.png")).std() > 0


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1), (None, 24)])
def test_an_optimized_model_makes_the_same_picture_within_the_rounding_of_its_type(
    dtype, tolerance, tiny_model, command
):
    assert command(*run_arguments(tiny_model, out="plain.png"))[0] == 0
    status, out, err = command(*run_arguments(tiny_model, dtype=dtype, device="cpu"), "--optimize")
    settings = best_settings(torch.device("cpu"), torch.float32 if dtype else None)
    assert status == 0 and f": {settings} on cpu, seed 0\n" in out, err
    plain, optimized = (np.asarray(Image.open(name)).astype(int) for name in ("plain.png", "out.png"))
    assert np.abs(plain - optimized).max() <= tolerance


def test_quiet_prints_nothing(tiny_model, command):
    assert command(*run_arguments(tiny_model), "--quiet") == (0, "", "")


def test_stages_picture_shows_inputs_and_stages(tiny_model, command):
    assert command(*run_arguments(tiny_model), "--all-stages")[0] == 0
    picture = np.asarray(Image.open("out_stages.png"))
    assert picture.shape[0] > 256 and picture.shape[1] > 4 * 256
    panels = [picture[24 : 24 + 256, 8 + index * 264 : 264 + index * 264] for index in range(4)]
    # The inputs but for the skeletons drawn over them, and the result, each pixel 8 x 8 as large.
    for panel, name in zip(panels, ("agnostic.png", "garment.png")):
        same = (panel == np.asarray(Image.open(SAMPLE / name).convert("RGB"))).all(axis=-1)
        assert 0.8 < same.mean() < 1
    assert np.array_equal(panels[3][::8, ::8], np.asarray(Image.open("out.png")))


# What people get wrong


def bad_pose(content: object) -> Path:
    Path("pose.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return Path("pose.json")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"agnostic_image": "nowhere.png"}, "`--agnostic-image` must be a picture file, there is none at nowhere.png"),
        ({"garment_image": "nowhere.png"}, "`--garment-image` must be a picture file, there is none at nowhere.png"),
        ({"agnostic_mask": "nowhere.png"}, "`--agnostic-mask` must be a picture file, there is none at nowhere.png"),
        ({"garment_image": __file__}, "`--garment-image` must be a picture file such as PNG or JPEG"),
        ({"person_pose": "nowhere.json"}, "nowhere.json"),
        ({"garment_pose": "nowhere.json"}, "nowhere.json"),
        ({"scheduler": "karras"}, "`scheduler` must be one of ddpm, .*, got 'karras'"),
        ({"device": "toaster"}, "`device` must be .* got 'toaster'"),
        ({"device": "cuda:99"}, "`device` must be on this machine, which has no 'cuda:99'"),
        ({"dtype": "int8"}, "`dtype` must be one of float32, bfloat16, float16, fastest, got 'int8'"),
        ({"steps": 0}, "`num_inference_steps` must be"),
        ({"last_stage": "third"}, "`last_stage` must be one of base, sr, got 'third'"),
        ({"out": "out.xyz"}, "`--out` must end in .png"),
        ({"out": "."}, "`--out` must end in .png"),
        ({"model": "."}, "`model` must be the folder of a pipeline, . has no model_index.json"),
        ({"model": "./no/such/folder"}, "`model` must be a folder or the id of a repository on the Hub"),
        ({"model": __file__}, "`model` must be a folder or the id of a repository on the Hub"),
    ],
    ids=lambda value: (
        "-".join(f"{name}={Path(str(given)).name}" for name, given in value.items()) if isinstance(value, dict) else ""
    ),
)
def test_bad_input_is_one_line_and_writes_nothing(change, message, tiny_model, command, tmp_path):
    status, _, err = command(*run_arguments(tiny_model, **change))
    assert status == 1
    assert re.search(message, one_line(err)), err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content, message",
    [
        ("{", "pose.json is not valid JSON"),
        ({"keypoints": [[0, 0, 0]] * 18}, 'pose.json must hold {"format": "openpose_18"'),
        ({"format": "openpose_18", "normalized": True, "keypoints": [[0.5, 0.5, 1]] * 17}, "must hold 18 keypoints"),
        (
            {"format": "openpose_18", "normalized": True, "keypoints": [[0.5, 0.5, 7]] * 18},
            r"visibilities in \[0, 1\]",
        ),
    ],
    ids=["json", "format", "count", "visibility"],
)
@pytest.mark.parametrize("which", ["person_pose", "garment_pose"])
def test_a_bad_pose_file_is_one_line(which, content, message, tiny_model, command):
    status, _, err = command(*run_arguments(tiny_model, **{which: bad_pose(content)}))
    assert status == 1
    assert re.search(message, one_line(err)), err
    assert not Path("out.png").exists()


def test_a_picture_cut_short_is_one_line(tiny_model, command):
    Path("cut.png").write_bytes((SAMPLE / "garment.png").read_bytes()[:5000])
    status, _, err = command(*run_arguments(tiny_model, garment_image="cut.png"))
    assert status == 1 and "`--garment-image` could not be read, cut.png is broken or cut short" in one_line(err)


def test_sixteen_bits_are_one_line(tiny_model, command):
    Image.fromarray(np.full((64, 64), 40000, dtype=np.uint16)).save("deep.png")
    status, _, err = command(*run_arguments(tiny_model, garment_image="deep.png"))
    assert status == 1 and "`garment_image` is a PIL image of mode 'I;16'" in one_line(err)


def test_a_model_with_broken_weights_is_one_line(tiny_model, command, tmp_path):
    import shutil

    shutil.copytree(tiny_model, tmp_path / "broken")
    weights = next((tmp_path / "broken" / "sr_unet").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:1000])
    status, _, err = command(*run_arguments(tmp_path / "broken"))
    assert status == 1
    one_line(err)


def test_a_model_that_the_hub_does_not_have_is_one_line(command, fake_hub):
    status, _, err = command(*run_arguments("me/nothing"))
    assert status == 1 and "me/nothing" in one_line(err)


def test_a_scheduler_that_cannot_be_used_says_why(tiny_model, command, tmp_path):
    """kdpm2 has no formula for networks that predict the image itself."""
    pipe = TryOnCascadePipeline.from_pretrained(tiny_model)
    pipe.base_scheduler = create_scheduler("ddpm", prediction_type="sample")
    pipe.save_pretrained(tmp_path / "sample")
    status, _, err = command(*run_arguments(tmp_path / "sample", scheduler="kdpm2"))
    assert status == 1 and "it has no formula for `prediction_type` 'sample'" in one_line(err)


@pytest.mark.parametrize(
    "arguments, named",
    [
        (["run", "--out", "out.png"], "--agnostic-image"),
        (["run", "--out", "out.png"], "--person-photo"),
        (["run", "--out", "out.png", "--person-photo", "a.jpg"], "--garment-photo"),
        (
            [
                "run",
                "--out",
                "out.png",
                "--person-photo",
                "a.jpg",
                "--garment-photo",
                "b.jpg",
                "--person-pose",
                "p.json",
            ],
            "--person-pose",
        ),
        (["run", "--stpes", "3"], "--stpes"),
        (["render", "--out", "data", "--count", "many"], "--count"),
        (["render", "--out", "data", "--count", "0"], "--count"),
        (["convert", "checkpoint.pt"], "--out"),
        (["dance"], "dance"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_usage_names_the_option_and_exits_with_2(arguments, named, command):
    status, out, err = command(*arguments)
    assert status == 2 and out == ""
    assert named in err and "Traceback" not in err


# convert and render


def test_convert_writes_a_folder_that_run_takes(command):
    configs = ("--config", PARITY / "trainer_base.json", "--config", PARITY / "trainer_sr.json")
    status, out, _ = command("convert", PARITY / "trainer_checkpoint.pt", *configs, "--out", "cascade")
    assert status == 0 and "wrote cascade" in out
    status, _, err = command(*run_arguments(Path("cascade"), height=32, width=32))
    assert status == 0, err
    assert Image.open("out.png").size == (32, 32)


def test_convert_takes_online_weights_and_another_prediction_on_request(command):
    arguments = ("convert", PARITY / "trainer_checkpoint.pt")
    configs = ("--config", PARITY / "trainer_base.json", "--config", PARITY / "trainer_sr.json")
    assert command(*arguments, *configs, "--out", "averaged")[0] == 0
    assert command(*arguments, *configs, "--out", "online", "--no-ema", "--prediction", "v")[0] == 0
    averaged, online = (TryOnCascadePipeline.from_pretrained(name) for name in ("averaged", "online"))
    pairs = zip(averaged.base_unet.parameters(), online.base_unet.parameters())
    assert not all(torch.equal(first, second) for first, second in pairs)
    assert averaged.base_scheduler.config.prediction_type == "epsilon"
    assert online.base_scheduler.config.prediction_type == "v_prediction"


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([PARITY / "trainer_checkpoint.pt"], "one entry per UNet"),
        ([PARITY / "trainer_checkpoint.pt", "--config", "no-such", "--config", "no-such"], "'no-such' is no preset"),
        (
            [PARITY / "base_persisted.pt", "--prediction", "noize"],
            "`prediction_type` must be one of noise, x_start, v",
        ),
        ([PARITY / "README.md"], "README.md"),
        (["nowhere.pt"], "nowhere.pt"),
    ],
    ids=["no-config", "unknown-config", "prediction", "no-checkpoint", "missing"],
)
def test_a_checkpoint_that_cannot_be_converted_is_one_line(arguments, message, command, tmp_path):
    status, _, err = command("convert", *arguments, "--out", "cascade")
    assert status == 1
    assert message in one_line(err)
    assert list(tmp_path.iterdir()) == []


def test_convert_does_not_write_into_a_folder_with_files(command):
    Path("full").mkdir()
    (Path("full") / "thesis.txt").write_text("two years of work")
    status, _, err = command("convert", PARITY / "base_persisted.pt", "--out", "full")
    assert status == 1 and "full is not" in one_line(err)
    assert [path.name for path in Path("full").iterdir()] == ["thesis.txt"]


def test_render_writes_a_data_set(command, tmp_path):
    import datasets

    assert command("render", "--out", "data", "--count", "2", "--size", "32", "--seed", "5")[0] == 0
    rows = datasets.load_dataset(str(tmp_path / "data"), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(rows) == 2 and rows[0]["person_image"].size == (32, 32)
    before = {path: path.stat().st_mtime_ns for path in Path("data").iterdir()}
    status, out, _ = command("render", "--out", "data", "--count", "2", "--size", "32", "--seed", "5")
    assert status == 0 and "0 rows in 0 shards" in out and "1 shard found finished" in out
    assert {path: path.stat().st_mtime_ns for path in Path("data").iterdir()} == before


def test_repack_writes_another_layout_of_what_render_wrote(command, tmp_path):
    command("render", "--out", "data", "--count", "3", "--size", "16")
    status, out, _ = command("repack", "data", "--out", "tars", "--format", "webdataset", "--rows-per-shard", "2")
    assert status == 0 and "tars: 3 rows of the split train" in out
    assert sorted(path.name for path in Path("tars").iterdir()) == ["train-00000.tar", "train-00001.tar"]
    status, _, err = command("repack", "data", "--out", "data", "--format", "webdataset")
    assert status == 1 and "`out_dir` must be a new or empty folder" in one_line(err)


def test_render_refuses_a_bad_size_and_an_unknown_split(command):
    status, _, err = command("render", "--out", "data", "--count", "1", "--size", "-1")
    assert status == 1 and "`size`" in one_line(err)
    status, _, err = command("render", "--out", "data", "--count", "1", "--split", "training")
    assert status == 1 and "`split`" in one_line(err)
