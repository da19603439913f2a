# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The curves of a run: every figure that is there is drawn, and any beginning of a run can be."""

import numpy as np
import pytest
from PIL import Image

from diffusers_tryon.training.plots import curves_figure, plot_curves


def long_run() -> list[dict]:
    lines = []
    for step in range(10, 1001, 10):
        noise = 1.0 + 0.2 * (-1) ** (step // 10)
        lines.append({"step": step, "images": 4 * step, "loss": noise / step, "loss_q1": noise, "loss_q4": noise / 9})
        if step % 500 == 0:
            lines.append({"step": step, "validation_loss": 1 / step, "validation_loss_ema": 2 / step})
    lines.append({"step": 1000, "skipped_steps": 2, "sample_psnr": 12.5, "validation_loss_ema": None})
    return lines


def test_curves_are_the_values_in_their_panels():
    figure = curves_figure(long_run(), "first-base")
    assert figure.get_suptitle() == "first-base: step 1,000, 4,000 images, 2 steps skipped"
    panels = {axes.get_title(): axes for axes in figure.axes}
    assert list(panels) == [
        "Training loss, weighted",
        "Training error by noise level",
        "Validation error, fixed rows and noise",
        "Samples: PSNR of the edited region in dB",
    ]
    loss, quarters, validation, psnr = panels.values()
    # A noisy curve is drawn as it is and by its mean, in which the noise is gone.
    raw, mean = loss.lines
    np.testing.assert_array_equal(raw.get_xdata(), range(10, 1001, 10))
    np.testing.assert_allclose(raw.get_ydata()[:2], [0.8 / 10, 1.2 / 20])
    assert mean.get_ydata()[50] == pytest.approx(1 / 510, rel=0.05)
    np.testing.assert_allclose(mean.get_ydata()[[0, -1]], [raw.get_ydata()[0], raw.get_ydata()[-6:].mean()])
    assert [text.get_text() for text in quarters.get_legend().get_texts()] == ["least noise", "most noise"]
    assert [line.get_ydata().tolist() for line in validation.lines] == [[1 / 500, 1 / 1000], [2 / 500, 2 / 1000]]
    assert loss.get_yscale() == quarters.get_yscale() == validation.get_yscale() == "log"
    assert psnr.get_yscale() == "linear" and psnr.lines[0].get_xydata().tolist() == [[1000, 12.5]]


@pytest.mark.parametrize("text", ["", '{"step": 1, "loss": 0.5, "loss_q2": null}\n', '{"step": 1, "loss": 0.5}\n{"st'])
def test_the_picture_of_a_run_that_hardly_began(tmp_path, text):
    (tmp_path / "metrics.jsonl").write_text(text)
    path = plot_curves(tmp_path)
    assert path == tmp_path / "curves.png"
    colors = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)
    assert (colors.std(axis=0) > 0).all()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["curves.png", "metrics.jsonl"]
