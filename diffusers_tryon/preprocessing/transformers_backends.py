# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Networks of transformers that find people (RT-DETR), their joints (ViTPose) and what they wear (SegFormer).

The checkpoints that are taken by default, and another parser:

| constant | repository | size | licence |
|---|---|---|---|
| `DEFAULT_DETECTOR` | PekingU/rtdetr_r50vd_coco_o365 | 172 MB | Apache-2.0 |
| `DEFAULT_POSE_ESTIMATOR` | usyd-community/vitpose-base-simple | 344 MB | Apache-2.0 |
| `DEFAULT_PARSER` | fashn-ai/fashn-human-parser | 257 MB | NVIDIA's licence for SegFormer: not for commercial use |
| | mattmdjaga/segformer_b2_clothes | 110 MB | its card says MIT; trained from NVIDIA's weights, see above |

The back ends were tested with tiny networks of the same classes and with settings as these repositories have them, not
with their weights. Known of them: RT-DETR's and ViTPose's classes have as many parameters as their files; RT-DETR's
images become 640 x 640 without normalisation, ViTPose's 256 x 192; the parsers' labels are called as in
`label_maps.LABEL_MAPS` ("fashn", "atr"). fashn-ai trained on photographs stretched to 384 x 576; whether its
preprocessor_config.json says so was not seen.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from transformers import (
    AutoModelForObjectDetection,
    PreTrainedModel,
    RTDetrImageProcessorPil,
    SegformerForSemanticSegmentation,
    SegformerImageProcessorPil,
    VitPoseForPoseEstimation,
    VitPoseImageProcessorPil,
)

from ..label_maps import LABEL_MAPS
from ..poses import coco17_to_openpose18, normalize_keypoints
from .backends import PoseEstimate
from .network_backend import NetworkBackend, check_boxes, check_images, check_threshold


DEFAULT_DETECTOR = "PekingU/rtdetr_r50vd_coco_o365"
DEFAULT_POSE_ESTIMATOR = "usyd-community/vitpose-base-simple"
DEFAULT_PARSER = "fashn-ai/fashn-human-parser"

# ViTPose+ has experts for several data sets; this one is COCO, whose keypoints are wanted.
_COCO_EXPERT = 0


class RTDetrPersonDetector(NetworkBackend):
    """People by RT-DETR, RT-DETRv2 or D-FINE, which know the classes of COCO.

    Args:
        model (`PreTrainedModel`): a network for object detection with a label "person".
        image_processor (`RTDetrImageProcessorPil`): its image processor.
        threshold (`float`, *optional*, defaults to 0.5): boxes with a lower score are left out.
    """

    model_class = AutoModelForObjectDetection
    image_processor_class = RTDetrImageProcessorPil
    model_types = ("rt_detr", "rt_detr_v2", "d_fine")
    setting_names = ("threshold",)

    def __init__(
        self, model: PreTrainedModel, image_processor: RTDetrImageProcessorPil, threshold: float = 0.5
    ) -> None:
        super().__init__(model, image_processor)
        check_threshold(threshold)
        labels = [label for label, name in model.config.id2label.items() if name.lower() == "person"]
        if len(labels) != 1:
            raise ValueError(
                'RTDetrPersonDetector needs a network with one label "person", the `id2label` of its config has '
                f"{len(labels)} of its {len(model.config.id2label)}."
            )
        self.threshold = threshold
        self._person_label = labels[0]

    @torch.inference_mode()
    def detect(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """For each image, uint8 (H, W, 3), the boxes of people (N, 5) float32, the most certain first: left, top,
        right and bottom in pixels, within the image, and a score in [0, 1]."""
        check_images(images)
        if len(images) == 0:
            return []
        outputs = self.model(self._inputs(images))
        outputs.logits, outputs.pred_boxes = outputs.logits.float(), outputs.pred_boxes.float()
        found = self.image_processor.post_process_object_detection(
            outputs, threshold=self.threshold, target_sizes=[image.shape[:2] for image in images]
        )
        return [self._people(objects, *image.shape[:2]) for objects, image in zip(found, images)]

    def _people(self, objects: dict[str, torch.Tensor], height: int, width: int) -> np.ndarray:
        chosen = objects["labels"] == self._person_label
        boxes, scores = objects["boxes"][chosen].cpu().numpy(), objects["scores"][chosen].cpu().numpy()
        boxes = np.clip(boxes, 0, np.array([width, height] * 2))
        people = np.concatenate([boxes, scores[:, None]], axis=1).astype(np.float32)
        people = people[((boxes[:, 2:] - boxes[:, :2]) > 0).all(axis=1)]
        return people[np.argsort(-people[:, 4], kind="stable")]


class ViTPoseEstimator(NetworkBackend):
    """Joints by ViTPose or ViTPose+ with the 17 keypoints of COCO.

    Args:
        model (`VitPoseForPoseEstimation`): a network with 17 heat maps.
        image_processor (`VitPoseImageProcessorPil`): its image processor.
        threshold (`float`, *optional*, defaults to 0.3): points with a lower score count as missing.
    """

    model_class = VitPoseForPoseEstimation
    image_processor_class = VitPoseImageProcessorPil
    model_types = ("vitpose",)
    setting_names = ("threshold",)

    def __init__(
        self, model: VitPoseForPoseEstimation, image_processor: VitPoseImageProcessorPil, threshold: float = 0.3
    ) -> None:
        super().__init__(model, image_processor)
        check_threshold(threshold)
        if model.config.num_labels != 17:
            raise ValueError(
                f"ViTPoseEstimator needs a network with the 17 keypoints of COCO, got {model.config.num_labels}."
            )
        self.threshold = threshold

    @torch.inference_mode()
    def estimate(self, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray]) -> list[PoseEstimate]:
        """For each image, uint8 (H, W, 3), the pose of the person in its box, (4,) of left, top, right and bottom in
        pixels; without a mask."""
        check_images(images)
        check_boxes(images, boxes)
        if len(images) == 0:
            return []
        # As COCO has it: left, top, width and height; here one person for each image.
        coco_boxes = [np.concatenate([box[:2], box[2:] - box[:2]])[None] for box in np.asarray(boxes, np.float32)]
        pixel_values = self._inputs(images, boxes=coco_boxes)
        experts = None
        if self.model.config.backbone_config.num_experts > 1:
            experts = torch.full((len(images),), _COCO_EXPERT, device=self.model.device)
        outputs = self.model(pixel_values, dataset_index=experts)
        outputs.heatmaps = outputs.heatmaps.float()
        found = self.image_processor.post_process_pose_estimation(outputs, boxes=coco_boxes)
        return [self._pose(people[0], *image.shape[:2]) for people, image in zip(found, images)]

    def _pose(self, person: dict[str, torch.Tensor], height: int, width: int) -> PoseEstimate:
        scores = person["scores"].numpy()
        keypoints = np.concatenate([person["keypoints"].numpy(), scores[:, None]], axis=1)
        keypoints[scores < self.threshold] = 0
        return PoseEstimate(normalize_keypoints(coco17_to_openpose18(keypoints), height, width))


class SegformerParser(NetworkBackend):
    """Labels of pixels by a SegFormer.

    Args:
        model (`SegformerForSemanticSegmentation`): the network.
        image_processor (`SegformerImageProcessorPil`): its image processor.
        label_map (`str`, *optional*): what its labels mean, a key of `label_maps.LABEL_MAPS`. Without it the names of
            the labels in the network's config must be those of one of them.
        keep_aspect (`bool`, *optional*, defaults to False): whether images are padded with black to the aspect of the
            network's input rather than stretched to it, as most checkpoints were trained.
    """

    model_class = SegformerForSemanticSegmentation
    image_processor_class = SegformerImageProcessorPil
    model_types = ("segformer",)
    setting_names = ("label_map", "keep_aspect")

    def __init__(
        self,
        model: SegformerForSemanticSegmentation,
        image_processor: SegformerImageProcessorPil,
        label_map: str | None = None,
        keep_aspect: bool = False,
    ) -> None:
        super().__init__(model, image_processor)
        self.label_map = label_map or _label_map_of(model)
        if self.label_map not in LABEL_MAPS:
            raise ValueError(f"`label_map` must be one of {', '.join(LABEL_MAPS)}, got {label_map!r}.")
        count = len(LABEL_MAPS[self.label_map])
        if model.config.num_labels != count:
            raise ValueError(
                f"`label_map` {self.label_map} has {count} labels, the network has {model.config.num_labels}."
            )
        self.keep_aspect = keep_aspect

    @torch.inference_mode()
    def parse(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """For each image, uint8 (H, W, 3), a label map (H, W) uint8 of the ids of `label_map`."""
        check_images(images)
        if len(images) == 0:
            return []
        paddings = [self._padding(*image.shape[:2]) for image in images]
        padded = [np.pad(image, padding) for image, padding in zip(images, paddings)]
        logits = self.model(self._inputs(padded)).logits.float()
        maps = [self._labels_at(own, image.shape[:2]) for own, image in zip(logits, padded)]
        return [self._cut(*found) for found in zip(maps, paddings, images)]

    @staticmethod
    def _labels_at(logits: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Labels (height, width) of logits (labels, h, w), enlarged as the image processor's
        `post_process_semantic_segmentation` does it, which takes more than twice as long on the CPU: `argmax` over the
        first dimension is several times slower than `max`."""
        return F.interpolate(logits[None], size=size, mode="bilinear", align_corners=False)[0].max(dim=0).indices

    def _padding(self, height: int, width: int) -> tuple[tuple[int, int], ...]:
        """How much black is put around an image for `np.pad`, so that it has the aspect of the network's input."""
        size = self.image_processor.size
        rows = max(0, round(width * size["height"] / size["width"]) - height) if self.keep_aspect else 0
        columns = max(0, round(height * size["width"] / size["height"]) - width) if self.keep_aspect else 0
        return (rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2), (0, 0)

    @staticmethod
    def _cut(labels: torch.Tensor, padding: tuple[tuple[int, int], ...], image: np.ndarray) -> np.ndarray:
        (top, _), (left, _), _ = padding
        height, width = image.shape[:2]
        return labels[top : top + height, left : left + width].to("cpu", torch.uint8).numpy()


def _label_map_of(model: SegformerForSemanticSegmentation) -> str:
    """The label map whose labels have the names that the network's config gives."""
    names = [model.config.id2label[label].lower() for label in sorted(model.config.id2label)]
    for label_map, labels in LABEL_MAPS.items():
        if list(labels) == names:
            return label_map
    raise ValueError(
        f"`label_map` must be given, one of {', '.join(LABEL_MAPS)}: the network's labels are named otherwise "
        f"({', '.join(names[:4])}, ...)."
    )
