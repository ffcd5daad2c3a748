"""A flood at a door: many connections that say nothing, half of something, or garbage, opened again when they end.

``python -m tests.support.flood PORT COUNT`` runs until its stdin closes and prints one line when all are open once.
Each connection comes from an address of 127.0.0.0/8 of its own, as a flood from many hosts would.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from engine.eventloop import raise_open_files

WORDS = (
    b"",
    b"",
    b"PRI * HTTP/2.0\r\n",
    b"\xff\xfe garbage \x00\x01",
    b"\x16\x03\x01\x02",
    b"GET /hea",
    os.urandom(400),
)
FULL_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""A client that greets and then sends nothing: grpcio itself has to get rid of it."""
AGAIN_S = 1.0


@contextlib.contextmanager
def flood(port: int, count: int = 2000) -> Iterator[None]:
    """Hold so many bad connections open, or opening, for the length of a block."""
    command = [sys.executable, "-m", "tests.support.flood", str(port), str(count)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    try:
        assert child.stdout is not None
        if child.stdout.readline() != b"flooding\n":
            raise AssertionError("the flood did not start")
        yield
    finally:
        child.kill()
        child.communicate()


async def _hold(port: int, number: int, tried: asyncio.Semaphore) -> None:
    source = f"127.{1 + number % 200}.{number // 200 % 250}.{1 + number % 250}"
    is_first = True
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
        except OSError:
            reader = None
        if is_first:
            tried.release()
            is_first = False
        if reader is not None:
            with contextlib.suppress(OSError):
                writer.write(random.choice((*WORDS, FULL_PREFACE)))
                await reader.read()
            writer.close()
        await asyncio.sleep(AGAIN_S * (0.5 + random.random()))


async def _flood(port: int, count: int) -> None:
    tried = asyncio.Semaphore(0)
    tasks = [asyncio.create_task(_hold(port, number, tried)) for number in range(count)]
    for _ in itertools.repeat(None, count):
        await tried.acquire()
    print("flooding", flush=True)
    await asyncio.to_thread(sys.stdin.buffer.read)
    for task in tasks:
        task.cancel()


if __name__ == "__main__":
    raise_open_files()
    asyncio.run(_flood(int(sys.argv[1]), int(sys.argv[2])))
