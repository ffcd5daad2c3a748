"""The console on a real pseudo-terminal, in a process of its own."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from basilica_tui.themes import choose_theme

CONSOLE = """
import signal, sys
from pathlib import Path
if sys.argv[2] == "ignore":
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
import asyncio
from basilica_tui import run
if sys.argv[2] == "ignore":
    # A wrapper such as nohup: the signal never arrives, whoever asks for it.
    asyncio.unix_events._UnixSelectorEventLoop.add_signal_handler = lambda *_: None
sys.exit(run.run_console(Path(sys.argv[1])))
"""


@contextmanager
def console_on_a_pty(tmp_path: Path, hangup: str = "obey", **env: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A running console and the terminal's other end."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", CONSOLE, str(tmp_path / "engine.sock"), hangup],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env={**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **env},
    )  # fmt: skip
    os.close(theirs)
    try:
        yield process, ours
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def read_until(descriptor: int, wanted: bytes) -> bytes:
    """What the console wrote, until that appears in it; the test's own timeout is the limit."""
    seen = b""
    while wanted not in seen:
        if select.select([descriptor], [], [], 1.0)[0]:
            seen += os.read(descriptor, 65536)
    return seen


@pytest.mark.parametrize("hangup", ["obey", "ignore"])
def test_it_ends_when_its_terminal_is_gone(tmp_path: Path, hangup: str) -> None:
    """Also when SIGHUP never arrives, where Textual alone would burn a whole core for ever."""
    with console_on_a_pty(tmp_path, hangup) as (process, ours):
        read_until(ours, b"engine gone")
        os.close(ours)
        process.wait(timeout=10)
    assert process.returncode != 0


def test_q_leaves_a_clean_terminal(tmp_path: Path) -> None:
    """The alternate screen is left and the exit code is 0."""
    with console_on_a_pty(tmp_path) as (process, ours):
        read_until(ours, b"engine gone")
        os.write(ours, b"q")
        assert b"\x1b[?1049l" in read_until(ours, b"\x1b[?1049l")
        process.wait(timeout=10)
        os.close(ours)
    assert process.returncode == 0


def test_a_signal_ends_it_in_order(tmp_path: Path) -> None:
    """SIGTERM leaves the alternate screen too."""
    with console_on_a_pty(tmp_path) as (process, ours):
        read_until(ours, b"engine gone")
        process.send_signal(signal.SIGTERM)
        read_until(ours, b"\x1b[?1049l")
        process.wait(timeout=10)
        os.close(ours)
    assert process.returncode == 128 + signal.SIGTERM


def test_the_mouse_stays_the_terminals(tmp_path: Path) -> None:
    """Selecting text with the mouse works as everywhere."""
    with console_on_a_pty(tmp_path) as (_, ours):
        assert b"\x1b[?1000h" not in read_until(ours, b"engine gone")
        os.close(ours)


def test_a_redirected_error_stream_is_told(tmp_path: Path) -> None:
    """Textual draws there; a console in a file would be a black screen."""
    ours, theirs = pty.openpty()
    with (tmp_path / "errors").open("wb") as errors:
        done = subprocess.run(
            [sys.executable, "-c", CONSOLE, "/nowhere/engine.sock", "obey"],
            stdin=theirs, stdout=theirs, stderr=errors, check=False, env={**os.environ, "TERM": "xterm"},
        )  # fmt: skip
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 2
    assert b"standard error" in (tmp_path / "errors").read_bytes()


def test_without_a_terminal_it_says_what_to_do() -> None:
    """One plain sentence and code 2, no escape sequences."""
    done = subprocess.run(
        [sys.executable, "-c", CONSOLE, "/nowhere/engine.sock", "obey"], input=b"", capture_output=True, check=False
    )
    assert done.returncode == 2
    assert b"ssh -t" in done.stderr
    assert b"\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("wanted", "env", "theme"),
    [
        (None, {}, "dark"),
        (None, {"SSH_TTY": "/dev/pts/1"}, "ansi"),
        (None, {"SSH_TTY": "/dev/pts/1", "COLORTERM": "truecolor"}, "dark"),
        ("light", {"SSH_TTY": "/dev/pts/1"}, "light"),
        ("nonsense", {}, "dark"),
    ],
)
def test_the_terminal_chooses_the_colours(wanted: str | None, env: dict[str, str], theme: str) -> None:
    """Its own palette over SSH without COLORTERM; what the operator asks for always wins."""
    assert choose_theme(wanted, env) == theme
