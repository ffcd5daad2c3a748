"""What leaves the console: text for the terminal's clipboard, and files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from basilica_tui.clipboard import osc52
from basilica_tui.exports import export_path, write_export
from basilica_tui.screens.menus import confirm

if TYPE_CHECKING:
    from basilica_tui.app import ConsoleApp

WRITTEN_S = 15.0


def copy_text(desk: ConsoleApp, text: str, what: str) -> None:
    """Put text on the clipboard of the terminal, through SSH and tmux."""
    sequence = osc52(text, os.environ)
    if sequence is None:
        desk.say("too much to copy: terminals take 74,994 encoded bytes", "warn")
        return
    desk.write_raw(sequence)
    through = ", through tmux" if os.environ.get("TMUX") else ""
    desk.say(f"{what} sent to the terminal's clipboard (OSC 52{through})")


def save_file(
    desk: ConsoleApp, folder: Path, name: str, content: str | bytes, form: str, path: Path | None, what: str
) -> None:
    """Write something to ``path``, else to a new file in ``folder``, and say where it is.

    A directory as ``path`` gets a new file; before a file is replaced it asks.
    """
    new = export_path(folder, name, form, desk.clock.now())
    try:
        if path is None:
            new.parent.mkdir(parents=True, exist_ok=True)
        target = (new if path is None else path / new.name if path.is_dir() else path).absolute()
        is_there = target == (path and path.absolute()) and target.exists()
    except OSError as error:
        desk.say(f"{path or new} cannot be written: {error.strerror or error}", "bad")
        return
    if is_there:
        confirm(desk, f"Replace {target}?", [f"The file is there already; {what} would take its place."], "replace",
                lambda: _write(desk, target, content, what))  # fmt: skip
    else:
        _write(desk, target, content, what)


def _write(desk: ConsoleApp, target: Path, content: str | bytes, what: str) -> None:
    try:
        write_export(target, content)
    except OSError as error:
        desk.say(f"{target} cannot be written: {error.strerror or error}", "bad")
    else:
        desk.say(f"{what} written to {target}", "good", WRITTEN_S)
