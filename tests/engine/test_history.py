"""The engine's time series over a store: what is counted, kept, thinned out and answered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine import events as ev
from engine.clock import ManualClock
from engine.control.models import NodeView
from engine.control.state import LiveState
from engine.errors import ControlRefused
from engine.observe.history import History
from engine.store import Store, open_store

DAY = 86_400.0


@pytest.fixture
async def store(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Store]:
    opened = await open_store(f"sqlite:{tmp_path}/engine.db", clock=clock)
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_790_000_000.0)


def _checked(clock: ManualClock, *, ok: bool, node: str = "a") -> ev.NodeChecked:
    return ev.NodeChecked(
        at=clock.now(), node_id=node, ok=ok, latency_ms=12.0, utilisation_percent=50.0 if ok else None
    )


async def test_points_come_back_after_a_restart_and_the_open_bucket_goes_on(store: Store, clock: ManualClock) -> None:
    """The mean of a bucket is of all that fell into it, whichever run saw it."""
    state = LiveState()
    state.nodes["a"] = NodeView("a", ramp_percent=40.0)
    first = History(store.history, state, clock=clock)
    await first.restore()
    first.listen(_checked(clock, ok=True))
    first.sample()
    await first.store()
    again = History(store.history, state, clock=clock)
    await again.restore()
    again.listen(_checked(clock, ok=False))
    assert [value for _, value in await again.read("ssh", "a", clock.now() - DAY)] == [50.0]
    assert [value for _, value in await again.read("ramp", "a", clock.now() - DAY)] == [40.0]
    assert [value for _, value in await again.read("load", "a", clock.now() - 60)] == [50.0]
    assert await again.read("ssh", "b", 0.0) == []


async def test_ninety_days_are_a_few_hundred_rows(store: Store, clock: ManualClock) -> None:
    """Each tier keeps its own span; old buckets are deleted, and a year leaves no more than ninety days."""
    history = History(store.history, LiveState(), clock=clock)
    await history.restore()
    for _ in range(400):
        history.listen(_checked(clock, ok=True))
        await history.store(everything=False)
        await clock.advance(DAY / 2)
    await history._prune()
    rows = {tier: len(await store.history.since(tier, 0.0)) for tier in ("1h", "24h", "14d", "90d")}
    assert rows["90d"] in range(178, 183)
    assert rows["14d"] <= 30 and rows["24h"] <= 3 and rows["1h"] <= 1
    assert len(await history.read("ssh", "a", clock.now() - 90 * DAY)) == rows["90d"] + 1  # and the one that is open


async def test_a_series_that_does_not_exist_is_refused(store: Store, clock: ManualClock) -> None:
    """With the names of those that do."""
    history = History(store.history, LiveState(), clock=clock)
    with pytest.raises(ControlRefused) as refusal:
        await history.read("nonsense", "", 0.0)
    assert "ramp" in (refusal.value.hint or "")
