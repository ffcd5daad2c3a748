"""Start the console: choose colours and marks for this terminal, attach, and leave a clean terminal behind."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from basilica_tui.symbols import speaks_utf8

if TYPE_CHECKING:
    from basilica_tui.app import ConsoleApp
    from basilica_tui.ways import Way
    from engine.recording.player import Player

NO_TERMINAL = 2
WEB_DRIVER = "textual.drivers.web_driver:WebDriver"
"""How textual-serve starts us: keys and screen go through pipes, and the page speaks UTF-8."""


def run_console(
    socket: Path,
    *,
    read_only: bool = False,
    theme: str | None = None,
    ascii_only: bool | None = None,
    way: Way | None = None,
) -> int:
    """Attach to the engine behind ``socket`` until the operator leaves; returns the exit code.

    ``way`` leads to another one, for which ``socket`` is only a name.

    ``theme`` and ``ascii_only`` None choose by the terminal and locale. Without a terminal it says so and returns 2.
    """

    def make(options: dict[str, Any]) -> ConsoleApp:
        from basilica_tui.app import ConsoleApp  # noqa: PLC0415 - TEXTUAL_ANIMATIONS is read at import
        from basilica_tui.link import connect_to_engine  # noqa: PLC0415
        from basilica_tui.ways import Way  # noqa: PLC0415

        to = way or Way("", socket, connect_to_engine)
        only_looks = read_only or to.read_only
        # Who only looks, or looks from a browser, is not called by the bell unless they say so.
        options["bell"] = options["bell"] or ("off" if only_looks or _in_browser() else "bell")
        return ConsoleApp(
            to.where, connect=to.connect, read_only=only_looks, profile=to.name, edge=to.edge, is_remote=to.is_remote,
            **{**options, **({"theme": to.theme} if to.theme and theme is None else {})},
        )  # fmt: skip

    return _run(make, theme, ascii_only)


def run_replay(player: Player, source: Path, *, theme: str | None = None) -> int:
    """Show a recording until the operator leaves; returns the exit code."""

    def make(options: dict[str, Any]) -> ConsoleApp:
        from basilica_tui.replay import ReplayApp  # noqa: PLC0415 - TEXTUAL_ANIMATIONS is read at import

        return ReplayApp(player, source, **{**options, "bell": "off"})

    return _run(make, theme, None)


def _run(make: Callable[[dict[str, Any]], ConsoleApp], theme: str | None, ascii_only: bool | None) -> int:
    in_browser = _in_browser()
    if not in_browser and not _has_terminal():
        words = "basilica-tui needs a terminal on its input and standard error (over SSH: ssh -t)"
        sys.stderr.write(f"{words}; basilica-tui show prints plain text\n")
        return NO_TERMINAL
    os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
    from basilica_tui.preferences import Preferences, config_folder, state_folder  # noqa: PLC0415
    from basilica_tui.settings import load_settings  # noqa: PLC0415
    from basilica_tui.themes import choose_theme  # noqa: PLC0415
    from basilica_tui.ways import ways_to  # noqa: PLC0415
    from engine.clock import SystemClock  # noqa: PLC0415

    settings = load_settings(config_folder(os.environ))
    state = state_folder(os.environ)
    if ascii_only is None:
        ascii_only = False if in_browser else settings.ascii_only
    app = make(
        {
            "clock": SystemClock(),
            "theme": theme or settings.theme or ("dark" if in_browser else choose_theme(None, os.environ)),
            "themes": settings.themes,
            "themes_folder": config_folder(os.environ) / "themes",
            "bindings": settings.bindings,
            "greetings": settings.problems,
            "preferences": Preferences(state / "views.json"),
            "files": state,
            "ascii_only": not speaks_utf8(os.environ) if ascii_only is None else ascii_only,
            "watch_terminal": not in_browser,
            "limits": settings.limits,
            "ways": ways_to(settings.engines),
            "bell": settings.bell,
            "pace_s": settings.pace_s,
        }
    )
    app.run(mouse=False)
    if app.crash is not None:
        from basilica_tui.crash import tell  # noqa: PLC0415 - needed once, if ever

        about = {"screen": type(app.screen_stack[-1]).__name__ if app.screen_stack else "", "size": app.size,
                 "link": app.store.link.phase, "engine": app.store.link.build, "theme": app.theme}  # fmt: skip
        return tell(app.crash, about, state)
    return app.return_code or 0


def _in_browser() -> bool:
    return os.environ.get("TEXTUAL_DRIVER", "") == WEB_DRIVER


def _has_terminal() -> bool:
    """Whether there is a terminal to read keys from and to draw on; Textual draws on the standard error stream."""
    streams = (sys.__stdin__, sys.__stderr__)
    is_there = all(stream is not None and stream.isatty() for stream in streams)
    return is_there and os.environ.get("TERM", "dumb") not in {"", "dumb"}
