"""The console over a recording: every screen at any moment, keys that move in time, and nothing to be done."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from textual.pilot import Pilot

from basilica_tui.panels.timebar import timebar_lines
from basilica_tui.replay import ReplayApp
from basilica_tui.replay_link import ReplayClock
from basilica_tui.replay_time import seek_time
from basilica_tui.store import ReplayPosition
from engine import events as ev
from engine.clock import ManualClock
from engine.control.state import LiveState
from engine.events import Event
from engine.recording.keyframes import event_line, is_trouble, keyframe_of
from engine.recording.player import Player
from engine.recording.reader import open_recording
from engine.recording.segments import Limits, Lines, Segments
from tests.console.screen import rest, settle, text_of
from tests.console.world import NOW, checked, miner_events, node_id, validator_events

BEGIN = NOW - 7300.0
SnapCompare = Callable[..., bool]


def record(directory: Path, events: list[Event]) -> Path:
    """A recording of these events, one block each ten of them."""
    writer = Segments(directory, Limits(1e9, 10**9, 0))
    writer.begin(json.dumps(keyframe_of(LiveState(), BEGIN)).encode(), BEGIN)
    ordered = sorted(events, key=lambda event: event.at)
    for start in range(0, len(ordered), 10):
        some = ordered[start : start + 10]
        trouble = any(is_trouble(e.severity, e.kind) for e in some)
        first, last = max(some[0].at, 0.0), some[-1].at
        writer.append(Lines(tuple(map(event_line, some)), first, last, has_trouble=trouble))
    writer.close()
    return directory


@pytest.fixture
def make_replay(tmp_path: Path) -> Iterator[Callable[..., ReplayApp]]:
    """Builds a replay of the small fleet's last two hours."""
    opened = []

    def build(events: list[Event] | None = None, **options: object) -> ReplayApp:
        world = events if events is not None else miner_events(with_ramp=True)
        recording = open_recording(record(tmp_path / "recording", world))
        opened.append(recording)
        player = Player(recording, begins_at=BEGIN)
        return ReplayApp(player, tmp_path / "recording", clock=ManualClock(NOW), **options)

    yield build
    for recording in opened:
        recording.close()


async def shows(pilot: Pilot[int], *texts: str) -> None:
    """Wait until the screen says so."""
    app = pilot.app
    assert isinstance(app, ReplayApp)
    try:
        async with asyncio.timeout(60):
            while not all(text in text_of(app) for text in texts):
                await asyncio.sleep(0.02)
                await settle(pilot)
    except TimeoutError:
        pytest.fail(f"{texts} never appeared in\n{text_of(app)}")


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_a_replay_begins_at_its_begin_and_jumps_to_any_time(
    make_replay: Callable[..., ReplayApp], size: tuple[int, int]
) -> None:
    """At first nothing is known; later the incident is there as it was, with the time of then."""
    app = make_replay()
    async with app.run_test(size=size) as pilot:
        await shows(pilot, "REPLAY")
        assert "host key changed" not in text_of(app)
        app.run_command(f"seek {at_clock(NOW)}")
        await shows(pilot, "host key changed", "gpu-house-1", at_clock(NOW - 4))
        await pilot.press("2")
        await shows(pilot, "NODES", "node-02", "REPLAY")
        await pilot.press("6")
        await shows(pilot, "Found 14 validators")
        await pilot.press("7")
        await shows(pilot, "certificate expires")


def at_clock(at: float) -> str:
    import time

    return time.strftime("%H:%M:%S", time.localtime(at))


async def test_keys_move_in_time(make_replay: Callable[..., ReplayApp]) -> None:
    """Events, minutes, hours and errors, both ways; the bar says when it is."""
    app = make_replay()
    async with app.run_test(size=(120, 40)) as pilot:
        await shows(pilot, "REPLAY")
        player = app._replay._player
        await pilot.press("right_parenthesis")
        await shows(pilot, at_clock(BEGIN + 3600))
        await pilot.press("right_square_bracket", "right_square_bracket")
        await shows(pilot, at_clock(BEGIN + 3720))
        await pilot.press("left_square_bracket")
        await shows(pilot, at_clock(BEGIN + 3660))
        await pilot.press("E")
        await shows(pilot, at_clock(NOW - 840))
        assert player.state.nodes[node_id(2)].state == "stopped"
        before = player.at
        await pilot.press("full_stop")
        await shows(pilot, at_clock(player.at))
        while player.at <= before:
            await pilot.press("full_stop")
            await settle(pilot)
        later = player.at
        await pilot.press("comma")
        while player.at >= later:
            await asyncio.sleep(0.02)
        await pilot.press("left_parenthesis", "left_parenthesis", "left_parenthesis")
        await shows(pilot, at_clock(BEGIN))


async def test_it_plays_as_fast_as_it_is_told_and_stops_at_the_end(tmp_path: Path) -> None:
    """Sixty seconds a second: after ten ticks two and a half minutes have passed; "nan" is no speed."""
    world: list[Event] = [
        ev.NodeAdded(at=BEGIN + 1, node_id=node_id(1), label="node-01", host="10.0.0.1", port=22, username="b"),
        *(checked(1, at=BEGIN + 10 * n) for n in range(1, 40)),
    ]
    recording = open_recording(record(tmp_path / "recording", world))
    clock = ManualClock(NOW)
    player = Player(recording)
    app = ReplayApp(player, tmp_path, clock=clock)
    async with app.run_test(size=(80, 24)) as pilot:
        await shows(pilot, "REPLAY")
        app.run_command("speed nan")
        await shows(pilot, "say how fast: 1, 2, 5")
        app.run_command("speed 60")
        await pilot.press("p")
        await shows(pilot, "x60")
        for tick in range(1, 11):
            while player.at < BEGIN + 15 * (tick - 1):
                await asyncio.sleep(0.01)
            await clock.advance(0.25)
        while player.at < BEGIN + 150:
            await asyncio.sleep(0.01)
        assert player.at == BEGIN + 150
        assert app.store.nodes[node_id(1)].checks_total == 15
        while not player.is_at_end:
            await clock.advance(0.25)
            await asyncio.sleep(0.01)
        await shows(pilot, "stopped")
        assert app.store.nodes[node_id(1)].checks_total == 39
    recording.close()


async def test_plots_and_timelines_are_those_of_the_moment(make_replay: Callable[..., ReplayApp]) -> None:
    """A plot ends where the replay stands and moves with it; a node's timeline tells what had happened by then."""
    world: list[Event] = [
        ev.NodeAdded(at=BEGIN + 1, node_id=node_id(1), label="node-01", host="10.0.0.1", port=22, username="b"),
        *(checked(1, at=BEGIN + 60 * n, load=20.0 if n < 60 else 90.0) for n in range(1, 118)),
        ev.NodeStateChanged(at=BEGIN + 5400, node_id=node_id(1), old="healthy", new="suspect", reason="slow"),
    ]
    app = make_replay(world)
    async with app.run_test(size=(120, 40)) as pilot:
        await shows(pilot, "REPLAY")
        await app._replay.seek(BEGIN + 3000)
        app.run_command("plot load 1h node-01")
        await shows(pilot, "GPU LOAD", "20%  (20% to 20%)")
        await app._replay.seek(BEGIN + 7000)
        clock = app.clock
        assert isinstance(clock, ReplayClock)
        await advance(clock)
        await shows(pilot, "90%  (20% to 90%)")
        app.open_node(node_id(1))
        await shows(pilot, "TIMELINE", "suspect: slow")
        await app._replay.seek(BEGIN + 5000)
        await advance(clock)
        await shows(pilot, "nothing on record")


async def advance(clock: ReplayClock) -> None:
    """Real time goes on, so that screens may ask again."""
    real = clock._real
    assert isinstance(real, ManualClock)
    await real.advance(2.0)


async def test_nothing_can_be_done_in_the_past(make_replay: Callable[..., ReplayApp]) -> None:
    """Keys for actions and typed actions are refused in words."""
    app = make_replay()
    async with app.run_test(size=(120, 40)) as pilot:
        await shows(pilot, "REPLAY")
        app.run_command("seek end")
        await pilot.press("2")
        await shows(pilot, "node-01")
        for keys in (["t"], ["H"]):
            await pilot.press(*keys)
            await shows(pilot, "nothing can be done in the past")
        app.act("node.check", {"node_id": node_id(1)}, "check")
        assert app.notice_now() == ("this is a replay: nothing can be done in the past", "warn")
        with pytest.raises(Exception, match="past"):
            await app.link.act("node.check", {})


async def test_a_validators_recording_shows_a_validator(make_replay: Callable[..., ReplayApp]) -> None:
    """Miners take the place of nodes."""
    app = make_replay(validator_events())
    async with app.run_test(size=(120, 40)) as pilot:
        await shows(pilot, "REPLAY")
        app._replay.set_speed(600)
        await app._replay.seek(NOW)
        await shows(pilot, "validator val-1")
        await pilot.press("2")
        await shows(pilot, "MINERS")


async def test_replay_keys_mean_nothing_elsewhere(make_app: Callable[..., object]) -> None:
    """In a console with an engine they say so, and nothing moves."""
    from basilica_tui.app import ConsoleApp

    app = make_app()
    assert isinstance(app, ConsoleApp)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("right_square_bracket")
        await settle(pilot)
        assert "only in a replay" in text_of(app)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("-30m", NOW - 1800), ("+2h", NOW + 7200), ("begin", NOW - 90_000), ("end", NOW + 9000), ("soon", None),
     ("14:00", NOW - 800), ("15:00", NOW + 2800), ("18:00", NOW - 72_800), ("23:59", NOW - 51_260),
     ("2026-09-21 14:00:10", NOW - 790), ("2026-09-21", NOW - 51_200)],
)  # fmt: skip
def test_times_are_those_of_the_day_that_is_shown(text: str, wanted: float | None) -> None:
    """Relative, absolute, and times of day, looked for where the recording has them."""
    assert seek_time(text, NOW, NOW - 90_000, NOW + 9000) == wanted


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
@pytest.mark.parametrize("playing", [True, False])
def test_the_time_bar_fills_its_line(width: int, playing: bool) -> None:
    """Exactly as wide as the screen, with a cursor, whatever is to be said."""
    from basilica_tui.bindings import BINDINGS
    from basilica_tui.format import Look

    place = ReplayPosition(
        NOW, NOW - 9000, NOW + 9e5, 600.0, playing, silent_s=500.0, marks=(NOW - 100, NOW + 8e5), source="x"
    )
    bar, keys = timebar_lines(place, BINDINGS, Look(NOW), width)
    assert len(bar[0][0]) == width
    assert ("●" in bar[0][0]) == (width >= 80)
    assert sum(len(text) for text, _ in keys) == width


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
@pytest.mark.parametrize("keys", [[], ["2"], ["6"]], ids=["dashboard", "nodes", "logs"])
def test_a_replay_looks_as_before(
    snap_compare: SnapCompare, make_replay: Callable[..., ReplayApp], size: tuple[int, int], keys: list[str]
) -> None:
    """The bar, its keys, and the screens under it."""
    app = make_replay()

    async def prepare(pilot: Pilot[int]) -> None:
        await shows(pilot, "REPLAY")
        await app._replay.seek(NOW - 600)
        await pilot.press(*keys)
        await rest(pilot)

    assert snap_compare(app, terminal_size=size, run_before=prepare)
