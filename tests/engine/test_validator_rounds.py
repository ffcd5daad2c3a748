"""How many miners are asked at once. The miners are sockets that never answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

from bittensor.sp_core import Keypair

from engine.chain import Metagraph
from engine.chain.models import Axon, Neuron
from engine.clock import SystemClock
from engine.config.validator import ValidatorBittensorConfig, ValidatorConfig, VerificationConfig
from engine.events import Event, EventBus, MinerDiscovered
from engine.identity.signatures import KeypairSigner
from engine.ssh.host_keys import HostKeys
from engine.store import open_store
from engine.validator.role import ValidatorParts, ValidatorRole

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
