"""The axon: published only where the chain differs, with growing pauses when the chain wants to be left alone."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from engine.chain.models import Axon, Metagraph, Neuron
from engine.clock import ManualClock
from engine.errors import ChainRateLimited, ChainRefused
from engine.events import AxonChecked, AxonServed, ChainFailed, Event
from engine.miner.axon import FIRST_PAUSE_S, LONGEST_PAUSE_S, AxonPublisher, Endpoint
from engine.miner.own_address import agreed_address

HOTKEY = "5M"
NEURON = Neuron(
    uid=1, hotkey=HOTKEY, coldkey="5C", stake_tao=0.0, validator_permit=False, axon=None, active=True, incentive=0.0,
    dividends=0.0, trust=0.0, consensus=0.0, emission_tao=0.0, last_update=0,
)  # fmt: skip
HOME = Endpoint("192.0.2.7", 8091)


@dataclass
class FakeChain:
    """Takes every axon, or raises what it is told to."""

    error: Exception | None = None
    served: list[tuple[str, int]] = field(default_factory=list)

    async def serve_axon(self, ip: str, port: int) -> None:
        self.served.append((ip, port))
        if self.error is not None:
            raise self.error


@dataclass
class World:
    """A publisher, its chain and what it said."""

    wanted: Endpoint | None = HOME
    chain: FakeChain = field(default_factory=FakeChain)
    clock: ManualClock = field(default_factory=ManualClock)
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        chain: Any = self.chain
        self.publisher = AxonPublisher(
            chain, HOTKEY, self.wanted, "0.0.0.0:8091", clock=self.clock, emit=self.events.append
        )

    async def check(self, axon: Axon | None, *, registered: bool = True) -> str:
        neurons = (replace(NEURON, axon=axon),) if registered else ()
        return await self.publisher.check(Metagraph(39, 1, neurons))

    def compared(self) -> tuple[str, str]:
        (last,) = [event for event in self.events if isinstance(event, AxonChecked)][-1:]
        return last.on_chain, last.advertised


@pytest.mark.parametrize(
    ("axon", "wanted"),
    [
        (Axon("192.0.2.7", 8091), HOME),
        (Axon("2001:0db8:0000:0000:0000:0000:0000:0001", 8091), Endpoint("2001:db8::1", 8091)),
    ],
)
async def test_what_the_chain_says_already_is_not_published(axon: Axon, wanted: Endpoint) -> None:
    """Nothing is sent, however the address is spelled there, and both sides are shown as equal."""
    world = World(wanted)
    assert "already" in await world.check(axon)
    assert world.chain.served == []
    assert world.compared() == (str(wanted), str(wanted))


@pytest.mark.parametrize("axon", [None, Axon("192.0.2.8", 8091), Axon("192.0.2.7", 8092)])
async def test_what_differs_is_published_once(axon: Axon | None) -> None:
    """No axon, another address, another port."""
    world = World()
    assert await world.check(axon) == "published 192.0.2.7:8091"
    assert world.chain.served == [("192.0.2.7", 8091)]
    assert [event.endpoint for event in world.events if isinstance(event, AxonServed)] == ["192.0.2.7:8091"]
    assert world.compared() == ("192.0.2.7:8091", "192.0.2.7:8091")


@pytest.mark.parametrize(
    ("wanted", "registered", "words"), [(None, True, "external_ip"), (HOME, False, "no uid on subnet 39")]
)
async def test_what_cannot_be_published_is_said(wanted: Endpoint | None, registered: bool, words: str) -> None:
    """An unknown address and a hotkey without uid send nothing."""
    world = World(wanted)
    assert words in await world.check(None, registered=registered)
    assert world.chain.served == []


async def test_an_address_that_no_interface_has_is_found_by_the_nodes_and_followed() -> None:
    """Unknown at first, published when nodes see it, kept while none answers, published anew when it has changed."""
    answers: list[Endpoint | None] = [None, HOME, None, Endpoint("192.0.2.9", 8091)]

    async def find() -> Endpoint | None:
        return answers.pop(0)

    world = World(None)
    chain: Any = world.chain
    publisher = AxonPublisher(
        chain, HOTKEY, None, "0.0.0.0:8091", clock=world.clock, emit=world.events.append, find=find
    )
    said = []
    for axon in (None, None, Axon(HOME.ip, HOME.port), Axon(HOME.ip, HOME.port)):
        said.append(await publisher.check(Metagraph(39, 1, (replace(NEURON, axon=axon),))))
    assert "external_ip" in said[0] and "already" in said[2]
    assert world.chain.served == [("192.0.2.7", 8091), ("192.0.2.9", 8091)]


@pytest.mark.parametrize(
    ("seen", "only_v4", "agreed"),
    [
        (["8.8.4.4"], True, "8.8.4.4"),
        (["8.8.4.4", "8.8.4.4", ""], True, "8.8.4.4"),
        (["8.8.4.4", "192.168.1.7"], True, "8.8.4.4"),
        (["::ffff:8.8.4.4"], True, "8.8.4.4"),
        (["8.8.4.4", "1.1.1.1"], True, None),
        (["192.168.1.7", "10.0.0.1", "100.64.0.1", "127.0.0.1", "169.254.1.1"], True, None),
        (["2606:4700::1111"], True, None),
        (["2606:4700::1111"], False, "2606:4700::1111"),
        (["224.0.0.1", "8.8.4.4 x", "\x1b[2J", ""], True, None),
        ([], True, None),
    ],
)
def test_nodes_must_agree_on_where_we_come_from(seen: list[str], only_v4: bool, agreed: str | None) -> None:
    """Private, unreadable and unusable answers say nothing; two public ones that differ mean that none is believed."""
    assert agreed_address(seen, only_v4=only_v4) == agreed


async def test_the_rate_limit_is_respected_with_growing_pauses() -> None:
    """Refused for the rate limit: not asked again before a turn has passed, then two, four, up to four hours."""
    world = World(chain=FakeChain(ChainRateLimited("too soon")))
    pause_s = FIRST_PAUSE_S
    for attempt in range(1, 8):
        assert "too soon" in await world.check(None)
        assert len(world.chain.served) == attempt
        await world.clock.advance(pause_s - 1)
        assert "tried again in 1 s" in await world.check(None)
        assert len(world.chain.served) == attempt
        await world.clock.advance(1)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
    assert len([event for event in world.events if isinstance(event, ChainFailed)]) == 7
    assert world.compared() == ("", "192.0.2.7:8091")
    world.chain.error = None
    assert "published" in await world.check(None)


async def test_another_refusal_is_tried_at_the_next_turn() -> None:
    """Only the rate limit makes it wait."""
    world = World(chain=FakeChain(ChainRefused("no")))
    for attempt in (1, 2):
        assert "not published" in await world.check(None)
        assert len(world.chain.served) == attempt
