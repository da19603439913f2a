# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Signals that ask a run to save and stop."""

import signal
from types import FrameType


# SIGTERM is what clusters send before they kill, SIGUSR1 what they can be told to send earlier.
# Windows has no SIGUSR1.
_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGUSR1") if hasattr(signal, name)]


class StopRequest:
    """Within `with StopRequest() as stop:` SIGTERM, SIGUSR1 and the first SIGINT (Ctrl-C) only set `stop.requested`.

    The run asks for it at every step, and during validation between batches. A second SIGINT interrupts at once. The
    handlers from before are back after the block. To be used in the main thread, the only one that gets signals.

    A handler runs between two operations of Python: a signal during a long kernel counts when the kernel is done.
    """

    def __init__(self):
        self.name: str | None = None

    @property
    def requested(self) -> bool:
        return self.name is not None

    def __enter__(self) -> "StopRequest":
        self._before = {number: signal.signal(number, self._request) for number in _SIGNALS}
        return self

    def __exit__(self, *exception) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.name = signal.Signals(number).name
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)
