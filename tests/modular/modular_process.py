# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Loads the repositories of `test_modular_files.py` in a process that has imported nothing of the package.

    python modular_process.py FOLDER RESULTS

FOLDER holds "inputs.pt" and the folder "cascade". Every case is one call as users write it; the images and messages it
gives are written to the file RESULTS by its name.
"""

import sys
from pathlib import Path

import torch
from diffusers import ModularPipeline
from huggingface_hub import constants, snapshot_download


class Cases:
    def __init__(self, folder: Path):
        self.folder = folder
        self.inputs = torch.load(folder / "inputs.pt", weights_only=False)

    def images(self, pipe, **loading) -> torch.Tensor:
        generator = torch.Generator().manual_seed(100)
        if not isinstance(pipe, ModularPipeline):
            pipe.set_progress_bar_config(disable=True)
            return pipe(**self.inputs, generator=generator, sequential_guidance=True).images
        pipe.load_components(**loading)
        pipe.set_progress_bar_config(disable=True)
        return pipe(**self.inputs, generator=generator, output="images")

    def of_code(self) -> dict[str, torch.Tensor | str]:
        """What the repositories' own code gives; the first case imports the package."""
        trust = {"trust_remote_code": True}
        half = {"variant": "fp16", "dtype": torch.float16}
        assert "diffusers_tryon" not in sys.modules
        return {
            "modular": self.images(ModularPipeline.from_pretrained("me/cascade", **trust)),
            "modular, folder": self.images(ModularPipeline.from_pretrained(self.folder / "cascade", **trust)),
            "modular, base only": self.images(ModularPipeline.from_pretrained("me/base", **trust)),
            "modular, variant": self.images(ModularPipeline.from_pretrained("me/cascade", **trust), **half),
            "modular, with code": self.images(ModularPipeline.from_pretrained("me/code", **trust)),
            "without trust": error(ModularPipeline.from_pretrained, "me/cascade"),
        }

    def all(self) -> dict[str, torch.Tensor | str]:
        found = {} if constants.HF_HUB_OFFLINE else self.of_code()
        copy = snapshot_download("me/cascade")
        found["modular, copy"] = self.images(ModularPipeline.from_pretrained(copy, trust_remote_code=True))
        from diffusers_tryon import TryOnBlocks, TryOnCascadePipeline

        found["blocks"] = self.images(TryOnBlocks().init_pipeline("me/cascade"))
        found["blocks, no modular files"] = self.images(TryOnBlocks().init_pipeline("me/plain"))
        found["blocks, base only"] = self.images(TryOnBlocks().init_pipeline("me/base"))
        found["standard"] = self.images(TryOnCascadePipeline.from_pretrained("me/cascade"))
        found["nameless"] = error(self.images, TryOnBlocks().init_pipeline("me/nameless"))
        return found


def error(function, *arguments, **options) -> str:
    try:
        function(*arguments, **options)
    except Exception as raised:
        return f"{type(raised).__name__}: {raised}"
    return ""


if __name__ == "__main__":
    torch.save(Cases(Path(sys.argv[1])).all(), sys.argv[2])
