# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The package's own small pose network: a SegFormer whose 17 labels are the heat maps of COCO's keypoints.

`training/train_parser.py` trains it on rendered people.
"""

from collections.abc import Sequence

import numpy as np
import torch
from transformers import SegformerForSemanticSegmentation, SegformerImageProcessorPil

from ..poses import coco17_to_openpose18, hide_points_outside_image
from .backends import PoseEstimate
from .crops import Crop
from .heatmaps import decode_heat_maps
from .network_backend import NetworkBackend, check_boxes, check_images, check_threshold


# Around a box, in parts of its longer side, as the network is trained; beyond the image is black.
_BOX_MARGIN = 1.15
_FILL = 0


class SmallPoseEstimator(NetworkBackend):
    """Joints by a SegFormer with 17 heat maps, see `heatmaps`.

    Args:
        model (`SegformerForSemanticSegmentation`): a network with 17 labels, whose sigmoids are the heat maps.
        image_processor (`SegformerImageProcessorPil`): its image processor, which makes squares.
        threshold (`float`, *optional*, defaults to 0.2): points whose peak is lower count as missing. A peak's height
            is the visibility to expect, 0.5 for a point that something hides.
    """

    model_class = SegformerForSemanticSegmentation
    image_processor_class = SegformerImageProcessorPil
    model_types = ("segformer",)
    setting_names = ("threshold",)

    def __init__(
        self,
        model: SegformerForSemanticSegmentation,
        image_processor: SegformerImageProcessorPil,
        threshold: float = 0.2,
    ) -> None:
        super().__init__(model, image_processor)
        check_threshold(threshold)
        if model.config.num_labels != 17:
            raise ValueError(
                f"SmallPoseEstimator needs a network with 17 heat maps, those of COCO's keypoints, got "
                f"{model.config.num_labels}."
            )
        if image_processor.size["height"] != image_processor.size["width"]:
            raise ValueError(f"`image_processor` must make squares, its `size` is {image_processor.size}.")
        self.threshold = threshold

    @torch.inference_mode()
    def estimate(self, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray]) -> list[PoseEstimate]:
        """For each image, uint8 (H, W, 3), the pose of the person in its box, (4,) of left, top, right and bottom in
        pixels; without a mask."""
        check_images(images)
        check_boxes(images, boxes)
        if len(images) == 0:
            return []
        crops = [_square_around(box, *image.shape[:2]) for image, box in zip(images, boxes)]
        side = self.image_processor.size["height"]
        squares = [crop.resized(image, (side, side), fill=_FILL) for crop, image in zip(crops, images)]
        heat_maps = self.model(self._inputs(squares)).logits.float().sigmoid().cpu().numpy()
        keypoints = coco17_to_openpose18(decode_heat_maps(heat_maps))
        keypoints[keypoints[..., 2] < self.threshold] = 0
        return [
            PoseEstimate(crop.pose_to_photo(hide_points_outside_image(points)))
            for crop, points in zip(crops, keypoints)
        ]


def _square_around(box: np.ndarray, height: int, width: int) -> Crop:
    """The square around a box with the margin that the network is trained with, in whole pixels."""
    left, top, right, bottom = np.asarray(box, np.float64)
    side = max(1, round(_BOX_MARGIN * max(right - left, bottom - top)))
    return Crop(
        left=round((left + right - side) / 2),
        top=round((top + bottom - side) / 2),
        width=side,
        height=side,
        photo_height=height,
        photo_width=width,
    )
