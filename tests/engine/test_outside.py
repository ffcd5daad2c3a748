"""The call from outside through a real sshd to a real port."""

from __future__ import annotations

import asyncio

import pytest

from engine.clock import ManualClock
from engine.diagnostics.outside import AGAIN_S, FIRST_S, PERIOD_S, OutsideWatch
from engine.events import AxonCalled, Event
from engine.ssh.target import NodeTarget
from tests.support.pools import Pools
from tests.support.sshd import NodeSshd

pytestmark = pytest.mark.sshd


async def test_a_node_calls_the_axon(sshd_node: NodeSshd, pools: Pools) -> None:
    """Open while somebody listens, refused when nobody does; the operator's action says the same words."""
    pools.known_to(sshd_node)
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    events: list[Event] = []
    watch = OutsideWatch(
        pools.make(), lambda: address, lambda: [sshd_node.target], clock=ManualClock(), emit=events.append
    )
    async with server:
        assert (await watch.check()).outcome == "open"
    told: list[str] = []
    answer = await watch.act({}, told.append)
    assert answer["outcome"] == "refused"
    assert str(answer["message"]).startswith("NOT reached from outside")
    assert told
    assert [(e.address, e.outcome) for e in events if isinstance(e, AxonCalled)] == [
        (address, "open"),
        (address, "refused"),
    ]


async def test_it_asks_seldom_and_sooner_after_a_no(sshd_node: NodeSshd, pools: Pools) -> None:
    """Ten minutes after a yes, a minute after a no; while there is nobody to ask that is said once."""
    pools.known_to(sshd_node)
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    clock, events, peers = ManualClock(), list[Event](), list[NodeTarget]()
    watch = OutsideWatch(pools.make(), lambda: f"127.0.0.1:{port}", lambda: peers, clock=clock, emit=events.append)
    running = asyncio.create_task(watch.run())
    await asyncio.sleep(0)
    await clock.advance(FIRST_S - 1)
    assert events == []
    await clock.advance(1 + 2 * AGAIN_S)
    assert [e.outcome for e in events if isinstance(e, AxonCalled)] == ["unproven"]
    peers.append(sshd_node.target)
    await clock.advance(AGAIN_S)
    await _until(events, 2)
    await clock.advance(PERIOD_S - 1)
    assert len(events) == 2
    server.close()
    await server.wait_closed()
    for count, pause_s in ((3, 1.0), (4, AGAIN_S)):
        await clock.advance(pause_s)
        await _until(events, count)
    assert [e.outcome for e in events if isinstance(e, AxonCalled)] == ["unproven", "open", "refused", "refused"]
    running.cancel()


async def _until(events: list[Event], count: int) -> None:
    async with asyncio.timeout(60):
        while len(events) < count:
            await asyncio.sleep(0.02)
