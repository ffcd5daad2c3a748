"""TCP relays in a process of their own that delay what passes through them, as a long line would.

``python -m tests.support.slow_link DELAY_MS PORT…`` prints its own ports as JSON and runs until its stdin closes.
Bytes are delayed in both directions; the three packets that open a connection are not, so a new connection costs one
round trip less than over a real line.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def slow_link(ports: Sequence[int], round_trip_ms: float) -> Iterator[list[int]]:
    """Ports on 127.0.0.1 that lead to these with that round trip; the ports themselves when it is 0."""
    if not round_trip_ms:
        yield list(ports)
        return
    command = [sys.executable, "-m", "tests.support.slow_link", str(round_trip_ms / 2), *map(str, ports)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    try:
        assert child.stdout is not None
        yield json.loads(child.stdout.readline())
    finally:
        child.communicate()


class _Side(asyncio.Protocol):
    """One end: what comes in goes out at the other end, later."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self.other: _Side | None = None
        self.transport: Any = None
        self._early: list[bytes] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        asyncio.get_running_loop().call_later(self._delay_s, self._pass_on, data)

    def connection_lost(self, _error: Exception | None) -> None:
        asyncio.get_running_loop().call_later(self._delay_s, self._close_other)

    def _pass_on(self, data: bytes) -> None:
        if self.other is None or self.other.transport is None:
            self._early.append(data)
        elif not self.other.transport.is_closing():
            self.other.transport.write(b"".join([*self._early, data]))
            self._early.clear()

    def _close_other(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


async def _accept(port: int, delay_s: float, near: _Side) -> None:
    far = _Side(delay_s)
    near.other, far.other = far, near
    try:
        await asyncio.get_running_loop().create_connection(lambda: far, "127.0.0.1", port)
    except OSError:
        near.transport.close()


class _Near(_Side):
    def __init__(self, port: int, delay_s: float, tasks: set[asyncio.Task[None]]) -> None:
        super().__init__(delay_s)
        self._port = port
        self._tasks = tasks

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        task = asyncio.get_running_loop().create_task(_accept(self._port, self._delay_s, self))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _serve(delay_s: float, ports: Sequence[int]) -> None:
    tasks: set[asyncio.Task[None]] = set()
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(partial(_Near, port, delay_s, tasks), "127.0.0.1", 0) for port in ports]
    print(json.dumps([server.sockets[0].getsockname()[1] for server in servers]), flush=True)
    await asyncio.to_thread(sys.stdin.buffer.read)


if __name__ == "__main__":
    asyncio.run(_serve(float(sys.argv[1]) / 1000, [int(word) for word in sys.argv[2:]]))
