"""Another size of the terminal: nothing stays where the old size had it."""

from __future__ import annotations

import pytest

from tests.console.conftest import MakeApp
from tests.console.screen import rest, settle, table_screen, text_of


@pytest.mark.parametrize("key", ["2", "4", "5"])
async def test_a_table_that_was_resized_out_of_sight_has_its_cells_below_their_titles(
    make_app: MakeApp, key: str
) -> None:
    """Visited at one size, resized under another view, visited again."""
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await rest(pilot)
        await pilot.press(key, "1")
        await rest(pilot)
        await pilot.resize_terminal(50, 20)
        await rest(pilot)
        await pilot.press(key)
        await rest(pilot)
        after = text_of(app)
        table = table_screen(app).table
        table._forget()
        table.refresh()
        await settle(pilot)
        assert after == text_of(app)
