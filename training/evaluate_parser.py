# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Measure the small human parser and the small pose network on rendered people whose bodies training never saw.

    python training/evaluate_parser.py --networks hub_cards --pool data/labelled --out evaluation.json

Crops are squares around the labelled person with a margin of 15 %. `--sheet` writes pictures of some of them, and
`--photo` adds photographs of which the truth is not known, taken whole.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jsonargparse import auto_cli
from PIL import Image, ImageDraw
from transformers import SegformerForSemanticSegmentation, SegformerImageProcessorPil

from diffusers_tryon.composition import PARSE_LABELS
from diffusers_tryon.evaluation.bootstrap import statistic_interval
from diffusers_tryon.preprocessing.heatmaps import decode_heat_maps, openpose18_to_coco17
from diffusers_tryon.preprocessing.loading import SHIPPED_PARSER, SHIPPED_POSE_ESTIMATOR
from diffusers_tryon.rendering.labelled import PHOTOGRAPHS_PER_PERSON
from diffusers_tryon.rendering.labelled_pool import LabelledPool
from diffusers_tryon.training.labelled_batches import plain_batch
from diffusers_tryon.training.parsing_metrics import (
    confusion_matrix,
    correct_share,
    correct_share_by_group,
    intersections_over_unions,
    joint_errors,
    mean_iou,
    pixel_accuracy,
)


_BATCH = 16
_NUM_RESAMPLES = 1000
_CONFIDENT = 0.3
_PALETTE = np.array(
    [(0, 0, 0), (250, 190, 160), (110, 60, 20), (60, 120, 220), (200, 80, 200), (240, 140, 40), (40, 60, 140),
     (250, 230, 60), (120, 120, 40), (160, 30, 60), (90, 200, 200), (255, 255, 255), (230, 110, 90), (120, 220, 90),
     (190, 130, 100), (150, 150, 150), (250, 90, 140), (0, 255, 255)], np.uint8
)  # fmt: skip
_BONES = ((5, 7), (7, 9), (6, 8), (8, 10), (5, 6), (5, 11), (6, 12), (11, 12), (11, 13), (13, 15), (12, 14), (14, 16))


class Networks:
    """Both published networks, in single precision."""

    def __init__(self, folder: Path):
        self.parser = SegformerForSemanticSegmentation.from_pretrained(folder / SHIPPED_PARSER, dtype=torch.float32)
        self.pose = SegformerForSemanticSegmentation.from_pretrained(
            folder / SHIPPED_POSE_ESTIMATOR, dtype=torch.float32
        )
        self.processor = SegformerImageProcessorPil.from_pretrained(folder / SHIPPED_PARSER)
        self.size = self.processor.size["height"]

    @torch.no_grad()
    def __call__(self, images: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Label maps (B, S, S) and COCO keypoints (B, 17, 3) of square pictures (S, S, 3) uint8 of one size."""
        pixels = self.processor(images, return_tensors="pt")["pixel_values"]
        scores = F.interpolate(self.parser(pixels).logits, images[0].shape[:2], mode="bilinear")
        heat_maps = self.pose(pixels).logits.sigmoid().numpy()
        return scores.argmax(dim=1).numpy().astype(np.uint8), decode_heat_maps(heat_maps)


def _panel(image: np.ndarray, parse: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
    """A picture, its label map, and both over each other with the bones found."""
    colours = _PALETTE[parse]
    drawn = Image.fromarray((0.55 * image + 0.45 * np.where(parse[..., None] > 0, colours, image)).astype(np.uint8))
    draw, size = ImageDraw.Draw(drawn), len(image)
    confident = keypoints[:, 2] >= _CONFIDENT
    for first, second in _BONES:
        if confident[first] and confident[second]:
            ends = [tuple(size * keypoints[number, :2]) for number in (first, second)]
            draw.line(ends, fill=(255, 255, 0), width=2)
    for x, y, _ in size * keypoints[confident]:
        draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=(255, 0, 0))
    return np.concatenate([image, colours, np.asarray(drawn)], axis=1)


def _sheet(panels: list[np.ndarray], across: int) -> Image.Image:
    rows = [np.concatenate(panels[number : number + across], axis=1) for number in range(0, len(panels), across)]
    return Image.fromarray(np.concatenate([row for row in rows if row.shape == rows[0].shape]))


def _interval(statistic: Callable[[np.ndarray], float], groups: np.ndarray) -> list[float]:
    return [round(value, 4) for value in statistic_interval(statistic, groups, num_resamples=_NUM_RESAMPLES)]


def _square(path: Path, size: int) -> np.ndarray:
    """A whole photograph, made square with ImageNet's mean colour."""
    photo = Image.open(path).convert("RGB")
    side = max(photo.size)
    square = Image.new("RGB", (side, side), (124, 116, 104))
    square.paste(photo, ((side - photo.width) // 2, (side - photo.height) // 2))
    return np.asarray(square.resize((size, size), Image.Resampling.LANCZOS))


def evaluate(
    networks: Path,
    pool: Path,
    out: Path | None = None,
    sheet: Path | None = None,
    sheet_count: int = 12,
    photo: list[Path] = [],
) -> None:
    """Measure both networks.

    Args:
        networks: folder with the folders of both networks.
        pool: folder of `training/render_labelled.py`, of which the test split is taken.
        out: JSON file for the figures, which are printed in any case.
        sheet: picture to write.
        sheet_count: how many held-out renders it shows.
        photo: photographs for the sheet.
    """
    both = Networks(networks)
    photographs = LabelledPool(pool, "test")
    records = [photographs[number] for number in range(len(photographs))]
    confusions, found_joints, true_joints, panels = [], [], [], []
    seconds = 0.0
    for start in range(0, len(records), _BATCH):
        batch = plain_batch(records[start : start + _BATCH], both.size)
        images = list((255 * batch.images).round().byte().permute(0, 2, 3, 1).numpy())
        began = time.process_time()
        parses, keypoints = both(images)
        seconds += time.process_time() - began
        confusions += [confusion_matrix(parse, truth) for parse, truth in zip(parses, batch.labels.numpy())]
        found_joints.append(keypoints)
        true_joints.append(openpose18_to_coco17(batch.keypoints.numpy()))
        panels += [_panel(*parts) for parts in zip(images, parses, keypoints)]

    found, truth = np.concatenate(found_joints), np.concatenate(true_joints)
    shows_person = np.array([record["shows_person"] for record in records])
    confusions = np.stack(confusions)
    by_person = confusions.reshape(-1, PHOTOGRAPHS_PER_PERSON, *confusions.shape[1:]).sum(axis=1)
    total = confusions.sum(axis=0)
    ious = intersections_over_unions(total)
    errors = joint_errors(found[shows_person], truth[shows_person])
    seen, hidden = (np.where(truth[shows_person, :, 2] == level, errors, np.nan) for level in (1.0, 0.5))
    confidences = {
        name: round(float(found[..., 2][mask].mean()), 3)
        for name, mask in (
            ("seen", truth[..., 2] == 1),
            ("hidden", truth[..., 2] == 0.5),
            ("outside or nobody", truth[..., 2] == 0),
        )
    }
    figures = {
        "photographs": len(records),
        "people": len(by_person),
        "input_size": both.size,
        "seconds_per_photograph_both_networks": round(seconds / len(records), 4),
        "parser": {
            "pixel_accuracy": round(pixel_accuracy(total), 4),
            "pixel_accuracy_95": _interval(pixel_accuracy, by_person),
            "mean_iou": round(mean_iou(total), 4),
            "mean_iou_95": _interval(mean_iou, by_person),
            "iou": {name: round(float(iou), 4) for name, iou in zip(PARSE_LABELS, ious) if not np.isnan(iou)},
            "mean_iou_of_people": round(mean_iou(confusions[shows_person].sum(axis=0)), 4),
            "mean_iou_of_products": round(mean_iou(confusions[~shows_person].sum(axis=0)), 4),
        },
        "pose": {
            "people_with_whole_torso": int((~np.isnan(errors)).any(axis=1).sum()),
            "pck_0.1": round(correct_share(errors, 0.1), 4),
            "pck_0.2": round(correct_share(errors, 0.2), 4),
            "pck_0.2_seen": round(correct_share(seen, 0.2), 4),
            "pck_0.2_hidden": round(correct_share(hidden, 0.2), 4),
            "pck_0.1_by_group": {k: round(v, 4) for k, v in correct_share_by_group(errors, 0.1).items()},
            "pck_0.2_by_group": {k: round(v, 4) for k, v in correct_share_by_group(errors, 0.2).items()},
            "mean_confidence": confidences,
        },
    }
    text = json.dumps(figures, indent=2)
    print(text)
    if out is not None:
        out.write_text(text + "\n")
    if sheet is not None:
        chosen = np.linspace(0, len(panels) - 1, sheet_count).astype(int)
        shown = [panels[number] for number in chosen]
        for path in photo:
            image = _square(path, both.size)
            parses, keypoints = both([image])
            shown.append(_panel(image, parses[0], keypoints[0]))
        _sheet(shown, across=2).save(sheet)


if __name__ == "__main__":
    auto_cli(evaluate, as_positional=False)
