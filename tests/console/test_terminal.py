"""The console on a real pseudo-terminal, in a process of its own."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from basilica_tui.terminal import READER, end_readers
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
        process.wait(timeout=60)
    assert process.returncode != 0


def test_q_leaves_a_clean_terminal(tmp_path: Path) -> None:
    """The alternate screen is left and the exit code is 0."""
    with console_on_a_pty(tmp_path) as (process, ours):
        read_until(ours, b"engine gone")
        os.write(ours, b"q")
        assert b"\x1b[?1049l" in read_until(ours, b"\x1b[?1049l")
        process.wait(timeout=60)
        os.close(ours)
    assert process.returncode == 0


@pytest.mark.parametrize(
    "typed",
    [
        b":quix\x7ft\r",
        b":quitx\x1b[D\x1b[3~\r",
        b":xx\x15quit\r",
        b":logs\rqq",
        b"6/zebrx\x7fa\r:quit\r:quit\r",
        b":quix\r:\x1b[A\x7ft\r",
    ],
)
def test_what_a_slow_link_brings_in_one_piece_acts_in_order(tmp_path: Path, typed: bytes) -> None:
    """Letters, backspace, arrows, the history, enter, and the keys behind it: all of it leads out."""
    with console_on_a_pty(tmp_path, XDG_STATE_HOME=str(tmp_path), XDG_CONFIG_HOME=str(tmp_path)) as (process, ours):
        read_until(ours, b"engine gone")
        os.write(ours, typed)
        read_until(ours, b"\x1b[?1049l")
        process.wait(timeout=60)
        os.close(ours)
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("term", "told"), [("", b"TERM is not set"), ("dumb", b"TERM=dumb is a terminal that cannot be drawn on")]
)
def test_a_terminal_without_a_name_is_told_what_to_say(tmp_path: Path, term: str, told: bytes) -> None:
    """It is a terminal, so the words are not those for a pipe; nothing is drawn and the exit code is 2."""
    with console_on_a_pty(tmp_path, TERM=term) as (process, ours):
        seen = read_until(ours, b"show prints plain text")
        process.wait(timeout=60)
        os.close(ours)
    assert told in seen
    assert b"TERM=xterm-256color basilica-tui" in seen
    assert b"\x1b[" not in seen
    assert process.returncode == 2


def test_a_signal_ends_it_in_order(tmp_path: Path) -> None:
    """SIGTERM leaves the alternate screen too."""
    with console_on_a_pty(tmp_path) as (process, ours):
        read_until(ours, b"engine gone")
        process.send_signal(signal.SIGTERM)
        read_until(ours, b"\x1b[?1049l")
        process.wait(timeout=60)
        os.close(ours)
    assert process.returncode == 128 + signal.SIGTERM


def test_the_mouse_stays_the_terminals(tmp_path: Path) -> None:
    """Selecting text with the mouse works as everywhere."""
    with console_on_a_pty(tmp_path) as (_, ours):
        assert b"\x1b[?1000h" not in read_until(ours, b"engine gone")
        os.close(ours)


TRUE, EIGHT_BIT = re.compile(rb"\x1b\[[\d;]*[34]8;2;"), re.compile(rb"\x1b\[[\d;]*[34]8;5;")


@pytest.mark.parametrize(
    ("term", "more", "true", "eight_bit"),
    [
        ("xterm-256color", {"COLORTERM": "truecolor"}, True, False),
        ("xterm-256color", {"COLORTERM": ""}, False, True),
        ("screen", {"COLORTERM": ""}, False, False),
        ("linux", {"COLORTERM": ""}, False, False),
        ("vt100", {"COLORTERM": ""}, False, False),
        ("xterm-mono", {"COLORTERM": ""}, False, False),
        ("a-terminal-nobody-knows", {"COLORTERM": ""}, False, False),
        ("xterm-256color", {"COLORTERM": "truecolor", "NO_COLOR": "1"}, True, False),
    ],
)
def test_a_terminal_gets_no_more_colours_than_it_has(
    tmp_path: Path, term: str, more: dict[str, str], true: bool, eight_bit: bool
) -> None:
    """True colour where it is said, else 256 or the sixteen of the terminal; every one starts and leaves in order."""
    with console_on_a_pty(tmp_path, TERM=term, **more) as (process, ours):
        seen = read_until(ours, b"engine gone")
        os.write(ours, b"q")
        seen += read_until(ours, b"\x1b[?1049l")
        process.wait(timeout=60)
        os.close(ours)
    assert process.returncode == 0
    assert (bool(TRUE.search(seen)), bool(EIGHT_BIT.search(seen))) == (true, eight_bit)
    if "NO_COLOR" in more:
        grey = re.findall(rb"[34]8;2;(\d+);(\d+);(\d+)", seen)
        assert grey
        assert [rgb for rgb in grey if len(set(rgb)) > 1] == []


def test_frames_come_whole_where_the_terminal_can_do_that(tmp_path: Path) -> None:
    """Asked whether it knows synchronised output, a terminal that says yes gets every frame between begin and end."""
    with console_on_a_pty(tmp_path) as (_, ours):
        seen = read_until(ours, b"\x1b[?2026$p")
        assert b"\x1b[?2026h" not in seen
        os.write(ours, b"\x1b[?2026;2$y")
        seen = read_until(ours, b"\x1b[?2026l")
        os.write(ours, b"?")
        while seen.count(b"\x1b[?2026l") < 3:
            seen += read_until(ours, b"\x1b[?2026l")
        os.close(ours)
    after = seen[seen.index(b"\x1b[?2026h") :]
    frames = re.split(rb"\x1b\[\?2026[hl]", after)
    assert len(frames) >= 4
    # Between an end and the next begin nothing is drawn.
    outside = [re.sub(rb"\x1b\][^\x07]*\x07|\x1b\[\?25[lh]", b"", between) for between in frames[2:-1:2]]
    assert [between for between in outside if between] == []


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


@pytest.mark.parametrize("is_deaf", [False, True])
def test_what_still_reads_keys_is_ended_with_the_console(is_deaf: bool) -> None:
    """A reader that missed its end is asked again; one that does not listen is told of, so that we can leave."""
    asked, over = threading.Event(), threading.Event()
    reader = threading.Thread(target=(over if is_deaf else asked).wait, name=READER, daemon=True)
    reader.start()
    assert end_readers(asked, within_s=0.2) is not is_deaf
    over.set()
    reader.join(30)
    assert not reader.is_alive()
    assert end_readers(asked)
