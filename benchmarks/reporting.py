# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: measuring in turns, describing the machine, and reports as JSON and Markdown.

A script measures all its options in one run, `take_turns`, brings the figures into tables, `timing_row`, and writes a
`Report`: NAME.json with every measurement and NAME.md with the medians. Written reports are kept in
`benchmarks/results/`.
"""

import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import diffusers
import psutil
import torch

from diffusers_tryon.files import written_beside


RESULTS = Path(__file__).parent / "results"
# What decides how fast a CPU multiplies matrices.
_CPU_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "asimd", "sve", "bf16")
# Columns with names of these hold every measurement: they are for the JSON file alone.
MEASUREMENTS = "measurements"


# Measuring


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def seconds_of(work: Callable[[], Any], device: torch.device = torch.device("cpu")) -> float:
    """What a call takes by the clock, until the device has finished."""
    synchronize(device)
    began = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - began


def take_turns(options: Mapping[str, Callable[[], float]], repeats: int, warm_up: int = 1) -> dict[str, list[float]]:
    """The measurements of each option; all options have been measured once before any is measured again.

    Args:
        options: functions that measure once and return the figure, by the option's name.
        repeats: measurements of each.
        warm_up: turns before these whose figures are dropped.
    """
    figures: dict[str, list[float]] = {name: [] for name in options}
    for turn in range(warm_up + repeats):
        for name, measure in options.items():
            figure = measure()
            if turn >= warm_up:
                figures[name].append(figure)
    return figures


def timing_row(name: str, seconds: Sequence[float], baseline: Sequence[float], **columns: Any) -> dict[str, Any]:
    """A row of a table: an option, the median of its measurements with the least and the most, and their ratio.

    Args:
        name: of the option.
        seconds: its measurements.
        baseline: those of the option that it is compared with, in the same run.
        **columns: further columns.
    """
    return {
        "option": name,
        "seconds": median(seconds),
        "least": min(seconds),
        "most": max(seconds),
        "times faster": median(baseline) / median(seconds),
        **columns,
        MEASUREMENTS: list(seconds),
    }


# The machine


def describe_machine(device: torch.device = torch.device("cpu")) -> dict[str, Any]:
    """The machine and the software that figures depend on, as they are now."""
    name, flags = _processor()
    machine = {
        "processor": name,
        "instructions": [flag for flag in _CPU_FLAGS if flag in flags],
        "cores": len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        machine["gpu"] = properties.name
        machine["gpu_memory_gib"] = round(properties.total_memory / 2**30, 1)
        machine["cuda"] = torch.version.cuda
    return machine


def _processor() -> tuple[str, set[str]]:
    """Name and instruction sets of the processor; Linux alone tells the latter."""
    information = Path("/proc/cpuinfo")
    if not information.exists():
        return platform.processor() or platform.machine(), set()
    entries = dict(line.split(":", 1) for line in information.read_text().splitlines() if ":" in line)
    entries = {key.strip(): value.strip() for key, value in entries.items()}
    return entries.get("model name", platform.machine()), set(
        entries.get("flags", entries.get("Features", "")).split()
    )


# Reports


class Table(NamedTuple):
    """
    Attributes:
        title: what is compared.
        rows: values by column. Lists are written to the JSON file only; a row may lack columns.
        note: what the columns mean, where their names do not tell.
    """

    title: str
    rows: list[dict[str, Any]]
    note: str = ""

    def columns(self) -> list[str]:
        """In the order in which rows first name them."""
        names = dict.fromkeys(name for row in self.rows for name in row)
        return [name for name in names if not any(isinstance(row.get(name), list) for row in self.rows)]

    def markdown(self) -> str:
        columns = self.columns()
        cells = [[format_value(row.get(name)) for name in columns] for row in self.rows]
        is_number = [all(isinstance(row.get(name), int | float | None) for row in self.rows) for name in columns]
        lines = [_line(columns), _line("---:" if number else "---" for number in is_number), *map(_line, cells)]
        return "\n".join([f"## {self.title}", "", *([self.note, ""] if self.note else []), *lines])


class Report(NamedTuple):
    """What one run of a script found out.

    Attributes:
        name: of the files.
        question: that the run answers, a sentence.
        machine: from `describe_machine`.
        settings: of the run.
        tables: the figures.
        notes: what a reader must know to judge them, a sentence each.
    """

    name: str
    question: str
    machine: dict[str, Any]
    settings: dict[str, Any]
    tables: list[Table]
    notes: Sequence[str] = ()

    def markdown(self) -> str:
        machine = "; ".join(f"{key} {format_value(value)}" for key, value in self.machine.items())
        settings = "; ".join(f"{key} {format_value(value)}" for key, value in self.settings.items())
        parts = [f"# {self.question}", f"`{_command()}`", f"Machine: {machine}.", f"Settings: {settings}."]
        parts += [table.markdown() for table in self.tables]
        if self.notes:
            parts.append("\n".join(f"- {note}" for note in self.notes))
        return "\n\n".join(parts) + "\n"

    def write(self, folder: Path = RESULTS) -> None:
        """Print the report and write it to NAME.json and NAME.md."""
        content = {**self._asdict(), "command": _command(), "tables": [table._asdict() for table in self.tables]}
        text = self.markdown()
        with written_beside(folder / f"{self.name}.json") as path:
            path.write_text(json.dumps(content, indent=1) + "\n")
        with written_beside(folder / f"{self.name}.md") as path:
            path.write_text(text)
        print(text)


def format_value(value: Any) -> str:
    """As a cell: numbers with three digits, switches as words, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(format_value, value))
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _command() -> str:
    """The command that was run, from the top of the checkout."""
    return shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
