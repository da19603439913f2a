# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""A process that saves checkpoints until it is killed, for test_checkpoint_kill.py.

It loads the file checkpoints.py and nothing else, and so starts in a few hundredths of a second.
"""

import importlib.util
import os
import shutil
import signal
import sys
from functools import partial
from itertools import count
from pathlib import Path


FILES = ("optimizer.bin", "ema/weights.bin", "unet/weights.bin")
BYTES_PER_FILE = 2**20  # a save takes a while


def content_of(step: int, name: str, size: int) -> bytes:
    """What a file of the checkpoint of a step holds, of about `size` bytes."""
    line = f"{name} at step {step}\n".encode()
    return line * (size // len(line))


def write_state(folder: Path, step: int, size: int) -> None:
    for name in FILES:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content_of(step, name, size))


def save_forever(checkpoints, run_dir: Path, in_background: bool) -> None:
    """Go on from the newest checkpoint; print each step of which a checkpoint is promised to be whole."""
    newest = checkpoints.newest_checkpoint(run_dir)
    first = 0 if newest is None else checkpoints.checkpoint_step(newest)
    writer = checkpoints.CheckpointWriter(run_dir, 2, in_background)
    print(first, flush=True)
    for step in count(first + 1):
        writer.save(step, partial(write_state, step=step, size=BYTES_PER_FILE))
        if in_background and step % 4 == 0:
            writer.wait()
        print(step - 1 if in_background and step % 4 else step, flush=True)


def save_killed_at_every_point(checkpoints, before: Path, out: Path, step: int) -> None:
    """For n = 1, 2, ...: save into the copy `out/n` of a run and be killed at the n-th operation on a file.

    The last of these gets to the end of the save. Python announces the operations to audit hooks before it does them.
    """
    for number in count(1):
        shutil.copytree(before, out / str(number))
        process = os.fork()
        if process == 0:
            _kill_at_operation(number)
            checkpoints.CheckpointWriter(out / str(number), 2).save(step, partial(write_state, step=step, size=100))
            os._exit(0)
        if os.waitpid(process, 0)[1] == 0:
            return


def _kill_at_operation(number: int) -> None:
    operations = count(1)

    def hook(event: str, arguments: tuple) -> None:
        if event.split(".")[0] in ("open", "os", "shutil") and next(operations) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


if __name__ == "__main__":
    path, command, *arguments = sys.argv[1:]
    spec = importlib.util.spec_from_file_location("checkpoints", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if command == "forever":
        save_forever(module, Path(arguments[0]), arguments[1] == "background")
    else:
        save_killed_at_every_point(module, Path(arguments[0]), Path(arguments[1]), int(arguments[2]))
