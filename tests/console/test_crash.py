"""A console that stops by a mistake of its own: a sane terminal, a report without secrets, and how to send it."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from basilica_tui.crash import crash_report, last_place, save_report
from tests.console.world import ASSIGNED, NOW

CONSOLE = """
import asyncio, sys
from pathlib import Path
from basilica_tui import run
from basilica_tui.screens.dashboard import DashboardScreen

def draw(self, look, dirty):
    password = "hunter2"
    raise KeyError("no such node at wss://alice:hunter2@rpc.example.com")

{how}
sys.exit(run.run_console(Path(sys.argv[1])))
"""
DRAWING = "DashboardScreen.draw = draw"
TASK = """
from basilica_tui.link import Link
async def fall(self):
    draw(None, None, None)
Link.run = fall
"""


def broken(where: str = f"{ASSIGNED} at 10.0.0.7") -> Exception:
    try:
        raise KeyError(f"{where} with wss://u:hunter2@h.example.org")
    except KeyError as error:
        return error


def test_a_report_says_what_and_where_and_names_nobody() -> None:
    """Versions, terminal and traceback; stars and stand-ins for the rest; no local variables."""
    text = crash_report(broken(), {"screen": "NodesScreen"}, {"TERM": "xterm", "SSH_TTY": "/dev/pts/3"}, NOW)
    assert "screen: NodesScreen" in text
    assert "TERM: xterm" in text
    assert "SSH_TTY: set" in text
    assert "KeyError" in text
    assert 'File "tests/console/test_crash.py", line' in text
    assert str(Path(__file__).parents[2]) not in text
    assert [s for s in (ASSIGNED, "10.0.0.7", "hunter2", "h.example.org") if s in text] == []
    assert "hunter2" not in last_place(broken())


def test_the_last_ten_reports_are_kept(tmp_path: Path) -> None:
    """Mode 0600, oldest first to go."""
    for number in range(12):
        path = save_report(tmp_path / "state", f"{number}", NOW + number)
    kept = sorted((tmp_path / "state").iterdir())
    assert len(kept) == 10
    assert path.stat().st_mode & 0o777 == 0o600
    assert kept[-1].read_text() == "11"


@pytest.mark.parametrize("how", [DRAWING, TASK], ids=["while drawing", "in a task beside the screen"])
def test_the_terminal_is_sane_afterwards(tmp_path: Path, how: str) -> None:
    """Main screen, cursor, echo; the report is saved and can be copied with one key."""
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    process = subprocess.Popen(
        [sys.executable, "-c", CONSOLE.format(how=how), str(tmp_path / "engine.sock")],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env={**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "XDG_STATE_HOME": str(tmp_path / "state")},
    )  # fmt: skip
    seen = b""
    while b"Enter leaves" not in seen:
        if select.select([ours], [], [], 1.0)[0]:
            seen += os.read(ours, 65536)
        assert process.poll() is None or b"Enter leaves" in seen, seen[-3000:]
    after = termios.tcgetattr(theirs)
    assert after[3] & (termios.ECHO | termios.ICANON) == before[3] & (termios.ECHO | termios.ICANON)
    end = seen[seen.rindex(b"\x1b[?1049l") :]
    assert b"The engine keeps running" in end
    assert b"KeyError" in end
    assert b"hunter2" not in seen
    os.write(ours, b"c\n")
    rest = b""
    while b"sent to the clipboard" not in rest:
        if select.select([ours], [], [], 1.0)[0]:
            rest += os.read(ours, 65536)
    assert b"\x1b]52;c;" in rest
    assert process.wait() == 70
    os.close(theirs)
    os.close(ours)
    reports = list((tmp_path / "state" / "basilica-tui").glob("crash-*.txt"))
    assert len(reports) == 1
    assert "hunter2" not in reports[0].read_text()
