"""Who a request is from, where a proxy stands in front of the listener."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

import pytest

from engine.observe.http import listen, serve


async def _tells_its_client(
    scope: MutableMapping[str, Any],
    _receive: Callable[[], Awaitable[Any]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
    await send({"type": "http.response.body", "body": json.dumps(scope["client"][0]).encode()})


@pytest.mark.parametrize(
    ("proxies", "forwarded", "client"),
    [
        ((), "192.0.2.7", "127.0.0.1"),
        (("10.0.0.5",), "192.0.2.7", "127.0.0.1"),
        (("127.0.0.1",), "192.0.2.7", "192.0.2.7"),
        (("127.0.0.0/8",), "192.0.2.7", "192.0.2.7"),
        (("127.0.0.1",), "198.51.100.1, 192.0.2.7", "192.0.2.7"),
        (("127.0.0.1", "10.0.0.0/24"), "198.51.100.1, 192.0.2.7, 10.0.0.9", "192.0.2.7"),
        (("127.0.0.1",), "", "127.0.0.1"),
    ],
)
async def test_only_a_trusted_proxy_says_who_asks(
    proxies: Collection[str], forwarded: str, client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last address that is no trusted proxy's counts; a stranger's header is not read, whatever the environment."""
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    listener = listen("test", "127.0.0.1", 0)
    serving = asyncio.create_task(serve(_tells_its_client, listener, proxies=proxies))
    try:
        reader, writer = await asyncio.open_connection(*listener.getsockname()[:2])
        head = f"X-Forwarded-For: {forwarded}\r\n" if forwarded else ""
        writer.write(f"GET / HTTP/1.1\r\nHost: a\r\n{head}\r\n".encode())
        async with asyncio.timeout(60):
            answer = await reader.read()
        writer.close()
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        listener.close()
    assert f'"{client}"' in answer.decode()
