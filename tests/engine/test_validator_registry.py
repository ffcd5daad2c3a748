"""What becomes of records when hotkeys move, are swapped, or lose their uid to a stranger; on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from engine.clock import ManualClock
from engine.store import Store, Verification, open_store
from engine.store.records import CheckCounts, GpuClaim, Misbehaviour, Rental, ValidatedNode

NOW = 1_800_000_000.0
DAY_S = 86_400.0


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """An empty store, on each kind of database."""
    opened = await open_store(database_url, clock=ManualClock(NOW))
    yield opened
    await opened.close()


async def fill(store: Store, hotkey: str, uid: int, *, ok: bool = True, since: float = NOW - 7 * DAY_S) -> None:
    """One node "n" with a GPU, a check, an offence and a rental."""
    node = ValidatedNode(hotkey, "n", uid, "u@h:22", "online", since, NOW, run_since=since, gpu_count=1)
    await store.validated.put(node, claims=[GpuClaim(f"GPU-{hotkey}", hotkey, "n", 0, "H100", 81559, NOW)])
    await store.verifications.add(
        Verification(f"v-{hotkey}", hotkey, uid, "n", "u@h:22", "full", ok, NOW, 1.0, error_code="" if ok else "ssh_x")
    )
    await store.validated.add_misbehaviour(Misbehaviour(hotkey, "n", NOW, "lie"))
    await store.rentals.add(Rental(f"r-{hotkey}", hotkey, "n", NOW))


async def holders(store: Store) -> dict[str, list[str]]:
    """Whose each kind of record is."""
    rented, _ = await store.rentals.standing()
    return {
        "nodes": sorted(node.miner_hotkey for node in await store.validated.nodes()),
        "claims": sorted(claim.miner_hotkey for claim in await store.validated.claims()),
        "newest": sorted(row.miner_hotkey for row in await store.verifications.latest_checks()),
        "history": sorted(row.miner_hotkey for row in await store.verifications.recent(9)),
        "counts": sorted(place[0] for place in await store.verifications.counts(NOW - DAY_S)),
        "misbehaviour": sorted(entry.miner_hotkey for entry in await store.validated.misbehaviour(0.0)),
        "rented": sorted(place[0] for place in rented),
    }


async def test_a_hotkey_that_moved_keeps_everything_under_its_new_uid(store: Store) -> None:
    """The uid changes and nothing else; another miner's nodes are not touched."""
    await fill(store, "5A", 1)
    await fill(store, "5B", 2)
    before = await holders(store)
    await store.validated.follow(moved={"5A": 7}, swapped={}, gone=())
    assert [(node.miner_hotkey, node.miner_uid) for node in await store.validated.nodes()] == [("5B", 2), ("5A", 7)]
    assert await holders(store) == before


async def test_a_swapped_hotkey_takes_everything_along(store: Store) -> None:
    """Nodes with their ramp, GPUs, history, hours, offences and rentals are the new hotkey's; nothing stays behind."""
    await fill(store, "5A", 1)
    await fill(store, "5B", 2)
    await store.validated.follow(moved={}, swapped={"5A": "5N"}, gone=())
    assert await holders(store) == {name: ["5B", "5N"] for name in await holders(store)}
    node = await store.validated.node(("5N", "n"))
    assert node is not None
    assert node.run_since == NOW - 7 * DAY_S


async def test_a_stranger_on_a_recycled_uid_inherits_nothing(store: Store) -> None:
    """The old miner's nodes and GPUs are forgotten, so a ramp begins anew; what happened stays on record."""
    await fill(store, "5A", 1)
    await fill(store, "5B", 2)
    await store.validated.follow(moved={}, swapped={}, gone=("5A",))
    found = await holders(store)
    assert [found[name] for name in ("nodes", "claims", "newest")] == [["5B"]] * 3
    assert [found[name] for name in ("history", "misbehaviour")] == [["5A", "5B"]] * 2


async def test_a_hotkey_that_was_here_before_takes_over(store: Store) -> None:
    """Its own remains under the same node id give way to what it gets, and the hours of both are added up."""
    await fill(store, "5A", 1)
    await fill(store, "5N", 9, ok=False, since=NOW - 9 * DAY_S)
    await store.validated.follow(moved={}, swapped={"5A": "5N"}, gone=())
    (node,) = await store.validated.nodes()
    assert (node.miner_hotkey, node.miner_uid, node.run_since) == ("5N", 1, NOW - 7 * DAY_S)
    assert [row.verification_id for row in await store.verifications.latest_checks()] == ["v-5A"]
    assert await store.verifications.counts(NOW - DAY_S) == {("5N", "n"): CheckCounts(passed=1, logged_in=1, total=2)}
    assert sorted(row.id for row in await store.verifications.recent(9)) == ["v-5A", "v-5N"]


async def test_changed_places(store: Store) -> None:
    """Two hotkeys that exchange their uids keep their own nodes."""
    await fill(store, "5A", 1)
    await fill(store, "5B", 2)
    await store.validated.follow(moved={"5A": 2, "5B": 1}, swapped={}, gone=())
    assert {node.miner_hotkey: node.miner_uid for node in await store.validated.nodes()} == {"5A": 2, "5B": 1}
