"""Setting weights when the chain does not play along. The chain is a stand-in that answers what a case says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from engine.chain import Metagraph
from engine.chain.models import Neuron
from engine.clock import SystemClock
from engine.config.validator import EmissionConfig, GpuAllocation, ValidatorConfig
from engine.errors import BasilicaError, ChainRateLimited, ChainRefused, ChainUnavailable, ScoresInvalid, StoreUnusable
from engine.events import WeightsFailed, WeightsSet
from engine.store import Store, open_store
from engine.validator.weights import ATTEMPTS, PAUSE_S, RATE_LIMIT_PAUSE_S, REFUSED_PAUSE_S, TICK_S, WeightSetter

OWN = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
BLOCK = 1000


class EndOfTest(Exception):
    """The service has paused as often as a case wants to see."""


class HastyClock(SystemClock):
    """Sleeps are noted and take no time; after ``most`` of them the test is over."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.most = 100

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if len(self.slept) >= self.most:
            raise EndOfTest
        await asyncio.sleep(0)


class ScriptedChain:
    """Answers each call with the next entry: an error to raise, or None for "taken"."""

    def __init__(self) -> None:
        self.answers: list[BasilicaError | None] = []
        self.block: int | BasilicaError = BLOCK
        self.calls: list[tuple[Mapping[int, float], int]] = []
        self.last_update = 0
        self.uids = (0, 1)

    async def block_number(self) -> int:
        if isinstance(self.block, BasilicaError):
            raise self.block
        return self.block

    async def set_weights(self, weights: Mapping[int, float], version_key: int) -> None:
        self.calls.append((weights, version_key))
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer

    async def refresh(self) -> Metagraph:
        """As the cache in front of it would."""
        neurons = tuple(
            Neuron(uid, OWN if uid == 0 else f"5{uid}", "", 1.0, uid == 0, None, True, 0, 0, 0, 0, 0, self.last_update)
            for uid in self.uids
        )
        return Metagraph(39, BLOCK, neurons)


class World:
    """A setter over a real store."""

    def __init__(self, store: Store, burn_uid: int = 1) -> None:
        self.store, self.chain, self.clock = store, ScriptedChain(), HastyClock()
        self.events: list[object] = []
        emission = EmissionConfig(
            burn_uid=burn_uid,
            burn_percentage=20.0,
            weight_version_key=7,
            gpu_allocations={"H100": GpuAllocation(weight=100.0)},
        )
        self.setter = WeightSetter(
            ValidatorConfig(emission=emission),
            store=store,
            chain=cast(Any, self.chain),
            metagraph=cast(Any, self.chain),
            hotkey=OWN,
            clock=self.clock,
            emit=self.events.append,
        )


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    store = await open_store(f"sqlite:{tmp_path / 'validator.db'}", clock=SystemClock())
    yield World(store)
    await store.close()


async def test_an_unreachable_chain_is_asked_three_times_each_with_a_new_key(world: World) -> None:
    """Two failures, then success: the version key grew with each attempt, and the vector is in force."""
    world.chain.answers = [ChainUnavailable("away"), ChainUnavailable("away")]
    await world.setter.set_now(BLOCK)
    assert [key for _, key in world.chain.calls] == [8, 9, 10]
    assert world.clock.slept == [PAUSE_S, PAUSE_S]
    (told,) = [event for event in world.events if isinstance(event, WeightsSet)]
    assert told.version_key == 10
    assert await world.setter.next_block(BLOCK) == BLOCK + 360


async def test_after_three_failures_the_interval_has_not_begun(world: World) -> None:
    """Nothing was set: the error is raised, and the next tick is due again."""
    world.chain.answers = [ChainUnavailable("away")] * ATTEMPTS
    due = await world.setter.next_block(BLOCK)
    with pytest.raises(ChainUnavailable):
        await world.setter.set_now(due)
    assert len(world.chain.calls) == ATTEMPTS
    assert await world.setter.next_block(due) == due
    assert await world.setter.set_if_due(due)
    assert world.chain.calls[-1][1] == 7 + ATTEMPTS + 1


async def test_an_unanswered_call_that_arrived_is_not_sent_again(world: World) -> None:
    """The chain shows our weights as newer than the block of the call: it was taken."""
    world.chain.answers = [ChainUnavailable("no answer")]
    world.chain.last_update = BLOCK + 1
    await world.setter.set_now(BLOCK)
    assert len(world.chain.calls) == 1
    assert [type(event) for event in world.events] == [WeightsSet]


@pytest.mark.parametrize("refusal", [ChainRefused("too little stake"), ChainRateLimited("too soon")])
async def test_a_refusal_is_not_repeated(world: World, refusal: ChainRefused) -> None:
    """Asking again would not change the answer."""
    world.chain.answers = [refusal]
    with pytest.raises(ChainRefused):
        await world.setter.set_now(BLOCK)
    assert len(world.chain.calls) == 1 and world.clock.slept == []


@pytest.mark.parametrize(
    ("error", "pause_s"),
    [
        (ChainRateLimited("too soon"), RATE_LIMIT_PAUSE_S),
        (ChainRefused("too little stake"), REFUSED_PAUSE_S),
        (ChainUnavailable("away"), TICK_S),
    ],
)
async def test_the_service_says_what_failed_and_when_it_tries_again(
    world: World, error: BasilicaError, pause_s: float
) -> None:
    """Each failure has its pause; the event tells both."""
    world.chain.block = error
    world.clock.most = 2
    with pytest.raises(EndOfTest):
        await world.setter.keep_setting()
    assert world.clock.slept == [pause_s, pause_s]
    failed = [event for event in world.events if isinstance(event, WeightsFailed)]
    assert [(event.error_code, event.retry_in_s) for event in failed] == [(error.code, pause_s)] * 2


async def test_two_who_set_at_the_same_time_set_once(world: World) -> None:
    """The operator sets while the service finds that it is time: the second one finds that it is not."""
    due = await world.setter.next_block(BLOCK)
    _, was_due = await asyncio.gather(world.setter.set_now(due), world.setter.set_if_due(due))
    assert not was_due
    assert len(world.chain.calls) == 1


async def test_what_was_taken_and_not_stored_is_not_set_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full in the moment after the chain's answer: the next interval counts from there all the same."""
    await world.setter.set_now(BLOCK)

    async def full(_record: object) -> None:
        raise StoreUnusable("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(world.store.weights, "add", full)
        with pytest.raises(StoreUnusable):
            await world.setter.set_if_due(BLOCK + 360)
    assert not await world.setter.set_if_due(BLOCK + 361)
    assert len(world.chain.calls) == 2
    assert await world.setter.set_if_due(BLOCK + 720)


async def test_what_should_be_burnt_is_not_shared_among_miners(world: World) -> None:
    """A burn uid that is not registered ends the round in words, before the chain is asked."""
    lost = World(world.store, burn_uid=99)
    with pytest.raises(ScoresInvalid, match="uid 99, which takes what is burnt, is not registered") as caught:
        await lost.setter.set_now(BLOCK)
    assert "emission.burn_uid" in caught.value.hint
    assert lost.chain.calls == []
