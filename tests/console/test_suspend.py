"""ctrl+z: back to the shell and in again, in a real terminal."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from tests.console.conftest import MakeApp
from tests.console.screen import settle, text_of
from tests.support.tmux import PROMPT, tmux_shell


@pytest.mark.tmux
def test_ctrl_z_gives_the_shell_back_and_fg_the_console(tmp_path: Path) -> None:
    """The shell echoes what is typed meanwhile; afterwards every cell of the console is there again."""
    path = str(tmp_path / "engine.sock")
    words = f"from pathlib import Path; from basilica_tui.run import run_console; run_console(Path({path!r}))"
    with tmux_shell(tmp_path) as pane:
        pane.type(f"{shlex.quote(sys.executable)} -c {shlex.quote(words)}", "Enter")
        before = pane.wait_for("engine gone", "No engine answers")
        pane.type("", "C-z")
        pane.wait_for("Stopped", gone=("engine gone",))
        pane.type('echo al""ive', "Enter")
        pane.wait_for("alive")
        pane.type("clear; fg", "Enter")
        after = pane.wait_for("engine gone", "No engine answers", gone=("alive", "Stopped"))
        assert len(after.splitlines()) == len(before.splitlines())
        assert after.splitlines()[-1] == before.splitlines()[-1]
        pane.type("", "?")
        pane.wait_for("KEYS AND COMMANDS")
        pane.type("", "q", "q")
        pane.wait_for(PROMPT, gone=("engine gone",))


async def test_a_console_without_a_shell_says_so(make_app: MakeApp) -> None:
    """As in a browser, where ctrl+z would leave a page that nothing wakes again."""
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("ctrl+z")
        await settle(pilot)
        assert "no shell" in text_of(app)
