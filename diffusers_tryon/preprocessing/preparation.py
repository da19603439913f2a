# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""From what was seen in photographs to the conditions of the networks: crop, agnostic image, garment cut-out."""

import numpy as np
from scipy import ndimage

from ..composition import (
    AGNOSTIC_FILL,
    GARMENT_BACKGROUND,
    GARMENT_LABELS,
    PARSE_IDS,
    PERSON_PADDING,
    compose_agnostic,
    label_mask,
)
from ..image_processor import TryOnImageProcessor
from ..poses import NUM_KEYPOINTS
from .analysis import ANALYSIS_SIDE, AnalysedPhoto
from .crops import Crop, crop_for_garment, crop_for_person
from .errors import LowResolutionWarning, NoPersonError, PreprocessingWarning, UncertainAnswerWarning
from .flat_separation import separate_flat_garment
from .garments import check_dress, check_garment, garment_mask
from .guesses import guess_category, guess_garment_type
from .parse_cleanup import check_in_view
from .photos import reduce_photo
from .prepared import PreparedGarment, PreparedPerson


# How much is hidden of what is kept beside a garment, as a share of the crop's side. The package's parser is right to
# about this: on 43 rendered people 1.5 % of the garment's pixels stay in sight (2.1 % with half of it, 1.0 % with 1 / 40)
# and 77 % of what should be kept (80 %, 74 %).
_RIM = 1 / 64
# Below this certainty a category that was guessed is worth a word.
_LEAST_CERTAINTY = 0.6
# A flat garment and what the parser labels overlap by less than this (intersection over union) if one is wrong:
# of rendered ones that were separated well, by 0.8 and more.
_LEAST_OVERLAP = 0.6
# The one label of a flat garment's parse. A picture does not tell pants from skirts.
_FLAT_LABELS = {"upper": "top", "lower": "pants", "dress": "dress"}


def prepare_person(analysis: AnalysedPhoto, category: str, size: tuple[int, int]) -> PreparedPerson:
    """Crop a person and hide what a garment of a category replaces.

    The crop follows from the pose; composition is `composition.compose_agnostic`, TryOnDiffusion's. It is done on a
    grid finer than the networks': a pixel of theirs is hidden as soon as anything in it is.

    Args:
        analysis (`AnalysedPhoto`): from `analyse_photos`.
        category (`str`): "upper", "lower" or "dress".
        size (`tuple[int, int]`): height and width of the networks' images.

    Raises:
        NoPersonError: nobody is in the photograph.
        NoShouldersError: the part of the person that the garment goes on is not in view.
    """
    name = analysis.photo.name
    if analysis.chosen is None:
        raise NoPersonError(
            f"Nobody was found in `{name}`. It must show a person from the head to the hips at least, upright and not "
            "too small; if somebody is there, crop the photograph closer."
        )
    warnings = list(analysis.warnings)
    warnings += check_in_view(analysis.region_pose, category, name)
    crop = crop_for_person(analysis.pose, analysis.parse, category, size[0] / size[1], analysis.region)
    warnings += _check_resolution(crop, size, f"the person in `{name}`")

    height, width = _fine_grid(crop)
    parse = analysis.labels_in(crop, height, width)
    garment = label_mask(parse, GARMENT_LABELS[category])
    near_garment = ndimage.distance_transform_edt(~garment) <= _RIM * width if garment.any() else garment
    parse_for_hiding = np.where(near_garment & (parse > 0), PARSE_IDS[GARMENT_LABELS[category][0]], parse)
    fine_image = crop.resized(analysis.photo.pixels, (height, width), PERSON_PADDING)
    pose = crop.pose_from_photo(analysis.pose)
    _, fine_mask = compose_agnostic(fine_image, parse_for_hiding.astype(np.uint8), pose, category)

    image = crop.resized(analysis.photo.pixels, size, PERSON_PADDING)
    # A pixel of the networks is hidden as soon as anything hidden shows in it.
    hidden = TryOnImageProcessor().preprocess_mask(fine_mask, *size)[0, 0].numpy()
    return PreparedPerson(
        analysis=analysis,
        category=category,
        crop=crop,
        image=image,
        parse=analysis.labels_in(crop, *size),
        pose=pose,
        agnostic_image=np.where(hidden[..., None], np.uint8(AGNOSTIC_FILL), image),
        agnostic_mask=hidden.astype(np.uint8) * 255,
        hidden=fine_mask > 0,
        warnings=tuple(warnings),
    )


def prepare_garment(
    analysis: AnalysedPhoto, category: str, garment_type: str, size: tuple[int, int]
) -> PreparedGarment:
    """Cut a garment out of its photograph, on white.

    Args:
        analysis (`AnalysedPhoto`): from `analyse_photos`.
        category (`str`): "upper", "lower", "dress", or "auto": what the label map shows most of.
        garment_type (`str`): "worn" by the person who was looked at, "flat": nobody wears it, or "auto".
        size (`tuple[int, int]`): height and width of the networks' images.

    Raises:
        NoPersonError: the garment shall be worn, but nobody is in the photograph.
        NoGarmentError: no garment of the category is in view, or it cannot be told from the background.
        ImplausibleGarmentError: what was found cannot be a garment.
    """
    name, warnings = analysis.photo.name, list(analysis.warnings)
    if garment_type == "auto":
        garment_type = guess_garment_type(analysis.region_pose, analysis.parse)
    if garment_type == "worn" and analysis.chosen is None:
        raise NoPersonError(
            f"Nobody who wears the garment was found in `{name}`. If it lies flat, say so: `garment_type` 'flat'."
        )
    if category == "auto":
        category, certainty = guess_category(analysis.parse)
        if certainty < _LEAST_CERTAINTY:
            warnings.append(
                UncertainAnswerWarning(
                    f"The garment in `{name}` was taken for one of the category {category!r}, with little evidence; "
                    "say which it is with `category`."
                )
            )
    if garment_type == "worn":
        region, pose = analysis.region, analysis.pose
        mask = garment_mask(analysis.parse, category)
        warnings += check_dress(analysis.parse, name) if category == "dress" else []
    else:
        region, mask, doubts = _flat_mask(analysis)
        warnings += doubts
        pose = np.zeros((NUM_KEYPOINTS, 3), np.float32)
    warnings += check_garment(mask, name, category)
    crop = crop_for_garment(mask, size[0] / size[1], region)
    warnings += _check_resolution(crop, size, f"the garment in `{name}`")

    height, width = _fine_grid(crop)
    fine_mask = crop.resized_labels(mask, (height, width), region)
    fine_image = crop.resized(analysis.photo.pixels, (height, width), GARMENT_BACKGROUND)
    cut_out = np.where(fine_mask[..., None], fine_image, np.uint8(GARMENT_BACKGROUND))
    if garment_type == "worn":
        parse = analysis.labels_in(crop, *size)
    else:
        parse = crop.resized_labels(mask, size, region) * np.uint8(PARSE_IDS[_FLAT_LABELS[category]])
    return PreparedGarment(
        analysis=analysis,
        category=category,
        garment_type=garment_type,
        crop=crop,
        region=region,
        mask=mask,
        image=Crop.whole(height, width).resized(cut_out, size, GARMENT_BACKGROUND),
        parse=parse,
        pose=crop.pose_from_photo(pose),
        warnings=tuple(warnings),
    )


def _flat_mask(analysis: AnalysedPhoto) -> tuple[Crop, np.ndarray, list[PreprocessingWarning]]:
    """All of the photograph, where the garment lies in it, and a warning if the parser sees it elsewhere."""
    photo = analysis.photo
    region = Crop.whole(*photo.pixels.shape[:2])
    pixels = reduce_photo(photo.pixels, ANALYSIS_SIDE)
    opacity = None if photo.opacity is None else reduce_photo(photo.opacity, ANALYSIS_SIDE)
    parse = analysis.labels_in(region, *pixels.shape[:2])
    mask = separate_flat_garment(pixels, opacity, parse, photo.name)
    overlap = (mask & (parse > 0)).sum() / (mask | (parse > 0)).sum()
    # Around somebody who was found in the garment nothing else was looked at.
    if analysis.chosen is not None or overlap >= _LEAST_OVERLAP:
        return region, mask, []
    doubt = UncertainAnswerWarning(
        f"Where the garment in `{photo.name}` ends is not certain: its colours and the parser disagree. Look at the "
        "cut-out; a plain background of another colour helps, and so does a transparent one."
    )
    return region, mask, [doubt]


def _fine_grid(crop: Crop) -> tuple[int, int]:
    """Height and width of the grid that is composed on: the crop's own pixels, but not too many."""
    scale = min(1.0, ANALYSIS_SIDE / max(crop.height, crop.width))
    return max(1, round(crop.height * scale)), max(1, round(crop.width * scale))


def _check_resolution(crop: Crop, size: tuple[int, int], what: str) -> list[PreprocessingWarning]:
    if crop.height >= size[0] / 2:
        return []
    return [
        LowResolutionWarning(
            f"The picture of {what} has {crop.width} x {crop.height} pixels, which is less than half of the "
            f"{size[1]} x {size[0]} that are made of it. Take a larger photograph or one from nearer by."
        )
    ]
