# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Make a pipeline folder of one or two finished training runs.

    python training/export_pipeline.py --base runs/first-base --sr runs/first-sr --out my-cascade --dtype float16

The folder is one for `TryOnCascadePipeline.from_pretrained`.
"""

import json
from pathlib import Path
from typing import Annotated

import torch
import typer
from diffusers.schedulers.scheduling_utils import SchedulerMixin

from diffusers_tryon import ParallelUNetModel, TryOnCascadePipeline
from diffusers_tryon.schedules import DEFAULT_SCHEDULER, create_scheduler
from diffusers_tryon.training.configuration import TrainingConfig
from diffusers_tryon.training.stage import schedule_of_run


def load_stage(run_dir: Path, dtype: torch.dtype) -> tuple[ParallelUNetModel, SchedulerMixin]:
    """The averaged weights of a run, and the default scheduler on the noise schedule that it was trained on."""
    unet = ParallelUNetModel.from_pretrained(run_dir / "unet", dtype=dtype)
    # Diffusers would publish the folder of this machine.
    unet.register_to_config(_name_or_path=run_dir.name)
    config = TrainingConfig.from_dict(json.loads((run_dir / "unet" / "training_config.json").read_text()))
    betas = schedule_of_run(config, unet.config.sample_size)
    return unet, create_scheduler(DEFAULT_SCHEDULER, trained_betas=betas, prediction_type=config.prediction_type)


def main(
    base: Annotated[Path, typer.Option(help="output folder of the base stage's run")],
    out: Annotated[Path, typer.Option(help="pipeline folder to write")],
    sr: Annotated[Path | None, typer.Option(help="output folder of the super-resolution stage's run")] = None,
    dtype: Annotated[str, typer.Option(help="of the weights: float32, float16 or bfloat16")] = "float32",
) -> None:
    weights_dtype = getattr(torch, dtype)
    base_unet, base_scheduler = load_stage(base, weights_dtype)
    sr_unet, sr_scheduler = load_stage(sr, weights_dtype) if sr is not None else (None, None)
    pipeline = TryOnCascadePipeline(
        base_unet=base_unet,
        base_scheduler=base_scheduler,
        image_noising_scheduler=create_scheduler("ddpm"),
        sr_unet=sr_unet,
        sr_scheduler=sr_scheduler,
    )
    pipeline.save_pretrained(out)


if __name__ == "__main__":
    typer.run(main)
