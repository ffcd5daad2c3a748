"""What a client sends after its head: bounded in bytes and time, and read ahead where a signature covers it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, TypeAlias

from starlette.exceptions import HTTPException

Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]

BODY_LIMIT_S = 10.0
_CLOSE = {"connection": "close"}


class Inbox:
    """``receive`` of one request, for the app behind the gate. Raises HTTPException 413 and 408 to whoever reads."""

    def __init__(self, receive: Receive, headers: Mapping[str, str], most: int, *, limit_s: float = BODY_LIMIT_S):
        """``most`` bytes are accepted, whatever the head says. Raises HTTPException 413 when it says more."""
        length = headers.get("content-length", "0")
        if length.isdecimal() and (len(length) > 12 or int(length) > most):
            raise HTTPException(413, f"{most} bytes at most", _CLOSE)
        self._receive = receive
        self._most = most
        self._limit_s = limit_s
        self._until: float | None = None
        self._taken = 0
        self._is_whole = False
        self._ahead: MutableMapping[str, Any] | None = None

    async def receive(self) -> MutableMapping[str, Any]:
        """The next message; after the body only the client's leaving comes, and that may take."""
        if self._ahead is not None:
            message, self._ahead = self._ahead, None
            return message
        if self._is_whole:
            return await self._receive()
        loop = asyncio.get_running_loop()
        self._until = self._until or loop.time() + self._limit_s
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(408, f"no body within {self._limit_s:g} s", _CLOSE) from None
        self._taken += len(message.get("body", b""))
        if self._taken > self._most:
            raise HTTPException(413, f"{self._most} bytes at most", _CLOSE)
        self._is_whole = not message.get("more_body", False)
        return message

    async def whole(self) -> bytes:
        """The body, which the app gets to read as well. Raises HTTPException 400 when the client leaves instead."""
        parts: list[bytes] = []
        while not self._is_whole:
            message = await self.receive()
            if message["type"] != "http.request":
                raise HTTPException(400, "the body ended early", _CLOSE)
            parts.append(message.get("body", b""))
        body = b"".join(parts)
        self._ahead = {"type": "http.request", "body": body, "more_body": False}
        return body
