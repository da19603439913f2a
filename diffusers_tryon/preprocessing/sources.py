# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Files of folders and of repositories on the Hub, and what is said when they cannot be had."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    HTTPError,  # what a connection that breaks off raises; of httpx or httpx2, as huggingface_hub is built on
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)


HUB_OPTIONS = ("revision", "cache_dir", "token", "local_files_only")
WITHOUT_THE_HUB = (
    'What comes with the package needs no Hub: `TryOnPreprocessor.from_pretrained("offline")`, on the command line '
    "`--preprocessor offline`."
)


def check_hub_options(options: Mapping[str, Any]) -> None:
    """Raise a `ValueError` for options that are none of the Hub's."""
    unknown = sorted(set(options) - set(HUB_OPTIONS))
    if unknown:
        raise ValueError(f"Unknown options {', '.join(unknown)}; those of the Hub are {', '.join(HUB_OPTIONS)}.")


@contextmanager
def hub_errors_explained(source: str | Path) -> Iterator[None]:
    """Turn what huggingface_hub raises into errors that say what to do.

    Raises:
        ValueError: there is no such repository, revision or file, or no access to it.
        OSError: the Hub cannot be reached and the cache does not hold the files.
    """
    try:
        yield
    except HFValidationError as error:
        raise ValueError(
            f'`source` must be a folder or the id of a repository on the Hub, "user/name", got {str(source)!r}.'
        ) from error
    except GatedRepoError as error:
        raise ValueError(
            f"The repository {source} is gated: accept its terms on its page on the Hub, then log in with "
            f"`hf auth login` or pass `token`. {WITHOUT_THE_HUB}"
        ) from error
    except RepositoryNotFoundError as error:
        raise ValueError(
            f"`source` {str(source)!r} is neither a folder nor a repository on the Hub that may be read. Check its "
            "name; for a private repository log in with `hf auth login` or pass `token`."
        ) from error
    except RevisionNotFoundError as error:
        raise ValueError(f"`revision` must be a branch, tag or commit of {source}: {error}") from error
    except LocalEntryNotFoundError as error:
        raise OSError(
            f"The files of {source} are not in the cache, and the Hub cannot be reached or `local_files_only` is set. "
            f"{WITHOUT_THE_HUB}"
        ) from error
    except (OSError, HTTPError) as error:
        raise OSError(f"The files of {source} could not be downloaded ({error}). {WITHOUT_THE_HUB}") from error


def fetch(source: str | Path, patterns: Sequence[str], **hub_options: Any) -> Path:
    """The folder that holds the files: `source` itself, or a snapshot of a repository on the Hub.

    Args:
        source (`str` or `Path`): A folder or the id of a repository, "user/name".
        patterns (`Sequence[str]`): The files to download, such as "human_parser/*"; what the repository has of them.
        **hub_options: See `HUB_OPTIONS`.

    Raises:
        ValueError: there is no such folder or repository, or no access to it.
        OSError: the Hub cannot be reached and the cache holds nothing of the repository.
    """
    check_hub_options(hub_options)
    if Path(source).is_dir():
        return Path(source)
    if isinstance(source, Path) or Path(source).exists():
        raise ValueError(f"`source` must be a folder or the id of a repository on the Hub, got {str(source)!r}.")
    with hub_errors_explained(source):
        return Path(snapshot_download(source, allow_patterns=list(patterns), **hub_options))


def fetch_network(source: str | Path, subfolder: str = "", **hub_options: Any) -> Path:
    """The folder that holds a network of transformers and its image processor, see [`fetch`].

    Weights are taken as safetensors; as a pickle, which transformers reads with `weights_only`, if there are no
    others.
    """
    prefix = f"{subfolder}/" if subfolder else ""
    settings = [f"{prefix}config.json", f"{prefix}preprocessor_config.json"]
    weights = [f"{prefix}model.safetensors", f"{prefix}model-*-of-*.safetensors", f"{prefix}*.safetensors.index.json"]
    folder = fetch(source, settings + weights, **hub_options) / subfolder
    if not list(folder.glob("model*.safetensors")):
        folder = fetch(source, settings + [f"{prefix}pytorch_model*.bin*"], **hub_options) / subfolder
    return folder


def read_json_object(folder: Path, name: str, source: str | Path) -> dict[str, Any]:
    """Read a file of a folder, which was fetched from `source`, that must hold a JSON object.

    Raises:
        ValueError: there is no such file, or it holds something else.
    """
    path = folder / name
    if not path.is_file():
        raise ValueError(f"`source` must hold the file {name}, {source} has none in {folder}.")
    try:
        content = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"The file {path} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"The file {path} must hold a JSON object, got {type(content).__name__}.")
    return content
