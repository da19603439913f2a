# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Folders of pictures that come from elsewhere: matched by a protocol's rule or refused, read as it compares them."""

import hashlib
import io
import os
import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from ..files import written_beside
from ..image_files import read_image
from .layout import MODEL, CaseRecord, claim_folder, picture_path
from .protocols import Protocol, describe


PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
_KINDS = ("generated", "reference", "masks", "agnostic")
_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
# Masks of VITON-HD are called so.
_MASK_ENDING = "_mask"
# Values that neither JPEG nor the soft edge of a resized mask explains, and the share of pixels that may have them.
_NEITHER_VALUES = (64, 192)
_MOST_NEITHER = 0.05

# What is wrong, and with which files.
Problems = defaultdict[str, list[str]]


class MatchedPictures(NamedTuple):
    """The files of one case.

    Attributes:
        id: by which they found each other, and the name of the case.
        generated, reference: the pictures.
        masks: the mask of the edited region, None where no masks are given.
        agnostic: the person without the garment, None where no such pictures are given.
    """

    id: str
    generated: Path
    reference: Path
    masks: Path | None
    agnostic: Path | None


def match_folders(
    protocol: Protocol,
    generated: str | Path,
    reference: str | Path,
    masks: str | Path | None = None,
    agnostic: str | Path | None = None,
    show_progress: bool = True,
) -> list[MatchedPictures]:
    """Find each generated picture's reference (and mask) by the protocol's rule, sorted by id; every file is opened.

    Args:
        protocol (`Protocol`): Its rule of names and what it asks of sizes.
        generated (`str` or `Path`): The folder of the pictures to judge: RGB, PNG or JPEG, nothing else in it.
        reference (`str` or `Path`): The folder of the photographs: exactly one for each generated picture.
        masks (`str` or `Path`, *optional*): The folder of grey masks, at least 128 where a picture may differ from its
            photograph, named like the references or with "_mask" behind that.
        agnostic (`str` or `Path`, *optional*): The folder of the people without their garments, named like the
            references: a baseline, judged as the generated pictures are.
        show_progress (`bool`, defaults to `True`): Draw a bar over the cases.

    Raises:
        ValueError: a folder is missing or empty, or the folders do not match. The message holds every problem with its
            files: what is no picture, names that the rule does not fit, two files of one name, files without a
            partner, broken files, transparency, grey or indexed colours, sizes that the protocol does not compare,
            masks that are none.
    """
    problems: Problems = defaultdict(list)
    folders = {name: path for name, path in zip(_KINDS, (generated, reference, masks, agnostic)) if path is not None}
    found = {name: _list_pictures(Path(folder), name, protocol, problems) for name, folder in folders.items()}
    ids = sorted(set.intersection(*(set(paths) for paths in found.values())))
    for name, paths in found.items():
        for other in found:
            if other != name:
                lonely = [paths[case_id].name for case_id in sorted(set(paths) - set(found[other]))]
                problems[f"`{name}` without a partner in `{other}`"].extend(lonely)
    matched = [
        MatchedPictures(case_id, *(found[name][case_id] if name in found else None for name in _KINDS))
        for case_id in ids
    ]
    _check_contents(protocol, matched, problems, show_progress)
    problems = {kind: files for kind, files in problems.items() if files}
    if problems:
        listed = [f"({number}) {kind}: {', '.join(files)}" for number, (kind, files) in enumerate(problems.items(), 1)]
        raise ValueError(
            f"The folders {generated} and {reference} cannot be compared by the protocol `{protocol.name}`:\n"
            + "\n".join(listed)
        )
    return matched


def read_pair(
    protocol: Protocol, generated: str | Path, reference: str | Path, mask: str | Path | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Read a picture and its reference as the protocol compares them.

    Returns:
        `tuple`: the generated picture and the reference, uint8 (H, W, 3), and the mask, bool (H, W), brought to their
        size by the nearest pixel, or None.

    Raises:
        ValueError: a file cannot be read or is not RGB (for the mask: grey), or the sizes cannot be compared.
    """
    images = []
    for name, path in (("generated", generated), ("reference", reference)):
        image = read_image(path, name)
        if image.mode != "RGB":
            raise ValueError(f"`{name}` must be an RGB picture, {path} is {_mode_in_words(image.mode)}.")
        images.append(image)
    generated_image, reference_image = _brought_together(protocol, *images, Path(reference))
    region = None if mask is None else _read_mask(Path(mask), images[0].size, generated_image.size)
    return np.asarray(generated_image), np.asarray(reference_image), region


def import_folders(
    protocol: Protocol,
    folder: str | Path,
    generated: str | Path,
    reference: str | Path,
    masks: str | Path | None = None,
    agnostic: str | Path | None = None,
    show_progress: bool = True,
) -> list[str]:
    """Lay foreign folders out as an evaluation's, see `layout`, so that the same code judges them.

    Where the protocol's FID sees what is compared, the pictures are stored as they are compared (a reference that is
    resized and compressed once more is so here); else as they come. PNG files that stay as they are become links to
    the same data where the file system allows it. A call that was interrupted is repeated and goes on.

    Args:
        protocol (`Protocol`): By which the folder will be judged.
        folder (`str` or `Path`): The evaluation's, made if missing.
        generated, reference, masks, agnostic: See [`match_folders`].
        show_progress (`bool`, defaults to `True`): Draw bars over the cases.

    Returns:
        `list`: the names of the cases, sorted.

    Raises:
        ValueError: the folders do not match, see [`match_folders`]; `folder` holds another evaluation, or
            one of other pictures of these names.
    """
    folder = Path(folder)
    matched = match_folders(protocol, generated, reference, masks, agnostic, show_progress)
    sums = {
        f"{name}_sha256": files_sha256([getattr(pictures, name) for pictures in matched])
        for name in _KINDS
        if getattr(matched[0], name) is not None
    }
    with Image.open(matched[0].generated) as first:
        size = protocol.size or (first.height, first.width)
    settings = {
        # What the pictures are judged by, equal for pictures of several models.
        "data": {"name": "folders", "count": len(matched), "size": list(size)}
        | {name: sums.pop(name) for name in ("reference_sha256", "masks_sha256") if name in sums},
        "model": None,
        **sums,
        "protocol": dict(describe(protocol)),
    }
    claim_folder(folder, settings)
    for pictures in tqdm(matched, desc="import", unit="case", disable=not show_progress):
        if not (folder / "cases" / f"{pictures.id}.json").exists():
            _import_case(protocol, folder, pictures)
    return [pictures.id for pictures in matched]


def files_sha256(paths: list[Path]) -> str:
    """SHA-256 over names and bytes of files."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name} {path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _import_case(protocol: Protocol, folder: Path, pictures: MatchedPictures) -> None:
    places = {MODEL: pictures.generated, "reference": pictures.reference}
    compared = dict(zip(places, read_pair(protocol, pictures.generated, pictures.reference)))
    if pictures.agnostic is not None:
        places["agnostic"] = pictures.agnostic
        # Brought to the size of the generated picture as the reference is.
        compared["agnostic"] = read_pair(protocol, pictures.generated, pictures.agnostic)[1]
    for kind, path in places.items():
        image = read_image(path, kind)
        if protocol.distances_see == "compared":
            image = Image.fromarray(compared[kind])
        _store(image, path, picture_path(folder, kind, pictures.id))
    if pictures.masks is not None:
        mask = read_image(pictures.masks, "mask").convert("L").point(lambda value: 255 * (value >= 128))
        _store(mask, pictures.masks, picture_path(folder, "mask", pictures.id))
    nobody = np.zeros((18, 3), dtype=np.float32)
    # Last: what `layout.case_ids` finds has its pictures.
    CaseRecord(pictures.id, "unknown", "unknown", nobody, nobody, noise_seed=0).write(folder)


def _store(image: Image.Image, source: Path, place: Path) -> None:
    """Write a PNG, or take the file it comes from if that holds the same pixels."""
    with written_beside(place) as partial:
        if source.suffix.lower() == ".png" and image == read_image(source, "picture"):
            partial.unlink(missing_ok=True)
            try:
                os.link(source, partial)
            except OSError:
                shutil.copyfile(source, partial)
        else:
            # Twice as fast as the default, for files a quarter larger.
            image.save(partial, compress_level=1)


# Names


def _list_pictures(folder: Path, name: str, protocol: Protocol, problems: Problems) -> dict[str, Path]:
    """The pictures of a folder by id."""
    if not folder.is_dir():
        raise ValueError(f"`{name}` must be a folder of pictures, there is none at {folder}.")
    paths = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    pictures = [path for path in paths if path.is_file() and path.suffix.lower() in PICTURE_SUFFIXES]
    if not pictures:
        raise ValueError(f"`{name}` must hold pictures ({', '.join(PICTURE_SUFFIXES)}), there are none in {folder}.")
    problems[f"no PNG or JPEG files in `{name}`"].extend(path.name for path in paths if path not in set(pictures))
    by_id = defaultdict(list)
    for path in pictures:
        case_id = _case_id(protocol, path.stem, name)
        if case_id is None:
            problems[f"names in `{name}` without what the protocol finds partners by"].append(path.name)
        else:
            by_id[case_id].append(path)
    for case_id, same in by_id.items():
        if len(same) > 1:
            problems[f"several files of one case in `{name}`"].append(f"{' and '.join(path.name for path in same)}")
    return {case_id: same[0] for case_id, same in by_id.items()}


def _case_id(protocol: Protocol, stem: str, kind: str) -> str | None:
    """What files of one case share; None for a name that the protocol's rule does not fit."""
    if kind == "masks":
        stem = stem.removesuffix(_MASK_ENDING)
    if protocol.name_rule == "catvton":
        first = next((place for place, character in enumerate(stem) if character.isdigit()), None)
        return None if first is None else stem[first : first + 8]
    if protocol.name_rule == "hr-viton" and kind == "generated":
        person, underscore, _ = stem.partition("_")
        return f"{person}_00" if person and underscore else None
    return stem


# Contents


def _check_contents(
    protocol: Protocol, matched: list[MatchedPictures], problems: Problems, show_progress: bool
) -> None:
    sizes = set()
    for pictures in tqdm(matched, desc="check", unit="case", disable=not show_progress):
        generated = _checked_size(pictures.generated, "generated", _complaint_of_colours, problems)
        reference = _checked_size(pictures.reference, "reference", _complaint_of_colours, problems)
        agnostic = mask = None
        if pictures.agnostic is not None:
            agnostic = _checked_size(pictures.agnostic, "agnostic", _complaint_of_colours, problems)
        if pictures.masks is not None:
            mask = _checked_size(pictures.masks, "masks", _complaint_of_a_mask, problems)
        sizes.add(generated)
        for path, size in ((pictures.reference, reference), (pictures.agnostic, agnostic)):
            if generated and size and not _comparable(protocol, generated, size):
                kind = "sizes differ" if protocol.resize_reference is None else "aspect ratios differ"
                names = f"{_with_size(pictures.generated, generated)} and {_with_size(path, size)}"
                problems[f"{kind} (width x height)"].append(names)
        if generated and mask and not _same_aspect(generated, mask):
            names = f"{_with_size(pictures.masks, mask)} for {_with_size(pictures.generated, generated)}"
            problems["masks of another aspect ratio than the picture (width x height)"].append(names)
    sizes = sorted(sizes - {None})
    if protocol.distances is not None and protocol.distances_see == "compared" and len(sizes) > 1:
        counted = ", ".join(f"{width}x{height}" for width, height in sizes)
        problems["`generated` pictures must have one size, there are (width x height)"].append(counted)


def _checked_size(
    path: Path, name: str, complaint: Callable[[Image.Image], str | None], problems: Problems
) -> tuple[int, int] | None:
    """Width and height of a picture, None if it cannot be read; what is wrong with it goes to the problems."""
    try:
        image = read_image(path, name)
    except ValueError:
        problems[f"broken files in `{name}`"].append(path.name)
        return None
    wrong = complaint(image)
    if wrong is not None:
        problems[f"`{name}` of a wrong kind"].append(f"{path.name} {wrong}")
    return image.size


def _complaint_of_colours(image: Image.Image) -> str | None:
    return None if image.mode == "RGB" else f"is {_mode_in_words(image.mode)}, not RGB"


def _complaint_of_a_mask(image: Image.Image) -> str | None:
    if image.mode not in ("1", "L", "RGB"):
        return f"is {_mode_in_words(image.mode)}, not grey"
    values = np.asarray(image.convert("RGB"))
    if (values != values[..., :1]).any():
        return "is a picture in colours, not a mask"
    low, high = _NEITHER_VALUES
    if ((values >= low) & (values < high)).mean() > _MOST_NEITHER:
        return "is a grey picture, not a mask of 0 and 255"
    if not (values >= 128).any():
        return f"marks nothing: its highest value is {values.max()}, the region is where it is at least 128"
    return None


def _mode_in_words(mode: str) -> str:
    words = {"L": "grey", "1": "black and white", "P": "in indexed colours", "RGBA": "RGB with transparency"}
    return words.get(mode, f"of mode {mode}")


def _with_size(path: Path, size: tuple[int, int]) -> str:
    return f"{path.name} {size[0]}x{size[1]}"


# Sizes, as PIL has them: (width, height)


def _comparable(protocol: Protocol, generated: tuple[int, int], reference: tuple[int, int]) -> bool:
    if protocol.size is not None or generated == reference:
        return True
    return protocol.resize_reference is not None and _same_aspect(generated, reference)


def _same_aspect(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether a side brought to the other's height has its width, to within a pixel."""
    return abs(other[0] * one[1] / other[1] - one[0]) < 1


def _brought_together(
    protocol: Protocol, generated: Image.Image, reference: Image.Image, reference_path: Path
) -> tuple[Image.Image, Image.Image]:
    if protocol.size is not None:
        size = protocol.size[::-1]
        generated = generated.resize(size, _FILTERS[protocol.resize_generated])
        return generated, reference.resize(size, _FILTERS[protocol.resize_reference])
    if generated.size == reference.size:
        return generated, reference
    if not _comparable(protocol, generated.size, reference.size):
        width, height = generated.size
        raise ValueError(
            f"`reference` must have the size of the generated picture for the protocol `{protocol.name}`"
            f"{'' if protocol.resize_reference is None else ' or one of the same aspect ratio'}, height {height} and "
            f"width {width}, {reference_path} has {reference.height} and {reference.width}."
        )
    reference = reference.resize(generated.size, _FILTERS[protocol.resize_reference])
    if protocol.reencode_reference == "jpeg" and reference_path.suffix.lower() in (".jpg", ".jpeg"):
        reference = _through_jpeg(reference)
    return generated, reference


def _through_jpeg(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG")
    return Image.open(file)


def _read_mask(path: Path, file_size: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """The mask of a picture whose file has `file_size`, brought to `size`, at which the protocol compares it."""
    image = read_image(path, "mask")
    wrong = _complaint_of_a_mask(image)
    if wrong is not None:
        raise ValueError(f"`mask` must be grey, 255 in the edited region and 0 elsewhere, {path} {wrong}.")
    if not _same_aspect(file_size, image.size):
        raise ValueError(
            f"`mask` must have the aspect ratio of the picture, height {file_size[1]} and width {file_size[0]}, "
            f"{path} has {image.height} and {image.width}."
        )
    return np.asarray(image.convert("L").resize(size, Image.Resampling.NEAREST)) >= 128
