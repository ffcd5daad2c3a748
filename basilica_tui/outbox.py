"""What leaves the console: text for the terminal's clipboard, and files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from basilica_tui.clipboard import osc52
from basilica_tui.exports import export_path, write_export

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
    """Write something to ``path``, else to a new file in ``folder``, and say where it is."""
    target = path or export_path(folder, name, form, desk.clock.now())
    try:
        if path is None:
            target.parent.mkdir(parents=True, exist_ok=True)
        write_export(target, content)
    except OSError as error:
        desk.say(f"{target} cannot be written: {error.strerror or error}", "bad")
    else:
        desk.say(f"{what} written to {target}", "good", WRITTEN_S)
