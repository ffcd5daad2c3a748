"""A sweep over the whole fleet: every node's GPU facts over standing connections."""

from __future__ import annotations

from tests.bench import Figure, at_most
from tests.support.fleet_bench import sweep

SIZES = (10, 100, 1000)


def measure() -> list[Figure]:
    """Seconds and the engine's memory for one sweep; the nodes answer in one child process on the same cores."""
    figures = []
    for size in SIZES:
        found = sweep(size)
        is_largest = size == max(SIZES)
        goal, memory_goal = (at_most(10), at_most(600)) if is_largest else (None, None)
        figures.append(
            Figure(f"fleet sweep, {size} nodes", found.sweep_s, "s", goal, "GPU facts, standing connections")
        )
        beside = "until the last node that answers is checked, with one more that takes the call and says nothing"
        figures.append(Figure(f"fleet sweep, {size} nodes beside a hole", found.beside_a_hole_s, "s", goal, beside))
        megabytes = found.rss_mib * 2**20 / 1e6
        figures.append(Figure(f"fleet sweep, {size} nodes, resident memory", megabytes, "MB", memory_goal))
    return figures
