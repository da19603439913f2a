# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""One prediction of a stage's network, with classifier-free guidance or without."""

import torch

from diffusers_tryon.models.unet_parallel import GarmentFeatures, ParallelUNetModel
from diffusers_tryon.models.unet_parallel_reference import ReferenceParallelUNetModel
from diffusers_tryon.pipelines.inputs import StageInputs


# What the paper uses (section 4).
DEFAULT_GUIDANCE_SCALE = 2.0


def predict(
    unet: ParallelUNetModel | ReferenceParallelUNetModel,
    model_input: torch.Tensor,
    timestep: torch.Tensor,
    inputs: StageInputs,
    guidance_scale: float | None = None,
    guidance_rescale: float = 0.0,
    sequential_guidance: bool = False,
) -> torch.Tensor:
    """Predict with a stage's network, in its dtype, from and to float32.

    Args:
        model_input (`torch.Tensor`): (B, 3, H, W), the noisy image as the scheduler scaled it.
        timestep (`torch.Tensor`): scalar.
        inputs ([`StageInputs`]): the B rows of conditions.
        guidance_scale (`float`, *optional*): returns `null + guidance_scale * (conditional - null)`, where the null
            rows have every condition dropped. They carry garment features of zeros, so the garment stream runs for the
            conditional rows alone. `None` computes no null rows.
        guidance_rescale (`float`): see `rescale_guidance`.
        sequential_guidance (`bool`): run the null rows before the conditional ones, not in one batch with them.

    Returns:
        `torch.Tensor`: (B, 3, H, W).
    """
    features = garment_features(unet, timestep, inputs)
    if guidance_scale is None:
        return predict_rows(unet, model_input, timestep, inputs, features)
    zeros = zeros_like(features)
    if sequential_guidance:
        keep_nothing = torch.zeros(len(model_input), dtype=torch.bool, device=model_input.device)
        null = predict_rows(unet, model_input, timestep, inputs, zeros, keep_nothing)
        conditional = predict_rows(unet, model_input, timestep, inputs, features)
    else:
        keep = torch.tensor([False, True], device=model_input.device).repeat_interleave(len(model_input))
        both = predict_rows(
            unet,
            torch.cat([model_input, model_input]),
            timestep,
            inputs._replace(**{name: torch.cat([value, value]) for name, value in _rows_of(inputs).items()}),
            _concatenated(zeros, features),
            keep,
        )
        null, conditional = both.chunk(2)
    return rescale_guidance(null + guidance_scale * (conditional - null), conditional, guidance_rescale)


def garment_features(
    unet: ParallelUNetModel | ReferenceParallelUNetModel, timestep: torch.Tensor, inputs: StageInputs
) -> GarmentFeatures:
    """The garments' features: those of `inputs`, or, if the network's garment stream sees the timestep, computed."""
    if inputs.garment_features is not None:
        return inputs.garment_features
    return unet.encode_garment(
        inputs.garment_image.to(unet.dtype),
        inputs.garment_pose,
        inputs.garment_noise_level,
        timestep=timestep,
        person_pose=inputs.person_pose,
        agnostic_noise_level=inputs.agnostic_noise_level,
        low_res_noise_level=inputs.low_res_noise_level,
    )


def predict_rows(
    unet: ParallelUNetModel | ReferenceParallelUNetModel,
    model_input: torch.Tensor,
    timestep: torch.Tensor,
    inputs: StageInputs,
    features: GarmentFeatures,
    keep: torch.Tensor | None = None,
) -> torch.Tensor:
    """One pass of a stage's network, in its dtype, from and to float32, (B, 3, H, W).

    Args:
        keep (`torch.Tensor`, *optional*): (B,) bool, the rows whose conditions are not dropped; all if not given.
    """
    low_res_image = inputs.low_res_image
    return unet(
        sample=model_input.to(unet.dtype),
        timestep=timestep.expand(len(model_input)),
        agnostic_image=inputs.agnostic_image.to(unet.dtype),
        person_pose=inputs.person_pose,
        garment_pose=inputs.garment_pose,
        low_res_image=None if low_res_image is None else low_res_image.to(unet.dtype),
        agnostic_noise_level=inputs.agnostic_noise_level,
        garment_noise_level=inputs.garment_noise_level,
        low_res_noise_level=inputs.low_res_noise_level,
        conditioning_mask=keep,
        garment_features=features,
        return_dict=False,
    )[0].float()


def rescale_guidance(guided: torch.Tensor, conditional: torch.Tensor, rescale: float) -> torch.Tensor:
    """Bring guided predictions, (B, 3, H, W), towards the standard deviation of the conditional ones.

    "Common Diffusion Noise Schedules and Sample Steps are Flawed" (arXiv 2305.08891), equations 15 and 16; `rescale` 0
    leaves them, 1 gives them that deviation.
    """
    if rescale == 0:
        return guided
    deviation = conditional.std(dim=(1, 2, 3), keepdim=True) / guided.std(dim=(1, 2, 3), keepdim=True)
    return guided * (rescale * deviation + 1 - rescale)


def zeros_like(features: GarmentFeatures) -> GarmentFeatures:
    """What null rows have in place of garment features."""
    return GarmentFeatures(tuple(map(torch.zeros_like, features.down)), tuple(map(torch.zeros_like, features.up)))


def _rows_of(inputs: StageInputs) -> dict[str, torch.Tensor]:
    names = ("agnostic_image", "person_pose", "garment_pose", "low_res_image")
    return {name: getattr(inputs, name) for name in names if getattr(inputs, name) is not None}


def _concatenated(first: GarmentFeatures, second: GarmentFeatures) -> GarmentFeatures:
    return GarmentFeatures(
        tuple(torch.cat(pair) for pair in zip(first.down, second.down)),
        tuple(torch.cat(pair) for pair in zip(first.up, second.up)),
    )
