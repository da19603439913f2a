# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The network with two heads, its losses, and the two networks that are published of it."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import SegformerForSemanticSegmentation, SegformerImageProcessorPil

from diffusers_tryon.composition import PARSE_LABELS
from diffusers_tryon.preprocessing.heatmaps import COCO17_NAMES, SIGMA
from diffusers_tryon.preprocessing.loading import SHIPPED_PARSER, SHIPPED_POSE_ESTIMATOR
from diffusers_tryon.training.small_networks import (
    build_network,
    export_networks,
    heat_map_loss,
    label_weights,
    normalise,
    parsing_loss,
)


TINY = {
    "hidden_sizes": [8, 8, 16, 16],
    "depths": [1, 1, 1, 1],
    "num_attention_heads": [1, 1, 2, 2],
    "decoder_hidden_size": 16,
}


def test_the_parsing_loss_is_cross_entropy_with_four_labels_for_a_pixel():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(2, 18, 4, 4, generator=generator)
    labels = torch.randint(0, 18, (2, 16, 16), generator=generator)
    # Plainly: every score of half the size is repeated for its four pixels.
    half = F.interpolate(scores, size=(8, 8), mode="bilinear")
    whole = half.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    even = parsing_loss(scores, labels, torch.ones(18))
    torch.testing.assert_close(even, F.cross_entropy(whole, labels))
    heavy = torch.ones(18)
    heavy[3] = 50.0
    assert abs(parsing_loss(scores, labels, heavy) - even) > 0.01


def test_rare_labels_weigh_more_and_the_average_pixel_one():
    labels = np.zeros((1, 10, 10), np.uint8)
    labels[0, 0, :4], labels[0, 1, 0] = 3, 6
    weights = label_weights(labels)
    assert weights[0] < weights[3] < weights[6]
    assert 0.95 * weights[0] + 0.04 * weights[3] + 0.01 * weights[6] == pytest.approx(1)


def test_the_heat_map_loss_is_least_for_the_right_heat_maps():
    keypoints = torch.zeros(1, 18, 3)
    keypoints[0, 0] = torch.tensor([0.25, 0.5, 1.0])
    keypoints[0, 7] = torch.tensor([0.6, 0.3, 0.5])
    middles = (np.arange(32) + 0.5) / 32

    def gaussian(x: float, y: float, height: float) -> np.ndarray:
        return height * np.exp(-((middles[None] - x) ** 2 + (middles[:, None] - y) ** 2) / (2 * SIGMA**2))

    right = np.zeros((1, 17, 32, 32))
    right[0, COCO17_NAMES.index("nose")] = gaussian(0.25, 0.5, 1.0)
    right[0, COCO17_NAMES.index("left_wrist")] = gaussian(0.6, 0.3, 0.5)
    exchanged = right.copy()
    exchanged[0, [9, 10]] = right[0, [10, 9]]
    losses = [
        float(heat_map_loss(torch.from_numpy(maps).clamp(1e-6, 1 - 1e-6).logit().float(), keypoints))
        for maps in (right, exchanged, np.minimum(2 * right, 1), np.zeros_like(right))
    ]
    assert losses[0] == min(losses) and losses[0] < 0.9 * sorted(losses)[1]


def test_both_published_networks_give_what_the_one_gives(tmp_path):
    torch.manual_seed(0)
    network = build_network(**TINY).eval()
    export_networks(network, tmp_path, size=32)
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    with torch.no_grad():
        both = network(normalise(torch.from_numpy(picture).permute(2, 0, 1)[None] / 255)).logits
        for folder, part, names in (
            (SHIPPED_PARSER, both[:, :18], PARSE_LABELS),
            (SHIPPED_POSE_ESTIMATOR, both[:, 18:], COCO17_NAMES),
        ):
            published = SegformerForSemanticSegmentation.from_pretrained(tmp_path / folder, dtype=torch.float32)
            processor = SegformerImageProcessorPil.from_pretrained(tmp_path / folder)
            assert processor.size["height"] == processor.size["width"] == 32
            assert tuple(published.config.id2label.values()) == names
            found = published(**processor(picture, return_tensors="pt")).logits
            # The weights were rounded to half precision.
            torch.testing.assert_close(found, part, atol=0.02, rtol=0.02)
            assert found.shape == (1, len(names), 8, 8)


def test_heat_maps_begin_empty():
    torch.manual_seed(0)
    with torch.no_grad():
        scores = build_network(**TINY).eval()(torch.randn(1, 3, 32, 32)).logits
    assert scores[:, 18:].sigmoid().mean() < 0.05 < scores[:, :18].sigmoid().mean()
