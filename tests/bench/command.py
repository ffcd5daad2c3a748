"""What a command costs before it does anything."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys

from tests.bench import Figure, at_most

RUNS = 7


def measure() -> list[Figure]:
    """CPU seconds of ``--help`` beside those of a Python that imports nothing."""
    ours = statistics.median(_cpu_s([sys.executable, "-m", "basilica_tui", "--help"]) for _ in range(RUNS))
    bare = statistics.median(_cpu_s([sys.executable, "-c", "pass"]) for _ in range(RUNS))
    return [
        Figure("--help, CPU", ours, "s", at_most(0.5), f"{ours / bare:.1f} x an empty Python ({bare:.3f} s)"),
    ]


def _cpu_s(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env=os.environ)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
