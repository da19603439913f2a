# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Lists pairs of photographs, of a person and of a garment, that somebody has: in folders, in a manifest, in a
`datasets` data set. No photograph is opened here."""

import mimetypes
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets import ClassLabel, Dataset, DatasetDict, Image, load_dataset, load_from_disk
from datasets.exceptions import DatasetGenerationError
from PIL import Image as PILImage

from ..composition import CATEGORIES
from ..data.importers.base import UnusableEntry
from ..data.importers.manifest_files import MANIFEST_SUFFIXES, find_file, read_manifest
from ..data.importers.pair_lists import refuse_repeated
from ..data.schema import GARMENT_TYPES
from .errors import UnreadablePhotoError


AUTO = "auto"
PERSON_FOLDER, GARMENT_FOLDER = "person", "garment"
PHOTO_COLUMNS = ("person_photo", "garment_photo")
OPTIONAL_COLUMNS = ("category", "garment_type", "person_id", "garment_id")
_SOURCES = (
    f"a folder with the subfolders {PERSON_FOLDER} and {GARMENT_FOLDER}, a CSV or JSONL manifest, or a data set's "
    'folder or id on the Hub, "user/name"'
)
_CHOICES = {"category": (AUTO, *CATEGORIES), "garment_type": (AUTO, *GARMENT_TYPES)}


@dataclass(frozen=True, slots=True)
class FilePhoto:
    """A photograph in a file."""

    path: Path

    @property
    def name(self) -> str:
        return str(self.path)

    def open(self) -> Path:
        """What `read_photo` takes."""
        return self.path


@dataclass(frozen=True, slots=True)
class StoredPhoto:
    """A photograph in a row of a `datasets` data set, whose image columns are not decoded."""

    row: int
    column: str
    dataset: Dataset = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        return f"row {self.row}, {self.column}"

    def open(self) -> Path | bytes:
        """What `read_photo` takes; raises an `UnreadablePhotoError` where the row holds no picture."""
        stored = self.dataset[self.row][self.column] or {}
        if stored.get("bytes"):
            return stored["bytes"]
        if stored.get("path"):
            return Path(stored["path"])
        raise UnreadablePhotoError(f"`{self.name}` holds no picture: the column is empty.")


@dataclass(frozen=True, slots=True)
class PhotoPair:
    """What a row is made of: two photographs that no network has looked at.

    Attributes:
        id: unique in the source.
        person: whom the garment is tried on; for training in the garment that the other photograph shows.
        garment: the garment, worn in another photograph or alone.
        category: "upper", "lower", "dress", or "auto" to take what the photographs show.
        garment_type: "worn", "flat" or "auto".
        person_id, garment_id: what the source calls the photographed person and the garment.
    """

    id: str
    person: FilePhoto | StoredPhoto
    garment: FilePhoto | StoredPhoto
    category: str
    garment_type: str
    person_id: str
    garment_id: str


def list_photo_pairs(
    source: str | Path, split: str = "train", category: str = AUTO, garment_type: str = AUTO
) -> list[PhotoPair | UnusableEntry]:
    """List the pairs of a source.

    - A **folder** with the subfolders `person` and `garment`: photographs of equal names, whatever their suffixes. In
      place of a photograph there may be a folder of several, of one person in one outfit or of one garment; then every
      photograph of the person is paired with every one of the garment. A folder in `person` that has nothing of its
      name in `garment` is paired with itself, as in TryOnDiffusion's own training data: every two of its photographs,
      both ways round.
    - A **manifest**, a CSV file with a header or a JSONL file, with the columns `id`, `person_photo`, `garment_photo`
      and, if wanted, `category`, `garment_type`, `person_id` and `garment_id`; file names are absolute or relative to
      the manifest's folder.
    - A **data set** of the library `datasets`, its folder or its id on the Hub ("user/name"), with the image columns
      `person_photo` and `garment_photo` and, if wanted, `id` and the optional columns of a manifest.

    Args:
        source (`str` or `Path`): one of these.
        split (`str`): of a data set; folders and manifests have none.
        category (`str`): of the pairs for which the source says nothing: "upper", "lower", "dress" or "auto".
        garment_type (`str`): of these pairs: "worn", "flat" or "auto".

    Returns:
        `list`: pairs in the order of names, lines or rows; what names no pair is an `UnusableEntry` with the reason.

    Raises:
        ValueError: a bad argument, or `source` is none of these or lists nothing.
    """
    check_choices(category, garment_type)
    defaults = {"category": category, "garment_type": garment_type}
    path = Path(source)
    if path.is_file():
        if path.suffix.lower() not in MANIFEST_SUFFIXES:
            raise ValueError(
                f"`source` must be a folder, a data set's id or a manifest ({' or '.join(MANIFEST_SUFFIXES)}), {path} "
                "is another file."
            )
        entries = _pairs_of_manifest(path, defaults)
    elif (path / PERSON_FOLDER).is_dir():
        entries = _pairs_of_folder(path, defaults)
    else:
        entries = _pairs_of_dataset(_open_dataset(str(source), split), split, defaults)
    entries = refuse_repeated(entries)
    if not entries:
        raise ValueError(f"`source` {source} lists no photographs.")
    return entries


def check_choices(category: str, garment_type: str) -> None:
    """Raise a `ValueError` that names the argument which is no category or garment type, nor "auto"."""
    for name, value in (("category", category), ("garment_type", garment_type)):
        if value not in _CHOICES[name]:
            raise ValueError(f"`{name}` must be one of {', '.join(_CHOICES[name])}, got {value!r}.")


def _entry(
    row: dict[str, str], person: FilePhoto | StoredPhoto, garment: FilePhoto | StoredPhoto, place: str, defaults: dict
) -> PhotoPair | UnusableEntry:
    """The pair of a manifest's line or a data set's row; `row` has the columns that say something, and its id."""
    values = defaults | row
    for name, choices in _CHOICES.items():
        if values[name] not in choices:
            reason = f"{place}: {name} must be one of {', '.join(choices)}, got {values[name]!r}"
            return UnusableEntry(row["id"], reason)
    return PhotoPair(
        id=row["id"],
        person=person,
        garment=garment,
        category=values["category"],
        garment_type=values["garment_type"],
        person_id=row.get("person_id", row["id"]),
        garment_id=row.get("garment_id", row["id"]),
    )


# ---- Manifests


def _pairs_of_manifest(path: Path, defaults: dict[str, str]) -> list[PhotoPair | UnusableEntry]:
    required = ("id", *PHOTO_COLUMNS)
    entries = []
    for number, row in read_manifest(path, required, OPTIONAL_COLUMNS):
        missing = [column for column in required if column not in row]
        if missing:
            name = row.get("id", f"line-{number}")
            entries.append(UnusableEntry(name, f"{path}, line {number}: {missing[0]} is missing"))
            continue
        photos = [FilePhoto(find_file(row.pop(column), path.parent, path.parent)) for column in PHOTO_COLUMNS]
        entries.append(_entry(row, *photos, f"{path}, line {number}", defaults))
    return entries


# ---- Folders


def _pairs_of_folder(root: Path, defaults: dict[str, str]) -> list[PhotoPair | UnusableEntry]:
    people, garments = _photos_by_name(root / PERSON_FOLDER), _photos_by_name(root / GARMENT_FOLDER)
    entries = []
    for name in sorted(people | garments):
        entries += _pairs_of_name(root, name, people.get(name, []), garments.get(name, []), defaults)
    return entries


def _photos_by_name(folder: Path) -> dict[str, list[list[Path]]]:
    """By the names in a folder, without suffixes, what has that name: a photograph, or a folder of photographs."""
    by_name: dict[str, list[list[Path]]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.is_dir() and not path.name.startswith("."):
            by_name.setdefault(path.name, []).append(list(filter(_is_photo, sorted(path.iterdir()))))
        elif _is_photo(path):
            by_name.setdefault(path.stem, []).append([path])
    return by_name


def _is_photo(path: Path) -> bool:
    """Whether a file's name is that of a picture, also of a kind that cannot be read: it shall be reported."""
    if path.name.startswith(".") or not path.is_file():
        return False
    kind, _ = mimetypes.guess_type(path.name, strict=False)
    return path.suffix.lower() in PILImage.registered_extensions() or (kind or "").startswith("image/")


def _pairs_of_name(
    root: Path, name: str, people: list[list[Path]], garments: list[list[Path]], defaults: dict[str, str]
) -> Iterator[PhotoPair | UnusableEntry]:
    for folder, found in ((PERSON_FOLDER, people), (GARMENT_FOLDER, garments)):
        if len(found) > 1:
            yield UnusableEntry(name, f"{root / folder}: {len(found)} photographs or folders are named {name}")
            return
    of_person, of_garment = (found[0] if found else [] for found in (people, garments))
    if len(of_person) > 1 and not garments:
        pairs = [(person, other) for person in of_person for other in of_person if person != other]
    else:
        pairs = [(person, garment) for person in of_person for garment in of_garment]
    if not pairs:
        lacking = GARMENT_FOLDER if of_person else PERSON_FOLDER
        yield UnusableEntry(name, f"{root / lacking}: holds no photograph named {name}")
    for person, garment in pairs:
        pair_id = name if len(pairs) == 1 else f"{name}/{person.stem}/{garment.stem}"
        row = {"id": pair_id, "person_id": name, "garment_id": name}
        yield _entry(row, FilePhoto(person), FilePhoto(garment), str(root), defaults)


# ---- Data sets


def _open_dataset(source: str, split: str) -> Dataset:
    """A split of a data set that `datasets` saved or can load; rows lie on the disk."""
    # `datasets` would take a mistyped folder for the short name of an old data set, and wait for the Hub.
    if not Path(source).exists() and source.count("/") != 1:
        raise ValueError(f"`source` must be {_SOURCES}; there is nothing at {source}.")
    try:
        if (Path(source) / "dataset_dict.json").is_file() or (Path(source) / "state.json").is_file():
            dataset = load_from_disk(source)
            if isinstance(dataset, DatasetDict):
                if split not in dataset:
                    raise ValueError(f"it has the splits {', '.join(dataset)}, not {split}")
                dataset = dataset[split]
        else:
            dataset = load_dataset(source, split=split)
    except (ValueError, OSError, DatasetGenerationError) as error:
        raise ValueError(f"`source` must be {_SOURCES}; as a data set {source} cannot be read: {error}") from error
    wrong = [name for name in PHOTO_COLUMNS if not isinstance(dataset.features.get(name), Image)]
    if wrong:
        raise ValueError(
            f"`source` {source} must have the image columns {' and '.join(PHOTO_COLUMNS)}; it has "
            f"{', '.join(dataset.features)}."
        )
    return dataset


def _pairs_of_dataset(dataset: Dataset, split: str, defaults: dict[str, str]) -> list[PhotoPair | UnusableEntry]:
    photos = dataset.select_columns(list(PHOTO_COLUMNS))
    for name in PHOTO_COLUMNS:
        photos = photos.cast_column(name, Image(decode=False))
    known = [name for name in ("id", *OPTIONAL_COLUMNS) if name in dataset.features]
    columns = {name: _texts(dataset, name) for name in known}
    entries = []
    for number in range(len(dataset)):
        row = {"id": f"{split}-{number:07d}"}
        row |= {name: values[number] for name, values in columns.items() if values[number]}
        stored = [StoredPhoto(number, column, photos) for column in PHOTO_COLUMNS]
        entries.append(_entry(row, *stored, f"row {number}", defaults))
    return entries


def _texts(dataset: Dataset, name: str) -> list[str]:
    """The values of a column as text, "" where there is none; classes by their names."""
    feature = dataset.features[name]

    def text(value: Any) -> str:
        if value is None:
            return ""
        return feature.int2str(value) if isinstance(feature, ClassLabel) else str(value)

    return [text(value) for value in dataset[name]]
