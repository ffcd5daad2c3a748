"""Recordings: the format, the fold that goes on from a keyframe, limits, damage, and a disk that is full."""

from __future__ import annotations

import itertools
import json
import os
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import events as ev
from engine.clock import ManualClock
from engine.config.common import RecordingConfig
from engine.control.ring import LogRing
from engine.control.state import LiveState
from engine.errors import RecordingEmpty, RecordingUnreadable
from engine.events import Event, EventBus
from engine.recording import blocks
from engine.recording.keyframes import event_line, keyframe_of, state_from
from engine.recording.player import Player
from engine.recording.reader import Recording, open_recording
from engine.recording.recorder import Recorder
from engine.recording.segments import Limits, Lines, Segments
from tests.console.world import NOW, checked, miner_events, node_id, validator_events

LIMITS = Limits(retention_s=14 * 86_400.0, max_bytes=500_000_000, min_free_bytes=0)


def section(**values: object) -> RecordingConfig:
    return RecordingConfig.model_validate({"min_free": 0, **values})


class Recorded:
    """An engine's bus, state and recorder."""

    def __init__(self, directory: Path, **values: object) -> None:
        self.clock = ManualClock(NOW)
        self.bus, self.state, self.ring = EventBus(), LiveState(), LogRing()
        self.seen: list[Event] = []
        self.bus.subscribe(self._fold)
        self.recorder = Recorder(
            section(**values), directory, self.state, self.ring, clock=self.clock, emit=self.bus.emit
        )
        self.bus.subscribe(self.recorder.listen)
        self.bus.subscribe(self.seen.append)

    def _fold(self, event: Event) -> None:
        self.state.apply(event)

    async def tell(self, *events: Event) -> None:
        for event in events:
            self.bus.emit(event)
        await self.recorder.flush()


def dump(state: LiveState) -> dict[str, object]:
    """Everything that a state holds, comparable."""
    found = keyframe_of(state, 0.0)
    found.pop("build")
    return found


def fold(events: Sequence[Event]) -> LiveState:
    state = LiveState()
    for event in events:
        state.apply(event)
    return state


def by_time(events: list[Event]) -> list[Event]:
    return sorted(events, key=lambda event: event.at)


def lines_of(*events: Event) -> Lines:
    return Lines(tuple(event_line(e) for e in events), events[0].at, events[-1].at, has_trouble=False)


@pytest.mark.parametrize("world", [miner_events(with_ramp=True), validator_events()], ids=["miner", "validator"])
def test_a_keyframe_is_the_whole_state_and_the_fold_goes_on_from_it(world: list[Event]) -> None:
    """Folding the second half after a keyframe gives what folding everything gives, wherever it is cut."""
    for cut in (0, len(world) // 3, len(world) // 2, len(world)):
        whole, first = LiveState(), LiveState()
        for event in world:
            whole.apply(event)
        for event in world[:cut]:
            first.apply(event)
        restored = state_from(json.loads(json.dumps(keyframe_of(first, 0.0), default=str)))
        for event in world[cut:]:
            restored.apply(event)
        assert dump(restored) == dump(whole)


async def test_every_moment_of_a_recording_is_as_it_was(tmp_path: Path) -> None:
    """At each event's time the replayed state equals a fold of what had happened by then, over several segments."""
    world = by_time(miner_events(with_ramp=True))
    engine = Recorded(tmp_path, segment_length=1.0)
    for number, event in enumerate(world):
        await engine.tell(event)
        if number % 20 == 19:
            await engine.clock.advance(2.0)
    await engine.recorder.close()
    recording = open_recording(tmp_path)
    assert len(recording.chapters) > 3
    player = Player(recording)
    player.at = 0.0
    told = [e for e in engine.seen if not isinstance(e, ev.RecordingMeasured)]
    assert [r["kind"] for r in recording.all_records() if r["kind"] != "recording.measured"] == [e.kind for e in told]
    player.seek(recording.ends_at)
    assert dump(player.state) == dump(engine.state)


def test_time_moves_both_ways(tmp_path: Path) -> None:
    """Steps, jumps forward and back, and the next error land where they should."""
    start = [
        ev.NodeAdded(at=NOW, node_id=node_id(1), label="node-01", host="10.0.0.1", port=22, username="basilica"),
        *(checked(1, at=NOW + 60 * n) for n in range(1, 10)),
        ev.AlertRaised(at=NOW + 570, alert_id="a", level="error", subject="node-01", message="down", hint=""),
        *(checked(1, at=NOW + 60 * n) for n in range(10, 20)),
    ]
    writer = Segments(tmp_path, LIMITS)
    writer.begin(json.dumps(keyframe_of(LiveState(), NOW - 1)).encode(), NOW - 1)
    for event in start:
        trouble = isinstance(event, ev.AlertRaised)
        writer.append(Lines((event_line(event),), event.at, event.at, has_trouble=trouble))
    writer.close()
    player = Player(open_recording(tmp_path))

    assert player.at == NOW - 1
    player.step()
    assert (player.at, player.state.nodes[node_id(1)].checks_total) == (NOW, 0)
    player.seek(NOW + 300)
    assert player.state.nodes[node_id(1)].checks_total == 5
    player.step_back()
    assert (player.at, player.state.nodes[node_id(1)].checks_total) == (NOW + 240, 4)
    assert player.seek_trouble(forward=True)
    assert player.at == NOW + 570
    assert player.state.alerts["a"].active
    assert not player.seek_trouble(forward=True)
    player.seek(NOW + 1e9)
    assert player.at == NOW + 60 * 19
    assert player.is_at_end
    assert player.seek_trouble(forward=False)
    assert player.at == NOW + 570
    assert [r.event for r in player.logs][-1] == "alert.raised"
    player.seek(0.0)
    assert (player.at, dict(player.state.nodes)) == (NOW - 1, {})


def test_troubles_of_one_moment_are_gone_through_one_by_one(tmp_path: Path) -> None:
    """Also where they lie in two blocks, with other events of the moment between them, forward and back."""
    raised = [
        ev.AlertRaised(at=NOW + at, alert_id=name, level="error", subject=name, message="down", hint="")
        for at, name in [(1, "a"), (5, "b"), (5, "c"), (5, "d"), (9, "e")]
    ]
    writer = Segments(tmp_path, LIMITS)
    writer.begin(json.dumps(keyframe_of(LiveState(), NOW)).encode(), NOW)
    for number, event in enumerate(raised):
        lines = tuple(map(event_line, (event, checked(1, at=event.at))))
        writer.append(Lines(lines, event.at, event.at, has_trouble=True))
        if number == 2:
            writer.begin(json.dumps(keyframe_of(fold(raised[:3]), event.at)).encode(), event.at)
    writer.close()
    player = Player(open_recording(tmp_path))

    met = []
    while player.seek_trouble(forward=True):
        met.append((player.at - NOW, "".join(sorted(player.state.alerts))))
    assert met == [(1, "a"), (5, "ab"), (5, "abc"), (5, "abcd"), (9, "abcde")]
    back = []
    while player.seek_trouble(forward=False):
        back.append((player.at - NOW, "".join(sorted(player.state.alerts))))
    assert back == [*reversed(met[:-1])]
    player.seek(NOW + 7)
    assert player.seek_trouble(forward=False)
    assert (player.at - NOW, sorted(player.state.alerts)) == (5, list("abcd"))


@given(st.lists(st.integers(0, 2), min_size=1, max_size=30), st.integers(1, 9), st.floats(0, 1), st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_steps_forward_and_back_end_where_they_began(
    pauses: list[int], chapter_length: int, begin: float, steps: int
) -> None:
    """From any moment, also between events, n steps on and n back pass the same moments and states both ways."""
    with tempfile.TemporaryDirectory() as directory:
        player = Player(open_recording(shared_moments(Path(directory), pauses, chapter_length)))
        player.seek(player.begins_at + begin * (player.ends_at - player.begins_at))
        seen = [(player.place, dump(player.state))]
        for _ in range(steps):
            player.step()
            if (player.place, dump(player.state)) != seen[-1]:
                seen.append((player.place, dump(player.state)))
        for place, state in reversed(seen[:-1]):
            player.step_back()
            assert (player.place, dump(player.state)) == (place, state)
        player.recording.close()


@given(st.lists(st.integers(0, 2), min_size=1, max_size=30), st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_steps_back_from_the_end_go_through_every_event(pauses: list[int], chapter_length: int) -> None:
    """Events that share a moment are undone one by one, over keyframes too, down to the begin and no further."""
    with tempfile.TemporaryDirectory() as directory:
        player = Player(open_recording(shared_moments(Path(directory), pauses, chapter_length)))
        first_moment = sum(1 for at in moments(pauses) if at <= player.begins_at)
        player.seek(player.ends_at)
        for left in range(len(pauses) - 1, first_moment - 1, -1):
            player.step_back()
            assert checks(player) == left
            assert player.at == max([player.begins_at, *moments(pauses)[:left]])
        player.step_back()
        assert (player.at, checks(player)) == (player.begins_at, first_moment)
        player.recording.close()


def moments(pauses: list[int]) -> list[float]:
    return [NOW + total for total in itertools.accumulate(pauses)]


def checks(player: Player) -> int:
    return player.state.nodes[node_id(1)].checks_total


def shared_moments(directory: Path, pauses: list[int], chapter_length: int) -> Path:
    """A check of one node after each pause; a keyframe before every so many."""
    writer, state = Segments(directory, LIMITS), LiveState()
    state.apply(
        ev.NodeAdded(at=NOW, node_id=node_id(1), label="node-01", host="10.0.0.1", port=22, username="basilica")
    )
    for number, at in enumerate(moments(pauses)):
        if number % chapter_length == 0:
            writer.begin(json.dumps(keyframe_of(state, at)).encode(), at)
        state.apply(checked(1, at=at))
        writer.append(lines_of(checked(1, at=at)))
    writer.close()
    return directory


def small_recording(directory: Path, blocks: int = 20) -> Path:
    writer = Segments(directory, LIMITS)
    writer.begin(json.dumps(keyframe_of(LiveState(), NOW)).encode(), NOW)
    for number in range(blocks):
        writer.append(lines_of(checked(1, at=NOW + number), checked(2, at=NOW + number)))
    writer.close()
    return next(directory.glob("*.brec"))


def count(path: Path) -> int:
    recording = open_recording(path)
    try:
        return len(list(recording.all_records()))
    finally:
        recording.close()


def test_a_file_cut_anywhere_loses_the_cut_block_and_nothing_before_it(tmp_path: Path) -> None:
    """Whatever byte a crash ended at, all whole blocks before it are there."""
    path = small_recording(tmp_path)
    whole = path.read_bytes()
    before = 40
    for size in sorted(random.Random(5).sample(range(700, len(whole)), 60), reverse=True):
        path.write_bytes(whole[:size])
        found = count(path)
        assert found % 2 == 0
        assert found <= before
        before = found
    path.write_bytes(whole[:-1])
    assert count(path) == 38


def test_a_damaged_block_costs_only_itself(tmp_path: Path) -> None:
    """Flipped bytes, also in a header, lose at most the blocks that they are in."""
    path = small_recording(tmp_path)
    whole = bytearray(path.read_bytes())
    rng = random.Random(7)
    for _ in range(60):
        broken = bytearray(whole)
        place = rng.randrange(len(whole) // 2, len(whole))
        broken[place] ^= 0xFF
        path.write_bytes(bytes(broken))
        assert count(path) >= 36


def test_what_is_no_recording_is_said(tmp_path: Path) -> None:
    """Another file, a newer format, an empty place."""
    other = tmp_path / "other.brec"
    other.write_bytes(b"SQLite format 3\0" + bytes(4000))
    with pytest.raises(RecordingUnreadable, match="is not a recording"):
        open_recording(other)
    other.write_bytes(b"basilica-recording 2\nxxxx")
    with pytest.raises(RecordingUnreadable, match="newer format"):
        open_recording(other)
    other.write_bytes(b"basilica-recording 1")
    with pytest.raises(RecordingUnreadable, match="is cut off"):
        open_recording(other)
    with pytest.raises(RecordingEmpty):
        open_recording(tmp_path)  # beside others such a file is passed over
    with pytest.raises(RecordingUnreadable, match="No such file"):
        open_recording(tmp_path / "missing.brec")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordingEmpty):
        open_recording(tmp_path / "empty")


def test_a_hostile_file_is_read_without_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong types, unknown kinds and a bomb neither crash the fold nor take the memory."""
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1_000_000)
    writer = Segments(tmp_path, LIMITS)
    keyframe = {"views": {"nodes": [{"id": 7}, {"id": "x", "label": ["a"]}, {"id": "good"}], "engine": [{"role": 5}]},
                "memory": {"gone": [1, 2], "wanted": {"x": 5}}, "counters": {"authentications": "many"}}  # fmt: skip
    writer.begin(json.dumps(keyframe).encode(), NOW)
    bad = (
        b'{"kind":"node.checked","at":"soon"}', b'{"kind":"nothing.known","at":1}', b"[1,2]", b"not json",
        b'{"kind":"node.checked","at":1790000001,"node_id":5,"ok":true}', b'{"at":1790000002}',
    )  # fmt: skip
    writer.append(Lines(bad, NOW + 1, NOW + 2, has_trouble=True))
    writer.append(Lines((b"0" * (2_000_000),), NOW + 3, NOW + 3, has_trouble=False))
    writer.close()
    player = Player(open_recording(tmp_path))
    player.seek(NOW + 10)
    assert set(player.state.nodes) == {"good"}
    assert player.recording.damaged >= 3


async def test_the_oldest_goes_first_and_the_size_is_kept(tmp_path: Path) -> None:
    """However much happens, the directory stays below its limit and ends with the newest."""
    limits = Limits(retention_s=1e9, max_bytes=200_000, min_free_bytes=0)
    writer = Segments(tmp_path, limits)
    rng = random.Random(3)
    at = NOW
    for _ in range(120):
        if not writer.is_open or writer.size > limits.segment_bytes:
            writer.begin(b"{}", at)
        at += 1
        noise = json.dumps({"kind": "log.line", "at": at, "event": rng.randbytes(2000).hex()}).encode()
        writer.append(Lines((noise,), at, at, has_trouble=False))
        assert sum(p.stat().st_size for p in tmp_path.glob("*.brec")) <= limits.max_bytes
    recording = open_recording(tmp_path)
    assert recording.ends_at == at
    assert recording.begins_at > NOW
    names = sorted(p.name for p in tmp_path.glob("*.brec"))
    assert int(names[0][:6]) > 1


def test_what_is_too_old_goes(tmp_path: Path) -> None:
    """A segment that was last written before the retention is removed with the next one."""
    limits = Limits(retention_s=100.0, max_bytes=10**9, min_free_bytes=0)
    writer = Segments(tmp_path, limits)
    writer.begin(b"{}", NOW)
    old = next(tmp_path.glob("*.brec"))
    writer.begin(b"{}", NOW + 10)
    os.utime(old, (NOW, NOW))
    writer.prune(NOW + 200)
    assert [p.name[:6] for p in tmp_path.glob("*.brec")] == ["000002"]


async def test_a_full_disk_pauses_says_so_once_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing raises; the state says why; afterwards a new segment knows what happened meanwhile."""
    engine = Recorded(tmp_path)
    await engine.tell(*miner_events(2))
    real = os.write
    full = True

    def write(descriptor: int, data: bytes) -> int:
        if full:
            raise OSError(28, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    for number in range(3):
        await engine.tell(checked(1, at=NOW + number))
    halts = [e for e in engine.seen if isinstance(e, ev.RecordingHalted)]
    assert len(halts) == 1
    assert "No space left" in engine.state.engine.recording_error
    full = False
    await engine.tell(checked(1, at=NOW + 10))
    assert engine.state.engine.recording_error == ""
    resumed = next(e for e in engine.seen if isinstance(e, ev.RecordingResumed))
    assert resumed.lost >= 3
    await engine.recorder.close()
    player = Player(open_recording(tmp_path))
    player.seek(NOW + 100)
    assert player.state.nodes[node_id(1)].checks_total == engine.state.nodes[node_id(1)].checks_total


async def test_room_is_left_to_the_database(tmp_path: Path) -> None:
    """Below ``min_free`` nothing is written, and the reason names both figures."""
    engine = Recorded(tmp_path, min_free=10**18)
    await engine.tell(*miner_events(1))
    assert "MB free, recording stops below" in engine.state.engine.recording_error


async def test_two_engines_do_not_share_a_recording(tmp_path: Path) -> None:
    """The second one says who has it."""
    first, second = Recorded(tmp_path), Recorded(tmp_path)
    await first.tell(*miner_events(1))
    await second.tell(*miner_events(1))
    assert "already uses the recording" in second.state.engine.recording_error
    await first.recorder.close()


async def test_log_lines_without_an_event_are_recorded(tmp_path: Path) -> None:
    """What a service logged stands among the events; lines that events make are not stored twice."""
    engine = Recorded(tmp_path)
    engine.ring.add(NOW - 200, "warning", "control.client_cut", {"actor": "somebody"})
    engine.ring.add(NOW - 100, "info", "Axon served successfully", {"kind": "axon.served"})
    await engine.tell(*by_time(miner_events(1)))
    await engine.recorder.close()
    player = Player(open_recording(tmp_path))
    player.seek(NOW)
    words = [r.event for r in player.logs]
    assert words.count("control.client_cut") == 1
    assert "Axon served successfully" not in words
    assert f"Successfully authenticated validator: {miner_authenticated()}" in words


def miner_authenticated() -> str:
    return next(e.validator_hotkey for e in miner_events(1) if isinstance(e, ev.ValidatorAuthenticated))


async def test_nothing_is_written_when_it_is_turned_off(tmp_path: Path) -> None:
    """``enabled = false`` makes no file."""
    engine = Recorded(tmp_path / "none", enabled=False)
    await engine.recorder.run()
    await engine.tell(*miner_events(1))
    await engine.recorder.close()
    assert not (tmp_path / "none").exists()


def test_a_recording_of_many_checks_is_small(tmp_path: Path) -> None:
    """An event of a fleet takes an eighth of its JSON at most, in blocks of three."""
    writer = Segments(tmp_path, LIMITS)
    state = LiveState()
    for event in miner_events(100):
        state.apply(event)
    writer.begin(json.dumps(keyframe_of(state, NOW), separators=(",", ":")).encode(), NOW)
    raw = 0
    base = writer.size
    for number in range(300):
        batch = lines_of(*(checked((number * 3 + i) % 100 + 1, at=NOW + 2 * number) for i in range(3)))
        raw += sum(map(len, batch.lines))
        writer.append(batch)
    assert writer.size - base < raw / 8
    assert isinstance(open_recording(tmp_path), Recording)
