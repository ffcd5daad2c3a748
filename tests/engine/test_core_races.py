"""Decisions of the miner while the world moves on between reading the rows and writing them, over a real store."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from engine.chain.models import Metagraph, Neuron
from engine.clock import ManualClock
from engine.control.actions import ActionTable
from engine.errors import PublicKeyRefused, StoreStrained
from engine.events import AssignmentChanged, Event, KeyFailed
from engine.identity.public_keys import PublicKey, parse_public_key
from engine.miner.assignment import Policy, assignment_from_json
from engine.miner.core import ASSIGNMENT_KEY, MinerCore
from engine.miner.drain import DrainBook
from engine.miner.drift import DriftWatch
from engine.miner.fleet import FleetNode
from engine.miner.grants import END_NO_PERMIT, END_UNASSIGNED
from engine.miner.node_work import NodeOutcome
from engine.miner.operator_access import OperatorAccess
from engine.ssh.target import NodeTarget
from engine.store import Grant, Store, open_store
from engine.store.records import Session
from tests.engine.door_support import ed25519_line

NODES = [FleetNode(NodeTarget(f"n{i}", "192.0.2.7", 22 + i, "u"), f"node-{i}") for i in range(3)]
NEURON = Neuron(
    uid=1, hotkey="5V", coldkey="5C", stake_tao=9.0, validator_permit=True, axon=None, active=True, incentive=0.0,
    dividends=0.0, trust=0.0, consensus=0.0, emission_tao=0.0, last_update=0,
)  # fmt: skip
OTHER = dataclasses.replace(NEURON, uid=2, hotkey="5W")


@dataclass
class StillNodes:
    """In the reconciler's place: every grant is in place at once, and no node is touched."""

    store: Store

    async def reconcile_many(self, node_ids: tuple[str, ...]) -> dict[str, NodeOutcome]:
        rows = await self.store.grants.open()
        return {i: NodeOutcome(i, frozenset(g.id for g in rows if g.node_id == i)) for i in node_ids}

    def wake(self) -> None:
        """Nobody sleeps."""


@dataclass
class KnownChain:
    """In the metagraph's place: what a test says."""

    neurons: tuple[Neuron, ...] = (NEURON, OTHER)

    def current(self) -> tuple[Metagraph, float]:
        return Metagraph(39, 1, self.neurons), 0.0

    async def refresh(self) -> Metagraph:
        return self.current()[0]


@dataclass
class World:
    """A core with open access."""

    store: Store
    chain: KnownChain = field(default_factory=KnownChain)
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        metagraph: Any = self.chain
        reconciler: Any = StillNodes(self.store)
        certifying: Any = None
        self.core = MinerCore(
            NODES, self.store, metagraph, reconciler, frozenset, certifying, lambda _: False, wrapping="off",
            policy=Policy(False, "highest_stake", None, 0.0), clock=ManualClock(), emit=self.events.append,
            session_lifetime_s=3600.0,
        )  # fmt: skip

    async def meanwhile(self, monkeypatch: pytest.MonkeyPatch, act: Any) -> None:
        """Let this happen right after the next reading of the open grants."""
        read = self.store.grants.open
        done: list[bool] = []

        async def open_then_act() -> list[Grant]:
            rows = await read()
            if not done:
                done.append(True)
                await act(rows)
            return rows

        monkeypatch.setattr(self.store.grants, "open", open_then_act)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    store = await open_store(f"sqlite:{tmp_path / 'miner.db'}", clock=ManualClock())
    made = World(store)
    await made.core.reassign()
    yield made
    await store.close()


def key(seed: int = 1) -> PublicKey:
    return parse_public_key(ed25519_line(seed))


async def test_a_renewal_leaves_what_the_node_showed_meanwhile(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line was read back between the renewal's reading and writing: the row goes on knowing it."""
    await world.core.admit("5V", key(), "A")

    async def read_back(rows: list[Grant]) -> None:
        for row in rows:
            await world.store.grants.mark_deployed(row.id, 77, 1.0)

    await world.meanwhile(monkeypatch, read_back)
    await world.core.admit("5V", key(), "A")
    assert [row.deployed_exp for row in await world.store.grants.open()] == [77] * 3


async def test_a_grant_that_ends_meanwhile_stays_ended_and_a_new_one_is_given(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One node's grant runs out under the renewal: the validator gets another there, the others are prolonged."""
    await world.core.admit("5V", key(), "A")
    before = await world.store.grants.open()

    async def run_out(rows: list[Grant]) -> None:
        await world.store.grants.end([rows[0].id], 5.0, "expired")

    await world.meanwhile(monkeypatch, run_out)
    access = await world.core.admit("5V", key(), "A")
    assert len(access.nodes) == 3
    rows = await world.store.grants.open()
    assert Counter(row.node_id for row in rows if row.ended_at is None) == {"n0": 1, "n1": 1, "n2": 1}
    (over,) = [row for row in rows if row.ended_at is not None]
    assert (over.id, over.end_reason) == (before[0].id, "expired")


async def test_a_permit_lost_since_the_door_asked_gives_nothing(world: World) -> None:
    """The chain is read between the door's question and the core's answer: no row is written, none comes back."""
    await world.core.admit("5V", key(), "A")
    assert (await world.core.permit("5V")).permitted
    world.chain.neurons = (OTHER,)
    await world.core.reassign()
    access = await world.core.admit("5V", key(), "A")
    assert access.nodes == ()
    assert {row.end_reason for row in await world.store.grants.open()} == {END_NO_PERMIT}


async def test_two_discoveries_at_once_leave_one_grant_per_node(world: World) -> None:
    """The same validator calls twice in the same moment."""
    await asyncio.gather(*(world.core.admit("5V", key(), "A") for _ in range(4)))
    assert Counter(row.node_id for row in await world.store.grants.open()) == {"n0": 1, "n1": 1, "n2": 1}


async def test_two_validators_with_one_key_at_once(world: World) -> None:
    """Exactly one of them gets in; the other is told to bring a key of its own."""
    results = await asyncio.gather(
        *(world.core.admit(hotkey, key(), "A") for hotkey in ("5V", "5W")), return_exceptions=True
    )
    assert [type(result) for result in results if isinstance(result, BaseException)] == [PublicKeyRefused]
    assert len({row.hotkey for row in await world.store.grants.open()}) == 1
    assert not [event for event in world.events if isinstance(event, KeyFailed)]


def session(token: str, seed: int = 1, until: float | None = None) -> Session:
    """What the door writes when a validator has authenticated."""
    brought = key(seed)
    return Session(
        "5V", token, 0.0, 9e9, "A", "192.0.2.9:1", 1, 9.0, brought.algorithm, brought.blob_base64,
        brought.fingerprint, access_until=until,
    )  # fmt: skip


def operator(world: World, meanwhile: Callable[[], Awaitable[object]]) -> ActionTable:
    """The operator's verbs; this happens while the nodes are written."""

    class Slow(StillNodes):
        async def reconcile_many(self, node_ids: tuple[str, ...]) -> dict[str, NodeOutcome]:
            await meanwhile()
            return await super().reconcile_many(node_ids)

    reconciler: Any = Slow(world.store)
    book = DrainBook(world.store.keyvalue, clock=ManualClock(), emit=world.events.append)
    actions = ActionTable(world.events.append, ManualClock())
    OperatorAccess(world.core, world.store, reconciler, book, clock=ManualClock(), emit=world.events.append).register(
        actions
    )
    return actions


async def renew(world: World, meanwhile: Callable[[], Awaitable[object]]) -> None:
    """The operator's ``session.renew``."""
    await operator(world, meanwhile).run("session.renew", {"hotkey": "5V"}, role="operator", actor="operator")


async def test_an_operators_renewal_leaves_the_session_that_began_meanwhile(world: World) -> None:
    """The validator authenticates anew, with another key, while its nodes are written: that session stays its own."""
    await world.core.admit("5V", key(), "A")
    await world.store.sessions.put(session("first", until=1.0))
    await renew(world, lambda: world.store.sessions.put(session("second", 2, until=2.0)))
    kept = await world.store.sessions.get("5V")
    assert kept is not None
    assert (kept.token, kept.key_blob_base64) == ("second", key(2).blob_base64)
    assert kept.access_until is not None and kept.access_until > 2.0


async def test_a_session_that_is_stored_while_a_renewal_ends_is_not_lost(world: World) -> None:
    """Both writes are on their way at the same moment, the validator's first: its row is not put back."""
    await world.core.admit("5V", key(), "A")
    await world.store.sessions.put(session("first", until=1.0))
    on_the_way: list[asyncio.Task[None]] = []

    async def begin() -> None:
        on_the_way.append(asyncio.ensure_future(world.store.sessions.put(session("second", 2))))
        await asyncio.sleep(0)

    await renew(world, begin)
    await asyncio.gather(*on_the_way)
    kept = await world.store.sessions.get("5V")
    assert kept is not None and kept.token == "second"


async def test_an_operators_renewal_does_not_bring_an_ended_session_back(world: World) -> None:
    """A second operator ends it while the first one's renewal writes the nodes."""
    await world.core.admit("5V", key(), "A")
    first = session("first", until=1.0)
    await world.store.sessions.put(first)
    await renew(world, lambda: world.store.sessions.end(first, 5.0, "ended by the operator"))
    kept = await world.store.sessions.get("5V")
    assert kept is not None and (kept.ended_at, kept.access_until) == (5.0, 1.0)


async def test_an_operators_renewal_leaves_what_the_node_showed_meanwhile(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line was read back between the renewal's reading and writing: the row goes on knowing it."""
    await world.core.admit("5V", key(), "A")
    await world.store.sessions.put(session("first", until=1.0))

    async def read_back(rows: list[Grant]) -> None:
        for row in rows:
            await world.store.grants.mark_deployed(row.id, 77, 1.0)

    async def nothing() -> None:
        pass

    actions = operator(world, nothing)
    read, calls = world.store.grants.open, []

    async def open_then_read_back() -> list[Grant]:
        rows = await read()
        calls.append(rows)
        if len(calls) == 2:  # the first is the operator's own look, the second is what the renewal is decided by
            await read_back(rows)
        return rows

    monkeypatch.setattr(world.store.grants, "open", open_then_read_back)
    await actions.run("session.renew", {"hotkey": "5V"}, role="operator", actor="operator")
    assert [row.deployed_exp for row in await read()] == [77] * 3


async def test_nodes_drained_at_once_are_all_out(world: World) -> None:
    """A console drains all marked nodes in one go: none is forgotten, over a restart neither."""
    names = [f"n{number}" for number in range(8)]
    book = DrainBook(world.store.keyvalue, clock=ManualClock(), emit=world.events.append)
    assert all(await asyncio.gather(*(book.drain(name) for name in names)))
    assert not any(await asyncio.gather(*(book.drain(name) for name in names)))
    await asyncio.gather(*(book.enable(name) for name in names[:3]))
    again = DrainBook(world.store.keyvalue, clock=ManualClock(), emit=world.events.append)
    await again.restore(names)
    for one in (book, again):
        assert [name for name in names if one.is_out(name)] == names[3:]


async def test_lines_accepted_at_once_are_all_in_the_baseline(world: World) -> None:
    """Two acceptances and a reading in the same moment: nothing is reported again, over a restart neither."""
    target = NODES[0].target
    operators, first, second = (f"{ed25519_line(seed)}\n".encode() for seed in (7, 8, 9))
    watch = DriftWatch(world.store.keyvalue, clock=ManualClock(), emit=world.events.append)
    await watch.see(target, operators, (), ())
    lines = await watch.see(target, operators + first + second, (), ())
    one, other = [line.fingerprint for line in lines if line.is_unexplained]
    await asyncio.gather(
        watch.accept(target, [one]),
        watch.see(target, operators + first + second, (), ()),
        watch.accept(target, [other]),
    )
    again = DriftWatch(world.store.keyvalue, clock=ManualClock(), emit=world.events.append)
    for reader in (watch, again):
        seen = await reader.see(target, operators + first + second, (), ())
        assert [line.kind for line in seen] == ["operator"] * 3


async def test_a_full_disk_keeps_nobody_in_and_loses_no_choice(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new choice cannot be stored: it counts and is said, whoever is out is out, and the next turn stores it."""
    await world.core.admit("5W", key(), "A")
    put = world.store.keyvalue.put

    async def is_full(name: str, value: object) -> None:
        raise StoreStrained(f"{name}: no space left")

    monkeypatch.setattr(world.store.keyvalue, "put", is_full)
    world.core.set_policy(Policy(True, "fixed_assignment", "5V", 0.0))
    with pytest.raises(StoreStrained):
        await world.core.reassign()
    assert world.core.assignment.hotkey == "5V"
    assert [e.validator_hotkey for e in world.events if isinstance(e, AssignmentChanged)][-1:] == ["5V"]
    assert {g.end_reason for g in await world.store.grants.open()} == {END_UNASSIGNED}
    monkeypatch.setattr(world.store.keyvalue, "put", put)
    await world.core.reassign()
    stored = assignment_from_json(await world.store.keyvalue.get(ASSIGNMENT_KEY))
    assert stored == world.core.assignment
