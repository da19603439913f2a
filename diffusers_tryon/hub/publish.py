# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""A folder published on the Hub as it is."""

import tempfile
from pathlib import Path

from .push import stage_files
from .upload import explain, upload


def publish(
    folder: Path,
    repo_id: str,
    private: bool = False,
    revision: str | None = None,
    create_pr: bool = False,
    message: str | None = None,
    token: str | None = None,
) -> str:
    """Upload a folder; of files that are gone, those are removed that an earlier push brought.

    Args:
        folder (`Path`): A folder exactly as it is to lie on the Hub. It stays as it is.
        repo_id (`str`): "user/name"; made if there is none.
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
        try:
            commit = upload(
                repo_id,
                str(staged),
                message,
                private=private,
                revision=revision,
                create_pr=create_pr,
                token=token,
            )
        except Exception as error:
            raise OSError(f"Nothing was pushed to {repo_id}: {explain(error, repo_id)[0]}.") from error
    return commit.pr_url or commit.commit_url
