# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Make the averaged weights of any relative width after training, from the snapshots of a run with `ema_power_sigmas`.

    python training/reconstruct_ema.py --snapshots runs/base-128/ema_snapshots --sigma 0.08 --out base-128-sigma-0.08

The folder is what the run's own model is: a pipeline, or a super-resolution stage alone for `export_pipeline.py`; of a
run with `lora_rank` it has adapters for the pipeline's `load_lora_weights`.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from diffusers_tryon.hub.export import save_pipeline
from diffusers_tryon.training.initial import load_initial
from diffusers_tryon.training.lora import save_lora
from diffusers_tryon.training.power_averages import config_of_snapshot, list_snapshots, reconstruct


def main(
    snapshots: Annotated[Path, typer.Option(help="folder of a run's snapshots")],
    sigma: Annotated[float, typer.Option(help="relative width of the average, such as 0.08")],
    out: Annotated[Path, typer.Option(help="folder to write")],
    step: Annotated[int | None, typer.Option(help="step of a snapshot; the last if not given")] = None,
) -> None:
    try:
        found = list_snapshots(snapshots)
        weights = reconstruct(found, sigma, found[-1].step if step is None else step)
        config = config_of_snapshot(found[-1])
        # What does not train is that of the network which the run started from.
        initial = load_initial(config)
        if config.lora_rank is not None:
            save_lora(out, config.stage, initial.unet, weights)
            return
        initial.unet.load_state_dict(weights, strict=False)
        save_pipeline(
            out,
            config.stage,
            initial.unet,
            initial.betas,
            config.prediction_type,
            initial.image_noising_scheduler,
            config.base_model,
        )
    except (OSError, ValueError) as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    typer.run(main)
