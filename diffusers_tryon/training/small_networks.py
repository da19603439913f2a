# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The human parser and the pose network that are trained on renders: one SegFormer with two heads, trained together
and published as two.

The last convolution gives the scores of the labels and the heat maps of the keypoints from the same features; each
published network keeps its own rows of it.
"""

import copy
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessorPil

from diffusers_tryon.composition import PARSE_LABELS
from diffusers_tryon.preprocessing.heatmaps import COCO17_NAMES, draw_heat_maps, openpose18_to_coco17
from diffusers_tryon.preprocessing.loading import SHIPPED_PARSER, SHIPPED_POSE_ESTIMATOR
from diffusers_tryon.training.labelled_views import LabelledBatch


IMAGE_MEAN, IMAGE_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_NUM_LABELS = len(PARSE_LABELS)
_ARCHITECTURE = {
    "hidden_sizes": [32, 56, 112, 168],
    "depths": [1, 2, 3, 2],
    "num_attention_heads": [1, 2, 4, 8],
    "mlp_ratios": [2, 3, 4, 4],
    "sr_ratios": [8, 4, 2, 1],
    "decoder_hidden_size": 112,
    "drop_path_rate": 0.0,
    "classifier_dropout_prob": 0.0,
}
# Most pixels of a heat map are far from every keypoint: their average is small.
_HEAT_MAP_WEIGHT = 20.0
# An empty heat map, to begin with.
_HEAT_MAP_BIAS = -5.0
# Rare labels count more, but not as much more as they are rarer.
_RARITY_EXPONENT = 0.35
_RAREST = 1e-3


def build_network(**overrides: object) -> SegformerForSemanticSegmentation:
    """A new network with a score for every label and a heat map for every keypoint, at a quarter of the input's size.

    Weights begin with the variance at which a layer's outputs have that of its inputs; SegFormer's own choice, made
    for wider networks, is up to ten times less.

    Args:
        overrides: of the architecture, fields of `SegformerConfig`.
    """
    config = SegformerConfig(num_labels=_NUM_LABELS + len(COCO17_NAMES), **(_ARCHITECTURE | overrides))
    network = SegformerForSemanticSegmentation(config)
    for module in network.modules():
        if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d)):
            torch.nn.init.trunc_normal_(module.weight, std=module.weight[0].numel() ** -0.5)
    with torch.no_grad():
        network.decode_head.classifier.bias[_NUM_LABELS:] = _HEAT_MAP_BIAS
    return network


def normalise(images: torch.Tensor) -> torch.Tensor:
    """Pictures (B, 3, H, W) in [0, 1] to what the networks take."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGE_MEAN, IMAGE_STD))
    return (images - mean) / std


def label_weights(label_maps: np.ndarray) -> torch.Tensor:
    """Weights (L,) of the labels by their rarity in label maps (N, H, W), 1 on average over pixels."""
    shares = np.bincount(label_maps.ravel(), minlength=_NUM_LABELS) / label_maps.size
    weights = np.maximum(shares, _RAREST) ** -_RARITY_EXPONENT
    return torch.from_numpy((weights / (weights @ shares)).astype(np.float32))


def parsing_loss(scores: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted cross entropy, at half of the size of the labels.

    A pixel of half the size stands for four labels, whose average it shall predict.

    Args:
        scores (`torch.Tensor`): (B, L, H / 4, W / 4).
        labels (`torch.Tensor`): (B, H, W) ids.
        weights (`torch.Tensor`): (L,) see `label_weights`.
    """
    scores = F.interpolate(scores, scale_factor=2, mode="bilinear")
    logarithms = F.log_softmax(scores, dim=1)
    parts = [labels[:, row::2, column::2] for row in (0, 1) for column in (0, 1)]
    return torch.stack([F.nll_loss(logarithms, part, weights) for part in parts]).mean()


def heat_map_loss(scores: torch.Tensor, keypoints: torch.Tensor) -> torch.Tensor:
    """Binary cross entropy with the heat maps of keypoints.

    Args:
        scores (`torch.Tensor`): (B, 17, H, W) before the sigmoid.
        keypoints (`torch.Tensor`): (B, 18, 3) OpenPose-18.
    """
    targets = draw_heat_maps(openpose18_to_coco17(keypoints), scores.shape[-1])
    return _HEAT_MAP_WEIGHT * F.binary_cross_entropy_with_logits(scores, targets)


def losses(
    network: SegformerForSemanticSegmentation, batch: LabelledBatch, weights: torch.Tensor
) -> dict[str, torch.Tensor]:
    """What training makes small: "parsing" and "heat_maps"."""
    images = normalise(batch.images).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        scores = network(images).logits
    scores = scores.float()
    return {
        "parsing": parsing_loss(scores[:, :_NUM_LABELS], batch.labels, weights),
        "heat_maps": heat_map_loss(scores[:, _NUM_LABELS:], batch.keypoints),
    }


def _with_rows(network: SegformerForSemanticSegmentation, rows: slice, names: tuple[str, ...]):
    """A network that gives only some of the outputs of `network`, named."""
    part = copy.deepcopy(network)
    classifier = part.decode_head.classifier
    classifier.weight = torch.nn.Parameter(classifier.weight[rows].detach().clone())
    classifier.bias = torch.nn.Parameter(classifier.bias[rows].detach().clone())
    classifier.out_channels = len(names)
    part.config.id2label = dict(enumerate(names))
    part.config.label2id = {name: number for number, name in enumerate(names)}
    return part


def export_networks(network: SegformerForSemanticSegmentation, folder: Path, size: int) -> None:
    """Write the parser and the pose network in half precision, each with its image processor.

    Args:
        network (`SegformerForSemanticSegmentation`): with both heads.
        folder (`Path`): gets the folders `SHIPPED_PARSER` and `SHIPPED_POSE_ESTIMATOR`.
        size (`int`): height and width of the pictures that the networks are trained for.
    """
    processor = SegformerImageProcessorPil(
        size={"height": size, "width": size}, image_mean=list(IMAGE_MEAN), image_std=list(IMAGE_STD)
    )
    for name, rows, outputs in (
        (SHIPPED_PARSER, slice(None, _NUM_LABELS), PARSE_LABELS),
        (SHIPPED_POSE_ESTIMATOR, slice(_NUM_LABELS, None), COCO17_NAMES),
    ):
        part = _with_rows(network, rows, outputs).to(torch.float16, memory_format=torch.contiguous_format)
        part.save_pretrained(folder / name)
        processor.save_pretrained(folder / name)
