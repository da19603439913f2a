# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The benchmark of batches measures every option and writes a report."""

import json
import sys
from pathlib import Path

from tiny_cascade import tiny_cascade
from typer.testing import CliRunner


sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import batch as batch_benchmark  # noqa: E402
import typer  # noqa: E402


def test_every_option_is_measured(tmp_path):
    tiny_cascade().save_pretrained(tmp_path / "model")
    application = typer.Typer()
    application.command()(batch_benchmark.main)
    words = ["--model", tmp_path / "model", "--rows", 3, "--batch-sizes", "1,2", "--processes", "", "--steps", 1]
    words += ["--sr-steps", 1, "--repeats", 2, "--batch-size", 2, "--out", tmp_path]
    result = CliRunner().invoke(application, list(map(str, words)))
    assert result.exit_code == 0, result.exception
    sizes, garments = json.loads((tmp_path / "batch.json").read_text())["tables"]
    assert [row["option"] for row in sizes["rows"]] == ["1", "2"]
    assert [row["option"] for row in garments["rows"]] == ["a garment for each", "one garment for all"]
    for row in sizes["rows"] + garments["rows"]:
        assert len(row["measurements"]) == 2
        assert abs(row["pictures a minute"] * row["seconds"] - 3 * 60) < 1e-6
