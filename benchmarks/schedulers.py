# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""How good a cascade's pictures are by scheduler, steps and guidance, and how few steps are enough.

    python benchmarks/schedulers.py --model hub_cards/tryon-cascade-first --work scheduler-runs

Rendered people put on somebody else's garment: the renderer knows the true picture. Every run starts each case from the
same noise, so runs are compared case by case, with bootstrap intervals over the cases. The stages are measured apart,
the super-resolution stage with the true picture as its low-resolution picture and with the base stage's, and together.

Few steps are enough if, for this number and all larger ones that were measured,

- the cases exclude a loss against the converged run that matters: in no figure does the worse end of the 95 % interval
  of the mean difference pass `MARGINS`. (That it includes 0 would not do: from the same noise, intervals are so narrow
  that losses nobody sees are told.)
- the picture is still the one that the noise stands for: its distance to the converged run's is at most a third of
  the distance between two noises' pictures, a ninth of the variance, or at most 2 of 255, which nobody sees. Figures
  against the truth alone favour pale pictures between the possible ones, as too few steps make them.

The result belongs to the weights: measure a new cascade with the same command.

Each run is kept in the folder `--work`; a call that was interrupted goes on, and `--report-only` reports on the runs
that are there. About an hour of one core for the two small networks of `tryon-cascade-first`; not a timing
benchmark.
"""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter
from reporting import RESULTS, Report, Table, describe_machine
from sampling_runs import FIGURES, HIGHER_IS_BETTER, TRUTH, Outcome, Run, Sampler, compute_all, distances

from diffusers_tryon import TryOnCascadePipeline
from diffusers_tryon.evaluation.bootstrap import Estimate, mean_interval
from diffusers_tryon.evaluation.figures import METRICS
from diffusers_tryon.files import written_beside
from diffusers_tryon.schedules import DEFAULT_SCHEDULER


SCHEDULERS = (DEFAULT_SCHEDULER, "unipc", "ddim", "deis", "heun")
STEPS = (3, 4, 5, 6, 8, 10, 15, 20, 30)
# Of the schedulers after the first.
OTHER_STEPS = (3, 5, 8, 10, 15, 20)
# Heun's method calls the network twice a step, but for the last.
CALLS_TWICE = "heun"
CONVERGED_STEPS = 100
INTERVALS = ((0.0, 0.2), (0.0, 0.5), (0.0, 0.8), (0.2, 1.0), (0.5, 1.0), (0.2, 0.8))
SCALES = (1.0, 1.5, 3.0, 4.0)
# Losses that do not matter: in dB, SSIM, CIEDE2000 (of which about 1 can just be seen) and agreement.
MARGINS = {"psnr_region": 0.1, "ssim_region": 0.01, "garment_colour": 0.5, "garment_pattern": 0.01}
# In parts of the distance between two noises' pictures: how far from the converged run a run may be.
CLOSE = 1 / 3
# As a root mean square, in steps of 255: so near is near enough, where noises hardly differ.
ALIKE = 2.0
STAGES = {"base": "Base stage", "sr": "Super-resolution stage, of the true low-resolution picture"}

_TITLES = {name: METRICS[name].title for name in FIGURES if name in METRICS} | {"detail": "Detail"}
_SHORT_TITLES = {"psnr_region": "PSNR", "ssim_region": "SSIM"}
_DIGITS = {"psnr_region": 2, "ssim_region": 3, "garment_colour": 2, "garment_pattern": 3, "detail": 2}
_PANEL_INCHES = (3.6, 2.9)
_DOTS_PER_INCH = 90


# What is run


class Grid:
    """The runs of one report, by question.

    Args:
        schedulers: names; the first is the one whose guidance and stages are looked at.
        steps: of the first.
        other_steps: of the others; the scheduler that calls the network twice a step gets about half of them.
        converged_steps: of the run that the others are compared with, by the first scheduler.
        guidance_steps: of the runs with other guidance.
        pairs: steps of the base stage and the super-resolution stage for whole cascades.
    """

    def __init__(
        self,
        schedulers: list[str],
        steps: list[int],
        other_steps: list[int],
        converged_steps: int,
        guidance_steps: int,
        pairs: list[tuple[int, int]],
    ):
        self.schedulers, self.steps, self.other_steps = schedulers, steps, other_steps
        self.converged_steps = converged_steps
        main = schedulers[0]
        self.converged = {"base": Run("base", main, converged_steps), "sr": Run("sr", main, converged_steps, TRUTH)}
        self.curves = {
            stage: [run._replace(scheduler=name, steps=count) for name in schedulers for count in self.steps_of(name)]
            for stage, run in self.converged.items()
        }
        # One picture of each case by another noise, and with as many steps by the noise of all other runs.
        self.many = {stage: run._replace(steps=steps[-1]) for stage, run in self.converged.items()}
        self.other_noise = {stage: run._replace(noise=1) for stage, run in self.many.items()}
        self.guided = {stage: run._replace(steps=guidance_steps) for stage, run in self.converged.items()}
        self.intervals = {
            stage: [run._replace(start=start, stop=stop) for start, stop in INTERVALS]
            for stage, run in self.guided.items()
        }
        self.scales = {stage: [run._replace(scale=scale) for scale in SCALES] for stage, run in self.guided.items()}
        self.chained = [self.of_base(converged_steps, count) for count in steps if count >= 5]
        self.converged_chain = self.of_base(converged_steps, converged_steps)
        self.pairs = [self.of_base(*pair) for pair in pairs]

    def steps_of(self, scheduler: str) -> list[int]:
        if scheduler == CALLS_TWICE:
            return sorted({count // 2 + 1 for count in self.other_steps})
        return self.steps if scheduler == self.schedulers[0] else self.other_steps

    def of_base(self, base_steps: int, steps: int) -> Run:
        """The super-resolution stage of the base stage's pictures."""
        base = self.converged["base"]._replace(steps=base_steps)
        return self.converged["sr"]._replace(steps=steps, low_res=base)

    def runs(self) -> list[Run]:
        """All, those first that a first look needs."""
        runs = [*self.converged.values(), *self.many.values(), *self.other_noise.values()]
        for name in self.schedulers:
            runs += [run for stage in STAGES for run in self.curves[stage] if run.scheduler == name]
            if name == self.schedulers[0]:
                runs += [run for stage in STAGES for run in self.intervals[stage] + self.scales[stage]]
                runs += [*self.guided.values(), self.converged_chain, *self.chained, *self.pairs]
        return list(dict.fromkeys(runs))


# Comparing


def difference(outcome: Outcome, other: Outcome, name: str) -> Estimate:
    """How much a figure is above that of another run, over the cases that have it in both."""
    return mean_interval(outcome.figures[name] - other.figures[name])


def is_worse(estimate: Estimate, name: str) -> bool:
    """Whether a difference is a loss that can be told from none."""
    return estimate.high < 0 if HIGHER_IS_BETTER[name] else estimate.low > 0


def losses(outcome: Outcome, converged: Outcome) -> list[str]:
    """The figures in which a run may lose more than the margin against the converged one."""
    return [name for name in MARGINS if largest_loss(difference(outcome, converged, name), name) > MARGINS[name]]


def largest_loss(estimate: Estimate, name: str) -> float:
    """The worse end of a difference's interval, as a loss."""
    return -estimate.low if HIGHER_IS_BETTER[name] else estimate.high


def fewest_steps(shortfalls: dict[int, list[str]]) -> int | None:
    """The fewest steps that are enough: those, and all more, fall short in nothing.

    Args:
        shortfalls: by the steps, in what they fall short.

    Returns:
        `int` or `None`: None if the most steps still fall short.
    """
    enough = None
    for count in sorted(shortfalls, reverse=True):
        if shortfalls[count]:
            break
        enough = count
    return enough


# Reporting


def comparison_row(columns: dict[str, Any], outcome: Outcome, other: Outcome) -> dict[str, Any]:
    """Means of a run, and its differences to another with their intervals."""
    row = dict(columns)
    for name in FIGURES:
        digits = _DIGITS[name]
        row[_TITLES[name]] = f"{np.nanmean(outcome.figures[name]):.{digits}f}"
        estimate = difference(outcome, other, name)
        row[f"{name} difference"] = list(estimate)
        if name in HIGHER_IS_BETTER and outcome is not other:
            mark = " worse" if is_worse(estimate, name) else ""
            row[_TITLES[name]] += (
                f" ({estimate.mean:+.{digits}f}, {estimate.low:+.{digits}f} to {estimate.high:+.{digits}f}{mark})"
            )
    return row


def choice_columns(shortfalls: dict[int, list[str]]) -> dict[str, Any]:
    """What a scheduler's curve says: the fewest steps that are enough, and why the next fewer are not."""
    enough = fewest_steps(shortfalls)
    fewer = [count for count in shortfalls if enough is None or count < enough]
    reason = f"{max(fewer)}: {', '.join(shortfalls[max(fewer)])}" if fewer else ""
    return {"fewest steps": enough, "next fewer fall short in": reason}


class Reporter:
    """Tables and the plot of the runs that are there."""

    def __init__(self, sampler: Sampler, grid: Grid):
        self.sampler, self.grid = sampler, grid
        self.outcomes = {run: sampler.outcome(run) for run in grid.runs() if sampler.path(run).exists()}

    def tables(self) -> list[Table]:
        grid = self.grid
        tables = [self._choices()]
        for stage, title in STAGES.items():
            converged = grid.converged[stage]
            rows = self._rows([*grid.curves[stage], converged], converged, with_distance=True)
            tables.append(Table(title, rows, self._note(grid.converged_steps)))
        for kind, runs in (("interval", grid.intervals), ("scale", grid.scales)):
            for stage, title in STAGES.items():
                full = grid.guided[stage]
                rows = self._rows([full, *runs[stage]], full)
                note = f"Differences to the first row; {full.scheduler}, {full.steps} steps."
                tables.append(Table(f"Guidance {kind}: {title[0].lower()}{title[1:]}", rows, note))
        rows = self._rows([*grid.chained, *grid.pairs, grid.converged_chain], grid.converged_chain, with_distance=True)
        tables.append(Table("Both stages", rows, self._note(grid.converged_steps)))
        return [table for table in tables if len(table.rows) > 1]

    def _note(self, converged_steps: int) -> str:
        return (
            f"Means, and in brackets the mean difference to {self.grid.schedulers[0]} with {converged_steps} steps from "
            "the same noise with its 95 % interval over the cases; `worse` where that interval is on the worse side of "
            "0. PSNR and SSIM in the edited region; colour as CIEDE2000, less is better; detail is the mean difference "
            "of neighbouring pixels there, in parts of the true picture's: blur lowers it. The distance is the root "
            "mean square difference of the pixels to those of the converged run, in steps of 255."
        )

    def _rows(self, runs: list[Run], base: Run, with_distance: bool = False) -> list[dict[str, Any]]:
        rows = []
        for run in dict.fromkeys(runs):
            if run not in self.outcomes or base not in self.outcomes:
                continue
            outcome, other = self.outcomes[run], self.outcomes[base]
            columns = {"scheduler": run.scheduler, "steps": run.steps, "network calls": outcome.calls}
            if isinstance(run.low_res, Run):
                columns = {"base steps": run.low_res.steps, "SR steps": run.steps}
            elif not with_distance:
                columns = {"scale": run.scale, "guided from": run.start, "to": run.stop}
            row = comparison_row(columns, outcome, other)
            if with_distance:
                row["Distance"] = float(distances(outcome, other, self.sampler.truths[run.stage]).mean())
            rows.append(row)
        return rows

    def _choices(self) -> Table:
        rows = []
        for stage, title in STAGES.items():
            compared = (self.grid.converged[stage], self.grid.many[stage], self.grid.other_noise[stage])
            if not all(run in self.outcomes for run in compared):
                continue
            converged, many, other_noise = (self.outcomes[run] for run in compared)
            spread = distances(many, other_noise, self.sampler.truths[stage]).mean()
            for scheduler in self.grid.schedulers:
                curve = self._curve(stage, scheduler)
                if curve:
                    shortfalls = {
                        run.steps: self._shortfalls(stage, outcome, converged, spread) for run, outcome in curve
                    }
                    row = {"stage": title, "scheduler": scheduler, **choice_columns(shortfalls)}
                    calls = {run.steps: outcome.calls for run, outcome in curve}
                    rows.append({**row, "network calls": calls.get(row["fewest steps"]), "noises apart": spread})
        note = (
            "The fewest steps that, as all larger numbers measured, lose no more against the converged run than "
            + ", ".join(f"{margin:g} in {_TITLES[figure]}" for figure, margin in MARGINS.items())
            + " (the worse end of the 95 % interval), and whose pictures are at most "
            f"{CLOSE:.2f} times as far from the converged run's as two noises' pictures are apart (last column), or "
            f"at most {ALIKE:g} of 255."
        )
        return Table("How few steps are enough", rows, note)

    def _shortfalls(self, stage: str, outcome: Outcome, converged: Outcome, spread: float) -> list[str]:
        distance = distances(outcome, converged, self.sampler.truths[stage]).mean()
        is_far = bool(distance > max(ALIKE, CLOSE * spread))
        return [_TITLES[name] for name in losses(outcome, converged)] + ["distance"] * is_far

    def _curve(self, stage: str, scheduler: str) -> list[tuple[Run, Outcome]]:
        runs = [run for run in self.grid.curves[stage] if run.scheduler == scheduler and run in self.outcomes]
        return [(run, self.outcomes[run]) for run in runs]

    def figure(self) -> Figure:
        """Differences to the converged run, and the distance to it, by the network's calls."""
        titles = [f"{title} - converged" for title in _SHORT_TITLES.values()]
        titles += ["Distance to the converged run", "Detail, parts of the truth's"]
        width, height = _PANEL_INCHES
        figure = Figure((width * len(titles), height * len(STAGES) + 0.3), dpi=_DOTS_PER_INCH, layout="constrained")
        panels = figure.subplots(len(STAGES), len(titles), squeeze=False)
        for axes_row, stage in zip(panels, STAGES, strict=True):
            for axes, title in zip(axes_row, titles, strict=True):
                axes.set_title(title, fontsize=9)
                self._scale_axis(axes)
            axes_row[0].set_ylabel({"base": "base stage", "sr": "SR stage, true low resolution"}[stage], fontsize=9)
            self._draw(axes_row, stage)
        panels[0, 0].legend(fontsize=7)
        figure.suptitle(
            f"{len(self.sampler.cases)} rendered cases, edited region; bars: 95 % intervals over cases", fontsize=10
        )
        return figure

    def _draw(self, axes_row: np.ndarray, stage: str) -> None:
        converged = self.outcomes[self.grid.converged[stage]]
        for number, scheduler in enumerate(self.grid.schedulers):
            curve = [outcome for _, outcome in self._curve(stage, scheduler)]
            if not curve:
                continue
            # A little apart, so that bars do not hide each other.
            calls = [outcome.calls * 1.012**number for outcome in curve]
            style = {"color": f"C{number}", "marker": ".", "linewidth": 1, "markersize": 4, "label": scheduler}
            for axes, name in zip(axes_row, _SHORT_TITLES, strict=False):
                estimates = [difference(outcome, converged, name) for outcome in curve]
                bars = [[e.mean - e.low for e in estimates], [e.high - e.mean for e in estimates]]
                axes.errorbar(calls, [e.mean for e in estimates], bars, elinewidth=0.7, **style)
                axes.axhline(0, color="0.5", linewidth=0.6)
            far = [distances(outcome, converged, self.sampler.truths[stage]).mean() for outcome in curve]
            axes_row[2].plot(calls, far, **style)
            axes_row[2].set_ylim(bottom=0)
            axes_row[3].plot(calls, [outcome.figures["detail"].mean() for outcome in curve], **style)
            axes_row[3].axhline(converged.figures["detail"].mean(), color="0.5", linewidth=0.6)

    def _scale_axis(self, axes: Axes) -> None:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(self.grid.steps))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
        axes.set_xlabel("network calls", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.25)

    def write(self, name: str, folder: Path, settings: dict[str, Any]) -> None:
        notes = [
            "The figures belong to these weights and this size: measure another cascade with the same command.",
            "Guidance scale 2 over all steps, if a table does not say otherwise. Heun's method calls the network twice "
            "a step, but for the last.",
            f"The plot is in `{name}.png`.",
        ]
        question = "How good are pictures by scheduler, steps and guidance?"
        with written_beside(folder / f"{name}.png") as path:
            FigureCanvasAgg(self.figure()).print_png(path)
        Report(name, question, describe_machine(self.sampler.pipeline.device), settings, self.tables(), notes).write(
            folder
        )


# The run


def main(
    model: Annotated[Path, typer.Option(help="Folder of a cascade.")],
    work: Annotated[Path, typer.Option(help="Folder that keeps the runs.")],
    cases: Annotated[int, typer.Option(help="Rendered people.", min=2)] = 48,
    batch_size: Annotated[int, typer.Option(help="Cases at once.", min=1)] = 16,
    scheduler: Annotated[list[str] | None, typer.Option(help=f"By default {', '.join(SCHEDULERS)}.")] = None,
    steps: Annotated[
        list[int] | None, typer.Option(help=f"Of the first scheduler, by default {', '.join(map(str, STEPS))}.")
    ] = None,
    other_steps: Annotated[
        list[int] | None, typer.Option(help=f"Of the other schedulers, by default {', '.join(map(str, OTHER_STEPS))}.")
    ] = None,
    converged_steps: Annotated[int, typer.Option(help="Of the run that the others are compared with.")] = (
        CONVERGED_STEPS
    ),
    guidance_steps: Annotated[int, typer.Option(help="Of runs with other guidance.")] = 10,
    pair: Annotated[list[str] | None, typer.Option(help="Steps of both stages together, such as 10+8.")] = None,
    report_only: Annotated[bool, typer.Option("--report-only", help="Report on the runs that are there.")] = False,
    name: Annotated[str, typer.Option(help="Of the report.")] = "schedulers",
    results: Annotated[Path, typer.Option(help="Folder for the report.")] = RESULTS,
) -> None:
    pipeline = TryOnCascadePipeline.from_pretrained(model)
    sampler = Sampler(pipeline, work, cases, batch_size)
    pairs = [tuple(map(int, text.split("+"))) for text in pair or ()]
    grid = Grid(
        scheduler or list(SCHEDULERS),
        sorted(steps or STEPS),
        sorted(other_steps or OTHER_STEPS),
        converged_steps,
        guidance_steps,
        pairs,
    )
    if not report_only:
        compute_all(sampler, grid.runs())
    settings = {"model": model.name, "cases": cases, "sizes": [size[0] for size in sampler.sizes.values()]}
    Reporter(sampler, grid).write(name, results, settings)


if __name__ == "__main__":
    typer.run(main)
