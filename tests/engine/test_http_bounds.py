"""HTTP below the application: what is no request gets a problem document or a clean end, never silence or text."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from engine.observe import http_protocol
from engine.observe.http import HttpService
from tests.support.ports import free_port


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Says OK to everything."""
    await Response(f"ok {Request(scope).url.path}")(scope, receive, send)


@asynccontextmanager
async def served() -> AsyncIterator[int]:
    port = free_port()
    service = asyncio.create_task(HttpService("rest", app, "127.0.0.1", port).run())
    try:
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                break
        yield port
    finally:
        service.cancel()
        await asyncio.gather(service, return_exceptions=True)


async def talk(port: int, *parts: bytes) -> tuple[bytes, bytes]:
    """Send the parts and read to the end; head and body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
        try:
            async with asyncio.timeout(60):
                answer = await reader.read()
        except ConnectionResetError:
            answer = b""
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",  # a TLS hello
        b"GET\r\n\r\n",
        b"NONSENSE / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_what_is_no_http_gets_a_problem_and_the_end(sent: bytes) -> None:
    """Or, when the application has answered already, the end alone."""
    async with served() as port:
        head, body = await talk(port, sent)
    if head.startswith(b"HTTP/1.1 200"):
        assert b"Transfer-Encoding" in sent
        return
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"content-type: application/problem+json" in head
    assert json.loads(body)["status"] == 400


async def test_a_head_without_end_is_refused() -> None:
    """After a bound in bytes, whether it is one header or many."""
    async with served() as port:
        for flood in (b"X: " + b"a" * 200_000, b"X-Y: z\r\n" * 40_000):
            head, body = await talk(port, b"GET / HTTP/1.1\r\n", flood)
            assert not head or (head.startswith(b"HTTP/1.1 431 ") and json.loads(body)["status"] == 431)


async def test_who_sends_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that brings no whole head within the limit gets 408, also after a first request."""
    monkeypatch.setattr(http_protocol, "HEAD_LIMIT_S", 0.3)
    async with served() as port:
        for start in (b"", b"GET / HT"):
            head, _ = await talk(port, start)
            assert head.startswith(b"HTTP/1.1 408 ")
        head, body = await talk(port, b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HT")
        assert (head[:13], body) == (b"HTTP/1.1 200 ", b"ok /a")  # closed like any connection that idles
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"ok /a")
        writer.write(b"GET /b HT")
        async with asyncio.timeout(60):
            assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
        writer.close()


async def test_there_are_only_so_many_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is told so; when one has gone there is room again."""
    monkeypatch.setattr(http_protocol, "MOST_CONNECTIONS", 2)
    async with served() as port:
        held: list[asyncio.StreamWriter] = []
        while len(held) < 2:  # the one that saw the server come up may still be counted
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            if (await reader.readline()).startswith(b"HTTP/1.1 200 "):
                held.append(writer)
            else:
                writer.close()
        head, _ = await talk(port)
        assert head.startswith(b"HTTP/1.1 503 ")
        for writer in held:
            writer.close()
        async with asyncio.timeout(60):
            while not head.startswith(b"HTTP/1.1 200 "):
                assert head.startswith(b"HTTP/1.1 503 ")
                await asyncio.sleep(0.02)
                head, _ = await talk(port, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")


async def test_a_connection_serves_many_requests_and_bodies() -> None:
    """Requests in a row, pipelined ones and one with a body in pieces are answered in order."""
    async with served() as port:
        head, rest = await talk(
            port,
            b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n",
            b"POST /c HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + b"y" * 50_000, b"y" * 50_000,
            b"GET /d HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        )  # fmt: skip
    assert head.startswith(b"HTTP/1.1 200 ")
    assert [word for word in (b"ok /a", b"ok /b", b"ok /c", b"ok /d") if word in rest] == [
        b"ok /a", b"ok /b", b"ok /c", b"ok /d",
    ]  # fmt: skip
