"""What ended goes at once, while a node that is slow to get to know is still being got to know."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import secrets
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from engine.clock import SystemClock
from engine.errors import SshTimeout
from engine.events import Event, KeyFailed, KeyRemoved
from engine.identity.public_keys import parse_public_key
from engine.miner.capabilities import Enrolled
from engine.miner.certifying import Certifying
from engine.miner.drift import DriftWatch
from engine.miner.grant_files import PlacementBook
from engine.miner.grants import plan_grants
from engine.miner.live_sessions import LiveSessions
from engine.miner.membership import Membership
from engine.miner.reconcile_loop import CONCURRENT_NODES
from engine.miner.reconciler import Reconciler
from engine.ssh.capability import probe_capability
from engine.ssh.keys import ClientKey
from engine.ssh.pool import NodePool
from engine.ssh.target import NodeTarget, RootFile
from engine.store import Store, open_store
from engine.store.records import KnownNode
from tests.support.miner_subnet import MinerSubnet
from tests.support.pools import Pools
from tests.support.sshd import NodeSshd
from tests.support.subnets import Subnets

pytestmark = pytest.mark.sshd
Nodes = Callable[..., NodeSshd]
CANARY = b"renter-canary"
HOTKEY = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
LOGIN_S = 6
"""A stranger's key is looked up for this long, once when it is offered and once when it signs."""


def keys_on(node: NodeSshd) -> bytes:
    return node.authorized_keys.read_bytes()


def our_lines(node: NodeSshd) -> list[bytes]:
    return [line for line in node.keys().splitlines() if b" grant=" in line and CANARY not in line]


def upgrade_to_a_slow_sshd(subnet: MinerSubnet) -> None:
    """Another banner, so that the node is got to know anew, and logins of unknown keys that take ``2 * LOGIN_S``."""
    node = subnet.nodes[0]
    known = (subnet.root / "node_key.pub").read_text().split()[1]
    lookup = node.root / "lookup"
    lookup.write_text(f'[ "$1" = "{known}" ] || sleep {LOGIN_S}\n')
    lookup.chmod(0o755)
    with (node.root / "sshd_config").open("a") as config:
        config.write(f"VersionAddendum upgraded\nAuthorizedKeysCommand /bin/sh {lookup} %k\n")
        config.write("AuthorizedKeysCommandUser root\n")
    node.restart()


def wait_until(condition: Callable[[], bool], what: str) -> None:
    given_up_at = time.monotonic() + 100
    while not condition():
        assert time.monotonic() < given_up_at, what
        time.sleep(0.02)


def in_the_first_look(subnets: Subnets, node: NodeSshd, **settings: object) -> MinerSubnet:
    """An engine whose two validators have keys on a node that it has just begun to get to know again."""
    subnet = subnets([node], validator_assignment={"enabled": False, "interval": 2}, **settings)
    if not node.is_private:
        pytest.skip("only root may tell sshd how to look keys up")
    subnet.start()
    subnet.settle()
    for validator in subnet.validators:
        assert len(asyncio.run(subnet.discover(validator)).nodes) == 1
    subnet.kill()
    upgrade_to_a_slow_sshd(subnet)
    subnet.start()
    wait_until(lambda: CANARY in keys_on(node), "no trial line")
    return subnet


def test_revocation_goes_before_a_slow_first_look(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """The operator's word and a permit lost on chain take effect beside the trial logins, which come to their end:
    twelve seconds each, and a verdict all the same."""
    node = sshd_nodes()
    subnet = in_the_first_look(subnets, node)
    first, second = subnet.validators
    (node_id,) = asyncio.run(subnet.snapshot()).nodes
    assert len(our_lines(node)) == 2

    result: Any = asyncio.run(subnet.act("grant.revoke", node_id=node_id, hotkey=first.hotkey))
    there = node.keys()
    assert result["ended"] == 1
    assert first.key.blob_base64.encode() not in there and second.key.blob_base64.encode() in there
    assert CANARY in there

    subnet.admin.set_permit(39, second.hotkey, False)
    asyncio.run(subnet.act("assignment.refresh"))
    wait_until(lambda: our_lines(node) == [], "the second key stays")
    assert CANARY in keys_on(node)

    def is_proved(snapshot: Any) -> bool:
        return any(n.expiry_enforced == "proved" for n in snapshot.views["nodes"].values())

    snapshot: Any = asyncio.run(subnet.until(lambda s: is_proved(s) and CANARY not in keys_on(node)))
    (view,) = snapshot.views["nodes"].values()
    assert json.loads(view.capability_json)["sshd_version"].endswith("upgraded")
    assert our_lines(node) == []


def test_a_stop_with_revoke_on_exit_goes_before_a_slow_first_look(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """The engine stops in the middle of the trial logins: neither a key nor a trial line is left."""
    node = sshd_nodes()
    before: list[bytes] = []

    def remember(subnet: MinerSubnet) -> MinerSubnet:
        before.append(node.keys())
        return subnet

    subnet = in_the_first_look(
        lambda nodes, **settings: remember(subnets(nodes, **settings)), node, access={"revoke_on_exit": True}
    )
    assert len(our_lines(node)) == 2
    assert subnet.stop() == 0
    assert node.keys() == before[0]


# --- the reconciler alone ------------------------------------------------------------------------------------------


@dataclass
class EndlessLook:
    """In the enrolment's place: the first look at a node lasts until the test says so."""

    pool: NodePool
    is_over: asyncio.Event = field(default_factory=asyncio.Event)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    visitors: int = 0

    def knows(self, node_id: str) -> bool:
        return self.is_over.is_set()

    async def enrolled(self, target: NodeTarget, root: RootFile | None = None) -> Enrolled:
        self.begun.set()
        self.visitors += 1
        await self.is_over.wait()
        self.visitors -= 1
        return Enrolled(await probe_capability(self.pool, target), "proved")


@dataclass
class Bench:
    """A reconciler with one node, and what it said."""

    node: NodeSshd
    store: Store
    look: EndlessLook
    reconciler: Reconciler
    events: list[Event]

    def line_count(self) -> int:
        return len(our_lines(self.node))

    async def grant(self, lifetime_s: float) -> str:
        """A row as a discovery writes it; returns its id."""
        plan = plan_grants(
            [], [self.node.target.node_id], HOTKEY, parse_public_key(ClientKey.generate("v").public_line),
            now=time.time(), lifetime_s=lifetime_s, new_id=lambda: secrets.token_hex(8),
        )  # fmt: skip
        await self.store.grants.put_many(plan.put)
        self.reconciler.wake()
        return plan.put[0].id

    async def until(self, holds: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(60):
            while not await holds():
                await asyncio.sleep(0.02)

    async def is_removed(self, grant_id: str) -> bool:
        row = await self.store.grants.get(grant_id)
        return row is not None and row.removed_at is not None

    async def is_deployed(self, grant_id: str) -> bool:
        row = await self.store.grants.get(grant_id)
        return row is not None and row.deployed_at is not None


@pytest.fixture
async def bench(sshd_node: NodeSshd, pools: Pools, tmp_path: Path) -> AsyncIterator[Bench]:
    clock, events = SystemClock(), pools.events
    pools.known_to(sshd_node)
    pool = pools.make()
    store = await open_store(f"sqlite:{tmp_path / 'miner.db'}", clock=clock)
    look = EndlessLook(pool)
    reconciler = Reconciler(
        pool, store.grants, look, DriftWatch(store.keyvalue, clock=clock, emit=events.append),
        LiveSessions(pool, clock=clock, emit=events.append), Certifying(tmp_path, "5M", pool.host_keys, clock=clock),
        PlacementBook(store.keyvalue), clock=clock, emit=events.append, node_deadline_s=30.0, interval_s=300.0,
        audit_interval_s=3000.0, adopt_leftovers=False,
    )  # fmt: skip
    reconciler.manage([sshd_node.target])
    running = asyncio.create_task(reconciler.run())
    yield Bench(sshd_node, store, look, reconciler, events)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await store.close()


async def deployed_then_forgotten(bench: Bench, *lifetimes_s: float) -> list[str]:
    """Grants in place on a node that has to be got to know again, which has begun and does not end."""
    bench.look.is_over.set()
    ids = [await bench.grant(one) for one in lifetimes_s]
    for grant_id in ids:
        await bench.until(lambda grant_id=grant_id: bench.is_deployed(grant_id))  # type: ignore[misc]
    bench.look.is_over.clear()
    bench.look.begun.clear()
    ids.append(await bench.grant(3600.0))
    await bench.look.begun.wait()
    return ids


async def test_a_grant_that_expires_goes_beside_the_first_look(bench: Bench) -> None:
    """Its end is known before the look ends, nothing wakes the engine, and the line goes with its time."""
    short, long, waiting = await deployed_then_forgotten(bench, 25.0, 3600.0)
    assert bench.line_count() == 2
    await bench.until(lambda: bench.is_removed(short))
    assert bench.line_count() == 1 and not bench.look.is_over.is_set()
    bench.look.is_over.set()
    await bench.until(lambda: bench.is_deployed(waiting))
    assert bench.line_count() == 2 and not await bench.is_removed(long)
    assert [e.grant_id for e in bench.events if isinstance(e, KeyRemoved)] == [short]
    assert not [e for e in bench.events if isinstance(e, KeyFailed)]


async def test_slow_nodes_in_every_place_hold_nobody_up(bench: Bench) -> None:
    """As many first looks as there are places, none of which ends: what ends on another node goes all the same."""
    bench.look.is_over.set()
    first = await bench.grant(3600.0)
    await bench.until(lambda: bench.is_deployed(first))
    bench.look.is_over.clear()
    bench.reconciler.manage(
        dataclasses.replace(bench.node.target, node_id=f"slow-{number}") for number in range(CONCURRENT_NODES)
    )
    bench.reconciler.wake()

    async def is_full() -> bool:
        return bench.look.visitors == CONCURRENT_NODES

    await bench.until(is_full)
    await bench.store.grants.end([first], time.time(), "ended by the operator")
    bench.reconciler.wake()
    await bench.until(lambda: bench.is_removed(first))
    assert bench.line_count() == 0 and bench.look.visitors == CONCURRENT_NODES


async def test_rows_that_end_during_the_first_look_are_not_written_after_it(bench: Bench) -> None:
    """Taken away beside the look, and not brought back by what the visit had read before."""
    first, second, waiting = await deployed_then_forgotten(bench, 3600.0, 3600.0)
    await bench.store.grants.end([first, waiting], time.time(), "ended by the operator")
    assert await bench.reconciler.take_away(bench.node.target.node_id) is None
    assert await bench.is_removed(first) and await bench.is_removed(waiting) and bench.line_count() == 1
    bench.look.is_over.set()
    outcome = await bench.reconciler.reconcile(bench.node.target.node_id)
    assert outcome.in_place == {second} and bench.line_count() == 1


async def test_a_node_that_moves_during_the_first_look_gets_nothing_at_its_old_address(bench: Bench) -> None:
    """The visit that began at the former address ends without a line there."""
    (waiting,) = await deployed_then_forgotten(bench)
    target = dataclasses.replace(bench.node.target, host="127.0.0.2")  # nothing listens there
    async with bench.reconciler.hold_file(target.node_id):
        bench.reconciler.manage([target])
    bench.look.is_over.set()
    await bench.until(lambda: _said(bench, KeyFailed))  # the next visit, at the new address
    assert bench.line_count() == 0 and not await bench.is_deployed(waiting)


async def test_what_cannot_be_taken_away_in_time_is_said(bench: Bench) -> None:
    """Whoever writes the file does not let go: the caller hears of it at the node's deadline, the row stays."""
    (first, _) = await deployed_then_forgotten(bench, 3600.0)
    bench.reconciler.set_limits(node_deadline_s=0.2, interval_s=300.0, adopt_leftovers=False)
    async with bench.reconciler.hold_file(bench.node.target.node_id):
        await bench.store.grants.end([first], time.time(), "ended by the operator")
        error = await bench.reconciler.take_away(bench.node.target.node_id)
    assert isinstance(error, SshTimeout) and not await bench.is_removed(first)
    (failed,) = [e for e in bench.events if isinstance(e, KeyFailed)]
    assert failed.operation == "remove"


async def _said(bench: Bench, kind: type[Event]) -> bool:
    return any(isinstance(event, kind) for event in bench.events)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("expires_at", "soon"),
        ("expires_at", float("inf")),
        ("deployed_exp", "x"),
        ("blob_base64", "not base64"),
        ("hotkey", b"\xff"),
    ],
)
async def test_a_damaged_row_is_one_fault_and_the_others_go_on(
    bench: Bench, tmp_path: Path, column: str, value: object
) -> None:
    """Its key is taken off and said once with a hint; a grant beside it is written, and what ends is removed."""
    bench.look.is_over.set()
    damaged = await bench.grant(3600.0)
    await bench.until(lambda: bench.is_deployed(damaged))
    with contextlib.closing(sqlite3.connect(tmp_path / "miner.db")) as database, database:
        database.execute(f"UPDATE engine_grants SET {column} = ? WHERE id = ?", (value, damaged))
    sound = await bench.grant(3600.0)
    await bench.until(lambda: bench.is_deployed(sound))
    assert bench.line_count() == 1 and bench.store.grants.damaged == {damaged}
    await bench.store.grants.end([sound], time.time(), "ended by the operator")
    bench.reconciler.wake()
    await bench.until(lambda: bench.is_removed(sound))
    assert bench.line_count() == 0
    faults = [e for e in bench.events if isinstance(e, KeyFailed)]
    assert [(e.error_code, damaged in e.message, bool(e.hint)) for e in faults] == [("row_damaged", True, True)]


async def test_a_node_that_left_is_not_forgotten_before_a_damaged_rows_key_is_gone(
    bench: Bench, tmp_path: Path
) -> None:
    """Nothing else is open there, and the node cannot be got to know: the key goes all the same, then the node does."""
    bench.look.is_over.set()
    damaged = await bench.grant(3600.0)
    await bench.until(lambda: bench.is_deployed(damaged))
    bench.look.is_over.clear()
    target = bench.node.target
    known = KnownNode(target.node_id, target.host, target.port, target.username, "node-1", time.time(), time.time())
    await bench.store.nodes.put_many([known])
    with contextlib.closing(sqlite3.connect(tmp_path / "miner.db")) as database, database:
        database.execute("UPDATE engine_grants SET expires_at = 'soon' WHERE id = ?", (damaged,))
    members = Membership([], bench.store, bench.reconciler, clock=SystemClock(), emit=bench.events.append)
    assert (await members.forget_clean(), bench.line_count()) == ([], 1)

    async def is_gone() -> bool:
        return bench.line_count() == 0 and not bench.store.grants.damaged_on

    await bench.until(is_gone)
    assert [target.node_id for target in await members.forget_clean()] == [target.node_id]


async def test_an_unforeseen_fault_on_a_node_does_not_end_the_loop(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A visit that fails in a way nobody foresaw is said as that node's fault, and the node is tried again."""
    bench.look.is_over.set()
    faults = iter([ValueError("no such thing")])
    enrolled = bench.look.enrolled

    async def fails_once(target: NodeTarget, root: RootFile | None = None) -> Enrolled:
        for fault in faults:
            raise fault
        return await enrolled(target, root)

    async def is_said() -> bool:
        return any(isinstance(e, KeyFailed) for e in bench.events)

    monkeypatch.setattr(bench.look, "enrolled", fails_once)
    waiting = await bench.grant(3600.0)
    await bench.until(is_said)
    bench.reconciler.retry_now(bench.node.target.node_id)
    await bench.until(lambda: bench.is_deployed(waiting))
    assert [e.error_code for e in bench.events if isinstance(e, KeyFailed)] == ["unexpected_fault"]
