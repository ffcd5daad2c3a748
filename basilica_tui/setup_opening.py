"""Opens the wizard over a console without holding it: what it brings, the doctor and SSH, takes a second to load."""

# ruff: noqa: PLC0415 - in a thread and not before somebody asks for it

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from basilica_tui.app import ConsoleApp
    from basilica_tui.screens.setup import SetupScreen

WAIT_S = 60.0


async def open_setup(desk: ConsoleApp) -> None:
    """Load in a thread while the footer says so; somebody who went elsewhere meanwhile is not called back."""
    before = desk.screen
    desk.say("opening the setup ...", seconds=WAIT_S)
    make = await asyncio.to_thread(_load, desk.symbols.is_ascii, desk.store.engine.role)
    desk.say("")
    if desk.screen is before:
        desk.push_screen(make())


def _load(ascii_only: bool, role: str) -> Callable[[], SetupScreen]:
    for later in ("engine.setup.preview", "engine.setup.perform"):
        importlib.import_module(later)  # what its pages ask for once they are on the screen
    from basilica_tui.screens.setup import SetupScreen
    from engine.setup.answers import ROLES, defaults_of
    from engine.setup.phases import Setup
    from engine.setup.state_file import default_state_file, load_state

    file = default_state_file(Path.home())
    kept = load_state(file)
    if role in ROLES and (kept is None or (kept.is_complete and kept.answers.role != role)):
        kept = Setup(defaults_of(role))  # the engine that is looked at says whose set-up is meant
    setup = kept or Setup()
    return lambda: SetupScreen(setup, file, ascii_only=ascii_only)
