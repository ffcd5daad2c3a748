"""What this process, or one that it has started, uses, as the operating system counts it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

SHORTEST_SAMPLE_S = 1.0
_USER_TICKS, _SYSTEM_TICKS = 11, 12
"""Of what follows the program's name in ``/proc/PID/stat``."""


def resident_bytes(pid: int | None = None) -> int | None:
    """Memory of this process, or of another one, that is in RAM; None where ``/proc`` does not say."""
    try:
        pages = int(Path(f"/proc/{pid or 'self'}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def cpu_seconds_of(pid: int) -> float | None:
    """Processor time of another process since it began; None where ``/proc`` does not say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        ticks = int(fields[_USER_TICKS]) + int(fields[_SYSTEM_TICKS])
    except (OSError, ValueError, IndexError):
        return None
    return ticks / os.sysconf("SC_CLK_TCK")


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
