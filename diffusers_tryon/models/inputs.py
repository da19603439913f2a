# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What both networks do with what they are given: checks, the conditioning mask, noise levels."""

from itertools import compress
from typing import TYPE_CHECKING

import torch
from diffusers.models.modeling_utils import ModelMixin

from diffusers_tryon.poses import NUM_KEYPOINTS


if TYPE_CHECKING:
    from diffusers_tryon.models.unet_parallel import EncodedConditions, GarmentFeatures


# Columns of `conditioning_mask`.
CONDITIONS = ("agnostic_image", "garment_image", "person_pose", "garment_pose")


def trained_size(unet: ModelMixin) -> tuple[int, int]:
    """Height and width in pixels of the pictures that a network was made for, its `sample_size`."""
    size = unet.config.sample_size
    return (size, size) if isinstance(size, int) else tuple(size)


class ParallelUNetInputsMixin:
    """Checks of the common `forward` and `encode_garment`, for networks with the configuration fields
    `low_res_conditioning`, `layers_per_block` and `attention_levels`, and the property `size_divisor`."""

    def _expand_mask(
        self, conditioning_mask: torch.Tensor | None, batch_size: int, device: torch.device
    ) -> tuple[torch.Tensor, ...]:
        """One bool (B, 1) per condition."""
        if conditioning_mask is None:
            return (torch.ones(batch_size, 1, dtype=torch.bool, device=device),) * len(CONDITIONS)
        if conditioning_mask.shape not in ((batch_size,), (batch_size, len(CONDITIONS))):
            raise ValueError(
                f"`conditioning_mask` must have shape ({batch_size},) or ({batch_size}, {len(CONDITIONS)}), "
                f"got {tuple(conditioning_mask.shape)}."
            )
        mask = conditioning_mask.to(device=device, dtype=torch.bool)
        if mask.ndim == 1:
            mask = mask[:, None].expand(-1, len(CONDITIONS))
        return mask.split(1, dim=1)

    def _check_inputs(
        self,
        sample: torch.Tensor,
        agnostic_image: torch.Tensor,
        garment_image: torch.Tensor | None,
        person_pose: torch.Tensor | None,
        garment_pose: torch.Tensor | None,
        low_res_image: torch.Tensor | None,
        garment_features: "GarmentFeatures | None",
        encoded_conditions: "EncodedConditions | None",
    ) -> None:
        batch_size, size = sample.shape[0], sample.shape[-2:]
        self._check_size("sample", sample)
        if (garment_image is None) == (garment_features is None):
            raise ValueError("Exactly one of `garment_image` and `garment_features` must be given.")
        if self.config.low_res_conditioning != (low_res_image is not None):
            expected = "needs" if self.config.low_res_conditioning else "takes no"
            raise ValueError(f"This network {expected} `low_res_image` (`low_res_conditioning` in its config).")
        for name, image in (
            ("sample", sample),
            ("agnostic_image", agnostic_image),
            ("garment_image", garment_image),
            ("low_res_image", low_res_image),
        ):
            if image is not None:
                self._check_image(name, image, batch_size, size)
        if (person_pose is None) == (encoded_conditions is None):
            raise ValueError("`person_pose` must be given, or `encoded_conditions` in its place.")
        if encoded_conditions is not None:
            if garment_features is None:
                raise ValueError("`encoded_conditions` go with `garment_features`, not with `garment_image`.")
            if encoded_conditions.vector.shape[0] != batch_size:
                raise ValueError(
                    f"`encoded_conditions` must have batch {batch_size}, got {encoded_conditions.vector.shape[0]}."
                )
        self._check_pose("person_pose", person_pose, batch_size)
        self._check_pose("garment_pose", garment_pose, batch_size)
        if garment_features is not None:
            num_maps = sum(compress(self.config.layers_per_block, self.config.attention_levels))
            batches = [
                [batch_size if feature is None else feature.shape[0] for feature in features]
                for features in garment_features
            ]
            if batches != [[batch_size] * num_maps] * 2:
                raise ValueError(
                    f"`garment_features` must hold {num_maps} maps down and up of batch {batch_size}, "
                    f"got batches {batches}."
                )

    def _check_size(self, name: str, image: torch.Tensor) -> None:
        if image.shape[-2] % self.size_divisor or image.shape[-1] % self.size_divisor:
            raise ValueError(
                f"`{name}` must have a height and width that are multiples of {self.size_divisor}, "
                f"got {tuple(image.shape[-2:])}."
            )

    def _check_image(self, name: str, image: torch.Tensor, batch_size: int, size: torch.Size) -> None:
        if image.shape != (batch_size, 3, *size):
            raise ValueError(f"`{name}` must have shape {(batch_size, 3, *size)}, got {tuple(image.shape)}.")

    def _check_pose(self, name: str, pose: torch.Tensor | None, batch_size: int) -> None:
        if pose is not None and pose.shape != (batch_size, NUM_KEYPOINTS, 3):
            raise ValueError(f"`{name}` must have shape {(batch_size, NUM_KEYPOINTS, 3)}, got {tuple(pose.shape)}.")

    def _check_level(self, name: str, level: torch.Tensor | None, batch_size: int) -> None:
        if name == "low_res_noise_level" and level is not None and not self.config.low_res_conditioning:
            raise ValueError("This network takes no `low_res_noise_level` (`low_res_conditioning` in its config).")
        if level is None and name != "timestep":
            return
        if not isinstance(level, torch.Tensor) or level.shape not in ((), (1,), (batch_size,)):
            shape = tuple(level.shape) if isinstance(level, torch.Tensor) else type(level).__name__
            raise ValueError(f"`{name}` must be a tensor, scalar or of shape ({batch_size},), got {shape}.")


def expand_level(level: torch.Tensor | None, like: torch.Tensor) -> torch.Tensor:
    """A timestep or noise level as a float32 (B,) tensor; `None`, no noise, is level 0."""
    if level is None:
        return torch.zeros(like.shape[0], dtype=torch.float32, device=like.device)
    return level.to(device=like.device, dtype=torch.float32).expand(like.shape[0])
