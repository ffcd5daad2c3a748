"""A log line that is longer than the screen."""

from __future__ import annotations

import pytest

from basilica_tui.preferences import Preferences
from engine.control.models import LogRecord
from tests.console.conftest import MakeApp
from tests.console.screen import rest, table_screen, text_of
from tests.console.world import NOW, TestEngine


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (120, 40)])
async def test_w_shows_the_selected_line_whole(make_app: MakeApp, engine: TestEngine, size: tuple[int, int]) -> None:
    """It follows the cursor, goes with the second w, stays on over a visit elsewhere, and hides no filter or search."""
    message = "x" * 150 + " the-end-of-it"
    engine.log_lines.append(LogRecord(41, NOW, "error", "node.failed", {"node": "node-01", "message": message}))
    app = make_app(preferences=Preferences())
    async with app.run_test(size=size) as pilot:
        await rest(pilot)
        await pilot.press("6", "slash", *"node-0", "enter")
        await rest(pilot)
        await pilot.press("G")
        await rest(pilot)
        assert "the-end-of-it" not in text_of(app)
        await pilot.press("w")
        await rest(pilot)
        assert "the-end-of-it" in text_of(app)
        assert "search node-0" in text_of(app)
        assert table_screen(app).table.cursor_id == "41"
        await pilot.press("k")
        await rest(pilot)
        assert "the-end-of-it" not in text_of(app)
        await pilot.press("1", "6", "G")
        await rest(pilot)
        assert "the-end-of-it" in text_of(app)
        await pilot.press("w")
        await rest(pilot)
        assert "the-end-of-it" not in text_of(app)
