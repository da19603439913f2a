# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The curves of a run as one picture."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from diffusers_tryon.files import written_beside
from diffusers_tryon.training.metrics import read_metrics


class _Panel(NamedTuple):
    """One system of axes: `curves` are labels by the key in `metrics.jsonl`; a noisy curve gets a running mean."""

    title: str
    curves: dict[str, str]
    is_logarithmic: bool = False
    is_noisy: bool = False


_QUARTERS = {"q1": "least noise", "q2": "second quarter", "q3": "third quarter", "q4": "most noise"}
_PANELS = (
    _Panel("Training loss, weighted", {"loss": "loss"}, is_logarithmic=True, is_noisy=True),
    _Panel(
        "Training error by noise level",
        {f"loss_{quarter}": label for quarter, label in _QUARTERS.items()},
        is_logarithmic=True,
        is_noisy=True,
    ),
    _Panel("Gradient norm before clipping", {"gradient_norm": "mean", "gradient_norm_max": "largest"}, True, True),
    _Panel(
        "Validation error, fixed rows and noise",
        {"validation_loss": "weights", "validation_loss_ema": "averaged weights"},
        is_logarithmic=True,
    ),
    _Panel(
        "Validation error of the averaged weights by noise level",
        {f"validation_loss_ema_{quarter}": label for quarter, label in _QUARTERS.items()},
        is_logarithmic=True,
    ),
    _Panel(
        "Samples: PSNR of the edited region in dB",
        {"sample_psnr": "without guidance", "sample_psnr_guided": "with guidance"},
    ),
    _Panel("Learning rate", {"learning_rate": "learning rate"}),
    _Panel("Images per second", {"images_per_second": "images per second"}, is_noisy=True),
    _Panel(
        "Shares: of the time, of the devices' peak",
        {"data_wait_share": "waiting for data", "model_flop_utilisation": "model FLOP utilisation"},
        is_noisy=True,
    ),
)
_COLUMNS = 3
_PANEL_INCHES = (5.0, 3.4)
_DOTS_PER_INCH = 100
# Up to so many points are marked each; noisy curves of more are drawn thin under their mean over a part of the points.
_FEW_POINTS = 40
_MEAN_POINTS = 20


def plot_curves(run_dir: Path) -> Path:
    """Draw `curves.png` from the `metrics.jsonl` of a run, as far as it went.

    Returns:
        The picture's path.
    """
    figure = curves_figure(read_metrics(run_dir), run_dir.resolve().name)
    path = run_dir / "curves.png"
    with written_beside(path) as partial:
        FigureCanvasAgg(figure).print_png(partial)
    return path


def curves_figure(lines: list[dict[str, Any]], title: str) -> Figure:
    """The curves of the lines of a `metrics.jsonl`; panels without a value are left out."""
    known = {name for values in lines for name, value in values.items() if value is not None}
    panels = [panel for panel in _PANELS if known & panel.curves.keys()]
    rows, columns = max(1, -(-len(panels) // _COLUMNS)), min(_COLUMNS, max(1, len(panels)))
    width, height = _PANEL_INCHES
    figure = Figure(figsize=(width * columns, height * rows), dpi=_DOTS_PER_INCH, layout="constrained")
    figure.suptitle(f"{title}: {_progress(lines)}")
    for number, panel in enumerate(panels, start=1):
        _draw(figure.add_subplot(rows, columns, number), panel, lines)
    return figure


def _progress(lines: list[dict[str, Any]]) -> str:
    if not lines:
        return "nothing logged yet"
    parts = [f"step {max(values['step'] for values in lines):,}"]
    for name, label in (("images", "images"), ("skipped_steps", "steps skipped")):
        count = max((values[name] for values in lines if name in values), default=0)
        parts += [f"{count:,} {label}"] if count else []
    return ", ".join(parts)


def _draw(axes: Axes, panel: _Panel, lines: list[dict[str, Any]]) -> None:
    for number, (name, label) in enumerate(panel.curves.items()):
        points = [(values["step"], values[name]) for values in lines if values.get(name) is not None]
        if not points:
            continue
        steps, values = np.array(points, dtype=np.float64).T
        color = f"C{number}"
        is_long = len(points) > _FEW_POINTS
        if panel.is_noisy and is_long:
            axes.plot(steps, values, color=color, linewidth=0.6, alpha=0.35)
            axes.plot(steps, _running_mean(values, len(points) // _MEAN_POINTS), color=color, label=label)
        else:
            axes.plot(steps, values, color=color, label=label, marker="" if is_long else ".")
    if panel.is_logarithmic:
        axes.set_yscale("log")
    else:
        axes.ticklabel_format(axis="y", scilimits=(-3, 5))
        axes.yaxis.get_offset_text().set_fontsize(8)
    axes.set_title(panel.title, fontsize=10)
    axes.set_xlabel("step", fontsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    axes.tick_params(which="both", labelsize=8)
    axes.grid(which="both", alpha=0.25)
    if len(panel.curves) > 1:
        axes.legend(fontsize=8)


def _running_mean(values: np.ndarray, width: int) -> np.ndarray:
    """(N,) to (N,): the mean over `width` values before and after each; as many after as there are before, at most."""
    places = np.arange(len(values))
    before = np.minimum(width, places)
    after = np.minimum(before, places[::-1])
    sums = np.concatenate([[0.0], np.cumsum(values)])
    return (sums[places + after + 1] - sums[places - before]) / (before + after + 1)
