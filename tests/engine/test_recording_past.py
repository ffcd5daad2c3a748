"""Plots and timelines in a replay: a recording answers as of a moment what the engine answered then."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from engine import events as ev
from engine.clock import ManualClock
from engine.config.common import RecordingConfig
from engine.control.ring import LogRing
from engine.control.state import LiveState
from engine.events import Event, EventBus
from engine.observe.history import History
from engine.observe.history_rules import TIERS, Bucket, bucket_start
from engine.recording import past as past_module
from engine.recording.blocks import BASE
from engine.recording.export import export_recording
from engine.recording.past import Past, Points
from engine.recording.reader import Recording, open_recording
from engine.recording.recorder import Recorder
from engine.recording.series import SeriesLines, SeriesReader
from engine.store import Store, open_store

HOUR, DAY = 3600.0, 86_400.0
BEGIN = 1_790_000_000.0
NODES = tuple(f"{n:08d}-0000-4000-8000-{n:012d}" for n in range(4))
KINDS = ["node.state_changed", "key.failed"]


class Life:
    """One run of an engine: bus, state, history and recorder over a store and a directory that stay."""

    def __init__(self, store: Store, directory: Path, clock: ManualClock, **section: object) -> None:
        self.clock, self.store = clock, store
        self.bus, self.state = EventBus(), LiveState()
        self.bus.subscribe(self._fold)
        self.bus.subscribe(store.events.append)
        self.history = History(store.history, self.state, clock=clock)
        self.bus.subscribe(self.history.listen)
        config = RecordingConfig.model_validate({"min_free": 0, "segment_length": 7200.0, **section})
        self.recorder = Recorder(
            config, directory, self.state, LogRing(), clock=clock, emit=self.bus.emit,
            stored_series=self.history.stored,
        )  # fmt: skip
        self.bus.subscribe(self.recorder.listen)
        self.history.on_full = self.recorder.note_bucket

    def _fold(self, event: Event) -> None:
        self.state.apply(event)

    async def begin(self) -> None:
        await self.history.restore()
        for number, node in enumerate(NODES):
            self.bus.emit(ev.NodeAdded(at=self.clock.now(), node_id=node, label=f"rig-{number}", host="10.9.0.1",
                                       port=22, username="basilica"))  # fmt: skip
        await self.recorder.flush()

    async def live(self, seconds: float, *, step_s: float = 120.0) -> None:
        """Checks of all nodes, what the engine would sample, and what it would write."""
        for number in range(int(seconds / step_s)):
            now = self.clock.now()
            for index, node in enumerate(NODES):
                ok = (number + index) % 7 != 0
                self.bus.emit(
                    ev.NodeChecked(at=now, node_id=node, ok=ok, latency_ms=20.0 + index + number % 5,
                                   utilisation_percent=50.0 + index, temperature_c=60.0 if ok else None)
                )  # fmt: skip
            self.bus.emit(ev.NodeStateChanged(at=now, node_id=NODES[number % 4], old="healthy", new="suspect",
                                              reason=f"turn {number}"))  # fmt: skip
            for _ in range(2):
                self.history.sample()
                await self.clock.advance(step_s / 2)
            if number % 5 == 4:
                await self.recorder.flush()
                await self.history.store(everything=False)
        await self.recorder.flush()

    async def end(self) -> None:
        await self.history.store()
        await self.recorder.close()
        await self.store.events.flush()

    async def answers(self) -> dict[tuple[str, str, float], Points]:
        """What this engine says now about everything that a plot asks for."""
        now = self.clock.now()
        return {
            (series, subject, span): list(await self.history.read(series, subject, now - span))
            for series in ("ssh", "temperature", "healthy")
            for subject in ("", NODES[2])
            for span in (DAY, 14 * DAY, 90 * DAY)
        }


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(BEGIN)


@pytest.fixture
async def store(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Store]:
    opened = await open_store(f"sqlite:{tmp_path}/engine.db", clock=clock)
    yield opened
    await opened.close()


def opened(directory: Path) -> Recording:
    return open_recording(directory)


def same(points: Points, wanted: Points) -> bool:
    return [t for t, _ in points] == [t for t, _ in wanted] and [v for _, v in points] == pytest.approx(
        [v for _, v in wanted], rel=2e-3
    )


async def test_a_plot_in_a_replay_is_the_plot_of_that_moment(tmp_path: Path, store: Store, clock: ManualClock) -> None:
    """At every moment that is looked at, each series has the points that the engine had then."""
    life = Life(store, tmp_path / "r", clock)
    await life.begin()
    moments = []
    for hours in (1.05, 3.5, 1.0):
        await life.live(hours * HOUR)
        await life.history.store()
        moments.append((clock.now() - 1.0, await life.answers()))
    await life.end()
    recording = opened(tmp_path / "r")
    past = Past(recording)
    for at, answers in moments:
        for (series, subject, span), wanted in answers.items():
            found = past.points(series, subject, at - span, at)
            # The newest bucket is still open: what is seen in its last second may be missing.
            assert same(found[:-1], wanted[:-1]), (series, subject, span, at)
            assert len(found) == len(wanted) > 0 or not wanted
    assert past.points("nonsense", "", 0.0, moments[0][0]) == []
    recording.close()


async def test_the_last_hour_is_made_of_the_events(tmp_path: Path, store: Store, clock: ManualClock) -> None:
    """The finest buckets are not recorded, and still all there."""
    life = Life(store, tmp_path / "r", clock)
    await life.begin()
    await life.live(2 * HOUR)
    wanted = await life.history.read("latency", NODES[1], clock.now() - HOUR)
    await life.end()
    recording = opened(tmp_path / "r")
    found = Past(recording).points("latency", NODES[1], clock.now() - HOUR, clock.now())
    assert len(found) >= 25
    assert same(found, wanted)
    recording.close()


async def test_what_was_before_the_recording_is_carried_into_it(
    tmp_path: Path, store: Store, clock: ManualClock
) -> None:
    """A recording that begins later, as after a removal of its oldest parts, opens with the weeks before it."""
    first = Life(store, tmp_path / "gone", clock)
    await first.begin()
    await first.live(20 * DAY, step_s=4 * HOUR)
    await first.end()
    await clock.advance(2 * HOUR)
    second = Life(store, tmp_path / "r", clock)
    await second.begin()
    await second.live(0.5 * HOUR)
    wanted = await second.answers()
    await second.end()
    recording = opened(tmp_path / "r")
    past, at = Past(recording), clock.now()
    assert recording.begins_at > BEGIN + 20 * DAY
    ramp = past.points("ssh", "", at - 90 * DAY, at)
    assert at - ramp[0][0] > 19 * DAY
    for (series, subject, span), points in wanted.items():
        assert same(past.points(series, subject, at - span, at)[:-1], points[:-1]), (series, subject, span)
    recording.close()


async def test_an_engine_that_is_started_again_and_again_carries_it_once(
    tmp_path: Path, store: Store, clock: ManualClock
) -> None:
    """A crash loop does not fill the disk with the same history; what came since is added."""
    life = Life(store, tmp_path / "r", clock)
    await life.begin()
    await life.live(2 * HOUR)
    await life.end()
    sizes = []
    for _ in range(4):
        await clock.advance(60.0)
        life = Life(store, tmp_path / "r", clock)
        await life.begin()
        await life.live(2 * 60.0)
        await life.end()
        recording = opened(tmp_path / "r")
        bases = [b.header for c in recording.chapters for b in c.series if b.header.flags & BASE]
        sizes.append([header.count for header in bases])
        recording.close()
    full, *rest = sizes[-1]
    assert full > 20
    assert all(count < 8 for count in rest)


async def test_timelines_are_those_of_the_moment(tmp_path: Path, store: Store, clock: ManualClock) -> None:
    """The events about an object, newest first, up to the moment and none after it; blocks without any are left out."""
    life = Life(store, tmp_path / "r", clock)
    await life.begin()
    await life.live(3 * HOUR)
    await life.end()
    stored = [dict(e.record) for e in await store.events.about(NODES[1], KINDS, 1000)]
    recording = opened(tmp_path / "r")
    past = Past(recording)
    assert [dict(r) for r in past.events(NODES[1], KINDS, 1000, clock.now())] == stored
    assert len(stored) > 20
    middle = BEGIN + 1.5 * HOUR
    assert [dict(r) for r in past.events(NODES[1], KINDS, 5, middle)] == [
        r for r in stored if float(str(r["at"])) <= middle
    ][:5]
    assert past.events("nobody", KINDS, 5, middle) == []
    recording.close()


async def test_blocks_of_nothing_but_checks_are_not_read_for_a_timeline(
    tmp_path: Path, store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two weeks of checks cost a look at their headers."""
    life = Life(store, tmp_path / "r", clock)
    await life.begin()
    life.bus.emit(ev.NodeStateChanged(at=clock.now(), node_id=NODES[0], old="", new="healthy", reason="first"))
    for _ in range(200):
        life.bus.emit(ev.NodeChecked(at=clock.now(), node_id=NODES[0], ok=True, latency_ms=1.0))
        await life.recorder.flush()
        await clock.advance(1.0)
    await life.end()
    recording = opened(tmp_path / "r")
    read: list[object] = []
    records = recording.records

    def counted(*args: Any) -> Any:
        read.append(args)
        return records(*args)

    monkeypatch.setattr(recording, "records", counted)
    assert [r["reason"] for r in Past(recording).events(NODES[0], KINDS, 9, clock.now())] == ["first"]
    assert len(read) <= 4
    recording.close()


async def test_a_recording_of_an_earlier_version_has_plots_too(
    tmp_path: Path, store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without buckets in it they are made of its events, as far back as may be read at once."""
    life = Life(store, tmp_path / "r", clock)
    life.history.on_full = lambda tier, bucket: None
    await life.begin()
    await life.live(3 * HOUR)
    wanted = await life.history.read("ssh", NODES[1], clock.now() - DAY)
    await life.end()
    recording = opened(tmp_path / "r")
    found = Past(recording).points("ssh", NODES[1], clock.now() - DAY, clock.now())
    assert same(found, wanted)
    monkeypatch.setattr(past_module, "EVENTS_READ", 100)
    few = Past(recording).points("ssh", NODES[1], clock.now() - DAY, clock.now())
    assert 0 < len(few) < len(found)
    assert few == found[-len(few) :]
    recording.close()


async def test_an_export_has_the_plots_of_its_time_under_other_names(
    tmp_path: Path, store: Store, clock: ManualClock
) -> None:
    """Stand-ins in the buckets are those of the nodes, and nothing from before the time that was asked for is in it."""
    life = Life(store, tmp_path / "r", clock)
    await life.begin()
    await life.live(6 * HOUR)
    await life.end()
    recording, target = opened(tmp_path / "r"), tmp_path / "shared.brec"
    begin, end = BEGIN + 2 * HOUR, BEGIN + 5 * HOUR
    export_recording(recording, target, begins_at=begin, ends_at=end)
    shared = opened(target)
    wanted = Past(recording).points("latency", NODES[1], end - DAY, end)
    node = next(n for n in shared.keyframe(shared.chapters[0])["views"]["nodes"] if n["label"] == "node-2")  # type: ignore[index]
    found = Past(shared).points("latency", str(node["id"]), end - DAY, end)
    assert found == [p for p in wanted if p[0] >= begin]
    raw = "".join(str(r) for c in shared.chapters for b in c.series for r in shared.records(c, b))
    assert not [name for name in NODES if name in raw]
    assert "latency" in raw
    recording.close()
    shared.close()


def test_a_thousand_nodes_cost_a_few_bytes_a_bucket() -> None:
    """Ids are said once in a segment; a bucket of 7,000 values packs to less than 15 kB."""
    from engine.recording.blocks import SERIES, Packer

    writer, packer = SeriesLines(), Packer()
    sizes = []
    for turn in range(3):
        bucket = Bucket(bucket_start(BEGIN, TIERS[1]) + 300.0 * turn)
        for n in range(1000):
            noise = (n * 7919 + turn * 104_729) % 1000
            for series, value in (("ssh", 100.0), ("latency", 20 + noise / 10), ("load", noise / 10), ("ramp", 100.0),
                                  ("temperature", 50 + noise % 20), ("estimated", 1.0), ("observed", 1.0)):  # fmt: skip
                bucket.add(
                    series,
                    f"{n:08x}-0000-4000-8000-{n * 7919 % 65_521:012x}",
                    value,
                )
        line = writer.line("24h", bucket)
        sizes.append(len(packer.pack(SERIES, line, first_at=1.0, last_at=1.0, count=1)))
    assert max(sizes[1:]) < 15_000


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r.update(ids="x"), lambda r: r.update(nodes=[1, 2]), lambda r: r.update(fleet={"ssh": "x"}),
        lambda r: r.update(more={"a": 7}), lambda r: r.update(nodes={"ssh": {"a": 1}}), lambda r: r.update(tier=3),
        lambda r: r.update(nodes={"ssh": [True, "x", float("nan")]}), lambda r: r.update(at="soon"),
    ],
)  # fmt: skip
def test_lines_of_somebody_elses_making_are_harmless(change: Callable[[dict[str, object]], None]) -> None:
    """Whatever stands where, an answer is a number or nothing."""
    record: dict[str, object] = {"at": BEGIN, "tier": "24h", "ids": ["a", "b"], "nodes": {"ssh": [1, 2]}}
    change(record)
    reader = SeriesReader()
    if reader.take(record) is not None:
        assert reader.value(record, "ssh", "a") in (None, 1.0)
        assert reader.value(record, "ssh", "") in (None, 1.0, 2.0, 1.5)
        assert reader.bucket(record, BEGIN).entries <= 2
