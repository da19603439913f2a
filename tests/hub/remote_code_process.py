# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Loads what `test_remote_code.py` exported, as people do who have not installed the package.

    python -I remote_code_process.py FOLDER RESULTS

FOLDER holds "inputs.pt" and the exported repositories. Every case is one call as users write it; the images and
messages it gives are written to the file RESULTS by its name.
"""

import logging
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image


class _Absence:
    """An import hook for which the package is not installed."""

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "diffusers_tryon":
            raise ModuleNotFoundError(f"No module named {name!r}")


sys.meta_path.insert(0, _Absence())

from diffusers import DiffusionPipeline  # noqa: E402
from diffusers.utils.dynamic_modules_utils import get_class_from_dynamic_module  # noqa: E402
from huggingface_hub import constants, snapshot_download  # noqa: E402


def load(source: str | Path, **options) -> DiffusionPipeline:
    pipe = DiffusionPipeline.from_pretrained(source, **{"trust_remote_code": True, **options})
    pipe.set_progress_bar_config(disable=True)
    return pipe


def error(function: Callable, *arguments, **options) -> str:
    try:
        function(*arguments, **options)
    except Exception as raised:
        return f"{type(raised).__name__}: {raised}"
    return ""


class Cases:
    def __init__(self, folder: Path):
        self.folder = folder
        self.inputs = torch.load(folder / "inputs.pt", weights_only=False)

    def images(self, pipe: DiffusionPipeline, **changed) -> torch.Tensor:
        return pipe(**{**self.inputs, "generator": torch.Generator().manual_seed(100), **changed}).images

    def saved(self, name: str, pipe: DiffusionPipeline, **options) -> Path:
        pipe.save_pretrained(self.folder / name, **options)
        return self.folder / name

    def example(self, card: str) -> torch.Tensor:
        """What the code in the card makes of the pictures and poses in the working folder."""
        exec(card.split("```python\n")[1].split("```")[0], {})
        return torch.from_numpy(np.array(Image.open("tryon.png")))

    def with_adapters(self, pipe: DiffusionPipeline) -> torch.Tensor:
        pipe.load_lora_weights(self.folder / "adapters")
        return self.images(pipe)

    def encoded(self) -> torch.Tensor:
        """What a garment encoded by one pipeline gives there after another pipeline was loaded."""
        pipe = load(self.folder / "exported")
        garment = pipe.encode_garment(
            self.inputs["garment_image"], self.inputs["garment_pose"], generator=torch.Generator().manual_seed(100)
        )
        load(self.folder / "exported")
        return self.images(pipe, garment_features=garment, garment_image=None, garment_pose=None)

    def class_in_network_folder(self) -> bool:
        """Whether the file there gives the class that runs already."""
        folder = self.folder / "exported" / "base_unet"
        (file,) = folder.glob("*.py")
        found = get_class_from_dynamic_module(
            folder, file.name, class_name="ParallelUNetModel", trust_remote_code=True
        )
        return found is type(load(folder.parent).base_unet)

    def all(self) -> dict[str, torch.Tensor | str]:
        exported, half = self.folder / "exported", {"variant": "fp16", "dtype": torch.float16}
        base_only = {"sr_unet": None, "sr_scheduler": None}
        found = {
            "folder": self.images(load(exported)),
            "hub": self.images(load("me/exported")),
            "hub, cached": self.images(load("me/exported", local_files_only=True)),
            "revision": self.images(load("me/exported", revision="v1")),
            "variant": self.images(load("me/exported", **half)),
            "base of a cascade": self.images(load("me/exported", **base_only)),
            "base given": self.images(load("me/exported", base_unet=load(exported).base_unet, **base_only)),
            "base only": self.images(load(self.folder / "exported_base")),
            "reference networks": self.images(load(self.folder / "exported_reference")),
            "device map": self.images(load(exported, device_map="balanced")),
            "encoded garment": self.encoded(),
            "without trust, folder": error(DiffusionPipeline.from_pretrained, exported),
            "without trust, hub": error(DiffusionPipeline.from_pretrained, "me/exported"),
            "adapters": self.with_adapters(load(exported)),
            "example": self.example((self.folder / "exported" / "README.md").read_text()),
            "photographs": error(load(exported).try_on, "person.jpg", "garment.jpg"),
        }
        saved = load(exported)
        found["saved again"] = self.images(load(self.saved("saved", saved)))
        # What was saved by code that was saved itself, with another stage.
        saved.sr_unet = saved.sr_scheduler = None
        base = load(self.saved("saved_base", saved))
        base.sr_unet, base.sr_scheduler = load(exported).sr_unet, load(exported).sr_scheduler
        found["saved twice"] = self.images(load(self.saved("saved_twice", base)))
        load(exported).push_to_hub("pushed")
        found["pushed"] = self.images(load("me/pushed"))
        found["of its class"] = self.images(type(saved).from_pretrained("me/exported"))
        snapshot_download("me/exported")
        constants.HF_HUB_OFFLINE = True
        found["offline by its id"] = error(load, "me/exported", local_files_only=True)
        found["offline"] = self.images(load(snapshot_download("me/exported")))
        return found


def main(folder: str, results: str) -> None:
    warnings = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: warnings.append(record.getMessage())
    logging.getLogger("diffusers").addHandler(handler)
    cases = Cases(Path(folder))
    found = cases.all()
    code = [module.__file__ for name, module in sys.modules.items() if name.startswith("diffusers_modules.")]
    found |= {"warnings": warnings, "modules": list(sys.modules), "code": code}
    found["class in a network's folder"] = cases.class_in_network_folder()
    torch.save(found, results)


if __name__ == "__main__":
    main(*sys.argv[1:])
