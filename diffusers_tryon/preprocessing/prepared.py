# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What preprocessing returns: the conditions of a try-on with every intermediate, and the way back into the photo."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from .analysis import AnalysedPhoto
from .crops import Crop
from .errors import PreprocessingWarning
from .pictures import garment_panels, person_panels, sheet


def paste_into_photo(
    photo: np.ndarray, crop: Crop, hidden: np.ndarray, result: Image.Image | np.ndarray, height: int
) -> Image.Image:
    """Put a try-on into the photograph of a person, see `PreparedPerson.paste_back`.

    Args:
        photo (`np.ndarray`): (photo_height, photo_width, 3) uint8.
        crop (`Crop`), hidden (`np.ndarray`): as in `PreparedPerson`.
        result (`PIL.Image.Image` or `np.ndarray`): RGB of any size in the ratio of the crop.
        height (`int`): of the networks' pictures.
    """
    if isinstance(result, Image.Image):
        result = np.asarray(result.convert("RGB"))
    # The photograph fades into the result over about one pixel of the networks.
    feather = max(1, round(crop.height / height))
    return Image.fromarray(crop.paste(photo, result, crop.mask_to_photo(hidden), feather))


@dataclass(frozen=True)
class PreparedPerson:
    """A person ready to be dressed.

    Attributes:
        analysis (`AnalysedPhoto`): the photograph, boxes, pose, label map and person mask.
        category (`str`): what is tried on.
        crop (`Crop`): the part of the photograph that the networks see.
        image (`np.ndarray`): (h, w, 3) uint8, the crop at the networks' size.
        parse (`np.ndarray`): (h, w) uint8, its label map.
        pose (`np.ndarray`): (18, 3) float32, x and y in [0, 1] of the crop.
        agnostic_image (`np.ndarray`): (h, w, 3) uint8, the clothes painted over.
        agnostic_mask (`np.ndarray`): (h, w) uint8, 255 where the picture may change.
        hidden (`np.ndarray`): (H, W) bool, the same on a finer grid of the crop, for pasting.
        warnings (`tuple`): what may spoil the result.
    """

    analysis: AnalysedPhoto
    category: str
    crop: Crop
    image: np.ndarray
    parse: np.ndarray
    pose: np.ndarray
    agnostic_image: np.ndarray
    agnostic_mask: np.ndarray
    hidden: np.ndarray
    warnings: tuple[PreprocessingWarning, ...]

    def paste_back(self, result: Image.Image | np.ndarray) -> Image.Image:
        """Put a try-on of this person into the photograph, at the photograph's own resolution.

        Args:
            result (`PIL.Image.Image` or `np.ndarray`): the person in the new garment, RGB of any size in the ratio of
                the crop.

        Returns:
            `PIL.Image.Image`: RGB of the photograph's size. What lies outside the hidden region has every bit of the
            photograph (transparent parts lie on white).
        """
        return paste_into_photo(self.analysis.photo.pixels, self.crop, self.hidden, result, self.image.shape[0])

    def picture(self) -> Image.Image:
        """All intermediates side by side: to look at."""
        return sheet([person_panels(self)])


@dataclass(frozen=True)
class PreparedGarment:
    """A garment ready to be tried on.

    Attributes:
        analysis (`AnalysedPhoto`): the photograph, and whoever wears the garment.
        category (`str`): "upper", "lower" or "dress".
        garment_type (`str`): "worn" or "flat".
        crop (`Crop`): the part of the photograph that the networks see.
        region (`Crop`): the part of the photograph that `mask` covers.
        mask (`np.ndarray`): (H, W) bool, where the garment is in that part.
        image (`np.ndarray`): (h, w, 3) uint8, the garment on white at the networks' size.
        parse (`np.ndarray`): (h, w) uint8, the label map of the crop; of a flat garment its own label alone.
        pose (`np.ndarray`): (18, 3) float32, x and y in [0, 1] of the crop; zeros of a flat garment.
        warnings (`tuple`): what may spoil the result.
    """

    analysis: AnalysedPhoto
    category: str
    garment_type: str
    crop: Crop
    region: Crop
    mask: np.ndarray
    image: np.ndarray
    parse: np.ndarray
    pose: np.ndarray
    warnings: tuple[PreprocessingWarning, ...]

    def picture(self) -> Image.Image:
        """All intermediates side by side: to look at."""
        return sheet([garment_panels(self)])


@dataclass(frozen=True)
class PreparedTryOn:
    """People and garments, entry by entry.

    Attributes:
        people (`list[PreparedPerson]`), garments (`list[PreparedGarment]`): equally many.
        warnings (`tuple`): all that were raised, also about a person and a garment that do not go together.
    """

    people: list[PreparedPerson]
    garments: list[PreparedGarment]
    warnings: tuple[PreprocessingWarning, ...]

    @property
    def conditions(self) -> dict[str, Any]:
        """The arguments of a pipeline call: `pipe(**prepared.conditions)`."""
        worn = any(garment.garment_type == "worn" for garment in self.garments)
        return {
            "agnostic_image": [Image.fromarray(person.agnostic_image) for person in self.people],
            "agnostic_mask": [Image.fromarray(person.agnostic_mask) for person in self.people],
            "garment_image": [Image.fromarray(garment.image) for garment in self.garments],
            "person_pose": np.stack([person.pose for person in self.people]),
            "garment_pose": np.stack([garment.pose for garment in self.garments]) if worn else None,
        }

    def paste_back(self, results: Sequence[Image.Image | np.ndarray]) -> list[Image.Image]:
        """Put results into the photographs of the people.

        Args:
            results (`Sequence`): for every entry one image, or several one after the other
                (`num_images_per_prompt`).

        Returns:
            `list[PIL.Image.Image]`: see `PreparedPerson.paste_back`.
        """
        if not len(results) or len(results) % len(self.people):
            raise ValueError(
                f"`results` must hold one image, or equally many, for each of {len(self.people)} people, got "
                f"{len(results)}."
            )
        for_each = len(results) // len(self.people)
        return [self.people[number // for_each].paste_back(result) for number, result in enumerate(results)]

    def picture(self) -> Image.Image:
        """All intermediates, a row for each person and each garment: to look at."""
        pairs = zip(self.people, self.garments)
        return sheet(
            [panels for person, garment in pairs for panels in (person_panels(person), garment_panels(garment))]
        )
