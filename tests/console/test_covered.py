"""What is out of sight costs nothing; what may be out of date says so, wherever one looks."""

from __future__ import annotations

import pytest

from basilica_tui.format import Look
from basilica_tui.screens.base import ConsoleScreen
from basilica_tui.screens.confirm import Confirm
from basilica_tui.store import Dirty
from basilica_tui.widgets.lines import Lines
from basilica_tui.widgets.tones import Toned
from engine.clock import ManualClock
from engine.events import NodeStateChanged
from tests.console.conftest import MakeApp, make_engine
from tests.console.screen import rest, settle, table_screen, text_of
from tests.console.world import NOW, TestEngine, checked, node_id

FRAME = {"header", "clock", "footer", "skin", "timebar", "timekeys"}
VIEWS = [("1", (80, 24)), *((keys, (120, 40)) for keys in ("1", "2", "3", "4", "6", "7", "2 enter", "3 enter", "2 d"))]


@pytest.mark.parametrize("cover", ["question_mark", "ctrl+p", "enter", "3"])
async def test_a_view_that_is_covered_or_left_is_not_drawn(
    make_app: MakeApp, engine: TestEngine, cover: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changes go to the store alone; the view is brought up to date when it is seen again."""
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await rest(pilot)
        await pilot.press("2")
        await rest(pilot)
        nodes = table_screen(app)
        table, drawn = nodes.table, list[Dirty | None]()
        draw = nodes.draw

        def counted(look: Look, dirty: Dirty | None) -> None:
            drawn.append(dirty)
            draw(look, dirty)

        monkeypatch.setattr(nodes, "draw", counted)
        await pilot.press(cover)
        await rest(pilot)
        drawn.clear()
        before = (table.repainted_cells, app.store.version)
        for load in (11.0, 97.0):
            engine.emit(*(checked(n, at=NOW, load=load) for n in range(1, 7)))
            await settle(pilot)
        engine.emit(NodeStateChanged(at=NOW, node_id=node_id(5), old="healthy", new="unhealthy", reason="no route"))
        await settle(pilot)
        assert drawn == []
        assert table.repainted_cells == before[0]
        assert app.store.version > before[1]
        await pilot.press("2" if cover == "3" else "escape")
        await rest(pilot)
        assert drawn
        assert "unhealthy" in text_of(app)


async def test_the_first_line_lives_under_a_dialog(make_app: MakeApp, engine: TestEngine) -> None:
    """Rows under it stand still, but that the engine went away is seen before a yes is given."""
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await rest(pilot)
        await pilot.press("2", "D")
        await rest(pilot)
        assert "● live" in text_of(app)
        await pilot.press("escape", "1", "tab", "H")
        await rest(pilot)
        assert isinstance(app.screen, Confirm)
        engine.go_down()
        await settle(pilot)
        assert "engine gone" in text_of(app)
        assert isinstance(app.screen, Confirm)


async def test_a_view_that_is_half_taken_down_under_a_dialog_is_left_alone(make_app: MakeApp) -> None:
    """The end of a console meets a flush; that is no mistake of its own."""
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await rest(pilot)
        await pilot.press("ctrl+p")
        await rest(pilot)
        below = app.screen_stack[-2]
        assert isinstance(below, ConsoleScreen)
        await below.query_one("#top").remove()
        app.flush()
        await pilot.pause()
        assert app.crash is None
        assert app.is_running


@pytest.mark.parametrize(("keys", "size"), VIEWS)
async def test_every_view_dims_what_a_lost_engine_told(
    make_app: MakeApp, clock: ManualClock, keys: str, size: tuple[int, int]
) -> None:
    """Everything but the frame is dim, and the first line says how old it is; both end with the outage."""
    engine = make_engine(with_ramp=True)
    app = make_app(connect=engine.connect)
    async with app.run_test(size=size) as pilot:
        await rest(pilot)
        await pilot.press(*keys.split())
        await rest(pilot)
        screen = app.screen
        assert isinstance(screen, ConsoleScreen)
        shown = [w for w in screen.query(Toned) if w.id not in FRAME and w.display and w.region.area]
        assert shown
        assert not any(w.is_faded for w in shown)
        engine.go_down()
        await settle(pilot)
        await clock.advance(125)
        await settle(pilot)
        assert [w.id for w in shown if not w.is_faded and (not isinstance(w, Lines) or any(w.lines))] == []
        assert "2 min" in text_of(app).splitlines()[0]
        engine.is_up = True
        await clock.advance(15)
        await rest(pilot)
        assert [w.id for w in shown if w.is_faded] == []
        assert "● live" in text_of(app)
