# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The photographs of a batch: each is looked at once, and what is made of it is kept in files.

So memory does not grow with the number of photographs, and neither several processes nor a call that goes on look at
one again. Garments come first: a person is prepared for the category of the garment.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from ..files import written_beside
from ..image_files import write_image
from ..poses import load_pose, save_pose
from ..preprocessing.analysis import AnalysedPhoto
from ..preprocessing.crops import Crop
from ..preprocessing.photo_pairs import AUTO
from ..preprocessing.photos import read_photo
from ..preprocessing.prepare_photos import analyse_files
from ..preprocessing.prepared import paste_into_photo
from ..preprocessing.preprocessor import TryOnPreprocessor
from .manifest import GarmentInput, Manifest, PersonInput


_DESCRIPTION = "description.json"
_ERROR = "error.json"


class Photographs:
    """What is made of a manifest's photographs.

    Args:
        folder (`Path`): where it is kept.
        manifest (`Manifest`): whose photographs.
        size (`tuple[int, int]`): height and width of the conditions.
    """

    def __init__(self, folder: Path, manifest: Manifest, size: tuple[int, int]):
        self._folder, self._manifest, self._size = folder, manifest, size

    def prepare_garments(
        self,
        garments: Iterable[GarmentInput],
        preprocessor: TryOnPreprocessor,
        batch_size: int,
        process_index: int,
        num_processes: int,
        show_progress: bool,
    ) -> None:
        """Prepare this process's share of the garments that are not there yet; those of no photograph are passed over.

        A photograph that cannot be used is noted, and tried again by the next call.
        """
        by_photo: dict[tuple[str, None], list[GarmentInput]] = {}
        for garment in dict.fromkeys(garments):
            if garment.photo is not None:
                by_photo.setdefault((garment.photo, None), []).append(garment)

        def prepare(garment: GarmentInput, analysis: AnalysedPhoto) -> None:
            prepared = preprocessor.prepare_garment(analysis, garment.category, garment.garment_type, self._size)
            place = self._place(garment)
            write_image(Image.fromarray(prepared.image), place / "garment.png")
            _write_pose(place / "pose.json", prepared.pose)
            _write_json(
                place / _DESCRIPTION,
                {
                    "photo": garment.photo,
                    "category": prepared.category,
                    "garment_type": prepared.garment_type,
                    "warnings": list(map(str, prepared.warnings)),
                },
            )

        share = list(by_photo.items())[process_index::num_processes]
        self._prepare(share, prepare, preprocessor, batch_size, "garments", show_progress)

    def prepare_people(
        self,
        pairs: Iterable[tuple[PersonInput, GarmentInput]],
        preprocessor: TryOnPreprocessor,
        batch_size: int,
        process_index: int,
        num_processes: int,
        show_progress: bool,
    ) -> None:
        """The same of people, each for the categories of their garments, which are prepared by now."""
        by_photo: dict[tuple[str, int | None], dict[tuple[PersonInput, str], None]] = {}
        categories: dict[GarmentInput, str] = {}
        for person, garment in pairs:
            if person.photo is None:
                continue
            if garment not in categories:
                categories[garment] = self._category(garment)
            if categories[garment] != AUTO:
                by_photo.setdefault((person.photo, person.index), {})[person, categories[garment]] = None

        def prepare(key: tuple[PersonInput, str], analysis: AnalysedPhoto) -> None:
            prepared = preprocessor.prepare_person(analysis, key[1], self._size)
            place = self._place(*key)
            write_image(Image.fromarray(prepared.agnostic_image), place / "agnostic.png")
            write_image(Image.fromarray(prepared.agnostic_mask), place / "agnostic_mask.png")
            write_image(Image.fromarray(prepared.hidden.astype(np.uint8) * 255), place / "hidden.png")
            _write_pose(place / "pose.json", prepared.pose)
            _write_json(
                place / _DESCRIPTION,
                {
                    "photo": key[0].photo,
                    "category": key[1],
                    "crop": asdict(prepared.crop),
                    "warnings": list(map(str, prepared.warnings)),
                },
            )

        share = [(photo, list(keys)) for photo, keys in by_photo.items()][process_index::num_processes]
        self._prepare(share, prepare, preprocessor, batch_size, "people", show_progress)

    def garment(self, garment: GarmentInput) -> tuple[Image.Image, np.ndarray, list[str]]:
        """The garment's image, its pose (18, 3), zeros if it lies flat, and warnings.

        Raises:
            ValueError: why its photograph cannot be used.
        """
        place = self._place(garment)
        description = self._description(place)
        return _read_image(place / "garment.png"), load_pose(place / "pose.json"), description["warnings"]

    def person(
        self, person: PersonInput, garment: GarmentInput
    ) -> tuple[Image.Image, Image.Image, np.ndarray, list[str]]:
        """Agnostic image and mask, pose (18, 3) and warnings of a person for a garment.

        Raises:
            ValueError: why the photograph of either cannot be used.
        """
        place, description = self._person(person, garment)
        images = [_read_image(place / f"{name}.png") for name in ("agnostic", "agnostic_mask")]
        return *images, load_pose(place / "pose.json"), description["warnings"]

    def paste_back(self, person: PersonInput, garment: GarmentInput, result: Image.Image) -> Image.Image:
        """Put a try-on into the person's photograph, at the photograph's own resolution."""
        place, description = self._person(person, garment)
        photo = read_photo(self._manifest.path(person.photo), person.photo)
        hidden = np.asarray(_read_image(place / "hidden.png")) > 0
        return paste_into_photo(photo.pixels, Crop(**description["crop"]), hidden, result, self._size[0])

    def _prepare(
        self,
        share: Sequence[tuple[tuple[str, int | None], list[Any]]],
        prepare: Callable[[Any, AnalysedPhoto], None],
        preprocessor: TryOnPreprocessor,
        batch_size: int,
        description: str,
        show_progress: bool,
    ) -> None:
        """Look at photographs in batches and prepare from each all that is wanted of it and not there."""
        todo = []
        for photo, keys in share:
            missing = [key for key in keys if not (self._place(*_parts(key)) / _DESCRIPTION).is_file()]
            if missing:
                todo.append((photo, missing))
        # Of one index in each batch.
        todo.sort(key=lambda task: -1 if task[0][1] is None else task[0][1])
        with tqdm(total=len(todo), desc=description, unit="photo", disable=not show_progress or not todo) as bar:
            while todo:
                index = todo[0][0][1]
                batch = [task for task in todo[:batch_size] if task[0][1] == index]
                todo = todo[len(batch) :]
                paths = [self._manifest.path(photo) for (photo, _), _ in batch]
                for (_, missing), analysis in zip(batch, _analyse(paths, preprocessor, index)):
                    for key in missing:
                        self._prepare_one(key, analysis, prepare)
                bar.update(len(batch))

    def _prepare_one(
        self, key: Any, analysis: AnalysedPhoto | Exception, prepare: Callable[[Any, AnalysedPhoto], None]
    ) -> None:
        place = self._place(*_parts(key))
        try:
            if isinstance(analysis, Exception):
                raise analysis
            prepare(key, analysis)
        # Of the folder that is written to; nothing else is read or written here.
        except OSError:
            raise
        # Also what no check foresaw: it must not end the work on the others.
        except Exception as error:
            _write_json(place / _ERROR, {"error": str(error) or type(error).__name__})

    def _category(self, garment: GarmentInput) -> str:
        """The category of a garment; "auto" if its photograph cannot be used, and so nothing is made for it."""
        if garment.photo is None:
            return garment.category
        path = self._place(garment) / _DESCRIPTION
        return json.loads(path.read_text())["category"] if path.is_file() else AUTO

    def _person(self, person: PersonInput, garment: GarmentInput) -> tuple[Path, dict[str, Any]]:
        if garment.photo is not None:
            self._description(self._place(garment))
        place = self._place(person, self._category(garment))
        return place, self._description(place)

    def _place(self, source: PersonInput | GarmentInput, category: str = "") -> Path:
        """The folder of what is made of a photograph; a photograph that was replaced has another."""
        path = self._manifest.path(source.photo)
        state = path.stat() if path.is_file() else None
        version = None if state is None else [state.st_size, state.st_mtime_ns]
        key = json.dumps([asdict(source), category, str(path.resolve()), version, list(self._size)])
        return self._folder / hashlib.sha256(key.encode()).hexdigest()[:24]

    @staticmethod
    def _description(place: Path) -> dict[str, Any]:
        if not (place / _DESCRIPTION).is_file():
            raise ValueError(json.loads((place / _ERROR).read_text())["error"])
        return json.loads((place / _DESCRIPTION).read_text())


def _parts(key: GarmentInput | tuple[PersonInput, str]) -> tuple:
    return key if isinstance(key, tuple) else (key,)


def _analyse(
    paths: Sequence[Path], preprocessor: TryOnPreprocessor, person_index: int | None
) -> list[AnalysedPhoto | Exception]:
    """What was seen in each photograph, or why it cannot be used, be it for a reason that no check foresaw."""
    try:
        return analyse_files(paths, preprocessor, person_index)
    except Exception as error:
        if len(paths) == 1:
            return [ValueError(f"{paths[0]}: {error}")]
    return [result for path in paths for result in _analyse([path], preprocessor, person_index)]


def _read_image(path: Path) -> Image.Image:
    with Image.open(path) as image:
        image.load()
        return image


def _write_pose(path: Path, pose: np.ndarray) -> None:
    with written_beside(path) as partial:
        save_pose(pose, partial)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with written_beside(path) as partial:
        partial.write_text(json.dumps(content) + "\n")
