"""A sweep over the whole fleet: every node's GPU facts over standing connections."""

from __future__ import annotations

from tests.bench import Figure
from tests.support.fleet_bench import sweep

SIZES = (10, 100, 1000)


def measure() -> list[Figure]:
    """Seconds and the engine's memory for one sweep; the nodes answer in one child process on the same cores."""
    figures = []
    for size in SIZES:
        seconds, memory_mib = sweep(size)
        goal = "<= 10 s, <= 600 MB" if size == 1000 else "-"
        figures.append(Figure(f"fleet sweep, {size} nodes", f"{seconds:.2f} s", goal, f"{memory_mib:.0f} MiB resident"))
    return figures
