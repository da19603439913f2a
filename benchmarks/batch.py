# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""How many pictures a minute `diffusers-tryon batch` makes: by batch size, by number of processes, and with one
garment for all or one for each.

    python benchmarks/batch.py
    python benchmarks/batch.py --model my-cascade --optimize --batch-sizes 1,8,32 --processes 1,2,4,8 --rows 64

The conditions are those of `samples/rendered`, in files of many names. Batch sizes and garments are measured in this
process, from reading files to written pictures. Processes are launched by torchrun and share the machine's cores (one
has them all), or have a GPU each; the number of rows should be a multiple of batch size times processes. All options of
a table take turns.
"""

import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from reporting import RESULTS, Report, Table, describe_machine, seconds_of, take_turns, timing_row

from diffusers_tryon.batch.folder import BatchFolder
from diffusers_tryon.batch.generation import BatchGenerator, cut_chunks
from diffusers_tryon.batch.manifest import list_rows
from diffusers_tryon.batch.photographs import Photographs
from diffusers_tryon.cli_options import resolve_dtype
from diffusers_tryon.evaluation.generation import picture_size
from diffusers_tryon.inference import load_pipeline


SAMPLE = Path(__file__).parents[1] / "samples" / "rendered"
ONE_GARMENT, OWN_GARMENTS = "one garment for all", "a garment for each"


def write_manifest(folder: Path, rows: int, own_garments: bool) -> Path:
    """A manifest of equal people in one garment, or in as many equal garments of names of their own."""
    person = {
        "agnostic_image": str(SAMPLE / "agnostic.png"),
        "agnostic_mask": str(SAMPLE / "agnostic_mask.png"),
        "person_pose": str(SAMPLE / "person_pose.json"),
        "garment_pose": str(SAMPLE / "garment_pose.json"),
    }
    lines = []
    for number in range(rows):
        garment = folder / f"garment-{number if own_garments else 0}.png"
        if not garment.exists():
            shutil.copy(SAMPLE / "garment.png", garment)
        lines.append({"id": f"row-{number}", "garment_image": str(garment), **person})
    path = folder / f"{'own' if own_garments else 'one'}.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def making(folder: Path, manifest: Path, pipeline: Any, call: dict[str, int], batch_size: int) -> float:
    """Seconds for all pictures of a manifest in this process."""
    listed, out = list_rows(manifest), BatchFolder(folder / "out")
    shutil.rmtree(out.path, ignore_errors=True)
    out.begin(listed.rows)
    photographs = Photographs(out.prepared, listed, picture_size(pipeline, call))
    generator = BatchGenerator(listed, out, photographs, pipeline, call, seed=0)
    seconds = seconds_of(lambda: generator.make(cut_chunks(listed.rows, batch_size)), pipeline.device)
    if out.write_tables(listed) != (len(listed.rows), 0):
        raise RuntimeError(f"Rows failed, see {out.path / 'failures.csv'}.")
    return seconds


def launching(folder: Path, arguments: list[str], processes: int, threads: int) -> tuple[float, float]:
    """Seconds in which so many processes make all pictures, their calls of the pipeline alone, and from start to end."""
    out = folder / "launched"
    shutil.rmtree(out, ignore_errors=True)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [*launcher, "-m", "diffusers_tryon", *arguments, "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(max(1, threads // processes))}
    environment["PYTHONPATH"] = os.pathsep.join([str(SAMPLE.parents[1]), environment.get("PYTHONPATH", "")])
    whole = seconds_of(
        lambda: subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    )
    with (out / "results.csv").open(newline="", encoding="utf-8") as file:
        calls = sum(float(line["seconds"]) for line in csv.DictReader(file))
    # Equal shares at the same time.
    return calls / processes, whole


def table(title: str, seconds: dict[str, list[float]], rows: int, note: str, **columns: dict[str, float]) -> Table:
    """Options beside the first of them."""
    baseline = next(iter(seconds.values()))
    return Table(
        title,
        [
            timing_row(
                name,
                taken,
                baseline,
                **{"pictures a minute": 60 * rows / median(taken)},
                **{column: values[name] for column, values in columns.items()},
            )
            for name, taken in seconds.items()
        ],
        note,
    )


def main(
    model: Annotated[str | None, typer.Option(help="Folder or Hub id.", show_default="the shipped checkpoint")] = None,
    rows: Annotated[int, typer.Option(help="Pictures of a measurement.", min=1)] = 16,
    batch_sizes: Annotated[str, typer.Option(help="To compare, the first one with the others.")] = "1,2,4,8,16",
    processes: Annotated[str, typer.Option(help="Numbers of processes; empty for none.")] = "1,2",
    batch_size: Annotated[int, typer.Option(help="With which garments and processes are measured.", min=1)] = 4,
    steps: Annotated[int, typer.Option(help="Of the base stage.", min=1)] = 10,
    sr_steps: Annotated[int, typer.Option(help="Of the super-resolution stage.", min=1)] = 5,
    dtype: Annotated[str | None, typer.Option(help="As in the command.")] = None,
    device: Annotated[str, typer.Option(help="As in the command.")] = "auto",
    optimize: Annotated[bool, typer.Option("--optimize", help="As in the command.")] = False,
    repeats: Annotated[int, typer.Option(help="Turns.", min=1)] = 3,
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = RESULTS,
) -> None:
    """Measure the throughput of `diffusers-tryon batch`."""
    pipeline = load_pipeline(model, resolve_dtype(dtype, optimize), device)
    pipeline.set_progress_bar_config(disable=True)
    speed = str(pipeline.optimize(pipeline.dtype)) if optimize else "as loaded"
    call = {"num_inference_steps": steps, "sr_num_inference_steps": sr_steps}
    tables = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        one, own = (write_manifest(folder, rows, own_garments) for own_garments in (False, True))

        def measure(manifest: Path, size: int) -> Callable[[], float]:
            return lambda: making(folder, manifest, pipeline, call, size)

        sizes = {str(size): measure(one, int(size)) for size in batch_sizes.split(",")}
        seconds = take_turns(sizes, repeats)
        tables.append(table("Batch size", seconds, rows, f"{rows} pictures in one garment, in one process."))
        garments = {OWN_GARMENTS: measure(own, batch_size), ONE_GARMENT: measure(one, batch_size)}
        seconds = take_turns(garments, repeats)
        tables.append(table("Garments", seconds, rows, f"{rows} pictures in batches of {batch_size}."))
        if processes:
            arguments = ["batch", str(one), "--batch-size", str(batch_size), "--device", device]
            arguments += ["--steps", str(steps), "--sr-steps", str(sr_steps), *(["--optimize"] if optimize else [])]
            arguments += [*(["--model", model] if model else []), *(["--dtype", dtype] if dtype else [])]
            tables.append(measure_processes(folder, arguments, processes, rows, repeats))
    Report(
        "batch",
        "How many pictures a minute does `diffusers-tryon batch` make?",
        describe_machine(pipeline.device),
        {
            "model": model or "the shipped checkpoint",
            "options": speed,
            "rows": rows,
            "steps": steps,
            "super-resolution steps": sr_steps,
            "repeats": repeats,
        },
        tables,
    ).write(out)


def measure_processes(folder: Path, arguments: list[str], processes: str, rows: int, repeats: int) -> Table:
    wholes: dict[str, list[float]] = {}

    def measure(count: str) -> Callable[[], float]:
        def once() -> float:
            seconds, whole = launching(folder, arguments, int(count), os.cpu_count() or 1)
            wholes.setdefault(count, []).append(whole)
            return seconds

        return once

    seconds = take_turns({count: measure(count) for count in processes.split(",")}, repeats, warm_up=0)
    return table(
        "Processes",
        seconds,
        rows,
        f"{rows} pictures in one garment. Seconds are those of the pipeline's calls, of which each process has an equal "
        'share; "whole" is the command from start to end, with loading.',
        whole={count: median(taken) for count, taken in wholes.items()},
    )


if __name__ == "__main__":
    typer.run(main)
