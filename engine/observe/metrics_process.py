"""What this process uses, as the operating system counts it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

SHORTEST_SAMPLE_S = 1.0


def resident_bytes() -> int | None:
    """Memory of this process that is in RAM; None where ``/proc`` does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system


class CpuMeter:
    """Processor time of this process since the last reading, in percent of one core."""

    def __init__(
        self, cpu_seconds: Callable[[], float] = _cpu_seconds, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._cpu_seconds = cpu_seconds
        self._monotonic = monotonic
        self._cpu, self._at = cpu_seconds(), monotonic()
        self._percent = 0.0

    def percent(self) -> float:
        """Over the time since the last reading; several readers within a second get the same answer."""
        now = self._monotonic()
        if now - self._at >= SHORTEST_SAMPLE_S:
            cpu = self._cpu_seconds()
            self._percent = 100.0 * max(0.0, cpu - self._cpu) / (now - self._at)
            self._cpu, self._at = cpu, now
        return self._percent
