"""Another size of the terminal: nothing stays where the old size had it."""

from __future__ import annotations

import pytest

from tests.console.conftest import MakeApp, make_engine
from tests.console.screen import rest, settle, table_screen, text_of
from tests.console.world import node_id


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


@pytest.mark.parametrize("size", [(50, 16), (80, 24)])
async def test_sentences_are_whole_on_narrow_terminals(make_app: MakeApp, size: tuple[int, int]) -> None:
    """What a failure would cost, what to press, and a node's id, which is never broken over two lines."""
    engine = make_engine(with_ramp=True)
    app = make_app(connect=engine.connect)
    async with app.run_test(size=size) as pilot:
        await rest(pilot)
        for key, words in (("4", "at the earliest"), ("5", "from its address to its clock."), ("2 enter", node_id(1))):
            await pilot.press(*key.split())
            await rest(pilot)
            shown = text_of(app)
            assert words in shown if key != "5" else words in " ".join(shown.split())
