"""Every repository over a real SQLite file and over a real PostgreSQL server."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator

import pytest

from engine.clock import ManualClock
from engine.events import Event, NodeRemoved, ServiceStarted
from engine.store import Grant, KnownNode, Session, SpentNonce, Store, Verification, open_store
from engine.store.database import Database
from engine.store.eventlog import EventQueue, EventWriter

NOW = 1_700_000_000.0


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """An empty store, on each kind of database."""
    opened = await open_store(database_url, clock=ManualClock(NOW))
    yield opened
    await opened.close()


def grant(grant_id: str = "g1", node_id: str = "n1", created_at: float = 1.0) -> Grant:
    return Grant(
        id=grant_id,
        node_id=node_id,
        hotkey="5V",
        algorithm="ssh-ed25519",
        blob_base64="AAAA",
        fingerprint="SHA256:x",
        created_at=created_at,
        renewed_at=created_at,
        expires_at=created_at + 3600,
    )


def session(hotkey: str = "5V", token: str = "t1") -> Session:
    return Session(hotkey=hotkey, token=token, issued_at=1.0, expires_at=2.0, dialect="A", peer="192.0.2.1:5")


def nonce(text: str = "once", *, who: str = "aa", body: str = "b1") -> SpentNonce:
    return SpentNonce(who, text, "auth", body, "192.0.2.1", 5.0, b"\x00answer\xff")


def verification(number: int, node_id: str = "n1") -> Verification:
    return Verification(
        id=f"v{number}",
        miner_hotkey="5M",
        miner_uid=7,
        node_id=node_id,
        endpoint="192.0.2.7:22",
        tier="lightweight",
        ok=number % 2 == 0,
        at=float(number),
        duration_ms=3.5,
        gpu_model="H100",
        gpu_uuids=("GPU-1", "GPU-2"),
    )


async def test_a_renewal_writes_what_it_decides_and_nothing_else(store: Store) -> None:
    """What became of a grant since its row was read stays: the line on the node, an end, a removal."""
    await store.grants.put_many([grant("placed"), grant("ended"), grant("gone"), grant("quiet")])
    stale = await store.grants.open()
    await store.grants.mark_deployed("placed", 3601, 5.0)
    await store.grants.end(["ended", "gone"], 6.0, "no permit")
    await store.grants.mark_removed(["gone"], 7.0)

    later = [dataclasses.replace(one, renewed_at=9.0, expires_at=9999.0, wrapped=True) for one in stale]
    assert await store.grants.grant([grant("new", "n2")], later) == {"placed", "quiet"}

    found = {}
    for name in ("placed", "ended", "gone", "quiet", "new"):
        row = await store.grants.get(name)
        assert row is not None
        found[name] = (row.expires_at, row.deployed_exp, row.ended_at, row.end_reason, row.removed_at)
    assert found == {
        "placed": (9999.0, 3601, None, "", None),
        "ended": (3601.0, None, 6.0, "no permit", None),
        "gone": (3601.0, None, 6.0, "no permit", 7.0),
        "quiet": (9999.0, None, None, "", None),
        "new": (3601.0, None, None, "", None),
    }
    await store.grants.move(["quiet"], "elsewhere")
    assert [one.id for one in await store.grants.open_for_node("elsewhere")] == ["quiet"]


async def test_grants_come_back_as_they_were_put(store: Store) -> None:
    """Every field of a grant survives, and a second put of the same id replaces the first."""
    full = dataclasses.replace(grant(), deployed_exp=2**40, deployed_at=2.0, ended_at=3.0, end_reason="expired")
    await store.grants.put_many([grant(), grant("g2", "n2", 0.5)])
    await store.grants.put_many([full])
    assert await store.grants.get("g1") == full
    assert await store.grants.get("nobody") is None
    assert [found.id for found in await store.grants.open()] == ["g2", "g1"]
    assert await store.grants.open_for_node("n2") == [grant("g2", "n2", 0.5)]


async def test_a_grant_goes_through_its_life(store: Store) -> None:
    """Deployed, ended and removed are recorded; the first ending keeps its reason; a removed grant is not open."""
    await store.grants.put_many([grant()])
    await store.grants.mark_deployed("g1", exp=3601, at=2.0)
    await store.grants.end(["g1"], at=3.0, reason="expired")
    await store.grants.end(["g1"], at=9.0, reason="too late")
    ended = await store.grants.get("g1")
    assert ended == dataclasses.replace(grant(), deployed_exp=3601, deployed_at=2.0, ended_at=3.0, end_reason="expired")
    assert ended.is_open
    assert not ended.is_wanted(2.0)
    await store.grants.mark_removed(["g1"], at=4.0)
    assert await store.grants.open() == []
    assert await store.grants.prune(before=4.0) == 0
    assert await store.grants.prune(before=5.0) == 1


async def test_thousands_of_grants_in_one_transaction(store: Store) -> None:
    """As many ids as a big fleet has fit into one call, whatever a statement's limit is."""
    many = [grant(f"g{number}", f"n{number}") for number in range(2_500)]
    await store.grants.put_many(many)
    await store.grants.end([one.id for one in many], at=2.0, reason="test")
    assert sum(one.ended_at == 2.0 for one in await store.grants.open()) == 2_500


async def test_half_a_batch_is_not_stored(store: Store) -> None:
    """One bad row undoes the whole call."""
    broken = dataclasses.replace(grant("g2"), node_id=None)  # type: ignore[arg-type]
    with pytest.raises(Exception, match=r"(?i)not.null"):
        await store.grants.put_many([grant("g1"), broken])
    assert await store.grants.open() == []


async def test_known_nodes(store: Store) -> None:
    """A node that left keeps its time of leaving until it comes back or is forgotten."""
    first = KnownNode("n1", "192.0.2.7", 22, "root", "rack 1", added_at=1.0)
    second = KnownNode("n2", "192.0.2.8", 22, "root", "", added_at=2.0)
    await store.nodes.put_many([first, second])
    await store.nodes.mark_removed(["n1"], at=5.0)
    await store.nodes.mark_removed(["n1"], at=9.0)
    assert await store.nodes.all() == [dataclasses.replace(first, removed_at=5.0), second]
    await store.nodes.put_many([first])
    await store.nodes.forget(["n2"])
    assert await store.nodes.all() == [first]


async def test_sessions_are_one_per_hotkey(store: Store) -> None:
    """A later session replaces the earlier one of the same hotkey, with every field."""
    later = Session("5V", "t2", 3.0, 4.0, "B", "p", 3, 5.5, "ssh-ed25519", "AAAA", "SHA256:x", 3.5, 2, 1, 9.0, 8.0, "x")
    await store.sessions.put(session())
    await store.sessions.put(session("5W"))
    await store.sessions.put(later)
    assert await store.sessions.get("5V") == later
    assert await store.sessions.get("nobody") is None
    assert await store.sessions.all() == [later, session("5W")]
    assert await store.sessions.prune(before=9.0) == 1


async def test_the_last_of_several_puts_at_once_wins(store: Store) -> None:
    """Sessions that share one transaction are stored in the order of the calls."""
    await asyncio.gather(*(store.sessions.put(session(token=f"t{number}")) for number in range(50)))
    found = await store.sessions.get("5V")
    assert found is not None
    assert found.token == "t49"


async def test_a_nonce_is_spent_once(store: Store) -> None:
    """The second use gets the first one with its answer; the same text of another hotkey is another nonce."""
    assert await store.nonces.spend(nonce()) is None
    assert await store.nonces.spend(nonce(body="b2")) == nonce()
    assert await store.nonces.spend(nonce(who="bb")) is None
    assert await store.nonces.get("aa", "once") == nonce()
    assert await store.nonces.get("aa", "never") is None


async def test_of_many_at_once_exactly_one_spends_the_nonce(store: Store) -> None:
    """Concurrent callers, in one transaction or several, agree on who was first."""
    results = await asyncio.gather(*(store.nonces.spend(nonce(body=f"b{number}")) for number in range(300)))
    assert results.count(None) == 1
    winner = await store.nonces.get("aa", "once")
    assert all(result in (None, winner) for result in results)


async def test_old_nonces_can_be_deleted(store: Store) -> None:
    """Pruning takes what is older than the given time and nothing else."""
    await store.nonces.spend(nonce())
    assert await store.nonces.prune(before=5.0) == 0
    assert await store.nonces.prune(before=6.0) == 1
    assert await store.nonces.spend(nonce()) is None


async def test_values_by_key(store: Store) -> None:
    """Anything JSON can say comes back; an unknown key is None."""
    await store.keyvalue.put("metagraph", {"block": 7, "list": [1, None, "τ"]})
    await store.keyvalue.put("metagraph", {"block": 8})
    assert await store.keyvalue.get("metagraph") == {"block": 8}
    assert await store.keyvalue.get("nothing") is None


async def test_verifications(store: Store) -> None:
    """The newest of each node, the last of all, and pruning by age."""
    for number in range(5):
        await store.verifications.add(verification(number, f"n{number % 2}"))
    assert await store.verifications.latest() == [verification(4, "n0"), verification(3, "n1")]
    assert [found.id for found in await store.verifications.recent(2)] == ["v4", "v3"]
    assert await store.verifications.prune(before=3.0) == 3


def happened(number: int, at: float = NOW) -> Event:
    return ServiceStarted(at=at, service=f"s{number}")


async def test_events_are_stored_and_read_back(store: Store) -> None:
    """What was appended is there after a flush, in order, and can be made an event again."""
    sent = [happened(0), NodeRemoved(at=NOW + 1, node_id="n1"), happened(2, NOW + 2)]
    for event in sent:
        store.events.append(event)
    await store.events.flush()
    assert [row.event() for row in await store.events.since(0)] == sent
    assert [row.event() for row in await store.events.since(NOW + 1)] == sent[1:]
    assert [row.kind for row in await store.events.recent(2)] == ["service.started", "node.removed"]
    assert [row.event() for row in await store.events.recent(9, kinds=["node.removed"])] == [sent[1]]
    assert [row.id async for row in store.events.iterate(page=2)] == [1, 2, 3]


async def test_the_service_stores_without_being_asked(store: Store) -> None:
    """A running writer takes everything to the database, many rows per transaction, and survives its cancellation."""
    task = asyncio.create_task(store.events.run())
    for number in range(450):
        store.events.append(happened(number))
    while len(await store.events.recent(1_000)) < 300:
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await store.events.flush()
    assert [row.record["service"] for row in await store.events.since(0)] == [f"s{n}" for n in range(450)]


async def test_retention_by_age_and_by_number(store: Store) -> None:
    """Pruning deletes what is too old and what is too many, oldest first."""
    clock = ManualClock(NOW)
    writer = EventWriter(_events_database(store), clock, retention_s=100.0, retention_rows=1_000)
    for number in range(3_000):
        writer.append(happened(number, NOW - 200 if number < 10 else NOW))
    await writer.flush()
    assert await writer.prune() == 2_000
    kept = await store.events.since(0)
    assert (len(kept), kept[0].record["service"]) == (1_000, "s2000")
    clock.set_wall(NOW + 101)
    assert await writer.prune() == 1_000


def _events_database(store: Store) -> Database:
    return store._events


def test_a_full_queue_gives_up_debug_first() -> None:
    """What is dropped is counted, the oldest debug event goes before anything else, and order is kept."""
    queue = EventQueue(3)
    important = [NodeRemoved(at=float(number), node_id=f"n{number}") for number in range(3)]
    for event in (happened(0), important[0], happened(1), important[1], important[2]):
        queue.append(event)
    assert queue.dropped == 2
    batch, last = queue.oldest(10)
    assert batch == important
    queue.append(NodeRemoved(at=9.0, node_id="n9"))
    assert queue.dropped == 3
    queue.forget(last)
    assert [event.at for event in queue.oldest(10)[0]] == [9.0]


async def test_ending_a_session_spares_a_newer_one(store: Store) -> None:
    """A session that was replaced meanwhile is not ended by somebody who still holds the old one."""
    old = session(token="old")
    new = dataclasses.replace(old, token="new", issued_at=1.5)
    await store.sessions.put(old)
    await store.sessions.put(new)

    assert not await store.sessions.end(old, 50.0, "expired")
    assert await store.sessions.get(old.hotkey) == new
    assert await store.sessions.end(new, 60.0, "expired")
    ended = await store.sessions.get(old.hotkey)
    assert ended == dataclasses.replace(new, ended_at=60.0, end_reason="expired")
    assert not await store.sessions.end(new, 70.0, "again")
