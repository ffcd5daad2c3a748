"""Scores, logins and checks by the hour: what is noted, and what is told of a node, a miner and all of them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from engine.clock import ManualClock
from engine.config.validator import EmissionConfig
from engine.control.state import LiveState
from engine.errors import StoreUnusable
from engine.observe.history import History
from engine.scores.categories import GpuGroup, merge_groups
from engine.scores.curves import hourly_points
from engine.scores.history import Rate
from engine.scores.ramp import ramp_since
from engine.store import Store, Verification, open_store
from engine.store.records import HourSums
from engine.validator.miner_facts import emission_of
from engine.validator.score_notes import NOTE_EVERY_S, Place, ScoreNotes, scores_of_nodes
from engine.validator.scoring import MinerFacts, NodeFacts, RoundContext, score_miner

HOUR = 3600.0
NOW = 500_000 * HOUR + 600.0
SINCE = NOW - 30 * 24 * HOUR


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
async def store(database_url: str, clock: ManualClock) -> AsyncIterator[Store]:
    """With checks of two miners that both call a node n1, in three hours."""
    opened = await open_store(database_url, clock=clock)
    rows = []
    for hours_ago, codes in ((2, ("", "")), (1, ("", "ssh_timeout")), (0, ("", "probe_failed"))):
        for miner, node in (("5A", "n1"), ("5A", "n2"), ("5B", "n1")):
            for number, code in enumerate(codes if miner == "5A" else ("", "")):
                name, when = f"{miner}-{node}-{hours_ago}-{number}", NOW - hours_ago * HOUR
                rows.append(
                    Verification(name, miner, 1, node, "e", "lightweight", not code, when, 1.0, error_code=code)
                )
    await opened.verifications.add(*rows)
    yield opened
    await opened.close()


def near(value: float) -> Any:
    return pytest.approx(value)


def at(hours_ago: int) -> float:
    return (500_000 - hours_ago) * HOUR


async def test_curves_of_a_node_a_miner_and_all(store: Store, clock: ManualClock) -> None:
    """Logins and checks are known of every hour with checks; a node of the same name is another miner's matter."""
    notes = ScoreNotes(store.score_hours, nothing, "documented", clock)
    assert await notes.points("ssh", "5A/n1", SINCE) == [(at(2), 100.0), (at(1), 50.0), (at(0), 100.0)]
    assert await notes.points("verified", "5A/n1", SINCE) == [(at(2), 100.0), (at(1), 50.0), (at(0), 50.0)]
    assert await notes.points("verified", "5B/n1", SINCE) == [(at(2), 100.0), (at(1), 100.0), (at(0), 100.0)]
    assert await notes.points("verified", "5A", NOW - 1.1 * HOUR) == [(at(1), 50.0), (at(0), 50.0)]
    assert await notes.points("ssh", "", SINCE) == [(at(2), 100.0), (at(1), near(200 / 3)), (at(0), 100.0)]
    assert await notes.points("score", "5A", SINCE) == []
    assert await notes.points("ssh", "5Nobody", SINCE) == []


async def nothing() -> Mapping[Place, float]:
    return {}


async def test_scores_are_noted_and_the_last_of_an_hour_stays(store: Store, clock: ManualClock) -> None:
    """Each in its hour; a node that was not checked in it has none; miners have the mean of their nodes."""
    now: dict[Place, float] = {("5A", "n1"): 0.2, ("5A", "n2"): 1.0, ("5B", "n1"): 0.5, ("5A", "unchecked"): 0.9}

    async def read() -> Mapping[Place, float]:
        return now

    notes = ScoreNotes(store.score_hours, read, "documented", clock)
    await notes.note()
    now[("5A", "n1")] = 0.6
    await notes.note()
    assert await notes.points("score", "5A/n1", SINCE) == [(at(0), near(0.6))]
    assert await notes.points("score", "5A", SINCE) == [(at(0), near(0.8))]
    assert await notes.points("score", "", SINCE) == [(at(0), near(0.7))]
    assert await notes.points("score", "5A/unchecked", SINCE) == []
    # Checks that come later in the hour add to its sums and leave the score.
    await store.verifications.add(Verification("late", "5A", 1, "n1", "e", "lightweight", True, NOW, 1.0))
    assert await notes.points("score", "5A/n1", SINCE) == [(at(0), near(0.6))]
    assert await notes.points("verified", "5A/n1", NOW) == [(at(0), near(200 / 3))]


async def test_all_together_are_the_sums_of_all(store: Store, clock: ManualClock) -> None:
    """In every hour, before and after more checks, scores, and old hours that are deleted."""

    async def read() -> Mapping[Place, float]:
        return {("5A", "n1"): 0.25, ("5B", "n1"): 1.0}

    notes = ScoreNotes(store.score_hours, read, "documented", clock)
    hours = range(int(NOW // HOUR) - 3, int(NOW // HOUR) + 1)

    async def are_alike() -> int:
        rows = await store.score_hours.of_all(hours[0], hours[-1])
        for row in rows:
            nodes = (await store.score_hours.of_hour(row.hour)).values()
            scores = [node.score for node in nodes if node.score is not None]
            assert row == HourSums(
                row.hour, sum(n.passed for n in nodes), sum(n.logged_in for n in nodes), sum(n.total for n in nodes),
                near(sum(scores) / len(scores)) if scores else None,
            )  # fmt: skip
        return len(rows)

    assert await are_alike() == 3
    await notes.note()
    more = [Verification(f"m{n}", "5C", 2, "n9", "e", "full", n % 2 == 0, NOW - n * 900, 1.0) for n in range(9)]
    await store.verifications.add(*more)
    await store.verifications.add(Verification("late", "5A", 1, "n1", "e", "lightweight", True, NOW, 1.0))
    assert await are_alike() == 3
    await store.verifications.prune(NOW - HOUR)
    assert await are_alike() == 2


@pytest.mark.parametrize(
    ("rows", "by_checks", "expected"),
    [
        ([], False, []),
        ([HourSums(2, 1, 1, 1, None)], False, []),
        ([HourSums(2, 9, 9, 9, 0.5), HourSums(2, 1, 1, 1, 1.0)], False, [(2 * HOUR, 0.75)]),
        ([HourSums(2, 9, 9, 9, 0.5), HourSums(2, 1, 1, 1, 1.0)], True, [(2 * HOUR, 0.55)]),
        ([HourSums(3, 0, 0, 4, 0.0), HourSums(2, 1, 1, 1, 1.0)], False, [(2 * HOUR, 1.0), (3 * HOUR, 0.0)]),
        ([HourSums(2, 0, 0, 0, 0.4)], True, []),
    ],
)
def test_hours_become_points(rows: list[HourSums], by_checks: bool, expected: list[tuple[float, float]]) -> None:
    """In order; the mean of those that had a score, by nodes or by their checks; nothing where there was none."""
    found = hourly_points("score", rows, by_checks=by_checks)
    assert found == [(start, near(value)) for start, value in expected]


def facts(node_id: str, *, online: bool = True, gpus: int = 1, checks: Rate | None = None) -> NodeFacts:
    return NodeFacts(
        node_id, merge_groups([GpuGroup("NVIDIA H100", gpus, 80.0)] if gpus else []), ramp_since(None, NOW),
        ssh=Rate(8, 10), last_full_ok=True, checks=checks or Rate(3, 4), is_online=online,
    )  # fmt: skip


def test_what_is_noted_of_a_node() -> None:
    """Documented: its own score. Deployed: its part of the pass ratio, where it counts. Of unknown miners: none."""
    nodes = (facts("n1"), facts("n2", online=False), facts("n3", gpus=0), facts("n4", checks=Rate(0, 0)))
    miner, emission = MinerFacts(7, nodes), emission_of(EmissionConfig())
    by_profile = {
        profile: scores_of_nodes({7: score_miner(profile, miner, emission, RoundContext(NOW))}, {7: "5A"})
        for profile in ("documented", "deployed-2025-10")
    }
    assert by_profile["documented"] == {("5A", f"n{n}"): near(0.9) for n in (1, 2, 3, 4)}
    assert by_profile["deployed-2025-10"] == {("5A", "n1"): 0.75}
    assert scores_of_nodes({7: score_miner("documented", miner, emission, RoundContext(NOW))}, {}) == {}


async def test_history_asks_the_hours_for_what_they_know(store: Store, clock: ManualClock) -> None:
    """Scores and logins always, checks of a miner or node; the validator's own curve of checks is finer."""
    history = History(store.history, LiveState(), clock=clock)
    await history.restore()
    history._add("verified", "", 25.0)
    history.hourly = ScoreNotes(store.score_hours, nothing, "documented", clock).points
    assert await history.read("ssh", "5A/n1", SINCE) == [(at(2), 100.0), (at(1), 50.0), (at(0), 100.0)]
    assert [value for _, value in await history.read("verified", "5B", SINCE)] == [100.0] * 3
    assert [value for _, value in await history.read("verified", "", SINCE)] == [25.0]


async def test_the_service_notes_again_and_again(store: Store, clock: ManualClock) -> None:
    """Every ten minutes, also after a store that failed once."""
    asked: list[float] = []

    async def read() -> Mapping[Place, float]:
        asked.append(clock.now())
        if len(asked) == 1:
            raise StoreUnusable("busy")
        return {("5A", "n1"): 0.5}

    notes = ScoreNotes(store.score_hours, read, "documented", clock)
    task = asyncio.create_task(notes.run())
    async with asyncio.timeout(10):
        for count in (1, 2, 3):
            while len(asked) < count:
                await asyncio.sleep(0.01)
                await clock.advance(NOTE_EVERY_S / 10)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [later - earlier >= NOTE_EVERY_S for earlier, later in itertools.pairwise(asked)] == [True, True]
    assert await notes.points("score", "5A/n1", SINCE) == [(at(0), 0.5)]
