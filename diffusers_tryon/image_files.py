# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Reading pictures that people give and writing pictures whole or not at all."""

import os
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from diffusers_tryon.files import written_beside


# More than any network takes: a file of some kilobytes may hold a picture that fills the memory.
_MAX_PIXELS = 50_000_000


def read_image(file: str | Path | BytesIO, name: str) -> Image.Image:
    """Read a picture, turned as its camera says. Mode and transparency stay for `TryOnImageProcessor` to judge.

    Args:
        file (`str`, `Path` or `BytesIO`): The file, or its content.
        name (`str`): What errors call the picture.

    Raises:
        ValueError: there is no such file, or it is no picture that can be read whole, or it has more than 50 million pixels.
    """
    what = "what was sent" if isinstance(file, BytesIO) else file
    if not isinstance(file, BytesIO) and not Path(file).is_file():
        raise ValueError(f"`{name}` must be a picture file, there is none at {file}.")
    try:
        with Image.open(file) as image:
            if image.format == "EPS":
                raise UnidentifiedImageError("an EPS file is a program, which PIL would run")
            if image.width * image.height > _MAX_PIXELS:
                raise Image.DecompressionBombError(f"It has {image.width} x {image.height} pixels.")
            return ImageOps.exif_transpose(image)
    except UnidentifiedImageError as error:
        raise ValueError(f"`{name}` must be a picture file such as PNG or JPEG, {what} is not.") from error
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"`{name}` must have at most {_MAX_PIXELS // 1_000_000} million pixels, {what} has more. {error}"
        ) from error
    # A broken file raises whatever its decoder stumbled on: OSError, SyntaxError and more.
    except Exception as error:
        raise ValueError(f"`{name}` could not be read, {what} is broken or cut short: {error}") from error


def check_image_path(path: str | Path, name: str) -> None:
    """Raise a `ValueError` naming the argument `name` unless a picture can be written at `path`.

    For asking before a long computation. Missing folders are no error: `write_image` makes them.
    """
    path = Path(path)
    if Image.registered_extensions().get(path.suffix.lower()) not in Image.SAVE:
        raise ValueError(f"`{name}` must end in .png, .jpg or another picture format, got {str(path)!r}.")
    if path.is_dir():
        raise ValueError(f"`{name}` must be a file, {path} is a folder.")
    parent = next(folder for folder in path.absolute().parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise ValueError(f"`{name}` cannot be written, {parent} is no folder that you may write to.")


def write_image(image: Image.Image, path: str | Path) -> None:
    """Write a picture in the format of the path's suffix: beside its place, then renamed into it.

    Folders that are missing are made.
    """
    with written_beside(Path(path)) as partial:
        image.save(partial)
