# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Real signals to processes that run within `StopRequest`."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from waiting import PATIENCE_SECONDS

import diffusers_tryon.training.signals as signals_module
from diffusers_tryon.training.signals import StopRequest


# The file alone, without the package: a process starts in a few hundredths of a second.
LOAD = f"""
import importlib.util, signal, sys, time
spec = importlib.util.spec_from_file_location("signals", {str(Path(signals_module.__file__))!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
"""

LOOP = """
with module.StopRequest() as stop:
    print("ready", flush=True)
    steps = 0
    while not stop.requested:
        time.sleep(0.01)
        steps += 1
print("stopped by", stop.name)
"""

IGNORE_REQUESTS = """
with module.StopRequest() as stop:
    print("ready", flush=True)
    while True:
        time.sleep(0.01)
        if stop.requested:
            stop.name = None
            print("asked", flush=True)
"""

BLOCKED = """
with module.StopRequest() as stop:
    print("ready", flush=True)
    started = time.monotonic()
    time.sleep(0.5)
    print("slept all of it", time.monotonic() - started >= 0.5, stop.name)
"""


def start(program: str) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", LOAD + program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_asks_to_stop(number):
    process = start(LOOP)
    process.send_signal(number)
    output, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, output, errors) == (0, f"stopped by {number.name}\n", "")


def test_a_signal_during_a_blocking_call_is_not_lost_and_does_not_cut_it_short():
    process = start(BLOCKED)
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=PATIENCE_SECONDS)[0] == "slept all of it True SIGTERM\n"


def test_the_second_interrupt_interrupts():
    process = start(IGNORE_REQUESTS)
    # However many, these only ask.
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGTERM, signal.SIGINT):
        process.send_signal(number)
        assert process.stdout.readline() == "asked\n"
    process.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in process.communicate(timeout=PATIENCE_SECONDS)[1]
    assert process.returncode != 0


def test_a_signal_during_a_kernel_counts_when_it_is_done():
    import torch

    matrix = torch.ones(700, 700)
    with StopRequest() as stop:
        killer = subprocess.Popen([sys.executable, "-c", f"import os; os.kill({os.getpid()}, {int(signal.SIGUSR1)})"])
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not stop.requested and time.monotonic() < deadline:
            matrix @ matrix
        killer.wait()
    assert stop.name == "SIGUSR1"


def test_the_handlers_from_before_come_back():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)]
    with pytest.raises(RuntimeError), StopRequest() as stop:
        assert not stop.requested
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested
        raise RuntimeError
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)] == before
