"""Checks in groups: a transaction for many, each wholly or not at all; questions that do not grow with history."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.clock import ManualClock
from engine.errors import StoreUnusable
from engine.store import Store, Verification, open_store
from engine.store.checks import CheckWriter, Question, Settlement, Standing
from engine.store.records import CheckCounts, GpuClaim, ValidatedNode, VerificationStep
from engine.store.verifications import HOUR_S

NOW = 1_800_000_000.0


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """An empty store, on each kind of database."""
    opened = await open_store(database_url, clock=ManualClock(NOW))
    yield opened
    await opened.close()


def check(number: int, *, at: float = NOW, code: str = "", tier: str = "lightweight", node: str = "n1") -> Verification:
    steps = (VerificationStep("gpu", "ok", "1 x H100", 5.0),)
    return Verification(
        f"v{number}", "5M", 7, node, "root@h:22", tier, not code, at, 1.0, "H100", ("GPU-1",), code, code, steps
    )


def held(status: str = "online", node: str = "n1") -> ValidatedNode:
    return ValidatedNode("5M", node, 7, "root@h:22", status, NOW - 9, NOW - 9, gpu_model="H100", gpu_count=1)


def plain(_standing: Standing, checks: Sequence[Verification]) -> Settlement:
    return Settlement(checks)


def ask(row: Verification) -> Question:
    return Question((row.miner_hotkey, row.node_id), row.gpu_uuids, NOW - 100 if row.tier == "full" else None)


async def test_many_checks_share_a_transaction(store: Store) -> None:
    """Those that come together are stored together, in their order, with their steps."""
    writes: list[str] = []
    store.observe(lambda operation, _seconds, _ok: writes.append(operation))
    writer = store.check_writer(ask, plain)
    rows = await asyncio.gather(*(writer.record(check(number)) for number in range(150)))
    assert [row.id for row in rows] == [f"v{number}" for number in range(150)]
    assert writes.count("write") == 1
    assert await store.verifications.recent(150) == list(reversed(rows))


async def test_a_group_that_cannot_be_settled_leaves_nothing(store: Store) -> None:
    """Every caller of the group is told, the next group is stored, and nothing of the first one is there."""

    def refuse(_standing: Standing, checks: Sequence[Verification]) -> Settlement:
        if any(row.error_code == "bad" for row in checks):
            raise ValueError("no")
        return Settlement(checks, nodes=[held()])

    writer = store.check_writer(ask, refuse)
    results = await asyncio.gather(writer.record(check(1)), writer.record(check(2, code="bad")), return_exceptions=True)
    assert [type(result) for result in results] == [StoreUnusable, StoreUnusable]
    assert (await store.verifications.recent(9), await store.validated.nodes()) == ([], [])
    assert (await writer.record(check(3))).id == "v3"
    assert await store.verifications.latest_checks() != []


async def test_a_duplicate_id_undoes_its_group(store: Store) -> None:
    """The node's row is not changed by a check whose own row cannot be stored."""
    await store.verifications.add(check(1))
    writer = store.check_writer(ask, lambda _s, checks: Settlement(checks, nodes=[held("offline")]))
    with pytest.raises(StoreUnusable):
        await writer.record(check(1))
    assert await store.validated.nodes() == []


async def test_what_is_known_when_a_group_is_settled(store: Store) -> None:
    """Its nodes, the owners of the GPUs that were shown, and since when a new node passes."""
    seen: list[Standing] = []

    def look(standing: Standing, checks: Sequence[Verification]) -> Settlement:
        seen.append(standing)
        return Settlement(checks)

    owner = held(node="n2")
    claim = GpuClaim("GPU-1", "5M", "n2", 0, "H100", 81559, NOW)
    await store.validated.put(owner, claims=[claim])
    await store.validated.put(held())
    for number, at in enumerate((NOW - 200, NOW - 50, NOW - 20)):
        await store.verifications.add(check(number, at=at, tier="full", node="n3"))
    writer = store.check_writer(ask, look)
    await asyncio.gather(writer.record(check(8)), writer.record(check(9, tier="full", node="n3")))
    (standing,) = seen
    assert standing.nodes == {("5M", "n1"): held(), ("5M", "n2"): owner}
    assert list(standing.claims) == [claim]
    assert standing.first_full == {("5M", "n3"): NOW - 50}


async def test_claims_are_replaced_dated_and_handed_over(store: Store) -> None:
    """A node's GPUs are replaced as a whole; one that changes hands has one owner; seen ones get the new date."""
    mine = [GpuClaim(f"GPU-{number}", "5M", "n1", number, "H100", 1, NOW) for number in range(2)]
    settlements = iter([
        Settlement([check(1)], [held()], claims={("5M", "n1"): mine}),
        Settlement([check(2)], seen={("5M", "n1"): NOW + 5}),
        Settlement([check(3, node="n2")], claims={("5M", "n2"): [replace(mine[1], node_id="n2")]}),
        Settlement([check(4)], claims={("5M", "n1"): ()}),
    ])  # fmt: skip
    writer: CheckWriter[Verification] = store.check_writer(ask, lambda _s, _c: next(settlements))
    await writer.record(check(1))
    await writer.record(check(2))
    assert {claim.verified_at for claim in await store.validated.claims()} == {NOW + 5}
    await writer.record(check(3))
    assert [(c.gpu_uuid, c.node_id) for c in await store.validated.claims()] == [("GPU-0", "n1"), ("GPU-1", "n2")]
    await writer.record(check(4))
    assert [(c.gpu_uuid, c.node_id) for c in await store.validated.claims()] == [("GPU-1", "n2")]


async def test_what_is_pending_is_stored_before_the_end(store: Store) -> None:
    """A caller that was cancelled, as at shutdown, has its check stored all the same."""
    writer = store.check_writer(ask, plain)
    task = asyncio.create_task(writer.record(check(1)))
    await asyncio.sleep(0)
    task.cancel()
    await writer.flush()
    assert [row.id for row in await store.verifications.recent(9)] == ["v1"]


async def test_counts_are_exact_whatever_the_window(store: Store) -> None:
    """Sums of whole hours and single rows of the first part of one add up to what counting all rows gives."""
    begin = NOW - NOW % HOUR_S - 3 * HOUR_S
    codes = ("", "ssh_timeout", "probe_failed", "node_banned")
    rows = [check(n, at=begin + n * 500.0, code=codes[n % 4], node=f"n{n % 2}") for n in range(30)]
    await store.verifications.add(*rows)
    for since in (begin, begin + 1, begin + 1700, begin + HOUR_S, begin + 2.5 * HOUR_S, begin + 20_000):
        expected: dict[tuple[str, str], CheckCounts] = {}
        for row in rows:
            if row.at >= since:
                old = expected.get(("5M", row.node_id), CheckCounts())
                has_entered = row.error_code in ("", "probe_failed")
                expected["5M", row.node_id] = CheckCounts(
                    old.passed + row.ok, old.logged_in + has_entered, old.total + 1
                )
        assert await store.verifications.counts(since) == expected


async def test_retention_keeps_sums_and_failures_longer_than_passed_light_checks(store: Store) -> None:
    """``lightweight_before`` takes passed lightweight rows only; ``before`` takes everything, sums and newest too."""
    day = 86_400.0
    await store.verifications.add(
        check(1, at=NOW - 9 * day), check(2, at=NOW - 3 * day), check(3, at=NOW - 3 * day, code="ssh_timeout"),
        check(4, at=NOW - 3 * day, tier="full"), check(5, at=NOW, node="n2"),
    )  # fmt: skip
    assert await store.verifications.prune(NOW - 7 * day, lightweight_before=NOW - day) == 2
    assert [row.id for row in await store.verifications.recent(9)] == ["v5", "v4", "v3"]
    counts = await store.verifications.counts(NOW - 7 * day)
    assert counts["5M", "n1"] == CheckCounts(passed=2, logged_in=2, total=3)
    await store.verifications.prune(NOW - day)
    assert [row.node_id for row in await store.verifications.latest_checks()] == ["n2"]
    assert list(await store.verifications.counts(NOW - 7 * day)) == [("5M", "n2")]


async def test_pages_of_miners_and_nodes(store: Store) -> None:
    """Every page of some miners or of one node is that part of the history, newest first; an unknown mark has none."""
    rows = [
        replace(check(n, node=f"n{n % 3}", code="bad" if n % 5 == 0 else ""), miner_hotkey="5M" if n % 7 else "5O")
        for n in range(40)
    ]
    await store.verifications.add(*rows)
    for miners, node, failed in itertools.product((["5M"], ["5O", "5M"], ["5X"], []), (None, "n1"), (False, True)):
        wanted = [
            row.id
            for row in reversed(rows)
            if row.miner_hotkey in miners and (node is None or row.node_id == node) and not (failed and row.ok)
        ]
        found, mark = list[str](), None
        while page := await store.verifications.recent(4, miners=miners, node_id=node, failed_only=failed, before=mark):
            assert len(page) <= 4
            found += [row.id for row in page]
            mark = page[-1].id
        assert found == wanted, (miners, node, failed)
    assert await store.verifications.recent(4, miners=["5M"], before="unknown") == []


async def test_no_question_walks_the_whole_history(store: Store) -> None:
    """Each statement that screens and rounds ask finds its rows by an index of the history, never by a scan of it."""
    await store.verifications.add(*(check(n, at=NOW + n, node=f"n{n % 40}") for n in range(4_000)))
    statements: list[tuple[str, object]] = []

    def note(_conn: object, _cursor: object, statement: str, parameters: object, *_rest: object) -> None:
        if statement.lstrip().startswith("SELECT"):
            statements.append((statement, parameters))

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    await store.verifications.latest()
    await store.verifications.latest_checks()
    await store.verifications.counts(NOW + 3_000)
    await store.verifications.recent(10)
    await store.verifications.recent(10, failed_only=True)
    await store.verifications.recent(10, miners=["5M"], node_id="n1", before="v9")
    await store.verifications.recent(10, miners=["5M"])
    await store.verifications.recent(10, before="v900")
    await store.check_writer(ask, plain).record(check(9_999, tier="full", node="new"))
    hour = int(NOW // HOUR_S)
    await store.score_hours.of(hour - 9, hour, "5M")
    await store.score_hours.of(hour - 9, hour, "5M", "n1")
    await store.score_hours.of_all(hour - 9, hour)
    await store.score_hours.of_hour(hour)
    await store.validated.node(("5M", "n1"))
    await store.weights.newest(at_block=9)
    await store.verifications.miners_of("n1")
    sa.event.remove(sa.Engine, "before_cursor_execute", note)
    assert len(statements) >= 17

    async def explain(connection: AsyncConnection) -> list[str]:
        if store._state.dialect == "postgresql":
            await connection.execute(sa.text("ANALYZE"))
            await connection.execute(sa.text("SET LOCAL enable_seqscan = off"))
        plans = []
        for statement, parameters in statements:
            word = "EXPLAIN QUERY PLAN" if store._state.dialect == "sqlite" else "EXPLAIN"
            result = await connection.exec_driver_sql(f"{word} {statement}", parameters)  # type: ignore[arg-type]
            plans.append(statement + "\n" + "\n".join(str(row[-1]) for row in result))
        return plans

    for plan in await store._state.write(explain):
        if "WHERE" not in plan and "ORDER BY engine_verifications.seq DESC" in plan:
            continue  # the newest few, from the end of the table
        for table in ("engine_verifications", "engine_check_hours"):
            assert f"SCAN {table}\n" not in plan + "\n"
            assert f"Seq Scan on {table}" not in plan
