# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Where the checkpoints lie that come with the package."""

from pathlib import Path


DEFAULT_CHECKPOINT = "tryon-cascade-first"
# Of a pipeline, and of a single network.
_INDEX_FILES = ("model_index.json", "config.json")


def shipped_checkpoint(name: str = DEFAULT_CHECKPOINT) -> Path:
    """The folder of a checkpoint that comes with the package, for the `from_pretrained` of its class.

    Args:
        name (`str`, *optional*, defaults to `"tryon-cascade-first"`): A folder of `hub_cards/`.

    Raises:
        ValueError: no checkpoint of that name comes with the package.
    """
    folders = [folder / name for folder in _card_folders()]
    for folder in folders:
        if any((folder / index).is_file() for index in _INDEX_FILES):
            return folder
    raise ValueError(f"`name` must be a checkpoint that comes with the package, got {name!r}; looked in {folders}.")


def template_folder() -> Path:
    """The folder of what repositories on the Hub are made from: the templates of cards, and files for all of them."""
    return next(folder for folder in _card_folders() if folder.is_dir()) / "templates"


def _card_folders() -> tuple[Path, Path]:
    """Where `hub_cards` may lie: inside the package once it is installed, beside it in a checkout."""
    package = Path(__file__).resolve().parent
    return package / "hub_cards", package.parent / "hub_cards"
