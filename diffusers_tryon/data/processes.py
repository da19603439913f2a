# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Worker processes for work on rows: started anew, one thread each, and never waited for in vain."""

import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager


@contextmanager
def worker_processes(workers: int, consequence: str) -> Iterator[ProcessPoolExecutor]:
    """Worker processes within the block; work that has not begun at its end is dropped.

    Args:
        workers (`int`): how many.
        consequence (`str`): what it means for the user if one of them dies, the end of a sentence that goes on.

    Raises:
        ChildProcessError: a worker was killed, for instance because memory ran out.
    """
    with _single_thread_for_children():
        executor = ProcessPoolExecutor(
            workers, mp_context=multiprocessing.get_context("spawn"), initializer=end_with_parent
        )
        try:
            yield executor
        except BrokenProcessPool as error:
            raise ChildProcessError(
                f"A worker process was killed or crashed, perhaps because memory ran out. {consequence}, with fewer "
                "workers if memory is short."
            ) from error
        finally:
            executor.shutdown(cancel_futures=True)


@contextmanager
def _single_thread_for_children() -> Iterator[None]:
    """Workers share the cores already; libraries read the variable when a worker starts."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


def end_with_parent() -> None:
    """Keep no worker behind when the process that started it is killed."""

    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
