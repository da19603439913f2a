# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What the networks see in photographs: who is in them, their pose and the labels of their pixels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..label_maps import convert_parse
from ..poses import NUM_KEYPOINTS
from .backends import HumanParser, PersonDetector, PoseEstimate, PoseEstimator
from .boxes import areas
from .crops import Crop, box_region
from .errors import NoPersonError, PreprocessingWarning, SeveralPeopleWarning
from .parse_cleanup import clean_parse
from .photos import Photo, reduce_photo


# People are looked for in photographs of at most this many pixels on the longer side, and looked at in as many: more
# takes time and shows the networks, which work on 256 to 576 pixels, nothing new.
ANALYSIS_SIDE = 768
# How much larger than a detected box a region is, for what a box cuts off, and the room that parsers are used to.
_REGION_MARGIN = 1.3
# A region narrower than this part of its longer side is widened: parsers take squares or nearly so.
_LEAST_ASPECT = 2 / 3
# A second box counts as another person if it is at least this large beside the largest.
_LEAST_SHARE_OF_LARGEST = 0.15


@dataclass(frozen=True)
class AnalysedPhoto:
    """A photograph and what was seen of one person in it. Arrays of labels lie on the grid of the region.

    Attributes:
        photo (`Photo`): the photograph.
        boxes (`np.ndarray`): (N, 5) float32 of everybody in it, the largest first: left, top, right and bottom in its
            pixels, and a score.
        chosen (`int`, *optional*): whose pose and labels these are; None if there is nobody.
        region (`Crop`): the part of the photograph that was looked at.
        pose (`np.ndarray`): (18, 3) float32, x and y in [0, 1] of the photograph; zeros if there is nobody.
        parse (`np.ndarray`): (h, w) uint8 ids of `composition.PARSE_LABELS`, cleaned where somebody is.
        person_mask (`np.ndarray`, *optional*): (h, w) float32 in [0, 1], from the pose estimator.
        warnings (`tuple`): what may spoil the result.
    """

    photo: Photo
    boxes: np.ndarray
    chosen: int | None
    region: Crop
    pose: np.ndarray
    parse: np.ndarray
    person_mask: np.ndarray | None
    warnings: tuple[PreprocessingWarning, ...]

    @property
    def region_pose(self) -> np.ndarray:
        """(18, 3), the pose with x and y in [0, 1] of the region."""
        return self.region.pose_from_photo(self.pose)

    def labels_in(self, crop: Crop, height: int, width: int) -> np.ndarray:
        """The label map of a crop of the photograph, (height, width) uint8, each pixel that of the nearest label."""
        return crop.resized_labels(self.parse, (height, width), self.region)


def analyse_photos(
    photos: Sequence[Photo],
    human_parser: HumanParser,
    pose_estimator: PoseEstimator,
    person_detector: PersonDetector | None,
    person_indices: Sequence[int | None],
) -> list[AnalysedPhoto]:
    """Look at photographs, all of them in one batch for each network.

    Args:
        photos (`Sequence[Photo]`): the photographs.
        human_parser, pose_estimator, person_detector: see `TryOnPreprocessor`.
        person_indices (`Sequence`): for each photograph whom to look at, from the largest person (0) on; None takes
            the largest, and warns if there are more.

    Raises:
        NoPersonError: a photograph has nobody with the index asked for. One without anybody is no error here: it may
            show a garment alone.
    """
    all_boxes = _find_people(photos, person_detector)
    warnings = [list(photo.warnings) for photo in photos]
    chosen = [
        _choose(photo, boxes, index, of_photo)
        for photo, boxes, index, of_photo in zip(photos, all_boxes, person_indices, warnings)
    ]
    regions = [_region(photo, boxes, index) for photo, boxes, index in zip(photos, all_boxes, chosen)]
    images = [_shown(photo, region) for photo, region in zip(photos, regions)]
    estimates = _estimate_poses(images, regions, all_boxes, chosen, pose_estimator)
    for number, photo in enumerate(photos):
        if chosen[number] is not None and estimates[number] is None:
            # Of somebody without a joint nothing can be made: what was found there is no person.
            chosen[number], regions[number] = None, _region(photo, all_boxes[number], None)
            images[number] = _shown(photo, regions[number])
    parses = human_parser.parse(images)
    analysed = []
    for number, photo in enumerate(photos):
        region, estimate = regions[number], estimates[number]
        if estimate is None:
            pose, person_mask = np.zeros((NUM_KEYPOINTS, 3), np.float32), None
            parse = convert_parse(parses[number], human_parser.label_map)
        else:
            pose, person_mask = region.pose_to_photo(estimate.keypoints), estimate.person_mask
            parse = convert_parse(parses[number], human_parser.label_map, estimate.keypoints)
            parse = clean_parse(parse, estimate.keypoints, person_mask)
        analysed.append(
            AnalysedPhoto(
                photo=photo,
                boxes=all_boxes[number],
                chosen=chosen[number],
                region=region,
                pose=pose,
                parse=parse,
                person_mask=person_mask,
                warnings=tuple(warnings[number]),
            )
        )
    return analysed


def _shown(photo: Photo, region: Crop) -> np.ndarray:
    """The picture of a region that networks are shown."""
    return reduce_photo(region.cut(photo.pixels), ANALYSIS_SIDE)


def _estimate_poses(
    images: Sequence[np.ndarray],
    regions: Sequence[Crop],
    all_boxes: Sequence[np.ndarray],
    chosen: Sequence[int | None],
    pose_estimator: PoseEstimator,
) -> list[PoseEstimate | None]:
    """The pose of the chosen person in each region, None where nobody was chosen or no joint was found."""
    estimates: list[PoseEstimate | None] = [None] * len(images)
    numbers = [number for number, index in enumerate(chosen) if index is not None]
    boxes = [
        _box_in_region(all_boxes[number][chosen[number], :4], regions[number], images[number]) for number in numbers
    ]
    if numbers:
        found = pose_estimator.estimate([images[number] for number in numbers], boxes)
        for number, estimate in zip(numbers, found):
            if estimate.keypoints[:, 2].any():
                estimates[number] = estimate
    return estimates


def _find_people(photos: Sequence[Photo], person_detector: PersonDetector | None) -> list[np.ndarray]:
    """The boxes (N, 5) of everybody in each photograph, in its pixels, the largest first."""
    if person_detector is None:
        return [np.array([[0, 0, *photo.pixels.shape[1::-1], 1]], np.float32) for photo in photos]
    reduced = [reduce_photo(photo.pixels, ANALYSIS_SIDE) for photo in photos]
    found = []
    for photo, image, boxes in zip(photos, reduced, person_detector.detect(reduced)):
        scale = np.array(photo.pixels.shape[1::-1] * 2, np.float32) / np.array(image.shape[1::-1] * 2, np.float32)
        # Detectors may see people reach beyond the photograph, of whom perhaps nothing is left within.
        corners = np.clip(boxes[:, :4] * scale, 0, photo.pixels.shape[1::-1] * 2).astype(np.float32)
        in_view = (corners[:, 2:] - corners[:, :2] >= 1).all(axis=1)
        boxes = np.concatenate([corners, boxes[:, 4:]], axis=1)[in_view]
        found.append(boxes[np.argsort(-areas(boxes), kind="stable")])
    return found


def _choose(photo: Photo, boxes: np.ndarray, index: int | None, warnings: list[PreprocessingWarning]) -> int | None:
    """The index of the person to look at, None if there is nobody and none was asked for."""
    if index is not None and not 0 <= index < len(boxes):
        people = f"{len(boxes)} {'person' if len(boxes) == 1 else 'people'}"
        raise NoPersonError(
            f"`person_index` is {index}, but `{photo.name}` shows {people}, who are counted from 0, the largest first."
        )
    if len(boxes) == 0:
        return None
    sizes = areas(boxes)
    others = int((sizes[1:] >= _LEAST_SHARE_OF_LARGEST * sizes[0]).sum())
    if index is None and others:
        warnings.append(
            SeveralPeopleWarning(
                f"`{photo.name}` shows {others + 1} people. The largest was taken; `person_index` from 1 to {others} "
                "dresses another, and a garment's photograph can be cropped to its wearer."
            )
        )
    return index or 0


def _region(photo: Photo, boxes: np.ndarray, chosen: int | None) -> Crop:
    """The part of the photograph around a person, or all of it."""
    height, width = photo.pixels.shape[:2]
    if chosen is None:
        return Crop.whole(height, width)
    return region_around(boxes[chosen], height, width)


def region_around(box: np.ndarray, height: int, width: int) -> Crop:
    """The part of a photograph of this height and width that networks are shown of the person in a box (5,)."""
    left, top, right, bottom = box[:4]
    wider = max(0.0, _LEAST_ASPECT * (bottom - top) - (right - left)) / 2
    taller = max(0.0, _LEAST_ASPECT * (right - left) - (bottom - top)) / 2
    widened = np.array([left - wider, top - taller, right + wider, bottom + taller])
    return box_region(widened, _REGION_MARGIN, height, width)


def _box_in_region(box: np.ndarray, region: Crop, image: np.ndarray) -> np.ndarray:
    """A box (4,) in pixels of the photograph, in pixels of a region's image."""
    height, width = image.shape[:2]
    corner, scale = (
        np.array([region.left, region.top] * 2, np.float32),
        np.array([width / region.width, height / region.height] * 2, np.float32),
    )
    return np.clip((box - corner) * scale, 0, np.array([width, height] * 2, np.float32)).astype(np.float32)
