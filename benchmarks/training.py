# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What a training step costs by option: images per second, utilisation and peak memory, as ratios to the plain run.

    python benchmarks/training.py
    python benchmarks/training.py --preset paper-128 --batch-size 8 --options bf16 --options checkpointing

The plain run is in float32, with the optimiser and the averages going from weight to weight; each option is one change
to it, and "together" is all that a run with bf16 does. A measurement has a process of its own, in which the first
steps warm up (and compile); the options take turns, and the figures are medians over the repeats. Steps are those of
`training/train_tryon.py` on random pictures: noise, loss, gradients, clipping, optimiser, averages; no data loading.

Images per second are followed by the least and the most. "busy" is the processor time of one image in milliseconds,
which other work on the machine disturbs less. Utilisation is the network's operations per second over those of a
GPU's data sheet, or else of the better of a matrix product and a convolution in the same precision, measured in the
same process. Memory is what the process needs beyond what it has once all is imported; of a GPU, what torch allocates
there.
"""

import multiprocessing
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from statistics import median
from typing import Annotated, NamedTuple

import psutil
import torch
import typer
from accelerate import Accelerator

from diffusers_tryon import create_unet
from diffusers_tryon.poses import NUM_KEYPOINTS
from diffusers_tryon.training.columns import IMAGE_COLUMNS, POSE_COLUMNS
from diffusers_tryon.training.configuration import TrainingConfig
from diffusers_tryon.training.cost import peak_flops, training_flops_per_image
from diffusers_tryon.training.ema import DEFAULT_TRACK, WeightAverages
from diffusers_tryon.training.initial import load_initial
from diffusers_tryon.training.optimizers import create_optimizer
from diffusers_tryon.training.order import local_indices
from diffusers_tryon.training.parallel import clip_gradients, create_accelerator, distribute
from diffusers_tryon.training.stage import TrainingStage


PLAIN = "plain"
FUSED, GROUPED = "fused optimiser", "grouped averages"
# Settings that differ from the plain run's; the two above are no settings, because runs always have them.
OPTIONS = {
    PLAIN: {},
    FUSED: {},
    GROUPED: {},
    "bf16": {"mixed_precision": "bf16"},
    "channels_last": {"channels_last": True},
    "checkpointing": {"gradient_checkpointing": True},
    "two micro-batches": {"micro_batches": 2},
    "adamw8bit": {"optimizer": "adamw8bit"},
    "compile": {"compile": True},
    "together": {"mixed_precision": "bf16"},
    "together, chunked attention": {"mixed_precision": "bf16", "chunked_attention": True},
    "together, channels_last": {"mixed_precision": "bf16", "channels_last": True},
    "together, compile": {"mixed_precision": "bf16", "compile": True},
}
_WARM_UP_STEPS = 2
_MIB = 2**20


class Measurement(NamedTuple):
    """
    Attributes:
        images_per_second: over all measured steps.
        busy_milliseconds: processor time per image, all threads together.
        utilisation: of the peak of a matrix product, 0 to 1.
        memory: bytes at the peak.
    """

    images_per_second: float
    busy_milliseconds: float
    utilisation: float
    memory: int


class PeakMemory:
    """Within the block, watches the memory of this process, or of its GPU; `bytes` is the most it took."""

    _SECONDS = 0.005

    def __init__(self, device: torch.device):
        self.device, self.bytes = device, 0

    def __enter__(self) -> "PeakMemory":
        self._process = psutil.Process()
        self._before = self._process.memory_info().rss
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error) -> None:
        self._done.set()
        self._thread.join()
        if self.device.type == "cuda":
            self.bytes = torch.cuda.max_memory_allocated(self.device)

    def _watch(self) -> None:
        while not self._done.wait(self._SECONDS):
            self.bytes = max(self.bytes, self._process.memory_info().rss - self._before)


def settings_of(preset: str, option: str, batch_size: int) -> TrainingConfig:
    settings = dict(OPTIONS[option])
    if "micro_batches" in settings:
        settings["micro_batch_size"] = batch_size // settings.pop("micro_batches")
    with torch.device("meta"):
        network = create_unet(preset).config
    if network.low_res_conditioning:
        settings |= {"stage": "sr", "low_res_size": network.sample_size // 2}
    return TrainingConfig(
        dataset="unused", output_dir="unused", preset=preset, global_batch_size=batch_size, **settings
    )


def random_batch(config: TrainingConfig, size: tuple[int, int], batch_size: int) -> dict[str, torch.Tensor]:
    batch = {name: torch.randint(256, (batch_size, 3, *size), dtype=torch.uint8) for name in IMAGE_COLUMNS}
    return batch | {name: torch.rand(batch_size, NUM_KEYPOINTS, 3) for name in POSE_COLUMNS}


def training_step(config: TrainingConfig, option: str, accelerator: Accelerator) -> Callable[[int], None]:
    """Sets up a run; the function it returns takes one step."""
    initial = load_initial(config)
    stage = TrainingStage(config, initial.unet, accelerator.device, initial.betas, initial.image_noising_scheduler)
    model = distribute(initial.unet, config, accelerator)
    parameters = list(initial.unet.parameters())
    together = option.startswith("together")
    if option == FUSED or together or config.optimizer != "adamw":
        optimizer = create_optimizer(parameters, config)
    else:
        optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, foreach=False, fused=False)
    averages = WeightAverages(parameters, config)
    micro_batches = local_indices(config, 0, 1)
    batch = random_batch(config, stage.size, len(micro_batches[0]))

    @torch.no_grad()
    def average_one_by_one() -> None:
        for average, parameter in zip(averages.tracks[DEFAULT_TRACK], parameters):
            average.lerp_(parameter, 1e-4)

    def step(number: int) -> None:
        for indices in micro_batches:
            with accelerator.autocast():
                loss = stage.loss(model, batch, number, indices).loss.mean()
            (loss / len(micro_batches)).backward()
        clip_gradients(optimizer, config.max_grad_norm)
        optimizer.step()
        averages.step(parameters) if option == GROUPED or together else average_one_by_one()
        optimizer.zero_grad()
        if accelerator.device.type == "cuda":
            torch.cuda.synchronize(accelerator.device)

    return step


def measure(preset: str, option: str, batch_size: int, steps: int, threads: int) -> Measurement:
    """One measurement, in the process that calls."""
    torch.set_num_threads(threads)
    config = settings_of(preset, option, batch_size)
    accelerator = create_accelerator(config)
    device = accelerator.device
    dtype = torch.bfloat16 if config.mixed_precision == "bf16" else torch.float32
    flops_per_image = training_flops_per_image(load_initial(config).unet)
    peak = peak_flops(device, dtype, config.tf32)
    with PeakMemory(device) as memory:
        step = training_step(config, option, accelerator)
        for number in range(_WARM_UP_STEPS):
            step(number)
        began, began_busy = time.perf_counter(), time.process_time()
        for number in range(steps):
            step(number)
        seconds, busy = time.perf_counter() - began, time.process_time() - began_busy
    images = steps * batch_size
    return Measurement(images / seconds, 1000 * busy / images, images / seconds * flops_per_image / peak, memory.bytes)


def measure_in_turns(
    preset: str, options: list[str], batch_size: int, steps: int, repeats: int, threads: int
) -> dict[str, list[Measurement]]:
    """The measurements of each option, one per repeat; all options have been measured before any is again."""
    figures = {option: [] for option in options}
    # A process per measurement, for memory that none before has used.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
        for _ in range(repeats):
            for option, measurements in figures.items():
                measurements.append(pool.submit(measure, preset, option, batch_size, steps, threads).result())
    return figures


def main(
    preset: Annotated[str, typer.Option(help="network to train")] = "small-128",
    batch_size: Annotated[int, typer.Option(help="images per step")] = 16,
    steps: Annotated[int, typer.Option(help="steps of one measurement")] = 5,
    repeats: Annotated[int, typer.Option(help="measurements, of which the median counts")] = 3,
    threads: Annotated[int, typer.Option(help="threads on the CPU")] = torch.get_num_threads(),
    options: Annotated[list[str] | None, typer.Option(help=f"beside {PLAIN}; all if not given")] = None,
) -> None:
    """Print a line per option."""
    unknown = sorted(set(options or ()) - set(OPTIONS))
    if unknown:
        raise typer.BadParameter(
            f"must be among {', '.join(OPTIONS)}, got {', '.join(unknown)}", param_hint="--options"
        )
    chosen = [PLAIN, *(options or [name for name in OPTIONS if name != PLAIN])]
    if "adamw8bit" in chosen and find_spec("bitsandbytes") is None:
        chosen.remove("adamw8bit")
        print("adamw8bit is left out: it needs the extra `adam8bit`.")
    figures = measure_in_turns(preset, chosen, batch_size, steps, repeats, threads)
    print(f"{preset}, {batch_size} images per step")
    print(f"{'option':25}  images/s  (least to most)      ratio  busy ms  ratio  utilisation  MiB    ratio")
    plain = [median(values) for values in zip(*figures[PLAIN])]
    for option, measurements in figures.items():
        rates = [measurement.images_per_second for measurement in measurements]
        rate, busy, utilisation, memory = (median(values) for values in zip(*measurements))
        spread = f"{rate:8.2f}  ({min(rates):.2f} to {max(rates):.2f})"
        print(
            f"{option:25}  {spread:28} {rate / plain[0]:6.2f}  {busy:7.1f}  {busy / plain[1]:5.2f}  "
            f"{utilisation:11.2f}  {memory / _MIB:5.0f}  {memory / plain[3]:5.2f}"
        )


if __name__ == "__main__":
    typer.run(main)
