"""Start the console: choose colours and marks for this terminal, attach, and leave a clean terminal behind."""

from __future__ import annotations

import os
import sys
import threading
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

    def make(options: dict[str, Any], before: ConsoleApp | None) -> ConsoleApp:
        from basilica_tui.app import ConsoleApp  # noqa: PLC0415 - TEXTUAL_ANIMATIONS is read at import
        from basilica_tui.link import connect_to_engine  # noqa: PLC0415
        from basilica_tui.ways import Way, as_now  # noqa: PLC0415

        to = way or Way("", socket, connect_to_engine)
        if before is not None:
            to = as_now(before.ways.get(before.store.profile, to) if before.store.profile != to.name else to,
                        options["ways"])  # fmt: skip
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

    def make(options: dict[str, Any], _before: ConsoleApp | None) -> ConsoleApp:
        from basilica_tui.replay import ReplayApp  # noqa: PLC0415 - TEXTUAL_ANIMATIONS is read at import

        return ReplayApp(player, source, **{**options, "bell": "off", "settings_problem": None})

    return _run(make, theme, None)


Make = Callable[[dict[str, Any], "ConsoleApp | None"], "ConsoleApp"]
"""A console with these options; the one before it when the operator had ``console.toml`` read again."""


def _run(make: Make, theme: str | None, ascii_only: bool | None) -> int:
    if not _in_browser() and (words := _lacking()):
        sys.stderr.write(f"{words}; basilica-tui show prints plain text\n")
        return NO_TERMINAL
    os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
    app = make(_options(theme, ascii_only), None)
    is_over = _show(app)
    while app.is_read_again and is_over:
        before, options = app, _options(theme, ascii_only)
        app = make({**options, "first": before.views.now, "command_history": before.command_history}, before)
        is_over = _show(app)
    code = _told(app)
    if not is_over:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # a thread that still reads keys would keep the program alive
    return code


def _show(app: ConsoleApp) -> bool:
    """Until the operator leaves; False when something of it still reads the terminal."""
    from basilica_tui.terminal import end_readers  # noqa: PLC0415 - with Textual, which is loaded by now

    app.run(mouse=False)
    asked = getattr(app._driver, "exit_event", None)
    return not isinstance(asked, threading.Event) or end_readers(asked)


def _told(app: ConsoleApp) -> int:
    """The exit code; a crash is reported first."""
    if app.crash is not None:
        from basilica_tui.crash import tell  # noqa: PLC0415 - needed once, if ever
        from basilica_tui.preferences import state_folder  # noqa: PLC0415

        about = {"screen": type(app.screen_stack[-1]).__name__ if app.screen_stack else "", "size": app.size,
                 "link": app.store.link.phase, "engine": app.store.link.build, "theme": app.theme}  # fmt: skip
        return tell(app.crash, about, state_folder(os.environ))
    return app.return_code or 0


def _options(theme: str | None, ascii_only: bool | None) -> dict[str, Any]:
    """What the operator's files, this terminal and the command line say about the console."""
    from basilica_tui.preferences import Preferences, config_folder, state_folder  # noqa: PLC0415
    from basilica_tui.settings import load_settings, unreadable  # noqa: PLC0415
    from basilica_tui.themes import choose_theme  # noqa: PLC0415
    from basilica_tui.ways import ways_to  # noqa: PLC0415
    from engine.clock import SystemClock  # noqa: PLC0415

    in_browser = _in_browser()
    folder, state = config_folder(os.environ), state_folder(os.environ)
    settings = load_settings(folder)
    if ascii_only is None:
        ascii_only = False if in_browser else settings.ascii_only
    return {
        "clock": SystemClock(),
        "theme": theme or settings.theme or ("dark" if in_browser else choose_theme(None, os.environ)),
        "themes": settings.themes,
        "themes_folder": folder / "themes",
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
        # A page in a browser is told to be loaded again: its process has no terminal to begin anew in.
        "settings_problem": None if in_browser else lambda: unreadable(folder),
    }


def _in_browser() -> bool:
    return os.environ.get("TEXTUAL_DRIVER", "") == WEB_DRIVER


def _lacking() -> str:
    """Why no console can be drawn here, or nothing."""
    if not _has_terminal():
        return "basilica-tui needs a terminal on its input and standard error (over SSH: ssh -t)"
    term = os.environ.get("TERM", "")
    if term in {"", "dumb"}:
        said = f"TERM={term} is a terminal that cannot be drawn on" if term else "TERM is not set"
        return f"{said}; if this terminal can, name it: TERM=xterm-256color basilica-tui"
    return ""


def _has_terminal() -> bool:
    """Whether there is a terminal to read keys from and to draw on; Textual draws on the standard error stream."""
    streams = (sys.__stdin__, sys.__stderr__)
    return all(stream is not None and stream.isatty() for stream in streams)
