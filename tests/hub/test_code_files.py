# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Writing modules as files: what comes out of small ones, and what is refused."""

import importlib
import sys
from pathlib import Path

import pytest

from diffusers_tryon.hub.code_files import LICENCE, FilePlan, write_files


def write_modules(root: Path, modules: dict[str, str]) -> Path:
    for name, text in modules.items():
        path = root / "diffusers_tryon" / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'{LICENCE}"""A module."""\n\n{text}')
    return root


def files(root: Path, modules: dict[str, str], heads: dict[str, str], left_out=None, in_place_of=None) -> dict:
    plans = [FilePlan(name, head) for name, head in heads.items()]
    return write_files(write_modules(root, modules), plans, "1.2.3", left_out or {}, in_place_of or {})


MODULES = {
    "poses": "import math\nimport os.path\nfrom typing import Any\n\n\n# The points.\nPOINTS: Any = math.floor(3.7)\n",
    "models.net": (
        "import os.path\nfrom typing import TYPE_CHECKING\n\nfrom ..poses import POINTS\n\n\nif TYPE_CHECKING:\n"
        "    from diffusers_tryon.pipe import Pipe\n\n\nclass Net:\n    size = POINTS  # of it\n\n"
        '    def of(self, pipe: "Pipe") -> str:\n        return os.path.basename("a/net")\n'
    ),
    "output": "from diffusers_tryon.heavy import Heavy\n\n\nclass Result:\n    pass\n\n\nclass Big(Heavy):\n    pass\n",
    "photos": "from diffusers_tryon.heavy import Heavy\n\n\nclass Photos(Heavy):\n    pass\n",
    "no_photos": "class Photos:\n    pass\n",
    "pipe": (
        "from diffusers_tryon.models.net import Net\nfrom diffusers_tryon.output import Result\n"
        "from diffusers_tryon.photos import Photos\nfrom diffusers_tryon.poses import POINTS as NUMBER\n\n\n"
        "class Pipe(Photos):\n    parts = (Net, Result, NUMBER)\n"
    ),
}


def test_the_files_of_modules(tmp_path):
    texts = files(
        tmp_path, MODULES, {"nets": "models.net", "pipes": "pipe"}, {"output": ("Big",)}, {"photos": "no_photos"}
    )
    rule = f"# {'-' * 77}"
    assert (
        texts["nets"]
        == f'''{LICENCE}#
# Written by `diffusers-tryon hub export-remote-code` of diffusers-tryon 1.2.3. Everything below is as in the package,
# but for the imports, which stand together here. Its modules:
#   diffusers_tryon/poses.py
#   diffusers_tryon/models/net.py

import math
import os.path
from typing import Any


{rule}
# diffusers_tryon/poses.py
{rule}
"""A module."""


# The points.
POINTS: Any = math.floor(3.7)


{rule}
# diffusers_tryon/models/net.py
{rule}
"""A module."""


class Net:
    size = POINTS  # of it

    def of(self, pipe: "Pipe") -> str:
        return os.path.basename("a/net")
'''
    )
    assert "\nfrom .nets import POINTS as NUMBER\nfrom .nets import Net\n" in texts["pipes"]
    assert "# diffusers_tryon/no_photos.py, in place of diffusers_tryon/photos.py\n" in texts["pipes"]
    assert "Big" not in texts["pipes"] and "Heavy" not in texts["pipes"]


def test_the_files_run(tmp_path, monkeypatch):
    texts = files(
        tmp_path, MODULES, {"nets": "models.net", "pipes": "pipe"}, {"output": ("Big",)}, {"photos": "no_photos"}
    )
    written = tmp_path / "written_code"
    written.mkdir()
    for name, text in texts.items():
        (written / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    pipes, nets = (importlib.import_module(f"written_code.{name}") for name in ("pipes", "nets"))
    assert pipes.Pipe.parts == (nets.Net, pipes.Result, 3) and nets.Net().of(None) == "net"
    for name in [name for name in sys.modules if name.split(".")[0] == "written_code"]:
        del sys.modules[name]


PARTS = "from diffusers_tryon.parts import PART\n\nWHOLE = PART\n"


@pytest.mark.parametrize(
    ("whole", "parts", "reason"),
    [
        ("import diffusers_tryon.parts\n", "", "only `from ... import ...` can be followed"),
        ("from diffusers_tryon.parts import *\n", "PART = 1\n", r"line 5 .* of `\*` cannot be moved"),
        ("from __future__ import annotations\n", "", "imports from __future__"),
        ("def whole():\n    from .parts import PART\n    return PART\n", "", "inside of a statement"),
        ("try:\n    import diffusers_tryon.parts\nexcept ImportError:\n    pass\n", "", "inside of a statement"),
        ("import json; WHOLE = json.dumps(1)\n", "", "line 5 holds an import and something else"),
        ("import json  # for this\n\nWHOLE = json.dumps(1)\n", "", "the comment in line 5 would be lost"),
        ("from codecs import open\n\nWHOLE = open\n", "", "its open would take the place of Python's"),
        ("WHOLE = __file__\n", "", "line 5 .* it uses `__file__`"),
        ("import importlib\n\nWHOLE = importlib.import_module('json')\n", "", "it uses `import_module`"),
        ("WHOLE = eval('1')\n", "", "it uses `eval`"),
        ("def print(text):\n    pass\n", "", "its print would take the place of Python's"),
        (PARTS + "_SIDE = 1\n", "PART = 1\n_SIDE = 2\n", "something else by `_SIDE`"),
        (PARTS + "import math as _SIDE\n_SIDE.pi\n", "PART = 1\n_SIDE = 2\n", "something else by `_SIDE`"),
        (PARTS + "from json import load\nload\n", "from pickle import load\nPART = load\n", "else by `load`"),
        ("from diffusers_tryon.parts import PART as P\n\nWHOLE = P\n", "PART = 1\n", "is of the same file"),
        (PARTS, "from math import pi as PART\n\npi2 = 2 * PART\n", "PART is not defined in diffusers_tryon/parts.py"),
        (PARTS, "from diffusers_tryon.whole import WHOLE\n\nPART = WHOLE\n", "whole -> parts -> whole"),
    ],
)  # fmt: skip
def test_what_would_come_out_wrong_is_refused(tmp_path, whole, parts, reason):
    with pytest.raises(ValueError, match=reason):
        files(tmp_path, {"whole": whole, "parts": parts}, {"all": "whole"})


def test_the_same_line_in_two_modules_is_no_contradiction(tmp_path):
    logger = "import logging\n\nlogger = logging.getLogger(__name__)\n"
    text = files(tmp_path, {"whole": f"{PARTS}{logger}", "parts": f"{logger}PART = 1\n"}, {"all": "whole"})["all"]
    assert text.count("logger = logging.getLogger(__name__)") == 2 and text.count("import logging") == 1


def test_what_is_to_be_left_out_must_be_there(tmp_path):
    with pytest.raises(ValueError, match="whole.py .* defines no GONE to leave out"):
        files(tmp_path, {"whole": "WHOLE = 1\n"}, {"all": "whole"}, {"whole": ("GONE",)})


def test_what_is_left_out_must_not_be_used(tmp_path):
    with pytest.raises(ValueError, match="PART is not defined"):
        files(tmp_path, {"whole": PARTS, "parts": "PART = 1\n"}, {"all": "whole"}, {"parts": ("PART",)})
