# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Whether a network can work at its size, before the first step of a run."""

from diffusers.models.modeling_utils import ModelMixin

from diffusers_tryon.models.inputs import trained_size
from diffusers_tryon.training.configuration import TrainingConfig


def check_network_size(config: TrainingConfig, unet: ModelMixin) -> None:
    """Check the sizes of the network's pictures and, in stage "sr", of those that it enlarges.

    Raises:
        ValueError: a side cannot be halved as often as the network has levels, or `low_res_size` makes no smaller
            picture of the same ratio.
    """
    size = trained_size(unet)
    if any(side % unet.size_divisor for side in size):
        raise ValueError(
            f"`sample_size` of the network must have sides that are multiples of {unet.size_divisor}, which its "
            f"levels halve, got {size[0]} x {size[1]}."
        )
    if config.stage == "sr":
        longer = max(size)
        if config.low_res_size >= longer or any(side * config.low_res_size % longer for side in size):
            raise ValueError(
                f"`low_res_size` must make a smaller picture of the ratio of the network's {size[0]} x {size[1]} "
                f"pixels, got {config.low_res_size}."
            )
