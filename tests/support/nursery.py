"""Engines by the dozen: one process imports the engine once, and every engine is a fork of it.

A kill needs a start, and most of a start is importing. The nursery runs no thread and opens nothing before it forks,
so an engine from it differs from one of ``python -m basilica_tui --daemon`` in nothing but the time it takes.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, cast

PR_SET_PDEATHSIG = 1
ROOT = Path(__file__).parents[2]


class Child:
    """An engine's process; the part of ``subprocess.Popen`` that a subnet uses."""

    def __init__(self, pid: int, nursery: Nursery) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._nursery = nursery

    def poll(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        if self.returncode is None:
            self.returncode = self._nursery.status_of(self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""
        deadline = time.monotonic() + (100.0 if timeout is None else timeout)
        while (status := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("engine", timeout or 100.0)
            time.sleep(0.005)
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended: its pid is not given away before ``poll`` has seen its end."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


class Nursery:
    """The parent of engines; ``close`` ends it and, through the kernel, whatever it still has running."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.nursery"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
        )
        assert self._read() == "ready"

    def start(self, config: Path, log: Path, die_at: str = "") -> Child:
        """A new engine that writes its log there; with ``die_at`` one that kills itself at that event."""
        return Child(int(self._ask(f"start {config} {log} {die_at}")), self)

    def status_of(self, pid: int) -> int | None:
        """Exit status of an engine, None while it runs."""
        answer = self._ask(f"status {pid}")
        return None if answer == "running" else int(answer)

    def close(self) -> None:
        """End everything."""
        self._process.kill()
        self._process.wait(60)
        for pipe in (self._process.stdin, self._process.stdout):
            cast("IO[bytes]", pipe).close()

    def _ask(self, line: str) -> str:
        pipe = cast("IO[bytes]", self._process.stdin)
        pipe.write(line.encode() + b"\n")
        pipe.flush()
        return self._read()

    def _read(self) -> str:
        return cast("IO[bytes]", self._process.stdout).readline().decode().strip()


def serve() -> None:
    """The nursery's own loop: one command a line, one answer a line."""
    from engine.app import run_daemon  # noqa: F401
    from engine.lean import load_sdk

    load_sdk()  # as the engine does before it opens its wallet

    assert len(list(Path("/proc/self/task").iterdir())) == 1, "forking with threads would not be what a fresh start is"
    print("ready", flush=True)
    for line in sys.stdin:
        verb, *rest = line.split()
        if verb == "start":
            pid = os.fork()
            if pid == 0:
                _become_engine(Path(rest[0]), Path(rest[1]), "".join(rest[2:]))
            print(pid, flush=True)
        else:
            found, status = os.waitpid(int(rest[0]), os.WNOHANG)
            print("running" if found == 0 else os.waitstatus_to_exitcode(status), flush=True)


def _become_engine(config: Path, log: Path, die_at: str) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    status = 70
    try:
        null, out = os.open(os.devnull, os.O_RDONLY), os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(null, 0)
        os.dup2(out, 1)
        os.dup2(out, 2)
        from engine.app import run_daemon
        from engine.errors import BasilicaError

        if die_at:
            from tests.support.mortal_engine import main

            main(str(config), die_at)
            os._exit(0)
        try:
            status = run_daemon(config)
        except BasilicaError as error:
            print(f"refused: {error.code}: {error}", file=sys.stderr, flush=True)
            status = 1
    except BaseException:  # noqa: BLE001 - the traceback is for the log, the status for the parent
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    serve()
