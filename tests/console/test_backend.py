"""The console and a control server in a process of its own: killed, restarted, of another version, upgraded."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.console.screen import text_of
from tests.console.test_attached import attach, until

BACKEND = """
import asyncio, sys
from pathlib import Path
from engine.control import client, frames, server
low, high = int(sys.argv[2]), int(sys.argv[3])
frames.PROTOCOL = server.PROTOCOL = client.PROTOCOL = (low, high)
from tests.console.test_attached import Engine, serving

async def main():
    async with serving(Engine(Path(sys.argv[1]))):
        print("serving", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@contextmanager
def backend(socket: Path, low: int = 1, high: int = 1) -> Iterator[subprocess.Popen[str]]:
    """A process that serves, until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", BACKEND, str(socket), str(low), str(high)],
        stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "serving\n"
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@pytest.mark.timeout(400)
async def test_it_survives_kill_restart_and_upgrade(tmp_path: Path) -> None:
    """SIGKILL dims what is known and counts; another version is said in words; the right one is shown by itself."""
    socket = tmp_path / "run" / "engine.sock"
    app = attach(socket)
    async with app.run_test(size=(120, 40)) as pilot:
        with backend(socket):
            await until(pilot, "host key changed")
            await until(pilot, "● live")
        await until(pilot, "engine gone")
        await until(pilot, "retry")
        assert app.store.is_stale
        assert "node-02" in text_of(app)
        with backend(socket):
            await until(pilot, "● live")
        with backend(socket, 7, 8):
            await until(pilot, "different versions")
            assert "speaks protocol 7 to 8" in app.store.link.error
            assert "console is too old" in app.store.link.error
            assert app.store.link.hint == "upgrade the console"
        with backend(socket):
            await until(pilot, "● live")
