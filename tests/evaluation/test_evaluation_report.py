# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Results of an evaluation as numbers, files, tables and comparisons, against examples worked out by hand."""

import json
import math

import numpy as np
import pytest
from evaluation_folders import figures_of, result_of

from diffusers_tryon.evaluation.bootstrap import mean_interval
from diffusers_tryon.evaluation.comparison import compare
from diffusers_tryon.evaluation.figures import METRICS, read_figures, write_figures
from diffusers_tryon.evaluation.report import as_markdown, read_result, write_result
from diffusers_tryon.evaluation.summary import summarise


MODEL = {"psnr": [14.0, 16.0, 18.0, 20.0], "lpips": [0.4, 0.3, math.nan, 0.1]}
AGNOSTIC = {"psnr": [10.0, 16.0, 19.0, 12.0], "lpips": [0.5, 0.5, 0.5, 0.05]}


@pytest.fixture
def figures():
    return figures_of(model=MODEL, agnostic=AGNOSTIC, reference={"pck": [1.0, 0.9, 1.0, 0.8]})


def table(markdown: str, first_cell: str) -> list[str]:
    """The cells of the first line of a table that begins so."""
    line = next(line for line in markdown.splitlines() if line.startswith(f"| {first_cell}"))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_means_count_the_cases_that_have_the_figure(figures):
    methods = summarise(figures, {}, 4)["methods"]
    assert methods["model"]["psnr"] | {"low": 0, "high": 0} == {"mean": 17.0, "low": 0, "high": 0, "count": 4}
    assert methods["model"]["lpips"]["mean"] == pytest.approx(0.8 / 3, rel=1e-5)
    assert methods["model"]["lpips"]["count"] == 3 and methods["agnostic"]["lpips"]["count"] == 4
    assert methods["reference"].keys() == {"pck"}
    expected = mean_interval(np.array(MODEL["psnr"]))
    assert (methods["model"]["psnr"]["low"], methods["model"]["psnr"]["high"]) == (expected.low, expected.high)


def test_differences_and_wins_are_of_the_same_cases(figures):
    summary = summarise(figures, {}, 4)
    assert summary["differences"].keys() == summary["wins"].keys() == {"agnostic"}
    difference, win = summary["differences"]["agnostic"], summary["wins"]["agnostic"]
    assert difference["psnr"]["mean"] == (4 + 0 - 1 + 8) / 4
    expected = mean_interval(np.array([4.0, 0, -1, 8]))
    assert (difference["psnr"]["low"], difference["psnr"]["high"]) == (expected.low, expected.high)
    # Won, drawn, lost, won.
    assert win["psnr"]["share"] == 2.5 / 4 and win["psnr"]["count"] == 4
    # Of LPIPS the lower one is better; one case is missing.
    assert win["lpips"]["share"] == pytest.approx(2 / 3, rel=1e-5) and win["lpips"]["count"] == 3


def test_distances_of_whole_folders_have_no_interval(figures):
    summary = summarise(figures, {"model": {"fid": 80.5, "kid": 0.0123}, "pasted": {"fid": 120.0}}, 4)
    assert summary["methods"]["model"]["fid"] == {"mean": 80.5, "low": None, "high": None, "count": 4}
    assert summary["methods"]["pasted"] == {"fid": {"mean": 120.0, "low": None, "high": None, "count": 4}}
    assert list(summary["metrics"]) == ["psnr", "lpips", "pck", "fid", "kid"]
    assert summary["metrics"]["fid"] == {"title": "FID", "unit": "", "higher_is_better": False}
    assert "fid" not in summary["wins"]["agnostic"]


def test_differences_of_fewer_cases_say_so(figures):
    page = as_markdown(result_of(figures))
    against = page[page.index("## Against") :]
    assert "cases" not in table(against, "PSNR")[0]
    assert table(against, "LPIPS")[0].endswith("], 3 cases")
    assert "| 4 cases" in against


def test_a_single_case_is_no_cases():
    assert "| 1 case " in as_markdown(result_of(figures_of(model={"ssim": [0.5]})))


def test_without_baselines_there_is_nothing_to_win():
    summary = summarise(figures_of(model={"ssim": [0.5]}), {}, 1)
    assert summary["wins"] == summary["differences"] == {}
    assert summary["methods"]["model"]["ssim"] == {"mean": 0.5, "low": None, "high": None, "count": 1}


def test_figures_of_a_picture_are_read_as_written(tmp_path):
    write_figures(tmp_path, "model", "a", {"psnr": 14.123456789, "pck": math.nan})
    assert json.loads((tmp_path / "figures" / "model" / "a.json").read_text()) == {"psnr": 14.1235, "pck": None}
    found = read_figures(tmp_path, "model", "a")
    assert found["psnr"] == 14.1235 and math.isnan(found["pck"])
    assert read_figures(tmp_path, "model", "b") is None


def test_the_page_shows_intervals_wins_settings_and_reasons(figures):
    page = as_markdown(result_of(figures, unavailable={"fid": "clean-fid is not installed"}))
    assert table(page, "4 cases") == ["model", "agnostic image", "true picture"]
    low, high = mean_interval(np.array(MODEL["psnr"]))[1:3]
    assert table(page, "PSNR (dB) ↑")[0] == f"17.00 [{low:.2f}, {high:.2f}]"
    assert table(page, "LPIPS ↓")[0].startswith("0.2667 [") and table(page, "LPIPS ↓")[0].endswith("], 3 cases")
    assert table(page, "LPIPS ↓")[2] == "–"
    against = page[page.index("## Against the agnostic image") :]
    assert table(against, "PSNR (dB) ↑")[0].startswith("+2.75 [")
    # Wilson's interval of 2.5 of 4.
    assert table(against, "PSNR (dB) ↑")[1] == "62% [22%, 91%]"
    assert "- FID: clean-fid is not installed\n" in page
    for line in ("size: as made", "SSIM: RGB, window 11", "schedulers, base scheduler: DDPMScheduler"):
        assert f"\n- {line}\n" in page
    assert page.startswith("# tiny, evaluated by protocol `rendered`\n")


def test_pictures_as_given_have_no_model(figures):
    page = as_markdown(result_of(figures) | {"model": None})
    assert page.startswith("# pictures as given, evaluated") and "## Model" not in page


def test_a_number_of_pictures_that_nobody_publishes_is_told(figures):
    page = as_markdown(result_of(figures, protocol={"name": "ladi", "settings": {}}))
    told = page.index("These are 4 pictures; figures of the protocol `ladi` are published for 2,032 (VITON-HD test)")
    assert told < page.index("## ")


def test_a_result_is_read_as_written_from_its_folder_too(figures, tmp_path):
    result = result_of(figures)
    assert [path.name for path in write_result(result, tmp_path)] == ["evaluation.json", "evaluation.md"]
    assert read_result(tmp_path) == read_result(tmp_path / "evaluation.json") == result


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is none at"),
        ("{", "is broken"),
        ("[]", "has None"),
        ('{"format": "diffusers-tryon/evaluation", "version": 2}', "version 1, .* has .*2"),
    ],
)
def test_what_is_no_result_is_refused(text, message, tmp_path):
    if text is not None:
        (tmp_path / "evaluation.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_result(tmp_path)


def write_run(folder, figures, **changes) -> str:
    write_result(result_of(figures, **changes), folder)
    return str(folder)


def test_runs_stand_side_by_side_with_the_baselines_once(figures, tmp_path):
    better = figures_of(model={"psnr": [20.0, 21.0, 22.0, 23.0]}, agnostic=AGNOSTIC)
    runs = [write_run(tmp_path / "one", figures), write_run(tmp_path / "two", better, model="larger")]
    found = compare(runs)
    assert table(found, "4 cases") == ["tiny", "larger", "agnostic image", "true picture"]
    row = table(found, "PSNR (dB) ↑")
    assert row[0].startswith("17.00 [") and row[1].startswith("21.50 [") and row[2].startswith("14.25 [")
    assert table(found, "LPIPS ↓")[1] == "–"
    assert [line.split(" ")[1] for line in found.splitlines() if "↑" in line or "↓" in line] == [
        "PSNR",
        "LPIPS",
        "Joints",
    ]
    assert "Protocol `rendered`; data: name rendered, pairing unpaired, count 4, seed 0, size 64 x 64." in found


def test_runs_of_one_model_are_told_apart_by_their_folders(figures, tmp_path):
    runs = [write_run(tmp_path / name, figures) for name in ("one", "two")]
    assert table(compare(runs), "4 cases")[:2] == [f"tiny ({tmp_path}/one)", f"tiny ({tmp_path}/two)"]


def test_different_versions_are_said(figures, tmp_path):
    runs = [
        write_run(tmp_path / "one", figures, environment={"torch": "2.13.0"}),
        write_run(tmp_path / "two", figures, model="larger", environment={"torch": "2.14.0"}),
    ]
    assert "Not of one version: torch: 2.13.0 for tiny, 2.14.0 for larger.\n" in compare(runs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"protocol": {"name": "ladi", "settings": {"size": "512 x 384"}}}, "of one protocol.*name is rendered and ladi"),
        (
            {"data": {"name": "rendered", "pairing": "unpaired", "count": 9, "seed": 0, "size": [128, 128]}},
            "of one data.*count is 4 and 9; size is 64 x 64 and 128 x 128",
        ),
        ({"data": {"name": "rendered", "count": 4}}, "pairing is unpaired and missing"),
    ],
)  # fmt: skip
def test_runs_of_other_protocols_or_data_are_refused(changes, message, figures, tmp_path):
    runs = [write_run(tmp_path / "one", figures), write_run(tmp_path / "two", figures, **changes)]
    with pytest.raises(ValueError, match=message):
        compare(runs)


def test_one_run_is_nothing_to_compare(figures, tmp_path):
    with pytest.raises(ValueError, match="two at least, got 1"):
        compare([write_run(tmp_path, figures)])


def test_a_run_is_not_compared_with_itself(figures, tmp_path):
    write_result(result_of(figures), tmp_path)
    with pytest.raises(ValueError, match="`results` must differ, .* is given several times"):
        compare([tmp_path, tmp_path / "evaluation.json"])


def test_a_run_in_which_nothing_could_be_measured_is_not_compared(figures, tmp_path):
    for name, of_run in (("one", figures), ("other", {})):
        (tmp_path / name).mkdir()
        write_result(result_of(figures) | summarise(of_run, {}, 4), tmp_path / name)
    with pytest.raises(ValueError, match="`results` must hold figures, in .*other nothing could be measured"):
        compare([tmp_path / "one", tmp_path / "other"])


def test_every_metric_has_a_title_of_its_own():
    assert len({metric.title for metric in METRICS.values()}) == len(METRICS)
