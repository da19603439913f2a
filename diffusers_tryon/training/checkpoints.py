# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Checkpoint folders of a run that survive a kill, a power failure or a full disk at any moment.

`<run>/checkpoints/step-00000500` is a checkpoint. It gets that name in one rename, when all of its files and last of
all `manifest.json`, with their sizes and checksums, are on the disk. Whatever is being written or removed is called
`tmp-*`. A checkpoint whose step is saved again is called `step-00000500.replaced` until the new one is in its place.

Only the standard library is imported, so that looking at checkpoints costs nothing.
"""

import errno
import hashlib
import json
import logging
import os
import re
import shutil
import stat
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path


MANIFEST_NAME = "manifest.json"

_NAME = re.compile(r"step-(\d+)(\.replaced)?")
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
# Files of one checkpoint that are checked side by side: hashing keeps one core busy each, syncing waits for the disk.
_NUM_THREADS = 4

logger = logging.getLogger(__name__)


def list_checkpoints(run_dir: Path) -> list[Path]:
    """Checkpoint folders of a run, oldest first; whether they are whole says `find_damage`."""
    folders = [path for path in (run_dir / "checkpoints").glob("step-*") if _NAME.fullmatch(path.name)]
    return sorted(folders, key=lambda path: (checkpoint_step(path), not path.suffix))


def checkpoint_step(path: Path) -> int:
    """The number of optimiser steps behind a checkpoint."""
    return int(_NAME.fullmatch(path.name)[1])


def newest_checkpoint(run_dir: Path) -> Path | None:
    """The newest checkpoint that is whole; those after it, which are not, are named in warnings.

    Every file is read and compared with its checksum, see `find_damage` for what that costs.

    Returns:
        The folder, or `None` if the run has no checkpoint yet.

    Raises:
        ValueError: if there are checkpoints and none of them is whole, so that a long run is never begun anew unasked.
    """
    checkpoints = list_checkpoints(run_dir)
    for path in reversed(checkpoints):
        damage = find_damage(path)
        if damage is None:
            return path
        logger.warning("The checkpoint %s is broken and left out: %s.", path, damage)
    if checkpoints:
        raise ValueError(
            f"`output_dir` has checkpoints, but none is whole: of {path}, the oldest, {damage}. "
            f"Remove them to begin anew, or take another `output_dir`."
        )
    return None


def find_damage(path: Path) -> str | None:
    """What is wrong with a checkpoint in words, or `None` if its files have the sizes and checksums of its manifest.

    SHA-256 was measured at 1.8 to 2 GB/s per core (with the processor's instructions for it, which server processors
    of the last years have) and several files are read at a time: 20 GB, half of them the optimiser's file, take 5 to
    10 seconds, or as long as the disk needs to read them. Loading them afterwards finds them in memory. Files that are
    not in the manifest are not looked at.
    """
    try:
        manifest = json.loads((path / MANIFEST_NAME).read_text())
        files = {name: (entry["size"], entry["sha256"]) for name, entry in manifest["files"].items()}
    except FileNotFoundError:
        return f"{MANIFEST_NAME} is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:  # any byte of it may be wrong
        return f"{MANIFEST_NAME} cannot be read ({error})"
    if manifest.get("step") != checkpoint_step(path):
        return f"{MANIFEST_NAME} is of step {manifest.get('step')}"
    # Sizes first: they cost nothing.
    for name, (size, _) in files.items():
        try:
            found = (path / name).stat().st_size
        except OSError as error:
            return f"{name} cannot be read ({error.strerror})"
        if found != size:
            return f"{name} has {found} bytes instead of {size}"
    try:
        with ThreadPoolExecutor(_NUM_THREADS) as pool:
            checksums = list(pool.map(_sha256, [path / name for name in files]))
    except OSError as error:  # a bad sector
        return f"{error.filename or 'a file'} cannot be read ({error.strerror})"
    for (name, (_, checksum)), found in zip(files.items(), checksums):
        if found != checksum:
            return f"{name} has another checksum than when it was written"
    return None


class CheckpointWriter:
    """Saves checkpoints of a run one after another and keeps the newest of them.

    A process that is killed at any moment, between any two system calls, leaves the checkpoints whose `save` had
    returned; in the background those before the last `save`, or all if `wait` had returned. What it was writing is
    removed at the next save.

    Args:
        run_dir: output folder of the run; checkpoints go into its `checkpoints`.
        keep: how many of the newest whole checkpoints stay. While one is saved the disk holds one more.
        in_background: write in a thread while training goes on.
        saved: called with the folder of every checkpoint once it is whole, by the thread that wrote it.
    """

    def __init__(
        self,
        run_dir: Path,
        keep: int,
        in_background: bool = False,
        saved: Callable[[Path], None] = lambda folder: None,
    ):
        self.folder = run_dir / "checkpoints"
        self.run_dir = run_dir
        self.keep = keep
        self._saved = saved
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint") if in_background else None
        self._pending: Future | None = None
        # Names of checkpoints that this process wrote or has read in full: retention need not read them again.
        self._whole: set[str] = set()

    def save(self, step: int, write: Callable[[Path], None]) -> None:
        """Save a checkpoint; in the background, begin to once the one before it is written.

        Args:
            step: the number of optimiser steps behind it. A checkpoint of the same step is replaced.
            write: fills the folder that it is given. In the background it runs while training goes on, and so must
                not look at anything that changes meanwhile, be it weights or the variable of a loop.

        Raises:
            OSError: if the disk is full, with the free and, from the checkpoint before, the needed bytes. All earlier
                checkpoints are whole.
            Exception: whatever `write` raised; in the background, in the call after.
        """
        self.wait()
        if self._thread is None:
            self._save(step, write)
        else:
            self._pending = self._thread.submit(self._save, step, write)

    def wait(self) -> None:
        """Return when all checkpoints are written; raises what writing in the background raised."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def _save(self, step: int, write: Callable[[Path], None]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._clean_up()
        temporary, final = self.folder / f"tmp-{step:08d}", self.folder / f"step-{step:08d}"
        try:
            temporary.mkdir()
            write(temporary)
            _seal(temporary, step)
        except BaseException as error:
            is_full = isinstance(error, Exception) and _is_disk_full(error, self.folder)
            _discard(temporary)
            if is_full:
                raise OSError(errno.ENOSPC, self._describe_full_disk(step)) from error
            raise
        replaced = final.with_suffix(".replaced")
        if final.exists():
            os.replace(final, replaced)
        os.replace(temporary, final)
        _sync_folder(self.folder)
        self._whole.add(final.name)
        if replaced.exists():
            self._remove(replaced)
        self._saved(final)
        self._remove_before(step)

    def _clean_up(self) -> None:
        """Finish what a killed process had begun."""
        for leftover in self.folder.glob("tmp-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        for replaced in self.folder.glob("step-*.replaced"):
            final = replaced.with_suffix("")
            if final.exists():
                self._remove(replaced)
            else:
                os.replace(replaced, final)

    def _remove_before(self, step: int) -> None:
        """Of the checkpoints up to this step remove all before the `keep` newest whole ones.

        Broken ones among those stay and are not counted, and so do any after this step: the run did not resume from
        them, and will save them anew when it gets there.
        """
        num_whole = 0
        for path in reversed(list_checkpoints(self.run_dir)):
            if checkpoint_step(path) > step:
                continue
            if num_whole == self.keep:
                self._remove(path)
            elif path.name in self._whole or find_damage(path) is None:
                self._whole.add(path.name)
                num_whole += 1

    def _remove(self, path: Path) -> None:
        # Renamed first: a checkpoint is never half removed.
        doomed = path.with_name(f"tmp-removed-{path.name}")
        os.replace(path, doomed)
        self._whole.discard(path.name)
        shutil.rmtree(doomed, ignore_errors=True)

    def _describe_full_disk(self, step: int) -> str:
        free = shutil.disk_usage(self.folder).free
        before = list_checkpoints(self.run_dir)
        needed = sum(file.stat().st_size for file in before[-1].rglob("*") if file.is_file()) if before else None
        return (
            f"The disk is full: the checkpoint of step {step} does not fit into {self.folder}, which has {free:,} "
            f"bytes free{f' and needs about {needed:,}' if needed else ''}. Earlier checkpoints are whole: make room "
            f"and run the same command again"
        )


def _seal(folder: Path, step: int) -> None:
    """Bring all files of a checkpoint to the disk, and then the manifest that vouches for them."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    with ThreadPoolExecutor(_NUM_THREADS) as pool:
        # The processor hashes while the disk writes.
        synced = pool.map(_sync_file, paths)
        checksums = list(pool.map(_sha256, paths))
        list(synced)
    files = {
        path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": checksum}
        for path, checksum in zip(paths, checksums)
    }
    with open(folder / MANIFEST_NAME, "w") as file:
        json.dump({"step": step, "files": files}, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    for subfolder in sorted(path for path in folder.rglob("*") if path.is_dir()):
        _sync_folder(subfolder)
    _sync_folder(folder)


def _sync_file(path: Path) -> None:
    with open(path, "r+b") as file:
        os.fsync(file.fileno())


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    """Bring a folder's list of names to the disk."""
    if os.name == "nt":  # Windows opens no folders
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _discard(temporary: Path) -> None:
    """Remove a folder whose writing failed."""
    for path in temporary.rglob("*"):
        status = path.lstat()
        # torch keeps its file open after an error, and with it the room on the disk. Linked files are not ours alone.
        if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
            os.truncate(path, 0)
    shutil.rmtree(temporary, ignore_errors=True)


def _is_disk_full(error: Exception, folder: Path) -> bool:
    """Whether `error`, of any library, means a full disk.

    torch and safetensors report one by errors of their own: safetensors, which has removed its file by then, with the
    system's words for it, torch without saying why. Therefore a MiB is tried too.
    """
    if isinstance(error, OSError):
        return error.errno in _FULL_DISK
    if any(os.strerror(number) in str(error) for number in _FULL_DISK):
        return True
    trial = folder / "tmp-trial"
    try:
        trial.mkdir()
        (trial / "trial").write_bytes(bytes(2**20))
        return False
    except OSError as trial_error:
        return trial_error.errno in _FULL_DISK
    finally:
        shutil.rmtree(trial, ignore_errors=True)
