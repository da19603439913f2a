# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The predictions of a stage's network, with classifier-free guidance or without."""

from typing import NamedTuple

import torch

from diffusers_tryon.models.unet_parallel import (
    EncodedConditions,
    GarmentFeatures,
    ParallelUNetModel,
    PersonFeatures,
)
from diffusers_tryon.models.unet_parallel_reference import ReferenceParallelUNetModel
from diffusers_tryon.pipelines.inputs import StageInputs


# What the paper uses (section 4).
DEFAULT_GUIDANCE_SCALE = 2.0


class NetworkPass(NamedTuple):
    """One pass of a stage's network in every step: its rows and all of them that no step changes.

    Attributes:
        inputs ([`StageInputs`]): the rows.
        keep (`torch.Tensor`, *optional*): (B,) bool, the rows whose conditions are not dropped; all if not given.
        conditions ([`EncodedConditions`]): of these rows.
    """

    inputs: StageInputs
    keep: torch.Tensor | None
    conditions: EncodedConditions


class Prediction(NamedTuple):
    """What a step's passes gave.

    Attributes:
        sample (`torch.Tensor`): (B, 3, H, W) float32, guided.
        person_features (`tuple[PersonFeatures, ...]`): of each pass, for steps that reuse them; empty if not asked for.
    """

    sample: torch.Tensor
    person_features: tuple[PersonFeatures, ...]


def network_passes(
    unet: ParallelUNetModel | ReferenceParallelUNetModel,
    inputs: StageInputs,
    with_guidance: bool,
    sequential_guidance: bool,
) -> tuple[NetworkPass, ...]:
    """The passes of a step: one of the conditional rows, or with guidance one of null and conditional rows or one of
    each. Null rows have every condition dropped."""
    if not with_guidance:
        return (network_pass(unet, inputs),)
    num_rows, device = len(inputs.agnostic_image), inputs.agnostic_image.device
    if sequential_guidance:
        nothing = torch.zeros(num_rows, dtype=torch.bool, device=device)
        return network_pass(unet, inputs, nothing), network_pass(unet, inputs)
    keep = torch.tensor([False, True], device=device).repeat_interleave(num_rows)
    twice = {name: torch.cat([value, value]) for name, value in _rows_of(inputs).items()}
    return (network_pass(unet, inputs._replace(**twice), keep),)


def network_pass(
    unet: ParallelUNetModel | ReferenceParallelUNetModel, inputs: StageInputs, keep: torch.Tensor | None = None
) -> NetworkPass:
    """Encode the conditions of a pass."""
    conditions = unet.encode_conditions(
        inputs.person_pose,
        inputs.garment_pose,
        inputs.agnostic_noise_level,
        inputs.garment_noise_level,
        inputs.low_res_noise_level,
        keep,
        unet.dtype,
    )
    return NetworkPass(inputs, keep, conditions)


def predict(
    unet: ParallelUNetModel | ReferenceParallelUNetModel,
    model_input: torch.Tensor,
    timestep: torch.Tensor,
    passes: tuple[NetworkPass, ...],
    features: GarmentFeatures,
    guidance_scale: float | None = None,
    guidance_rescale: float = 0.0,
    person_features: tuple[PersonFeatures, ...] = (),
    return_person_features: bool = False,
) -> Prediction:
    """Predict with a stage's network, in its dtype, from and to float32.

    Args:
        model_input (`torch.Tensor`): (B, 3, H, W), the noisy image as the scheduler scaled it.
        timestep (`torch.Tensor`): scalar.
        passes (`tuple[NetworkPass, ...]`): from [`network_passes`], with guidance or without.
        features ([`GarmentFeatures`]): of the B conditional rows. Null rows carry those of a dropped garment, so the
            garment stream runs for the conditional rows alone.
        guidance_scale (`float`, *optional*): returns `null + guidance_scale * (conditional - null)`. `None` if there
            are no null rows.
        guidance_rescale (`float`): see `rescale_guidance`.
        person_features (`tuple[PersonFeatures, ...]`): of an earlier step's passes, in place of the ways down.
        return_person_features (`bool`): whether to return them.
    """
    if guidance_scale is None:
        rows, feature_rows = [model_input], [features]
    elif len(passes) == 2:
        rows, feature_rows = [model_input, model_input], [unet.null_features(features), features]
    else:
        rows, feature_rows = [torch.cat([model_input, model_input])], [_with_null_rows(features)]
    results = [
        predict_rows(
            unet,
            rows[number],
            timestep,
            item,
            feature_rows[number],
            person_features[number] if person_features else None,
            return_person_features,
        )
        for number, item in enumerate(passes)
    ]
    reused = tuple(result[1] for result in results) if return_person_features else ()
    predictions = [result[0].float() for result in results]
    if guidance_scale is None:
        return Prediction(predictions[0], reused)
    null, conditional = torch.cat(predictions).chunk(2)
    guided = null + guidance_scale * (conditional - null)
    return Prediction(rescale_guidance(guided, conditional, guidance_rescale), reused)


def step_garment_features(
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
    rows: NetworkPass,
    features: GarmentFeatures,
    person_features: PersonFeatures | None = None,
    return_person_features: bool = False,
) -> tuple[torch.Tensor, ...]:
    """One pass of a stage's network, in its dtype: (B, 3, H, W), and the person features if asked for."""
    low_res_image = rows.inputs.low_res_image
    return unet(
        sample=model_input.to(unet.dtype),
        timestep=timestep.expand(len(model_input)),
        agnostic_image=rows.inputs.agnostic_image.to(unet.dtype),
        low_res_image=None if low_res_image is None else low_res_image.to(unet.dtype),
        conditioning_mask=rows.keep,
        garment_features=features,
        encoded_conditions=rows.conditions,
        person_features=person_features,
        return_person_features=return_person_features,
        return_dict=False,
    )


def rescale_guidance(guided: torch.Tensor, conditional: torch.Tensor, rescale: float) -> torch.Tensor:
    """Bring guided predictions, (B, 3, H, W), towards the standard deviation of the conditional ones.

    "Common Diffusion Noise Schedules and Sample Steps are Flawed" (arXiv 2305.08891), equations 15 and 16; `rescale` 0
    leaves them, 1 gives them that deviation.
    """
    if rescale == 0:
        return guided
    deviation = conditional.std(dim=(1, 2, 3), keepdim=True) / guided.std(dim=(1, 2, 3), keepdim=True)
    return guided * (rescale * deviation + 1 - rescale)


def _rows_of(inputs: StageInputs) -> dict[str, torch.Tensor]:
    names = ("agnostic_image", "person_pose", "garment_pose", "low_res_image")
    return {name: getattr(inputs, name) for name in names if getattr(inputs, name) is not None}


def _with_null_rows(features: GarmentFeatures) -> GarmentFeatures:
    """Zeros for as many rows before those of `features`."""
    return GarmentFeatures(*(tuple(torch.cat([torch.zeros_like(item), item]) for item in path) for path in features))
