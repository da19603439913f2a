# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Train small networks that differ in one thing, at the same small budget, and compare what they make of held-out people.

    diffusers-tryon render --out data/designs --category upper --count 4000 --size 128 --seed 2 --workers 2
    python training/compare_designs.py --data data/designs --out runs/designs

Every variant is trained by `train_tryon.py` once for each seed, in a process of its own on one core. Repeat the command
to go on: finished runs are not repeated, interrupted ones go on from their checkpoints, and `--seeds` may grow. The
result is `designs.json` and `designs.md` in the folder `--out`.
"""

import json
import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import typer

from diffusers_tryon import TryOnCascadePipeline, create_unet
from diffusers_tryon.composition import GARMENT_LABELS, label_mask
from diffusers_tryon.evaluation.bootstrap import Estimate, crossed_interval
from diffusers_tryon.evaluation.cases import Case, rendered_cases
from diffusers_tryon.evaluation.figures import METRICS, Metric, rounded
from diffusers_tryon.evaluation.garment_metrics import garment_colour, garment_pattern
from diffusers_tryon.evaluation.layout import claim_folder
from diffusers_tryon.evaluation.paired_metrics import paired_figures
from diffusers_tryon.evaluation.protocols import get_protocol
from diffusers_tryon.evaluation.report import markdown_table
from diffusers_tryon.files import written_beside
from diffusers_tryon.hub.export import MODEL_FOLDER, load_components
from diffusers_tryon.schedules import DEFAULT_SCHEDULER, create_scheduler
from diffusers_tryon.training.batches import downsampled_image


SCRIPT = Path(__file__).with_name("train_tryon.py")
GUIDANCE_SCALES = (1.0, 2.0)
PICTURES_AT_ONCE = 16


class RunError(Exception):
    """A run ended before its last step."""


class Budget(NamedTuple):
    """What every run gets, see `main`."""

    preset: str
    size: int
    patch_size: int
    steps: int
    batch_size: int
    learning_rate: float
    cases: int


class Experiment(NamedTuple):
    """One comparison: a question, and settings of `TrainingConfig` by the name of the variant.

    Each variant is compared with the first.
    """

    title: str
    stage: str
    variants: dict[str, dict[str, Any]]


# Trained once for all of the experiments that begin with it.
PLAIN = {"plain": {}}
EXPERIMENTS = {
    "garment": Experiment(
        "The garment by cross-attention (plain) or by concatenation",
        "base",
        PLAIN | {"concatenation": {"unet_overrides": {"garment_fusion": "concatenation"}}},
    ),
    "timestep": Experiment(
        "A garment stream without timestep and person's pose (plain) or with them",
        "base",
        PLAIN | {"garment-sees-timestep": {"unet_overrides": {"garment_time_conditioning": True}}},
    ),
    "dropout": Experiment(
        "Conditions dropped jointly (plain) or each for itself",
        "base",
        PLAIN | {"independent-dropout": {"condition_dropout_mode": "independent"}},
    ),
    "maps": Experiment(
        "Poses as tokens and maps (plain) or as tokens alone",
        "base",
        PLAIN | {"no-pose-maps": {"unet_overrides": {"pose_maps": False}}},
    ),
    "objective": Experiment(
        "What the super-resolution stage predicts, and its noise schedule",
        "sr",
        {
            f"sr-{prediction}-{schedule}".replace("_", "-"): {
                "prediction_type": prediction,
                "noise_schedule": schedule,
            }
            for prediction in ("epsilon", "v_prediction", "sample")
            for schedule in ("cosine", "shifted_cosine")
        },
    ),
}

REGION_METRICS = ("psnr_region", "ssim_region", "garment_colour", "garment_pattern")
TINTS = {f"tint_{name}": Metric(f"Mean error of {name}, of 255", "", False, 2) for name in ("red", "green", "blue")}
FIGURES = {name: METRICS[name] for name in REGION_METRICS} | TINTS

LEGEND = (
    "Of the first variant its means; of the others means, and their differences to the first on the same cases and "
    "seeds. Brackets hold 95 % intervals that cover both the choice of cases and the chance of training (first weights, "
    "order, noise), by the variance components of cases x seeds and Student's t; with one seed they cover the choice of "
    "cases alone. They do not cover another budget, network size or kind of data. Figures are of the edited region; the "
    "mean error of a channel, its tint, is of the whole picture, signed, and its interval is that of the error itself."
)


class Run(NamedTuple):
    """One variant with one seed."""

    out: Path
    data: Path
    budget: Budget
    experiment: Experiment
    variant: str
    seed: int

    @property
    def folder(self) -> Path:
        return self.out / f"{self.variant}-seed{self.seed}"

    @property
    def size(self) -> int:
        """Of the pictures: the super-resolution stage doubles the base stage's."""
        return self.budget.size * (2 if self.experiment.stage == "sr" else 1)

    def settings(self) -> dict[str, Any]:
        """The settings of `train_tryon.py`."""
        budget, changes = self.budget, dict(self.experiment.variants[self.variant])
        # Twice the size in patches twice as large costs the same.
        overrides = {"sample_size": self.size, "patch_size": budget.patch_size * self.size // budget.size}
        settings = {
            "dataset": str(self.data),
            "output_dir": str(self.folder),
            "preset": budget.preset,
            "max_steps": budget.steps,
            "global_batch_size": budget.batch_size,
            "learning_rate": budget.learning_rate,
            "warmup_steps": max(1, budget.steps // 10),
            "prediction_type": "sample",
            "noise_schedule": "cosine",
            "max_agnostic_noise_level": 100,
            "max_garment_noise_level": 100,
            "ema_decay": 0.995,
            "mixed_precision": "bf16",
            "chunked_attention": True,
            "num_workers": 0,
            "validate_every": budget.steps,
            "sample_every": budget.steps,
            "checkpoint_every": 100,
            "checkpoints_kept": 1,
            "seed": self.seed,
        }
        if self.experiment.stage == "sr":
            overrides["low_res_conditioning"] = True
            settings |= {"stage": "sr", "low_res_size": budget.size, "max_low_res_noise_level": 500}
        overrides |= changes.pop("unet_overrides", {})
        return settings | changes | {"unet_overrides": overrides}


def main(
    data: Annotated[Path, typer.Option(help="rendered pairs to train on, of twice `--size` pixels")],
    out: Annotated[Path, typer.Option(help="folder of the runs and of the result")],
    experiment: Annotated[
        list[str] | None, typer.Option(help="one of: " + ", ".join(EXPERIMENTS) + "; all if not given")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="runs of each variant, with seeds from 0")] = 3,
    jobs: Annotated[int, typer.Option(min=1, help="runs at a time, one core each")] = 1,
    preset: Annotated[str, typer.Option(help="network of all stages, at the sizes below")] = "small-128",
    size: Annotated[int, typer.Option(help="side of the base stage's pictures in pixels")] = 64,
    patch_size: Annotated[int, typer.Option(help="of the base stage")] = 2,
    steps: Annotated[int, typer.Option(min=1, help="optimiser steps of a run")] = 450,
    batch_size: Annotated[int, typer.Option(min=1, help="images a step")] = 16,
    learning_rate: Annotated[float, typer.Option(help="peak rate")] = 1e-3,
    cases: Annotated[int, typer.Option(min=2, help="held-out people in other people's garments")] = 64,
) -> None:
    """Compare designs of the network and of its training at a small budget, over several seeds."""
    unknown = [name for name in experiment or [] if name not in EXPERIMENTS]
    if unknown:
        sys.exit(f"compare_designs.py: `--experiment` must be one of {', '.join(EXPERIMENTS)}, got {unknown[0]!r}.")
    budget = Budget(preset, size, patch_size, steps, batch_size, learning_rate, cases)
    try:
        # Fewer experiments or seeds are no other budget.
        claim_folder(
            out, budget._asdict() | {"data": str(data)}, contents="runs that were trained", purpose="comparisons"
        )
    except ValueError as error:
        sys.exit(f"compare_designs.py: {error}")
    chosen = {name: EXPERIMENTS[name] for name in experiment or EXPERIMENTS}
    runs = {}
    # Seed by seed, so that a comparison stopped early has all variants.
    for seed in range(seeds):
        for item in chosen.values():
            for variant in item.variants:
                runs.setdefault((variant, seed), Run(out, data, budget, item, variant, seed))
    # Threads of one process would share torch's; forked ones its locks.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            figures = dict(zip(runs, pool.map(train_and_measure, runs.values())))
        except RunError as error:
            sys.exit(f"compare_designs.py: {error}")
    result = {
        "budget": budget._asdict(),
        "seeds": seeds,
        "experiments": {name: compare(item, figures, seeds) for name, item in chosen.items()},
    }
    for name, text in (("designs.json", json.dumps(result, indent=2) + "\n"), ("designs.md", as_markdown(result))):
        with written_beside(out / name) as partial:
            partial.write_text(text, encoding="utf-8")
    print(as_markdown(result))


# One run


def train_and_measure(run: Run) -> dict[str, Any]:
    """Figures of a run: "seconds_per_step", and by guidance scale the figures of each case; read if known already."""
    path = run.folder / "figures.json"
    if not path.is_file():
        if not (run.folder / MODEL_FOLDER).is_dir():
            train(run)
        figures = {f"{scale:g}": measure(run, scale) for scale in GUIDANCE_SCALES}
        with written_beside(path) as partial:
            partial.write_text(json.dumps({"seconds_per_step": seconds_per_step(run), **figures}) + "\n")
    return json.loads(path.read_text())


def train(run: Run) -> None:
    """Train, or go on training, in a process of one thread; `log.txt` in the run's folder has what it said."""
    command = [sys.executable, str(SCRIPT)]
    for name, value in run.settings().items():
        command += [f"--{name}", value if isinstance(value, str) else json.dumps(value)]
    run.folder.mkdir(parents=True, exist_ok=True)
    with open(run.folder / "log.txt", "a") as log:
        subprocess.run(command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})
    # Also after a signal, with which training ends well.
    if not (run.folder / MODEL_FOLDER).is_dir():
        raise RunError(f"{run.folder.name} did not finish; {run.folder / 'log.txt'} says why.")


def seconds_per_step(run: Run) -> float:
    """The median over what the run logged."""
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    rates = [line["images_per_second"] for line in lines if "images_per_second" in line]
    return rounded(run.budget.batch_size / float(np.median(rates)))


@cache
def held_out_cases(count: int, size: int) -> list[Case]:
    """People in other people's garments, bodies and prints that training never sees."""
    cases = rendered_cases(count, 0, size, "upper", "unpaired")
    return [cases[index] for index in range(count)]


def load_pipeline(run: Run) -> TryOnCascadePipeline:
    """The run's network in a pipeline."""
    components = load_components(run.folder, run.experiment.stage)
    if run.experiment.stage == "sr":
        # Never runs: calls start from the true picture's low resolution. The pipeline wants a base stage for its size.
        components["base_unet"] = create_unet("tiny-base", sample_size=run.budget.size)
        components["base_scheduler"] = create_scheduler(DEFAULT_SCHEDULER)
    pipeline = TryOnCascadePipeline(**components)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def measure(run: Run, guidance_scale: float) -> list[dict[str, float | None]]:
    """The figures of each held-out case, sampled with the pipeline's own steps from the case's own noise."""
    pipeline, cases = load_pipeline(run), held_out_cases(run.budget.cases, run.size)
    figures = []
    for first in range(0, len(cases), PICTURES_AT_ONCE):
        some = cases[first : first + PICTURES_AT_ONCE]
        arguments = {}
        if run.experiment.stage == "sr":
            processor = pipeline.image_processor
            truth = processor.preprocess(np.stack([case.reference for case in some]), run.size, run.size)
            arguments["low_res_latents"] = downsampled_image(truth, processor, run.budget.size)
        images = pipeline(
            agnostic_image=np.stack([case.agnostic_image for case in some]),
            garment_image=np.stack([case.garment_image for case in some]),
            person_pose=np.stack([case.record.person_pose for case in some]),
            garment_pose=np.stack([case.record.garment_pose for case in some]),
            generator=[torch.Generator().manual_seed(case.record.noise_seed) for case in some],
            guidance_scale=guidance_scale,
            **arguments,
        ).images
        figures += [judge(np.asarray(image), case) for image, case in zip(images, some, strict=True)]
    return figures


def judge(image: np.ndarray, case: Case) -> dict[str, float | None]:
    """The figures of one picture by the names of `FIGURES`; None for a pattern where the garment is plain."""
    protocol = replace(get_protocol("rendered"), paired_metrics=("psnr", "ssim"))
    region = case.agnostic_mask > 0
    garment = region & label_mask(case.parse, GARMENT_LABELS[case.record.category])
    figures = paired_figures(image, case.reference, region, protocol, lpips=None)
    figures["garment_colour"] = garment_colour(image, case.reference, garment)
    figures["garment_pattern"] = garment_pattern(image, case.reference, garment)
    figures |= zip(TINTS, (image.astype(float) - case.reference).mean(axis=(0, 1)))
    return {name: rounded(float(figures[name])) for name in FIGURES}


# All runs


def compare(
    experiment: Experiment, figures: dict[tuple[str, int], dict[str, Any]], seeds: int
) -> dict[str, dict[str, Any]]:
    """The figures of an experiment's variants, by guidance scale, and of each its difference to the first."""
    first = next(iter(experiment.variants))
    names = [name for name in FIGURES if name not in TINTS or experiment.stage == "sr"]
    tables = {}
    for scale in (f"{scale:g}" for scale in GUIDANCE_SCALES):
        tables[scale] = {}
        for variant in experiment.variants:
            of_variant = {}
            for name in names:
                values, others = (
                    np.array(
                        [[case[name] for case in figures[item, seed][scale]] for seed in range(seeds)], dtype=float
                    )
                    for item in (variant, first)
                )  # (seeds, cases)
                of_variant[name] = as_json(crossed_interval(values))
                if variant != first:
                    of_variant[name]["difference"] = as_json(crossed_interval(values - others))
            tables[scale][variant] = of_variant
    seconds = {
        variant: rounded(float(np.mean([figures[variant, seed]["seconds_per_step"] for seed in range(seeds)])))
        for variant in experiment.variants
    }
    return {"title": experiment.title, "seconds_per_step": seconds, "guidance": tables}


def as_json(estimate: Estimate) -> dict[str, float | None]:
    return {name: rounded(getattr(estimate, name)) for name in ("mean", "low", "high")}


def as_markdown(result: dict[str, Any]) -> str:
    """The tables of a result."""
    budget = result["budget"]
    blocks = [
        f"Preset `{budget['preset']}` at {budget['size']} pixels (super-resolution: to {2 * budget['size']}), "
        f"{budget['steps']} steps of {budget['batch_size']} images, {result['seeds']} "
        f"seed{'' if result['seeds'] == 1 else 's'}, {budget['cases']} held-out cases. {LEGEND}"
    ]
    for experiment in result["experiments"].values():
        for scale, variants in experiment["guidance"].items():
            names = list(next(iter(variants.values())))
            heading = [metric_heading(name) for name in names]
            rows = [
                [
                    variant,
                    *(cell(name, values[name]) for name in names),
                    f"{experiment['seconds_per_step'][variant]:.3f}",
                ]
                for variant, values in variants.items()
            ]
            blocks += [
                f"### {experiment['title']}; guidance {scale}",
                "\n".join(markdown_table(["variant", *heading, "seconds a step"], rows)),
            ]
    return "\n\n".join(blocks) + "\n"


def metric_heading(name: str) -> str:
    meaning = FIGURES[name]
    unit = f" ({meaning.unit})" if meaning.unit else ""
    # A tint is best at zero.
    return meaning.title + unit + ("" if name in TINTS else " ↑" if meaning.higher_is_better else " ↓")


def cell(name: str, figure: dict[str, Any]) -> str:
    """A mean; of a tint its interval, of another figure the difference to the first variant and its interval."""

    def text(estimate: dict[str, float | None], sign: str = "") -> str:
        numbers = (
            "–" if value is None else f"{value:{sign}z.{FIGURES[name].digits}f}"
            for value in map(estimate.get, ("mean", "low", "high"))
        )
        return "{} [{}, {}]".format(*numbers)

    if name in TINTS:
        return text(figure)
    mean = text(figure).split()[0]
    return f"{mean}, {text(figure['difference'], '+')}" if "difference" in figure else mean


if __name__ == "__main__":
    typer.run(main)
