"""A flood of 2,000 connections at a real engine on its defaults: who is who stays clear."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from engine.observe.audit_reader import open_audit
from tests.support.flood import flood
from tests.support.miner_subnet import create_subnet

CONNECTIONS = 2000
HANDSHAKES = 5


@pytest.mark.timeout(300)
def test_a_validator_is_served_while_two_thousand_connections_are_held(tmp_path: Path) -> None:
    """All its handshakes are accepted; of the others none calls anything, and each is ended by the door."""
    subnet = create_subnet(tmp_path, [], validators=1)
    subnet.start()
    try:
        subnet.settle()
        with flood(subnet.grpc_port, CONNECTIONS) as count:
            for _ in range(HANDSHAKES):
                asyncio.run(subnet.discover(subnet.validators[0]))
                time.sleep(1.0)  # a validator's own rate is limited
            during = count()
            assert during.opened >= CONNECTIONS and during.open > 0
            deadline = time.monotonic() + 120
            while (later := count()).ended_by_the_door < during.opened:
                assert time.monotonic() < deadline, f"held for ever: {during}, then {later}"
                time.sleep(0.2)
        assert later.http_answers == later.other_answers == 0
        assert later.grpc_greetings > 0, "some came as far as the server behind the front"
        counters = asyncio.run(subnet.snapshot()).counters
        assert (counters["authentications"], counters.get("refusals", 0)) == (HANDSHAKES, 0)
        assert subnet.stop() == 0
        assert asyncio.run(_callers(tmp_path)) == {"127.0.0.1"}
    finally:
        subnet.kill()


async def _callers(root: Path) -> set[str]:
    """Every address that the audit log knows of the door."""
    async with open_audit(f"sqlite:{root / 'data' / 'miner.db'}") as reader:
        return {entry.subject async for entry in reader.since(None) if entry.kind.startswith("door.")}
