# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Options that several commands of `diffusers-tryon` have: which model, and how it samples."""

from typing import Annotated

import typer


MODEL_PANEL = "Model"
SAMPLING_PANEL = "Sampling"

# The keys of `diffusers_tryon.schedules.SCHEDULERS`, written out because help must not import them; a test compares.
_SCHEDULER_NAMES = (
    "ddpm, ddpm-parallel, ddim, ddim-parallel, dpmsolver++, dpmsolver++-sde, dpmsolver++-singlestep, deis, unipc, "
    "sa-solver, euler, euler-ancestral, lms, heun, kdpm2, kdpm2-ancestral, dpm-sde, pndm, lcm, tcd"
)

Model = Annotated[
    str | None,
    typer.Option(
        help="Folder of a pipeline, or its id on the Hub (user/name).",
        show_default="the checkpoint that comes with the package",
        rich_help_panel=MODEL_PANEL,
    ),
]
Dtype = Annotated[
    str | None,
    typer.Option(
        help="Type of the weights: float32, bfloat16, float16, or fastest: that which the device computes fastest with.",
        show_default="float32, with --optimize fastest",
        rich_help_panel=MODEL_PANEL,
    ),
]
Device = Annotated[
    str,
    typer.Option(help="cpu, cuda, cuda:1, mps ...; auto takes a GPU if there is one.", rich_help_panel=MODEL_PANEL),
]
Optimize = Annotated[
    bool,
    typer.Option(
        "--optimize",
        help="Set what makes the model fastest on the device; pictures differ by the rounding of the weights' type.",
        rich_help_panel=MODEL_PANEL,
    ),
]
LowMemory = Annotated[
    bool,
    typer.Option(
        "--low-memory",
        help="Read each stage's network from disk when its turn comes: memory for the larger one in place of both.",
        rich_help_panel=MODEL_PANEL,
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(help="Sampling steps of the base stage.", show_default="15", rich_help_panel=SAMPLING_PANEL),
]
SrSteps = Annotated[
    int | None,
    typer.Option(
        help="Sampling steps of the super-resolution stage.", show_default="10", rich_help_panel=SAMPLING_PANEL
    ),
]
Guidance = Annotated[
    float | None,
    typer.Option(
        help="Guidance scale of the base stage: 1 is none, more follows garment and pose closer.",
        show_default="2.0",
        rich_help_panel=SAMPLING_PANEL,
    ),
]
SrGuidance = Annotated[
    float | None,
    typer.Option(
        help="Guidance scale of the super-resolution stage.", show_default="--guidance", rich_help_panel=SAMPLING_PANEL
    ),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        help=f"Sampler of every stage: {_SCHEDULER_NAMES}.",
        show_default="the model's own",
        rich_help_panel=SAMPLING_PANEL,
    ),
]
LastStage = Annotated[
    str | None,
    typer.Option(
        help="Stage to stop after: base or sr.",
        show_default="the model's last",
        rich_help_panel=SAMPLING_PANEL,
    ),
]


def resolve_dtype(dtype: str | None, optimize: bool) -> str:
    """The type of weights that `Dtype` and `Optimize` ask for, as `diffusers_tryon.inference.load_pipeline` wants it."""
    return dtype or ("fastest" if optimize else "float32")
