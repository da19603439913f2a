# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""A folder published on the Hub as it is, after it was found to be whole: it loads, it works, its card is right."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from .card_checks import DATASET, MODEL, SPACE, ask_hub_about_card, find_card_problems
from .file_checks import find_file_problems
from .load_checks import find_kind, try_out
from .modular_files import name_repository
from .push import stage_files
from .upload import explain, upload


@dataclass(frozen=True)
class Validation:
    """What was found out about a folder.

    Attributes:
        repo_type: of the repository that it makes on the Hub: "model", "dataset" or "space".
        problems: each a line; with any of them it is not published.
        done: what was tried and went well, each a line.
    """

    repo_type: str
    problems: list[str]
    done: list[str]


def validate(folder: Path) -> Validation:
    """Find everything that is wrong with a folder, without the Hub: files, card, and that its content loads and works.

    A pipeline makes one picture, a network runs once, rows of a data set are checked. Code in the folder is run if its
    model_index.json names it.

    Raises:
        ValueError: there is no such folder.
    """
    if not folder.is_dir():
        raise ValueError(f"`folder` must be a folder, there is none at {folder}.")
    kind = find_kind(folder)
    repo_type = kind if kind in (SPACE, DATASET) else MODEL
    problems = [*find_file_problems(folder), *find_card_problems(folder, repo_type)]
    if kind is None:
        problems.append(
            "it is neither a pipeline (model_index.json), a stage (unet/), adapters, a network of transformers "
            "(config.json), a data set, nor a Space (`sdk` in README.md)"
        )
        return Validation(repo_type, problems, [])
    trouble, done = try_out(folder, kind)
    return Validation(repo_type, problems + trouble, done)


def check_card_on_hub(folder: Path, repo_type: str, repo_id: str) -> list[str]:
    """What the Hub says against a folder's card, each a line.

    Raises:
        OSError: the Hub does not answer.
    """
    try:
        return ask_hub_about_card(folder, repo_type)
    except Exception as error:
        raise OSError(f"The Hub was not asked about the card: {explain(error, repo_id)[0]}.") from error


def publish(
    folder: Path,
    repo_id: str,
    repo_type: str = MODEL,
    private: bool = False,
    revision: str | None = None,
    create_pr: bool = False,
    message: str | None = None,
    token: str | None = None,
) -> str:
    """Upload a folder; of files that are gone, those are removed that an earlier push brought.

    Args:
        folder (`Path`): A folder exactly as it is to lie on the Hub. It stays as it is. Only an index for
            Modular Diffusers, if it has one, is made to name `repo_id`.
        repo_id (`str`): "user/name"; made if there is none.
        repo_type (`str`): "model", "dataset" or "space".
        private (`bool`): Make a new repository private.
        revision (`str`, *optional*): Branch, made if there is none; the main one if not given.
        create_pr (`bool`): Open a pull request in place of a commit.
        message (`str`, *optional*): Of the commit.
        token (`str`, *optional*): Of the Hub; the one of `hf auth login` or `HF_TOKEN` if not given.

    Returns:
        `str`: URL of the commit or of the pull request.

    Raises:
        OSError: the Hub cannot be reached or does not take it.
    """
    message = message or f"Push {folder.resolve().name}"
    with tempfile.TemporaryDirectory() as temporary:
        staged = Path(temporary) / "staged"
        stage_files(folder, staged)
        name_repository(staged, repo_id)
        try:
            commit = upload(
                repo_id,
                str(staged),
                message,
                private=private,
                repo_type=repo_type,
                revision=revision,
                create_pr=create_pr,
                token=token,
            )
        except Exception as error:
            raise OSError(f"Nothing was pushed to {repo_id}: {explain(error, repo_id)[0]}.") from error
    return commit.pr_url or commit.commit_url
