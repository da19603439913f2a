# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""How much memory loading a cascade of full size and one call take, whole and with its stages in turn.

    python benchmarks/memory.py --folder random-cascade
    python benchmarks/memory.py --folder random-cascade --option "in turn" --option "in turn, channels_last, read"
    python benchmarks/memory.py --folder random-reference --base-preset reference-128 --sr-preset reference-256

The folder of a pipeline is measured as it is; if there is none, a random one of the presets is written there (4.5 GB
for the default). Each option runs in a process of its own, with a few steps of each stage: more take no more memory.
Linux tells how much of it is private to the process and how much are pages of mapped files, which the system may drop
and read again when memory is short. `peak` is the most of both together, by the system's own mark.
"""

import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import reporting
import torch
import typer
from accelerate import init_empty_weights
from diffusers.models.modeling_utils import ModelMixin
from random_cascade import write_random_cascade
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from diffusers_tryon import TryOnCascadePipeline
from diffusers_tryon.models.inputs import trained_size
from diffusers_tryon.pipelines.stage_loading import load_in_turn


GB = 1e9
_SAMPLING_SECONDS = 0.005


class Option(NamedTuple):
    """How a pipeline is loaded. `read` copies the weights from the file in place of mapping it, and so does in turn
    `optimized`, which is `pipe.optimize()`."""

    in_turn: bool
    channels_last: bool = False
    read: bool = False
    optimized: bool = False


OPTIONS = {
    "whole": Option(in_turn=False),
    "whole, channels_last": Option(in_turn=False, channels_last=True),
    "whole, optimized": Option(in_turn=False, optimized=True),
    "in turn": Option(in_turn=True),
    "in turn, read": Option(in_turn=True, read=True),
    "in turn, channels_last": Option(in_turn=True, channels_last=True),
    "in turn, channels_last, read": Option(in_turn=True, channels_last=True, read=True),
    "in turn, optimized": Option(in_turn=True, optimized=True),
}


# One process


class Memory:
    """The memory of this process, watched from a thread: for each phase the most of private and of file pages."""

    def __init__(self, phase: str):
        self.phase = phase
        self.peaks: dict[str, dict[str, float]] = {}
        threading.Thread(target=self._watch, daemon=True).start()

    def now(self) -> dict[str, float]:
        lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
        names = {"both": "VmRSS", "private": "RssAnon", "file": "RssFile"}
        return {name: int(lines[key].split()[0]) * 1024 / GB for name, key in names.items()}

    def _watch(self) -> None:
        while True:
            peaks, now = self.peaks.setdefault(self.phase, {}), self.now()
            self.peaks[self.phase] = {name: max(value, peaks.get(name, 0.0)) for name, value in now.items()}
            time.sleep(_SAMPLING_SECONDS)


def system_peak() -> float:
    """The most memory that this process ever had, in GB, as the system marked it."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / GB


def load(option: Option, folder: Path) -> TryOnCascadePipeline:
    def prepare(name: str, unet: ModelMixin) -> None:
        if option.channels_last:
            unet.to(memory_format=torch.channels_last)

    if option.in_turn:
        pipe = load_in_turn(folder, torch.bfloat16, prepare=prepare, disable_mmap=option.read)
    else:
        pipe = TryOnCascadePipeline.from_pretrained(folder, dtype=torch.bfloat16)
        for name in ("base_unet", "sr_unet"):
            prepare(name, getattr(pipe, name))
    if option.optimized:
        pipe.optimize(dtype=torch.bfloat16)
    return pipe


def call_arguments(size: tuple[int, int], steps: int) -> dict[str, Any]:
    random = np.random.default_rng(0)
    poses = random.uniform(0.1, 0.9, (2, 18, 3)).astype(np.float32)
    poses[..., 2] = 1.0
    return {
        "agnostic_image": random.integers(0, 256, (*size, 3), dtype=np.uint8),
        "garment_image": random.integers(0, 256, (*size, 3), dtype=np.uint8),
        "person_pose": poses[0],
        "garment_pose": poses[1],
        "num_inference_steps": steps,
        "sr_num_inference_steps": steps,
        "generator": torch.Generator().manual_seed(0),
        "output_type": "latent",
    }


def measure(name: str, folder: Path, steps: int) -> tuple[dict[str, Any], np.ndarray]:
    """In a fresh process: load, call, and tell the peaks in GB; also the picture, to compare."""
    memory = Memory("importing")
    time.sleep(10 * _SAMPLING_SECONDS)
    memory.phase = "loading"
    start = time.perf_counter()
    pipe = load(OPTIONS[name], folder)
    loaded = time.perf_counter()
    pipe.set_progress_bar_config(disable=True)

    def follow(pipe: TryOnCascadePipeline, step: int, timestep: torch.Tensor, tensors: dict) -> dict:
        memory.phase = "base" if step < steps - 1 else "sr"
        return tensors

    memory.phase = "base"
    output = pipe(**call_arguments(trained_size(pipe.sr_unet), steps), callback_on_step_end=follow)
    memory.phase = "after"
    time.sleep(10 * _SAMPLING_SECONDS)
    peaks = memory.peaks
    row = {
        "option": name,
        "peak GB": system_peak(),
        "private GB": max(peak["private"] for peak in peaks.values()),
        "file GB": max(peak["file"] for peak in peaks.values()),
        **{f"{phase} GB": peaks[phase]["both"] for phase in ("importing", "loading", "base", "sr", "after")},
        "load s": loaded - start,
        "call s": time.perf_counter() - loaded - 10 * _SAMPLING_SECONDS,
    }
    return row, output.images.numpy()


# Arithmetic for a GPU


class LiveBytes(TorchDispatchMode):
    """Counts what the results of operations hold, and the most at a time."""

    def __init__(self):
        super().__init__()
        self.sizes: dict[StorageWeakRef, int] = {}
        self.peak = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.sizes = {storage: size for storage, size in self.sizes.items() if not storage.expired()}
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                self.sizes[StorageWeakRef(storage)] = storage.nbytes()
        self.peak = max(self.peak, sum(self.sizes.values()))
        return result


@torch.no_grad()
def activation_bytes(unet: ModelMixin, rows: int) -> int:
    """The most that a pass of a network on the meta device holds beside its weights and inputs."""
    height, width = trained_size(unet)
    images = {
        name: torch.empty(rows, 3, height, width, dtype=unet.dtype, device="meta")
        for name in ("sample", "agnostic_image", "garment_image", "low_res_image")
    }
    if not unet.config.low_res_conditioning:
        del images["low_res_image"]
    pose = torch.empty(rows, 18, 3, device="meta")
    with LiveBytes() as live:
        unet(
            **images,
            timestep=torch.empty((), device="meta"),
            person_pose=pose,
            garment_pose=pose,
            return_dict=False,
        )
    return live.peak


def offload_row(name: str, unet: ModelMixin, rows: int) -> dict[str, Any]:
    weights = sum(parameter.nbytes for parameter in unet.parameters())
    activations = activation_bytes(unet, rows)
    return {
        "network": name,
        "weights GB": weights / GB,
        f"activations GB, {rows} rows": activations / GB,
        "together GB": (weights + activations) / GB,
    }


# The run


def main(
    folder: Annotated[Path, typer.Option(help="Of a pipeline, or to write a random one to.")],
    base_preset: Annotated[str, typer.Option(help="Of a random base network.")] = "paper-128-cached",
    sr_preset: Annotated[str, typer.Option(help="Of a random super-resolution network.")] = "paper-256-cached",
    option: Annotated[list[str] | None, typer.Option(help=f"Of {'; '.join(OPTIONS)}. By default all.")] = None,
    steps: Annotated[int, typer.Option(help="Of each stage.", min=1)] = 2,
    name: Annotated[str, typer.Option(help="Of the report.")] = "memory",
    results: Annotated[Path, typer.Option(help="Folder for the report.")] = reporting.RESULTS,
) -> None:
    if sys.platform != "linux":
        raise typer.BadParameter("the figures come from /proc, which only Linux has.")
    if not (folder / "model_index.json").exists():
        write_random_cascade(folder, {"base_unet": base_preset, "sr_unet": sr_preset})
    rows, first = [], None
    for option_name in option or OPTIONS:
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            row, picture = pool.submit(measure, option_name, folder, steps).result()
        first = picture if first is None else first
        rows.append({**row, "largest difference": float(np.abs(picture - first).max())})
        print(row, flush=True)
    pipe = load_in_turn(folder)
    offload = []
    for component in ("base_unet", "sr_unet"):
        with init_empty_weights(include_buffers=True):
            unet = type(getattr(pipe, component)).from_config(getattr(pipe, component).config)
        offload.append(offload_row(component, nn.Module.to(unet, torch.bfloat16), 2))
    tables = [
        reporting.Table(
            "Peak memory of a process",
            rows,
            "Gigabytes are 10^9 bytes; private pages and pages of mapped files together, if no more is said, and by "
            "phase as sampled. The difference is that to the first option's picture, whose values lie in [-1, 1]. "
            "Seconds are of one run on a machine that others used: they do not compare speeds.",
        ),
        reporting.Table(
            "Model offload to a GPU, by arithmetic",
            offload,
            "Not run: `enable_model_cpu_offload` holds one network at a time on the GPU, with the activations of a "
            "pass beside it, here of an image with guidance, the garment stream of both rows included. The context of "
            "CUDA, the work space of its convolutions and the allocator's rounding come on top.",
        ),
    ]
    settings = {"presets": [base_preset, sr_preset], "dtype": "bfloat16", "steps": steps, "images": 1}
    question = "How much memory does a cascade take, whole and with its stages in turn?"
    reporting.Report(name, question, reporting.describe_machine(), settings, tables).write(results)


if __name__ == "__main__":
    typer.run(main)
