"""Scores, logins and checks by the hour in a replay of a validator: what its engine answered at that moment."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from engine import events as ev
from engine.clock import ManualClock
from engine.config.common import RecordingConfig
from engine.control.ring import LogRing
from engine.control.state import LiveState
from engine.events import Event, EventBus
from engine.recording.export import export_recording
from engine.recording.hours import HOURS, hour_bucket
from engine.recording.past import Past
from engine.recording.reader import open_recording
from engine.recording.recorder import Recorder
from engine.store import Store, Verification, open_store
from engine.validator.score_notes import NOTE_EVERY_S, Place, ScoreNotes

HOUR = 3600.0
BEGIN = 497_222 * HOUR + 300.0
MINERS = ("5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty", "5DAAnrj7VHTznn2AWBemMuyBwZWs6FNFjdyVXUeYum3PTXFy")
PLACES: tuple[Place, ...] = ((MINERS[0], "n1"), (MINERS[0], "n2"), (MINERS[1], "n1"))
SUBJECTS = (*(f"{hotkey}/{node}" for hotkey, node in PLACES), *MINERS, "")
ASKED = [
    (series, subject)
    for series in ("score", "ssh", "verified")
    for subject in SUBJECTS
    if (series, subject) != ("verified", "")
]
"""All checks passed, of everything, is a series of the engine's own buckets."""


class Life:
    """A validator's bus, store, notes and recorder, without nodes."""

    def __init__(self, store: Store, directory: Path, clock: ManualClock) -> None:
        self.clock, self.store, self.count = clock, store, 0
        self.bus, self.state = EventBus(), LiveState()
        self.bus.subscribe(self._fold)
        config = RecordingConfig.model_validate({"min_free": 0, "segment_length": HOUR})
        self.recorder = Recorder(config, directory, self.state, LogRing(), clock=clock, emit=self.bus.emit)
        self.bus.subscribe(self.recorder.listen)
        self.notes = ScoreNotes(store.score_hours, self._scores, "documented", clock)
        self.notes.on_hour = lambda hour, rows: self.recorder.note_bucket(
            HOURS.name, hour_bucket(hour, rows, by_checks=False)
        )
        self.bus.emit(ev.EngineStarted(at=clock.now(), role="validator", name="v", build="1", hotkey="5V",
                                       network="local", netuid=39))  # fmt: skip

    def _fold(self, event: Event) -> None:
        self.state.apply(event)

    async def _scores(self) -> Mapping[Place, float]:
        turn = self.clock.now() // HOUR % 5
        return {place: 0.5 + 0.1 * turn * (number + 1) / 3 for number, place in enumerate(PLACES)}

    async def live(self, hours: float) -> None:
        """A check of each node every ten minutes, some of which fail, with a login or without."""
        for _ in range(int(hours * HOUR / NOTE_EVERY_S)):
            for number, place in enumerate(PLACES):
                self.count += 1
                code = {0: "ssh_timeout", 1: "probe_failed"}.get((self.count * 7 + number) % 11, "")
                await self._check(place, code)
            await self.notes.note()
            await self.recorder.flush()
            await self.clock.advance(NOTE_EVERY_S)

    async def _check(self, place: Place, code: str) -> None:
        (hotkey, node), now, name = place, self.clock.now(), f"v{self.count}"
        await self.store.verifications.add(
            Verification(
                name, hotkey, MINERS.index(hotkey), node, "e", "lightweight", not code, now, 1.0, error_code=code
            )
        )
        self.bus.emit(
            ev.NodeVerified(at=now, verification_id=name, miner_hotkey=hotkey, miner_uid=MINERS.index(hotkey),
                            node_id=node, endpoint="e", tier="lightweight", ok=not code, duration_ms=1.0,
                            error_code=code)
        )  # fmt: skip

    async def answers(self, span: float) -> dict[tuple[str, str], list[tuple[float, float]]]:
        """What the engine says now."""
        since = self.clock.now() - span
        return {(series, subject): await self.notes.points(series, subject, since) for series, subject in ASKED}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(BEGIN)


@pytest.fixture
async def store(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Store]:
    opened = await open_store(f"sqlite:{tmp_path}/v.db", clock=clock)
    yield opened
    await opened.close()


def near(points: list[tuple[float, float]]) -> list[tuple[float, object]]:
    return [(at, pytest.approx(value, rel=2e-3)) for at, value in points]


async def test_a_replay_has_the_hours_of_that_moment(tmp_path: Path, store: Store, clock: ManualClock) -> None:
    """Of nodes, miners and all; a node of the same name is another miner's; only the running hour's score waits."""
    life = Life(store, tmp_path / "r", clock)
    told = []
    for hours in (5, 4.5):
        await life.live(hours)
        told.append((clock.now(), await life.answers(90 * 24 * HOUR), await life.answers(3 * HOUR)))
    await life.live(2)
    await life.recorder.close()
    recording = open_recording(tmp_path / "r")
    past = Past(recording)
    for at, whole, lately in told:
        now = at // HOUR * HOUR
        moment = at - 1.0  # at that second the next check was already made
        for series, subject in ASKED:
            for span, wanted in ((90 * 24 * HOUR, whole), (3 * HOUR, lately)):
                expected = wanted[(series, subject)]
                if series == "score":
                    expected = [point for point in expected if point[0] < now]
                found = past.points(series, subject, at - span, moment)
                assert found == near(expected), (series, subject, span)
                assert found
    assert past.points("score", "5Nobody", BEGIN, clock.now()) == []
    recording.close()


async def test_an_hour_is_told_once_and_again_after_a_restart(store: Store, clock: ManualClock, tmp_path: Path) -> None:
    """Some minutes after its end; a new life of the engine tells the last one again: the old one may not have."""
    life, told = Life(store, tmp_path / "r", clock), list[int]()
    life.notes.on_hour = lambda hour, rows: told.append(hour)
    await life.live(3)
    first = int(BEGIN // HOUR)
    assert told == [first - 1, first, first + 1, first + 2][: len(told)]
    assert len(told) == 3
    again = ScoreNotes(store.score_hours, life._scores, "documented", clock)
    again.on_hour = life.notes.on_hour
    await again.note()
    assert told[3:] == [int(clock.now() // HOUR) - 1]
    await life.recorder.close()


async def test_an_export_has_the_hours_under_other_names(tmp_path: Path, store: Store, clock: ManualClock) -> None:
    """Stand-ins for hotkeys and nodes, the same as in the events; no name of before is left."""
    life = Life(store, tmp_path / "r", clock)
    await life.live(6)
    await life.recorder.close()
    recording, target = open_recording(tmp_path / "r"), tmp_path / "shared.brec"
    begin, end = BEGIN, clock.now()
    export_recording(recording, target, begins_at=begin, ends_at=end)
    shared = open_recording(target)
    wanted = Past(recording).points("score", SUBJECTS[0], begin, end)
    last = [e for c in shared.chapters for b in c.events for e in shared.records(c, b)]
    verified = next(e for e in last if e.get("verification_id") and e.get("miner_uid") is not None)
    stand_in = f"{verified['miner_hotkey']}/{verified['node_id']}"
    found = Past(shared).points("score", stand_in, begin, end)
    assert found == [point for point in wanted if point[0] >= begin]
    assert found
    raw = json.dumps([r for c in shared.chapters for b in c.series for r in shared.records(c, b)])
    assert not [name for name in MINERS if name in raw]
    recording.close()
    shared.close()


def test_a_full_subnet_costs_little() -> None:
    """An hour of 256 miners with 8 nodes each fits into a bucket and, packed, into a hundred kilobytes."""
    import hashlib
    import zlib

    from engine.recording.series import SeriesLines
    from engine.store.records import HourSums

    def name(number: int, size: int) -> str:
        return hashlib.sha512(str(number).encode()).hexdigest()[:size]

    rows = {
        (f"5{name(miner, 47)}", name(miner * 8 + node, 36)): HourSums(1, 5, 6, 6, (miner * 8 + node) % 97 / 97)
        for miner in range(256)
        for node in range(8)
    }
    bucket = hour_bucket(1, rows, by_checks=False)
    assert bucket.left_out == 0
    assert len(zlib.compress(SeriesLines().line(HOURS.name, bucket), 6)) < 100_000
