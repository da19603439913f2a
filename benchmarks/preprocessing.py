# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""How long a photograph takes on its way to the conditions of the networks, stage by stage.

    python benchmarks/preprocessing.py
    python benchmarks/preprocessing.py --sides 512 --sides 2048 --repeats 20 --json figures.json
    python benchmarks/preprocessing.py --preprocessor hub --person-photo ME.jpg --garment-photo SHIRT.jpg

Unless photographs are given, rendered ones are taken: a person, another person who wears the garment, and a garment
alone on white, as JPEG files of each side. Figures are medians over the repeats in milliseconds, with the least and
the most; "share" is that of the photograph's total in the same run, "CPU ms" the processor time of all threads
together, which other work on the machine disturbs less. Loading the networks and the first call, which warms up, are
not counted.
Stages: reading the file; finding people; pose and person mask; label map; "cleaning" is all else that is done before
the photograph is told apart, choosing the person and cleaning the label map above all; "composing" makes the
conditions. "whole call" is both photographs in one call. Close other programs first.
"""

import json
import os
import platform
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Annotated, Any, NamedTuple

import torch
import typer
from PIL import Image

from diffusers_tryon.preprocessing.errors import PreprocessingWarning
from diffusers_tryon.preprocessing.photos import read_photo
from diffusers_tryon.preprocessing.preprocessor import TryOnPreprocessor
from diffusers_tryon.rendering.samples import render_pair


CATEGORY = "upper"
# What is rendered: a person in front of something, and somebody else.
_PERSON_SEED, _WEARER_SEED = 4, 8
_JPEG_QUALITY = 92
STAGES = ("reading", "detecting", "pose", "parsing", "cleaning", "composing")
TOTAL, WHOLE_CALL = "total", "whole call"


class Cost(NamedTuple):
    """What something took, in seconds: by the clock, and of the processor."""

    seconds: float
    busy: float

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.seconds + other.seconds, self.busy + other.busy)

    def __sub__(self, other: "Cost") -> "Cost":
        return Cost(self.seconds - other.seconds, self.busy - other.busy)


def now() -> Cost:
    return Cost(time.perf_counter(), time.process_time())


class TimedBackend:
    """A back end that remembers what the last call of one of its methods took."""

    def __init__(self, backend: Any, method: str):
        self._backend, self._method = backend, method
        self.cost = Cost(0.0, 0.0)

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._backend, name)
        return self._timed(attribute) if name == self._method else attribute

    def _timed(self, method: Callable) -> Callable:
        def call(*arguments: Any) -> Any:
            began = now()
            result = method(*arguments)
            self.cost = now() - began
            return result

        return call


class Photographs(NamedTuple):
    """Files of the three kinds of photographs; those that are None are not measured."""

    person: Path
    worn_garment: Path | None
    flat_garment: Path | None


@contextmanager
def rendered_photographs(side: int) -> Iterator[Photographs]:
    with tempfile.TemporaryDirectory() as folder:
        row = render_pair(_PERSON_SEED, side, category=CATEGORY)
        wearer = render_pair(_WEARER_SEED, side, category=CATEGORY)
        images = (row["person_image"], wearer["person_image"], row["garment_image"])
        files = Photographs(*(Path(folder) / f"{number}.jpg" for number in range(3)))
        for image, file in zip(images, files):
            Image.fromarray(image).save(file, quality=_JPEG_QUALITY)
        yield files


def time_photograph(preprocessor: TryOnPreprocessor, file: Path, garment_type: str | None) -> dict[str, Cost]:
    """What each stage of a garment's photograph takes, or of a person's if `garment_type` is None."""
    began = now()
    read_photo(file, "photo")
    reading = now() - began

    began = now()
    (analysis,) = preprocessor.analyse([file])
    analysing = now() - began
    backends = preprocessor.person_detector, preprocessor.pose_estimator, preprocessor.human_parser
    seeing = [backend.cost for backend in backends]

    began = now()
    if garment_type is None:
        preprocessor.prepare_person(analysis, CATEGORY)
    else:
        preprocessor.prepare_garment(analysis, CATEGORY, garment_type)
    composing = now() - began
    cleaning = analysing - reading - seeing[0] - seeing[1] - seeing[2]
    return dict(zip(STAGES, (reading, *seeing, cleaning, composing))) | {TOTAL: analysing + composing}


def time_call(preprocessor: TryOnPreprocessor, files: Photographs) -> Cost:
    garment = files.worn_garment or files.flat_garment
    began = now()
    preprocessor(files.person, garment, category=CATEGORY, garment_type="worn" if files.worn_garment else "flat")
    return now() - began


def measure(preprocessor: TryOnPreprocessor, files: Photographs, repeats: int) -> dict[str, dict[str, list[Cost]]]:
    """By photograph and stage what each repeat took; the photographs take turns."""
    kinds = {"person": (files.person, None)}
    if files.worn_garment is not None:
        kinds["worn garment"] = (files.worn_garment, "worn")
    if files.flat_garment is not None:
        kinds["flat garment"] = (files.flat_garment, "flat")
    figures: dict[str, dict[str, list[Cost]]] = {kind: {stage: [] for stage in (*STAGES, TOTAL)} for kind in kinds}
    figures["both"] = {WHOLE_CALL: []}
    # The first time warms up.
    for repeat in range(repeats + 1):
        for kind, (file, garment_type) in kinds.items():
            for stage, cost in time_photograph(preprocessor, file, garment_type).items():
                figures[kind][stage] += [cost] * (repeat > 0)
        figures["both"][WHOLE_CALL] += [time_call(preprocessor, files)] * (repeat > 0)
    return figures


def print_figures(title: str, figures: dict[str, dict[str, list[Cost]]]) -> None:
    print(f"\n{title}\n{'photograph':13} {'stage':11}      ms  (least to most)     share  CPU ms")
    for kind, stages in figures.items():
        total = median(cost.seconds for cost in stages.get(TOTAL, stages.get(WHOLE_CALL, [])))
        for stage, costs in stages.items():
            times = [1000 * cost.seconds for cost in costs]
            spread = f"{median(times):7.0f}  ({min(times):.0f} to {max(times):.0f})"
            busy = 1000 * median(cost.busy for cost in costs)
            print(f"{kind:13} {stage:11} {spread:26} {median(times) / 1000 / total:5.2f}  {busy:6.0f}", flush=True)


def timed_preprocessor(source: str) -> TryOnPreprocessor:
    preprocessor = TryOnPreprocessor.from_pretrained(source)
    return TryOnPreprocessor(
        TimedBackend(preprocessor.human_parser, "parse"),
        TimedBackend(preprocessor.pose_estimator, "estimate"),
        TimedBackend(preprocessor.person_detector, "detect"),
    )


def describe_machine(preprocessor: TryOnPreprocessor) -> str:
    backends = preprocessor.person_detector, preprocessor.pose_estimator, preprocessor.human_parser
    names = ", ".join(type(backend._backend).__name__ for backend in backends)
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"Python {platform.python_version()}; {names}"
    )


def main(
    sides: Annotated[list[int], typer.Option(help="sides in pixels of rendered photographs")] = [1024],  # noqa: B006
    repeats: Annotated[int, typer.Option(help="repeats, of which the median counts")] = 7,
    threads: Annotated[int, typer.Option(help="threads of torch")] = 2,
    preprocessor: Annotated[str, typer.Option(help="offline, hub, or a saved one")] = "offline",
    person_photo: Annotated[Path | None, typer.Option(help="instead of rendered ones, with --garment-photo")] = None,
    garment_photo: Annotated[Path | None, typer.Option(help="worn by somebody")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="write all figures, in seconds")] = None,
) -> None:
    """Print what each stage takes."""
    if (person_photo is None) != (garment_photo is None):
        raise typer.BadParameter("must be given both or neither", param_hint="--person-photo, --garment-photo")
    torch.set_num_threads(threads)
    warnings.simplefilter("ignore", PreprocessingWarning)
    timed = timed_preprocessor(preprocessor)
    figures = {}
    if person_photo is not None:
        figures["your photographs"] = measure(timed, Photographs(person_photo, garment_photo, None), repeats)
    else:
        for side in sides:
            with rendered_photographs(side) as files:
                figures[f"rendered, {side} x {side} pixels"] = measure(timed, files, repeats)
    machine = describe_machine(timed)
    print(machine)
    for title, of_title in figures.items():
        print_figures(title, of_title)
    if json_file is not None:
        json_file.write_text(json.dumps({"machine": machine, "figures": figures}, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
