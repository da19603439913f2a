# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Make a pipeline folder of one or two finished training runs.

    python training/export_pipeline.py --base runs/first-base --sr runs/first-sr --out my-cascade --dtype float16

The folder is one for `TryOnCascadePipeline.from_pretrained`.
"""

from enum import Enum
from pathlib import Path
from typing import Annotated

import torch
import typer

from diffusers_tryon.hub.export import join_stages, load_components, save_components


class WeightsType(str, Enum):
    float32 = "float32"
    float16 = "float16"
    bfloat16 = "bfloat16"


def main(
    base: Annotated[Path, typer.Option(help="the base stage: its run's output folder, or a pipeline folder")],
    out: Annotated[Path, typer.Option(help="pipeline folder to write")],
    sr: Annotated[Path | None, typer.Option(help="the super-resolution stage, likewise")] = None,
    dtype: Annotated[WeightsType, typer.Option(help="of the weights")] = WeightsType.float32,
) -> None:
    weights_dtype = getattr(torch, dtype.value)
    try:
        components = load_components(base, "base", weights_dtype)
        if sr is not None:
            components = join_stages(components, load_components(sr, "sr", weights_dtype))
    except ValueError as error:
        raise SystemExit(str(error))
    save_components(out, components)


if __name__ == "__main__":
    typer.run(main)
