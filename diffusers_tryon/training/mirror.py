# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Copies of checkpoints on another file system, for machines whose own disk does not outlive them."""

import logging
import os
import posixpath
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path

import fsspec
from fsspec import AbstractFileSystem

from diffusers_tryon.training.checkpoints import MANIFEST_NAME, find_damage


logger = logging.getLogger(__name__)


def open_mirror(url: str) -> tuple[AbstractFileSystem, str]:
    """The file system of a URL and the path in it.

    Args:
        url: what fsspec understands: "s3://bucket/folder", "gs://...", "hf://buckets/...", "file:///...".

    Raises:
        ValueError: no such protocol, or the package for it is not installed.
    """
    try:
        return fsspec.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise ValueError(f"`checkpoint_mirror` {url} cannot be opened: {error}") from error


class CheckpointMirror:
    """Copies checkpoints to a mirror in a thread beside training, and keeps the newest of them there.

    Nothing is raised into training: what goes wrong is tried again and logged as a warning. A checkpoint of the mirror
    is complete when it has its manifest, which is copied last.

    Args:
        url: see `open_mirror`.
        keep: how many complete checkpoints stay on the mirror.
        staging_dir: a folder of its own on the disk of the checkpoints, for links to what is being copied.
        pauses: seconds before the second, third ... attempt.
    """

    def __init__(self, url: str, keep: int, staging_dir: Path, pauses: Sequence[float] = (5, 30, 120)):
        self.url, self.keep, self.staging_dir, self.pauses = url, keep, staging_dir, tuple(pauses)
        self.file_system, self.folder = open_mirror(url)
        self._changed = threading.Condition()
        self._waiting: Path | None = None
        self._is_busy = self._is_closing = self._is_abandoned = False
        shutil.rmtree(staging_dir, ignore_errors=True)
        threading.Thread(target=self._work, name="checkpoint mirror", daemon=True).start()

    def copy(self, checkpoint: Path) -> None:
        """Have the mirror hold a checkpoint; returns at once. One that still waits is passed over."""
        staged = self.staging_dir / checkpoint.name
        try:
            # Links: the checkpoint may be removed while it is copied.
            shutil.copytree(checkpoint, staged, copy_function=_link_or_copy, dirs_exist_ok=True)
        except OSError as error:  # a full disk, where there are no links
            shutil.rmtree(staged, ignore_errors=True)
            logger.warning("%s is not copied to %s, it cannot be set aside: %r", checkpoint.name, self.url, error)
            return
        with self._changed:
            passed_over, self._waiting = self._waiting, staged
            self._changed.notify_all()
        if passed_over is not None:
            shutil.rmtree(passed_over, ignore_errors=True)

    def close(self, timeout_seconds: float) -> bool:
        """Wait at most so long for what is being copied, and warn of what did not arrive; returns whether all did."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
            arrived = self._changed.wait_for(lambda: not self._is_busy and self._waiting is None, timeout_seconds)
            self._is_abandoned = not arrived
            self._changed.notify_all()
        if arrived:
            shutil.rmtree(self.staging_dir, ignore_errors=True)
        else:
            logger.warning("The newest checkpoint was not copied to %s in time; it is in the run's folder.", self.url)
        return arrived

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting is not None or self._is_closing)
                if self._waiting is None:
                    return
                staged, self._waiting, self._is_busy = self._waiting, None, True
            self._copy_with_retries(staged)
            shutil.rmtree(staged, ignore_errors=True)
            with self._changed:
                self._is_busy = False
                self._changed.notify_all()

    def _copy_with_retries(self, staged: Path) -> None:
        for pause in (*self.pauses, None):
            try:
                self._copy(staged)
                return
            except Exception as error:  # every file system has errors of its own
                what = "was given up; training goes on" if pause is None else "failed and is tried again"
                logger.warning("The copy of %s to %s %s: %r", staged.name, self.url, what, error)
            with self._changed:
                if pause is None or self._changed.wait_for(lambda: self._is_abandoned, pause):
                    return

    def _copy(self, staged: Path) -> None:
        target = posixpath.join(self.folder, staged.name)
        if self.file_system.exists(target):
            self.file_system.rm(target, recursive=True)
        paths = [path for path in sorted(staged.rglob("*")) if path.is_file() and path.name != MANIFEST_NAME]
        for path in [*paths, staged / MANIFEST_NAME]:
            remote = posixpath.join(target, path.relative_to(staged).as_posix())
            self.file_system.makedirs(posixpath.dirname(remote), exist_ok=True)
            self.file_system.put_file(str(path), remote)
        for old in complete_checkpoints(self.file_system, self.folder)[: -self.keep]:
            # Where the mirror has later steps, of a run that was begun anew, the copy just made is the one to keep.
            if posixpath.basename(old) != staged.name:
                self.file_system.rm(old, recursive=True)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copyfile(source, target)


def complete_checkpoints(file_system: AbstractFileSystem, folder: str) -> list[str]:
    """Checkpoints on a mirror that have their manifest, oldest first."""
    file_system.invalidate_cache()
    if not file_system.exists(folder):
        return []
    manifests = file_system.glob(posixpath.join(folder, "step-*", MANIFEST_NAME))
    return sorted(posixpath.dirname(manifest) for manifest in manifests)


def fetch_newest_checkpoint(url: str, run_dir: Path) -> Path | None:
    """Bring a mirror's newest checkpoint into a run that has none; those that arrive damaged are passed over.

    Returns:
        The checkpoint's folder in the run, or `None` if the mirror has none.

    Raises:
        ValueError: see `open_mirror`.
        OSError: the mirror cannot be read.
    """
    file_system, folder = open_mirror(url)
    for remote in reversed(complete_checkpoints(file_system, folder)):
        final = run_dir / "checkpoints" / posixpath.basename(remote)
        temporary = final.with_name(f"tmp-{final.name}")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.parent.mkdir(parents=True, exist_ok=True)
        for path in file_system.find(remote):
            local = temporary / posixpath.relpath(path, remote)
            local.parent.mkdir(parents=True, exist_ok=True)
            file_system.get_file(path, str(local))
        os.replace(temporary, final)
        damage = find_damage(final)
        if damage is None:
            return final
        logger.warning("The checkpoint %s of %s is broken and left out: %s.", final.name, url, damage)
        shutil.rmtree(final)
    return None
