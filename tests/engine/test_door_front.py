"""The front on the gRPC port: health for curl, the caller's real address, and floods that lock nobody out."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from engine import eventloop
from engine.events import ValidatorAuthenticated
from engine.miner.door_front import PREFACE, Front, FrontLimits
from tests.engine.door_support import World, world


@asynccontextmanager
async def fronted(directory: Path, limits: FrontLimits | None = None, status: int = 200) -> AsyncIterator[World]:
    def health() -> tuple[int, bytes]:
        return status, b'{"status":"x"}'

    async with world(directory, health_on_port=health, front_limits=limits) as here:
        yield here


async def talk(port: int, *parts: bytes) -> bytes:
    """Everything that comes back until the other side closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.02)
        return await asyncio.wait_for(reader.read(), 60)
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_health_answers_on_the_grpc_port(tmp_path: Path) -> None:
    """GET /health gives status and document, in one piece or in several; other paths 404; HEAD no body."""
    async with fronted(tmp_path, status=503) as here:
        whole = await talk(here.port, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert whole.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert whole.endswith(b'\r\n\r\n{"status":"x"}')
        assert await talk(here.port, b"G", b"ET /hea", b"lth HTTP/1.1\r\n", b"\r\n") == whole
        assert (await talk(here.port, b"GET /other HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 404 ")
        assert (await talk(here.port, b"HEAD /health HTTP/1.1\r\n\r\n")).endswith(b"\r\n\r\n")


async def test_calls_pass_and_carry_the_real_address(tmp_path: Path) -> None:
    """Both calls work through the front, and the event names the caller's address, not the front's."""
    async with fronted(tmp_path) as here:
        assert here.door._front is not None
        answer = await here.send_auth(here.auth())
        assert answer.authenticated
        assert len(await here.send_discovery(here.discovery())) == 1
        named = [event.peer for event in here.events if isinstance(event, ValidatorAuthenticated)]
        assert named == ["127.0.0.1"]
        name, held = here.door._front.connect("203.0.113.9")

        class Context:
            def peer(self) -> str:
                return f"unix-abstract:{name}"

        context: Any = Context()
        assert here.door._peer(context) == "203.0.113.9"
        held.close()


async def test_the_server_behind_is_no_port(tmp_path: Path) -> None:
    """With the front the process listens on one port only; the server behind has an abstract socket."""
    async with fronted(tmp_path) as here:
        front = here.door._front
        assert front is not None
        listening = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
        assert [line[-1] for line in listening if line[-1] == f"@{front.inner}" and line[3] == "00010000"]
        assert _ports_of_this_process() == {here.port}


def _ports_of_this_process() -> set[int]:
    """TCP ports that this process listens on."""
    sockets = set()
    for link in Path("/proc/self/fd").iterdir():
        try:
            sockets.add(str(link.readlink()).removeprefix("socket:[").rstrip("]"))
        except OSError:
            continue
    rows = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A" and row[9] in sockets}


def test_a_server_that_speaks_first_is_heard() -> None:
    """What the server says before the pair is complete reaches the caller: grpcio greets as soon as it accepts."""

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SETTINGS")
        await writer.drain()

    async def run() -> list[bytes]:
        front = Front(lambda: (200, b"{}"))
        server = await asyncio.start_unix_server(greet, f"\0{front.inner}")
        port = await front.start("127.0.0.1", 0)

        async def call() -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(PREFACE)
            try:
                return await asyncio.wait_for(reader.readexactly(8), 60)
            finally:
                writer.close()

        heard = await asyncio.gather(*(call() for _ in range(32)))
        await front.stop()
        server.close()
        return heard

    assert eventloop.run(run()) == [b"SETTINGS"] * 32


async def test_nonsense_is_cut_and_silence_ends(tmp_path: Path) -> None:
    """Bytes of no known protocol, endless headers and silence end the connection without an answer."""
    async with fronted(tmp_path, FrontLimits(silence_s=0.2)) as here:
        assert await talk(here.port, b"\x00\x01\x02 nonsense") == b""
        assert await talk(here.port, b"POST /health HTTP/1.1\r\n\r\n") == b""
        assert await talk(here.port, b"GET /" + b"a" * 9000) == b""
        assert await talk(here.port) == b""
        assert await talk(here.port, PREFACE[:10]) == b""


async def test_one_address_gets_so_many_connections(tmp_path: Path) -> None:
    """Beyond its share an address is closed at once, and room comes back when one of its connections ends."""
    async with fronted(tmp_path, FrontLimits(per_address=3, silence_s=30.0)) as here:
        held = [await asyncio.open_connection("127.0.0.1", here.port) for _ in range(3)]
        await asyncio.sleep(0.05)
        assert await talk(here.port, b"GET /health HTTP/1.1\r\n\r\n") == b""
        held[0][1].close()
        async with asyncio.timeout(60):
            while not (said := await talk(here.port, b"GET /health HTTP/1.1\r\n\r\n")):
                await asyncio.sleep(0.02)
        assert said.startswith(b"HTTP/1.1 200")
        for _, writer in held:
            writer.close()


async def test_two_thousand_silent_connections_lock_nobody_out(tmp_path: Path) -> None:
    """While 2,000 connections say nothing, or garbage, an honest authentication and discovery succeed."""
    limits = FrontLimits(per_address=5000, total=300, silence_s=60.0)
    async with fronted(tmp_path, limits) as here:
        flood = []
        try:
            for number in range(2000):
                one = socket.socket()
                one.setblocking(False)
                one.connect_ex(("127.0.0.1", here.port))
                flood.append(one)
                if number % 50 == 49:
                    await asyncio.sleep(0.01)
            for one in flood[::7]:
                try:
                    one.send(b"\x16\x03garbage" if id(one) % 2 else b"\xff\xff\xff\xff")
                except OSError:
                    continue
            assert (await here.send_auth(here.auth())).authenticated
            assert len(await here.send_discovery(here.discovery())) == 1
            front = here.door._front
            assert front is not None
            assert len(front._open) <= limits.total
        finally:
            for one in flood:
                one.close()
