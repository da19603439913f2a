# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What the C library does with memory that this process frees."""

import ctypes
import platform


# Of glibc's malloc.h, and what they are set to, bytes.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_TRIM_THRESHOLD, _MMAP_THRESHOLD = 2**31 - 1, 2**30


def has_glibc() -> bool:
    """Whether this process runs on the C library that the functions below are about."""
    return platform.libc_ver()[0] == "glibc"


def keep_freed_memory() -> None:
    """Let glibc keep memory that is freed, up to 2 GB, instead of giving it back to the system.

    It asks the system for every tensor of more than 32 MB anew, and the system clears each page: at 256 pixels a third
    of a step's time. This holds for the whole process, for good.
    """
    library = ctypes.CDLL(None)
    library.mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD)
    library.mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD)


def return_freed_memory() -> None:
    """Give freed memory back to the system now; without effect on other C libraries than glibc."""
    if has_glibc():
        ctypes.CDLL(None).malloc_trim(0)
