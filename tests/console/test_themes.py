"""Themes of the operator's own, while the console runs."""

from __future__ import annotations

from pathlib import Path

from tests.console.conftest import MakeApp
from tests.console.screen import rest, text_of


async def test_a_theme_that_was_edited_is_read_again_when_it_is_chosen(make_app: MakeApp, tmp_path: Path) -> None:
    """A new file is offered, a changed one drawn anew, a mistake told; nothing has to be started again."""
    file = tmp_path / "mine.toml"
    app = make_app(themes_folder=tmp_path)
    async with app.run_test(size=(120, 40)) as pilot:
        await rest(pilot)
        for colour in ("#102030", "#405060"):
            file.write_text(f'background = "{colour}"\n')
            await pilot.press("colon", *"theme mine", "enter")
            await rest(pilot)
            assert app.theme == "mine"
            assert app.screen.styles.background.hex == colour
        file.write_text('background = "no colour"\n')
        await pilot.press("colon", *"theme mine", "enter")
        await rest(pilot)
        assert "themes/mine.toml: background is no colour" in text_of(app)
        assert app.screen.styles.background.hex == colour
