"""What uvicorn does below the application, with bounds: sizes and times of a request's head, errors as problems.

An answer of this module is ``application/problem+json`` (RFC 9457), like those of the application, and closes the
connection.
"""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024
"""Of a head that is not complete yet; the application has tighter limits for complete ones."""
HEAD_LIMIT_S = 10.0
MOST_CONNECTIONS = 512


def problem_bytes(status: int, detail: str) -> bytes:
    """A whole answer that ends the connection."""
    title = HTTPStatus(status).phrase
    body = json.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail}).encode()
    head = (
        f"HTTP/1.1 {status} {title}\r\ncontent-type: application/problem+json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    _head_bytes = 0
    _is_in_body = False
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A caller too many is told so and goes."""
        super().connection_made(cast("asyncio.Transport", transport))
        if len(self.connections) > MOST_CONNECTIONS:
            self._refuse(503, "too many connections")
        else:
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count a head's bytes while it is not complete."""
        if self.transport.is_closing():
            return
        if not self._is_in_body:
            self._head_bytes += len(data)
            if self._timer is None:
                self._expect_head()
        super().data_received(data)
        if not self._is_in_body and self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(431, f"a request's head may have {MAX_HEAD_BYTES} bytes at most")

    def on_headers_complete(self) -> None:
        """The rest is the application's."""
        self._stop_timer()
        self._head_bytes, self._is_in_body = 0, True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The next head may follow."""
        self._is_in_body = False
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP, in the same form as every other error."""
        self._refuse(400, msg)

    def _expect_head(self) -> None:
        self._timer = self.loop.call_later(HEAD_LIMIT_S, self._refuse, 408, f"no request within {HEAD_LIMIT_S:g} s")

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, status: int, detail: str) -> None:
        self._stop_timer()
        if not self.transport.is_closing():
            self.transport.write(problem_bytes(status, detail))
            self.transport.close()
