"""What reaches the terminal: only cells that differ, and never more than the budget for a key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.color import ColorSystem
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import CompositorUpdate, LayoutUpdate
from textual.geometry import Region, Size
from textual.pilot import Pilot
from textual.strip import Strip

from basilica_tui.app import ConsoleApp
from basilica_tui.link import ASK_EVERY_S
from basilica_tui.painter import Painter
from engine.clock import ManualClock
from engine.events import NodeStateChanged
from tests.console.conftest import make_engine
from tests.console.screen import settle, standing_out
from tests.console.world import NOW, TestClient, checked, node_id

KEY_BUDGET = 30_000
COLUMNS = 12
KEYS = "2 j G x escape c escape w w 4 6 1 2 enter d q q question_mark q ctrl+p escape"
SIZE = Size(10, 2)
CONSOLE = Console(color_system="truecolor", force_terminal=True)
RED, BLUE = Style.parse("red"), Style.parse("blue bold on white")


class CountingPainter(Painter):
    """Counts what a terminal of all colours would get; without a terminal Textual itself writes nothing."""

    written = 0

    def difference(self, update: CompositorUpdate, size: Size, console: Console) -> str | None:
        text = super().difference(update, size, CONSOLE)
        self.written += len((text or "").encode())
        return text


class CountingApp(ConsoleApp):
    """A console with such a painter."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.painter = CountingPainter()

    @property
    def written(self) -> int:
        """Bytes so far."""
        assert isinstance(self.painter, CountingPainter)
        return self.painter.written


def _update(*lines: list[Segment]) -> LayoutUpdate:
    return LayoutUpdate([[Strip(line)] for line in lines], Region(0, 0, SIZE.width, len(lines)))


def _written(painter: Painter, *lines: list[Segment]) -> str | None:
    return painter.difference(_update(*lines), SIZE, CONSOLE)


def test_the_same_picture_is_not_written_twice() -> None:
    """Equal cells cost nothing, whoever asks for a repaint."""
    painter = Painter()
    first = _written(painter, [Segment("hello", RED), Segment("world", BLUE)])
    assert first is not None
    assert "hello" in first
    assert _written(painter, [Segment("hel", RED), Segment("lo", RED), Segment("world", BLUE)]) == ""
    painter.forget()
    assert _written(painter, [Segment("hello", RED), Segment("world", BLUE)]) == first


def test_only_the_difference_is_written_with_the_shortest_change_of_colour() -> None:
    """One cell is a place, a colour and a character; near changes share a stretch."""
    painter = Painter()
    _written(painter, [Segment("0123456789", RED)])
    assert _written(painter, [Segment("012x456789", RED)]) == "\x1b[1;4H\x1b[31mx\x1b[0m"
    assert _written(painter, [Segment("0a2xb56789", RED)]) == "\x1b[1;2H\x1b[31ma2xb\x1b[0m"
    assert _written(painter, [Segment("0a2xb5678z", RED)]) == "\x1b[1;10H\x1b[31mz\x1b[0m"


def test_a_blank_has_no_colour_of_its_own() -> None:
    """Blanks in another foreground look the same; another background does not."""
    painter = Painter()
    _written(painter, [Segment("          ", RED)])
    assert _written(painter, [Segment("          ", Style.parse("green"))]) == ""
    assert "     " in (_written(painter, [Segment("          ", BLUE)]) or "")


def test_wide_characters_are_written_whole() -> None:
    """Also when only their second half differs from what was there."""
    painter = Painter()
    _written(painter, [Segment("ab節d")])
    assert _written(painter, [Segment("a節bd")]) == "\x1b[1;2H節b"
    assert _written(painter, [Segment("a節xd")]) == "\x1b[1;4Hx"


def test_another_size_is_written_in_full() -> None:
    """The terminal has moved everything."""
    painter = Painter()
    _written(painter, [Segment("0123456789")])
    again = painter.difference(_update([Segment("0123456789")]), Size(10, 3), CONSOLE)
    assert again == "\x1b[1;1H0123456789"


def test_terminals_of_few_colours_get_those() -> None:
    """Colours are reduced as Textual would."""
    painter = Painter()
    console = Console(color_system="256", force_terminal=True)
    assert console._color_system is ColorSystem.EIGHT_BIT
    text = painter.difference(_update([Segment("x", Style.parse("#ff0000"))]), SIZE, console)
    assert text == "\x1b[1;1H\x1b[38;5;196mx\x1b[0m"


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_no_key_costs_more_than_its_budget(size: tuple[int, int]) -> None:
    """First visits, second visits, menus, moving, zooming: with a hundred nodes."""
    engine = make_engine(nodes=100, with_ramp=True)
    app = CountingApp(Path("/x"), clock=ManualClock(NOW), connect=engine.connect)
    costs: dict[str, int] = {}
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        for number, key in enumerate(KEYS.split()):
            before = app.written
            await pilot.press(key)
            await settle(pilot)
            costs[f"{number} {key}"] = app.written - before
    # The budget is for 120x40; a screen of two and a half times as many cells gets half as much again.
    budget = KEY_BUDGET if size <= (120, 40) else KEY_BUDGET * 3 // 2
    assert {k: v for k, v in costs.items() if v > budget} == {}
    if size == (120, 40):
        assert costs["0 2"] < 12_000
        assert costs["1 j"] < 1_500


async def still(app: CountingApp, pilot: Pilot[int]) -> None:
    """Wait until everything that was asked for is painted, however slow the machine is; the first picture counts."""
    painted = 0
    while painted == 0 or painted != app.written:
        painted = app.written
        await settle(pilot)


async def test_a_first_visit_costs_no_more_than_one_picture() -> None:
    """No blank screen, no second coat."""
    engine = make_engine(nodes=100)
    app = CountingApp(Path("/x"), clock=ManualClock(NOW), connect=engine.connect)
    async with app.run_test(size=(120, 40)) as pilot:
        await still(app, pilot)
        before = app.written
        await pilot.press("2")
        await still(app, pilot)
        visit, before = app.written - before, app.written
        app.redraw()
        await still(app, pilot)
        # The cells that both screens share are not written again; the scroll bar comes with the second frame.
        assert visit <= (app.written - before) // 2


@pytest.mark.parametrize("nodes", [100, 1000])
async def test_a_second_of_changes_stays_in_the_budget(nodes: int) -> None:
    """2 % of the cells of every node: dashboard 2 kB, nodes 5 kB; equal values nothing."""
    engine = make_engine(nodes=nodes)
    app = CountingApp(Path("/x"), clock=ManualClock(NOW), connect=engine.connect)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        for key, budget in (("1", 2000), ("2", 5000)):
            await pilot.press(key)
            await settle(pilot)
            before = app.written
            engine.emit(*(checked(n, at=NOW - 80, load=97.0 + len(key)) for n in range(1, nodes + 1, 4)))
            await settle(pilot)
            assert app.written - before <= budget
            before = app.written
            engine.emit(*(checked(n, at=NOW - 80, load=97.0 + len(key)) for n in range(1, nodes + 1, 4)))
            await settle(pilot)
            assert app.written == before
            engine.emit(NodeStateChanged(at=NOW, node_id=node_id(3), old="healthy", new="suspect", reason=key))
            await settle(pilot)


@pytest.mark.parametrize("is_up", [True, False])
async def test_an_idle_second_is_quiet(*, is_up: bool) -> None:
    """At rest only the clock is written, or the age and the countdown of a lost engine."""
    engine, clock = make_engine(), ManualClock(NOW)
    app = CountingApp(Path("/x"), clock=clock, connect=engine.connect)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        if not is_up:
            engine.go_down()
            await settle(pilot)
        before = app.written
        for _ in range(10):
            await clock.advance(1)
            await settle(pilot)
        assert app.written - before <= 10 * 200


@pytest.mark.parametrize("nodes", [100, 1000])
async def test_cells_that_stand_out_stay_in_the_budget(nodes: int) -> None:
    """2 % of the cells a second, all of the kind that is bold for eight seconds: they are written twice and it fits."""
    engine, clock = make_engine(nodes=nodes), ManualClock(NOW)
    app = CountingApp(Path("/x"), clock=clock, connect=engine.connect)
    seconds, changing = 20, nodes * COLUMNS // 50
    states = ["healthy"] * (nodes + 1)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        for key, budget in (("2", 5000), ("1", 2000)):
            await pilot.press(key)
            await still(app, pilot)
            before, stood_out = app.written, 0
            for second in range(seconds):
                for step in range(changing):
                    number = 4 + (second * changing + step) * 7 % (nodes - 3)
                    old, states[number] = states[number], "suspect" if states[number] == "healthy" else "healthy"
                    engine.emit(
                        NodeStateChanged(at=NOW, node_id=node_id(number), old=old, new=states[number], reason="")
                    )
                await clock.advance(1)
                await settle(pilot)
                stood_out = max(stood_out, len(standing_out(app)))
            assert stood_out > 0
            assert (app.written - before) / seconds <= budget


async def test_asking_how_fast_the_engine_answers_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers that take now 20 ms, now 140: at rest the budget holds, and an answer within 100 ms writes nothing."""
    engine, clock = make_engine(), ManualClock(NOW)
    takes = [0.0]

    async def summary(self: TestClient) -> Mapping[str, object]:
        await clock.sleep(takes[0])
        return {}

    monkeypatch.setattr(TestClient, "summary", summary)
    app = CountingApp(Path("/x"), clock=clock, connect=engine.connect)
    latencies, costs = list[float](), list[float]()
    async with app.run_test(size=(120, 40)) as pilot:
        await still(app, pilot)
        for times in ([0.02, 0.03, 0.04, 0.02], [0.02, 0.14, 0.11, 0.3]):
            before, began = app.written, clock.now()
            for takes[0] in times:
                for step in (*[1.0] * int(ASK_EVERY_S), takes[0]):
                    await clock.advance(step)
                    await settle(pilot)
                latencies.append(app.store.link.latency_s)
            costs.append((app.written - before) / (clock.now() - began))
    assert latencies == [0, 0, 0, 0, 0, 0.15, 0.1, 0.3]
    assert max(costs) <= 200
    assert costs[1] - costs[0] <= 20
