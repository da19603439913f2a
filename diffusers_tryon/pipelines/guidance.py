# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""One prediction of a stage's network, with classifier-free guidance or without."""

import torch

from diffusers_tryon.models.unet_parallel import GarmentFeatures, ParallelUNetModel
from diffusers_tryon.models.unet_parallel_reference import ReferenceParallelUNetModel
from diffusers_tryon.pipelines.inputs import StageInputs


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
    levels = {
        "agnostic_noise_level": inputs.agnostic_noise_level,
        "low_res_noise_level": inputs.low_res_noise_level,
    }
    features = inputs.garment_features
    if features is None:
        features = unet.encode_garment(
            inputs.garment_image.to(unet.dtype),
            inputs.garment_pose,
            inputs.garment_noise_level,
            timestep=timestep,
            person_pose=inputs.person_pose,
            **levels,
        )
    rows = {
        "sample": model_input.to(unet.dtype),
        "agnostic_image": inputs.agnostic_image.to(unet.dtype),
        "person_pose": inputs.person_pose,
        "garment_pose": inputs.garment_pose,
        "low_res_image": None if inputs.low_res_image is None else inputs.low_res_image.to(unet.dtype),
    }

    def run(
        rows: dict[str, torch.Tensor | None], features: GarmentFeatures, keep: torch.Tensor | None
    ) -> torch.Tensor:
        return unet(
            **rows,
            timestep=timestep.expand(len(rows["sample"])),
            garment_noise_level=inputs.garment_noise_level,
            **levels,
            conditioning_mask=keep,
            garment_features=features,
            return_dict=False,
        )[0].float()

    if guidance_scale is None:
        return run(rows, features, None)
    zeros = _zeros_like(features)
    keep = torch.tensor([False, True], device=model_input.device).repeat_interleave(len(model_input))
    keep_nothing, keep_all = keep.chunk(2)
    if sequential_guidance:
        null, conditional = run(rows, zeros, keep_nothing), run(rows, features, keep_all)
    else:
        twice = {name: None if tensor is None else torch.cat([tensor, tensor]) for name, tensor in rows.items()}
        null, conditional = run(twice, _concatenated(zeros, features), keep).chunk(2)
    return rescale_guidance(null + guidance_scale * (conditional - null), conditional, guidance_rescale)


def rescale_guidance(guided: torch.Tensor, conditional: torch.Tensor, rescale: float) -> torch.Tensor:
    """Bring guided predictions, (B, 3, H, W), towards the standard deviation of the conditional ones.

    "Common Diffusion Noise Schedules and Sample Steps are Flawed" (arXiv 2305.08891), equations 15 and 16; `rescale` 0
    leaves them, 1 gives them that deviation.
    """
    if rescale == 0:
        return guided
    deviation = conditional.std(dim=(1, 2, 3), keepdim=True) / guided.std(dim=(1, 2, 3), keepdim=True)
    return guided * (rescale * deviation + 1 - rescale)


def _zeros_like(features: GarmentFeatures) -> GarmentFeatures:
    return GarmentFeatures(tuple(map(torch.zeros_like, features.down)), tuple(map(torch.zeros_like, features.up)))


def _concatenated(first: GarmentFeatures, second: GarmentFeatures) -> GarmentFeatures:
    return GarmentFeatures(
        tuple(torch.cat(pair) for pair in zip(first.down, second.down)),
        tuple(torch.cat(pair) for pair in zip(first.up, second.up)),
    )
