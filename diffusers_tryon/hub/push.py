# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Pushing folders to the Hub while training goes on, without any way to stop it."""

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple


logger = logging.getLogger(__name__)

# Never uploaded, as files or as folders: states of the optimiser and batches that made a loss infinite.
EXCLUDED = ("optimizer*", "failed*", "tmp-*")
# Smaller files are copied, because some (cards, JSON) are rewritten in place.
_LINKED_FROM_BYTES = 1 << 20


class _Push(NamedTuple):
    folder: Path
    path_in_repo: str
    message: str


class _Outcome(NamedTuple):
    reason: str | None
    is_final: bool


class BackgroundPush:
    """Uploads folders to one repository, one after another, in a process beside the training process.

    What goes wrong is logged as a warning, once as long as the reason stays the same, and counted; nothing is raised.

    Args:
        repo_id (`str`): "user/name"; created if there is none.
        private (`bool`): Make a new repository private.
        staging_dir (`Path`): A folder of its own for the waiting pushes, on the file system of what is pushed, where
            large files are hard links. It is emptied.
        pauses (`Sequence[float]`): Seconds before the second, third ... attempt of a push.
        attempt_seconds (`float`): An attempt that takes longer is ended.

    Attributes:
        pushed (`int`): Pushes that arrived.
        failed (`int`): Pushes that were given up.
    """

    def __init__(
        self,
        repo_id: str,
        private: bool,
        staging_dir: Path,
        pauses: Sequence[float] = (5, 30, 120, 600),
        attempt_seconds: float = 7200,
    ):
        self.repo_id, self.private, self.staging_dir = repo_id, private, staging_dir
        self.pauses, self.attempt_seconds = tuple(pauses), attempt_seconds
        self.pushed = self.failed = 0
        self._number = 0
        self._last_reason: str | None = None
        # What was warned of since the last push that arrived.
        self._warned: set[tuple[str, str]] = set()
        # All below are guarded by this condition. Waiting pushes by their path in the repository, oldest first.
        self._changed = threading.Condition()
        self._waiting: dict[str, _Push] = {}
        self._current: _Push | None = None
        self._process: subprocess.Popen | None = None
        self._is_closing = self._is_abandoned = False
        # Paths whose newest push has not arrived.
        self._missing: set[str] = set()
        shutil.rmtree(staging_dir, ignore_errors=True)
        self._thread = threading.Thread(target=self._work, name="push to the Hub", daemon=True)
        self._thread.start()

    def push(self, folder: Path, path_in_repo: str, message: str) -> None:
        """Have `path_in_repo` hold what `folder` holds now; returns at once.

        A push that still waits for the same path is dropped. `folder` may be removed afterwards; its files of 1 MiB
        and more may be replaced, but not changed in place.

        Args:
            folder (`Path`): Its files, without those named in `EXCLUDED`.
            path_in_repo (`str`): "" is the root, where files of earlier pushes that are no longer there are removed,
                and no others. Any other path belongs to the pushes as a whole.
            message (`str`): Of the commit.
        """
        with self._changed:
            self._missing.add(path_in_repo)
        self._number += 1
        staged = self.staging_dir / f"{self._number:06d}"
        try:
            stage_files(folder, staged)
        except OSError as error:
            shutil.rmtree(staged, ignore_errors=True)
            self._give_up(message, f"its files cannot be set aside in {self.staging_dir}: {error}")
            return
        with self._changed:
            dropped = self._waiting.pop(path_in_repo, None)
            self._waiting[path_in_repo] = _Push(staged, path_in_repo, message)
            self._changed.notify_all()
        if dropped is not None:
            shutil.rmtree(dropped.folder, ignore_errors=True)

    def close(self, timeout_seconds: float, stop: Callable[[], bool] = lambda: False) -> list[str]:
        """Wait at most so long for what is on its way, end the rest, and report it. A second call does nothing.

        Args:
            timeout_seconds (`float`): 0 does not wait.
            stop: Asked twice a second whether to leave off waiting, as when the program is told to end.

        Returns:
            `list[str]`: Paths in the repository whose newest push has not arrived.
        """
        if not self._thread.is_alive():
            return sorted(self._missing)
        deadline = time.monotonic() + timeout_seconds
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
            while (self._waiting or self._current) and time.monotonic() < deadline and not stop():
                self._changed.wait(min(0.5, max(0.0, deadline - time.monotonic())))
            if self._waiting or self._current:
                self._is_abandoned = True
                self._waiting.clear()
                if self._process is not None:
                    self._process.kill()
                self._changed.notify_all()
        self._thread.join()
        shutil.rmtree(self.staging_dir, ignore_errors=True)
        missing = sorted(self._missing)
        if missing:
            places = ", ".join(path or "the main folder" for path in missing)
            reason = f"; the last failure: {self._last_reason}" if self._last_reason else ""
            logger.warning(f"Not pushed to {self.repo_id}: the newest state of {places}{reason}.")
        return missing

    def _work(self) -> None:
        while (push := self._take()) is not None:
            self._push_with_retries(push)
            shutil.rmtree(push.folder, ignore_errors=True)
            with self._changed:
                self._current = None
                self._changed.notify_all()

    def _take(self) -> _Push | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closing)
            if not self._waiting:
                return None
            self._current = self._waiting.pop(next(iter(self._waiting)))
            return self._current

    def _push_with_retries(self, push: _Push) -> None:
        for pause in (*self.pauses, None):
            outcome = self._attempt(push)
            if outcome.reason is None:
                self._arrived(push)
                return
            if outcome.is_final or pause is None:
                self._give_up(push.message, outcome.reason)
                return
            self._warn("failed and is tried again", push.message, outcome.reason)
            with self._changed:
                self._changed.wait_for(lambda: self._is_abandoned, pause)
                if self._is_abandoned or push.path_in_repo in self._waiting:
                    return

    def _attempt(self, push: _Push) -> _Outcome:
        request = {**push._asdict(), "folder": str(push.folder), "repo_id": self.repo_id, "private": self.private}
        # -P: the folder of the program holds modules of ours that must not hide others of the same name.
        program = [sys.executable, "-P", str(Path(__file__).with_name("upload.py")), json.dumps(request)]
        environment = {**os.environ, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        with tempfile.TemporaryFile("w+") as answer, tempfile.TemporaryFile("w+") as errors:
            with self._changed:
                if self._is_abandoned:
                    return _Outcome("there was no time left", True)
                try:
                    self._process = subprocess.Popen(
                        program, stdin=subprocess.PIPE, stdout=answer, stderr=errors, env=environment
                    )
                except OSError as error:
                    return _Outcome(f"the upload cannot be started: {error}", False)
            try:
                code = self._process.wait(self.attempt_seconds)
            except subprocess.TimeoutExpired:
                return _Outcome(f"it took longer than {self.attempt_seconds:g} seconds", False)
            finally:
                self._end_process()
            answer.seek(0)
            lines = answer.read().splitlines()
            if code == 0 and lines:
                return _Outcome(**json.loads(lines[-1]))
            errors.seek(0)
            last_line = (errors.read().strip().splitlines() or ["no message"])[-1]
            return _Outcome(f"the upload ended with code {code}: {last_line}", self._is_abandoned)

    def _end_process(self) -> None:
        with self._changed:
            process, self._process = self._process, None
        process.kill()
        process.wait()
        process.stdin.close()

    def _arrived(self, push: _Push) -> None:
        self.pushed += 1
        self._last_reason = None
        self._warned.clear()
        with self._changed:
            if push.path_in_repo not in self._waiting:
                self._missing.discard(push.path_in_repo)

    def _give_up(self, message: str, reason: str) -> None:
        self.failed += 1
        if not self._is_abandoned:
            self._warn("was given up; training goes on", message, reason)

    def _warn(self, what: str, message: str, reason: str) -> None:
        if (what, reason) not in self._warned:
            logger.warning(f"The push {message!r} to {self.repo_id} {what}: {reason}.")
        self._warned.add((what, reason))
        self._last_reason = reason


def stage_files(folder: Path, staged: Path) -> None:
    """Give `staged` the files of `folder` that may be uploaded, large ones as hard links where that is possible.

    Raises:
        OSError: the disk is full, or there is nothing to upload, which would remove what was there.
    """
    staged.mkdir(parents=True)
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if not path.is_file() or any(fnmatch(part, pattern) for part in relative.parts for pattern in EXCLUDED):
            continue
        target = staged / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        # A symbolic link, as in the Hub's cache, stands for its file.
        source = path.resolve()
        if source.stat().st_size >= _LINKED_FROM_BYTES:
            try:
                os.link(source, target)
                continue
            except OSError:
                pass  # another file system, or one without links
        shutil.copyfile(source, target)
    if not any(staged.iterdir()):
        raise FileNotFoundError(f"there are no files in {folder}")
