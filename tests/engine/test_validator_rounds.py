"""How many miners and nodes are visited at once. The hung ones are sockets that never answer."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from bittensor.sp_core import Keypair

from engine.chain import Metagraph
from engine.chain.models import Axon, Neuron
from engine.clock import SystemClock
from engine.config.validator import ValidatorBittensorConfig, ValidatorConfig, VerificationConfig
from engine.events import Event, EventBus, MinerAnswered, MinerDiscovered, MinerFailed, NodeVerified
from engine.identity.signatures import KeypairSigner
from engine.ssh.host_keys import HostKeys
from engine.store import open_store
from engine.validator import checks as checks_module
from engine.validator import rounds as rounds_module
from engine.validator.role import ValidatorParts, ValidatorRole
from tests.bench.validator import validator_over
from tests.support.miner_swarm import Swarm

AT_ONCE = 3
MINERS = 7
PATIENCE_S = 60.0
SIGNER = KeypairSigner(Keypair.create_from_uri("//Validator"))


class SilentMiner:
    """Accepts, reads, and says nothing."""

    def __init__(self) -> None:
        self.calls = 0
        self.port = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def hang_up(self) -> None:
        """From now on nobody is there."""
        assert self._server is not None
        self._server.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.calls += 1
        while await reader.read(65536):
            pass
        writer.close()


class StillChain:
    """A metagraph that does not change."""

    def __init__(self, miners: list[SilentMiner]) -> None:
        self._neurons = tuple(
            Neuron(uid, Keypair.create_from_uri(f"//M{uid}").ss58_address, "", 0.0, False, Axon("127.0.0.1", one.port),
                   True, 0, 0, 0, 0, 0, 0)
            for uid, one in enumerate(miners)
        )  # fmt: skip

    async def refresh(self) -> Metagraph:
        return Metagraph(39, 100, self._neurons)


@asynccontextmanager
async def hung_world(tmp_path: Path) -> AsyncIterator[tuple[ValidatorRole, list[SilentMiner], list[Event]]]:
    """A validator and seven miners that hang."""
    miners = [SilentMiner() for _ in range(MINERS)]
    for one in miners:
        await one.start()
    clock, bus, events = SystemClock(), EventBus(), list[Event]()
    bus.subscribe(events.append)
    config = ValidatorConfig(
        bittensor=ValidatorBittensorConfig(network="local", netuid=39),
        verification=VerificationConfig(max_concurrent_verifications=AT_ONCE),
    )
    store = await open_store(f"sqlite:{tmp_path / 'validator.db'}", clock=clock)
    chain = StillChain(miners)
    parts = ValidatorParts(
        config, store, cast(Any, chain), SIGNER, cast(Any, chain), clock, bus, HostKeys(tmp_path / "known_hosts")
    )
    role = ValidatorRole(parts)
    try:
        yield role, miners, events
    finally:
        await role.end_rounds()
        for one in miners:
            one.hang_up()
        await store.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.02)


async def test_as_many_miners_as_allowed_are_asked_at_once(tmp_path: Path) -> None:
    """Three places, seven miners that hang: three are called, and a second round calls no other."""
    async with hung_world(tmp_path) as (role, miners, events):
        rounds = [asyncio.create_task(role.verify_all())]
        await until(lambda: sum(one.calls for one in miners) == AT_ONCE)
        rounds.append(asyncio.create_task(role.verify_all()))
        await until(lambda: sum(isinstance(event, MinerDiscovered) for event in events) == 2 * MINERS)
        await asyncio.sleep(0.3)
        assert sorted(one.calls for one in miners) == [0] * (MINERS - AT_ONCE) + [1] * AT_ONCE
        assert not any(task.done() for task in rounds)
        await role.end_rounds()
        await asyncio.gather(*rounds)


async def test_silent_miners_do_not_hold_up_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many silent miners as there are places: all others are called beside them, one ends none of the first."""
    monkeypatch.setattr(rounds_module, "SEAT_PATIENCE_S", 0.2)
    async with hung_world(tmp_path) as (role, miners, events):
        going = asyncio.create_task(role.verify_all())
        await until(lambda: sum(one.calls for one in miners) == MINERS)
        assert [one.calls for one in miners] == [1] * MINERS
        assert not any(isinstance(event, MinerFailed | MinerAnswered) for event in events)
        await role.end_rounds()
        await going


async def test_fifty_miners_with_hung_nodes_do_not_hold_up_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the 50 places has a miner whose nodes take commands and never answer; the others' pass meanwhile."""
    monkeypatch.setattr(rounds_module, "SEAT_PATIENCE_S", 1.0)
    monkeypatch.setattr(checks_module, "LOGIN_PATIENCE_S", 0.2)
    with Swarm(52, 2, hung=50) as swarm:
        async with validator_over(swarm, known=True) as running:
            assert running.config.verification.max_concurrent_verifications == 50
            passed: list[int] = []
            running.bus.subscribe(
                lambda event: passed.append(event.miner_uid) if isinstance(event, NodeVerified) and event.ok else None
            )
            going = asyncio.create_task(running.role.verify_all())
            await until(lambda: running.tally.total() >= 4)
            assert sorted(passed) == [50, 50, 51, 51]
            assert running.tally[False] == 0
            await running.role.end_rounds()
            await going


async def test_no_node_is_verified_twice_at_once() -> None:
    """While a full verification runs, neither another round nor an operator's order begins a second one."""
    with Swarm(1, 2, holds=True) as swarm:
        async with validator_over(swarm, known=False) as running:
            counts: Counter[str] = Counter()
            running.bus.subscribe(lambda event: counts.update([event.kind]))
            going = asyncio.create_task(running.role.verify_all())
            await until(lambda: counts["verification.started"] == 2)
            again = [asyncio.create_task(running.role.verify_all(force_full=full)) for full in (False, True)]
            await until(lambda: counts["miner.discovered"] == 3)
            await until(lambda: counts["miner.answered"] >= 2)
            await asyncio.sleep(0.3)
            assert (counts["verification.queued"], counts["verification.lightweight_moved"]) == (2, 0)
            assert running.role.full_in_flight == 2
            await running.role.end_rounds()
            await asyncio.gather(going, *again)
