"""A validator's handshake while 2,000 connections say nothing, half of something, or garbage."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from tests.bench import Figure, at_most
from tests.support.flood import flood
from tests.support.miner_subnet import MinerSubnet, create_subnet

CONNECTIONS = 2000
HANDSHAKES = 10
PAUSE_S = 1.0


def measure() -> list[Figure]:
    """Seconds of a whole handshake, connecting included, against a real engine on its default limits."""
    with tempfile.TemporaryDirectory(prefix="bench-") as root:
        subnet = create_subnet(Path(root), [], validators=1)
        subnet.start()
        try:
            quiet = [_handshake_s(subnet) for _ in range(HANDSHAKES)]
            with flood(subnet.grpc_port, CONNECTIONS) as count:
                flooded = [_handshake_s(subnet) for _ in range(HANDSHAKES)]
                tally = count()
        finally:
            subnet.stop()
    note = f"median {statistics.median(flooded):.2f}; without the flood {max(quiet):.2f}"
    what = f"{tally.opened:,} were opened by then, {tally.ended_by_the_door:,} of them ended by the door"
    return [
        Figure(f"handshake under {CONNECTIONS} bad connections, slowest", max(flooded), "s", at_most(1), note),
        Figure("bad connections open at that moment", tally.open, note=what),
    ]


def _handshake_s(subnet: MinerSubnet) -> float:
    time.sleep(PAUSE_S)  # a validator's own rate is limited
    began = time.monotonic()
    asyncio.run(subnet.discover(subnet.validators[0]))
    return time.monotonic() - began
