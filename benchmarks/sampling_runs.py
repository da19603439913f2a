# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs of one stage on rendered people with other schedulers, steps and guidance: pictures and their figures, kept."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from tqdm.auto import tqdm

from diffusers_tryon import TryOnCascadePipeline
from diffusers_tryon.composition import GARMENT_LABELS, label_mask
from diffusers_tryon.evaluation.cases import Case, rendered_cases
from diffusers_tryon.evaluation.garment_metrics import garment_colour, garment_pattern
from diffusers_tryon.evaluation.generation import weights_sha256
from diffusers_tryon.evaluation.layout import claim_folder
from diffusers_tryon.evaluation.paired_metrics import paired_figures
from diffusers_tryon.evaluation.protocols import PROTOCOLS
from diffusers_tryon.files import written_beside
from diffusers_tryon.rendering.samples import one_torch_thread
from diffusers_tryon.schedules import swap_scheduler


FIGURES = ("psnr_region", "ssim_region", "garment_colour", "garment_pattern", "detail")
# Whether more is better. Detail is best at 1, where it is that of the true picture.
HIGHER_IS_BETTER = {"psnr_region": True, "ssim_region": True, "garment_colour": False, "garment_pattern": True}
TRUTH = "truth"
# Between the noises of a case: more than there are cases.
_SEEDS = 10**6
_PROTOCOL = replace(PROTOCOLS["rendered"], paired_metrics=("psnr", "ssim"))


class Run(NamedTuple):
    """How one stage makes the pictures of all cases.

    Attributes:
        stage: "base" or "sr".
        scheduler: its name in `diffusers_tryon.schedules.SCHEDULERS`.
        steps: its `num_inference_steps`.
        low_res: of the super-resolution stage: `TRUTH`, the true picture at the base stage's size, or the run of the
            base stage whose pictures it gets.
        scale, start, stop: of guidance.
        noise: which noise the cases start from; runs with one number start from the same.
    """

    stage: str
    scheduler: str
    steps: int
    low_res: "str | Run | None" = None
    scale: float = 2.0
    start: float = 0.0
    stop: float = 1.0
    noise: int = 0

    def name(self) -> str:
        """As a file's."""
        parts = [self.stage, self.scheduler, f"{self.steps}", f"{self.scale:g}_{self.start:g}_{self.stop:g}"]
        if self.noise:
            parts.append(f"noise_{self.noise}")
        if self.low_res is not None:
            parts.append("of_" + (self.low_res if isinstance(self.low_res, str) else self.low_res.name()))
        return "-".join(parts)


class Outcome(NamedTuple):
    """What a run gave.

    Attributes:
        pictures: (N, H, W, 3) uint8.
        figures: (N,) each, by the names of `FIGURES`.
        calls: how often the network was asked; a guided call counts once.
    """

    pictures: np.ndarray
    figures: dict[str, np.ndarray]
    calls: int


class Sampler:
    """Makes and judges the pictures of runs, each once; the results lie in a folder, so an interrupted call goes on.

    All runs start each case from the same noise, and low-resolution pictures go from stage to stage in 8 bits.

    Args:
        pipeline (`TryOnCascadePipeline`): the model.
        work (`Path`): the folder.
        count (`int`): number of cases.
        batch_size (`int`): cases at once.
    """

    def __init__(self, pipeline: TryOnCascadePipeline, work: Path, count: int, batch_size: int):
        self.pipeline, self.work, self.batch_size = pipeline, work, batch_size
        self.sizes = pipeline.stage_sizes("sr", None, None)
        self._schedulers = {stage: getattr(pipeline, f"{stage}_scheduler") for stage in self.sizes}
        cases = rendered_cases(count, size=self.sizes["sr"][0])
        weights = weights_sha256(pipeline)
        claim_folder(work, {"cases": cases.description, "weights_sha256": weights, "batch_size": batch_size})
        pipeline.optimize(torch.float32)
        pipeline.set_progress_bar_config(disable=True)
        self.cases = [cases[index] for index in tqdm(range(count), desc="rendering", unit="case")]
        self.truths = {stage: [self._truth(case, *size) for case in self.cases] for stage, size in self.sizes.items()}

    def _truth(self, case: Case, height: int, width: int) -> "Truth":
        processor = self.pipeline.image_processor
        picture = processor.postprocess(processor.preprocess(case.reference, height, width, "reference"))[0]
        region = processor.preprocess_mask(case.agnostic_mask, height, width)[0, 0].numpy()
        labels = Image.fromarray(case.parse).resize((width, height), Image.Resampling.NEAREST)
        garment = label_mask(np.asarray(labels), GARMENT_LABELS[case.record.category])
        return Truth(np.asarray(picture), region, garment & region)

    def path(self, run: Run) -> Path:
        return self.work / f"{run.name()}.npz"

    def outcome(self, run: Run) -> Outcome:
        """Of a run, computed unless it was."""
        if not self.path(run).exists():
            self._compute(run)
        with np.load(self.path(run)) as stored:
            return Outcome(stored["pictures"], {name: stored[name] for name in FIGURES}, int(stored["calls"]))

    def _compute(self, run: Run) -> None:
        low_res = None
        if run.stage == "sr":
            is_truth = run.low_res == TRUTH
            low_res = [t.picture for t in self.truths["base"]] if is_truth else self.outcome(run.low_res).pictures
            low_res = np.stack(low_res)
        scheduler = swap_scheduler(self._schedulers[run.stage], run.scheduler)
        self.pipeline.register_modules(**{f"{run.stage}_scheduler": scheduler})
        chunks = [slice(first, first + self.batch_size) for first in range(0, len(self.cases), self.batch_size)]
        with one_torch_thread():
            parts = [self._pictures(run, part, None if low_res is None else low_res[part]) for part in chunks]
            pictures = np.concatenate(parts)
            rows = [judged(*pair) for pair in zip(pictures, self.truths[run.stage], strict=True)]
        figures = {name: np.array([row[name] for row in rows]) for name in FIGURES}
        with written_beside(self.path(run)) as path:
            np.savez_compressed(path, pictures=pictures, calls=len(scheduler.timesteps), **figures)

    def _pictures(self, run: Run, part: slice, low_res: np.ndarray | None) -> np.ndarray:
        cases = self.cases[part]
        height, width = self.sizes[run.stage]
        output = self.pipeline(
            agnostic_image=np.stack([case.agnostic_image for case in cases]),
            garment_image=np.stack([case.garment_image for case in cases]),
            person_pose=np.stack([case.record.person_pose for case in cases]),
            garment_pose=np.stack([case.record.garment_pose for case in cases]),
            agnostic_mask=np.stack([case.agnostic_mask for case in cases]),
            low_res_image=low_res,
            num_inference_steps=run.steps,
            sr_num_inference_steps=run.steps,
            guidance_scale=run.scale,
            guidance_start=run.start,
            guidance_stop=run.stop,
            generator=[torch.Generator().manual_seed(case.record.noise_seed + run.noise * _SEEDS) for case in cases],
            last_stage=run.stage,
            height=height,
            width=width,
        )
        return np.stack([np.asarray(image) for image in output.images])


class Truth(NamedTuple):
    """What a picture of a case should be, at a stage's size.

    Attributes:
        picture: (H, W, 3) uint8.
        region: (H, W) bool, where it may change.
        garment: (H, W) bool, where it shows the garment, within the region.
    """

    picture: np.ndarray
    region: np.ndarray
    garment: np.ndarray


def judged(picture: np.ndarray, truth: Truth) -> dict[str, float]:
    """The figures of a picture, (H, W, 3) uint8, by the names of `FIGURES`; NaN where it has not one."""
    paired = paired_figures(picture, truth.picture, truth.region, _PROTOCOL, None)
    return {
        "psnr_region": paired["psnr_region"],
        "ssim_region": paired["ssim_region"],
        "garment_colour": garment_colour(picture, truth.picture, truth.garment),
        "garment_pattern": garment_pattern(picture, truth.picture, truth.garment),
        "detail": detail(picture, truth.region) / detail(truth.picture, truth.region),
    }


def detail(picture: np.ndarray, region: np.ndarray) -> float:
    """The mean of the differences between neighbouring pixels within a region, (H, W) bool; blur lowers it."""
    values = picture.astype(np.float64)
    down = np.abs(np.diff(values, axis=0))[region[1:] & region[:-1]]
    right = np.abs(np.diff(values, axis=1))[region[:, 1:] & region[:, :-1]]
    return float(np.concatenate([down, right]).mean())


def distances(outcome: Outcome, other: Outcome, truths: list[Truth]) -> np.ndarray:
    """(N,) the root mean square of the difference between two runs' pictures in the edited region, in steps of 255."""
    differences = outcome.pictures.astype(np.float64) - other.pictures
    return np.array([math.sqrt((of[truth.region] ** 2).mean()) for of, truth in zip(differences, truths, strict=True)])


def compute_all(sampler: Sampler, runs: list[Run], after_each: Callable[[], None] = lambda: None) -> None:
    """Compute runs in their order, with a bar."""
    missing = [run for run in runs if not sampler.path(run).exists()]
    with tqdm(missing, desc="runs") as bar:
        for run in bar:
            bar.set_postfix_str(run.name())
            sampler.outcome(run)
            after_each()
