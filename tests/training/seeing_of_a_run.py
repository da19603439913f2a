# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What one or several processes report of the same losses and network; run by `test_fixed_validation.py`."""

import json
import sys
from pathlib import Path

import torch

from diffusers_tryon import create_unet
from diffusers_tryon.rendering.stream import RenderedRows
from diffusers_tryon.schedules import create_scheduler
from diffusers_tryon.training.configuration import TrainingConfig
from diffusers_tryon.training.metrics import RunMetrics, read_metrics
from diffusers_tryon.training.order import local_indices
from diffusers_tryon.training.parallel import create_accelerator, distribute, leave
from diffusers_tryon.training.stage import LossOutput, TrainingStage
from diffusers_tryon.training.validation import FixedValidation


def report(folder: Path) -> dict:
    """Train nothing and report everything; the main process also writes it to `found.json` in the folder."""
    config = TrainingConfig(
        preset="tiny-base",
        dataset="rendered",
        output_dir=str(folder),
        global_batch_size=4,
        micro_batch_size=1,
        num_validation_rows=5,
        sample_steps=2,
    )
    accelerator = create_accelerator(config)
    rank, world_size = accelerator.process_index, accelerator.num_processes
    folder.mkdir(exist_ok=True)
    run_metrics = RunMetrics(accelerator, config, folder, flops_per_image=1.0, peak_flops=None, start_step=0)
    # The losses of the global batch, of which each process has its part.
    losses = torch.rand(4, generator=torch.Generator().manual_seed(0), dtype=torch.float64).float()
    timesteps = torch.tensor([3, 130, 270, 999])
    for indices in local_indices(config, rank, world_size):
        run_metrics.add(LossOutput(losses[indices], 2 * losses[indices], timesteps[indices], draw=None))
    run_metrics.finish_step(torch.tensor(0.5), data_wait_seconds=0.0)
    training = run_metrics.log(step=1, learning_rate=0.1, skipped_steps=0)
    run_metrics.write(1, training)

    torch.manual_seed(0)
    unet = create_unet(config.preset).eval()
    for parameter in unet.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    distribute(unet, config, accelerator)
    stage = TrainingStage(config, unet, accelerator.device, None, create_scheduler("ddpm"))
    fixed = FixedValidation(config, stage, RenderedRows(32), accelerator)
    validation_losses = fixed.losses(unet, stop=lambda: False)
    sheet = fixed.draw_sheets(unet, folder, 1, stop=lambda: False)
    shards = {type(parameter).__name__ for parameter in unet.parameters()}
    machine = ("seconds", "images_per_second", "data_wait_share", "peak_memory_gib")
    found = {
        "num_processes": world_size,
        "parameters": sorted(shards),
        "training": {name: value for name, value in training.items() if name not in machine},
        "losses": validation_losses,
        "sheet": sheet.values,
    }
    if accelerator.is_main_process:
        assert len(read_metrics(folder)) == 1
        (folder / "found.json").write_text(json.dumps(found))
    leave(accelerator)
    return found


if __name__ == "__main__":
    report(Path(sys.argv[1]))
