# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Measure a cascade as hub_cards/tryon-cascade-small was: on held-out rendered people, by a plan that was fixed before
its training began.

    python training/evaluate_cascade.py --model my-cascade --out my-evaluation

Three evaluations by protocol `rendered`, tops alone, seeds from 0 on: somebody else's garment as the renderer draws
garments (`evaluation.json`, 128 cases), the person's own (`evaluation_paired.json`, 128) and somebody else's laid flat
(`evaluation_flat.json`, 64). Then, of the cases of the first, `tint.json`: whether colours drift from stage to stage; and
`held_out.jpg`: 24 of them, first the six worst by PSNR in the edited region, then eighteen drawn by lot. A call that was
interrupted goes on where it stopped.

    python training/evaluate_cascade.py --baselines_only true --out out/baselines

needs no model and writes `baselines.json`, `baselines_paired.json` and `baselines_flat.json` in place of all that, with
their tables beside: what a cascade has to beat on these cases.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jsonargparse import auto_cli
from PIL import Image

from diffusers_tryon import TryOnCascadePipeline
from diffusers_tryon.evaluation.bootstrap import mean_interval
from diffusers_tryon.evaluation.cases import Case, RenderedCases, rendered_cases
from diffusers_tryon.evaluation.figures import read_figures
from diffusers_tryon.evaluation.layout import MODEL
from diffusers_tryon.visualization import Panel, contact_sheet


CATEGORY, SEED = "upper", 0
SIZE = 256  # of the baselines; a model has its own
# By the suffix of the result's name: what `diffusers-tryon evaluate` is told beside the model.
EVALUATIONS = {
    "": ["--pairing", "unpaired", "--count", "128"],
    "_paired": ["--pairing", "paired", "--count", "128"],
    "_flat": ["--pairing", "unpaired", "--garment-type", "flat", "--count", "64"],
}
NUM_CASES = 128
NUM_WORST, NUM_DRAWN, DRAW_SEED = 6, 18, 0
_BATCH = 8
_COLUMNS = 2
_CHANNELS = ("red", "green", "blue")


def main(out: Path, model: Path | None = None, baselines_only: bool = False, processes: int = 1) -> None:
    """
    Args:
        out: folder of the results; the evaluations' pictures lie in folders within.
        model: folder of a cascade of two stages.
        baselines_only: measure what needs no model.
        processes: how many share an evaluation.
    """
    if baselines_only == (model is not None):
        raise SystemExit("Give either --model or --baselines_only true.")
    judged = ["--baselines-only", "--size", f"{SIZE}x{SIZE}"] if baselines_only else ["--model", str(model)]
    name = "baselines" if baselines_only else "evaluation"
    for suffix, options in EVALUATIONS.items():
        folder = out / f"{name}_pictures{suffix}"
        evaluate(judged, folder, options, processes)
        for kind in (".json", ".md"):
            (out / f"{name}{suffix}{kind}").write_bytes((folder / f"evaluation{kind}").read_bytes())
    if model is not None:
        compare_and_show(model, out)


def compare_and_show(model: Path, out: Path) -> None:
    """Write the colours by stage and the sheet of held-out cases."""
    (out / "cases.png").write_bytes((out / "evaluation_pictures" / "cases.png").read_bytes())

    pipe = TryOnCascadePipeline.from_pretrained(model)
    pipe.set_progress_bar_config(disable=True)
    size = pipe.sr_unet.config.sample_size
    cases = rendered_cases(NUM_CASES, SEED, size, CATEGORY)
    tint, stages = compare_stages(pipe, cases)
    (out / "tint.json").write_text(json.dumps(tint, indent=2) + "\n")
    chosen = choose(out / "evaluation_pictures", cases.ids)
    draw(cases, chosen, stages).save(out / "held_out.jpg", quality=90)
    (out / "held_out.json").write_text(json.dumps([cases.ids[index] for index in chosen], indent=2) + "\n")


def evaluate(judged: list[str], folder: Path, options: list[str], processes: int) -> None:
    launch = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", str(processes)]
    command = ["-m", "diffusers_tryon", "evaluate", *judged, "--out", str(folder)]
    command += ["--category", CATEGORY, "--seed", str(SEED), *options]
    subprocess.run([sys.executable, *(launch if processes > 1 else []), *command], check=True)


def compare_stages(
    pipe: TryOnCascadePipeline, cases: RenderedCases
) -> tuple[dict[str, dict[str, dict[str, float]]], list[dict[str, np.ndarray]]]:
    """Signed mean differences of colours in the edited region, in levels of 255, and each case's pictures by stage."""
    errors = {"base - truth": [], "sr - truth": [], "sr - base": []}
    pictures = []
    for first in range(0, len(cases), _BATCH):
        batch = [cases[index] for index in range(first, min(first + _BATCH, len(cases)))]
        output = run(pipe, batch)
        for index, case in enumerate(batch):
            base, sr = (torch.from_numpy(output[name][index]) for name in ("base", "sr"))  # (h, w, 3), (H, W, 3)
            truth = torch.from_numpy(case.reference / 255.0).float()
            region = torch.from_numpy(case.agnostic_mask > 0).float()[..., None]
            small_truth, small_sr, small_region = (shrunk(image, base.shape[:2]) for image in (truth, sr, region))
            inside = (small_region == 1).float()  # of the base stage's pixels those that lie in the region wholly
            errors["base - truth"].append(mean_difference(base, small_truth, inside))
            errors["sr - truth"].append(mean_difference(sr, truth, region))
            errors["sr - base"].append(mean_difference(small_sr, base, inside))
            pictures.append({name: (output[name][index] * 255).round().astype(np.uint8) for name in ("base", "sr")})
    tint = {}
    for name, of_cases in errors.items():
        estimates = [mean_interval(column) for column in np.array(of_cases).T]
        tint[name] = {
            channel: {"mean": round(estimate.mean, 3), "low": round(estimate.low, 3), "high": round(estimate.high, 3)}
            for channel, estimate in zip(_CHANNELS, estimates)
        }
    return tint, pictures


@torch.no_grad()
def run(pipe: TryOnCascadePipeline, batch: list[Case]) -> dict[str, np.ndarray]:
    return pipe(
        agnostic_image=np.stack([case.agnostic_image for case in batch]),
        garment_image=np.stack([case.garment_image for case in batch]),
        person_pose=np.stack([case.record.person_pose for case in batch]),
        garment_pose=np.stack([case.record.garment_pose for case in batch]),
        agnostic_mask=np.stack([case.agnostic_mask for case in batch]),
        generator=[torch.Generator().manual_seed(case.record.noise_seed) for case in batch],
        output_type="np",
    ).stages


def shrunk(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """(H, W, C) to (h, w, C) by the mean of the pixels, which keeps the mean colour."""
    return F.adaptive_avg_pool2d(image.permute(2, 0, 1), size).permute(1, 2, 0)


def mean_difference(image: torch.Tensor, truth: torch.Tensor, region: torch.Tensor) -> list[float]:
    """Of each channel, in levels of 255, over the pixels in which `region`, (H, W, 1), is 1."""
    return (255 * ((image - truth) * region).sum(dim=(0, 1)) / region.sum()).tolist()


def choose(folder: Path, ids: list[str]) -> list[int]:
    """The worst cases, the very worst first, and others by lot."""
    psnr = [read_figures(folder, MODEL, case_id)["psnr_region"] for case_id in ids]
    worst = np.argsort(psnr)[:NUM_WORST].tolist()
    others = [index for index in range(len(ids)) if index not in worst]
    drawn = np.random.default_rng(DRAW_SEED).choice(others, NUM_DRAWN, replace=False)
    return worst + sorted(drawn.tolist())


def draw(cases: RenderedCases, chosen: list[int], pictures: list[dict[str, np.ndarray]]) -> Image.Image:
    rows = []
    for number, index in enumerate(chosen):
        case = cases[index]
        kind = f"seed {case.record.noise_seed}" + (f", worst {number + 1}" if number < NUM_WORST else "")
        rows.append(
            [
                Panel(Image.fromarray(case.agnostic_image), kind, case.record.person_pose),
                Panel(Image.fromarray(case.garment_image), f"garment, {case.record.garment_type}"),
                Panel(Image.fromarray(pictures[index]["base"]), "base stage", show_pixels=True),
                Panel(Image.fromarray(pictures[index]["sr"]), "result"),
                Panel(Image.fromarray(case.reference), "truth"),
            ]
        )
    return contact_sheet(rows, columns=_COLUMNS, height=192)


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
