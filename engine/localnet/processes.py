"""Processes that must not outlive us: ended with their parent by the kernel, or found again by a secret mark."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


def end_with_parent() -> None:
    """For ``preexec_fn``: the kernel sends SIGTERM to this process when its parent dies, however it dies."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def end_marked(name: str, token: str, *, patience_s: float = 2.0) -> int:
    """Kill every process of this user whose environment holds ``name=token``; returns how many were found.

    Looks again until none is left, for at most ``patience_s``. Without /proc it finds nothing.
    """
    mark, found = f"{name}={token}".encode(), set()
    deadline = time.monotonic() + patience_s
    while pids := _marked(mark):
        found |= pids
        for pid in pids:
            _kill(pid)
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    return len(found)


def _marked(mark: bytes) -> set[int]:
    pids = set()
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in entry.read_bytes().split(b"\0"):
                pids.add(int(entry.parent.name))
        except OSError:
            continue
    return pids - {os.getpid()}


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        return
