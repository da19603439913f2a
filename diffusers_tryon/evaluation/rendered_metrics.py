# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The figures that exact label maps and keypoints allow: garment, joints and labels of pictures of rendered people.

Joints and labels are found by networks, which err in true pictures too: the figures of the true picture itself are what
a picture can reach.
"""

import numpy as np
import torch

from ..checkpoints import shipped_checkpoint
from ..composition import GARMENT_LABELS, label_mask
from ..poses import KEYPOINT_NAMES
from ..preprocessing.backends import HumanParser, PoseEstimator
from ..preprocessing.loading import SHIPPED_PARSER, SHIPPED_POSE_ESTIMATOR
from ..preprocessing.small_pose import SmallPoseEstimator
from ..preprocessing.transformers_backends import SegformerParser
from ..rendering.samples import one_torch_thread
from ..training.parsing_metrics import confusion_matrix, mean_iou
from .garment_metrics import garment_colour, garment_pattern
from .layout import CaseRecord
from .outline_metrics import OUTLINE_METRICS, outline_errors


RENDERED_METRICS = ("garment_colour", "garment_pattern", "pck", "parse_iou_garment", "parse_iou", *OUTLINE_METRICS)

# Of PCK: a joint is in place within this share of the trunk's height.
_PCK_LIMIT = 0.2
_NECK = KEYPOINT_NAMES.index("neck")
_HIPS = [KEYPOINT_NAMES.index("right_hip"), KEYPOINT_NAMES.index("left_hip")]


class RenderedNetworks:
    """What finds labels and joints.

    Args:
        parser (`HumanParser`, *optional*): With the labels of `composition.PARSE_LABELS`; by default the parser that
            comes with the package.
        pose_estimator (`PoseEstimator`, *optional*): By default the pose network that comes with the package. Both were
            trained on rendered people.
        device (`str` or `torch.device`, defaults to `"cpu"`): Where the defaults run.
    """

    def __init__(
        self,
        parser: HumanParser | None = None,
        pose_estimator: PoseEstimator | None = None,
        device: str | torch.device = "cpu",
    ):
        self.parser = parser or SegformerParser.from_pretrained(shipped_checkpoint(SHIPPED_PARSER), device=device)
        self.pose_estimator = pose_estimator or SmallPoseEstimator.from_pretrained(
            shipped_checkpoint(SHIPPED_POSE_ESTIMATOR), device=device
        )


def rendered_figures(
    image: np.ndarray,
    reference: np.ndarray,
    parse: np.ndarray,
    mask: np.ndarray,
    record: CaseRecord,
    networks: RenderedNetworks,
) -> dict[str, float]:
    """Judge a picture of a rendered person, alone and in one thread, so that neither other pictures nor the machine's
    cores change a bit of its figures.

    Args:
        image, reference (`np.ndarray`): (H, W, 3) uint8, the picture to judge and the true one, or that twice.
        parse (`np.ndarray`): (H, W) uint8, exact label map of the true picture, ids of `composition.PARSE_LABELS`.
        mask (`np.ndarray`): (H, W) uint8 or bool, nonzero where the picture may differ from the photograph.
        record ([`CaseRecord`]): of the case, with exact keypoints.
        networks ([`RenderedNetworks`]): what finds labels and joints.

    Returns:
        `dict[str, float]`: the figures of `RENDERED_METRICS`:

        - "garment_colour", "garment_pattern": see [`garment_colour`] and [`garment_pattern`], over the pixels that
          truly show the garment and may differ.
        - "pck": [`share_of_joints`] that the pose network finds in place, of those truly in sight where pixels may
          differ: head and hands, which nobody paints, would flatter. The network is shown the true person's box.
        - "parse_iou_garment": intersection over union of the pixels in which the parser sees a garment of the category
          and those that truly show it; "parse_iou": the mean over the labels that the true picture has.

        NaN where a figure does not exist: nothing of the garment is seen, it is plain, no joint is in sight, or a garment
        for the lower body has no sleeves.
    """
    region = mask > 0
    with one_torch_thread():
        (found_pose,) = networks.pose_estimator.estimate([image], [_box(parse)])
        (found_parse,) = networks.parser.parse([image])
    garment, found_garment = (label_mask(labels, GARMENT_LABELS[record.category]) for labels in (parse, found_parse))
    figures = (
        garment_colour(image, reference, garment & region),
        garment_pattern(image, reference, garment & region),
        share_of_joints(found_pose.keypoints, record.person_pose, region),
        intersection_over_union(found_garment, garment),
        mean_iou(confusion_matrix(found_parse, parse)),
        *_outline(found_garment, garment, record, region),
    )
    return dict(zip(RENDERED_METRICS, figures, strict=True))


def _outline(found: np.ndarray, truth: np.ndarray, record: CaseRecord, region: np.ndarray) -> list[float]:
    if record.category == "lower":
        return [float("nan")] * len(OUTLINE_METRICS)
    return list(outline_errors(found, truth, record.person_pose, region).values())


def intersection_over_union(found: np.ndarray, truth: np.ndarray) -> float:
    """Of two masks (H, W) bool; NaN if both are empty."""
    union = (found | truth).sum()
    return float((found & truth).sum() / union) if union else float("nan")


def share_of_joints(found: np.ndarray, truth: np.ndarray, region: np.ndarray) -> float:
    """PCK@0.2: the share of the joints in sight that were found within a fifth of the trunk's height.

    The trunk goes from the neck to the middle of the hips; without neck or hips a third of the picture's height stands
    for it.

    Args:
        found, truth (`np.ndarray`): (18, 3) keypoints; in sight are those with a visibility of 1 in `truth`.
        region (`np.ndarray`): (H, W) bool of the picture; joints outside of it are not counted.

    Returns:
        `float`: NaN if no joint is in sight.
    """
    size = np.array(region.shape[::-1])
    columns, rows = np.minimum((truth[:, :2] * size).astype(int), size - 1).T
    counted = (truth[:, 2] == 1) & region[rows, columns]
    if not counted.any():
        return float("nan")
    hips, neck = truth[_HIPS], truth[_NECK]
    hips = hips[hips[:, 2] > 0, :2]
    has_trunk = len(hips) and neck[2] > 0
    trunk = np.linalg.norm((hips.mean(axis=0) - neck[:2]) * size) if has_trunk else region.shape[0] / 3
    distances = np.linalg.norm((found[:, :2] - truth[:, :2]) * size, axis=1)
    return float(((distances < _PCK_LIMIT * trunk) & (found[:, 2] > 0))[counted].mean())


def _box(parse: np.ndarray) -> np.ndarray:
    """Left, top, right and bottom of the person in a label map."""
    rows, columns = np.nonzero(parse)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
