# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""How many pictures the renderer makes per second, by size and number of worker processes.

    python benchmarks/rendering.py
    python benchmarks/rendering.py --sizes 128 --workers 1 --workers 2 --rows 200 --repeats 5

Rows are rendered as `write_pairs` and the streams do it, one thread per process, without being encoded or written; a
row is two pictures, the person and the garment. The figures are medians over the repeats, with the least and the most;
"scaling" is the ratio to one worker at the same size in the same run, the baseline, and "CPU ms" the processor time
of one picture, which other work on the machine disturbs less. The second table compares rows rendered one by one in
one process, the baseline, with rows rendered side by side on each device there is. Close other programs first: two
workers need two idle cores.
"""

import time
from functools import partial
from statistics import median
from typing import Annotated

import torch
import typer

from diffusers_tryon.data.processes import worker_processes
from diffusers_tryon.rendering.samples import render_pair, render_rows


_PICTURES_PER_ROW = 2


def render_row(seed: int, size: int) -> float:
    """Render a row; returns the processor time in seconds."""
    began = time.process_time()
    render_pair(seed, size)
    return time.process_time() - began


def time_rows(workers: int, sizes: list[int], rows: int, repeats: int) -> dict[int, tuple[list[float], float]]:
    """For each size the pictures per second of each repeat, and the processor time of a picture in milliseconds."""
    figures = {}
    with worker_processes(workers, "Start the benchmark again") as pool:
        # The workers take turns, so that each has started and read all assets when all have answered.
        list(pool.map(partial(render_row, size=32), range(8 * workers)))
        for size in sizes:
            rates, seconds = [], []
            for repeat in range(repeats):
                seeds = range(1 + repeat * rows, 1 + (repeat + 1) * rows)
                began = time.perf_counter()
                seconds += pool.map(partial(render_row, size=size), seeds)
                rates.append(_PICTURES_PER_ROW * rows / (time.perf_counter() - began))
            figures[size] = rates, 1000 * sum(seconds) / len(seconds) / _PICTURES_PER_ROW
    return figures


def time_batches(size: int, rows: int, repeats: int) -> dict[str, list[float]]:
    """Pictures per second, each repeat, of rows rendered one by one and side by side on each device there is."""
    torch.set_num_threads(1)
    seeds = range(1, rows + 1)
    ways = {"one by one": lambda: [render_pair(seed, size) for seed in seeds]}
    for device in ["cpu"] + ["cuda"] * torch.cuda.is_available():
        ways[f"batch on {device}"] = partial(render_rows, seeds, size, device=device)
    figures = {}
    for name, render in ways.items():
        rates = []
        # The first call warms up.
        for _ in range(repeats + 1):
            began = time.perf_counter()
            render()
            rates.append(_PICTURES_PER_ROW * rows / (time.perf_counter() - began))
        figures[name] = rates[1:]
    return figures


def _spread(rates: list[float]) -> str:
    return f"{median(rates):8.1f}  ({min(rates):.1f} to {max(rates):.1f})"


def main(
    sizes: Annotated[list[int], typer.Option(help="sides in pixels")] = [64, 128, 256, 512],  # noqa: B006
    workers: Annotated[list[int], typer.Option(help="numbers of processes")] = [1, 2],  # noqa: B006
    rows: Annotated[int, typer.Option(help="rows per repeat")] = 40,
    repeats: Annotated[int, typer.Option(help="repeats, of which the median counts")] = 3,
    batch_size: Annotated[int, typer.Option(help="rows rendered side by side")] = 16,
) -> None:
    """Print pictures per second."""
    print("size  workers  pictures/s  (least to most)   scaling  CPU ms")
    baseline: dict[int, float] = {}
    for count in workers:
        for size, (rates, milliseconds) in time_rows(count, sizes, rows, repeats).items():
            baseline.setdefault(size, median(rates))
            ratio = median(rates) / baseline[size]
            print(f"{size:4}  {count:7}  {_spread(rates):28}  {ratio:6.2f}  {milliseconds:6.1f}", flush=True)
    print("\nsize  drawing         pictures/s  (least to most)   ratio to one by one")
    for size in sizes:
        figures = time_batches(size, batch_size, repeats)
        for name, rates in figures.items():
            ratio = median(rates) / median(figures["one by one"])
            print(f"{size:4}  {name:14}  {_spread(rates):28}  {ratio:6.2f}", flush=True)


if __name__ == "__main__":
    typer.run(main)
