# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""One upload of a folder to the Hub, as a program of its own: `python upload.py '<request as JSON>'`.

`BackgroundPush` starts it. A process, other than a thread, can be ended while it hangs (huggingface_hub waits for an
answer without limit), takes no time from the training loop's interpreter and cannot crash it. It imports neither torch
nor this package. It ends by itself when its standard input does, which is when the training process is gone.

The request: the arguments of `upload`. The answer, one line of JSON on the standard output: `reason`, null if all went
well, and `is_final`, whether trying again is useless.
"""

import glob
import json
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from huggingface_hub import CommitInfo, HfApi, get_token, hf_hub_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
)


# In the repository's root: what pushes to the root own.
OWNED_FILES_NAME = "pushed_files.json"
# Too many requests, a commit of somebody else in between, and timeouts pass; other refusals do not.
_PASSING_STATUS = (408, 409, 412, 425, 429)


def upload(
    repo_id: str,
    folder: str,
    message: str,
    path_in_repo: str = "",
    private: bool = False,
    repo_type: str = "model",
    revision: str | None = None,
    create_pr: bool = False,
    token: str | None = None,
) -> CommitInfo:
    """Make `path_in_repo` of the repository hold the files of `folder`, creating the repository if there is none.

    Below a path, all other files are removed. At the root only those are that an earlier push to the root brought;
    which they are is written into `folder`. A `revision` other than a pull request is a branch, made if there is none.
    """
    api = HfApi(token=token)
    sdk = {"space_sdk": "gradio"} if repo_type == "space" else {}
    api.create_repo(repo_id, private=private, repo_type=repo_type, exist_ok=True, **sdk)
    if revision is not None and not revision.startswith("refs/"):
        api.create_branch(repo_id, branch=revision, repo_type=repo_type, exist_ok=True)
    if path_in_repo:
        stale = ["*"]
    else:
        stale = [glob.escape(path) for path in owned_files(repo_id, repo_type, revision, token)]
        write_owned_files(Path(folder))
    return api.upload_folder(
        repo_id=repo_id,
        folder_path=folder,
        path_in_repo=path_in_repo,
        commit_message=message,
        repo_type=repo_type,
        revision=revision,
        create_pr=create_pr,
        # Files that are uploaded are never removed, whatever the patterns say.
        delete_patterns=stale or None,
    )


def owned_files(
    repo_id: str, repo_type: str = "model", revision: str | None = None, token: str | None = None
) -> list[str]:
    """Paths of the files that earlier pushes to the root brought."""
    with tempfile.TemporaryDirectory() as cache:
        try:
            path = hf_hub_download(
                repo_id, OWNED_FILES_NAME, repo_type=repo_type, revision=revision, token=token, cache_dir=cache
            )
            return json.loads(Path(path).read_text())
        # No push so far, or a file that somebody edited.
        except (RemoteEntryNotFoundError, json.JSONDecodeError):
            return []


def write_owned_files(folder: Path) -> None:
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    (folder / OWNED_FILES_NAME).write_text(json.dumps(sorted({*paths, OWNED_FILES_NAME}), indent=2) + "\n")


def explain(error: Exception, repo_id: str) -> tuple[str, bool]:
    """The reason of a failure in one line, and whether trying again is useless."""
    if isinstance(error, OfflineModeIsEnabled):
        return "the environment says to stay offline (HF_HUB_OFFLINE)", True
    if isinstance(error, GatedRepoError):
        return f"access to {repo_id} is gated: accept its terms on the Hub", True
    if isinstance(error, HfHubHTTPError) and error.response is not None:
        status = error.response.status_code
        if status == 401:
            return "the Hub does not accept the token (`hf auth login`)", True
        if status == 403:
            return f"the token may not write to {repo_id}", True
        message = one_line(error.server_message or str(error))
        return f"the Hub answered {status}: {message}", status < 500 and status not in _PASSING_STATUS
    message = one_line(str(error))
    # The Hub refuses a card whose front matter is wrong with a ValueError.
    return f"{type(error).__name__}: {message}", isinstance(error, (HFValidationError, ValueError))


def one_line(message: str) -> str:
    """A message without line breaks, its beginning if it is long, and without the full stop that a sentence adds."""
    return " ".join(message.split())[:500].rstrip(".") or "no message"


def _end_with_standard_input() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


def main(request: dict[str, Any]) -> None:
    # A signal to the whole process group is the training process's to answer.
    for name in ("SIGINT", "SIGTERM", "SIGUSR1"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    threading.Thread(target=_end_with_standard_input, daemon=True).start()
    reason, is_final = None, False
    if get_token() is None:
        reason, is_final = "there is no token (`hf auth login`, or the environment variable HF_TOKEN)", True
    else:
        try:
            upload(**request)
        except Exception as error:
            reason, is_final = explain(error, request["repo_id"])
    print(json.dumps({"reason": reason, "is_final": is_final}), flush=True)
    # Threads of an upload that failed are not waited for.
    os._exit(0)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
