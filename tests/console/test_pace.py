"""How often the screen is drawn, how long the engine takes to answer, and what changed meanwhile."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from textual.pilot import Pilot

from basilica_tui.changes import Changes
from basilica_tui.format import Look
from basilica_tui.lines import plain
from basilica_tui.link import ASK_EVERY_S, SLOW_S, coarse_latency
from basilica_tui.pace import next_pace, pace_words, parse_pace
from basilica_tui.panels.header import header_line
from basilica_tui.store import ConsoleStore, LinkState
from engine import events as ev
from engine.clock import ManualClock
from tests.console.conftest import MakeApp
from tests.console.screen import settle, standing_out, table_screen, text_of
from tests.console.world import NOW, TestClient, TestEngine, checked, node_id


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5s", 5.0), ("5", 5.0), ("1m", 60.0), ("0.5", 0.5), ("0.1", None), ("2h", None), ("soon", None), ("", None)],
)
def test_a_pace_is_half_a_second_to_a_minute(text: str, seconds: float | None) -> None:
    """Anything else is refused, not bent."""
    assert parse_pace(text) == seconds


def test_steps_end_at_both_ends() -> None:
    """From any pace to its neighbours."""
    assert [next_pace(s, slower=True) for s in (0.5, 1.0, 7.0, 60.0)] == [1.0, 2.0, 10.0, 60.0]
    assert [next_pace(s, slower=False) for s in (0.5, 1.0, 7.0, 60.0)] == [0.5, 0.5, 5.0, 30.0]
    assert (pace_words(1.0), pace_words(5.0)) == ("", "every 5 s")


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_plus_and_underscore_change_how_often_it_is_drawn(make_app: MakeApp, size: tuple[int, int]) -> None:
    """The header says it when it is unusual, and the flushes really come at that pace."""
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        assert "every" not in text_of(app).splitlines()[0]
        await pilot.press("underscore", "underscore")
        await settle(pilot)
        assert app.pace_s == 5.0
        assert "every 5 s" in text_of(app).splitlines()[0]
        assert app._ticks is not None
        assert app._ticks._interval == 5.0
        await pilot.press("colon", *"refresh 1m", "enter")
        await settle(pilot)
        assert app.pace_s == 60.0
        await pilot.press("plus")
        assert app.pace_s == 30.0
        await pilot.press("colon", *"refresh 3h", "enter")
        await settle(pilot)
        assert app.pace_s == 30.0
        assert "3h is no pace" in text_of(app)


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.02, 0.0), (0.099, 0.0), (0.12, 0.1), (0.33, 0.35), (1.2, 1.0), (3.4, 3.5)]
)
def test_latency_is_told_in_steps(seconds: float, shown: float) -> None:
    """So that it does not cost a repaint each time it is measured."""
    assert coarse_latency(seconds) == shown


@pytest.mark.parametrize(
    ("link", "words"),
    [
        (LinkState("live"), "● live"),
        (LinkState("live", latency_s=0.25), "● live 250 ms"),
        (LinkState("live", latency_s=1.5), "● live 1.5 s"),
        (LinkState("live", latency_s=0.25, unanswered_since=NOW - 7), "● live no answer for 7 s"),
    ],
)
def test_the_header_tells_latency_where_it_says_something(link: LinkState, words: str) -> None:
    """A local engine is just live."""
    store = ConsoleStore()
    store.set_link(link)
    assert words in plain(header_line(store, Look(NOW), 120, read_only=True)).replace("read-only", "").strip()


async def test_a_slow_answer_is_seen_while_it_is_awaited(
    make_app: MakeApp, engine: TestEngine, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The console asks now and then; while nothing comes it says since when, afterwards how long it took."""

    async def slow(self: TestClient) -> Mapping[str, object]:
        await clock.sleep(6.0)
        return {}

    monkeypatch.setattr(TestClient, "summary", slow)
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        for step in (ASK_EVERY_S, SLOW_S + 1, 0):
            await _advance(pilot, clock, step)
        assert "no answer for 3 s" in text_of(app).splitlines()[0]
        await _advance(pilot, clock, 4.0)
        assert "live 6 s" in text_of(app).splitlines()[0]


async def _advance(pilot: Pilot[int], clock: ManualClock, seconds: float) -> None:
    await clock.advance(seconds)
    await settle(pilot)


def test_changes_are_those_of_the_last_seconds() -> None:
    """The first look changes nothing; a change fades; a clock that jumps keeps none for ever."""
    changes = Changes()
    assert changes.of("a", {"state": "healthy", "keys": "2/2"}, 100.0) == set()
    assert changes.of("a", {"state": "suspect", "keys": "2/2"}, 101.0) == {"state"}
    assert changes.of("a", {"state": "suspect", "keys": "1/2"}, 104.0) == {"state", "keys"}
    assert changes.of("a", {"state": "suspect", "keys": "1/2"}, 110.0) == {"keys"}
    assert changes.of("a", {"state": "suspect", "keys": "1/2"}, 120.0) == set()
    changes.of("a", {"state": "healthy", "keys": "1/2"}, 200.0)
    assert changes.of("a", {"state": "healthy", "keys": "1/2"}, 50.0) == set()
    assert changes.of("b", {"state": "x"}, 100.0) == set()


async def test_a_changed_cell_stands_out_and_costs_its_own_line(
    make_app: MakeApp, engine: TestEngine, clock: ManualClock
) -> None:
    """A new state is bold and underlined for a while; a new load is not, and no other line is painted."""
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await pilot.press("2")
        await settle(pilot)
        table = table_screen(app).table
        before = table.repainted_rows
        engine.emit(checked(1, at=NOW, load=97.0))
        await settle(pilot)
        assert not standing_out(app)
        assert table.repainted_rows == before + 1
        before = table.repainted_rows
        engine.emit(ev.NodeStateChanged(at=NOW, node_id=node_id(4), old="healthy", new="suspect", reason="ping lost"))
        await settle(pilot)
        assert standing_out(app) == ["▲ suspect"]
        assert table.repainted_rows <= before + 2  # its line; the sorting may not move another one
        await _advance(pilot, clock, 9.0)
        app.screen.flush(None)  # type: ignore[attr-defined]  # a console screen
        await pilot.pause()
        assert not standing_out(app)
