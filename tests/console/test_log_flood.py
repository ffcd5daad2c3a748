"""Ten thousand log lines in a second do not hurt: they are counted once, and one flush paints one screen."""

from __future__ import annotations

from basilica_tui.format import Look
from basilica_tui.log_query import LogLines, LogQuery
from basilica_tui.screens.logs import LogsScreen
from basilica_tui.store import LOG_LIMIT
from basilica_tui.widgets.line_table import LineTable
from engine.control.models import LogRecord
from tests.console.conftest import MakeApp
from tests.console.screen import settle, text_of
from tests.console.world import NOW, TestEngine

FLOOD = 10_000
ROWS = 40


def _lines(first: int, count: int) -> list[LogRecord]:
    return [LogRecord(i, NOW, "info", "flood.line", {"number": str(i)}) for i in range(first, first + count)]


async def test_a_flood_of_lines_costs_one_screen(make_app: MakeApp, engine: TestEngine) -> None:
    """However many batches it came in; the newest line is at the bottom, the buffer keeps its bound."""
    engine.log_lines.clear()
    app = make_app()
    async with app.run_test(size=(120, ROWS)) as pilot:
        await settle(pilot)
        await pilot.press("6")
        await settle(pilot)
        assert isinstance(app.screen, LogsScreen)
        table = app.screen.query_one("#table", LineTable)
        before = table.repainted_rows
        for batch in range(20):
            engine.log(*_lines(1 + batch * FLOOD // 20, FLOOD // 20))
        await settle(pilot)
        await settle(pilot)
        assert f"number={FLOOD}" in text_of(app)
        assert len(app.store.logs) == LOG_LIMIT
        assert table.repainted_rows - before <= 2 * ROWS
        before = table.repainted_rows
        await pilot.press("k")
        engine.log(*_lines(FLOOD + 1, LOG_LIMIT // 2))
        await settle(pilot)
        await settle(pilot)
        assert "below, f follows" in text_of(app)
        assert table.repainted_rows - before <= 3 * ROWS


def test_each_line_is_judged_once() -> None:
    """A second look at a full buffer costs nothing; a new line costs itself."""
    lines, look, query = LogLines(), Look(NOW), LogQuery()
    logs = _lines(1, LOG_LIMIT)
    judged: list[int] = []
    judge = lines._judge

    def counted(fresh: list[tuple[str, LogRecord]], look: Look) -> list[str]:
        judged.append(len(fresh))
        return judge(fresh, look)

    lines._judge = counted  # type: ignore[assignment,method-assign]  # the count is what is tested
    assert len(lines.update(logs, query, look)) == LOG_LIMIT
    lines.update(logs, query, look)
    lines.update([*logs[1:], *_lines(LOG_LIMIT + 1, 1)], query, look)
    assert judged == [LOG_LIMIT, 0, 1]
