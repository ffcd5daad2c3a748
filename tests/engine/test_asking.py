"""Questions at a real terminal, and Ctrl-C instead of an answer."""

from __future__ import annotations

import os
import pty
import select
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0
PROGRAMS = {
    "agree": "from basilica_tui.cli_doctor import _is_agreed as question",
    "agree, output elsewhere": (
        "import os, sys\nfrom basilica_tui.cli_doctor import _is_agreed as question\nsys.stdout = open(os.devnull, 'w')"
    ),
    "password": "import getpass\nquestion = lambda: getpass.getpass('Do this? [y/N]: ')",
}
ASKS = """
{question}
import asyncio, sys
from engine.asking import ask_beside
try:
    answer = asyncio.run(ask_beside(question))
except KeyboardInterrupt:
    sys.exit(130)
print("answer", answer, file=sys.stderr)
"""


class Asked:
    """A program at its question in a terminal of its own."""

    def __init__(self, question: str) -> None:
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.chdir(ROOT)
            os.execv(sys.executable, [sys.executable, "-c", ASKS.format(question=PROGRAMS[question])])
        self.shown = ""
        self.until("[y/N]: ")

    def until(self, text: str) -> None:
        """Read until the terminal shows it."""
        end = time.monotonic() + PATIENCE_S
        while text not in self.shown:
            assert time.monotonic() < end and self._read(), f"{text!r} never came: {self.shown}"

    def status(self) -> int:
        """Read to the end; its exit status."""
        end = time.monotonic() + PATIENCE_S
        while self._read():
            assert time.monotonic() < end, f"it does not end: {self.shown}"
        pid, self.pid = self.pid, 0
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def _read(self) -> bool:
        if not select.select([self.terminal], [], [], 0.2)[0]:
            return True
        try:
            data = os.read(self.terminal, 65536)
        except OSError:
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)


@pytest.fixture(params=PROGRAMS)
def asked(request: pytest.FixtureRequest) -> Iterator[Asked]:
    """One question of each kind."""
    started = Asked(request.param)
    yield started
    if started.pid:
        os.kill(started.pid, 9)
        os.waitpid(started.pid, 0)
    os.close(started.terminal)


def test_ctrl_c_ends_a_question_at_once(asked: Asked) -> None:
    """No enter is needed behind it, nothing is said of threads and locks, and the terminal echoes again."""
    echo = os.dup(asked.terminal)
    os.write(asked.terminal, b"\x03")
    assert asked.status() == 130
    assert termios.tcgetattr(echo)[3] & termios.ECHO
    os.close(echo)
    assert "Traceback" not in asked.shown and "Fatal" not in asked.shown


@pytest.mark.parametrize("asked", ["agree", "agree, output elsewhere"], indirect=True)
def test_an_agreement_takes_yes_no_and_asks_again_otherwise(asked: Asked) -> None:
    """A word that is neither is asked about again; enter alone is no."""
    os.write(asked.terminal, b"maybe\n")
    asked.until("invalid input")
    os.write(asked.terminal, b"YES\n")
    assert asked.status() == 0
    assert "answer True" in asked.shown
