# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Memory that a pass of a stage's network takes, and whether there is enough for both halves of guidance at once."""

from itertools import pairwise

import psutil
import torch

from diffusers_tryon.models.unet_parallel import ParallelUNetModel
from diffusers_tryon.models.unet_parallel_reference import ReferenceParallelUNetModel


# For what the kernels use beside their results.
_HEADROOM = 1.3


def fits_memory(
    unet: ParallelUNetModel | ReferenceParallelUNetModel,
    num_rows: int,
    height: int,
    width: int,
    device: torch.device,
) -> bool:
    """Whether a pass of `num_rows` fits the memory that is free on a device, beside weights that are yet to come.

    On devices whose free memory is not known, it does.
    """
    free = free_bytes(device)
    if free is None:
        return True
    to_come = sum(weight.nbytes for weight in unet.parameters() if weight.device.type != device.type)
    return to_come + activation_bytes(unet, num_rows, height, width) <= free


def activation_bytes(
    unet: ParallelUNetModel | ReferenceParallelUNetModel, num_rows: int, height: int, width: int
) -> int:
    """About the most bytes in use at a time in a pass of the person stream, without gradients.

    That is in the first block of a level on the way up: what came from below, the skips of this level and of those
    that follow, and in the block both joined, normalised and activated, and its shortcut. Beside it lie the garments'
    features. Attention is taken to keep no logits, as flash kernels do.

    Args:
        unet: the network; its configuration and dtype count.
        num_rows (`int`): B, null rows included.
        height, width (`int`): of the images in pixels.
    """
    config = unet.config
    widths, layers = config.block_out_channels, config.layers_per_block
    pixels = height * width // config.get("patch_size", 1) ** 2
    areas = [pixels / 4**level for level in range(len(widths))]
    maps = [area * width * count for area, width, count in zip(areas, widths, layers)]  # of each level's skips
    features = 2 * sum(numbers for numbers, has_attention in zip(maps, config.attention_levels) if has_attention)
    peaks = []
    for level, (channels, below) in enumerate(pairwise((*widths, widths[-1]))):
        joined = channels + below
        peaks.append(areas[level] * (below + 3 * joined + channels) + sum(maps[: level + 1]))
    itemsize = torch.empty((), dtype=unet.dtype).element_size()
    return int(_HEADROOM * num_rows * (max(peaks) + features) * itemsize)


def free_bytes(device: torch.device) -> int | None:
    """Bytes that a device has free for this process; `None` if that is not known of such devices."""
    if device.type == "cpu":
        return psutil.virtual_memory().available
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
    return None
