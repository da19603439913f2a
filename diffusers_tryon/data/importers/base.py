# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""From the files of a source (photographs, label maps, keypoints, masks) to a row of the schema.

An importer lists what a source holds, reading nothing but lists and file names; `build_row` opens the files. The first
runs once, the second on as many processes as there are.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from ...composition import (
    GARMENT_BACKGROUND,
    GARMENT_LABELS,
    PARSE_IDS,
    PARSE_PADDING,
    PERSON_PADDING,
    compose_agnostic,
    cut_out_garment,
    label_mask,
)
from ...label_maps import convert_parse
from ...pose_files import read_dresscode_keypoints, read_openpose_json
from ...poses import NUM_KEYPOINTS, check_pose, hide_points_outside_image, load_pose
from ..row_checks import (
    BAD_KEYPOINTS,
    EMPTY_GARMENT,
    MISSING_FILE,
    NO_KEYPOINTS,
    NO_PERSON,
    SIZE_MISMATCH,
    UNKNOWN_LABEL,
    UNREADABLE_IMAGE,
    WRONG_MODE,
)
from ..schema import SCHEMA_VERSION
from .flat_garments import separate_from_background


def _load_own_pose(path: Path, height: int, width: int) -> np.ndarray:
    return load_pose(path)


def _read_dresscode(path: Path, height: int, width: int) -> np.ndarray:
    return read_dresscode_keypoints(path)


# How to read a file of keypoints, given the height and width of its photograph: (18, 3) in the package's format.
POSE_READERS: dict[str, Callable[[Path, int, int], np.ndarray]] = {
    "diffusers-tryon": _load_own_pose,
    "openpose": read_openpose_json,
    "dress-code": _read_dresscode,
}

# The extra columns of `data.schema` that every imported row has.
IMPORTED_COLUMNS = ("person_id", "garment_id", "person_parse", "garment_parse")

# The one label of a flat garment's parse. Sources do not tell pants from skirts.
_FLAT_LABELS = {"upper": "top", "lower": "pants", "dress": "dress"}
# JPEG masks have noise around both values.
_MASK_THRESHOLD = 128
# A share of the garment in a smaller picture's pixel that changes no value of it.
_INVISIBLE_SHARE = 0.5 / 255
_KEPT_FORMATS = ("PNG", "JPEG")


UNUSABLE_ENTRY = "unusable entry"


class SourceError(ValueError):
    """Why no row can be made of an entry: "FILE: REASON", and the `kind` of problem as `row_checks` names it."""

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind

    def __reduce__(self) -> tuple:
        return SourceError, (self.kind, str(self))


@dataclass(frozen=True)
class WornPhoto:
    """A photograph of somebody, read when its row is built.

    Attributes:
        name: of the photograph in the source.
        image: the photograph, an RGB file.
        parse: the label map, a grey or palette file of the photograph's ratio.
        label_map: the meaning of its values, a key of `label_maps.LABEL_MAPS`.
        pose: a file of keypoints, or (18, 3) keypoints in the package's format.
        pose_format: the format of that file, a key of `POSE_READERS`.
    """

    name: str
    image: Path
    parse: Path
    label_map: str
    pose: Path | np.ndarray
    pose_format: str = "diffusers-tryon"


@dataclass(frozen=True)
class FlatPhoto:
    """A photograph of a garment that nobody wears.

    Attributes:
        name: of the photograph in the source.
        image: the photograph, an RGB file.
        mask: a grey file, the garment is where it is 128 or more; None if the garment lies on a white background that
            it can be told from.
    """

    name: str
    image: Path
    mask: Path | None = None


@dataclass(frozen=True)
class TryOnPair:
    """What a row is made of.

    Attributes:
        id: unique in the source.
        person: whom the garment is tried on.
        garment: the same garment worn in another photograph or laid flat; for evaluation without truth another one.
        category: "upper", "lower" or "dress".
        source: name of the importer.
        person_id, garment_id: what the source calls the photographed person and the garment.
    """

    id: str
    person: WornPhoto
    garment: WornPhoto | FlatPhoto
    category: str
    source: str
    person_id: str
    garment_id: str


@dataclass(frozen=True)
class UnusableEntry:
    """An entry of a source's list that names no pair; `build_row` refuses it, so that it is reported with the others.

    Attributes:
        id: what to call it in the report.
        reason: what is wrong, "FILE: REASON".
    """

    id: str
    reason: str


def build_row(
    pair: TryOnPair | UnusableEntry, recipe: str = "paper", size: tuple[int, int] | None = None
) -> dict[str, np.ndarray | bytes | str | int]:
    """Make a row of `data.schema.dataset_features(IMPORTED_COLUMNS)`.

    A photograph that `size` does not change keeps the bytes of its file. With `size` pictures are padded to its ratio
    on both sides alike (`composition.PERSON_PADDING` and so on) and resized: photographs and cut-outs bilinear with
    antialiasing, label maps to the nearest pixel. A pixel in which anything of the garment shows is hidden.

    Args:
        pair (`TryOnPair`): the files.
        recipe (`str`): of `composition.compose_agnostic`.
        size (`tuple[int, int]`, *optional*): height and width of every picture of the row.

    Returns:
        `dict`: images as uint8 arrays (H, W, 3) or (H, W) or the bytes of an RGB file, poses as float32 (18, 3).

    Raises:
        SourceError: "FILE: REASON" for whatever cannot be used: no such file, broken, of a wrong mode or ratio,
            unknown labels, no keypoints, no garment.
    """
    if isinstance(pair, UnusableEntry):
        raise SourceError(UNUSABLE_ENTRY, pair.reason)
    person = _load_worn(pair.person)
    row = {
        "id": pair.id,
        "category": pair.category,
        "source": pair.source,
        "schema_version": SCHEMA_VERSION,
        "person_id": pair.person_id,
        "garment_id": pair.garment_id,
    }
    row |= _person_columns(person, pair.category, recipe, size)
    if isinstance(pair.garment, FlatPhoto):
        return row | _flat_columns(pair.garment, pair.category, size)
    return row | _worn_columns(_load_worn(pair.garment), pair.category, size)


@dataclass(frozen=True)
class _Photo:
    """A `WornPhoto` in memory; `data` are the file's bytes where they show the very pixels of `image`."""

    path: Path
    image: np.ndarray
    data: bytes | None
    parse: np.ndarray
    pose: np.ndarray


def _load_worn(photo: WornPhoto) -> _Photo:
    image, data = _read_photo(photo.image)
    height, width = image.shape[:2]
    pose = _read_pose(photo, height, width)
    labels = _match_photo(_read_gray(photo.parse, ("L", "P")), height, width, photo.parse)
    with _naming(photo.parse, UNKNOWN_LABEL):
        parse = convert_parse(labels, photo.label_map, pose)
    return _Photo(photo.image, image, data, parse, pose)


def _person_columns(photo: _Photo, category: str, recipe: str, size: tuple[int, int] | None) -> dict:
    image, parse, pose, parse_for_hiding = photo.image, photo.parse, photo.pose, photo.parse
    resized = size is not None and image.shape[:2] != size
    if resized:
        garment = label_mask(parse, GARMENT_LABELS[category])
        image, parse = _fit_image(image, size, PERSON_PADDING), _fit_labels(parse, size)
        pose = _fit_pose(pose, *garment.shape, size)
        touched = _fit_share(garment, size) > _INVISIBLE_SHARE
        # No colour of the garment may leak along its edges.
        parse_for_hiding = np.where(touched, PARSE_IDS[GARMENT_LABELS[category][0]], parse)
    with _naming(photo.path, NO_PERSON):
        agnostic_image, agnostic_mask = compose_agnostic(image, parse_for_hiding, pose, category, recipe)
    return {
        "person_image": image if photo.data is None or resized else photo.data,
        "agnostic_image": agnostic_image,
        "agnostic_mask": agnostic_mask,
        "person_pose": pose,
        "person_parse": parse,
    }


def _worn_columns(photo: _Photo, category: str, size: tuple[int, int] | None) -> dict:
    parse, pose = photo.parse, photo.pose
    with _naming(photo.path, EMPTY_GARMENT):
        garment_image = cut_out_garment(photo.image, parse, category)
    if size is not None and parse.shape != size:
        pose = _fit_pose(pose, *parse.shape, size)
        garment_image, parse = _fit_image(garment_image, size, GARMENT_BACKGROUND), _fit_labels(parse, size)
    return {
        "garment_image": garment_image,
        "garment_pose": pose,
        "garment_parse": parse,
        "garment_type": "worn",
    }


def _flat_columns(photo: FlatPhoto, category: str, size: tuple[int, int] | None) -> dict:
    image, _ = _read_photo(photo.image)
    if photo.mask is None:
        with _naming(photo.image, EMPTY_GARMENT):
            garment = separate_from_background(image)
    else:
        values = _read_gray(photo.mask, ("L", "1"))
        garment = _match_photo(values, *image.shape[:2], photo.mask) >= _MASK_THRESHOLD
        if not garment.any():
            raise SourceError(
                EMPTY_GARMENT, f"{photo.mask}: the mask marks no garment, all values are below {_MASK_THRESHOLD}"
            )
    garment_image = np.where(garment[..., None], image, np.uint8(GARMENT_BACKGROUND))
    parse = np.where(garment, np.uint8(PARSE_IDS[_FLAT_LABELS[category]]), np.uint8(PARSE_PADDING))
    if size is not None and parse.shape != size:
        garment_image, parse = _fit_image(garment_image, size, GARMENT_BACKGROUND), _fit_labels(parse, size)
    return {
        "garment_image": garment_image,
        "garment_pose": np.zeros((NUM_KEYPOINTS, 3), np.float32),
        "garment_parse": parse,
        "garment_type": "flat",
    }


# ---- Files


@contextmanager
def _naming(path: Path, kind: str) -> Iterator[None]:
    """Put the file's name before what is wrong with it, and say of what kind that is."""
    try:
        yield
    except ValueError as error:
        raise SourceError(kind, f"{path}: {error}") from error


def _open(path: Path) -> tuple[Image.Image, bytes]:
    """A picture that was read whole, and the bytes of its file."""
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise SourceError(MISSING_FILE, f"{path}: there is no such file") from error
    except OSError as error:  # a folder, or no permission
        raise SourceError(UNREADABLE_IMAGE, f"{path}: cannot be read: {error.strerror}") from error
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            image.getexif()  # readers of the row's file would stumble on it
    # A broken file raises whatever its decoder stumbled on: OSError, SyntaxError, DecompressionBombError and more.
    except Exception as error:
        raise SourceError(UNREADABLE_IMAGE, f"{path}: no picture, or broken or cut short") from error
    return image, data


def _read_photo(path: Path) -> tuple[np.ndarray, bytes | None]:
    """(H, W, 3) uint8, turned as its camera says, and the file's bytes if every reader sees these pixels in them."""
    image, data = _open(path)
    if image.mode != "RGB":
        raise SourceError(WRONG_MODE, f"{path}: a photograph must be an RGB picture, this one has mode {image.mode}")
    upright = image.getexif().get(ExifTags.Base.Orientation, 1) == 1
    pixels = np.asarray(image if upright else ImageOps.exif_transpose(image))
    return pixels, data if upright and image.format in _KEPT_FORMATS else None


def _read_gray(path: Path, modes: tuple[str, ...]) -> np.ndarray:
    """(H, W) uint8: the values of a grey or palette picture, 0 and 255 for black and white."""
    image, _ = _open(path)
    if image.mode not in modes:
        raise SourceError(
            WRONG_MODE, f"{path}: must be a picture of mode {' or '.join(modes)}, this one has mode {image.mode}"
        )
    return np.asarray(image.convert("L") if image.mode == "1" else image)


def _match_photo(values: np.ndarray, height: int, width: int, path: Path) -> np.ndarray:
    """Labels or a mask at the photograph's size; sources sometimes hold them smaller."""
    if values.shape == (height, width):
        return values
    own_height, own_width = values.shape
    # One pixel of rounding in either size is no other ratio.
    if abs(own_width * height / own_height - width) > max(1.0, width / own_width):
        raise SourceError(
            SIZE_MISMATCH,
            f"{path}: of another ratio than its photograph, {own_width} x {own_height} and {width} x {height} pixels",
        )
    return _resize(values, height, width, Image.Resampling.NEAREST)


def _read_pose(photo: WornPhoto, height: int, width: int) -> np.ndarray:
    """(18, 3) float32 in the package's format; at least one point is there."""
    if isinstance(photo.pose, Path):
        if not photo.pose.is_file():
            raise SourceError(MISSING_FILE, f"{photo.pose}: there is no such file")
        with _naming(photo.pose, BAD_KEYPOINTS):
            pose = POSE_READERS[photo.pose_format](photo.pose, height, width)
        name = str(photo.pose)
    else:
        pose, name = photo.pose, f"keypoints of {photo.image}"
        check_pose(pose, name)
    pose = hide_points_outside_image(pose)
    if not (pose[:, 2] > 0).any():
        raise SourceError(NO_KEYPOINTS, f"{name}: nobody was found, all keypoints are missing")
    return pose


# ---- Sizes


def _resize(values: np.ndarray, height: int, width: int, resampling: Image.Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(values).resize((width, height), resampling))


def _padding(height: int, width: int, size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """How many pixels to add above and below, left and right, for the ratio of `size`."""
    rows = max(0, round(width * size[0] / size[1]) - height)
    columns = max(0, round(height * size[1] / size[0]) - width)
    return (rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2)


def _fit_image(image: np.ndarray, size: tuple[int, int], background: int) -> np.ndarray:
    padding = *_padding(*image.shape[:2], size), (0, 0)
    return _resize(np.pad(image, padding, constant_values=background), *size, Image.Resampling.BILINEAR)


def _fit_labels(parse: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    padded = np.pad(parse, _padding(*parse.shape, size), constant_values=PARSE_PADDING)
    return _resize(padded, *size, Image.Resampling.NEAREST)


def _fit_share(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """How much of every pixel of `_fit_image` comes from `mask`, in [0, 1]."""
    padded = np.pad(mask, _padding(*mask.shape, size)).astype(np.float32)
    return _resize(padded, *size, Image.Resampling.BILINEAR)


def _fit_pose(pose: np.ndarray, height: int, width: int, size: tuple[int, int]) -> np.ndarray:
    (top, bottom), (left, right) = _padding(height, width, size)
    fitted = pose.copy()
    fitted[:, 0] = (pose[:, 0] * width + left) / (left + width + right)
    fitted[:, 1] = (pose[:, 1] * height + top) / (top + height + bottom)
    return np.where(pose[:, 2:] > 0, fitted, 0.0).astype(np.float32)
