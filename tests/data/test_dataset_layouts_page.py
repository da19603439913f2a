# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The page about layouts: its script writes the rows that its example reads."""

import os
import re
import subprocess
import sys
from pathlib import Path


ROOT = Path(__file__).parents[2]


def test_the_examples_of_the_page_run(tmp_path):
    page = (ROOT / "docs" / "dataset_layouts.md").read_text()
    read, write = re.findall(r"```python\n(.*?)```", page, flags=re.S)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_DATASETS_CACHE": str(tmp_path / "cache")}

    def run(name: str, source: str) -> str:
        (tmp_path / name).write_text(source)
        done = subprocess.run(
            [sys.executable, name], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "2 rows in 1 shard" in run("write.py", write)
    assert run("read.py", read) == "2 (48, 64)\nfirst\nsecond\n(64, 48, 3) (18, 3)\n"
