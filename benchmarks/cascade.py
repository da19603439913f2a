# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""How long a whole cascade takes, from conditions to the picture, and how much faster that is: per step, at equal
steps, and at each one's default steps.

    python benchmarks/cascade.py --repeats 1
    python benchmarks/cascade.py --repeats 1 --reference ../tryondiffusion
    python benchmarks/cascade.py --model hub_cards/tryon-cascade-first --plain --approximate --name cascade_first
    python benchmarks/cascade.py --model small-128+small-256 --plain --name cascade_small

A model is a folder that `from_pretrained` reads, or two presets, whose weights are random. The first model is also
measured as the reference implementation takes its steps: two passes, the garment stream in each, float32 and bf16
autocast, 256 and 128 steps by default; with `--reference`, a folder with a checkout of fashn-AI/tryondiffusion (MIT; it
needs ema-pytorch), by that implementation itself. All ratios are to the first of these rows.

Each model has a process of its own, in which its options take turns; the first turn warms up. In a turn an option
makes a short call, guided in its first half, whose steps are timed one by one; approximate options are guided in all of
it. Whole calls, which make a picture of one person at the default steps, are measured if the steps say that they take
at most `--longest` seconds, and otherwise extrapolated from the steps and the garment stream: "how" tells which.
"difference" is the root of the mean squared difference of the picture from the first pipeline's, of 255; of random
weights it means little. Close other programs first.
"""

import math
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import typer
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils import load_image
from reporting import MEASUREMENTS, RESULTS, Report, Table, describe_machine, seconds_of, synchronize, take_turns
from unet_step import Memory, Networks, Option, random_inputs, random_networks, step_function, twin

from diffusers_tryon import TryOnCascadePipeline
from diffusers_tryon.models.inputs import trained_size
from diffusers_tryon.pipelines.optimization import best_settings, cast
from diffusers_tryon.pipelines.stages import STAGES
from diffusers_tryon.poses import load_pose
from diffusers_tryon.schedules import DEFAULT_SCHEDULER, DEFAULT_STEPS, PAPER_STEPS, create_scheduler


FULL_SIZE = ["reference-128+reference-256", "paper-128-cached+paper-256-cached"]
PLAIN, OPTIMIZED = "as loaded", "optimize()"
# What calls are given to be faster, beside `optimize()`.
APPROXIMATE = {
    "garment stream at every 5th step (approximate)": {"garment_refresh_interval": 5},
    "way down at every 2nd step (approximate)": {"encoder_refresh_interval": 2},
}
# Of a short call: half of them guided. Approximate options come round to where they began in those after the first.
_SHORT_STEPS, _SHORT_STEPS_APPROXIMATE = 6, 11
_SEED = 0
SAMPLE = Path(__file__).parents[1] / "samples" / "rendered"


# What is measured


class StageTimes(NamedTuple):
    """Seconds of one stage: a guided step, one without guidance, and what comes before the steps: the garment.

    Of approximate options steps are means, of others medians, and those without guidance are not a number.
    """

    guided: float
    unguided: float
    garment: float

    def total(self, steps: int, guided_share: float) -> float:
        if guided_share == 1:
            return self.garment + steps * self.guided
        guided_steps = int(guided_share * steps)
        return self.garment + guided_steps * self.guided + (steps - guided_steps) * self.unguided


class CascadeTimes(NamedTuple):
    """The times of both stages."""

    base: StageTimes
    sr: StageTimes

    def total(self, steps: dict[str, int], guided_share: float = 1.0) -> float:
        return sum(stage.total(steps[name], guided_share) for name, stage in zip(STAGES, self))


class WholeCall(NamedTuple):
    """Seconds of a call at the default steps: all of it, and its stages."""

    seconds: float
    base: float
    sr: float


class Measured(NamedTuple):
    """What was measured of one option.

    Attributes:
        name: the model and the option.
        settings: that `optimize` chose.
        default_steps: by stage.
        turns: times of each turn.
        is_approximate: whether pictures differ by more than rounding.
        calls: whole calls; none were measured if this is empty.
        size: height and width of the picture.
        picture: (H, W, 3), of the last whole call.
    """

    name: str
    settings: str
    default_steps: dict[str, int]
    turns: list[CascadeTimes]
    is_approximate: bool
    calls: list[WholeCall]
    size: tuple[int, int]
    picture: np.ndarray | None = None

    @property
    def times(self) -> CascadeTimes:
        """Medians over the turns."""
        stages = ([turn[number] for turn in self.turns] for number in range(len(STAGES)))
        return CascadeTimes(*(StageTimes(*map(median, zip(*stage))) for stage in stages))


# Models


class Settings(NamedTuple):
    """Of the measurements of one model, see the command's options."""

    model: str
    device: str
    steps_as_reference: bool
    plain: bool
    approximate: bool
    repeats: int
    longest: float
    threads: int
    reference: Path | None


class Model(NamedTuple):
    """What options are made of.

    Attributes:
        plain: the networks in float32 and, if a checkout is given, the reference's.
        fast: networks of the same weights, in the type that is fastest on the device.
        components: of a pipeline, all but the networks.
    """

    plain: list[Networks]
    fast: list[ModelMixin]
    components: dict[str, Any]


def load_model(settings: Settings) -> Model:
    """Load a model; of what no option needs nothing stays in memory."""
    device = torch.device(settings.device)
    if Path(settings.model).is_dir():
        pipe = TryOnCascadePipeline.from_pretrained(settings.model).to(device)
        components = pipe.components
        networks = [(components.pop(f"{name}_unet"), None) for name in STAGES]
    else:
        components = {f"{name}_scheduler": create_scheduler(DEFAULT_SCHEDULER) for name in STAGES}
        components["image_noising_scheduler"] = create_scheduler("ddpm")
        presets = settings.model.split("+")
        networks = (random_networks(preset, settings.reference, device) for preset in presets)
    model = Model([], [], components)
    for unet, reference in networks:
        fast = twin(unet)
        cast(fast, best_settings(device).dtype)
        model.fast.append(fast)
        is_needed = settings.plain or (settings.steps_as_reference and reference is None)
        model.plain.append(Networks(unet if is_needed else None, reference))
        del unet
    return model


def create_pipeline(unets: list[ModelMixin], components: dict[str, Any]) -> TryOnCascadePipeline:
    pipe = TryOnCascadePipeline(**{f"{name}_unet": unet for name, unet in zip(STAGES, unets)}, **components)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def sample_conditions() -> dict[str, Any]:
    """Arguments of a call for one rendered person and garment."""
    return {
        "agnostic_image": load_image(str(SAMPLE / "agnostic.png")),
        "agnostic_mask": load_image(str(SAMPLE / "agnostic_mask.png")).convert("L"),
        "garment_image": load_image(str(SAMPLE / "garment.png")),
        "person_pose": load_pose(SAMPLE / "person_pose.json"),
        "garment_pose": load_pose(SAMPLE / "garment_pose.json"),
        "generator": torch.Generator().manual_seed(_SEED),
    }


# Measuring


def steps_as_reference(model: Model, is_autocast: bool, device: torch.device) -> Callable[[], CascadeTimes]:
    """A function that takes a step of each stage as the reference implementation does."""
    steps = []
    for networks, fast in zip(model.plain, model.fast):
        weights = "float32" if networks["reference"] is None else "reference"
        option = Option(weights, "twice", sequential=True, autocast=is_autocast)
        steps.append(step_function(networks, option, random_inputs(fast, 1, device)))

    def measure() -> CascadeTimes:
        # The reference has no steps without guidance.
        return CascadeTimes(*(StageTimes(seconds, seconds, 0.0) for seconds in map(seconds_of_step, steps)))

    def seconds_of_step(step: Callable) -> float:
        return seconds_of(step, device)

    return measure


def short_call(pipe: TryOnCascadePipeline, approximate: dict[str, int]) -> CascadeTimes:
    """Time the steps of a call one by one; `approximate` are its further arguments."""
    ends = []

    def on_step_end(pipe: TryOnCascadePipeline, step: int, timestep: torch.Tensor, tensors: dict) -> dict:
        synchronize(pipe.device)
        ends.append(time.perf_counter())
        return {}

    num_steps = _SHORT_STEPS_APPROXIMATE if approximate else _SHORT_STEPS
    output = pipe(
        **sample_conditions(),
        **approximate,
        num_inference_steps=num_steps,
        sr_num_inference_steps=num_steps,
        guidance_stop=1.0 if approximate else 0.5,
        callback_on_step_end=on_step_end,
    )
    stages = []
    for number, name in enumerate(STAGES):
        of_stage = ends[number * num_steps : (number + 1) * num_steps]
        steps = np.diff(of_stage)
        if approximate:
            guided, unguided = float(steps.mean()), math.nan
        else:
            # The first step of each half has more to do.
            guided, unguided = float(np.median(steps[: num_steps // 2 - 1])), float(np.median(steps[num_steps // 2 :]))
        # All that the stage did but its steps, the garment stream foremost.
        before = output.seconds[name] - (of_stage[-1] - of_stage[0]) - guided
        stages.append(StageTimes(guided, unguided, max(0.0, before)))
    return CascadeTimes(*stages)


class Caller:
    """Makes whole calls and keeps the last picture, (H, W, 3) in [0, 255]."""

    def __init__(self, pipe: TryOnCascadePipeline, approximate: dict[str, int]):
        self._pipe, self._approximate, self.picture = pipe, approximate, None

    def __call__(self) -> WholeCall:
        conditions = sample_conditions()
        began = time.perf_counter()
        output = self._pipe(**conditions, **self._approximate)
        seconds = time.perf_counter() - began
        self.picture = np.asarray(output.images[0], dtype=np.float64)
        return WholeCall(seconds, **output.seconds)


def measure_with_memory(memory: Memory, is_kept: bool, measure: Callable) -> Any:
    """`measure()` in a process that keeps freed memory or gives it back; it is collected by a call of its own."""
    if memory.switch(is_kept):
        measure()
    return measure()


def measure_model(settings: Settings) -> list[Measured]:
    """Measure a model's options in the process that calls."""
    torch.set_num_threads(settings.threads)
    device = torch.device(settings.device)
    with torch.no_grad():
        model = load_model(settings)
        memory, turns, pipes = Memory(), {}, {}
        if settings.steps_as_reference:
            name = "two passes" if settings.reference is None else "reference implementation"
            turns[name] = steps_as_reference(model, False, device)
            turns[f"{name}, bf16 autocast"] = steps_as_reference(model, True, device)
        if settings.plain:
            pipes[PLAIN] = create_pipeline([networks["float32"] for networks in model.plain], model.components)
        pipes[OPTIMIZED] = create_pipeline(model.fast, model.components)
        # Kept memory is the process's, and the other rows must do without.
        speed = best_settings(device)
        pipes[OPTIMIZED].optimize(memory_kept=False)
        callers = {name: (pipe, {}) for name, pipe in pipes.items()}
        if settings.approximate:
            sees_time = model.fast[0].config.garment_time_conditioning
            for name, arguments in APPROXIMATE.items():
                if sees_time or "garment_refresh_interval" not in arguments:
                    callers[f"{OPTIMIZED}, {name}"] = pipes[OPTIMIZED], arguments
        turns |= {name: partial(short_call, *caller) for name, caller in callers.items()}

        def with_memory(name: str, measure: Callable) -> Callable:
            return partial(measure_with_memory, memory, speed.memory_kept and name.startswith(OPTIMIZED), measure)

        measured = take_turns({name: with_memory(name, turn) for name, turn in turns.items()}, settings.repeats)

        calls = {}
        for name, caller in callers.items():
            if measured[name][0].total(DEFAULT_STEPS) <= settings.longest:
                calls[name] = Caller(*caller)
        whole = take_turns(
            {name: with_memory(name, call) for name, call in calls.items()}, settings.repeats, warm_up=0
        )
    return [
        Measured(
            name=f"{settings.model}, {name}",
            settings=str(speed) if name.startswith(OPTIMIZED) else "",
            default_steps=DEFAULT_STEPS if name in callers else PAPER_STEPS,
            turns=times,
            is_approximate=bool(name in callers and callers[name][1]),
            calls=whole.get(name, []),
            size=trained_size(model.fast[-1]),
            picture=calls[name].picture if name in calls else None,
        )
        for name, times in measured.items()
    ]


# Tables


def steps_table(options: list[Measured]) -> Table:
    rows = []
    for option in options:
        row: dict[str, Any] = {"option": option.name}
        for name, stage in zip(STAGES, option.times):
            row |= {
                f"{name}: guided step": stage.guided,
                f"{name}: step without guidance": None if option.is_approximate else stage.unguided,
                f"{name}: before the steps": stage.garment,
            }
        rows.append(row | {"settings": option.settings, MEASUREMENTS: option.turns})
    return Table(
        "Steps, in seconds",
        rows,
        "Medians over the turns. Before the steps comes the garment, in networks whose garment stream does not see the "
        "timestep. The reference has no steps without guidance.",
    )


def pictures_table(options: list[Measured]) -> Table:
    """From conditions to the picture: at the default steps, with guidance in a half, and at the reference's steps."""
    rows = []
    for option in options:
        default, height_and_width = option.default_steps, " x ".join(map(str, option.size))

        def row(way: str, steps: dict[str, int], seconds: float, how: str, **columns: Any) -> dict[str, Any]:
            return {
                "option": option.name,
                "pixels": height_and_width,
                "way": way,
                "steps": " + ".join(str(steps[name]) for name in STAGES),
                "seconds": seconds,
                "how": how,
                **columns,
            }

        if option.calls:
            seconds, base, sr = (median(values) for values in zip(*option.calls))
            spread = [call.seconds for call in option.calls]
            stages = {"least": min(spread), "most": max(spread), "base": base, "sr": sr}
            stages["difference"] = _difference(option, options)
            rows.append(row("default", default, seconds, "measured", **stages, measurements=option.calls))
        rows.append(row("default", default, option.times.total(default), "extrapolated"))
        if default != PAPER_STEPS and not option.is_approximate:
            seconds = option.times.total(default, 0.5)
            rows.append(row("guidance in the first half (approximate)", default, seconds, "extrapolated"))
            rows.append(row("the reference's steps", PAPER_STEPS, option.times.total(PAPER_STEPS), "extrapolated"))
    return Table("From conditions to a picture, in seconds", rows)


def _difference(option: Measured, options: list[Measured]) -> float | None:
    """From the picture of the same model's first pipeline."""
    model = option.name.split(", ")[0]
    first = next(item for item in options if item.calls and item.name.split(", ")[0] == model)
    return None if first is option else float(np.sqrt(np.mean((option.picture - first.picture) ** 2)))


def ratios_table(options: list[Measured]) -> Table:
    """How many times faster each option is than the first."""
    first = options[0]
    rows = []
    for option in options:
        default = option.times.total(option.default_steps)
        if option.calls:
            default = median(call.seconds for call in option.calls)
        rows.append(
            {
                "option": option.name,
                "base step": first.times.base.guided / option.times.base.guided,
                "sr step": first.times.sr.guided / option.times.sr.guided,
                "at our default steps": first.times.total(DEFAULT_STEPS) / option.times.total(DEFAULT_STEPS),
                "at the reference's steps": first.times.total(PAPER_STEPS) / option.times.total(PAPER_STEPS),
                "at each one's default steps": first.times.total(first.default_steps) / default,
            }
        )
    ours, theirs = (" + ".join(str(steps[name]) for name in STAGES) for steps in (DEFAULT_STEPS, PAPER_STEPS))
    return Table(
        f"Times faster than {first.name}",
        rows,
        f"Our default steps are {ours}, the reference's {theirs}. At equal steps both sides are extrapolated from "
        f"steps; at each one's defaults ours is measured, if the table of pictures says so.",
    )


# The command


def main(
    model: Annotated[list[str], typer.Option(help="folders, or presets BASE+SR")] = FULL_SIZE,  # noqa: B006
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    plain: Annotated[bool, typer.Option(help="also the pipeline as it is loaded, in float32")] = False,
    approximate: Annotated[bool, typer.Option(help="also what makes other pictures")] = False,
    repeats: Annotated[int, typer.Option(help="turns, of which the median counts")] = 3,
    longest: Annotated[float, typer.Option(help="seconds up to which whole calls are measured")] = 130.0,
    threads: Annotated[int, typer.Option(help="threads on the CPU")] = torch.get_num_threads(),
    reference: Annotated[Path | None, typer.Option(help="checkout of the reference, for reference presets")] = None,
    name: Annotated[str, typer.Option(help="of the report's files")] = "cascade",
    out: Annotated[Path, typer.Option(help="folder of the report's files")] = RESULTS,
) -> None:
    """Measure, print the report and write it."""
    torch.set_num_threads(threads)
    options = []
    # A process per model, for memory that none before has used.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
        for number, source in enumerate(model):
            folder = reference if source.startswith("reference") else None
            settings = Settings(source, device, number == 0, plain, approximate, repeats, longest, threads, folder)
            options += pool.submit(measure_model, settings).result()
    report = Report(
        name=name,
        question="How long does a cascade take from conditions to a picture?",
        machine=describe_machine(torch.device(device)),
        settings={"repeats": repeats, "longest whole call": longest},
        tables=[ratios_table(options), pictures_table(options), steps_table(options)],
        notes=["Weights of presets are random. One picture of a rendered person and garment, guidance in all steps."],
    )
    report.write(out)


if __name__ == "__main__":
    typer.run(main)
