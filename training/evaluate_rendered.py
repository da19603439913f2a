# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Measure a cascade on rendered people that training never saw, against the true unpaired picture.

    python training/evaluate_rendered.py --model hub_cards/tryon-cascade-first --count 64 --sheet sheet.png

Each row is a person and the garment of somebody else; the renderer also draws that very person in that garment, which
no set of photographs can offer. The figures are over the edited region: the pixels that the agnostic image hides.
"""

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image

from diffusers_tryon import TryOnCascadePipeline, TryOnImageProcessor
from diffusers_tryon.rendering.samples import render_unpaired


def psnr(image: torch.Tensor, truth: torch.Tensor, region: torch.Tensor) -> float:
    """Peak signal to noise in dB of (3, H, W) images in [0, 1] where `region`, (1, H, W), is true."""
    error = ((image - truth) ** 2)[region.expand_as(truth)].mean()
    return float(-10 * torch.log10(error))


def flat_colour(garment_image: torch.Tensor, agnostic_image: torch.Tensor, region: torch.Tensor) -> torch.Tensor:
    """Baseline: the edited region painted in the garment's mean colour."""
    is_garment = (garment_image < 0.98).any(dim=0)
    colour = garment_image[:, is_garment].mean(dim=1)
    return torch.where(region, colour[:, None, None], agnostic_image)


def evaluate_batch(
    pipeline: TryOnCascadePipeline, rows: list[dict], **call_arguments
) -> tuple[list[dict[str, float]], list[np.ndarray]]:
    """Figures and one strip of pictures (agnostic, garment, every stage, truth) per row."""
    processor = TryOnImageProcessor()
    output = pipeline(
        agnostic_image=np.stack([row["agnostic_image"] for row in rows]),
        garment_image=np.stack([row["garment_image"] for row in rows]),
        person_pose=np.stack([row["person_pose"] for row in rows]),
        garment_pose=np.stack([row["garment_pose"] for row in rows]),
        output_type="pt",
        **call_arguments,
    )
    height, width = output.images.shape[-2:]

    def prepared(name: str) -> torch.Tensor:
        images = np.stack([row[name] for row in rows])
        return processor.preprocess(images, height, width, name=name) / 2 + 0.5

    agnostic, garment, truth = prepared("agnostic_image"), prepared("garment_image"), prepared("target_image")
    regions = processor.preprocess_mask(np.stack([row["agnostic_mask"] for row in rows]), height, width)
    figures, strips = [], []
    for index, image in enumerate(output.images.cpu()):
        region = regions[index]
        figures.append(
            {
                "psnr": psnr(image, truth[index], region),
                "psnr_agnostic": psnr(agnostic[index], truth[index], region),
                "psnr_flat_colour": psnr(flat_colour(garment[index], agnostic[index], region), truth[index], region),
                "colour_error": float((image - truth[index])[region.expand_as(image)].mean()),
            }
        )
        stages = [stage[index].cpu()[None] for stage in output.stages.values()]
        enlarged = [torch.nn.functional.interpolate(stage, (height, width), mode="nearest")[0] for stage in stages]
        strip = torch.cat([agnostic[index], garment[index], *enlarged, truth[index]], dim=2)
        strips.append((strip.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))
    return figures, strips


def main(
    model: Annotated[Path, typer.Option(help="pipeline folder")],
    count: Annotated[int, typer.Option(min=1, help="held-out rows")] = 64,
    size: Annotated[int, typer.Option(help="side in pixels at which the rows are rendered")] = 128,
    seed: Annotated[int, typer.Option(help="of the rows and of the noise")] = 0,
    steps: Annotated[int | None, typer.Option(help="steps of the base stage")] = None,
    sr_steps: Annotated[int | None, typer.Option(help="steps of the super-resolution stage")] = None,
    guidance: Annotated[float | None, typer.Option(help="guidance scale of both stages")] = None,
    low_res_noise_level: Annotated[int | None, typer.Option(help="0 to 999")] = None,
    category: Annotated[
        str | None, typer.Option(help="upper, lower or dress; all three as the renderer mixes them if not given")
    ] = None,
    sheet: Annotated[Path | None, typer.Option(help="picture of all rows to write")] = None,
    out: Annotated[Path | None, typer.Option(help="JSON file to write")] = None,
) -> None:
    pipeline = TryOnCascadePipeline.from_pretrained(model, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    chosen = {
        "num_inference_steps": steps,
        "sr_num_inference_steps": sr_steps,
        "guidance_scale": guidance,
        "sr_guidance_scale": guidance,
        "low_res_noise_level": low_res_noise_level,
    }
    call_arguments = {name: value for name, value in chosen.items() if value is not None}
    figures, strips = [], []
    for first in range(0, count, 8):
        seeds = range(seed + first, seed + min(first + 8, count))
        rows = [render_unpaired(row_seed, size, "test", category) for row_seed in seeds]
        generators = [torch.Generator().manual_seed(row_seed) for row_seed in seeds]
        batch_figures, batch_strips = evaluate_batch(pipeline, rows, generator=generators, **call_arguments)
        figures += batch_figures
        strips += batch_strips
    summary = {name: float(np.mean([row[name] for row in figures])) for name in figures[0]}
    for baseline in ("psnr_agnostic", "psnr_flat_colour"):
        summary[f"share_better_than_{baseline}"] = float(np.mean([row["psnr"] > row[baseline] for row in figures]))
    result = {
        "model": model.name,
        "count": count,
        "size": size,
        "seed": seed,
        "category": category,
        **call_arguments,
        **summary,
    }
    print(json.dumps(result, indent=2))
    if out is not None:
        out.write_text(json.dumps({**result, "rows": figures}, indent=2) + "\n")
    if sheet is not None:
        half = (len(strips) + 1) // 2
        strips += [np.full_like(strips[0], 255)] * (2 * half - len(strips))
        Image.fromarray(np.concatenate([np.concatenate(strips[:half]), np.concatenate(strips[half:])], axis=1)).save(
            sheet
        )


if __name__ == "__main__":
    typer.run(main)
