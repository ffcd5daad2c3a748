"""A flood at a door: many connections that say nothing, half of something, or garbage, opened again when they end.

``python -m tests.support.flood PORT COUNT`` prints one line when each was tried once, one with counts for every line it
reads, and ends when its stdin closes.
Each connection comes from an address of 127.0.0.0/8 of its own, as a flood from many hosts would.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
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
SETTINGS = b"\x04"
"""The type of HTTP/2's first frame, its fourth byte."""
AGAIN_S = 1.0


@dataclass
class Tally:
    """What became of the connections so far."""

    opened: int = 0
    not_opened: int = 0
    ended_by_the_door: int = 0
    open: int = 0
    http_answers: int = 0
    grpc_greetings: int = 0
    """SETTINGS frames for those that sent the preface of HTTP/2; such a connection has called nothing."""
    other_answers: int = 0


@contextlib.contextmanager
def flood(port: int, count: int = 2000) -> Iterator[Callable[[], Tally]]:
    """Hold so many bad connections open, or opening, for the length of a block; what is given counts them."""
    command = [sys.executable, "-m", "tests.support.flood", str(port), str(count)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    try:
        assert child.stdin is not None and child.stdout is not None
        ask, answers = child.stdin, child.stdout
        if answers.readline() != b"flooding\n":
            raise AssertionError("the flood did not start")

        def count_now() -> Tally:
            ask.write(b"\n")
            ask.flush()
            return Tally(**json.loads(answers.readline()))

        yield count_now
    finally:
        child.kill()
        child.communicate()


async def _hold(port: int, number: int, tried: asyncio.Semaphore, tally: Tally) -> None:
    source = f"127.{1 + number % 200}.{number // 200 % 250}.{1 + number % 250}"
    is_first = True
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
        except OSError:
            reader = None
            tally.not_opened += 1
        if is_first:
            tried.release()
            is_first = False
        if reader is not None:
            tally.opened += 1
            tally.open += 1
            answer = b""
            with contextlib.suppress(OSError):
                writer.write(random.choice((*WORDS, FULL_PREFACE)))
                answer = await reader.read(9)
                while await reader.read(4096):
                    pass
            writer.close()
            tally.open -= 1
            tally.ended_by_the_door += 1
            tally.http_answers += answer.startswith(b"HTTP/")
            tally.grpc_greetings += answer[3:4] == SETTINGS
            tally.other_answers += bool(answer) and not answer.startswith(b"HTTP/") and answer[3:4] != SETTINGS
        await asyncio.sleep(AGAIN_S * (0.5 + random.random()))


async def _flood(port: int, count: int) -> None:
    tried, tally = asyncio.Semaphore(0), Tally()
    tasks = [asyncio.create_task(_hold(port, number, tried, tally)) for number in range(count)]
    for _ in itertools.repeat(None, count):
        await tried.acquire()
    print("flooding", flush=True)
    while await asyncio.to_thread(sys.stdin.buffer.readline):
        print(json.dumps(asdict(tally)), flush=True)
    for task in tasks:
        task.cancel()


if __name__ == "__main__":
    raise_open_files()
    asyncio.run(_flood(int(sys.argv[1]), int(sys.argv[2])))
