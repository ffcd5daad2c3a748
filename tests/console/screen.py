"""Reading what a console shows."""

from __future__ import annotations

import asyncio

from textual.events import Key
from textual.keys import _character_to_key
from textual.pilot import Pilot

from basilica_tui.app import ConsoleApp
from basilica_tui.screens.table_screen import TableScreen


def text_of(app: ConsoleApp) -> str:
    """The screen as lines of text, as the compositor has it."""
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


def send(app: ConsoleApp, typed: str) -> None:
    """These keys in one piece, as a slow link brings them; ``\\r`` is enter and ``\\x1b`` escape."""
    names = {"\r": "enter", "\x1b": "escape"}
    for letter in typed:
        app.post_message(Key(names.get(letter) or _character_to_key(letter), letter))


async def settle(pilot: Pilot[int]) -> None:
    """Let the link, the flush and the layout come to rest."""
    for _ in range(20):
        await asyncio.sleep(0)
    app = pilot.app
    assert isinstance(app, ConsoleApp)
    app.flush()
    await pilot.pause()


async def rest(pilot: Pilot[int]) -> None:
    """Until what is shown has been the same three times: for what comes by a thread or a second flush."""
    app = pilot.app
    assert isinstance(app, ConsoleApp)
    same, before = 0, ""
    for _ in range(200):
        await settle(pilot)
        await asyncio.sleep(0.02)
        shown = text_of(app)
        same, before = (same + 1 if shown == before else 0), shown
        if same >= 3:
            return
    raise AssertionError(f"the screen never came to rest\n{before}")


def standing_out(app: ConsoleApp) -> list[str]:
    """What is bold and underlined because it changed a moment ago."""
    strips = app.screen._compositor.render_strips()
    return [s.text for strip in strips for s in strip if s.style and s.style.underline and s.style.bold]


def table_screen(app: ConsoleApp) -> TableScreen[object]:
    """The visible screen, which must be one with a table."""
    assert isinstance(app.screen, TableScreen)
    return app.screen
