# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Loads what the repositories of `test_hub_loading.py` hold, in a process that has loaded nothing before.

    python loading_process.py REVISION CACHE RESULTS

Every case is one call as users write it; the images and weights it gives are written to the file RESULTS by its name.
"""

import sys

import torch
from diffusers import DDPMScheduler
from tiny_cascade import cascade_inputs

from diffusers_tryon import ParallelUNetModel, TryOnCascadePipeline


def images(*arguments, **options) -> torch.Tensor:
    pipe = TryOnCascadePipeline.from_pretrained(*arguments, **options)
    pipe.set_progress_bar_config(disable=True)
    return pipe(**cascade_inputs()).images


def error(*arguments, **options) -> str:
    try:
        TryOnCascadePipeline.from_pretrained(*arguments, **options)
    except Exception as raised:
        return f"{type(raised).__name__}: {raised}"
    return ""


def main(revision: str, cache: str, results: str) -> None:
    unet = ParallelUNetModel.from_pretrained("me/cascade", subfolder="sr_unet")
    old_unet = ParallelUNetModel.from_pretrained("me/cascade", subfolder="base_unet", revision=revision)
    half_unet = ParallelUNetModel.from_pretrained(
        "me/cascade", subfolder="base_unet", variant="fp16", dtype=torch.float16
    )
    scheduler = DDPMScheduler.from_pretrained("me/cascade", subfolder="image_noising_scheduler")
    half = {"variant": "fp16", "dtype": torch.float16}
    torch.save(
        {
            "plain": images("me/cascade"),
            "variant": images("me/cascade", **half),
            "revision": images("me/cascade", revision=revision),
            "tag": images("me/cascade", revision="v1"),
            "cache_dir": images("me/cascade", cache_dir=cache),
            "local_files_only": images("me/cascade", local_files_only=True),
            "base only": images("me/base"),
            "stage added": images("me/base", sr_unet=unet, sr_scheduler=DDPMScheduler.from_config(scheduler.config)),
            "base of a cascade": images("me/cascade", sr_unet=None, sr_scheduler=None),
            "token": images("me/private", token="hf_fake"),
            "unet": unet.conv_out.weight,
            "unet at a revision": old_unet.conv_out.weight,
            "unet of a variant": half_unet.conv_out.weight,
            "without a token": error("me/private", token=False, cache_dir=f"{cache}-of-a-stranger"),
            "nobody's": error("me/nobody"),
        },
        results,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
