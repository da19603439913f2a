# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Two photographs in, the conditions of a try-on out."""

import warnings as python_warnings
from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

import torch

from ..composition import CATEGORIES
from ..data.schema import GARMENT_TYPES
from .analysis import AnalysedPhoto, analyse_photos
from .backends import HumanParser, PersonDetector, PoseEstimator
from .errors import BackViewWarning, PreprocessingWarning
from .loading import COMPONENT_NAMES, load_components, save_components
from .parse_cleanup import facing
from .photos import Photo, PhotoInput, read_photo
from .preparation import prepare_garment, prepare_person
from .prepared import PreparedGarment, PreparedPerson, PreparedTryOn


DEFAULT_SIZE = (256, 256)


class TryOnPreprocessor:
    r"""
    Turns photographs of people and garments into the conditions of the networks (paper, "Preprocessing of inputs"):
    poses, label maps, the clothing-agnostic image, the garment cut out.

    ```py
    >>> preprocessor = TryOnPreprocessor.from_pretrained("offline")
    >>> prepared = preprocessor("person.jpg", "garment.jpg", category="upper")
    >>> images = pipe(**prepared.conditions).images
    >>> prepared.paste_back(images)[0].save("tryon.png")
    ```

    Args:
        human_parser ([`~preprocessing.backends.HumanParser`]): labels the pixels of a person.
        pose_estimator ([`~preprocessing.backends.PoseEstimator`]): finds a person's joints, and perhaps a mask of the
            person that keeps the parser to it.
        person_detector ([`~preprocessing.backends.PersonDetector`], *optional*): finds people. Without one, every
            photograph is taken to show one person who fills it.
    """

    def __init__(
        self,
        human_parser: HumanParser,
        pose_estimator: PoseEstimator,
        person_detector: PersonDetector | None = None,
    ):
        self.human_parser = human_parser
        self.pose_estimator = pose_estimator
        self.person_detector = person_detector

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path = "offline",
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        **options: Any,
    ) -> "TryOnPreprocessor":
        r"""
        Load a preprocessor.

        Args:
            source (`str` or `Path`, defaults to `"offline"`): "offline" takes what comes with the package and its
                extra `mediapipe`; "hub" downloads large networks, see `preprocessing.transformers_backends` for
                which and under which licences; otherwise a folder written by `save_pretrained`, or its id on the Hub,
                "user/name".
            device (`str` or `torch.device`): where networks run, as far as they are torch's.
            dtype (`torch.dtype`): of their weights.
            **options: `revision`, `cache_dir`, `token` and `local_files_only` for the Hub; and any component
                (`human_parser`, `pose_estimator`, `person_detector`) to take in place of the saved one.

        Raises:
            ValueError: there is no preprocessor at `source`, or a component cannot be loaded.
        """
        return cls(**load_components(source, device, dtype, **options))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write all components to a folder for `from_pretrained`; it can be uploaded to the Hub as it is."""
        save_components(folder, {name: getattr(self, name) for name in COMPONENT_NAMES})

    def analyse(
        self,
        photos: Sequence[PhotoInput],
        person_index: int | Sequence[int | None] | None = None,
        names: Sequence[str] | None = None,
    ) -> list[AnalysedPhoto]:
        """Look at photographs, all of them in one batch for each network. Warnings stay with the results.

        Args:
            photos (`Sequence[PhotoInput]`): files, PIL images or uint8 arrays.
            person_index (`int` or `Sequence`, *optional*): for all or for each photograph whom to look at, from the
                largest person (0) on. None is the largest, with a warning if there are more.
            names (`Sequence[str]`, *optional*): what errors call the photographs.

        Raises:
            PreprocessingError: one of them cannot be used.
            ValueError: `person_index` is no integer.
        """
        names = names or [f"photo {number}" for number in range(len(photos))]
        indices = person_index if isinstance(person_index, Sequence) else [person_index] * len(photos)
        for index in indices:
            if index is not None and (isinstance(index, bool) or not isinstance(index, int)):
                raise ValueError(f"`person_index` must be an integer from 0 on or None, got {index!r}.")
        read = [read_photo(photo, name) for photo, name in zip(photos, names)]
        return self.analyse_read(read, indices)

    def analyse_read(self, photos: Sequence[Photo], person_indices: Sequence[int | None]) -> list[AnalysedPhoto]:
        """Look at photographs that were read already, see `analysis.analyse_photos`."""
        return analyse_photos(photos, self.human_parser, self.pose_estimator, self.person_detector, person_indices)

    def prepare_person(
        self, analysis: AnalysedPhoto, category: str, size: tuple[int, int] = DEFAULT_SIZE
    ) -> PreparedPerson:
        """Make a person's conditions from what was seen in the photograph, see `preparation.prepare_person`."""
        _check_choice("category", category, CATEGORIES)
        return prepare_person(analysis, category, size)

    def prepare_garment(
        self,
        analysis: AnalysedPhoto,
        category: str = "auto",
        garment_type: str = "auto",
        size: tuple[int, int] = DEFAULT_SIZE,
    ) -> PreparedGarment:
        """Make a garment's conditions from what was seen in the photograph, see `preparation.prepare_garment`."""
        _check_choice("category", category, (*CATEGORIES, "auto"))
        _check_choice("garment_type", garment_type, (*GARMENT_TYPES, "auto"))
        return prepare_garment(analysis, category, garment_type, size)

    def __call__(
        self,
        person_photo: PhotoInput | list[PhotoInput],
        garment_photo: PhotoInput | list[PhotoInput],
        category: str = "auto",
        garment_type: str = "auto",
        size: int | tuple[int, int] = DEFAULT_SIZE,
        person_index: int | None = None,
    ) -> PreparedTryOn:
        """Prepare a try-on, or several: equally many people and garments, or one of either for all of the other.

        Args:
            person_photo (`PhotoInput` or `list`): the person: a file, a PIL image of any mode, or a uint8 array
                (H, W, 3).
            garment_photo (`PhotoInput` or `list`): the garment, worn by somebody or alone.
            category (`str`, defaults to `"auto"`): "upper", "lower" or "dress"; "auto" takes what the photograph of
                the garment shows most of.
            garment_type (`str`, defaults to `"auto"`): "worn" or "flat"; "auto" looks whether somebody wears it.
            size (`int` or `tuple[int, int]`, defaults to `(256, 256)`): height and width of the conditions: those of
                the pipeline's last stage.
            person_index (`int`, *optional*): whom to dress if there are several, from the largest (0) on.

        Returns:
            [`PreparedTryOn`]

        Raises:
            PreprocessingError: a `ValueError` that names the photograph, what is wrong with it and what to do; its
                subclasses in `preprocessing.errors` tell the cases apart. What may only spoil the result is a
                `PreprocessingWarning`.
        """
        _check_choice("category", category, (*CATEGORIES, "auto"))
        _check_choice("garment_type", garment_type, (*GARMENT_TYPES, "auto"))
        size = _height_and_width(size)
        people, garments = _named(person_photo, "person_photo"), _named(garment_photo, "garment_photo")
        count = max(len(people), len(garments))
        if len(people) not in (1, count) or len(garments) not in (1, count):
            raise ValueError(
                f"`person_photo` and `garment_photo` must hold equally many photographs or one of either, got "
                f"{len(people)} and {len(garments)}."
            )
        named = people | garments
        indices = [person_index] * len(people) + [None] * len(garments)
        analyses = self.analyse(list(named.values()), indices, list(named))
        prepared_garments = [
            prepare_garment(analysis, category, garment_type, size) for analysis in analyses[len(people) :]
        ]
        prepared_garments *= count // len(garments)
        wearers = analyses[: len(people)] * (count // len(people))
        prepared_people = [
            prepare_person(analysis, garment.category, size) for analysis, garment in zip(wearers, prepared_garments)
        ]
        warnings = _all_warnings(prepared_people, prepared_garments)
        for warning in warnings:
            python_warnings.warn(warning, stacklevel=2)
        return PreparedTryOn(prepared_people, prepared_garments, tuple(warnings))


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {', '.join(choices)}, got {value!r}.")


def _height_and_width(size: int | tuple[int, int]) -> tuple[int, int]:
    sides = (size, size) if isinstance(size, Integral) else size
    is_pair = isinstance(sides, Sequence) and len(sides) == 2
    if not is_pair or not all(isinstance(side, Integral) and side >= 1 for side in sides):
        raise ValueError(f"`size` must be a height and a width of at least 1, or one number for both, got {size!r}.")
    return int(sides[0]), int(sides[1])


def _named(photos: PhotoInput | list[PhotoInput], argument: str) -> dict[str, PhotoInput]:
    """Photographs by what errors call them: the argument, numbered if it is a list."""
    if not isinstance(photos, list):
        return {argument: photos}
    if not photos:
        raise ValueError(f"`{argument}` is an empty list.")
    return {f"{argument}[{number}]": photo for number, photo in enumerate(photos)}


def check_pair(person: PreparedPerson, garment: PreparedGarment) -> list[PreprocessingWarning]:
    """What does not go together: the networks never saw a person from one side and a garment from the other.

    A garment that nobody wears is taken to show its front.
    """
    person_view = facing(person.analysis.region_pose)
    garment_view = "front" if garment.garment_type == "flat" else facing(garment.analysis.region_pose)
    if person_view == garment_view or "back" not in (person_view, garment_view):
        return []
    names = person.analysis.photo.name, garment.analysis.photo.name
    return [
        BackViewWarning(
            f"`{names[0]}` shows the person from the {person_view}, `{names[1]}` the garment from the {garment_view}: "
            "the result will not be right. Take photographs from the same side."
        )
    ]


def _all_warnings(people: list[PreparedPerson], garments: list[PreparedGarment]) -> list[PreprocessingWarning]:
    """The warnings of every photograph and pair, each once."""
    found = [
        warning
        for person, garment in zip(people, garments)
        for warning in (*person.warnings, *garment.warnings, *check_pair(person, garment))
    ]
    return list({str(warning): warning for warning in found}.values())
