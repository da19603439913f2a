# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The sheet of the best, the middle and the worst cases."""

import numpy as np
import pytest
from evaluation_folders import case_name, figures_of, write_case

from diffusers_tryon.evaluation.sheet import choose_cases, draw_sheet


RED, GREEN, BLUE = (200, 10, 10), (10, 200, 10), (10, 10, 200)


def plain(color: tuple[int, int, int], size: int = 64) -> np.ndarray:
    return np.full((size, size, 3), color, np.uint8)


def area(picture, color: tuple[int, int, int]) -> int:
    return int((np.asarray(picture) == color).all(axis=-1).sum())


def test_of_many_cases_the_ends_and_the_middle_are_chosen():
    values = {case_name(number): float(number) for number in range(11)}
    found = choose_cases(values, higher_is_better=True)
    assert [name for _, name in found] == [case_name(number) for number in (10, 9, 8, 6, 5, 4, 2, 1, 0)]
    assert [place for place, _ in found][::3] == ["best, 1 of 11", "median, 5 of 11", "worst, 9 of 11"]
    assert [name for _, name in choose_cases(values, higher_is_better=False)] == [name for _, name in found[::-1]]


def test_of_few_cases_all_are_shown_once_and_those_without_the_figure_are_not():
    values = {"a": 2.0, "b": np.nan, "c": 5.0, "d": 2.0}
    assert choose_cases(values, True) == [("1 of 3", "c"), ("2 of 3", "a"), ("3 of 3", "d")]


@pytest.mark.parametrize("size", [64, 512])
def test_a_row_shows_inputs_results_and_truth_at_one_size(size, tmp_path):
    write_case(tmp_path, 0, size, model=plain(RED, size), pasted=plain(GREEN, size), reference=plain(BLUE, size))
    sheet = draw_sheet(tmp_path, figures_of(model={"psnr": [12.0]}, pasted={"psnr": [10.0]}), "psnr")
    assert [area(sheet, color) for color in (RED, GREEN, BLUE)] == [192 * 192] * 3
    columns = [
        np.flatnonzero((np.asarray(sheet) == color).all(axis=-1).any(axis=0))[0] for color in (RED, GREEN, BLUE)
    ]
    assert columns == sorted(columns) and sheet.width == 5 * 200 + 8


def test_rows_go_from_the_best_to_the_worst_and_a_missing_truth_is_left_out(tmp_path):
    for number, color in enumerate((RED, GREEN, BLUE)):
        write_case(tmp_path, number, model=plain(color))
    sheet = np.asarray(draw_sheet(tmp_path, figures_of(model={"lpips": [0.3, 0.1, 0.2]}), "lpips"))
    tops = [np.flatnonzero((sheet == color).all(axis=-1).any(axis=1))[0] for color in (GREEN, BLUE, RED)]
    assert tops == sorted(tops) and sheet.shape[1] == 3 * 200 + 8


def test_without_figures_of_pictures_the_first_cases_are_shown(tmp_path):
    for number in range(12):
        write_case(tmp_path, number, model=plain(RED if number < 9 else BLUE))
    sheet = draw_sheet(tmp_path, {"model": {}}, None)
    assert area(sheet, RED) == 9 * 192 * 192 and area(sheet, BLUE) == 0
