"""Reading what a console shows."""

from __future__ import annotations

import asyncio

from textual.pilot import Pilot

from basilica_tui.app import ConsoleApp
from basilica_tui.screens.table_screen import TableScreen


def text_of(app: ConsoleApp) -> str:
    """The screen as lines of text, as the compositor has it."""
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


async def settle(pilot: Pilot[int]) -> None:
    """Let the link, the flush and the layout come to rest."""
    for _ in range(20):
        await asyncio.sleep(0)
    app = pilot.app
    assert isinstance(app, ConsoleApp)
    app.flush()
    await pilot.pause()


def table_screen(app: ConsoleApp) -> TableScreen[object]:
    """The visible screen, which must be one with a table."""
    assert isinstance(app.screen, TableScreen)
    return app.screen
