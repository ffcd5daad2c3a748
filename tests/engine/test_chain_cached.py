"""The metagraph cache: age, single flight, persistence, and honest failure."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

import pytest

from engine.chain import Metagraph, MetagraphCache, Neuron
from engine.clock import ManualClock
from engine.errors import ChainUnavailable
from engine.events import ChainFailed, Event, MetagraphRead


class SlowChain:
    """A chain whose reads end when the test says so; one answer per read."""

    def __init__(self) -> None:
        self.reads = 0
        self.answers: asyncio.Queue[Metagraph | Exception] = asyncio.Queue()

    async def metagraph(self) -> Metagraph:
        self.reads += 1
        answer = await self.answers.get()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def block_number(self) -> int:
        return 1

    async def weights(self) -> Mapping[int, Mapping[int, float]]:
        return {}

    async def serve_axon(self, ip: str, port: int) -> None: ...

    async def set_weights(self, weights: Mapping[int, float], version_key: int = 0) -> None: ...

    async def close(self) -> None: ...


class Drawer:
    """What a store's key-value table does, through JSON text."""

    def __init__(self, text: str = "null") -> None:
        self.text = text

    async def load(self) -> object | None:
        loaded: object | None = json.loads(self.text)
        return loaded

    async def save(self, value: object) -> None:
        self.text = json.dumps(value)


def _metagraph(block: int = 1, netuid: int = 39) -> Metagraph:
    scores = (0.5, 0.0, 0.0, 0.0, 2.0)
    validator = Neuron(0, "val", "cold", 10.0, True, None, True, *scores, last_update=0)
    miner = Neuron(1, "own", "cold", 3.0, False, None, True, *scores, last_update=0)
    return Metagraph(netuid, block, (validator, miner))


class Bench:
    def __init__(self, drawer: Drawer | None = None, clock: ManualClock | None = None) -> None:
        self.chain, self.clock, self.events = SlowChain(), clock or ManualClock(), list[Event]()
        self.drawer = drawer or Drawer()
        self.cache = MetagraphCache(
            self.chain,
            clock=self.clock,
            max_age_s=3600,
            emit=self.events.append,
            load=self.drawer.load,
            save=self.drawer.save,
            own_hotkey="own",
            netuid=39,
        )

    def answer(self, answer: Metagraph | Exception) -> None:
        self.chain.answers.put_nowait(answer)


async def test_refresh_emits_own_values() -> None:
    """A good read is said once, with our own neuron's figures."""
    bench = Bench()
    bench.answer(_metagraph())
    await bench.cache.refresh()
    (event,) = bench.events
    assert isinstance(event, MetagraphRead)
    assert (event.netuid, event.neurons, event.validators) == (39, 2, 1)
    assert (event.own_uid, event.own_stake_tao, event.own_incentive, event.own_emission) == (1, 3.0, 0.5, 2.0)


async def test_current_ages_and_expires() -> None:
    """A reading serves with its age until max_age, then nothing is known."""
    bench = Bench()
    with pytest.raises(ChainUnavailable, match="never read"):
        bench.cache.current()
    bench.answer(_metagraph())
    await bench.cache.refresh()
    await bench.clock.advance(3600)
    assert bench.cache.current() == (_metagraph(), 3600.0)
    await bench.clock.advance(1)
    with pytest.raises(ChainUnavailable, match="3601 s old"):
        bench.cache.current()
    assert bench.cache.age_s == 3601.0


async def test_failure_keeps_the_old_reading() -> None:
    """A failed read raises, is an event with the age of what still serves, and empties nothing."""
    bench = Bench()
    bench.answer(_metagraph())
    await bench.cache.refresh()
    await bench.clock.advance(100)
    bench.answer(ChainUnavailable("no answer", hint="look"))
    with pytest.raises(ChainUnavailable, match="no answer"):
        await bench.cache.refresh()
    event = bench.events[-1]
    assert isinstance(event, ChainFailed)
    assert (event.operation, event.metagraph_age_s) == ("metagraph", 100.0)
    assert bench.cache.current() == (_metagraph(), 100.0)


async def test_wall_clock_jump_does_not_change_the_age() -> None:
    """Ages are counted by the monotonic clock."""
    bench = Bench()
    bench.answer(_metagraph())
    await bench.cache.refresh()
    bench.clock.set_wall(0)
    assert bench.cache.current()[1] == 0.0


async def test_concurrent_refreshes_share_one_read() -> None:
    """Twenty callers at once cost one read, and a caller that gives up does not take it from the others."""
    bench = Bench()
    callers = [asyncio.create_task(bench.cache.refresh()) for _ in range(20)]
    await asyncio.sleep(0)
    callers[0].cancel()
    bench.answer(_metagraph())
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == [_metagraph()] * 19
    assert bench.chain.reads == 1
    assert len(bench.events) == 1
    bench.answer(_metagraph(block=2))
    assert (await bench.cache.refresh()).block == 2
    assert bench.chain.reads == 2


async def test_shared_failure_reaches_every_caller_once() -> None:
    """When the shared read fails every caller learns it, and it is one event."""
    bench = Bench()
    callers = [asyncio.create_task(bench.cache.refresh()) for _ in range(3)]
    await asyncio.sleep(0)
    bench.answer(ChainUnavailable("gone"))
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(result) for result in results] == [ChainUnavailable] * 3
    assert len(bench.events) == 1


async def test_restore_keeps_the_true_age() -> None:
    """After a restart the saved reading serves with the age that it really has."""
    first = Bench()
    first.answer(_metagraph())
    await first.cache.refresh()
    second = Bench(first.drawer, ManualClock(first.clock.now() + 600))
    assert await second.cache.restore() == _metagraph()
    assert second.cache.current() == (_metagraph(), 600.0)
    third = Bench(first.drawer, ManualClock(first.clock.now() + 7200))
    await third.cache.restore()
    with pytest.raises(ChainUnavailable, match="7200 s old"):
        third.cache.current()


@pytest.mark.parametrize(
    "text", ["null", "[]", "{}", '{"read_at": 1, "metagraph": {}}', '{"read_at": true, "metagraph": {"netuid": 39}}']
)
async def test_restore_ignores_what_it_cannot_read(text: str) -> None:
    """A damaged saved reading counts as none."""
    bench = Bench(Drawer(text))
    assert await bench.cache.restore() is None
    assert bench.cache.age_s is None


async def test_restore_ignores_another_subnet_and_the_future() -> None:
    """A reading of another netuid, or one from after now, is not taken up."""
    other = Bench()
    other.answer(_metagraph(netuid=387))
    await other.cache.refresh()
    assert await Bench(other.drawer, other.clock).cache.restore() is None
    first = Bench()
    first.answer(_metagraph())
    await first.cache.refresh()
    assert await Bench(first.drawer, ManualClock(first.clock.now() - 3600)).cache.restore() is None


async def test_close_ends_a_read_under_way() -> None:
    """Closing the cache ends the read; its caller learns that nothing is known, and is not itself cancelled."""
    bench = Bench()
    caller = asyncio.create_task(bench.cache.refresh())
    await asyncio.sleep(0)
    await bench.cache.close()
    with pytest.raises(ChainUnavailable, match="given up"):
        await caller
