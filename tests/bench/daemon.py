"""How long the engine takes from its command to answering validators."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from tests.bench import Figure, at_most
from tests.support.miner_subnet import create_subnet

RUNS = 5


def measure() -> list[Figure]:
    """Seconds from starting the process to an answer on its control socket, over an empty fleet."""
    with tempfile.TemporaryDirectory(prefix="bench-") as root:
        subnet = create_subnet(Path(root), [], validators=1)
        times = []
        for _ in range(RUNS):
            started = time.monotonic()
            subnet.start()
            times.append(time.monotonic() - started)
            subnet.stop()
    note = f"median of {RUNS}, worst {max(times):.2f}"
    return [Figure("daemon start to serving", statistics.median(times), "s", at_most(3), note)]
