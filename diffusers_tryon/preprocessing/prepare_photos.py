# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""From single photographs to the files that `diffusers-tryon run` takes, with a picture of all intermediates."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from ..files import written_beside
from ..image_files import write_image
from ..poses import save_pose
from .analysis import AnalysedPhoto
from .errors import PreprocessingError, PreprocessingWarning
from .guesses import guess_category
from .photo_pairs import AUTO, check_choices
from .photos import Photo, read_photo
from .prepared import PreparedGarment, PreparedPerson
from .preprocessor import DEFAULT_SIZE, TryOnPreprocessor


# What is wanted of a photograph: its person, its garment, or whatever it shows.
PERSON, GARMENT, ANYTHING = "person", "garment", "anything"


@dataclass
class PhotoResult:
    """What became of a photograph.

    Attributes:
        photo: its file.
        wanted: `PERSON`, `GARMENT` or `ANYTHING`.
        person, garment: the files of the conditions that were written, by the names that a pipeline's call has for
            them.
        person_category, garment_category: the category of garments that each was prepared for; None if it was not.
        summary: what the photograph was taken for.
        warnings: what may spoil the result.
        errors: why something could not be made.
    """

    photo: Path
    wanted: str
    person: dict[str, Path] = field(default_factory=dict)
    garment: dict[str, Path] = field(default_factory=dict)
    person_category: str | None = None
    garment_category: str | None = None
    summary: list[str] = field(default_factory=list)
    warnings: list[PreprocessingWarning] = field(default_factory=list)
    errors: list[ValueError] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether what was wanted is not there. Somebody's photograph need not show a garment that can be cut out."""
        return bool(self.errors) and not (self.wanted == ANYTHING and (self.person or self.garment))


def prepare_photos(
    out_dir: str | Path,
    preprocessor: TryOnPreprocessor,
    photos: Sequence[Path] = (),
    person_photos: Sequence[Path] = (),
    garment_photos: Sequence[Path] = (),
    category: str = AUTO,
    garment_type: str = AUTO,
    size: tuple[int, int] = DEFAULT_SIZE,
    person_index: int | None = None,
    batch_size: int = 8,
) -> Iterator[PhotoResult]:
    """Prepare photographs; the files of each go to a folder of its name in `out_dir`.

    Of a person: `agnostic.png`, `agnostic_mask.png` and `person_pose.json`, the conditions of the networks;
    `person.png`, the part of the photograph that they belong to; `person_parse.png`, its label map (ids of
    `composition.PARSE_LABELS`); `person_mask.png`, where the pose estimator sees the person, if it tells; all of one
    size. `person.json`: boxes, crop and whatever there is in numbers. `person_intermediates.png`: all of it in one
    picture. Of a garment in the same way `garment.png` and, if somebody wears it, `garment_pose.json`;
    `garment_mask.png`, `garment_parse.png`, `garment.json` and `garment_intermediates.png`.

    Args:
        out_dir (`str` or `Path`): created if missing. Files of an earlier call are replaced.
        preprocessor (`TryOnPreprocessor`): looks at the photographs.
        photos (`Sequence[Path]`): photographs of which anything is wanted: of somebody the person and what they wear,
            of a garment alone the garment.
        person_photos, garment_photos (`Sequence[Path]`): photographs of which only this is wanted.
        category (`str`): "upper", "lower", "dress", or "auto": of a garment what its photograph shows most of; of a
            person the category of `garment_photos` if they have one in common, else what the person wears most of.
        garment_type (`str`): "worn", "flat", or "auto" to look whether somebody wears the garment.
        size (`tuple[int, int]`): height and width of the conditions.
        person_index (`int`, *optional*): whom to look at, from the largest person (0) on; not of `garment_photos`.
        batch_size (`int`): photographs that go through the networks together, and are in memory at once.

    Yields:
        `PhotoResult`: for each photograph, those of garments first. What is wrong with one does not stop the others.

    Raises:
        ValueError: a bad argument.
    """
    check_choices(category, garment_type)
    check_size_and_batch(size, batch_size)
    folders = _folders(Path(out_dir), [*photos, *person_photos, *garment_photos])
    common = {
        "preprocessor": preprocessor,
        "folders": folders,
        "garment_type": garment_type,
        "size": size,
        "batch_size": batch_size,
    }
    categories = set()
    for result in _prepare(garment_photos, GARMENT, category=category, person_index=None, **common):
        categories.add(result.garment_category)
        yield result
    categories.discard(None)
    of_people = categories.pop() if category == AUTO and len(categories) == 1 else category
    yield from _prepare(person_photos, PERSON, category=of_people, person_index=person_index, **common)
    yield from _prepare(photos, ANYTHING, category=category, person_index=person_index, **common)


def check_size_and_batch(size: tuple[int, int], batch_size: int) -> None:
    """Raise a `ValueError` that names the argument which cannot be used."""
    if min(size) < 1:
        raise ValueError(f"`size` must be a height and a width of at least 1, got {size}.")
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1, got {batch_size}.")


def _folders(out_dir: Path, photos: list[Path]) -> dict[Path, Path]:
    """A folder for each file: its name without the suffix, with a number where another file has that name."""
    folders: dict[Path, Path] = {}
    for photo in dict.fromkeys(photos):
        folder, number = out_dir / photo.stem, 2
        while folder in folders.values():
            folder, number = out_dir / f"{photo.stem}-{number}", number + 1
        folders[photo] = folder
    return folders


def _prepare(
    photos: Sequence[Path],
    wanted: str,
    preprocessor: TryOnPreprocessor,
    folders: dict[Path, Path],
    category: str,
    garment_type: str,
    size: tuple[int, int],
    person_index: int | None,
    batch_size: int,
) -> Iterator[PhotoResult]:
    """The result of each photograph."""
    photos = list(dict.fromkeys(photos))
    for start in range(0, len(photos), batch_size):
        batch = photos[start : start + batch_size]
        for path, analysis in zip(batch, analyse_files(batch, preprocessor, person_index)):
            result = PhotoResult(path, wanted)
            if isinstance(analysis, PreprocessingError):
                result.errors.append(analysis)
                yield result
                continue
            garment = None
            if wanted != PERSON:
                garment = _try_garment(result, analysis, preprocessor, folders[path], category, garment_type, size)
            if wanted == PERSON or wanted == ANYTHING and analysis.chosen is not None:
                if garment is None or garment.garment_type == "worn":
                    of_person = garment.category if garment is not None else category
                    _try_person(result, analysis, preprocessor, folders[path], of_person, size)
            yield result


def analyse_files(
    paths: Sequence[Path], preprocessor: TryOnPreprocessor, person_index: int | None
) -> list[AnalysedPhoto | PreprocessingError]:
    """What was seen in each photograph, all of them in one batch for each network, or why it cannot be used."""
    found: list[Photo | AnalysedPhoto | PreprocessingError] = []
    for path in paths:
        try:
            found.append(read_photo(path, str(path)))
        except PreprocessingError as error:
            found.append(error)
    readable = [number for number, photo in enumerate(found) if isinstance(photo, Photo)]
    for number, analysis in zip(
        readable, _look_at([found[number] for number in readable], preprocessor, person_index)
    ):
        found[number] = analysis
    return found


def _look_at(
    photos: list[Photo], preprocessor: TryOnPreprocessor, person_index: int | None
) -> list[AnalysedPhoto | PreprocessingError]:
    if not photos:
        return []
    try:
        return preprocessor.analyse_read(photos, [person_index] * len(photos))
    except PreprocessingError as error:
        if len(photos) == 1:
            return [error]
    # One of them lacks the person that was asked for; each on its own tells which.
    return [result for photo in photos for result in _look_at([photo], preprocessor, person_index)]


# ---- What is written


def _try_person(
    result: PhotoResult,
    analysis: AnalysedPhoto,
    preprocessor: TryOnPreprocessor,
    folder: Path,
    category: str,
    size: tuple[int, int],
) -> None:
    try:
        person = preprocessor.prepare_person(
            analysis, guess_category(analysis.parse)[0] if category == AUTO else category, size
        )
    except ValueError as error:  # also what no check foresaw: it must not end the work on the others
        result.errors.append(error)
        return
    seen = None if analysis.person_mask is None else np.round(analysis.person_mask * 255).astype(np.uint8)
    _write_images(
        folder,
        {
            "agnostic": person.agnostic_image,
            "agnostic_mask": person.agnostic_mask,
            "person": person.image,
            "person_parse": person.parse,
            "person_mask": None if seen is None else person.crop.resized_labels(seen, size, analysis.region),
            "person_intermediates": person.picture(),
        },
    )
    _write_pose(folder / "person_pose.json", person.pose)
    _write_json(folder / "person.json", _about(person))
    result.person = {
        "agnostic_image": folder / "agnostic.png",
        "agnostic_mask": folder / "agnostic_mask.png",
        "person_pose": folder / "person_pose.json",
    }
    result.person_category = person.category
    result.summary.append(f"person for a garment of the category {person.category}")
    _add_warnings(result, person.warnings)


def _try_garment(
    result: PhotoResult,
    analysis: AnalysedPhoto,
    preprocessor: TryOnPreprocessor,
    folder: Path,
    category: str,
    garment_type: str,
    size: tuple[int, int],
) -> PreparedGarment | None:
    try:
        garment = preprocessor.prepare_garment(analysis, category, garment_type, size)
    except ValueError as error:
        result.errors.append(error)
        return None
    mask = garment.crop.resized_labels(garment.mask, size, garment.region)
    _write_images(
        folder,
        {
            "garment": garment.image,
            "garment_parse": garment.parse,
            "garment_mask": mask.astype(np.uint8) * 255,
            "garment_intermediates": garment.picture(),
        },
    )
    _write_json(folder / "garment.json", _about(garment) | {"garment_type": garment.garment_type})
    result.garment = {"garment_image": folder / "garment.png"}
    if garment.garment_type == "worn":
        result.garment["garment_pose"] = folder / "garment_pose.json"
        _write_pose(folder / "garment_pose.json", garment.pose)
    else:
        # Of an earlier call that took it for a worn one.
        (folder / "garment_pose.json").unlink(missing_ok=True)
    result.garment_category = garment.category
    result.summary.append(f"{garment.garment_type} garment of the category {garment.category}")
    _add_warnings(result, garment.warnings)
    return garment


def _add_warnings(result: PhotoResult, warnings: Sequence[PreprocessingWarning]) -> None:
    """Add those that the other half of the photograph did not have."""
    known = {str(warning) for warning in result.warnings}
    result.warnings += [warning for warning in warnings if str(warning) not in known]


def _about(prepared: PreparedPerson | PreparedGarment) -> dict:
    """What was found, in numbers: pixels of the photograph, and keypoints in parts of it."""
    analysis = prepared.analysis
    return {
        "photo": analysis.photo.name,
        "category": prepared.category,
        "boxes": analysis.boxes.tolist(),
        "chosen": analysis.chosen,
        "region": asdict(analysis.region),
        "crop": asdict(prepared.crop),
        "keypoints": analysis.pose.tolist(),
        "warnings": [f"{type(warning).__name__}: {warning}" for warning in prepared.warnings],
    }


def _write_images(folder: Path, images: dict[str, np.ndarray | Image.Image | None]) -> None:
    for name, image in images.items():
        path = folder / f"{name}.png"
        if image is None:
            path.unlink(missing_ok=True)
        else:
            write_image(Image.fromarray(image) if isinstance(image, np.ndarray) else image, path)


def _write_pose(path: Path, pose: np.ndarray) -> None:
    with written_beside(path) as partial:
        save_pose(pose, partial)


def _write_json(path: Path, content: dict) -> None:
    with written_beside(path) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n")
