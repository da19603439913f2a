# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Networks of transformers that see nothing but colours, so that their answers can be told from the picture.

Every weight is zero except for a path that carries red, green and blue through: patches are averaged, blocks pass
their input on, and two constant channels make layer norms divide by nearly the same number everywhere.
"""

from collections.abc import Sequence

import numpy as np
import torch
from transformers import (
    SegformerConfig,
    SegformerForSemanticSegmentation,
    VitPoseConfig,
    VitPoseForPoseEstimation,
)


# Beside colours, which are between -2.2 and 2.7 once they are normalised.
_CONSTANT = 20.0
RED, GREEN, BLUE = range(3)
# COCO's keypoints in COCO's order.
COCO_NAMES = (
    "nose", "left eye", "right eye", "left ear", "right ear", "left shoulder", "right shoulder", "left elbow",
    "right elbow", "left wrist", "right wrist", "left hip", "right hip", "left knee", "right knee", "left ankle",
    "right ankle",
)  # fmt: skip
# What each keypoint is seen by: the nose is green, the person's right side red, the left one blue.
COLOUR_OF_COCO = [GREEN if name == "nose" else RED if "right" in name else BLUE for name in COCO_NAMES]


def _carry_colours(projection: torch.nn.Conv2d, taps: slice) -> float:
    """Let patches become their mean colours, their negatives and two constants; returns what layer norm divides by."""
    projection.weight.zero_()
    for channel in range(3):
        count = projection.weight[0, 0, taps, taps].numel()
        projection.weight[channel, channel, taps, taps] = 1 / count
        projection.weight[3 + channel, channel, taps, taps] = -1 / count
    projection.bias.zero_()
    projection.bias[6:8] = torch.tensor([_CONSTANT, -_CONSTANT])
    return _CONSTANT * (2 / len(projection.bias)) ** 0.5


@torch.no_grad()
def colour_segformer(
    colours: Sequence[int | None], bias: float = 0.0, gain: float = 1.0, **config
) -> SegformerForSemanticSegmentation:
    """A SegFormer whose logit of label `n` is `gain` times the normalised colour `colours[n]`, 0 below 0, plus `bias`;
    0 where the colour is None."""
    model = SegformerForSemanticSegmentation(
        SegformerConfig(
            hidden_sizes=[8, 8, 8, 8],
            depths=[1, 1, 1, 1],
            num_attention_heads=[1, 1, 1, 1],
            decoder_hidden_size=8,
            **{"num_labels": len(colours), **config},
        )
    ).eval()
    for name, parameter in model.named_parameters():
        is_norm = ("norm" in name) and name.endswith("weight")
        parameter.fill_(1.0 if is_norm else 0.0)
    first = model.segformer.stages[0]
    # A cell of the logits covers four pixels each way, which are these taps of the kernel of seven.
    divisor = _carry_colours(first.patch_embeddings.proj, slice(3, 7))
    head = model.decode_head
    channels = torch.arange(3)
    head.linear_projections[0].proj.weight[channels, channels] = divisor
    # The first stage comes last.
    head.linear_fuse.weight[channels, 3 * 8 + channels] = 1.0
    for label, colour in enumerate(colours):
        if colour is not None:
            head.classifier.weight[label, colour] = gain
            head.classifier.bias[label] = bias
    return model


@torch.no_grad()
def colour_vitpose(num_experts: int = 1) -> VitPoseForPoseEstimation:
    """A ViTPose whose heat maps are the normalised colours `COLOUR_OF_COCO`, 0.4 times where they are positive."""
    backbone = {
        "model_type": "vitpose_backbone",
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "out_features": ["stage1"],
        "num_experts": num_experts,
        "part_features": 8 if num_experts > 1 else 0,
    }
    model = VitPoseForPoseEstimation(VitPoseConfig(backbone_config=backbone, num_labels=17)).eval()
    for name, parameter in model.named_parameters():
        parameter.fill_(1.0 if "layernorm.weight" in name else 0.0)
    divisor = _carry_colours(model.backbone.embeddings.patch_embeddings.projection, slice(None))
    for keypoint, colour in enumerate(COLOUR_OF_COCO):
        model.head.conv.weight[keypoint, colour, 1, 1] = 0.4 * divisor
    return model


def picture(height: int, width: int, spots: Sequence[tuple[int, float, float, float]], radius: float) -> np.ndarray:
    """A black picture (height, width, 3) uint8 with soft round spots.

    Args:
        spots: each a colour, x and y in pixels (the middle of the pixel in column 0 has x = 0.5) and a brightness of
            at most 1.
        radius: standard deviation of the spots in pixels.
    """
    xs, ys = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    image = np.zeros((height, width, 3))
    for colour, x, y, brightness in spots:
        image[..., colour] += brightness * np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / (2 * radius**2))
    return np.rint(255 * image.clip(0, 1)).astype(np.uint8)
