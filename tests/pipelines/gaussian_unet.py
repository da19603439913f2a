# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""A network with the interface of ours whose predictions, and so the images that sampling must end in, are known."""

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import nn

from diffusers_tryon.models.unet_parallel import EncodedConditions, GarmentFeatures, ParallelUNetOutput
from diffusers_tryon.schedules import cosine_betas


DEVIATION = 0.15
SHARE = 0.3


class GaussianUNet(ModelMixin, ConfigMixin):
    """The exact denoiser of images whose pixels are independent and normal.

    Their mean is `SHARE` times the garment's mean colour, plus `SHARE` times the low-resolution image if there is one;
    without conditions the garment's part is missing. Their standard deviation is `DEVIATION`. The schedule is the
    cosine.
    """

    low_res_interpolation = "nearest"
    size_divisor = 1

    @register_to_config
    def __init__(
        self,
        prediction_type: str = "v_prediction",
        sample_size: int = 16,
        low_res_conditioning: bool = False,
        garment_time_conditioning: bool = False,
        block_out_channels: tuple[int, ...] = (3,),
        layers_per_block: tuple[int, ...] = (1,),
        attention_levels: tuple[bool, ...] = (True,),
    ):
        super().__init__()
        self.deviation = nn.Parameter(torch.tensor(DEVIATION))
        levels = torch.cumprod(1 - torch.tensor(cosine_betas(), dtype=torch.float64), dim=0)
        self.register_buffer("log_sigmas", ((1 - levels) / levels).log() / 2, persistent=False)

    def encode_garment(self, garment_image, garment_pose=None, garment_noise_level=None, **time_conditions):
        return GarmentFeatures((garment_image.mean(dim=(2, 3), keepdim=True),), ())

    def encode_conditions(self, person_pose, *other_conditions):
        return EncodedConditions(person_pose.new_zeros(len(person_pose), 1), person_pose)

    def null_features(self, garment_features):
        return GarmentFeatures(tuple(map(torch.zeros_like, garment_features.down)), ())

    def mean(self, garment_features, low_res_image, conditioning_mask):
        color = garment_features.down[0]
        if conditioning_mask is not None:
            color = color * conditioning_mask[:, None, None, None]
        return SHARE * (color if low_res_image is None else color + low_res_image)

    def forward(
        self,
        sample,
        timestep,
        agnostic_image,
        garment_image=None,
        low_res_image=None,
        conditioning_mask=None,
        garment_features=None,
        return_dict=True,
        **other_conditions,
    ):
        if garment_features is None:
            garment_features = self.encode_garment(garment_image)
        mean = self.mean(garment_features, low_res_image, conditioning_mask).double()
        before = timestep.double().clamp(0, 999).floor().long()
        log_sigma = torch.lerp(
            self.log_sigmas[before], self.log_sigmas[(before + 1).clamp(max=999)], timestep.double() - before
        )
        ratio = log_sigma.exp()[:, None, None, None]
        alpha, sigma = 1 / (1 + ratio**2).sqrt(), ratio / (1 + ratio**2).sqrt()
        variance = self.deviation.double() ** 2
        gain = alpha * variance / (alpha**2 * variance + sigma**2)
        original = mean + gain * (sample.double() - alpha * mean)
        noise = (sample.double() - alpha * original) / sigma
        prediction = {"sample": original, "epsilon": noise, "v_prediction": alpha * noise - sigma * original}
        output = prediction[self.config.prediction_type].to(sample.dtype)
        return ParallelUNetOutput(sample=output) if return_dict else (output,)
