"""The queue of full verifications: how many run, how many wait, and that one miner's nodes leave room for others'."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, cast

import pytest

from engine.clock import ManualClock
from engine.config.validator import ValidatorConfig
from engine.events import Event
from engine.ssh.host_keys import HostKeys
from engine.ssh.keys import ClientKey
from engine.ssh.pool import NodePool
from engine.validator.breath import Breath
from engine.validator.checks import ALWAYS_QUEUED, MAX_QUEUED, NodeChecks
from engine.validator.due import Due
from engine.validator.full import FullFinding, FullVerification
from engine.validator.lightweight import Finding
from engine.validator.miner_nodes import OfferedNode
from engine.validator.role import full_settings
from engine.validator.sessions import Session, Sessions
from engine.validator.settlement import Check
from engine.validator.targets import MinerTarget


class Book:
    """Takes what was found; ``rented`` are ids of nodes."""

    def __init__(self) -> None:
        self.rented: set[str] = set()
        self.recorded: list[Check] = []

    async def is_rented(self, place: tuple[str, str]) -> bool:
        return place[1] in self.rented

    async def record(self, check: Check) -> object:
        self.recorded.append(check)
        return check.row


@dataclass
class World:
    """Checks whose full verifications last until ``end``."""

    checks: NodeChecks
    sessions: Sessions
    session: Session
    events: list[Event]
    end: asyncio.Event
    book: Book

    def enqueue(self, miner: str, nodes: int) -> int:
        """How many of a miner's nodes were taken."""
        target = MinerTarget(1, miner, "192.0.2.1", 1)
        taken = 0
        for number in range(nodes):
            node = OfferedNode(f"n{number}", "192.0.2.2", 22, "u")
            taken += self.checks.enqueue(Due(target, node, self.session, tier="full", reason="new"))
        return taken

    async def started(self) -> Counter[str]:
        """By miner, after everything that can begin has begun."""
        seen = -1
        while seen != len(self.events):
            seen = len(self.events)
            for _ in range(50):  # each begins in a turn of its own
                await asyncio.sleep(0)
        return Counter(cast(Any, event).miner_hotkey for event in self.events if event.kind == "verification.started")


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """``full_at_once`` is the fixture's parameter."""
    end = asyncio.Event()

    async def run(_self: object) -> FullFinding:
        await end.wait()
        return FullFinding()

    monkeypatch.setattr(FullVerification, "run", run)
    clock, events, book = ManualClock(), list[Event](), Book()
    sessions = Sessions(
        NodePool(ClientKey.generate(), HostKeys(None), clock=clock, emit=events.append), "5V",
        clock=clock, lifetime_s=3600.0, persistent=None,
    )  # fmt: skip
    checks = NodeChecks(
        full_settings(ValidatorConfig()), book=cast(Any, book), sessions=sessions, clock=clock, emit=events.append,
        breath=Breath(late_s=60.0), full_at_once=request.param,
    )  # fmt: skip
    async with sessions.entered("5A") as session:
        yield World(checks, sessions, session, events, end, book)
    for task in checks.full_tasks:
        task.cancel()
    await asyncio.gather(*checks.full_tasks, return_exceptions=True)
    await sessions.close()


@pytest.mark.parametrize("world", [1024], indirect=True)
async def test_as_many_as_allowed_are_in_flight(world: World) -> None:
    """Of 1,100 that wait 1,024 begin; each that ends lets one begin, and all end."""
    assert sum(world.enqueue(f"5M{number}", 110) for number in range(10)) == 1100
    assert (await world.started()).total() == ValidatorConfig().verification.max_concurrent_full_validations == 1024
    world.end.set()
    await asyncio.gather(*world.checks.full_tasks)
    assert (await world.started()).total() == 1100
    assert not world.checks.full_tasks


@pytest.mark.parametrize("world", [64], indirect=True)
async def test_one_miner_cannot_take_all_places(world: World) -> None:
    """A miner with a thousand nodes that hang has an eighth of the places, and the next miner begins at once."""
    world.enqueue("5Many", 1000)
    world.enqueue("5Few", 3)
    assert await world.started() == {"5Many": 8, "5Few": 3}


@pytest.mark.parametrize("world", [8], indirect=True)
async def test_a_full_queue_still_takes_some_of_each(world: World) -> None:
    """8,192 wait: no more of those who filled it, and the first nodes of everybody else."""
    assert sum(world.enqueue(f"5M{number}", 1024) for number in range(8)) == MAX_QUEUED == 8192
    assert world.enqueue("5M0-late", ALWAYS_QUEUED + 5) == ALWAYS_QUEUED
    assert len(world.checks.full_tasks) == MAX_QUEUED + ALWAYS_QUEUED


@pytest.mark.parametrize("world", [1], indirect=True)
async def test_a_node_rented_while_it_waited_works_for_us_no_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Queued for a full verification, rented before its turn: it gets a lightweight check instead."""
    looked = list[str]()

    async def look(_pool: object, target: Any, **_more: object) -> Finding:
        looked.append(target.host)
        return Finding(1.0, None, None)

    monkeypatch.setattr("engine.validator.checks.check_lightly", look)
    world.enqueue("5M", 2)
    assert await world.started() == {"5M": 1}
    world.book.rented.add("n1")
    world.end.set()
    await asyncio.gather(*world.checks.full_tasks)
    assert (await world.started(), looked) == ({"5M": 1}, ["192.0.2.2"])
    assert [(check.row.node_id, check.row.tier, check.is_rented) for check in world.book.recorded] == [
        ("n0", "full", False),
        ("n1", "lightweight", True),
    ]
