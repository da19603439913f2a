# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What a stage of the cascade works on, and the checks of what people pass to the pipelines."""

import math
from typing import NamedTuple

import numpy as np
import torch
from diffusers.schedulers.scheduling_utils import SchedulerMixin

from diffusers_tryon.models.unet_parallel import GarmentFeatures, ParallelUNetModel
from diffusers_tryon.models.unet_parallel_reference import ReferenceParallelUNetModel
from diffusers_tryon.pipelines.noise_streams import NoiseStreams
from diffusers_tryon.poses import NUM_KEYPOINTS, check_pose
from diffusers_tryon.schedules import NUM_TRAIN_TIMESTEPS


PoseInput = torch.Tensor | np.ndarray | list

# Far above any that makes a picture; infinity and numbers beyond float32 make NaN.
MAX_GUIDANCE_SCALE = 1000


class StagePlan(NamedTuple):
    """What one call asks of one stage."""

    name: str
    unet: ParallelUNetModel | ReferenceParallelUNetModel
    scheduler: SchedulerMixin
    height: int
    width: int
    num_inference_steps: int
    guidance_scale: float | None
    guidance_start: float
    guidance_stop: float
    latents: torch.Tensor | None

    def check(self, argument_prefix: str, num_rows: int) -> None:
        """Raise a `ValueError` naming the argument whose value is out of its range."""
        check_count(self.num_inference_steps, f"{argument_prefix}num_inference_steps", NUM_TRAIN_TIMESTEPS)
        # LCM and TCD choose among the steps that their network was distilled for.
        distilled_steps = self.scheduler.config.get("original_inference_steps", NUM_TRAIN_TIMESTEPS)
        if self.num_inference_steps > distilled_steps:
            raise ValueError(
                f"`{argument_prefix}num_inference_steps` must be at most {distilled_steps}, the scheduler's "
                f"`original_inference_steps`, got {self.num_inference_steps}."
            )
        if self.guidance_scale is not None:
            check_number(self.guidance_scale, f"{argument_prefix}guidance_scale", 0, MAX_GUIDANCE_SCALE)
        check_number(self.guidance_start, f"{argument_prefix}guidance_start", 0, 1)
        check_number(self.guidance_stop, f"{argument_prefix}guidance_stop", self.guidance_start, 1)
        shape = (num_rows, 3, self.height, self.width)
        if self.latents is not None and tuple(self.latents.shape) != shape:
            raise ValueError(f"`{argument_prefix}latents` must have shape {shape}, got {tuple(self.latents.shape)}.")


class StageInputs(NamedTuple):
    """What a stage's network reads beside the noisy image, all float32 and with as many rows.

    `kept_image` is the agnostic image before noise, `mask` (B, 1, H, W) where it may change. Of `garment_image` and
    `garment_features` one is None. The levels are those of the noise in the images, scalar tensors or None.
    """

    agnostic_image: torch.Tensor
    kept_image: torch.Tensor
    mask: torch.Tensor | None
    person_pose: torch.Tensor
    garment_image: torch.Tensor | None
    garment_features: GarmentFeatures | None
    garment_pose: torch.Tensor | None
    agnostic_noise_level: torch.Tensor | None
    garment_noise_level: torch.Tensor | None
    low_res_image: torch.Tensor | None = None
    low_res_noise_level: torch.Tensor | None = None

    def num_rows(self) -> dict[str, int]:
        """The number of rows of each input that is there, by the argument it came from."""
        features = self.garment_features
        inputs = {
            "agnostic_image": self.agnostic_image,
            "agnostic_mask": self.mask,
            "person_pose": self.person_pose,
            "garment_image": self.garment_image,
            "garment_pose": self.garment_pose,
            "garment_features": None if features is None else features.down[0],
        }
        return {name: len(tensor) for name, tensor in inputs.items() if tensor is not None}

    def expanded(self, num_rows: int) -> "StageInputs":
        """The same with each row repeated as often as it takes to have `num_rows`."""

        def expand(value: torch.Tensor | GarmentFeatures | None) -> torch.Tensor | GarmentFeatures | None:
            if isinstance(value, GarmentFeatures):
                return GarmentFeatures(tuple(map(expand, value.down)), tuple(map(expand, value.up)))
            if value is None or value.ndim == 0:
                return value
            return expand_rows(value, num_rows)

        return StageInputs(*map(expand, self))


class PreparedCall(NamedTuple):
    """A call of the pipeline before its first stage: the stages' plans and inputs, in order, and its noise.

    `low_res_image` is what the first stage goes on from, (B, 3, h, w) in [-1, 1], if it is not the base stage.
    """

    plans: list[StagePlan]
    inputs: list[StageInputs]
    low_res_image: torch.Tensor | None
    streams: NoiseStreams


def pose_tensor(pose: PoseInput, name: str) -> torch.Tensor:
    """Convert one pose or a batch, as tensors, arrays or lists, to (B, 18, 3) float32.

    Raises:
        ValueError: naming the argument `name`, on another shape, NaN, or values outside the pose format's ranges.
    """
    if isinstance(pose, torch.Tensor):
        pose = pose.detach().float().cpu().numpy()
    elif isinstance(pose, list):
        pose = [item.detach().float().cpu().numpy() if isinstance(item, torch.Tensor) else item for item in pose]
    try:
        array = np.array(pose, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`{name}` must hold numbers, ({NUM_KEYPOINTS}, 3) for each pose.") from error
    if array.ndim not in (2, 3) or array.size == 0:
        raise ValueError(
            f"`{name}` must have shape ({NUM_KEYPOINTS}, 3) or (B, {NUM_KEYPOINTS}, 3), got {array.shape}."
        )
    check_pose(array, name)
    return torch.from_numpy(array).reshape(-1, NUM_KEYPOINTS, 3)


def check_person_is_visible(person_pose: torch.Tensor) -> None:
    """Raise a `ValueError` where none of a person's keypoints is visible."""
    empty = (person_pose[..., 2] == 0).all(dim=1).nonzero().flatten().tolist()
    if empty:
        raise ValueError(f"`person_pose` must have a visible keypoint, pose {empty[0]} has none.")


def check_number(value: float, name: str, low: float, high: float) -> None:
    """Raise a `ValueError` unless `value` is a number from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ValueError(f"`{name}` must be a number from {low} to {high}, got {value!r}.")


def check_count(value: int, name: str, high: float = math.inf) -> None:
    """Raise a `ValueError` unless `value` is an integer from 1 to `high`."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= high:
        raise ValueError(f"`{name}` must be an integer from 1 to {high}, got {value!r}.")


def check_noise_level(level: int | None, name: str) -> None:
    """Raise a `ValueError` unless `level` is None or an integer from 0 to 999."""
    valid = level is None or (
        isinstance(level, int) and not isinstance(level, bool) and 0 <= level < NUM_TRAIN_TIMESTEPS
    )
    if not valid:
        raise ValueError(f"`{name}` must be an integer from 0 to {NUM_TRAIN_TIMESTEPS - 1} or None, got {level!r}.")


def check_generator(generator: torch.Generator | list[torch.Generator] | None, num_rows: int) -> None:
    """Raise a `ValueError` unless there is no generator, one, or a list of one for each of `num_rows` images."""
    generators = generator if isinstance(generator, list) else [generator]
    if not all(item is None or isinstance(item, torch.Generator) for item in generators):
        raise ValueError(f"`generator` must be a torch.Generator or a list of them, got {generator!r}.")
    if isinstance(generator, list) and (len(generator) != num_rows or None in generator):
        raise ValueError(
            f"`generator` must be a list of one generator for each of {num_rows} images, got {len(generator)}."
        )


def batch_size(rows: dict[str, int]) -> int:
    """The number of rows of the longest input; the others must have as many, or one for all.

    Args:
        rows (`dict[str, int]`): the number of rows of each input by its argument's name.
    """
    size = max(rows.values())
    for name, count in rows.items():
        if count not in (1, size):
            raise ValueError(f"`{name}` must hold one or {size} of the batch, as the other inputs do, got {count}.")
    return size


def expand_rows(tensor: torch.Tensor, num_rows: int) -> torch.Tensor:
    """Repeat each row as often as it takes to have `num_rows`."""
    return tensor.repeat_interleave(num_rows // tensor.shape[0], dim=0)


def check_low_res_latents(latents: torch.Tensor, size: tuple[int, int]) -> None:
    """Raise a `ValueError` unless `latents` are images in [-1, 1] of a stage that makes `size`."""
    if not isinstance(latents, torch.Tensor) or not latents.is_floating_point():
        raise ValueError(
            "`low_res_latents` must be a floating point tensor in [-1, 1]; pass others as `low_res_image`."
        )
    if latents.ndim != 4 or tuple(latents.shape[1:]) != (3, *size):
        raise ValueError(
            f"`low_res_latents` must have shape (B, 3, {size[0]}, {size[1]}), got {tuple(latents.shape)}."
        )
    # `not <=` also catches NaN.
    if not latents.abs().max() <= 1:
        raise ValueError(
            f"`low_res_latents` must lie in [-1, 1], got values from {latents.min():.4g} to {latents.max():.4g}."
        )


def level_tensor(level: int | None, device: torch.device) -> torch.Tensor | None:
    """A noise level as the networks take it."""
    return None if level is None else torch.tensor(float(level), device=device)
