"""How long a console takes from its command to a full first screen on a real pseudo-terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import statistics
import struct
import sys
import tempfile
import termios
import time
from pathlib import Path

from tests.bench import Figure, at_most
from tests.support.miner_subnet import create_subnet

RUNS = 5


def measure() -> list[Figure]:
    """Seconds from starting the console to the painted dashboard of a running engine."""
    with tempfile.TemporaryDirectory(prefix="bench-") as root:
        subnet = create_subnet(Path(root), [], validators=1)
        subnet.start()
        try:
            times = [_first_paint_s(subnet.socket) for _ in range(RUNS)]
        finally:
            subnet.stop()
    note = f"120x40, real pty; worst {max(times):.2f}"
    return [Figure("console attach to first full paint", statistics.median(times), "s", at_most(1), note)]


def _first_paint_s(socket: Path) -> float:
    started = time.monotonic()
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm-256color"
        os.execv(sys.executable, [sys.executable, "-m", "basilica_tui", "--socket", str(socket), "--read-only"])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    seen = b""
    try:
        while time.monotonic() - started < 30:
            if select.select([terminal], [], [], 0.5)[0]:
                seen += os.read(terminal, 65536)
                if b"SERVICES" in seen:
                    return time.monotonic() - started
        raise AssertionError(f"no full screen within 30 s: {seen[-500:]!r}")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)
